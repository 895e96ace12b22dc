//! Adjustments: what a person adds to a partner's balance or takes from it, with a reason.
//!
//! A bonus and a clawback belong to no conversion; a write-off forgives a debt, never more than it.
//! Each posts at once and is in the partner's next payout, like a commission.

pub mod http;
pub mod store;

use crate::clock::Timestamp;
use crate::ids::{AdjustmentId, PartnerId, ProgramId};
use crate::ledger::{Posting, PostingError};
use crate::money::Money;

/// What an adjustment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdjustmentKind {
    /// A voluntary extra.
    Bonus,
    /// Taken back.
    Clawback,
    /// A negative balance is forgiven.
    WriteOff,
}

impl AdjustmentKind {
    /// All of them, for reading and for tests.
    pub const ALL: [Self; 3] = [Self::Bonus, Self::Clawback, Self::WriteOff];

    /// Returns the code as stored and shown.
    pub fn code(self) -> &'static str {
        match self {
            Self::Bonus => "bonus",
            Self::Clawback => "clawback",
            Self::WriteOff => "write_off",
        }
    }

    /// Reads a stored code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.code() == code)
    }
}

/// An adjustment that is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Adjustment {
    /// The program whose book it is.
    pub program_id: ProgramId,
    /// Its id, which is also its name in the ledger.
    pub adjustment_id: AdjustmentId,
    /// Whose balance changes.
    pub partner_id: PartnerId,
    /// What it is.
    pub kind: AdjustmentKind,
    /// Below zero for a clawback, above zero for the others.
    pub amount: Money,
}

/// Why an adjustment is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAdjustment {
    /// The sign contradicts the kind.
    #[error("a {kind} needs an amount {needed} zero", kind = kind.code())]
    WrongSign {
        /// What was wanted.
        kind: AdjustmentKind,
        /// `above` or `below`.
        needed: &'static str,
    },
    /// There is no debt, or a smaller one.
    #[error("the partner owes {owed}: a write-off forgives a debt and no more than it")]
    NoSuchDebt {
        /// What the partner owes; zero for nothing.
        owed: Money,
    },
    /// The ledger cannot post it.
    #[error("the adjustment cannot be posted")]
    Posting(#[from] PostingError),
}

impl Adjustment {
    /// Decides whether it may be made and what it posts; `payable` is the partner's balance now.
    pub fn decide(&self, payable: Money, at: Timestamp) -> Result<Posting, NoAdjustment> {
        let (program, partner) = (self.program_id, self.partner_id);
        let key = self.adjustment_id.to_string();
        let wrong = |needed| NoAdjustment::WrongSign { kind: self.kind, needed };
        match self.kind {
            AdjustmentKind::Bonus if self.amount.minor <= 0 => Err(wrong("above")),
            AdjustmentKind::Bonus => Ok(Posting::bonus(program, partner, self.amount, &key, at)?),
            AdjustmentKind::Clawback if self.amount.minor >= 0 => Err(wrong("below")),
            AdjustmentKind::Clawback => {
                let amount = self.amount.checked_neg().map_err(PostingError::from)?;
                Ok(Posting::take_back(program, partner, amount, &key, at)?)
            }
            AdjustmentKind::WriteOff if self.amount.minor <= 0 => Err(wrong("above")),
            AdjustmentKind::WriteOff => {
                let debt = payable.minor.saturating_neg().max(0);
                if self.amount.minor > debt {
                    let owed = Money::new(debt, payable.currency);
                    return Err(NoAdjustment::NoSuchDebt { owed });
                }
                Ok(Posting::write_off(program, partner, self.amount, &key, at)?)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::posting::Code;

    #[test]
    fn each_kind_has_its_sign_and_a_write_off_its_debt() {
        use AdjustmentKind::*;
        let eur = "EUR".parse().unwrap();
        let cases = [
            (Bonus, 500, 0, Ok(Code::Bonus)),
            (Bonus, 0, 0, Err("a bonus needs an amount above zero")),
            (Bonus, -1, 0, Err("a bonus needs an amount above zero")),
            (Clawback, -500, 0, Ok(Code::Clawback)),
            (Clawback, 500, 0, Err("a clawback needs an amount below zero")),
            (WriteOff, 500, -500, Ok(Code::WriteOff)),
            (WriteOff, 499, -500, Ok(Code::WriteOff)),
            (
                WriteOff,
                501,
                -500,
                Err("the partner owes 5.00 EUR: a write-off forgives a debt and no more than it"),
            ),
            (
                WriteOff,
                1,
                700,
                Err("the partner owes 0.00 EUR: a write-off forgives a debt and no more than it"),
            ),
            (WriteOff, -1, -500, Err("a write_off needs an amount above zero")),
        ];
        for (kind, amount, payable, expected) in cases {
            let adjustment = Adjustment {
                program_id: ProgramId::new(),
                adjustment_id: AdjustmentId::new(),
                partner_id: PartnerId::new(),
                kind,
                amount: Money::new(amount, eur),
            };
            let made = adjustment.decide(Money::new(payable, eur), Timestamp::UNIX_EPOCH);
            let found = made.map(|p| p.code()).map_err(|e| e.to_string());
            assert_eq!(found, expected.map_err(str::to_owned), "{kind:?} {amount} {payable}");
            assert_eq!(AdjustmentKind::from_code(kind.code()), Some(kind));
        }
    }
}
