//! What time does to claims: at the deadline the evidence decides, or a person must.

use crate::claim::judgment::{self, Keys};
use crate::claim::store;
use crate::clock::Timestamp;
use crate::commission::store::ApplyError;
use crate::db::Db;

/// Claims closed in one transaction, at most: each is judged on its own.
const BATCH_MAX: i64 = 50;

/// Judges claims whose deadline has passed, and returns how many.
///
/// Those that another process decides are passed over, so two of these running at once do no harm.
pub async fn close_due(db: &Db, keys: Keys<'_>, now: Timestamp) -> Result<u64, ApplyError> {
    let mut n_closed = 0;
    loop {
        let mut db_tx = db.begin().await?;
        let due = store::lock_due(&mut db_tx, now, BATCH_MAX).await?;
        for (program_id, claim_id) in &due {
            let filter = store::Filter {
                programs: Some(vec![program_id.0]),
                claim_id: Some(*claim_id),
                ..store::Filter::default()
            };
            if let Some(claim) = store::list(&mut db_tx, &filter, 1).await?.pop() {
                judgment::close(&mut db_tx, keys, claim, now).await?;
                n_closed += 1;
            }
        }
        db_tx.commit().await?;
        if due.len() < usize::try_from(BATCH_MAX).unwrap_or(usize::MAX) {
            return Ok(n_closed);
        }
    }
}
