//! Approval by time: commissions whose hold is over become owed without anybody's hand.

use crate::clock::Timestamp;
use crate::commission::state::{Action, Standing};
use crate::commission::store::{self, ApplyError};
use crate::commission::{Hand, Step};
use crate::db::Db;

/// Approves at most `limit` commissions whose hold is over at `now`, in one database transaction;
/// returns how many. Fewer than `limit` means that nothing is left to do now.
///
/// Several processes may call it at once: what one works on, the others pass over.
pub async fn approve_due(db: &Db, now: Timestamp, limit: i64) -> Result<u64, ApplyError> {
    let mut db = db.begin().await?;
    let due = store::lock_due(&mut db, now, limit).await?;
    let mut steps: Vec<Step> = Vec::with_capacity(due.len());
    for commission in &due {
        let by = Hand { actor: "system".to_owned(), rule: "hold_elapsed", note: None, at: now };
        // The query names only partners in good standing, and nothing corrects what is pending.
        match commission.take(Action::ApproveDue, Standing::Good, false, by) {
            Ok(step) => steps.push(step),
            // One that cannot be approved must not keep the others waiting.
            Err(error) => {
                let id = commission.commission_id;
                tracing::error!(commission.id = %id, "commission {id} was not approved: {error}");
            }
        }
    }
    let n_approved = steps.len() as u64;
    store::apply(&mut db, steps, now).await?;
    db.commit().await?;
    Ok(n_approved)
}
