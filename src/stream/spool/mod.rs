//! The local spool: where events wait on disk while the log cannot take them.
//!
//! Segments are plain append-only files in one folder, owned by one thread. Appends that arrive
//! while an fsync runs share the next one (group commit). The reader's position is made durable
//! *before* a segment is deleted: a crash in between moves a chunk twice, never zero times.
//!
//! Start never fails for a damaged segment: whole records are kept, an unfinished tail is cut,
//! anything worse is moved aside as `*.bad` for a person to look at, and all of it is counted.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::{mpsc, oneshot};

use super::{EventLog, PackedBatch, Shard, StreamError, StreamStats};

mod disk;
mod segment;

use self::disk::Disk;

/// Jobs that may wait for the thread: beyond that, senders wait in their own tasks.
const JOBS_MAX: usize = 4096;

/// The most bytes written for one fsync.
const GROUP_BYTES_MAX: usize = 4 << 20;

/// Batches moved to the log between two writes of the reader's position.
const CHUNK_BATCHES_MAX: usize = 1024;

/// Appends under way at once while draining: enough to share an fsync of Redis.
const DRAIN_APPENDS_MAX: usize = 128;

/// Where the spool lies and how large it may grow.
#[derive(Debug, Clone)]
pub struct SpoolOptions {
    /// The folder; created if missing. One process at a time.
    pub dir: PathBuf,
    /// The most bytes of segments on disk; beyond, appends are refused as [`SpoolError::Full`].
    pub bytes_max: u64,
    /// The size at which a segment is closed and the next one begun.
    pub segment_bytes: u64,
}

/// Says why the spool did not keep or give a batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpoolError {
    /// It holds as much as it may.
    #[error("the spool is full: {bytes} of {bytes_max} bytes")]
    Full {
        /// Bytes on disk.
        bytes: u64,
        /// The bound.
        bytes_max: u64,
    },
    /// The batch exceeds any sensible size.
    #[error("a batch of {0} bytes is too large to spool")]
    TooLarge(usize),
    /// The disk refused.
    #[error("the spool in {} cannot {action}: {reason}", dir.display())]
    Disk {
        /// What was tried.
        action: &'static str,
        /// The folder.
        dir: PathBuf,
        /// The system's answer.
        reason: String,
    },
    /// Another process owns the folder.
    #[error("another process uses the spool in {0}")]
    InUse(PathBuf),
    /// No answer within the time allowed; the batch may or may not be on disk.
    #[error("the spool's disk did not answer in time")]
    TimedOut,
    /// The spool's thread has ended.
    #[error("the spool is closed")]
    Closed,
}

/// Says why draining stopped before the spool was empty; calling again resumes.
#[derive(Debug, thiserror::Error)]
pub enum DrainError {
    /// The log did not take a batch.
    #[error("the spool could not be drained")]
    Log(#[from] StreamError),
    /// The spool could not be read.
    #[error("the spool could not be read")]
    Spool(#[from] SpoolError),
}

/// Where a spool is emptied into.
pub trait Outlet: Sync {
    /// Takes a batch, durably, on its shard or on another.
    fn take(
        &self,
        shard: Shard,
        batch: &PackedBatch,
    ) -> impl Future<Output = Result<(), StreamError>> + Send;
}

impl<L: EventLog> Outlet for L {
    async fn take(&self, shard: Shard, batch: &PackedBatch) -> Result<(), StreamError> {
        self.append(shard, batch).await.map(drop)
    }
}

/// A reader's place: a segment and a byte in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    segment: u64,
    at: u64,
}

/// Batches to move, and where they end.
#[derive(Debug)]
pub struct Chunk {
    /// The oldest batches with the shards they were meant for; empty when nothing waits.
    pub batches: Vec<(Shard, PackedBatch)>,
    end: Position,
}

impl Chunk {
    fn n_events(&self) -> u64 {
        self.batches.iter().map(|(_, batch)| batch.len() as u64).sum()
    }
}

type Reply<T> = oneshot::Sender<Result<T, SpoolError>>;

enum Job {
    Append { record: Vec<u8>, n_events: u64, done: Reply<()> },
    Read { batches_max: usize, done: Reply<Chunk> },
    Advance { to: Position, n_events: u64, done: Reply<()> },
    Probe { done: Reply<()> },
}

/// What the thread lets others see.
#[derive(Debug, Default)]
struct Gauges {
    bytes: AtomicU64,
    n_events: AtomicU64,
    is_failing: AtomicBool,
}

/// The handle of the spool. Dropping it waits for the write under way and frees the folder.
pub struct Spool {
    /// `None` only while dropping.
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    gauges: Arc<Gauges>,
    bytes_max: u64,
}

impl Spool {
    /// Opens the folder, repairs what a crash left and starts the thread. Blocks: call it before
    /// serving.
    pub fn open(options: SpoolOptions, stats: Arc<StreamStats>) -> Result<Self, SpoolError> {
        let gauges = Arc::new(Gauges::default());
        let (bytes_max, dir) = (options.bytes_max, options.dir.clone());
        let disk = Disk::open(options, stats, gauges.clone())?;
        let (jobs, queue) = mpsc::channel(JOBS_MAX);
        let thread = std::thread::Builder::new()
            .name("spool".into())
            .spawn(move || run(disk, queue))
            .map_err(|e| SpoolError::Disk {
                action: "start its thread",
                dir,
                reason: e.to_string(),
            })?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread), gauges, bytes_max })
    }

    /// Appends a batch and returns once it is fsynced.
    ///
    /// After an error, and after being dropped before the end, the batch may still be on disk.
    pub async fn append(&self, shard: Shard, batch: &PackedBatch) -> Result<(), SpoolError> {
        let record = segment::encode(shard, batch)
            .ok_or_else(|| SpoolError::TooLarge(batch.as_bytes().len()))?;
        let n_events = batch.len() as u64;
        self.ask(|done| Job::Append { record, n_events, done }).await
    }

    /// Moves all batches to the log, oldest first, and returns how many events went.
    ///
    /// May be dropped or fail at any point: the next call resumes, and at worst moves one chunk a
    /// second time.
    pub async fn drain(&self, log: &impl Outlet) -> Result<u64, DrainError> {
        let mut moved = 0;
        loop {
            let chunk = self.oldest().await?;
            if chunk.batches.is_empty() {
                return Ok(moved);
            }
            let (end, n_events) = (chunk.end, chunk.n_events());
            stream::iter(chunk.batches)
                .map(|(shard, batch)| async move { log.take(shard, &batch).await })
                .buffered(DRAIN_APPENDS_MAX)
                .try_for_each(|()| async { Ok(()) })
                .await?;
            self.ask(|done| Job::Advance { to: end, n_events, done }).await?;
            moved += n_events;
        }
    }

    /// Returns the oldest batches without releasing them.
    pub async fn oldest(&self) -> Result<Chunk, SpoolError> {
        let batches_max = CHUNK_BATCHES_MAX;
        self.ask(|done| Job::Read { batches_max, done }).await
    }

    /// Forgets the oldest batches and returns how many events they held.
    pub async fn release(&self, chunk: Chunk) -> Result<u64, SpoolError> {
        let n_events = chunk.n_events();
        self.ask(|done| Job::Advance { to: chunk.end, n_events, done }).await?;
        Ok(n_events)
    }

    /// Proves by a write and an fsync that an append would work now.
    pub async fn probe(&self) -> Result<(), SpoolError> {
        self.ask(|done| Job::Probe { done }).await
    }

    /// Returns the bytes of segments on disk.
    pub fn bytes(&self) -> u64 {
        self.gauges.bytes.load(Ordering::Relaxed)
    }

    /// Returns the bound of [`Self::bytes`].
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Returns the number of events that wait for the log.
    pub fn n_events(&self) -> u64 {
        self.gauges.n_events.load(Ordering::Relaxed)
    }

    /// Says whether the last write or probe failed.
    pub fn is_failing(&self) -> bool {
        self.gauges.is_failing.load(Ordering::Relaxed)
    }

    async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, SpoolError> {
        let (done, answer) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or(SpoolError::Closed)?;
        jobs.send(job(done)).await.map_err(|_| SpoolError::Closed)?;
        answer.await.map_err(|_| SpoolError::Closed)?
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the spool's thread had panicked");
        }
    }
}

/// The thread: gathers the appends that wait, writes them at once, answers the rest in order.
fn run(mut disk: Disk, mut queue: mpsc::Receiver<Job>) {
    while let Some(first) = queue.blocking_recv() {
        let mut group = Group::default();
        let mut next = Some(first);
        while let Some(job) = next {
            match job {
                Job::Append { record, n_events, done } => match disk.room_for(&group, &record) {
                    Ok(()) => group.push(&record, n_events, done),
                    Err(full) => answer(done, Err(full)),
                },
                Job::Read { batches_max, done } => {
                    disk.commit(std::mem::take(&mut group));
                    answer(done, disk.read(batches_max));
                }
                Job::Advance { to, n_events, done } => {
                    disk.commit(std::mem::take(&mut group));
                    answer(done, disk.advance(to, n_events));
                }
                Job::Probe { done } => answer(done, disk.probe()),
            }
            let has_room = group.bytes.len() < GROUP_BYTES_MAX;
            next = if has_room { queue.try_recv().ok() } else { None };
        }
        disk.commit(group);
    }
}

/// Appends that share one fsync.
#[derive(Default)]
struct Group {
    bytes: Vec<u8>,
    n_events: u64,
    waiting: Vec<Reply<()>>,
}

impl Group {
    fn push(&mut self, record: &[u8], n_events: u64, done: Reply<()>) {
        self.bytes.extend_from_slice(record);
        self.n_events += n_events;
        self.waiting.push(done);
    }
}

/// Who asked may have gone; what was done stays done.
fn answer<T>(done: Reply<T>, result: Result<T, SpoolError>) {
    drop(done.send(result));
}

#[cfg(test)]
mod tests;
