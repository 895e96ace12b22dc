//! How far settlement is behind: what waits in the shards that this process settles.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::app::App;
use crate::metrics as metric;
use crate::settlement::offset_store;
use crate::stream::{EventLog as _, Shard};

/// What waits in a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Entries that are not settled, each a batch of events; none where the log cannot tell.
    pub n_entries: Option<u64>,
    /// How old the first of them is, by the log's own clock and ours.
    pub age: Duration,
}

/// Sets the gauges of the shards that are held, and those of shards that went to 0: whoever has them
/// now tells of them. `told` are the shards of the last time.
pub(super) async fn tell(app: &App, told: &mut BTreeSet<u16>) {
    let held: BTreeSet<u16> = app.shard_leases.epochs().into_keys().collect();
    for &shard in &held {
        // Without an answer the last figures stand: that a store is away is told elsewhere.
        if let Ok(lag) = measure(app, Shard(shard)).await {
            set(shard, lag);
        }
    }
    for &gone in told.difference(&held) {
        set(gone, Lag { n_entries: Some(0), age: Duration::ZERO });
    }
    *told = held;
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floats; counts stay far below 2^53")]
fn set(shard: u16, lag: Lag) {
    let shard = shard.to_string();
    metrics::gauge!(metric::STREAM_LAG_SECONDS, "shard" => shard.clone())
        .set(lag.age.as_secs_f64());
    if let Some(n) = lag.n_entries {
        metrics::gauge!(metric::STREAM_LAG_ENTRIES, "shard" => shard).set(n as f64);
    }
}

/// Asks the log and the database how far a shard is behind.
pub async fn measure(app: &App, shard: Shard) -> anyhow::Result<Lag> {
    let log = app.log.log();
    let state = log.state(shard).await?;
    let mut db = app.background_db.acquire().await?;
    let prefix = &app.config.stream_prefix;
    let stands = offset_store::read_standing(&mut db, prefix, shard, state.generation).await?;
    drop(db);
    if stands.offset >= state.last {
        return Ok(Lag { n_entries: Some(0), age: Duration::ZERO });
    }
    let first = log.read(shard, stands.offset, 1).await?;
    let now_ms = u64::try_from(app.clock.now().timestamp_millis()).unwrap_or(0);
    Ok(Lag {
        n_entries: state
            .n_added
            .zip(stands.n_entries)
            .map(|(added, done)| added.saturating_sub(done)),
        age: first.first().map_or(Duration::ZERO, |entry| {
            Duration::from_millis(now_ms.saturating_sub(entry.offset.ms))
        }),
    })
}
