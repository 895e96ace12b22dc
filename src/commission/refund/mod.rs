//! What refunds and late changes of an order do to its commission.
//!
//! Refunds are increments, each with its `refund_id`; the same one twice counts once. What the
//! commission should be is a function of their *sum* and of nothing else, and only the difference
//! to what it is now is posted, so the order in which refunds arrive does not matter.
//!
//! **What is left after a partial refund.** A rate follows the sale down: the base shrinks in
//! proportion to the amount. A flat part and a minimum stay, because the lead or the customer was
//! brought all the same; they go when the order is refunded fully. An amount refunded beyond the
//! price is a full refund, never more: a partner does not pay for the shop's generosity.

use crate::commission::plan::Calculation;
use crate::commission::state::{CommissionState, Reservation};
use crate::money::{Money, MoneyError};

/// One refund of a conversion, as the shop reported it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refund {
    /// The shop's name for it, unique within the conversion.
    pub refund_id: String,
    /// How much of the amount was paid back by this refund; `None` is all of it.
    pub amount: Option<Money>,
}

/// A commission and what has happened to it so far.
#[derive(Clone, Copy, Debug)]
pub struct RefundFacts<'a> {
    /// Where it stands.
    pub state: CommissionState,
    /// Whether an open payout holds it.
    pub reservation: Reservation,
    /// How it was reckoned, before any refund.
    pub calculation: &'a Calculation,
    /// What its own row says now, after amendments.
    pub earned: Money,
    /// The signed sum of its clawback and adjustment rows; `None` if there are none.
    pub corrections: Option<Money>,
    /// The refunds already applied.
    pub refunds: &'a [Refund],
}

/// What is to be done; an amount not mentioned does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefundOutcome {
    /// The refund was applied before.
    AlreadyApplied,
    /// Remember the refund; the commission is right as it is.
    Unchanged,
    /// Change the pending amount.
    Amend {
        /// The new amount, above zero.
        to: Money,
        /// The signed difference to post.
        by: Money,
    },
    /// Reject it: nothing is left.
    Reject,
    /// Reverse it: nothing is left, and it was in no payout.
    Reverse,
    /// Open a clawback row.
    Clawback {
        /// What is taken back, above zero; the row's amount is its negative.
        take: Money,
    },
    /// Open an adjustment row of this signed amount.
    Adjust {
        /// What the partner gets more, or less.
        by: Money,
    },
}

/// Why a refund or an update cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IllegalRefund {
    /// The commission is over; there is nothing to take.
    #[error("the commission is already {state}", state = .0.code())]
    AlreadyOver(CommissionState),
    /// The same refund was reported with another amount.
    #[error("refund {refund_id} was reported with another amount before")]
    Conflict {
        /// The refund.
        refund_id: String,
    },
    /// A refund of nothing, or below it.
    #[error("refund {refund_id} must be above zero, found {amount}")]
    NotPositive {
        /// The refund.
        refund_id: String,
        /// The amount given.
        amount: Money,
    },
    /// The amounts cannot be reckoned together: another currency, most likely.
    #[error("the refund does not fit the conversion's amount")]
    Money(#[from] MoneyError),
}

/// Decides what a refund does to a commission.
pub fn on_refund(facts: &RefundFacts<'_>, refund: &Refund) -> Result<RefundOutcome, IllegalRefund> {
    let refund_id = &refund.refund_id;
    match facts.refunds.iter().find(|known| known.refund_id == *refund_id) {
        Some(known) if known.amount == refund.amount => return Ok(RefundOutcome::AlreadyApplied),
        Some(_) => return Err(IllegalRefund::Conflict { refund_id: refund_id.clone() }),
        None => {}
    }
    if let Some(amount) = refund.amount.filter(|amount| !amount.is_positive()) {
        return Err(IllegalRefund::NotPositive { refund_id: refund_id.clone(), amount });
    }
    let target = target(facts.calculation, facts.refunds.iter().chain([refund]))?;
    let by = target.checked_sub(facts.net()?)?;
    let is_untouched = facts.reservation == Reservation::Free && facts.corrections.is_none();
    match facts.state {
        CommissionState::Pending | CommissionState::OnHold if target.is_zero() => {
            Ok(RefundOutcome::Reject)
        }
        CommissionState::Pending | CommissionState::OnHold if !by.is_zero() => {
            Ok(RefundOutcome::Amend { to: target, by })
        }
        CommissionState::Pending | CommissionState::OnHold => Ok(RefundOutcome::Unchanged),
        CommissionState::Approved if target.is_zero() && is_untouched => Ok(RefundOutcome::Reverse),
        // A reserved or paid commission is never edited. Where more was taken back than the
        // refunds ask for, by hand, a refund gives nothing back.
        CommissionState::Approved | CommissionState::Paid if by.minor < 0 => {
            Ok(RefundOutcome::Clawback { take: by.checked_neg()? })
        }
        CommissionState::Approved | CommissionState::Paid => Ok(RefundOutcome::Unchanged),
        CommissionState::Rejected | CommissionState::Reversed => {
            Err(IllegalRefund::AlreadyOver(facts.state))
        }
    }
}

/// Decides what a changed order does to a commission; `new` is how it is reckoned now, `None` if
/// it earns nothing any more.
///
/// The refunds so far are taken off the new figure. Whether a pending commission may still be
/// updated at this hour is for [`transition`](super::state::transition) to say.
pub fn on_update(
    facts: &RefundFacts<'_>,
    new: Option<&Calculation>,
) -> Result<RefundOutcome, IllegalRefund> {
    let target = match new {
        Some(calculation) => target(calculation, facts.refunds)?,
        None => Money::zero(facts.earned.currency),
    };
    let by = target.checked_sub(facts.net()?)?;
    match facts.state {
        // A review changes nothing of what is owed: it is released with what the order says then.
        CommissionState::Pending | CommissionState::OnHold if target.is_zero() => {
            Ok(RefundOutcome::Reject)
        }
        CommissionState::Pending | CommissionState::OnHold if !by.is_zero() => {
            Ok(RefundOutcome::Amend { to: target, by })
        }
        CommissionState::Approved | CommissionState::Paid if !by.is_zero() => {
            Ok(RefundOutcome::Adjust { by })
        }
        CommissionState::Pending
        | CommissionState::OnHold
        | CommissionState::Approved
        | CommissionState::Paid => Ok(RefundOutcome::Unchanged),
        CommissionState::Rejected | CommissionState::Reversed => {
            Err(IllegalRefund::AlreadyOver(facts.state))
        }
    }
}

/// Returns what the commission should be when these refunds, in any order, are all there are.
pub fn target<'a>(
    calculation: &Calculation,
    refunds: impl IntoIterator<Item = &'a Refund>,
) -> Result<Money, MoneyError> {
    let nothing = Money::zero(calculation.total.currency);
    let mut refunded: Option<Money> = None;
    for refund in refunds {
        let Some(amount) = refund.amount else { return Ok(nothing) };
        refunded = Some(refunded.map_or(Ok(amount), |sum| sum.checked_add(amount))?);
    }
    match (refunded, calculation.facts.amount) {
        (None, _) => Ok(calculation.total),
        (Some(sum), Some(price)) if !price.checked_sub(sum)?.is_positive() => Ok(nothing),
        (Some(sum), _) => calculation.after_refund_of(sum),
    }
}

impl RefundFacts<'_> {
    /// Returns what the partner has of this commission now, corrections included.
    pub fn net(&self) -> Result<Money, MoneyError> {
        self.corrections.map_or(Ok(self.earned), |sum| self.earned.checked_add(sum))
    }
}

#[cfg(test)]
mod tests;
