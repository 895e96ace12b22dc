//! Alias profiles: how the trackers of the trade name what we name otherwise.
//!
//! One profile for each source, never one list for all: `transaction_id` is the click at TUNE and
//! the order almost everywhere else, and `payout` is a partner's earning in one tracker and the
//! sale's amount in the next. Our own names are always understood, aliases only those of the
//! profile.

use self::Meaning::{
    Amount, ClickId, ClickIds, Coupon, Currency, Customer, Event, Key, OccurredAt, OrderId, Parts,
    SentAt, Signature, Status, Test,
};
use self::PostbackStatus::{Approved, Pending, Refunded, Rejected};

/// What a parameter means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each variant is the field of the webhook with this name")]
pub enum Meaning {
    ClickId,
    ClickIds,
    OrderId,
    Amount,
    Currency,
    Event,
    Status,
    Coupon,
    Customer,
    OccurredAt,
    Test,
    /// Awin's groups with their amounts: the groups name the event.
    Parts,
    /// CJ's price of one item, `AMT1` and so on.
    ItemAmount,
    /// CJ's number of pieces of one item, `QTY1` and so on.
    ItemQuantity,
    /// The key of the source; never interpreted, never kept.
    Key,
    /// When it was signed, in seconds since 1970.
    SentAt,
    /// The signature.
    Signature,
}

/// What a status does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostbackStatus {
    /// It happened and is not confirmed.
    Pending,
    /// The merchant confirms it; believed only of a signed postback.
    Approved,
    /// The merchant cancels it.
    Rejected,
    /// All the money went back.
    Refunded,
}

impl PostbackStatus {
    /// The words of a status map, in their order.
    pub const WORDS: [&str; 4] = ["pending", "approved", "rejected", "refunded"];

    /// Returns our word.
    pub fn as_str(self) -> &'static str {
        match self {
            Pending => "pending",
            Approved => "approved",
            Rejected => "rejected",
            Refunded => "refunded",
        }
    }

    /// Reads our word.
    pub fn parse(word: &str) -> Option<Self> {
        [Pending, Approved, Rejected, Refunded].into_iter().find(|s| s.as_str() == word)
    }
}

/// How one tracker speaks.
#[derive(Debug)]
pub struct Profile {
    /// Its name in settings.
    pub name: &'static str,
    /// Its names beside ours.
    pub aliases: &'static [(&'static str, Meaning)],
    /// Its statuses that mean another thing than in [`STATUSES`].
    pub statuses: &'static [(&'static str, PostbackStatus)],
    /// Whether it lists items as `AMTn` and `QTYn`.
    pub has_items: bool,
}

/// Our own names, which every profile understands.
pub const NAMES: &[(&str, Meaning)] = &[
    ("amount", Amount),
    ("click_id", ClickId),
    ("click_ids", ClickIds),
    ("coupon_code", Coupon),
    ("currency", Currency),
    ("customer_ref", Customer),
    ("event", Event),
    ("key", Key),
    ("occurred_at", OccurredAt),
    ("order_id", OrderId),
    ("sig", Signature),
    ("status", Status),
    ("test", Test),
    ("ts", SentAt),
];

/// What the words for a status mean, lower-case, unless the source's map or profile says otherwise.
pub const STATUSES: &[(&str, PostbackStatus)] = &[
    ("pending", Pending),
    ("lead", Pending),
    ("hold", Pending),
    ("2", Pending),
    ("5", Pending),
    ("approved", Approved),
    ("sale", Approved),
    ("confirmed", Approved),
    ("1", Approved),
    ("rejected", Rejected),
    ("declined", Rejected),
    ("canceled", Rejected),
    ("cancelled", Rejected),
    ("fake", Rejected),
    ("3", Rejected),
    ("refunded", Refunded),
    ("refund", Refunded),
    ("reversed", Refunded),
    ("chargeback", Refunded),
];

const fn profile(name: &'static str, aliases: &'static [(&'static str, Meaning)]) -> Profile {
    Profile { name, aliases, statuses: &[], has_items: false }
}

/// Every profile. `docs/postback.md` names the cells that are still to be checked against the
/// tracker's own documents.
pub const PROFILES: &[Profile] = &[
    profile("generic", &[]),
    profile("tune", &[("transaction_id", ClickId), ("adv_unique", OrderId), ("goal_id", Event)]),
    profile(
        "everflow",
        &[("transaction_id", ClickId), ("_ef_transaction_id", ClickId), ("event_id", Event)],
    ),
    profile("voluum", &[("cid", ClickId), ("txid", OrderId), ("payout", Amount), ("et", Event)]),
    Profile {
        // A repeat purchase is a sale of its own, under an order id of its own.
        statuses: &[("rebill", Pending)],
        ..profile(
            "keitaro",
            &[("subid", ClickId), ("tid", OrderId), ("payout", Amount), ("revenue", Amount)],
        )
    },
    profile(
        "binom",
        &[
            ("cnv_id", ClickId),
            ("payout", Amount),
            ("cnv_currency", Currency),
            ("cnv_status", Status),
        ],
    ),
    profile(
        "affise",
        &[("clickid", ClickId), ("action_id", OrderId), ("sum", Amount), ("goal", Event)],
    ),
    profile(
        "admitad",
        &[
            ("admitad_uid", ClickId),
            ("price", Amount),
            ("currency_code", Currency),
            ("action_code", Event),
        ],
    ),
    profile(
        "awin",
        &[
            ("cks", ClickId),
            ("ref", OrderId),
            ("cr", Currency),
            ("vc", Coupon),
            ("parts", Parts),
            ("testmode", Test),
        ],
    ),
    Profile {
        has_items: true,
        ..profile(
            "cj",
            &[
                ("CJEVENT", ClickId),
                ("OID", OrderId),
                ("AMOUNT", Amount),
                ("CURRENCY", Currency),
                ("COUPON", Coupon),
                ("TYPE", Event),
            ],
        )
    },
];

impl Profile {
    /// Finds a profile by its name.
    pub fn find(name: &str) -> Option<&'static Self> {
        PROFILES.iter().find(|p| p.name == name)
    }

    /// Returns the names of all profiles.
    pub fn names() -> Vec<&'static str> {
        PROFILES.iter().map(|p| p.name).collect()
    }

    /// Returns what a parameter means here; nothing for one that is only kept.
    pub fn meaning(&self, parameter: &str) -> Option<Meaning> {
        let known = NAMES.iter().chain(self.aliases).find(|(name, _)| *name == parameter);
        let item = |prefix, meaning| {
            let digits = parameter.strip_prefix(prefix)?;
            let is_item = self.has_items
                && (1..=3).contains(&digits.len())
                && digits.bytes().all(|b| b.is_ascii_digit());
            is_item.then_some(meaning)
        };
        known
            .map(|(_, meaning)| *meaning)
            .or_else(|| item("AMT", Meaning::ItemAmount))
            .or_else(|| item("QTY", Meaning::ItemQuantity))
    }

    /// Returns what the parameter for a meaning is called here: the tracker's own name if it has one.
    pub fn name_of(&self, meaning: Meaning) -> &'static str {
        let mut names = self.aliases.iter().chain(NAMES);
        names.find(|(_, m)| *m == meaning).map_or("", |(name, _)| name)
    }

    /// Returns what a status word means, if it is known; case does not matter.
    pub fn status(&self, word: &str) -> Option<PostbackStatus> {
        let word = word.to_ascii_lowercase();
        let known = self.statuses.iter().chain(STATUSES).find(|(name, _)| *name == word);
        known.map(|(_, status)| *status)
    }
}
