//! What the redirect and the conversion doors append to: the log if it answers in time, else the
//! spool.
//!
//! While the log is down, callers do not queue up to find that out: after a failure appends go to
//! the spool directly, except one trial after each pause.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, timeout};
use tracing::{error, info, warn};

use super::redis::RedisLog;
use super::spool::{DrainError, Spool, SpoolError};
use super::{EventLog, PackedBatch, Shard, StreamError, StreamStats};
use crate::telemetry;

/// Where an event was made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    /// In the event log.
    Log,
    /// In the local spool; it follows into the log when that is back.
    Spool,
}

/// Says that an event is not durable anywhere: the sender must hear so, or send again.
///
/// It may still have been stored, when an answer came too late; its unique id makes a second
/// sending harmless.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("neither the event log nor the spool could keep the event")]
pub struct NotDurable {
    /// Why the spool did not take it; the log had not either.
    #[source]
    pub spool: SpoolError,
}

/// Times of the way in.
#[derive(Debug, Clone)]
pub struct DurableOptions {
    /// How long appends go to the spool directly after the log failed.
    pub pause: Duration,
    /// How long an append may wait for the spool's disk.
    pub spool_timeout: Duration,
    /// How often the log and the spool are probed, and the spool drained.
    pub probe_every: Duration,
    /// How long a probe may take for the log to count as up.
    pub probe_timeout: Duration,
    /// How long a probe may take for appends to return to the log at once: about the shortest
    /// deadline of the callers, or a slow log would be tried and missed again and again.
    pub brisk: Duration,
}

impl Default for DurableOptions {
    fn default() -> Self {
        Self {
            pause: Duration::from_millis(500),
            spool_timeout: Duration::from_secs(2),
            probe_every: Duration::from_secs(1),
            probe_timeout: Duration::from_secs(1),
            brisk: Duration::from_millis(20),
        }
    }
}

/// What `/readyz` and the metrics tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DurableState {
    /// The log took the last append or probe.
    pub is_log_up: bool,
    /// The spool took the last append or probe.
    pub is_spool_up: bool,
    /// Events that wait in the spool.
    pub spool_events: u64,
    /// Bytes of the spool on disk.
    pub spool_bytes: u64,
    /// The bound of the spool.
    pub spool_bytes_max: u64,
}

impl DurableState {
    /// Says whether an event that comes now can be kept.
    pub fn can_store(&self) -> bool {
        self.is_log_up || self.is_spool_up
    }
}

/// A log with its spool.
pub struct DurableLog<L = RedisLog> {
    log: Arc<L>,
    spool: Spool,
    options: DurableOptions,
    breaker: Breaker,
    is_log_up: AtomicBool,
    stats: Arc<StreamStats>,
}

impl<L: EventLog> DurableLog<L> {
    /// Returns a log that tries `log` first. Until the first probe the log counts as up.
    pub fn new(
        log: Arc<L>,
        spool: Spool,
        options: DurableOptions,
        stats: Arc<StreamStats>,
    ) -> Self {
        let breaker = Breaker::new(options.pause);
        Self { log, spool, options, breaker, is_log_up: AtomicBool::new(true), stats }
    }

    /// Appends a batch and returns once it is durable: in the log within `deadline`, else in the
    /// spool.
    ///
    /// An append that came too late for its deadline may have been applied; the batch is then in
    /// the log twice, and the unique event ids make that harmless.
    pub async fn append(
        &self,
        shard: Shard,
        batch: &PackedBatch,
        deadline: Duration,
    ) -> Result<Where, NotDurable> {
        let n_events = batch.len() as u64;
        if self.breaker.admits() && self.append_to_log(shard, batch, deadline).await {
            self.stats.log_events.add(n_events);
            return Ok(Where::Log);
        }
        let spooling = timeout(self.options.spool_timeout, self.spool.append(shard, batch));
        match spooling.await.unwrap_or(Err(SpoolError::TimedOut)) {
            Ok(()) => {
                self.stats.spool_events.add(n_events);
                Ok(Where::Spool)
            }
            Err(spool) => {
                self.stats.refused_events.add(n_events);
                Err(NotDurable { spool })
            }
        }
    }

    async fn append_to_log(&self, shard: Shard, batch: &PackedBatch, deadline: Duration) -> bool {
        match timeout(deadline, self.log.append(shard, batch)).await {
            Ok(Ok(_)) => {
                self.breaker.close();
                self.set_log_up(None);
                true
            }
            // The shard's own trouble: the others go on as they are.
            Ok(Err(StreamError::Refused { .. })) => {
                self.stats.log_failures.add(1);
                false
            }
            Ok(Err(error @ (StreamError::Down { .. } | StreamError::Settings(_)))) => {
                self.stats.log_failures.add(1);
                self.breaker.open();
                self.set_log_up(Some(&error));
                false
            }
            Err(_) => {
                // Late is not down: the next probe, which is patient, tells which it was.
                self.stats.log_timeouts.add(1);
                self.breaker.open();
                false
            }
        }
    }

    /// Probes log and spool and empties the spool, for ever. May be dropped at any point.
    ///
    /// Run it on the runtime that lives longest: the connection to Redis is served by the runtime
    /// that opened it, and usually this task does.
    pub async fn run_drainer(&self) {
        let mut ticks = tokio::time::interval(self.options.probe_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.probe().await;
            if self.state().is_log_up && self.spool.n_events() > 0 {
                match self.drain().await {
                    Ok(n_events) => info!("moved {n_events} events from the spool to the log"),
                    Err(error) => warn!("{}", telemetry::with_causes(&error)),
                }
            }
        }
    }

    /// Asks both sides whether an append would work now.
    pub async fn probe(&self) {
        let started = Instant::now();
        match timeout(self.options.probe_timeout, self.log.probe(Shard(0))).await {
            Ok(Ok(())) => {
                self.set_log_up(None);
                if started.elapsed() <= self.options.brisk {
                    self.breaker.close();
                }
            }
            Ok(Err(error)) => self.set_log_up(Some(&error)),
            Err(_) => {
                let reason = "no answer to a probe".to_owned();
                self.set_log_up(Some(&StreamError::Down { reason, source: None }));
            }
        }
        let was_failing = self.spool.is_failing();
        let probing = timeout(self.options.spool_timeout, self.spool.probe());
        match probing.await.unwrap_or(Err(SpoolError::TimedOut)) {
            Err(e) if !was_failing => error!("the spool cannot take events: {e}"),
            Ok(()) if was_failing => info!("the spool takes events again"),
            Ok(()) | Err(_) => {}
        }
    }

    /// Moves what waits in the spool to the log and returns the number of events.
    pub async fn drain(&self) -> Result<u64, DrainError> {
        self.spool.drain(&*self.log).await
    }

    /// Returns what `/readyz` and the metrics tell.
    pub fn state(&self) -> DurableState {
        DurableState {
            is_log_up: self.is_log_up.load(Ordering::Relaxed),
            is_spool_up: !self.spool.is_failing(),
            spool_events: self.spool.n_events(),
            spool_bytes: self.spool.bytes(),
            spool_bytes_max: self.spool.bytes_max(),
        }
    }

    /// Returns the log, for those who read it.
    pub fn log(&self) -> &Arc<L> {
        &self.log
    }

    /// Returns what happened so far.
    pub fn stats(&self) -> &StreamStats {
        &self.stats
    }

    /// Notes and, when it changed, logs whether the log is up.
    fn set_log_up(&self, failure: Option<&StreamError>) {
        let was_up = self.is_log_up.swap(failure.is_none(), Ordering::Relaxed);
        match failure {
            Some(error) if was_up => {
                error!("{}; events go to the spool", telemetry::with_causes(error));
            }
            None if !was_up => info!("the event log is back"),
            Some(_) | None => {}
        }
    }
}

/// Keeps callers away from a log that failed: closed means "try the log".
struct Breaker {
    born: Instant,
    pause_ms: u64,
    /// When the next trial is due, in milliseconds since `born`; 0 while closed.
    retry_at_ms: AtomicU64,
}

impl Breaker {
    fn new(pause: Duration) -> Self {
        let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX).max(1);
        Self { born: Instant::now(), pause_ms, retry_at_ms: AtomicU64::new(0) }
    }

    /// Says whether this caller may try the log. While open, one caller per pause may.
    fn admits(&self) -> bool {
        let retry_at = self.retry_at_ms.load(Ordering::Acquire);
        if retry_at == 0 {
            return true;
        }
        let now = self.now_ms();
        let later = now.saturating_add(self.pause_ms);
        now >= retry_at
            && self
                .retry_at_ms
                .compare_exchange(retry_at, later, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
    }

    fn open(&self) {
        self.retry_at_ms.store(self.now_ms().saturating_add(self.pause_ms), Ordering::Release);
    }

    fn close(&self) {
        self.retry_at_ms.store(0, Ordering::Release);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests;
