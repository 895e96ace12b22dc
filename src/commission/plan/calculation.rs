//! A calculation: what a commission was reckoned from, and every step on the way.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::cap::CapStep;
use super::condition::Circumstances;
use super::counter::{Count, Counter, Sum};
use super::price::reckon;
use super::rule::Rule;
use super::tier::Slice;
use super::{Common, NoCommission, PriceFacts, RecruiterMode};
use crate::clock::Timestamp;
use crate::commission::kind::ClickCount;
use crate::ids::PartnerId;
use crate::money::{Bps, Currency, Money, MoneyError};

/// All that a conversion is priced from, but the sums of its counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inputs {
    /// What was reported.
    pub facts: PriceFacts,
    /// To whom, where and for whom.
    pub around: Circumstances,
    /// The partner's part, where several share the conversion.
    pub split: Option<Split>,
    /// How much of the amount went back to the customer, in parts; less than the amount.
    pub refunded: Option<Money>,
    /// The rate into the payout currency that was known.
    pub rate: Option<FxRate>,
    /// How many clicks, where it is clicks that are paid.
    pub clicks: Option<ClickCount>,
}

impl Inputs {
    /// Returns the inputs of a partner who has the conversion alone.
    pub fn new(facts: PriceFacts, around: Circumstances) -> Self {
        Self { facts, around, split: None, refunded: None, rate: None, clicks: None }
    }
}

/// A rate of exchange, as it was entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FxRate {
    /// The currency of the sale.
    pub from: Currency,
    /// The currency of payouts.
    pub to: Currency,
    /// Billionths of a unit of `to` for one unit of `from`.
    pub rate_nano: i64,
    /// Who says so: `ecb`, `contract`.
    pub source: Arc<str>,
    /// From when on it holds.
    pub at: Timestamp,
}

/// The largest rate taken: a million units for one.
const RATE_NANO_MAX: i64 = 1_000_000 * 1_000_000_000;

/// Says why a text is not a rate of exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be above 0, at most 1000000, with at most 9 decimals after a dot, like 0.9213")]
pub struct BadRate;

/// Reads a rate of exchange as billionths, exactly.
pub fn rate_nano(text: &str) -> Result<i64, BadRate> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let are_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !are_digits(whole) || !are_digits(decimals) || decimals.len() > 9 || whole.len() > 7 {
        return Err(BadRate);
    }
    let nano: i64 = format!("{whole}{decimals:0<9}").parse().map_err(|_| BadRate)?;
    if (1..=RATE_NANO_MAX).contains(&nano) { Ok(nano) } else { Err(BadRate) }
}

/// Writes billionths without the zeros at the end: `0.9213`.
pub fn nano_text(rate_nano: i64) -> String {
    let (whole, rest) = (rate_nano / 1_000_000_000, rate_nano % 1_000_000_000);
    let text = format!("{whole}.{rest:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The part of a conversion that one of several partners has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
}

/// Which limit of the rule changed the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// It was raised to the rule's `min`.
    RaisedToMin(Money),
    /// It was cut to the rule's `max`.
    CutToMax(Money),
}

/// What the partner's recruiter has of a sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecruiterPart {
    /// Who.
    pub partner_id: PartnerId,
    /// The share of the partner's commission.
    pub rate: Bps,
    /// On top of it, or out of it.
    pub mode: RecruiterMode,
    /// What it comes to.
    pub amount: Money,
}

/// Every step from a conversion to its commission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calculation {
    /// What it was reckoned from.
    pub inputs: Inputs,
    /// What the rate was taken of; `None` if nothing was paid and the rule is flat.
    pub base: Option<Money>,
    /// The position of the rule in the plan, from 0.
    pub rule_index: usize,
    /// The rule itself.
    pub rule: Arc<Rule>,
    /// What else the plan says: rounding, caps of the whole plan, currency, second level.
    pub common: Arc<Common>,
    /// The base by steps of the tiers; one where there are none.
    pub slices: Vec<Slice>,
    /// The last of the rates, and what all came to, rounded once.
    pub percent: Option<(Bps, Money)>,
    /// The fixed part.
    pub flat: Option<Money>,
    /// The limit that changed the sum, if one did.
    pub limit: Option<Limit>,
    /// What the conversion earns in all: percent + flat, within the limits.
    pub whole: Money,
    /// What the caps of the rule and of the plan did, in their order.
    pub caps: Vec<CapStep>,
    /// Whether the rate of exchange was used.
    pub is_converted: bool,
    /// What the recruiter has.
    pub recruiter: Option<RecruiterPart>,
    /// What the counters said.
    pub sums: Vec<(Counter, Sum)>,
    /// What it adds to the counters.
    pub counts: Vec<Count>,
    /// The commission.
    pub total: Money,
}

impl Calculation {
    /// Returns whether its figure depends on what else the period held.
    pub fn is_counted(&self) -> bool {
        !self.sums.is_empty()
    }

    /// Returns the same conversion reckoned again by the same rule, for other inputs.
    pub fn again(&self, inputs: &Inputs) -> Result<Self, NoCommission> {
        let known = |counter: Counter| {
            let found = self.sums.iter().find(|(known, _)| *known == counter);
            found.map(|(_, sum)| *sum).unwrap_or_default()
        };
        reckon(&self.common, self.rule_index, &self.rule, inputs, &known)
    }

    /// Returns it as it is when `refunded` of the amount was paid back in part.
    ///
    /// The base shrinks in proportion to the amount and the same rule is applied to what is left:
    /// a rate follows the sale down, a flat part and a minimum stay until the order is refunded
    /// fully, which is the caller's case. A conversion without amount is refunded fully or not.
    pub fn after_refund_of(&self, refunded: Money) -> Result<Self, NoCommission> {
        if self.inputs.facts.amount.is_none() {
            return Ok(self.clone());
        }
        self.again(&Inputs { refunded: Some(refunded), ..self.inputs.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read_exactly_and_written_back() {
        for (text, nano) in [
            ("0.9213", 921_300_000),
            ("1", 1_000_000_000),
            ("0.000000001", 1),
            ("110.5", 110_500_000_000),
        ] {
            assert_eq!(rate_nano(text), Ok(nano));
            assert_eq!(nano_text(nano), text);
        }
        for text in ["", "0", "0.0", ".5", "5.", "0,92", "-1", "1e3", "0.0000000001", "1000001"] {
            assert_eq!(rate_nano(text), Err(BadRate), "{text}");
        }
    }
}
