//! The same amount for each conversion, whatever it was worth: leads, installs, bounties.

use crate::commission::plan::{FieldError, RuleDocument};
use crate::money::Money;

/// A fixed amount, above zero, in the rule's currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flat {
    /// The amount.
    pub amount: Money,
}

impl Flat {
    /// Reads `flat` of the rule at `pointer`.
    pub fn read(rule: &RuleDocument, pointer: &str) -> Result<Self, FieldError> {
        let missing =
            || FieldError::new(format!("{pointer}/flat"), "is missing: send it like 5.00");
        let amount = rule.amount("flat", rule.flat.as_deref(), pointer)?.ok_or_else(missing)?;
        Ok(Self { amount })
    }
}
