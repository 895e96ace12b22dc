//! What time does to commissions: it approves those whose hold is over.

use crate::clock::Timestamp;
use crate::commission::row::Hand;
use crate::commission::state::{Action, Standing};
use crate::commission::store::{self, ApplyError};
use crate::db::Db;

/// Commissions approved in one transaction, at most.
const BATCH_MAX: i64 = 1000;

/// Approves what is due and returns how many were approved.
///
/// Rows that another process works on are passed over, so two of these running at once do no harm.
pub async fn approve_due(db: &Db, now: Timestamp) -> Result<u64, ApplyError> {
    let mut n_approved = 0;
    loop {
        let mut db_tx = db.begin().await?;
        let due = store::lock_due(&mut db_tx, now, BATCH_MAX).await?;
        let n_due = due.len();
        // The query asks what the rule asks; what the rule still refuses stays pending.
        let steps: Vec<_> = due
            .iter()
            .filter_map(|commission| {
                let by = Hand { actor: "system".into(), rule: "hold_elapsed", note: None, at: now };
                commission.take(Action::ApproveDue, Standing::Good, false, by).ok()
            })
            .collect();
        let n_steps = steps.len() as u64;
        store::apply(&mut db_tx, steps, now).await?;
        db_tx.commit().await?;
        n_approved += n_steps;
        if n_due < usize::try_from(BATCH_MAX).unwrap_or(usize::MAX) || n_steps == 0 {
            return Ok(n_approved);
        }
    }
}
