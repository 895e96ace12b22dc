//! Waiting for what settlement says, which may run in another process.
//!
//! The receipt is looked up again and again. `LISTEN` would wake sooner, but every settled message
//! would have to notify though hardly anybody waits, and each process would hold one more
//! connection; a look-up by receipt reads one index, and only those pay for it who wait.

use std::collections::HashMap;
use std::time::Duration;

use actix_web::web::Data;
use tokio::time::{sleep, timeout};

use crate::app::App;
use crate::conversion::store::{self, ReceiptRow};
use crate::ids::ReceiptId;
use crate::web::detached;

/// Pauses between look-ups: most messages are settled within the first few.
const PAUSE_FIRST: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(160);

/// Returns what became of messages within `limit`. What is missing is durable all the same: it was
/// not settled in time, PostgreSQL is down, or too many wait already.
pub async fn verdicts(
    app: &Data<App>,
    receipts: &[ReceiptId],
    limit: Duration,
) -> HashMap<ReceiptId, ReceiptRow> {
    let mut told = HashMap::new();
    let Ok(_place) = app.waits.try_acquire() else { return told };
    // Time is up, or all are told: either way what is there is the answer.
    let _ = timeout(limit, look_until_told(app, receipts, &mut told)).await;
    told
}

async fn look_until_told(
    app: &Data<App>,
    receipts: &[ReceiptId],
    told: &mut HashMap<ReceiptId, ReceiptRow>,
) {
    let mut pause = PAUSE_FIRST;
    while told.len() < receipts.len() {
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
        let open: Vec<_> = receipts.iter().copied().filter(|r| !told.contains_key(r)).collect();
        let db = app.db.clone();
        let found = detached(async move {
            let mut db = db.acquire().await?;
            Ok(store::find_receipts(&mut db, &open).await?)
        });
        match found.await {
            Ok(rows) => told.extend(rows),
            Err(problem) => {
                tracing::debug!("verdicts cannot be looked up now: {problem}");
                return;
            }
        }
    }
}
