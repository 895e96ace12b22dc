//! Who is in a batch and who is carried forward. Pure: what is owed comes in, the batch comes out.

use std::fmt;
use std::str::FromStr;

use chrono::NaiveDate;

use crate::commission::state::Standing;
use crate::ids::{CommissionId, PartnerId};
use crate::money::{Currency, Money, MoneyError};
use crate::payout::CarriedForward;

/// Why somebody who is owed something is not paid now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CarryReason {
    /// Clawbacks are larger than earnings: netted against what is earned next.
    NegativeBalance,
    /// The partner or its enrollment is blocked, paused or declined.
    Blocked,
    /// Less than the smallest payout.
    BelowMinimum,
}

impl CarryReason {
    /// All reasons, in the order in which they are looked for.
    pub const ALL: [Self; 3] = [Self::NegativeBalance, Self::Blocked, Self::BelowMinimum];

    /// Returns the code as stored and shown.
    pub fn code(self) -> &'static str {
        match self {
            Self::NegativeBalance => "negative_balance",
            Self::Blocked => "blocked",
            Self::BelowMinimum => "below_minimum",
        }
    }

    /// Reads a stored code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.code() == code)
    }
}

/// What a partner is owed: its approved commissions that no payout holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    /// Who.
    pub partner_id: PartnerId,
    /// Whether the partner may be paid.
    pub standing: Standing,
    /// The smallest payout; zero for any.
    pub minimum: Money,
    /// The commissions with their signed amounts: clawbacks are below zero.
    pub commissions: Vec<(CommissionId, Money)>,
}

/// One payout to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedPayout {
    /// Who is paid.
    pub partner_id: PartnerId,
    /// The sum of the commissions, above zero.
    pub amount: Money,
    /// What it is made of.
    pub commissions: Vec<(CommissionId, Money)>,
}

/// What a batch will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchPlan {
    /// Who is paid.
    pub payouts: Vec<PlannedPayout>,
    /// Who is not, and why.
    pub carried_forward: Vec<CarriedForward>,
    /// The sum of the payouts.
    pub total: Money,
}

impl BatchPlan {
    /// Counts and sums who is carried forward for a reason.
    pub fn carried(&self, reason: CarryReason) -> Result<(usize, Money), MoneyError> {
        let of_it = self.carried_forward.iter().filter(|c| c.reason == reason);
        of_it
            .clone()
            .map(|c| c.amount)
            .try_fold(Money::zero(self.total.currency), Money::checked_add)
            .map(|sum| (of_it.count(), sum))
    }
}

/// Divides those who are owed something into those who are paid and those who are not.
///
/// A payout is all or nothing: it takes every commission of the partner, the negative ones too.
pub fn plan(owed: Vec<Owed>, currency: Currency) -> Result<BatchPlan, MoneyError> {
    let mut plan = BatchPlan {
        payouts: Vec::new(),
        carried_forward: Vec::new(),
        total: Money::zero(currency),
    };
    for Owed { partner_id, standing, minimum, commissions } in owed {
        let mut amounts = commissions.iter().map(|(_, amount)| *amount);
        let amount = amounts.try_fold(Money::zero(currency), Money::checked_add)?;
        match reason_not_to_pay(amount, standing, minimum) {
            Some(reason) => {
                plan.carried_forward.push(CarriedForward { partner_id, amount, reason });
            }
            None => {
                plan.total = plan.total.checked_add(amount)?;
                plan.payouts.push(PlannedPayout { partner_id, amount, commissions });
            }
        }
    }
    Ok(plan)
}

fn reason_not_to_pay(amount: Money, standing: Standing, minimum: Money) -> Option<CarryReason> {
    if amount.minor < 0 {
        return Some(CarryReason::NegativeBalance);
    }
    match standing {
        Standing::Blocked => Some(CarryReason::Blocked),
        // A payout of nothing is no payout, whatever the minimum.
        Standing::Good if amount.minor < minimum.minor.max(1) => Some(CarryReason::BelowMinimum),
        Standing::Good => None,
    }
}

/// What a batch is for: a month, `2026-10`, or a cycle named by a day, `2026-10-15`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Period(String);

/// Says that a text names no period.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a period is a month like 2026-10 or a day like 2026-10-15")]
pub struct BadPeriod;

impl FromStr for Period {
    type Err = BadPeriod;

    fn from_str(text: &str) -> Result<Self, BadPeriod> {
        let day = match text.len() {
            7 => format!("{text}-01"),
            _ => text.to_owned(),
        };
        // chrono reads `2026-1-5` too; one period must have one name.
        let date: NaiveDate = day.parse().map_err(|_| BadPeriod)?;
        let is_canonical = date.format("%Y-%m-%d").to_string() == day;
        is_canonical.then(|| Self(text.to_owned())).ok_or(BadPeriod)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn eur() -> Currency {
        "EUR".parse().unwrap()
    }

    fn owed(standing: Standing, minimum: i64, amounts: &[i64]) -> Owed {
        let commissions =
            amounts.iter().map(|&a| (CommissionId::new(), Money::new(a, eur()))).collect();
        let minimum = Money::new(minimum, eur());
        Owed { partner_id: PartnerId::new(), standing, minimum, commissions }
    }

    #[test]
    fn each_case_is_paid_or_carried_forward_for_its_reason() {
        use CarryReason::*;
        use Standing::{Blocked as Bad, Good};
        type Case = (Standing, i64, &'static [i64], Result<i64, CarryReason>);
        let cases: [Case; 11] = [
            (Good, 0, &[1], Ok(1)),
            (Good, 5000, &[5000], Ok(5000)),
            (Good, 5000, &[4999], Err(BelowMinimum)),
            (Good, 5000, &[9000, -4001], Err(BelowMinimum)),
            (Good, 5000, &[9000, -4000], Ok(5000)),
            (Good, 0, &[100, -100], Err(BelowMinimum)),
            (Good, 0, &[], Err(BelowMinimum)),
            (Good, 0, &[100, -101], Err(NegativeBalance)),
            (Bad, 0, &[100, -101], Err(NegativeBalance)),
            (Bad, 0, &[100], Err(Blocked)),
            (Bad, 5000, &[100], Err(Blocked)),
        ];
        for (standing, minimum, amounts, expected) in cases {
            let plan = plan(vec![owed(standing, minimum, amounts)], eur()).unwrap();
            let found = match (plan.payouts.as_slice(), plan.carried_forward.as_slice()) {
                ([paid], []) => Ok(paid.amount.minor),
                ([], [carried]) => Err(carried.reason),
                both => panic!("{both:?}"),
            };
            assert_eq!(found, expected, "{standing:?} {minimum} {amounts:?}");
        }
    }

    #[test]
    fn currencies_are_never_netted() {
        let mut mixed = owed(Standing::Good, 0, &[100]);
        mixed.commissions.push((CommissionId::new(), Money::new(100, "USD".parse().unwrap())));
        assert!(matches!(plan(vec![mixed], eur()), Err(MoneyError::CurrencyMismatch { .. })));
    }

    #[test]
    fn a_period_has_one_name() {
        for good in ["2026-10", "2026-02-28", "2024-02-29"] {
            assert_eq!(good.parse::<Period>().map(|p| p.to_string()).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "2026",
            "2026-13",
            "2026-1",
            "2026-00",
            "2026-02-29",
            "2026-1-05",
            "26-10-01",
            "2026-10-1",
            "2026-10-15T",
            " 2026-10",
            "+026-10",
            "2026-1 ",
        ] {
            assert_eq!(bad.parse::<Period>(), Err(BadPeriod), "{bad:?}");
        }
    }

    fn any_owed() -> impl Strategy<Value = Owed> {
        let standing = prop_oneof![Just(Standing::Good), Just(Standing::Blocked)];
        (standing, 0i64..5_000, prop::collection::vec(-10_000i64..10_000, 0..8))
            .prop_map(|(standing, minimum, amounts)| owed(standing, minimum, &amounts))
    }

    proptest! {
        #[test]
        fn all_that_is_owed_is_paid_or_carried_forward(all in prop::collection::vec(any_owed(), 0..20)) {
            let whole: i64 = all.iter().flat_map(|o| &o.commissions).map(|(_, m)| m.minor).sum();
            let n_all = all.len();
            let plan = plan(all, eur()).unwrap();
            let carried: i64 = plan.carried_forward.iter().map(|c| c.amount.minor).sum();
            prop_assert_eq!(plan.total.minor + carried, whole);
            prop_assert_eq!(plan.payouts.len() + plan.carried_forward.len(), n_all);
            for payout in &plan.payouts {
                let sum: i64 = payout.commissions.iter().map(|(_, m)| m.minor).sum();
                prop_assert_eq!(payout.amount.minor, sum);
                prop_assert!(payout.amount.is_positive());
            }
            let (mut n, mut sum) = (0, 0);
            for reason in CarryReason::ALL {
                let (count, amount) = plan.carried(reason).unwrap();
                n += count;
                sum += amount.minor;
            }
            prop_assert_eq!((n, sum), (plan.carried_forward.len(), carried));
        }
    }
}
