//! The conditions of a rule: whom and what it is for, and which of two rules is the more specific.
//!
//! A rule holds at most one condition of each kind; each names one value or several, any of which
//! will do. What is not known of a conversion meets no condition on it.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::commission::plan::EventKind;
use crate::ids::PartnerId;

/// Most values in one condition; people write them, and people read them.
pub const VALUES_MAX: usize = 100;

/// Whether a customer bought before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CustomerKind {
    /// This is the first sale that is known.
    New,
    /// There were others.
    Returning,
}

impl CustomerKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::New, Self::Returning];

    /// Returns the code: `new` or `returning`.
    pub fn code(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Returning => "returning",
        }
    }
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Only these partners: terms of their own.
    Partner(BTreeSet<PartnerId>),
    /// Only partners of these groups.
    Group(BTreeSet<String>),
    /// Only partners of these ranks.
    Rank(BTreeSet<String>),
    /// Only where the link stood on such a place.
    Placement(BTreeSet<String>),
    /// Only products of these categories.
    Category(BTreeSet<String>),
    /// Only new, or only returning customers.
    Customer(CustomerKind),
    /// Only customers of these countries.
    Country(BTreeSet<String>),
    /// Only within so many months of the customer's first sale.
    WithinMonths(u16),
}

/// What is known of a conversion beside its amounts, to whom it is priced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Circumstances {
    /// When it happened.
    pub occurred_at: Timestamp,
    /// Who earns.
    pub partner_id: PartnerId,
    /// The partner's rank in the program.
    pub rank: Option<Arc<str>>,
    /// The partner's group in the program.
    pub group: Option<Arc<str>>,
    /// Where the link stood.
    pub placement: Option<Arc<str>>,
    /// The category of what was sold.
    pub category: Option<Arc<str>>,
    /// The customer's country, in two letters.
    pub country: Option<Arc<str>>,
    /// Whether the customer is new, as far as it is known.
    pub customer: Option<CustomerKind>,
    /// When the customer first bought, if that was before.
    pub customer_since: Option<Timestamp>,
    /// Who brought the partner into the program, if somebody who may earn did.
    pub recruiter: Option<PartnerId>,
}

impl Circumstances {
    /// Returns circumstances of which nothing is known but who and when.
    pub fn new(partner_id: PartnerId, occurred_at: Timestamp) -> Self {
        Self {
            occurred_at,
            partner_id,
            rank: None,
            group: None,
            placement: None,
            category: None,
            country: None,
            customer: None,
            customer_since: None,
            recruiter: None,
        }
    }
}

/// What a rule names, the weightiest last; a rule that names something weightier is more specific.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is the field of the same name in a plan")]
pub enum Named {
    Currency,
    Event,
    WithinMonths,
    Country,
    Customer,
    Category,
    Placement,
    Rank,
    Group,
    Partner,
}

impl Named {
    /// Returns the name of the field.
    pub fn field(self) -> &'static str {
        match self {
            Self::Currency => "currency",
            Self::Event => "event",
            Self::WithinMonths => "within_months",
            Self::Country => "countries",
            Self::Customer => "customer",
            Self::Category => "categories",
            Self::Placement => "placements",
            Self::Rank => "ranks",
            Self::Group => "groups",
            Self::Partner => "partners",
        }
    }

    /// Returns its weight: one bit, so that a sum of weights compares from the weightiest down.
    pub fn weight(self) -> u16 {
        1 << (self as u16)
    }
}

impl Condition {
    /// Returns what it names.
    pub fn named(&self) -> Named {
        match self {
            Self::Partner(_) => Named::Partner,
            Self::Group(_) => Named::Group,
            Self::Rank(_) => Named::Rank,
            Self::Placement(_) => Named::Placement,
            Self::Category(_) => Named::Category,
            Self::Customer(_) => Named::Customer,
            Self::Country(_) => Named::Country,
            Self::WithinMonths(_) => Named::WithinMonths,
        }
    }

    /// Returns whether a conversion meets it.
    pub fn is_met(&self, around: &Circumstances) -> bool {
        let among = |set: &BTreeSet<String>, value: &Option<Arc<str>>| {
            value.as_ref().is_some_and(|value| set.contains(&**value))
        };
        match self {
            Self::Partner(partners) => partners.contains(&around.partner_id),
            Self::Group(groups) => among(groups, &around.group),
            Self::Rank(ranks) => among(ranks, &around.rank),
            Self::Placement(placements) => among(placements, &around.placement),
            Self::Category(categories) => among(categories, &around.category),
            Self::Country(countries) => among(countries, &around.country),
            Self::Customer(kind) => around.customer == Some(*kind),
            Self::WithinMonths(months) => around.customer_since.is_none_or(|since| {
                since
                    .checked_add_months(chrono::Months::new(u32::from(*months)))
                    .is_none_or(|end| around.occurred_at < end)
            }),
        }
    }

    /// Returns whether one conversion may meet both.
    pub fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Partner(a), Self::Partner(b)) => !a.is_disjoint(b),
            (Self::Group(a), Self::Group(b))
            | (Self::Rank(a), Self::Rank(b))
            | (Self::Placement(a), Self::Placement(b))
            | (Self::Category(a), Self::Category(b))
            | (Self::Country(a), Self::Country(b)) => !a.is_disjoint(b),
            (Self::Customer(a), Self::Customer(b)) => a == b,
            (Self::WithinMonths(_), Self::WithinMonths(_)) => true,
            (
                Self::Partner(_)
                | Self::Group(_)
                | Self::Rank(_)
                | Self::Placement(_)
                | Self::Category(_)
                | Self::Country(_)
                | Self::Customer(_)
                | Self::WithinMonths(_),
                _,
            ) => true,
        }
    }

    /// Writes it for the name of a counter: `countries=AT,DE`.
    pub fn canonical(&self) -> String {
        let values = match self {
            Self::Partner(all) => join(all.iter().map(ToString::to_string)),
            Self::Group(all)
            | Self::Rank(all)
            | Self::Placement(all)
            | Self::Category(all)
            | Self::Country(all) => join(all.iter().map(|value| format!("{value:?}"))),
            Self::Customer(kind) => kind.code().to_owned(),
            Self::WithinMonths(months) => months.to_string(),
        };
        format!("{}={values}", self.named().field())
    }
}

fn join(values: impl Iterator<Item = String>) -> String {
    values.collect::<Vec<_>>().join(",")
}

/// Returns the names of an event's kind for a counter.
pub(super) fn canonical_event(event: Option<EventKind>) -> &'static str {
    event.map_or("any", EventKind::code)
}
