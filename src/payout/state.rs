//! The life of a batch and of its payouts: the one table of what may follow what.
//!
//! ```text
//! batch   draft ─ approve ─> approved ─ export ─> exported ─ all final ─> completed
//!           └── cancel ──> canceled <── cancel ┘   └─ export ─┘      or partially_completed
//! payout  draft ─ approve ─> approved ─ export ─> processing ─ pay ─> paid ─ return ─> returned
//!           └── cancel ──> canceled <── cancel ┘        └── fail ──> failed
//! ```
//! A payout may be paid or fail straight from `approved`: not every bank takes a file.

/// Implements `code` and `from_code` from one table, and `ALL`.
macro_rules! coded {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $code:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// All of them, for reading and for tests.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Returns the code as stored and shown.
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

coded! {
    /// Where a batch stands.
    BatchState {
        /// Made; its money is reserved.
        Draft = "draft",
        /// A second person agreed.
        Approved = "approved",
        /// Its file was taken to the bank.
        Exported = "exported",
        /// Every payout was paid.
        Completed = "completed",
        /// Every payout has ended, and not all were paid.
        PartiallyCompleted = "partially_completed",
        /// Called off before any money moved.
        Canceled = "canceled",
    }
}

coded! {
    /// Where a payout stands.
    PayoutState {
        /// Made; its money is reserved.
        Draft = "draft",
        /// A second person agreed.
        Approved = "approved",
        /// With the bank.
        Processing = "processing",
        /// The bank has paid.
        Paid = "paid",
        /// The bank refused it; the money is owed again.
        Failed = "failed",
        /// The bank sent it back; the money is owed again.
        Returned = "returned",
        /// Called off; the money is owed again.
        Canceled = "canceled",
    }
}

coded! {
    /// What somebody wants to do with a batch.
    BatchAction {
        /// Agree to it, as a second person.
        Approve = "approve",
        /// Take its file to the bank.
        Export = "export",
        /// Call it off.
        Cancel = "cancel",
    }
}

coded! {
    /// What happens to a payout.
    PayoutAction {
        /// Its batch was approved.
        Approve = "approve",
        /// Its batch was exported.
        Export = "export",
        /// The bank has paid.
        Pay = "mark_paid",
        /// The bank refused it.
        Fail = "mark_failed",
        /// The bank sent it back.
        Return = "mark_returned",
        /// Its batch was called off.
        Cancel = "cancel",
    }
}

/// Says that an action is not possible now, and which are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{action} is not possible while the {subject} is {state}")]
pub struct IllegalAction {
    /// `batch` or `payout`.
    pub subject: &'static str,
    /// Code of the state.
    pub state: &'static str,
    /// Code of the action.
    pub action: &'static str,
    /// Codes of what is possible, perhaps nothing.
    pub allowed: Vec<&'static str>,
}

/// Returns where an action takes a batch, or says what is possible instead.
pub fn act_on_batch(state: BatchState, action: BatchAction) -> Result<BatchState, IllegalAction> {
    batch_after(state, action).ok_or_else(|| {
        let possible = |a: &&BatchAction| batch_after(state, **a).is_some();
        let allowed = BatchAction::ALL.iter().filter(possible).map(|a| a.code()).collect();
        IllegalAction { subject: "batch", state: state.code(), action: action.code(), allowed }
    })
}

/// Returns where an action takes a payout, or says what is possible instead.
pub fn act_on_payout(
    state: PayoutState,
    action: PayoutAction,
) -> Result<PayoutState, IllegalAction> {
    payout_after(state, action).ok_or_else(|| {
        let possible = |a: &&PayoutAction| payout_after(state, **a).is_some();
        let allowed = PayoutAction::ALL.iter().filter(possible).map(|a| a.code()).collect();
        IllegalAction { subject: "payout", state: state.code(), action: action.code(), allowed }
    })
}

/// The table of batches.
fn batch_after(state: BatchState, action: BatchAction) -> Option<BatchState> {
    use BatchAction as A;
    use BatchState::{Approved, Canceled, Completed, Draft, Exported, PartiallyCompleted};
    match (state, action) {
        (Draft, A::Approve) => Some(Approved),
        // Again: a batch that pays by several ways has a file for each.
        (Approved | Exported, A::Export) => Some(Exported),
        (Draft | Approved, A::Cancel) => Some(Canceled),
        (Approved | Exported, A::Approve)
        | (Exported, A::Cancel)
        | (Draft, A::Export)
        | (Completed | PartiallyCompleted | Canceled, A::Approve | A::Export | A::Cancel) => None,
    }
}

/// The table of payouts.
fn payout_after(state: PayoutState, action: PayoutAction) -> Option<PayoutState> {
    use PayoutAction as A;
    use PayoutState::{Approved, Canceled, Draft, Failed, Paid, Processing, Returned};
    match (state, action) {
        (Draft, A::Approve) => Some(Approved),
        (Approved, A::Export) => Some(Processing),
        (Approved | Processing, A::Pay) => Some(Paid),
        (Approved | Processing, A::Fail) => Some(Failed),
        (Paid, A::Return) => Some(Returned),
        (Draft | Approved, A::Cancel) => Some(Canceled),
        (Draft, A::Export | A::Pay | A::Fail | A::Return)
        | (Approved, A::Approve | A::Return)
        | (Processing, A::Approve | A::Export | A::Return | A::Cancel)
        | (Paid, A::Approve | A::Export | A::Pay | A::Fail | A::Cancel)
        | (
            Failed | Returned | Canceled,
            A::Approve | A::Export | A::Pay | A::Fail | A::Return | A::Cancel,
        ) => None,
    }
}

/// Returns where a batch stands after one of its payouts has changed.
pub fn after_result(batch: BatchState, payouts: &[PayoutState]) -> BatchState {
    use PayoutState::{Approved, Canceled, Draft, Failed, Paid, Processing, Returned};
    let is_open = |p: &PayoutState| match p {
        Draft | Approved | Processing => true,
        Paid | Failed | Returned | Canceled => false,
    };
    if payouts.iter().any(is_open) {
        batch
    } else if payouts.iter().all(|p| *p == Paid) {
        BatchState::Completed
    } else {
        BatchState::PartiallyCompleted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_table_of_payouts() {
        use PayoutAction as A;
        use PayoutState::*;
        let legal = [
            (Draft, A::Approve, Approved),
            (Draft, A::Cancel, Canceled),
            (Approved, A::Export, Processing),
            (Approved, A::Pay, Paid),
            (Approved, A::Fail, Failed),
            (Approved, A::Cancel, Canceled),
            (Processing, A::Pay, Paid),
            (Processing, A::Fail, Failed),
            (Paid, A::Return, Returned),
        ];
        for &state in PayoutState::ALL {
            for &action in A::ALL {
                let expected = legal.iter().find(|l| (l.0, l.1) == (state, action)).map(|l| l.2);
                assert_eq!(act_on_payout(state, action).ok(), expected, "{state:?} {action:?}");
            }
        }
    }

    #[test]
    fn the_whole_table_of_batches() {
        use BatchAction as A;
        use BatchState::*;
        let legal = [
            (Draft, A::Approve, Approved),
            (Draft, A::Cancel, Canceled),
            (Approved, A::Export, Exported),
            (Exported, A::Export, Exported),
            (Approved, A::Cancel, Canceled),
        ];
        for &state in BatchState::ALL {
            for &action in A::ALL {
                let expected = legal.iter().find(|l| (l.0, l.1) == (state, action)).map(|l| l.2);
                assert_eq!(act_on_batch(state, action).ok(), expected, "{state:?} {action:?}");
            }
        }
    }

    #[test]
    fn a_refusal_says_what_is_possible() {
        let refusal = act_on_payout(PayoutState::Processing, PayoutAction::Cancel).unwrap_err();
        assert_eq!(refusal.allowed, ["mark_paid", "mark_failed"]);
        assert_eq!(refusal.to_string(), "cancel is not possible while the payout is processing");
        let refusal = act_on_batch(BatchState::Canceled, BatchAction::Approve).unwrap_err();
        assert!(refusal.allowed.is_empty());
    }

    #[test]
    fn a_batch_ends_when_its_last_payout_does() {
        use PayoutState::*;
        let cases: [(&[PayoutState], BatchState); 6] = [
            (&[Paid, Processing], BatchState::Exported),
            (&[Failed, Approved], BatchState::Exported),
            (&[Paid, Paid], BatchState::Completed),
            (&[Paid, Failed], BatchState::PartiallyCompleted),
            (&[Paid, Returned], BatchState::PartiallyCompleted),
            (&[Failed], BatchState::PartiallyCompleted),
        ];
        for (payouts, expected) in cases {
            assert_eq!(after_result(BatchState::Exported, payouts), expected, "{payouts:?}");
        }
    }

    #[test]
    fn codes_read_back() {
        for &state in BatchState::ALL {
            assert_eq!(BatchState::from_code(state.code()), Some(state));
        }
        for &state in PayoutState::ALL {
            assert_eq!(PayoutState::from_code(state.code()), Some(state));
        }
    }
}
