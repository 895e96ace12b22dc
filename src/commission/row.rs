//! A commission as it stands, and the step that takes it from one state to the next.
//!
//! A [`Step`] is a decision that is ready to be applied: the commission after it, what is told in
//! its history, and what the ledger posts. It is made here, without a database, and written by
//! the store, many at a time.

use crate::clock::Timestamp;
use crate::commission::plan::arithmetic::Arithmetic;
use crate::commission::plan::{Approval, wire};
use crate::commission::pricing::{Arrival, Counted};
use crate::commission::state::{
    Action, CommissionFacts, CommissionKind, CommissionState, IllegalTransition, Reason,
    Reservation, Standing, transition,
};
use crate::ids::{CommissionId, ConversionId, PartnerId, PayoutId, PlanVersionId, ProgramId};
use crate::ledger::posting::{Code, CommissionRef};
use crate::ledger::{Posting, PostingError};
use crate::money::{Money, MoneyError};

/// The rule of steps that follow from reckoning a period again.
pub const REVALUED: &str = "period_revalued";

/// A commission: what a partner is owed for a conversion, or what is taken back.
#[derive(Clone, Debug, PartialEq)]
pub struct Commission {
    /// The program that pays.
    pub program_id: ProgramId,
    /// Key of the row.
    pub commission_id: CommissionId,
    /// Earned, clawback or adjustment.
    pub kind: CommissionKind,
    /// Where it stands.
    pub state: CommissionState,
    /// Who is paid.
    pub partner_id: PartnerId,
    /// What it is paid for; none for clicks.
    pub conversion_id: Option<ConversionId>,
    /// The commission that a clawback or an adjustment corrects.
    pub corrects_id: Option<CommissionId>,
    /// The refund or message behind a correction; empty for what was earned.
    pub cause: String,
    /// Below zero for a clawback.
    pub amount: Money,
    /// The edition of the plan that priced it.
    pub plan_version_id: Option<PlanVersionId>,
    /// Inputs and every step of the arithmetic, for people and for the audit.
    pub calculation: Arithmetic,
    /// When the conversion happened.
    pub occurred_at: Timestamp,
    /// When its hold is over.
    pub hold_until: Timestamp,
    /// Whether time alone approves it.
    pub approval: Approval,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was approved.
    pub approved_at: Option<Timestamp>,
    /// Why it was held, refused or taken back.
    pub reason: Option<String>,
    /// The payout that holds it, or paid it.
    pub payout_id: Option<PayoutId>,
    /// Rises with every step, from 1.
    pub revision: i32,
}

/// One step of a commission, ready to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The commission after the step.
    pub after: Commission,
    /// Where it stood before; none for a commission that is opened.
    pub from: Option<CommissionState>,
    /// What the ledger posts.
    pub posting: Option<Posting>,
    /// Who did it and by which rule.
    pub by: Hand,
    /// What it adds to the sums of its periods; of an opening only.
    pub counted: Vec<Counted>,
    /// Whether its periods are to be reckoned again.
    pub arrival: Arrival,
}

impl Step {
    fn new(
        after: Commission,
        from: Option<CommissionState>,
        posting: Option<Posting>,
        by: Hand,
    ) -> Self {
        Self { after, from, posting, by, counted: Vec::new(), arrival: Arrival::InOrder }
    }

    /// Returns whether the periods of the commission are to be reckoned again: it came late, or
    /// what was counted of it is no longer so.
    pub fn is_unsettling(&self) -> bool {
        let after = &self.after;
        if self.by.rule == REVALUED || !after.calculation.is_counted() {
            return false;
        }
        let is_over = matches!(after.state, CommissionState::Rejected | CommissionState::Reversed);
        let is_amended = self.posting.as_ref().is_some_and(|p| p.code() == Code::Amend);
        let is_correction = self.from.is_none() && !after.kind.is_earned();
        self.arrival == Arrival::Unsettling
            || (self.from.is_some() && (is_over || is_amended))
            || is_correction
    }
}

/// How the causes of what a person took back begin; refunds and orders take nothing of it back.
const BY_HAND: &str = "by_hand:";

/// Returns whether this is the cause of what a person took back.
pub fn is_by_hand(cause: &str) -> bool {
    cause.starts_with(BY_HAND)
}

/// Returns what is due of an amount of which a person took this back, below zero: never more than
/// there is.
pub fn due(amount: Money, by_hand_minor: i64) -> Money {
    let minor = amount.minor.saturating_add(by_hand_minor);
    if by_hand_minor == 0 { amount } else { Money { minor: minor.max(0), ..amount } }
}

/// The rule of a hold that was extended, in its history.
pub const EXTENDED: &str = "extended";

/// Who takes a step, when, and by which rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hand {
    /// `system`, `user:us_…` or `source:src_…`.
    pub actor: String,
    /// The rule or message that led to it, such as `hold_elapsed`.
    pub rule: &'static str,
    /// What the actor said about it.
    pub note: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// Why a step cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoStep {
    /// The state does not allow it.
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
    /// The amounts cannot be posted.
    #[error(transparent)]
    Posting(#[from] PostingError),
    /// The amounts cannot be reckoned.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

impl Commission {
    /// Returns how it stands towards payouts.
    pub fn reservation(&self) -> Reservation {
        if self.payout_id.is_some() { Reservation::Reserved } else { Reservation::Free }
    }

    fn facts(&self, standing: Standing, has_corrections: bool, now: Timestamp) -> CommissionFacts {
        CommissionFacts {
            kind: self.kind,
            state: self.state,
            reservation: self.reservation(),
            has_corrections,
            hold_until: self.hold_until,
            approval: self.approval,
            standing,
            now,
        }
    }

    fn posting_ref(&self, at: Timestamp) -> CommissionRef {
        CommissionRef {
            program: self.program_id,
            partner: self.partner_id,
            commission: self.commission_id,
            effective_at: at,
        }
    }

    /// Opens it: the first step of an earned commission, a clawback or an adjustment.
    ///
    /// What was earned posts `accrue` while pending and nothing when refused; corrections are
    /// approved at once and post their own code.
    pub fn open(self, by: Hand) -> Result<Step, NoStep> {
        // What was earned takes effect when it happened, however late it is told.
        let effective_at = match self.kind {
            CommissionKind::Earned | CommissionKind::Recruiter | CommissionKind::Clicks => {
                self.occurred_at.min(by.at)
            }
            CommissionKind::Clawback | CommissionKind::Adjustment | CommissionKind::TrueUp => by.at,
        };
        let of = self.posting_ref(effective_at);
        let posting = match (self.kind, self.state) {
            (kind, CommissionState::Rejected) if kind.is_earned() => None,
            // A part of very little, or one that a cap left nothing of, moves no money.
            (kind, _) if kind.is_earned() && self.amount.is_zero() => None,
            (CommissionKind::Earned | CommissionKind::Recruiter | CommissionKind::Clicks, _) => {
                Some(Posting::accrue(of, self.amount)?)
            }
            (CommissionKind::Clawback, _) => {
                Some(Posting::clawback(of, self.amount.checked_neg()?)?)
            }
            (CommissionKind::Adjustment | CommissionKind::TrueUp, _) => {
                Some(Posting::adjust(of, self.amount)?)
            }
        };
        Ok(Step::new(self, None, posting, by))
    }

    /// Takes an action that changes its state and not its amount.
    pub fn take(
        &self,
        action: Action,
        standing: Standing,
        has_corrections: bool,
        by: Hand,
    ) -> Result<Step, NoStep> {
        let outcome = transition(&self.facts(standing, has_corrections, by.at), action)?;
        let of = self.posting_ref(by.at);
        let posting = match outcome.posting {
            _ if self.amount.is_zero() => None,
            Some(Code::Approve) => Some(Posting::approve(of, self.amount)?),
            Some(Code::Reject) => Some(Posting::reject(of, self.amount)?),
            Some(Code::Reverse) => Some(Posting::reverse(of, self.amount)?),
            // Payout codes are posted once for the payout; what opens a row is posted with it.
            Some(_) | None => None,
        };
        let mut after = self.next();
        after.state = outcome.state;
        after.hold_until = outcome.hold_until;
        if outcome.reservation == Reservation::Free {
            after.payout_id = None;
        }
        if outcome.state == CommissionState::Approved && self.state == CommissionState::Pending {
            after.approved_at = Some(by.at);
        }
        if action == Action::Release {
            // Why it was held stays in its history; nothing is wrong with it any more.
            after.reason = None;
        }
        if let Some(reason) = action.reason() {
            after.reason = Some(reason.code().to_owned());
        }
        Ok(Step::new(after, Some(self.state), posting, by))
    }

    /// Reserves it for a payout.
    pub fn reserve(&self, payout: PayoutId, standing: Standing, by: Hand) -> Result<Step, NoStep> {
        let mut step = self.take(Action::Reserve, standing, false, by)?;
        step.after.payout_id = Some(payout);
        Ok(step)
    }

    /// Changes the amount before approval.
    pub fn amend(&self, action: Action, to: Money, by: Money, hand: Hand) -> Result<Step, NoStep> {
        transition(&self.facts(Standing::Good, false, hand.at), action)?;
        let mut after = self.next();
        after.amount = to;
        let revision = u32::try_from(after.revision).unwrap_or(u32::MAX);
        let posting = Posting::amend(self.posting_ref(hand.at), by, revision)?;
        Ok(Step::new(after, Some(self.state), Some(posting), hand))
    }

    /// Opens a clawback or an adjustment of it; `amount` is signed.
    pub fn correct(
        &self,
        kind: CommissionKind,
        amount: Money,
        cause: String,
        reason: Option<Reason>,
        by: Hand,
    ) -> Result<Step, NoStep> {
        let action = match kind {
            CommissionKind::Clawback => Action::ClawBack(reason.unwrap_or(Reason::Other)),
            CommissionKind::TrueUp
            | CommissionKind::Adjustment
            | CommissionKind::Earned
            | CommissionKind::Recruiter
            | CommissionKind::Clicks => Action::Adjust,
        };
        transition(&self.facts(Standing::Good, true, by.at), action)?;
        let row = Self {
            commission_id: CommissionId::new(),
            kind,
            state: CommissionState::Approved,
            corrects_id: Some(self.commission_id),
            calculation: serde_json::json!({
                "corrects": self.commission_id,
                "cause": cause,
                "is_counted": self.calculation.is_counted(),
            })
            .into(),
            cause,
            amount,
            created_at: by.at,
            approved_at: Some(by.at),
            reason: reason.map(|r| r.code().to_owned()),
            payout_id: None,
            revision: 1,
            ..self.clone()
        };
        row.open(by)
    }

    /// Says whether an action is possible.
    pub fn check(&self, action: Action, now: Timestamp) -> Result<(), IllegalTransition> {
        transition(&self.facts(Standing::Good, true, now), action).map(drop)
    }

    /// Takes back what a person says; `number` tells this row from earlier ones, `arithmetic` is what
    /// still holds of it.
    pub fn take_back(
        &self,
        take: Money,
        number: usize,
        arithmetic: &serde_json::Value,
        reason: Reason,
        by: Hand,
    ) -> Result<Step, NoStep> {
        let cause = format!("{BY_HAND}{}:{number}", self.commission_id);
        let kind = CommissionKind::Clawback;
        let mut step = self.correct(kind, take.checked_neg()?, cause, Some(reason), by)?;
        if arithmetic.get("inputs").is_some() {
            let row = &mut step.after;
            row.calculation = wire::corrected(&row.calculation, arithmetic.clone()).into();
        }
        Ok(step)
    }

    /// Returns whether a person took it back, whatever the order says.
    pub fn is_by_hand(&self) -> bool {
        self.kind == CommissionKind::Clawback && is_by_hand(&self.cause)
    }

    /// Notes in its history what was done about it, and nothing else: its revision rises, so that
    /// nobody decides on what another has decided about meanwhile.
    pub fn note(&self, by: Hand) -> Step {
        Step::new(self.next(), Some(self.state), None, by)
    }

    /// Lets its hold end then, because it was delivered.
    pub fn deliver(&self, hold_until: Timestamp, by: Hand) -> Step {
        let mut step = self.note(Hand { rule: "delivered", ..by });
        step.after.hold_until = hold_until;
        step
    }

    /// Lets its hold last so many days longer.
    pub fn extend(&self, days: u16, reason: Reason, by: Hand) -> Result<Step, NoStep> {
        let by = Hand { rule: EXTENDED, ..by };
        let mut step = self.take(Action::Extend(reason), Standing::Good, false, by)?;
        step.after.hold_until = self.hold_until + chrono::Duration::days(i64::from(days));
        // Why a hold lasts longer is in its history; nothing is wrong with what was earned.
        step.after.reason.clone_from(&self.reason);
        Ok(step)
    }

    fn next(&self) -> Self {
        Self { revision: self.revision + 1, ..self.clone() }
    }
}
