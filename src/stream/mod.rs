//! The durable way between the edge and settlement.
//!
//! The redirect and the conversion doors pack events ([`event`]) and hand them to a
//! [`durable::DurableLog`]. It appends to an [`EventLog`] (Redis Streams in production, memory in
//! the demo and in tests) and, when that cannot answer in time, to the local [`spool`]. Settlement
//! reads the log from the [`Offset`] it keeps in PostgreSQL.
//!
//! Invariants:
//! - An append is acknowledged after it is durable: Redis with `appendfsync always`, on as many
//!   replicas as are asked for, or an fsync of the spool. Never before.
//! - Delivery is at least once. A timed-out append may have been applied and the same batch may
//!   then also come through the spool; the unique event id in PostgreSQL makes that harmless.
//!   The offset only saves re-reading.
//! - Nothing is dropped by length: entries leave by [`EventLog::trim_before`] behind the committed
//!   offset, never by a maximal length, and nobody reads "only what comes from now on".
//! - One record that cannot be understood costs itself alone ([`event::BadRecord`]).

pub mod batcher;
pub mod dead_letter;
pub mod durable;
pub mod event;
pub mod memory;
pub mod redis;
pub mod shard;
pub mod spool;

#[cfg(test)]
mod conformance;

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;

pub use self::durable::{DurableLog, NotDurable, Where};
pub use self::event::{
    BadRecord, ClickRecord, ConversionRecord, PackedBatch, StreamEvent, count_events, unpack,
};
pub use self::shard::{Offset, Shard};

/// One entry as it lies in the log: read it with [`unpack`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it lies.
    pub offset: Offset,
    /// The packed batch, not yet checked.
    pub bytes: Vec<u8>,
}

/// What a log says about one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogState {
    /// The random name of this life of the shard: another one means that offsets start anew.
    pub generation: Uuid,
    /// The last offset ever given in this life, also when that entry has been trimmed since.
    pub last: Offset,
    /// The oldest entry still there.
    pub oldest: Option<Offset>,
    /// How many entries are still there.
    pub length: u64,
    /// How many were ever added in this life; none where the log cannot tell.
    pub n_added: Option<u64>,
}

impl LogState {
    /// Says whether a reader who stood at `offset` of `generation` may simply go on.
    ///
    /// If not, the log was emptied, replaced or set back: entries below the stored offset would
    /// be skipped for ever without an error, so the reader must start again at
    /// [`Offset::START`] and lean on the unique event ids. Ask at start, after each failure and
    /// every few seconds.
    pub fn continues(&self, generation: Uuid, offset: Offset) -> bool {
        self.generation == generation && self.last >= offset
    }
}

/// Says why a log did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// Nothing can be stored or read at present: not reachable, no answer, read-only, full, or
    /// configured so that acknowledged events could be lost.
    #[error("the event log is down: {reason}")]
    Down {
        /// What was noticed.
        reason: String,
        /// The client's own error, if it had one.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The log has it, and fewer replicas than must have it acknowledged so in time: a failover could
    /// lose it.
    #[error("the event log is not replicated: {acknowledged} of {wanted} replicas have the append")]
    Unreplicated {
        /// How many have it.
        acknowledged: u64,
        /// How many must.
        wanted: u8,
    },
    /// The log works, but this command on this shard was refused (a key of another type).
    #[error("the event log refused {command} on shard {shard}")]
    Refused {
        /// The command.
        command: String,
        /// The shard.
        shard: Shard,
        /// The server's answer.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The settings cannot be used at all, for example an address that is none.
    #[error("the event log's settings are wrong: {0}")]
    Settings(String),
}

/// A durable, ordered, sharded log of packed batches.
pub trait EventLog: Send + Sync {
    /// Appends a batch and returns its offset once it is durable.
    ///
    /// After an error, and after being dropped before the end, the batch may or may not be there.
    fn append(
        &self,
        shard: Shard,
        batch: &PackedBatch,
    ) -> impl Future<Output = Result<Offset, StreamError>> + Send;

    /// Returns up to `entries_max` entries strictly after `after`, oldest first; does not wait
    /// for new ones.
    fn read(
        &self,
        shard: Shard,
        after: Offset,
        entries_max: usize,
    ) -> impl Future<Output = Result<Vec<Entry>, StreamError>> + Send;

    /// Returns generation, ends and length of a shard; names the generation at first sight.
    fn state(&self, shard: Shard) -> impl Future<Output = Result<LogState, StreamError>> + Send;

    /// Removes the entries strictly before `offset` and returns how many went.
    fn trim_before(
        &self,
        shard: Shard,
        offset: Offset,
    ) -> impl Future<Output = Result<u64, StreamError>> + Send;

    /// Tells whether a failure of one shard says nothing about the other, because another server
    /// holds it.
    fn are_apart(&self, _one: Shard, _other: Shard) -> bool {
        false
    }

    /// Proves by a durable write beside the shard that an append would work now.
    fn probe(&self, shard: Shard) -> impl Future<Output = Result<(), StreamError>> + Send;
}

/// A count that only rises.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Returns the count since the process started.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A figure that rises and falls.
#[derive(Debug, Default)]
pub struct Level(AtomicU64);

impl Level {
    /// Says what it is now.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// Returns what it was last.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What happened on the way in since the process started; read by metrics and `/readyz`.
#[derive(Debug, Default)]
pub struct StreamStats {
    /// Events acknowledged by the log.
    pub log_events: Counter,
    /// Events acknowledged by the spool.
    pub spool_events: Counter,
    /// Events that neither could take; their senders were told so.
    pub refused_events: Counter,
    /// Appends that the log answered with an error.
    pub log_failures: Counter,
    /// Appends that the log did not answer within the caller's deadline.
    pub log_timeouts: Counter,
    /// Appends that the log has and too few replicas acknowledged.
    pub log_shortfalls: Counter,
    /// Connections to Redis that were opened and passed the safety check.
    pub connections: Counter,
    /// Connections refused because Redis could lose acknowledged events.
    pub unsafe_refusals: Counter,
    /// Events that waited in the spool when it was opened.
    pub spool_found_events: Counter,
    /// Events moved from the spool to the log.
    pub drained_events: Counter,
    /// Events that wait in the spool.
    pub spool_waiting: Level,
    /// Spool segments whose unfinished last record was cut at start (never acknowledged).
    pub spool_torn_tails: Counter,
    /// Spool segments moved aside as `*.bad` because acknowledged bytes were damaged.
    pub spool_bad_segments: Counter,
    /// Writes or fsyncs that the spool's disk refused.
    pub spool_failures: Counter,
}
