//! Plans: what a program pays, as rules, and how a conversion is priced by them.
//!
//! A plan is never edited; a new [`PlanVersion`] takes effect at a time of its own, and an event is
//! priced by the version of *its* time, refunds and corrections too. Pricing keeps every step in a
//! [`Calculation`], so that anyone can reckon it again with a pocket calculator.

use crate::clock::Timestamp;
use crate::commission::kind::{Kind, Parts};
use crate::ids::PlanVersionId;
use crate::money::{Bps, Currency, Money, MoneyError, Rounding};

mod document;

pub use document::{FieldError, InvalidPlan, PlanDocument, RuleDocument};

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
}

impl EventKind {
    /// All kinds, for reading and for tests.
    pub const ALL: [Self; 5] = [Self::Sale, Self::Lead, Self::Signup, Self::Install, Self::Renewal];

    /// Returns the code: `sale`, `lead`, `signup`, `install`, `renewal`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Sale => "sale",
            Self::Lead => "lead",
            Self::Signup => "signup",
            Self::Install => "install",
            Self::Renewal => "renewal",
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
    /// The rules; the most specific that matches prices a conversion, the earlier one of equals.
    pub rules: Vec<Rule>,
    /// Days between the event and its approval.
    pub hold_days: u16,
    /// Whether the hold's end approves by itself.
    pub approval: Approval,
    /// How a figure between two minor units is rounded.
    pub rounding: Rounding,
}

/// One clause of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Which event it pays for; `None` is any.
    pub event: Option<EventKind>,
    /// Only sales in this currency; every amount of the rule is in it.
    pub currency: Option<Currency>,
    /// The formula.
    pub kind: Kind,
    /// At least this, where anything is earned at all.
    pub min: Option<Money>,
    /// At most this.
    pub max: Option<Money>,
}

/// An immutable edition of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanVersion {
    /// Its identifier, stored with each commission it priced.
    pub id: PlanVersionId,
    /// From when on, inclusive, it prices events.
    pub effective_from: Timestamp,
    /// What it pays.
    pub terms: PlanTerms,
}

/// Returns the version that prices an event of `at`: the latest in effect, if there is one.
///
/// The order of `versions` does not matter; of two from the same instant the later identifier
/// wins, which is the one made later.
pub fn version_at(versions: &[PlanVersion], at: Timestamp) -> Option<&PlanVersion> {
    versions.iter().filter(|v| v.effective_from <= at).max_by_key(|v| (v.effective_from, v.id))
}

/// What is known of a conversion when it is priced; also what must be stored to price it again.
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

    /// Returns what a rate is taken of: amount − tax − shipping − discount, not below zero.
    pub fn base(&self) -> Result<Option<Money>, MoneyError> {
        let Some(amount) = self.amount else { return Ok(None) };
        let mut base = amount;
        for part in [self.tax, self.shipping, self.discount].into_iter().flatten() {
            base = base.checked_sub(part)?;
        }
        Ok(Some(if base.minor < 0 { Money::zero(base.currency) } else { base }))
    }
}

/// Which limit of the rule changed the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// It was raised to the rule's `min`.
    RaisedToMin(Money),
    /// It was cut to the rule's `max`.
    CutToMax(Money),
}

/// Every step from a conversion to its commission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calculation {
    /// What it was reckoned from.
    pub facts: PriceFacts,
    /// What the rate was taken of; `None` if nothing was paid and the rule is flat.
    pub base: Option<Money>,
    /// The position of the rule in the plan, from 0.
    pub rule_index: usize,
    /// The rule itself.
    pub rule: Rule,
    /// The rate and what it came to, rounded.
    pub percent: Option<(Bps, Money)>,
    /// The fixed part.
    pub flat: Option<Money>,
    /// How the rate's result was rounded.
    pub rounding: Rounding,
    /// The limit that changed the sum, if one did.
    pub limit: Option<Limit>,
    /// What the conversion earns in all: percent + flat, within the limits; above zero.
    pub whole: Money,
    /// The partner's part of it, where several share it.
    pub split: Option<Split>,
    /// The commission: the whole, or the partner's part of it.
    pub total: Money,
}

/// The part of a conversion that one of several partners has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The place of the partner's part among all, from 0.
    pub index: usize,
    /// The weights of all parts, in their order.
    pub weights: Vec<u32>,
}

impl Split {
    /// Returns the part of an amount; all parts together are the amount.
    pub fn part_of(&self, whole: Money) -> Result<Money, MoneyError> {
        whole.split(&self.weights)?.get(self.index).copied().ok_or(MoneyError::NoDivisor)
    }

    /// Returns the split as it is stored.
    pub fn to_wire(&self) -> serde_json::Value {
        serde_json::json!({"index": self.index, "weights": self.weights})
    }

    /// Reads a stored split.
    pub fn from_wire(wire: &serde_json::Value) -> Option<Self> {
        let index = usize::try_from(wire.get("index")?.as_u64()?).ok()?;
        let weights = wire.get("weights")?.as_array()?;
        let weights: Option<Vec<u32>> =
            weights.iter().map(|w| u32::try_from(w.as_u64()?).ok()).collect();
        Some(Self { index, weights: weights? })
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
    /// The amounts of the conversion cannot be reckoned together.
    #[error("the conversion's amounts do not fit together")]
    Amounts(#[from] MoneyError),
}

/// Prices a conversion.
///
/// The most specific matching rule decides: one that names the event before one for any, then one
/// that names the currency. A rule with a currency matches only sales in it, and events without an
/// amount.
pub fn price(terms: &PlanTerms, facts: &PriceFacts) -> Result<Calculation, NoCommission> {
    let (rule_index, rule) = choose(terms, facts)?;
    let base = facts.base()?;
    if rule.kind.percent().is_some() {
        match (facts.amount, base) {
            (Some(amount), Some(base)) if base.is_zero() => {
                return Err(NoCommission::NothingLeft { amount });
            }
            (Some(_), Some(_)) => {}
            (None, _) | (_, None) => return Err(NoCommission::NoAmount { event: facts.event }),
        }
    }
    let calculation = reckon(*facts, base, rule_index, rule, terms.rounding)?;
    match (calculation.total.is_zero(), calculation.percent, base) {
        (true, Some((rate, _)), Some(base)) => Err(NoCommission::BelowOneUnit { rate, base }),
        (true | false, _, _) => Ok(calculation),
    }
}

fn choose<'a>(terms: &'a PlanTerms, facts: &PriceFacts) -> Result<(usize, &'a Rule), NoCommission> {
    let event = facts.event;
    let for_event = || {
        let fits = |rule: &Rule| rule.event.is_none_or(|named| named == event);
        terms.rules.iter().enumerate().filter(move |(_, rule)| fits(rule))
    };
    let in_currency = |rule: &Rule| match (rule.currency, facts.amount) {
        (Some(named), Some(amount)) => named == amount.currency,
        (Some(_), None) | (None, _) => true,
    };
    let specificity = |rule: &Rule| (rule.event.is_some(), rule.currency.is_some());
    for_event()
        .filter(|(_, rule)| in_currency(rule))
        .max_by_key(|(index, rule)| (specificity(rule), std::cmp::Reverse(*index)))
        .ok_or_else(|| match (facts.amount, for_event().next()) {
            (Some(Money { currency, .. }), Some(_)) => {
                NoCommission::NoRuleInCurrency { event, currency }
            }
            (Some(_) | None, _) => NoCommission::NoRule { event },
        })
}

fn reckon(
    facts: PriceFacts,
    base: Option<Money>,
    rule_index: usize,
    rule: &Rule,
    rounding: Rounding,
) -> Result<Calculation, MoneyError> {
    let Parts { percent, flat } = rule.kind.parts(base, rounding)?;
    let sum = match (percent, flat) {
        (Some((_, percent)), Some(flat)) => percent.checked_add(flat)?,
        (Some((_, part)), None) | (None, Some(part)) => part,
        (None, None) => return Err(MoneyError::NoDivisor),
    };
    let limit = match (rule.min, rule.max) {
        (Some(min), _) if sum.minor < min.minor => Some(Limit::RaisedToMin(min)),
        (_, Some(max)) if sum.minor > max.minor => Some(Limit::CutToMax(max)),
        (Some(_) | None, _) => None,
    };
    let total = match limit {
        Some(Limit::RaisedToMin(to) | Limit::CutToMax(to)) => to,
        None => sum,
    };
    let rule = rule.clone();
    Ok(Calculation {
        facts,
        base,
        rule_index,
        rule,
        percent,
        flat,
        rounding,
        limit,
        whole: total,
        split: None,
        total,
    })
}

impl Calculation {
    /// Returns the calculation of one partner's part; without a split the partner has it all.
    pub fn for_part(self, split: Option<Split>) -> Result<Self, MoneyError> {
        let total = split.as_ref().map_or(Ok(self.whole), |split| split.part_of(self.whole))?;
        Ok(Self { split, total, ..self })
    }

    /// Returns what is left of the commission when `refunded` of the amount was paid back in part.
    ///
    /// The base shrinks in proportion to the amount and the same rule is applied to what is left:
    /// a rate follows the sale down, a flat part and a minimum stay until the order is refunded
    /// fully, which is the caller's case. A conversion without amount is refunded fully or not.
    pub fn after_refund_of(&self, refunded: Money) -> Result<Money, MoneyError> {
        let (Some(amount), Some(base)) = (self.facts.amount, self.base) else {
            return Ok(self.total);
        };
        let left = amount.checked_sub(refunded)?;
        let base = base.mul_ratio(left.minor, amount.minor, self.rounding)?;
        let again = reckon(self.facts, Some(base), self.rule_index, &self.rule, self.rounding)?;
        Ok(again.for_part(self.split.clone())?.total)
    }

    /// Returns the arithmetic as one English sentence, for partners and for finance.
    pub fn sentence(&self) -> String {
        let percent = self.percent.map(|(rate, part)| {
            let of = self.base.map_or_else(String::new, |base| format!(" of {base}"));
            let mode = self.rounding.code();
            format!("{rate}{of} is {part} (rounded {mode})")
        });
        let flat = self.flat.map(|flat| match percent {
            Some(_) => format!("plus a flat {flat}"),
            None => format!("a flat {flat} for each {}", self.facts.event.code()),
        });
        let limit = self.limit.map(|limit| match limit {
            Limit::RaisedToMin(min) => format!("raised to the minimum of {min}"),
            Limit::CutToMax(max) => format!("cut to the maximum of {max}"),
        });
        let part = self.split.as_ref().map(|split| {
            let of: u64 = split.weights.iter().map(|&w| u64::from(w)).sum();
            let weight = split.weights.get(split.index).copied().unwrap_or_default();
            format!("{weight} of {of} parts of {}", self.whole)
        });
        let steps: Vec<String> =
            [self.taken_off(), percent, flat, limit, part].into_iter().flatten().collect();
        format!("Rule {}: {}; commission {}.", self.rule_index + 1, steps.join(", "), self.total)
    }

    /// Says how the amount became the base, if anything was taken off and the base counts.
    fn taken_off(&self) -> Option<String> {
        let (amount, base) = (self.facts.amount?, self.base?);
        let facts = &self.facts;
        let parts =
            [("tax", facts.tax), ("shipping", facts.shipping), ("discount", facts.discount)];
        let less: Vec<String> = parts
            .into_iter()
            .filter_map(|(name, part)| part.map(|part| format!("{name} {part}")))
            .collect();
        let counts = self.percent.is_some() && !less.is_empty();
        counts.then(|| format!("{amount} less {} leaves {base}", less.join(" and ")))
    }
}

#[cfg(test)]
pub(in crate::commission) mod tests;
