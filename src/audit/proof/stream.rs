//! Compares the position that PostgreSQL keeps with the stream itself, and asks the spool what it
//! lost.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Tally;
use crate::audit::store::service::{OffsetRow, load_offsets};
use crate::audit::{At, CheckError, Page, Stream};
use crate::stream::{Entry, EventLog as _, LogState, Offset, Shard, StreamError};

/// How much younger what came later may be than what still waits to be settled.
const WAIT_MAX_MS: u64 = 10 * 60 * 1000;
/// Entries that are read to be counted, at most: where more wait, their number is not known.
const UNREAD_MAX: usize = 2_000;

/// What is known of a shard on both sides.
struct Sides {
    log: LogState,
    offsets: Vec<OffsetRow>,
}

impl Sides {
    /// Returns the row of the present life of the stream.
    fn present(&self) -> Option<&OffsetRow> {
        self.offsets.iter().find(|row| row.generation == self.log.generation)
    }

    /// Returns where settlement stands in the present life of the stream.
    fn position(&self) -> Option<Offset> {
        let row = self.present()?;
        let whole = |n: i64| u64::try_from(n).unwrap_or(0);
        Some(Offset { ms: whole(row.ms), seq: whole(row.seq) })
    }
}

/// Judges whether no shard claims to have settled what the stream never held.
pub fn positions<'a>(
    db: &'a mut PgConnection,
    at: &'a At<'a>,
) -> BoxFuture<'a, Result<Page, CheckError>> {
    async move {
        let Some(stream) = &at.beside.stream else { return Ok(no_stream()) };
        let mut tally = Tally::new("shard", at);
        for shard in (0..stream.n_shards).map(Shard) {
            match sides(db, stream, shard).await? {
                Ok(sides) => tally.look(Uuid::nil(), &shard.to_string(), judge_position(&sides)),
                Err(error) => return Ok(is_down(&error)),
            }
        }
        Ok(tally.end(0, None))
    }
    .boxed()
}

fn judge_position(sides: &Sides) -> Option<Value> {
    let beyond = sides.position().is_some_and(|position| position > sides.log.last);
    let counted = |row: &OffsetRow| (0..=row.n_settled).contains(&row.n_duplicates);
    let is_miscounted = !sides.offsets.iter().all(counted);
    (beyond || is_miscounted).then(|| {
        json!({
            "settled_to": sides.position().map(|position| position.to_string()),
            "stream_ends_at": sides.log.last.to_string(),
            "counters_are_possible": !is_miscounted,
        })
    })
}

/// Judges whether nothing waits to be settled while what came much later is there.
pub fn waiting<'a>(
    db: &'a mut PgConnection,
    at: &'a At<'a>,
) -> BoxFuture<'a, Result<Page, CheckError>> {
    async move {
        let Some(stream) = &at.beside.stream else { return Ok(no_stream()) };
        let mut tally = Tally::new("shard", at);
        for shard in (0..stream.n_shards).map(Shard) {
            let sides = match sides(db, stream, shard).await? {
                Ok(sides) => sides,
                Err(error) => return Ok(is_down(&error)),
            };
            let position = sides.position().unwrap_or(Offset::START);
            let first = match stream.log.read(shard, position, 1).await {
                Ok(entries) => entries.first().map(|entry| entry.offset),
                Err(error) => return Ok(is_down(&error)),
            };
            let wrong = first
                .filter(|first| sides.log.last.ms - first.ms.min(sides.log.last.ms) > WAIT_MAX_MS);
            let wrong = wrong.map(|first| {
                json!({
                    "waits": first.to_string(), "stream_ends_at": sides.log.last.to_string(),
                    "settled_to": position.to_string(),
                })
            });
            tally.look(Uuid::nil(), &shard.to_string(), wrong);
        }
        Ok(tally.end(0, None))
    }
    .boxed()
}

/// Judges whether what was ever added to each shard was settled or still waits in it.
pub fn entries<'a>(
    db: &'a mut PgConnection,
    at: &'a At<'a>,
) -> BoxFuture<'a, Result<Page, CheckError>> {
    async move {
        let Some(stream) = &at.beside.stream else { return Ok(no_stream()) };
        let mut tally = Tally::new("shard", at);
        for shard in (0..stream.n_shards).map(Shard) {
            let sides = match sides(db, stream, shard).await? {
                Ok(sides) => sides,
                Err(error) => return Ok(is_down(&error)),
            };
            let counted = sides.present().and_then(|row| row.n_entries);
            let (Some(n_added), Some(n_settled)) = (sides.log.n_added, counted) else { continue };
            let position = sides.position().unwrap_or(Offset::START);
            let unread = match stream.log.read(shard, position, UNREAD_MAX).await {
                Ok(unread) => unread,
                Err(error) => return Ok(is_down(&error)),
            };
            if unread.len() == UNREAD_MAX {
                continue;
            }
            // What came after the stream was asked for its count is not in that count.
            let waits = |entry: &&Entry| entry.offset <= sides.log.last;
            let n_waiting = unread.iter().filter(waits).count() as u64;
            let n_known = u64::try_from(n_settled).unwrap_or(0) + n_waiting;
            let wrong = (n_known != n_added).then(
                || json!({"entries_added": n_added, "settled": n_settled, "waiting": n_waiting}),
            );
            tally.look(Uuid::nil(), &shard.to_string(), wrong);
        }
        Ok(tally.end(0, None))
    }
    .boxed()
}

/// Judges whether what this process acknowledged by its spool waits there or was moved to the log.
pub fn edge<'a>(
    _db: &'a mut PgConnection,
    at: &'a At<'a>,
) -> BoxFuture<'a, Result<Page, CheckError>> {
    let stats = at.beside.stream.as_ref().and_then(|stream| stream.stats);
    let page = match stats {
        Some(stats) => {
            let mut tally = Tally::new("spool", at);
            // In this order: an event waits before it is acknowledged, and is counted as moved before
            // it waits no more.
            let n_taken = stats.spool_found_events.get() + stats.spool_events.get();
            let n_waiting = stats.spool_waiting.get();
            let n_moved = stats.drained_events.get();
            let wrong = (n_moved + n_waiting < n_taken)
                .then(|| json!({"acknowledged": n_taken, "moved": n_moved, "waiting": n_waiting}));
            tally.look(Uuid::nil(), "spool", wrong);
            tally.end(0, None)
        }
        None => nothing("only a process of the service knows its own spool"),
    };
    std::future::ready(Ok(page)).boxed()
}

/// Judges whether the spool of this process lost nothing that it had acknowledged.
pub fn spool<'a>(
    _db: &'a mut PgConnection,
    at: &'a At<'a>,
) -> BoxFuture<'a, Result<Page, CheckError>> {
    let stats = at.beside.stream.as_ref().and_then(|stream| stream.stats);
    let page = match stats {
        Some(stats) => {
            let mut tally = Tally::new("spool", at);
            let n_bad = stats.spool_bad_segments.get();
            let wrong = (n_bad > 0).then(|| json!({"bad_segments": n_bad}));
            tally.look(Uuid::nil(), "spool", wrong);
            tally.end(0, None)
        }
        None => nothing("only a process of the service knows its own spool"),
    };
    std::future::ready(Ok(page)).boxed()
}

async fn sides(
    db: &mut PgConnection,
    stream: &Stream<'_>,
    shard: Shard,
) -> Result<Result<Sides, StreamError>, CheckError> {
    // First the position, then the stream: a stream that goes on meanwhile is no contradiction.
    let offsets = load_offsets(db, stream.prefix, shard.0).await?;
    Ok(stream.log.state(shard).await.map(|log| Sides { log, offsets }))
}

fn nothing(why: &str) -> Page {
    Page { not_looked: Some(why.to_owned()), ..Page::default() }
}

fn no_stream() -> Page {
    nothing("this process has no stream to ask")
}

fn is_down(error: &StreamError) -> Page {
    nothing(&format!("Redis does not answer: {error}"))
}
