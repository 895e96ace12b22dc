//! Caps and budgets: at most so much in a period, for each partner or for all together.

use super::counter::{Counter, Owner, Period, Scope};
use crate::money::{Bps, Money, MoneyError, Rounding};

/// Most caps of one rule, and of a whole plan.
pub const CAPS_MAX: usize = 8;

/// At most this much in a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cap {
    /// How long is counted.
    pub period: Period,
    /// For whom.
    pub per: Owner,
    /// The most.
    pub amount: Money,
    /// The rate for what lies beyond; nothing is paid for it where there is none.
    pub then: Option<Bps>,
}

/// What a cap did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapStep {
    /// The cap.
    pub cap: Cap,
    /// What had been earned under it before, in minor units.
    pub before_minor: i64,
    /// What it found.
    pub found: Money,
    /// How much of that fitted below it.
    pub within: Money,
    /// What was paid for the rest.
    pub beyond: Money,
}

impl Cap {
    /// Returns its counter, in the scope of its rule or plan.
    pub fn counter(&self, scope: Scope) -> Counter {
        Counter { scope, owner: self.per, period: self.period }
    }

    /// Applies it to what was found; `rate` is the rate that led there, for the rest.
    pub fn apply(
        &self,
        found: Money,
        before_minor: i64,
        rate: Option<Bps>,
        rounding: Rounding,
    ) -> Result<CapStep, MoneyError> {
        let zero = Money::zero(found.currency);
        let room = self.amount.checked_sub(Money::new(before_minor, found.currency))?;
        let within = if room.minor <= 0 {
            zero
        } else if room.minor < found.minor {
            room
        } else {
            found
        };
        let rest = found.checked_sub(within)?;
        let beyond = match (self.then, rate) {
            (Some(then), Some(rate)) if rate.0 > 0 => {
                rest.mul_ratio(i64::from(then.0), i64::from(rate.0), rounding)?
            }
            (Some(_) | None, _) => zero,
        };
        Ok(CapStep { cap: *self, before_minor, found, within, beyond })
    }
}

impl CapStep {
    /// Returns what is left of what it found.
    pub fn result(&self) -> Result<Money, MoneyError> {
        self.within.checked_add(self.beyond)
    }

    /// Returns whether it changed anything.
    pub fn is_felt(&self) -> bool {
        self.within != self.found
    }
}

/// Returns the scope of the caps of a whole plan in this currency.
pub fn plan_scope(currency: crate::money::Currency) -> Scope {
    Scope::of(&format!("plan;{currency}"))
}
