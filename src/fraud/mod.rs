//! Suspicion: what looks wrong about a commission, said with figures, and left to a person.
//!
//! A [`Policy`] says which rules a program wants; [`mod@judge`] turns facts into [`Flag`]s. A flag never
//! refuses anything: it opens the commission `on_hold`, or puts it there before time approves it. A
//! person releases it, and it pays what it would have paid, or rejects it with a reason.
//!
//! **When a rule speaks.** What the conversion itself tells (the customer, the time since the
//! click), what is known of its click, and the pace of its hour are judged when it settles. The
//! marks of the click, the pace, the refund rate and the share of one source are judged once more
//! when the hold is over, since by then everything has come: whatever the order of arrival, the
//! same commissions are flagged. A rule speaks once about a commission.

pub mod facts;
pub mod gate;
pub mod http;
pub mod judge;
pub mod policy;
pub mod store;

pub use judge::{ClickMarks, Rate, SelfMatch, Suspect, judge};
pub use policy::{Policy, PolicyDocument, RateLimit};

use crate::ids::{CommissionId, ProgramId};

/// The rules, by the codes under which flags are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// The customer is the partner.
    SelfReferral,
    /// The order came too soon after the click.
    TooFast,
    /// The order came too late after the click.
    TooSlow,
    /// Too many conversions of the partner in one hour.
    Velocity,
    /// Too many of the partner's conversions were refunded.
    RefundRate,
    /// Too many of the partner's conversions came from one referring host.
    SourceShare,
    /// The visitor came from an advertisement that was paid for.
    PaidTraffic,
    /// The visitor came from a page that the program has banned.
    BannedReferrer,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Self; 8] = [
        Self::SelfReferral,
        Self::TooFast,
        Self::TooSlow,
        Self::Velocity,
        Self::RefundRate,
        Self::SourceShare,
        Self::PaidTraffic,
        Self::BannedReferrer,
    ];

    /// Returns the code as stored.
    pub fn code(self) -> &'static str {
        match self {
            Self::SelfReferral => "self_referral",
            Self::TooFast => "too_fast",
            Self::TooSlow => "too_slow",
            Self::Velocity => "velocity",
            Self::RefundRate => "refund_rate",
            Self::SourceShare => "source_share",
            Self::PaidTraffic => "paid_traffic",
            Self::BannedReferrer => "banned_referrer",
        }
    }

    /// Reads a stored code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.code() == code)
    }
}

/// One suspicion.
#[derive(Clone, Debug, PartialEq)]
pub struct Flag {
    /// Which rule speaks.
    pub rule: Rule,
    /// What it saw and what it allows, as data.
    pub figures: serde_json::Value,
    /// The same, for people.
    pub sentence: String,
}

/// A suspicion about a commission.
#[derive(Clone, Debug, PartialEq)]
pub struct RaisedFlag {
    /// The program.
    pub program_id: ProgramId,
    /// The commission.
    pub commission_id: CommissionId,
    /// What looks wrong.
    pub flag: Flag,
}

/// Returns the codes of flags as the reason of a commission.
pub fn reason(flags: &[Flag]) -> String {
    flags.iter().map(|f| f.rule.code()).collect::<Vec<_>>().join(", ")
}

/// Returns the sentences of flags as a note for the history.
pub fn note(flags: &[Flag]) -> String {
    flags.iter().map(|f| f.sentence.as_str()).collect::<Vec<_>>().join(" ")
}
