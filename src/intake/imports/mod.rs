//! Files of conversions: read line by line as they come, sent line by line in their own time.
//!
//! Receiving writes one row for each line, refused or to be sent, and holds no more of the file
//! than a chunk. Sending happens behind the scenes: a batch is appended to the stream and marked in
//! one step, so a process that dies goes on where it stopped, and a line that was sent twice has the
//! same message id and settles once. The hash of the bytes makes a file that is brought again the
//! import that is there.

pub mod http;
pub mod receiving;
pub mod store;

use crate::app::App;
use crate::clock::Timestamp;
use crate::conversion::postback::hex;
use crate::conversion::wire;
use crate::intake::sending::Sending;
use crate::stream::PackedBatch;
use crate::stream::durable::NotDurable;

use self::store::Import;

/// Lines in one batch.
const BATCH: i64 = 500;

/// Why lines cannot be sent now. Nothing is lost: the next try takes them again.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// PostgreSQL cannot be reached, or failed.
    #[error("the lines cannot be read or marked")]
    Database(#[from] sqlx::Error),
    /// Neither Redis nor the spool took them.
    #[error("the lines cannot be kept")]
    NotDurable(#[from] NotDurable),
    /// A row holds what is no report.
    #[error("a line cannot be read back")]
    Report(#[from] wire::ReportError),
}

/// Sends the next batch of the oldest import that runs; returns how many lines there were.
pub async fn send_some(app: &App) -> Result<usize, SendError> {
    let now = app.clock.now();
    let mut db = app.background_db.begin().await?;
    let Some(import) = store::lock_running(&mut db).await? else { return Ok(0) };
    let lines = store::lines_to_send(&mut db, &import, BATCH).await?;
    if lines.is_empty() {
        store::set_status(&mut db, &import, "done", now).await?;
        db.commit().await?;
        return Ok(0);
    }
    let mut batch = PackedBatch::new();
    for (line, report) in &lines {
        let report = wire::from_wire(report)?;
        let message_id = format!("{}{line}", message_prefix(&import));
        let record = sending(&import, now).record(message_id, report.content_hash(), &report);
        batch.push_conversion(&record);
    }
    app.append(&batch).await?;
    let numbers: Vec<i32> = lines.iter().map(|(line, _)| *line).collect();
    store::mark_sent(&mut db, &import, &numbers, now).await?;
    db.commit().await?;
    Ok(lines.len())
}

/// Returns what the message ids of an import begin with; the line's number follows.
fn message_prefix(import: &Import) -> String {
    let hash = import.file_hash.as_deref().unwrap_or_default();
    format!("import:{}:", hex(&hash[..hash.len().min(16)]))
}

fn sending(import: &Import, now: Timestamp) -> Sending {
    Sending {
        program_id: import.program_id,
        source_id: import.source_id,
        channel: "import",
        trust: "signed",
        received_at: now,
        sent_at: import.created_at,
    }
}
