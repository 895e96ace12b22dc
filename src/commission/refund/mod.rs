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

use crate::commission::plan::{Calculation, NoCommission};
use crate::commission::row::due;
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
    /// What of that a person took back, signed: it stays taken back.
    pub by_hand: Option<Money>,
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
    let left = left(facts.calculation, facts.refunds.iter().chain([refund]))?;
    on_less(&facts.held(), &Target::of(facts.calculation, left.as_ref()))
}

/// What a partner has of a commission, and whether it may still be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Where it stands.
    pub state: CommissionState,
    /// Whether an open payout holds it.
    pub reservation: Reservation,
    /// What its own row says now, after amendments.
    pub earned: Money,
    /// The signed sum of its corrections; `None` if there are none.
    pub corrections: Option<Money>,
    /// What of that a person took back, signed.
    pub by_hand: Option<Money>,
}

/// What a commission should come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The amount, not below zero.
    pub amount: Money,
    /// Whether nothing can come back: zero by a cap alone is not the end.
    pub is_end: bool,
}

impl Target {
    /// Returns the target of a commission of which this is left.
    pub fn of(before: &Calculation, left: Option<&Calculation>) -> Self {
        match left {
            Some(left) => {
                Self { amount: left.total, is_end: left.total.is_zero() && !left.is_counted() }
            }
            None => Self { amount: Money::zero(before.total.currency), is_end: true },
        }
    }
}

/// Decides what a lower target does to a commission: what was refunded is taken back.
pub fn on_less(facts: &Held, target: &Target) -> Result<RefundOutcome, IllegalRefund> {
    let by = facts.due(target).checked_sub(facts.net()?)?;
    let is_untouched = facts.reservation == Reservation::Free && facts.corrections.is_none();
    match facts.state {
        CommissionState::Pending | CommissionState::OnHold if target.is_end => {
            Ok(RefundOutcome::Reject)
        }
        CommissionState::Pending | CommissionState::OnHold if !by.is_zero() => {
            Ok(RefundOutcome::Amend { to: target.amount, by })
        }
        CommissionState::Pending | CommissionState::OnHold => Ok(RefundOutcome::Unchanged),
        CommissionState::Approved if target.is_end && is_untouched => Ok(RefundOutcome::Reverse),
        // A reserved or paid commission is never edited; a refund gives nothing back.
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
    let left = match new {
        Some(calculation) => left(calculation, facts.refunds)?,
        None => None,
    };
    on_change(&facts.held(), &Target::of(facts.calculation, left.as_ref()))
}

/// Decides what another target does to a commission: the partner gets more, or less.
pub fn on_change(facts: &Held, target: &Target) -> Result<RefundOutcome, IllegalRefund> {
    let by = facts.due(target).checked_sub(facts.net()?)?;
    match facts.state {
        // A review changes nothing of what is owed: it is released with what the order says then.
        CommissionState::Pending | CommissionState::OnHold if target.is_end => {
            Ok(RefundOutcome::Reject)
        }
        CommissionState::Pending | CommissionState::OnHold if !by.is_zero() => {
            Ok(RefundOutcome::Amend { to: target.amount, by })
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

/// Returns the calculation as it is when these refunds, in any order, are all there are; none when
/// nothing is left of the order.
pub fn left<'a>(
    calculation: &Calculation,
    refunds: impl IntoIterator<Item = &'a Refund>,
) -> Result<Option<Calculation>, MoneyError> {
    let mut refunded: Option<Money> = None;
    for refund in refunds {
        let Some(amount) = refund.amount else { return Ok(None) };
        refunded = Some(refunded.map_or(Ok(amount), |sum| sum.checked_add(amount))?);
    }
    match (refunded, calculation.inputs.facts.amount) {
        (None, _) => Ok(Some(calculation.clone())),
        (Some(sum), Some(price)) if !price.checked_sub(sum)?.is_positive() => Ok(None),
        (Some(sum), _) => match calculation.after_refund_of(sum) {
            Ok(left) => Ok(Some(left)),
            Err(NoCommission::Amounts(error)) => Err(error),
            // A part of the order cannot fail where the whole did not; if it does, nothing is left.
            Err(_) => Ok(None),
        },
    }
}

impl RefundFacts<'_> {
    /// Returns where it stands and what the partner has of it.
    pub fn held(&self) -> Held {
        Held {
            state: self.state,
            reservation: self.reservation,
            earned: self.earned,
            corrections: self.corrections,
            by_hand: self.by_hand,
        }
    }
}

impl Held {
    /// Returns what is due of a target: what a person took back comes off, and never more than there
    /// is.
    fn due(&self, target: &Target) -> Money {
        due(target.amount, self.by_hand.map_or(0, |by_hand| by_hand.minor))
    }

    /// Returns what the partner has of this commission now, corrections included.
    pub fn net(&self) -> Result<Money, MoneyError> {
        self.corrections.map_or(Ok(self.earned), |sum| self.earned.checked_add(sum))
    }
}

#[cfg(test)]
mod tests;
