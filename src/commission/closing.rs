//! Closes a month: fixes what was earned in it, then its books.

use crate::clock::Timestamp;
use crate::commission::store::ApplyError;
use crate::commission::timer;
use crate::db::DbTx;
use crate::ids::UserId;
use crate::ledger::closing::{self, Books, CloseError};
use crate::ledger::period::{ClosedPeriod, Month};

/// Closes a month and returns it with the number of its statements.
///
/// First its tiers, caps and budgets are reckoned for the last time, so that what they come to is
/// in the month itself; from then on later facts change no commission of it.
pub async fn close(
    db: &mut DbTx,
    books: &Books,
    month: Month,
    by: UserId,
    now: Timestamp,
) -> Result<(ClosedPeriod, u64), CloseError> {
    let due = closing::find_due(db, books, month, now).await?;
    let fixed = timer::fix_period(db, books.program_id, due.ends_at(), now).await;
    fixed.map_err(|error| match error {
        ApplyError::Database(error) => CloseError::Database(error),
        ApplyError::Stale => CloseError::NotFixed(error.into()),
    })?;
    closing::close(db, books, due, by, now).await
}
