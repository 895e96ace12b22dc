//! Plans: what a program pays, as rules, and how a conversion is priced by them.
//!
//! A plan is never edited; a new [`PlanVersion`] takes effect at a time of its own, and an event is
//! priced by the version of *its* time, refunds and corrections too. Pricing keeps every step in a
//! [`Calculation`], so that anyone can reckon it again with a pocket calculator. What tiers and
//! caps count comes in from outside, so pricing stays a function of its arguments.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::ids::PlanVersionId;
pub use crate::language::Language;
use crate::money::{Bps, Currency, Money, MoneyError, Rounding};

pub mod arithmetic;
pub mod calculation;
pub mod cap;
pub mod condition;
pub mod counter;
mod document;
mod lint;
mod price;
pub mod rule;
pub mod tier;
pub mod wire;
mod words;

pub use calculation::{
    BadRate, Calculation, FxRate, Inputs, Limit, RecruiterPart, Split, nano_text, rate_nano,
};
pub use cap::Cap;
pub use condition::{Circumstances, Condition, CustomerKind};
pub use counter::{Count, Counter, Owner, Period, Scope, Sum, Volume};
pub use document::SCHEMA;
pub use document::{
    CapDocument, FieldError, InvalidPlan, PayInDocument, PlanDocument, RecruiterDocument,
    RuleDocument,
};
pub use lint::Warning;
pub use price::{price, price_by};
pub use rule::{Rule, choose, rivals};
pub use tier::{TierStep, Tiers};

/// Longest hold a plan may have, in days: a year covers the longest return right we know.
pub const HOLD_DAYS_MAX: u16 = 365;

/// Most rules in one plan; people write them, and people read them.
pub const RULES_MAX: usize = 100;

/// What was reported, as a plan's rules name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// An order was paid.
    Sale,
    /// Somebody asked for an offer.
    Lead,
    /// Somebody opened an account.
    Signup,
    /// Somebody installed the product.
    Install,
    /// A subscription was paid again.
    Renewal,
    /// A link was clicked; no shop reports it.
    Click,
}

impl EventKind {
    /// All kinds, for reading and for tests.
    pub const ALL: [Self; 6] =
        [Self::Sale, Self::Lead, Self::Signup, Self::Install, Self::Renewal, Self::Click];

    /// Returns the code: `sale`, `lead`, `signup`, `install`, `renewal`, `click`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Sale => "sale",
            Self::Lead => "lead",
            Self::Signup => "signup",
            Self::Install => "install",
            Self::Renewal => "renewal",
            Self::Click => "click",
        }
    }

    /// Reads a code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// Whether the hold's end approves by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approval {
    /// When the hold is over.
    Auto,
    /// Only when the merchant or a user says so.
    Manual,
}

/// What a program pays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanTerms {
    /// The rules; the most specific that matches prices a conversion, see [`rule`].
    pub rules: Vec<Arc<Rule>>,
    /// Days between the event and its approval.
    pub hold_days: u16,
    /// Whether the hold's end approves by itself.
    pub approval: Approval,
    /// What holds whichever rule prices.
    pub common: Arc<Common>,
}

/// What a plan says of every commission.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Common {
    /// How a figure between two minor units is rounded.
    pub rounding: Rounding,
    /// At most so much in a period, whatever the rule; each in the currency that is paid.
    pub caps: Vec<Cap>,
    /// The currency that commissions are paid in, if not in that of the sale.
    pub pay_in: Option<PayIn>,
    /// What the recruiter of a partner has of its sales.
    pub recruiter: Option<RecruiterShare>,
    /// From when on the hold is counted.
    pub hold_basis: HoldBasis,
}

/// From when on the hold of what was sold is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum HoldBasis {
    /// From the event.
    #[default]
    Event,
    /// From the delivery: who sends goods back has to have them.
    Delivery,
}

impl HoldBasis {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Event, Self::Delivery];

    /// Returns the code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Delivery => "delivery",
        }
    }
}

impl PlanTerms {
    /// Returns every counter of the plan, each once.
    pub fn counters(&self) -> Vec<Counter> {
        let plan =
            self.common.caps.iter().map(|cap| cap.counter(cap::plan_scope(cap.amount.currency)));
        let mut all: Vec<Counter> =
            self.rules.iter().flat_map(|rule| rule.counters()).chain(plan).collect();
        all.sort();
        all.dedup();
        all
    }

    /// Returns whether any rule pays for clicks.
    pub fn pays_clicks(&self) -> bool {
        self.rules.iter().any(|rule| rule.kind.clicks().is_some())
    }

    /// Returns whether any figure depends on what else a period held.
    pub fn has_counters(&self) -> bool {
        !self.common.caps.is_empty()
            || self.rules.iter().any(|rule| rule.tiers.is_some() || !rule.caps.is_empty())
    }
}

/// The currency of payouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayIn {
    /// The currency.
    pub currency: Currency,
    /// What happens to a sale in another one when no rate is known.
    pub without_rate: WithoutRate,
}

/// What happens when no rate of exchange is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutRate {
    /// The commission stays in the currency of the sale.
    SaleCurrency,
    /// It earns nothing, and says why.
    Nothing,
}

impl WithoutRate {
    /// Both.
    pub const ALL: [Self; 2] = [Self::SaleCurrency, Self::Nothing];

    /// Returns the code.
    pub fn code(self) -> &'static str {
        match self {
            Self::SaleCurrency => "sale_currency",
            Self::Nothing => "nothing",
        }
    }
}

/// The reward of the second level: of the recruited partner's sales, and of nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecruiterShare {
    /// The share of the recruited partner's commission.
    pub rate: Bps,
    /// Who pays it.
    pub mode: RecruiterMode,
}

/// Who pays the recruiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecruiterMode {
    /// The program, on top of the partner's commission.
    OnTop,
    /// The partner: it comes out of the commission.
    OutOf,
}

impl RecruiterMode {
    /// Both.
    pub const ALL: [Self; 2] = [Self::OnTop, Self::OutOf];

    /// Returns the code.
    pub fn code(self) -> &'static str {
        match self {
            Self::OnTop => "on_top",
            Self::OutOf => "out_of",
        }
    }
}

/// An immutable edition of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanVersion {
    /// Its identifier, stored with each commission it priced.
    pub id: PlanVersionId,
    /// From when on, inclusive, it prices events.
    pub effective_from: Timestamp,
    /// What it pays.
    pub terms: Arc<PlanTerms>,
}

/// Returns the version that prices an event of `at`: the latest in effect, if there is one.
///
/// The order of `versions` does not matter; of two from the same instant the later identifier
/// wins, which is the one made later.
pub fn version_at(versions: &[PlanVersion], at: Timestamp) -> Option<&PlanVersion> {
    versions.iter().filter(|v| v.effective_from <= at).max_by_key(|v| (v.effective_from, v.id))
}

/// A part of the amount that a plan may take off before the rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Tax within the amount.
    Tax,
    /// Shipping within the amount.
    Shipping,
    /// A discount that is still to be taken off.
    Discount,
}

impl Part {
    /// All of them: what is taken off where a plan says nothing.
    pub const ALL: [Self; 3] = [Self::Tax, Self::Shipping, Self::Discount];

    /// Returns the code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Tax => "tax",
            Self::Shipping => "shipping",
            Self::Discount => "discount",
        }
    }
}

/// The amounts of a conversion; also what must be stored to price it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PriceFacts {
    /// What was reported.
    pub event: EventKind,
    /// The price paid; leads and their like may have none.
    pub amount: Option<Money>,
    /// Tax within the amount.
    pub tax: Option<Money>,
    /// Shipping within the amount.
    pub shipping: Option<Money>,
    /// Discount to be taken off the amount: given only if the amount is before it.
    pub discount: Option<Money>,
}

impl PriceFacts {
    /// Returns facts with nothing to take off.
    pub fn new(event: EventKind, amount: Option<Money>) -> Self {
        Self { event, amount, tax: None, shipping: None, discount: None }
    }

    /// Returns what a rate is usually taken of: amount − tax − shipping − discount, not below zero.
    pub fn base(&self) -> Result<Option<Money>, MoneyError> {
        self.base_less(&Part::ALL)
    }

    /// Returns the amount without these parts, not below zero.
    pub fn base_less(&self, less: &[Part]) -> Result<Option<Money>, MoneyError> {
        let Some(amount) = self.amount else { return Ok(None) };
        let mut base = amount;
        for part in less.iter().filter_map(|part| self.part(*part)) {
            base = base.checked_sub(part)?;
        }
        Ok(Some(if base.minor < 0 { Money::zero(base.currency) } else { base }))
    }

    /// Returns a part of the amount.
    pub fn part(&self, part: Part) -> Option<Money> {
        match part {
            Part::Tax => self.tax,
            Part::Shipping => self.shipping,
            Part::Discount => self.discount,
        }
    }
}

/// Why a conversion earns nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoCommission {
    /// The plan has no rule for this event.
    #[error("the plan pays nothing for {event}", event = event.code())]
    NoRule {
        /// The event.
        event: EventKind,
    },
    /// The plan has rules for this event, for others than this conversion.
    #[error("the plan pays for {event}, but not for this one: see {unmet}", event = event.code())]
    NoRuleFor {
        /// The event.
        event: EventKind,
        /// The conditions that it does not meet.
        unmet: String,
    },
    /// The plan has rules for this event, in other currencies only.
    #[error("the plan pays for {event}, but not in {currency}", event = event.code())]
    NoRuleInCurrency {
        /// The event.
        event: EventKind,
        /// The currency of the sale.
        currency: Currency,
    },
    /// A rate of nothing: the event came without an amount.
    #[error("the plan pays a share of the amount, and {event} came without one", event = event.code())]
    NoAmount {
        /// The event.
        event: EventKind,
    },
    /// Nothing is left after tax, shipping and discount.
    #[error("nothing of {amount} is left after tax, shipping and discount")]
    NothingLeft {
        /// The amount.
        amount: Money,
    },
    /// The share is less than half a minor unit, or is cut to zero.
    #[error("{rate} of {base} is less than the smallest unit")]
    BelowOneUnit {
        /// The rate.
        rate: Bps,
        /// What it was taken of.
        base: Money,
    },
    /// The plan pays in another currency, and no rate was known.
    #[error("the plan pays in {to}, and no rate from {from} was known when it happened")]
    NoRate {
        /// The currency of the sale.
        from: Currency,
        /// The currency of payouts.
        to: Currency,
    },
    /// The amounts of the conversion cannot be reckoned together.
    #[error("the conversion's amounts do not fit together")]
    Amounts(#[from] MoneyError),
}

#[cfg(test)]
pub(in crate::commission) mod tests;
