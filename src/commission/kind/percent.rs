//! A share of the sale's base: tax, shipping and discount are taken off first.

use crate::commission::plan::{FieldError, RuleDocument};
use crate::money::Bps;

/// A rate of the base, above 0 and at most 100 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percent {
    /// The rate.
    pub rate: Bps,
}

impl Percent {
    /// Reads `percent_bps` of the rule at `pointer`.
    pub fn read(rule: &RuleDocument, pointer: &str) -> Result<Self, FieldError> {
        let at = || format!("{pointer}/percent_bps");
        match rule.percent_bps {
            None => Err(FieldError::new(at(), "is missing: 2000 is 20 %")),
            // A share above the whole is 20000 typed for 2000, not a reward.
            Some(bps) if !(1..=Bps::WHOLE.0).contains(&bps) => {
                Err(FieldError::new(at(), format!("{bps} is not from 1 to 10000: 2000 is 20 %")))
            }
            Some(bps) => Ok(Self { rate: Bps(bps) }),
        }
    }
}
