//! Pay per click: an amount for each click of a person, or for so many of them.
//!
//! A visitor of a link counts once a day. Clicks are paid by the day: what all of a day come to, less
//! what those of it came to that were paid before, so that late ones add up to the cent.

use chrono::NaiveDate;

use crate::commission::plan::{FieldError, RuleDocument};
use crate::money::{Money, MoneyError, Rounding};

/// Most clicks that one amount can be for; nobody quotes a price for more.
const PER_MAX: u32 = 10_000;

/// An amount for so many clicks, in the rule's currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clicks {
    /// The amount, above zero.
    pub amount: Money,
    /// For how many clicks it is, above zero.
    pub per: u32,
}

/// Clicks of one partner and day that a rule pays for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClickCount {
    /// The day, of the program's time zone.
    pub day: NaiveDate,
    /// Those of the day that were paid before.
    pub before: i64,
    /// Those that are paid now.
    pub n: i64,
}

impl Clicks {
    /// Reads `flat` and `per_clicks` of the rule at `pointer`.
    pub fn read(rule: &RuleDocument, pointer: &str) -> Result<Self, FieldError> {
        let missing =
            || FieldError::new(format!("{pointer}/flat"), "is missing: send it like 0.05");
        let amount = rule.amount("flat", rule.flat.as_deref(), pointer)?.ok_or_else(missing)?;
        let per = rule.per_clicks.unwrap_or(1);
        if !(1..=PER_MAX).contains(&per) {
            let message = format!(
                "{per} is not from 1 to {PER_MAX}: 1000 makes flat the price of a thousand"
            );
            return Err(FieldError::new(format!("{pointer}/per_clicks"), message));
        }
        Ok(Self { amount, per })
    }

    /// Returns what these clicks earn; each sum is rounded once.
    pub fn earn(&self, clicks: ClickCount, rounding: Rounding) -> Result<Money, MoneyError> {
        let of = |n| self.amount.mul_ratio(n, i64::from(self.per), rounding);
        of(clicks.before.saturating_add(clicks.n))?.checked_sub(of(clicks.before)?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn late_clicks_add_up_to_what_all_at_once_would_have_earned(
            minor in 1i64..10_000, per in 1u32..2_000, parts in prop::collection::vec(0i64..5_000, 1..6),
        ) {
            let kind = Clicks { amount: Money::new(minor, "EUR".parse().unwrap()), per };
            let earn = |before, n| {
                let day = NaiveDate::default();
                kind.earn(ClickCount { day, before, n }, Rounding::HalfEven).unwrap().minor
            };
            let (mut before, mut sum) = (0, 0);
            for n in parts {
                let earned = earn(before, n);
                prop_assert!(earned >= 0);
                (before, sum) = (before + n, sum + earned);
            }
            prop_assert_eq!(sum, earn(0, before));
        }
    }
}
