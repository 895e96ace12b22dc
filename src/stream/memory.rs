//! The log in memory: for the demo program and for tests that need no server. Nothing survives
//! the process.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::{Entry, EventLog, LogState, Offset, PackedBatch, Shard, StreamError};
use crate::clock::Clock;

/// An [`EventLog`] in memory, bounded by its number of entries.
#[derive(Debug)]
pub struct MemoryLog {
    clock: Clock,
    entries_max: usize,
    lanes: Mutex<HashMap<Shard, Lane>>,
}

#[derive(Debug)]
struct Lane {
    generation: Uuid,
    last: Offset,
    n_added: u64,
    entries: BTreeMap<Offset, Vec<u8>>,
}

impl Lane {
    fn new() -> Self {
        let generation = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
        Self { generation, last: Offset::START, n_added: 0, entries: BTreeMap::new() }
    }
}

impl MemoryLog {
    /// Returns an empty log that holds at most `entries_max` entries in each shard, then counts
    /// as down until it is trimmed.
    pub fn new(clock: Clock, entries_max: usize) -> Self {
        Self { clock, entries_max, lanes: Mutex::default() }
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<Shard, Lane>> {
        // No step below can panic half-way through a change.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn room_in(&self, lane: &Lane) -> Result<(), StreamError> {
        if lane.entries.len() < self.entries_max {
            return Ok(());
        }
        let reason = format!("{} entries are held in memory", lane.entries.len());
        Err(StreamError::Down { reason, source: None })
    }
}

impl EventLog for MemoryLog {
    async fn append(&self, shard: Shard, batch: &PackedBatch) -> Result<Offset, StreamError> {
        let mut lanes = self.lanes();
        let lane = lanes.entry(shard).or_insert_with(Lane::new);
        self.room_in(lane)?;
        let ms = u64::try_from(self.clock.now().timestamp_millis()).unwrap_or(0);
        // As Redis does: the clock's time, but never at or below the last one given.
        let offset =
            lane.last.next().map(|next| next.max(Offset { ms, seq: 0 })).ok_or_else(|| {
                StreamError::Down { reason: "no offset is left".into(), source: None }
            })?;
        lane.entries.insert(offset, batch.as_bytes().to_vec());
        lane.last = offset;
        lane.n_added += 1;
        Ok(offset)
    }

    async fn read(
        &self,
        shard: Shard,
        after: Offset,
        entries_max: usize,
    ) -> Result<Vec<Entry>, StreamError> {
        let lanes = self.lanes();
        let entries = lanes.get(&shard).into_iter().flat_map(|lane| {
            lane.entries.range((Bound::Excluded(after), Bound::Unbounded)).take(entries_max)
        });
        Ok(entries.map(|(&offset, bytes)| Entry { offset, bytes: bytes.clone() }).collect())
    }

    async fn state(&self, shard: Shard) -> Result<LogState, StreamError> {
        let mut lanes = self.lanes();
        let lane = lanes.entry(shard).or_insert_with(Lane::new);
        Ok(LogState {
            generation: lane.generation,
            last: lane.last,
            oldest: lane.entries.keys().next().copied(),
            length: lane.entries.len() as u64,
            n_added: Some(lane.n_added),
        })
    }

    async fn trim_before(&self, shard: Shard, offset: Offset) -> Result<u64, StreamError> {
        let mut lanes = self.lanes();
        let Some(lane) = lanes.get_mut(&shard) else { return Ok(0) };
        let kept = lane.entries.split_off(&offset);
        let trimmed = std::mem::replace(&mut lane.entries, kept);
        Ok(trimmed.len() as u64)
    }

    async fn probe(&self, shard: Shard) -> Result<(), StreamError> {
        self.lanes().get(&shard).map_or(Ok(()), |lane| self.room_in(lane))
    }
}
