//! SQL of retention: the database decides what may go.

use chrono::NaiveDate;
use sqlx::PgConnection;

/// SQLSTATE of a lock that was not to be had in time.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// What became of the wish to drop a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drop {
    /// This day is gone.
    Dropped(NaiveDate),
    /// There is none that may go.
    Nothing,
    /// Somebody reads or writes clicks for so long that it was not waited for.
    Busy,
}

/// Drops the oldest day with clicks if it lies before `kept_from`, and no sooner than the database
/// allows.
pub async fn drop_oldest_day(
    db: &mut PgConnection,
    kept_from: NaiveDate,
) -> Result<Drop, sqlx::Error> {
    let dropped =
        sqlx::query_scalar!("select drop_oldest_click_day($1)", kept_from).fetch_one(db).await;
    match dropped {
        Ok(Some(day)) => Ok(Drop::Dropped(day)),
        Ok(None) => Ok(Drop::Nothing),
        Err(error) if is_busy(&error) => Ok(Drop::Busy),
        Err(error) => Err(error),
    }
}

fn is_busy(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|e| e.code()).is_some_and(|code| code == LOCK_NOT_AVAILABLE)
}

/// Returns the oldest day that has a place for clicks.
pub async fn oldest_day(db: &mut PgConnection) -> Result<Option<NaiveDate>, sqlx::Error> {
    sqlx::query_scalar!(
        "select to_date(min(right(c.relname, 8)), 'YYYYMMDD')
         from pg_inherits i
         join pg_class c on c.oid = i.inhrelid
         where i.inhparent = 'clicks'::regclass"
    )
    .fetch_one(db)
    .await
}
