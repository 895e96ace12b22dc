//! Makes what a handler was given durable, or tells its caller to come again.

use crate::app::App;
use crate::stream::PackedBatch;
use crate::telemetry;
use crate::web::{Code, Problem};

/// How long a caller leaves a service alone that can keep nothing.
const RETRY_AFTER_S: u32 = 5;

/// Appends a batch; `again` says what was not stored and how to send it once more.
pub(super) async fn append(
    app: &App,
    batch: &PackedBatch,
    again: &'static str,
) -> Result<(), Problem> {
    if batch.is_empty() {
        return Ok(());
    }
    app.append(batch).await.map(drop).map_err(|error| {
        let causes = telemetry::with_causes(&error);
        tracing::error!("{} events could not be kept: {causes}", batch.len());
        come_again(again)
    })
}

/// Returns the answer to what could not be stored.
pub(super) fn come_again(again: &'static str) -> Problem {
    Problem::new(Code::Unavailable).detail(again).retry_after(RETRY_AFTER_S)
}
