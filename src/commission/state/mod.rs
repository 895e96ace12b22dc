//! The life of a commission: the one table of what may follow what, and what the ledger posts.
//!
//! ```text
//! open ─ accrue ─> pending ─ approve ─> approved ─ reserve ─> approved, reserved ─ pay ─> paid
//!                  │  ^  └─ reject ─> rejected  └─ reverse ─> reversed
//!               hold  release                        cancel, fail, return ─> approved
//!                  v  │
//!                 on_hold ─ reject ─> rejected
//! ```
//! A hold may be extended once while it is pending. A clawback or an adjustment opens a row of its own, approved at once, and never edits the
//! original. Rejected and reversed are the end; an appeal opens a new commission.

use crate::clock::Timestamp;
use crate::commission::hold;
use crate::commission::plan::Approval;
use crate::ledger::Code;

/// Implements `code` and `from_code` from one table, and `ALL`.
macro_rules! coded {
    ($name:ident: $($variant:ident = $code:literal),+ $(,)?) => {
        impl $name {
            /// All of them, for reading and for tests.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Returns the code as stored.
            pub fn code(self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }

            /// Reads a stored code.
            pub fn from_code(code: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.code() == code)
            }
        }
    };
}

/// Where a commission stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CommissionState {
    /// Earned; the hold is running and the amount may change.
    Pending,
    /// Frozen for review, the clock stopped.
    OnHold,
    /// Owed; the amount is frozen.
    Approved,
    /// Refused before approval.
    Rejected,
    /// Taken back wholly between approval and payout.
    Reversed,
    /// In a payout that was paid.
    Paid,
}

coded!(CommissionState:
    Pending = "pending", OnHold = "on_hold", Approved = "approved", Rejected = "rejected",
    Reversed = "reversed", Paid = "paid",
);

/// What a commission row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CommissionKind {
    /// What a conversion earned; above zero.
    Earned,
    /// What is taken back of an approved or paid commission; below zero.
    Clawback,
    /// What an order's change after approval adds or takes; either sign.
    Adjustment,
    /// What a tier that was reached later adds to an approved commission; above zero.
    TrueUp,
    /// What the recruiter of a partner has of its sale; follows the partner's commission.
    Recruiter,
    /// What the clicks of a day earned; zero or more.
    Clicks,
}

coded!(CommissionKind:
    Earned = "earned", Clawback = "clawback", Adjustment = "adjustment", TrueUp = "true_up",
    Recruiter = "recruiter", Clicks = "clicks",
);

impl CommissionKind {
    /// Returns whether a conversion or clicks earned it; the others correct such a row.
    pub fn is_earned(self) -> bool {
        match self {
            Self::Earned | Self::Recruiter | Self::Clicks => true,
            Self::Clawback | Self::Adjustment | Self::TrueUp => false,
        }
    }
}

/// Why a commission is held, refused or taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The order was canceled or refunded.
    OrderCanceled,
    /// The evidence says fraud.
    Fraud,
    /// The partner broke the program's terms.
    TermsViolation,
    /// It was attributed wrongly.
    TrackingError,
    /// The customer's payment failed.
    PaymentFailed,
    /// The partner may not earn here: self-referral, blocked, outside the cap.
    IneligiblePartner,
    /// The same result was counted before.
    Duplicate,
    /// Something else, told in a note.
    Other,
}

coded!(Reason:
    OrderCanceled = "order_canceled", Fraud = "fraud", TermsViolation = "terms_violation",
    TrackingError = "tracking_error", PaymentFailed = "payment_failed",
    IneligiblePartner = "ineligible_partner", Duplicate = "duplicate", Other = "other",
);

/// Whether a commission has a `payout_id`: it is in an open payout, or in the one that paid it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reservation {
    /// In none.
    Free,
    /// In one, open or paid: no other may take it.
    Reserved,
}

/// Whether the partner may be approved and paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Yes.
    Good,
    /// Not while the block stands.
    Blocked,
}

/// What decides whether a commission may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommissionFacts {
    /// What row it is.
    pub kind: CommissionKind,
    /// Where it stands.
    pub state: CommissionState,
    /// Whether a payout holds it.
    pub reservation: Reservation,
    /// Whether clawback or adjustment rows point to it.
    pub has_corrections: bool,
    /// When its hold is over.
    pub hold_until: Timestamp,
    /// Who approves it, as [`hold::approval`] says.
    pub approval: Approval,
    /// How the partner stands.
    pub standing: Standing,
    /// The time of the change.
    pub now: Timestamp,
}

/// How a row comes into being.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// A conversion was accepted and earns something.
    Accept,
    /// A rule refuses it: self-referral, cap, blocked partner.
    Refuse(Reason),
    /// An approved or paid commission is taken back, in part or wholly.
    Clawback(Reason),
    /// An order changed after approval.
    Adjustment,
}

/// What somebody or something wants to do with a commission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The order changed: a new amount.
    Update,
    /// Part of the order was refunded before approval.
    Amend,
    /// The timer found the hold over.
    ApproveDue,
    /// The merchant or a user approves.
    Approve,
    /// Freeze it for review.
    Hold(Reason),
    /// End the review.
    Release,
    /// Let its hold last longer, once.
    Extend(Reason),
    /// Refuse it before approval; a full refund too.
    Reject(Reason),
    /// Take it back wholly before any payout; a full refund too.
    Reverse(Reason),
    /// Take it back in part, or after it entered a payout: opens a clawback row.
    ClawBack(Reason),
    /// The order changed after approval: opens an adjustment row.
    Adjust,
    /// A payout takes it.
    Reserve,
    /// Its payout was called off.
    CancelPayout,
    /// The bank refused its payout.
    FailPayout,
    /// Its payout was paid.
    Pay,
    /// The bank sent its payout back.
    ReturnPayout,
}

/// The name of an [`Action`], without its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the action of the same name")]
pub enum ActionCode {
    Update,
    Amend,
    ApproveDue,
    Approve,
    Hold,
    Release,
    Extend,
    Reject,
    Reverse,
    ClawBack,
    Adjust,
    Reserve,
    CancelPayout,
    FailPayout,
    Pay,
    ReturnPayout,
}

coded!(ActionCode:
    Update = "update", Amend = "amend", ApproveDue = "approve_due", Approve = "approve",
    Hold = "hold", Release = "release", Extend = "extend", Reject = "reject", Reverse = "reverse",
    ClawBack = "clawback", Adjust = "adjust", Reserve = "reserve",
    CancelPayout = "cancel_payout", FailPayout = "fail_payout", Pay = "pay",
    ReturnPayout = "return_payout",
);

impl Action {
    /// Returns its name.
    pub fn code(self) -> ActionCode {
        match self {
            Self::Update => ActionCode::Update,
            Self::Amend => ActionCode::Amend,
            Self::ApproveDue => ActionCode::ApproveDue,
            Self::Approve => ActionCode::Approve,
            Self::Hold(_) => ActionCode::Hold,
            Self::Release => ActionCode::Release,
            Self::Extend(_) => ActionCode::Extend,
            Self::Reject(_) => ActionCode::Reject,
            Self::Reverse(_) => ActionCode::Reverse,
            Self::ClawBack(_) => ActionCode::ClawBack,
            Self::Adjust => ActionCode::Adjust,
            Self::Reserve => ActionCode::Reserve,
            Self::CancelPayout => ActionCode::CancelPayout,
            Self::FailPayout => ActionCode::FailPayout,
            Self::Pay => ActionCode::Pay,
            Self::ReturnPayout => ActionCode::ReturnPayout,
        }
    }

    /// Returns the reason that must be stored with it.
    pub fn reason(self) -> Option<Reason> {
        match self {
            Self::Hold(reason)
            | Self::Extend(reason)
            | Self::Reject(reason)
            | Self::Reverse(reason)
            | Self::ClawBack(reason) => Some(reason),
            Self::Update
            | Self::Amend
            | Self::ApproveDue
            | Self::Approve
            | Self::Release
            | Self::Adjust
            | Self::Reserve
            | Self::CancelPayout
            | Self::FailPayout
            | Self::Pay
            | Self::ReturnPayout => None,
        }
    }
}

/// What a change does to the row, and what is posted with it in the same database transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Where the commission stands afterwards.
    pub state: CommissionState,
    /// Whether a payout holds it afterwards.
    pub reservation: Reservation,
    /// When its hold is over afterwards.
    pub hold_until: Timestamp,
    /// What the ledger posts. The payout codes are posted once for the payout, not once for each
    /// of its commissions; a clawback or an adjustment in the name of the row it opens.
    pub posting: Option<Code>,
    /// The row it opens, already approved.
    pub opens: Option<CommissionKind>,
}

/// Says that an action is not possible now, and which are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{action} is not possible while it is {state}; possible now: {list}",
    action = action.code(), state = state.code(), list = list(allowed))]
pub struct IllegalTransition {
    /// Where the commission stands.
    pub state: CommissionState,
    /// What was wanted.
    pub action: ActionCode,
    /// What is possible, perhaps nothing.
    pub allowed: Vec<ActionCode>,
}

fn list(codes: &[ActionCode]) -> String {
    match codes {
        [] => "nothing".to_owned(),
        some => some.iter().map(|code| code.code()).collect::<Vec<_>>().join(", "),
    }
}

/// Returns how a row begins: its kind, its state and what the ledger posts.
pub fn open(opening: Opening) -> (CommissionKind, CommissionState, Option<Code>) {
    use CommissionState::{Approved, Pending, Rejected};
    match opening {
        Opening::Accept => (CommissionKind::Earned, Pending, Some(Code::Accrue)),
        Opening::Refuse(_) => (CommissionKind::Earned, Rejected, None),
        Opening::Clawback(_) => (CommissionKind::Clawback, Approved, Some(Code::Clawback)),
        Opening::Adjustment => (CommissionKind::Adjustment, Approved, Some(Code::Adjust)),
    }
}

/// Decides what an action does to a commission, or says what is possible instead.
pub fn transition(facts: &CommissionFacts, action: Action) -> Result<Outcome, IllegalTransition> {
    let code = action.code();
    decide(facts, code).ok_or_else(|| IllegalTransition {
        state: facts.state,
        action: code,
        allowed: ActionCode::ALL.iter().copied().filter(|&a| decide(facts, a).is_some()).collect(),
    })
}

/// The table.
fn decide(facts: &CommissionFacts, action: ActionCode) -> Option<Outcome> {
    use ActionCode as A;
    use CommissionState::{Approved, OnHold, Paid, Pending, Rejected, Reversed};
    use Reservation::{Free, Reserved};

    let CommissionFacts { state, reservation, hold_until, now, .. } = *facts;
    let is_earned = facts.kind.is_earned();
    let is_good = facts.standing == Standing::Good;
    let is_due = hold::is_due(hold_until, now);
    let by_time = facts.approval == Approval::Auto;
    let stays = Outcome { state, reservation, hold_until, posting: None, opens: None };
    let to = |state, code| Outcome { state, posting: Some(code), ..stays };
    let opens = |kind, code| Outcome { opens: Some(kind), posting: Some(code), ..stays };
    let payout = |state, reservation, code| Outcome { reservation, ..to(state, code) };

    let outcome = match (action, state, reservation) {
        (A::Update, Pending, Free) if !is_due => to(Pending, Code::Amend),
        // The clock of a review stands still, so nothing is too late.
        (A::Update, OnHold, Free) => to(OnHold, Code::Amend),
        (A::Amend, Pending | OnHold, Free) => to(state, Code::Amend),
        (A::ApproveDue, Pending, Free) if is_due && by_time && is_good => {
            to(Approved, Code::Approve)
        }
        (A::Approve, Pending, Free) if is_good => to(Approved, Code::Approve),
        (A::Hold, Pending, Free) => Outcome { state: OnHold, ..stays },
        (A::Release, OnHold, Free) => {
            let hold_until = hold::after_release(hold_until, now);
            Outcome { state: Pending, hold_until, ..stays }
        }
        // What is due is owed as soon as the timer sees it.
        (A::Extend, Pending, Free) if !is_due => stays,
        (A::Reject, Pending | OnHold, Free) => to(Rejected, Code::Reject),
        (A::Reverse, Approved, Free) if is_earned && !facts.has_corrections => {
            to(Reversed, Code::Reverse)
        }
        (A::ClawBack, Approved | Paid, _) if is_earned => {
            opens(CommissionKind::Clawback, Code::Clawback)
        }
        (A::Adjust, Approved | Paid, _) if is_earned => {
            opens(CommissionKind::Adjustment, Code::Adjust)
        }
        (A::Reserve, Approved, Free) if is_good => payout(Approved, Reserved, Code::PayoutReserve),
        (A::CancelPayout, Approved, Reserved) => payout(Approved, Free, Code::PayoutCancel),
        (A::FailPayout, Approved, Reserved) => payout(Approved, Free, Code::PayoutFail),
        (A::Pay, Approved, Reserved) => payout(Paid, Reserved, Code::PayoutPay),
        (A::ReturnPayout, Paid, Reserved) => payout(Approved, Free, Code::PayoutReturn),
        // Everything else, action by action, so that a new action stops the build here.
        (
            A::Update
            | A::Amend
            | A::ApproveDue
            | A::Approve
            | A::Hold
            | A::Release
            | A::Extend
            | A::Reject
            | A::Reverse
            | A::ClawBack
            | A::Adjust
            | A::Reserve
            | A::CancelPayout
            | A::FailPayout
            | A::Pay
            | A::ReturnPayout,
            Pending | OnHold | Approved | Rejected | Reversed | Paid,
            Free | Reserved,
        ) => return None,
    };
    Some(outcome)
}

#[cfg(test)]
mod tests;
