//! The keeper: asks for one day after the other to be dropped, and tells of it.

use chrono::NaiveTime;

use super::kept_from;
use super::store::{self, Drop};
use crate::clock::Timestamp;
use crate::config::ClickRetention;
use crate::db::Db;
use crate::metrics as metric;

/// Days dropped in one go: years that a shorter retention sets free go in some minutes, and the other
/// upkeep does not wait for them.
const DAYS_AT_ONCE: usize = 60;

/// Drops the days that are due, each in a transaction of its own; returns how many.
pub async fn drop_due(
    db: &Db,
    retention: ClickRetention,
    now: Timestamp,
) -> Result<usize, sqlx::Error> {
    let mut db = db.acquire().await?;
    let mut n_dropped = 0;
    if let Some(first) = kept_from(now.date_naive(), retention) {
        while n_dropped < DAYS_AT_ONCE {
            match store::drop_oldest_day(&mut db, first).await? {
                Drop::Dropped(day) => {
                    n_dropped += 1;
                    metrics::counter!(metric::CLICK_DAYS_DROPPED).increment(1);
                    tracing::info!("the clicks of {day} are dropped; their sums stay");
                }
                Drop::Nothing => break,
                Drop::Busy => {
                    tracing::info!("old clicks are in use; they are dropped a minute later");
                    break;
                }
            }
        }
    }
    if let Some(day) = store::oldest_day(&mut db).await? {
        let begins = day.and_time(NaiveTime::MIN).and_utc();
        tell_oldest(begins);
    }
    Ok(n_dropped)
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floats; seconds stay far below 2^53")]
fn tell_oldest(begins: Timestamp) {
    metrics::gauge!(metric::CLICKS_KEPT_SINCE).set(begins.timestamp() as f64);
}
