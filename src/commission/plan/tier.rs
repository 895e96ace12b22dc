//! Tiers: the rate rises with what the partner brought in a period.
//!
//! *Progressive* is like income tax: each step's rate holds for what lies within the step, and a
//! sale that crosses a threshold is split there. *Retroactive* gives the whole period the rate that
//! was reached; commissions before the threshold are raised when it is crossed.

use super::counter::{Counter, Owner, Period, Scope, Sum, Volume};
use crate::money::{Bps, Money};

/// Most steps; beyond that nobody can tell the rate.
pub const STEPS_MAX: usize = 20;

/// How a threshold works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TierMode {
    /// For what lies above it.
    Progressive,
    /// For the whole period.
    Retroactive,
}

impl TierMode {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Progressive, Self::Retroactive];

    /// Returns the code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Progressive => "progressive",
            Self::Retroactive => "retroactive",
        }
    }
}

/// What thresholds are measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Conversions: `from` 11 begins with the eleventh.
    Count,
    /// Money: `from` 1000.00 begins above that.
    Amount,
}

impl Measure {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Count, Self::Amount];

    /// Returns the code: `count` or `amount`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Amount => "amount",
        }
    }
}

/// The tiers of a rule; below the first step the rule's own rate holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tiers {
    /// How long is counted.
    pub period: Period,
    /// How thresholds work.
    pub mode: TierMode,
    /// What they are measured in.
    pub by: Measure,
    /// The steps, by rising threshold.
    pub steps: Vec<TierStep>,
}

/// A threshold and what holds from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TierStep {
    /// Conversions, or minor units.
    pub from: i64,
    /// The rate, where the rule has one.
    pub rate: Option<Bps>,
    /// The fixed part, where the rule has one.
    pub flat: Option<Money>,
}

/// A part of a sale's base and the rate that it is priced at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Which step, from 1; 0 is the rule's own rate.
    pub step: usize,
    /// How much of the base.
    pub base: Money,
    /// At which rate.
    pub rate: Bps,
}

impl Tiers {
    /// Returns its counter, in the scope of its rule.
    pub fn counter(&self, scope: Scope) -> Counter {
        Counter { scope, owner: Owner::Partner, period: self.period }
    }

    /// Returns how many steps have been reached when a conversion of this volume is priced.
    pub fn reached(&self, sum: &Sum, this: Volume) -> usize {
        let upto = sum.before.plus(this);
        let (n, amount) = match self.mode {
            TierMode::Progressive => (upto.n, sum.before.amount_minor),
            // What is known of the period never leaves out the conversion itself.
            TierMode::Retroactive => {
                (upto.n.max(sum.whole.n), upto.amount_minor.max(sum.whole.amount_minor))
            }
        };
        let is_reached = |step: &&TierStep| match (self.by, self.mode) {
            (Measure::Count, _) => n >= step.from,
            (Measure::Amount, TierMode::Progressive) => amount >= step.from,
            (Measure::Amount, TierMode::Retroactive) => amount > step.from,
        };
        self.steps.iter().take_while(is_reached).count()
    }

    /// Cuts a base at the thresholds that lie within it, beginning after `before` minor units.
    pub fn slices(&self, own: Bps, base: Money, sum: &Sum, this: Volume) -> Vec<Slice> {
        let reached = self.reached(sum, this);
        let rate = |step: usize| match step.checked_sub(1).and_then(|n| self.steps.get(n)) {
            Some(step) => step.rate.unwrap_or(own),
            None => own,
        };
        if self.mode == TierMode::Retroactive || self.by == Measure::Count {
            return vec![Slice { step: reached, base, rate: rate(reached) }];
        }
        let (mut at, end) = (sum.before.amount_minor, sum.before.amount_minor + base.minor);
        let mut slices = Vec::new();
        for step in reached..=self.steps.len() {
            let next = self.steps.get(step).map_or(end, |next| next.from.min(end));
            if next > at {
                let base = Money::new(next - at, base.currency);
                slices.push(Slice { step, base, rate: rate(step) });
                at = next;
            }
        }
        slices
    }

    /// Returns the fixed part that holds, if a step changes it.
    pub fn flat(&self, sum: &Sum, this: Volume) -> Option<Money> {
        let reached = self.reached(sum, this);
        reached.checked_sub(1).and_then(|n| self.steps.get(n)).and_then(|step| step.flat)
    }
}
