//! What the redirect and the conversion doors append to: the log if it answers in time, else the
//! spool.
//!
//! While the log is down, callers do not queue up to find that out: after a failure appends go to
//! the spool directly, except one trial after each pause, of which each is longer than the one
//! before: a log that was late once is tried again within a twentieth of a second. Where several
//! servers hold the log, each fails for itself: what the shards of one would have got, those of the
//! others take, since any shard is as good for an event.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{join, join_all};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, timeout};
use tracing::{error, info, warn};

mod breaker;

use self::breaker::Breaker;

use super::redis::RedisLog;
use super::spool::{DrainError, Outlet, Spool, SpoolError};
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
    /// Shards of the log.
    pub shards: u16,
    /// How long appends go to the spool directly after the log failed; twice as long after each trial
    /// that fails, too.
    pub pause: Duration,
    /// How long they do at most.
    pub pause_max: Duration,
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
            shards: 1,
            pause: Duration::from_millis(50),
            pause_max: Duration::from_millis(500),
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
    /// The log took the last append or probe, on one of its servers at least.
    pub is_log_up: bool,
    /// Shards that take nothing at present; others take their events.
    pub shards_down: u16,
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
    /// What is kept of messages until they are settled; on a cluster only.
    held: Option<Spool>,
    is_holding: AtomicBool,
    options: DurableOptions,
    /// One for each shard.
    breakers: Vec<Breaker>,
    /// A shard takes appends again: what was spooled meanwhile can follow.
    healed: Notify,
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
        let breakers = (0..options.shards.max(1))
            .map(|_| Breaker::new(options.pause, options.pause_max))
            .collect();
        let [is_log_up, is_holding] = [true, true].map(AtomicBool::new);
        let healed = Notify::new();
        Self { log, spool, held: None, is_holding, options, breakers, healed, is_log_up, stats }
    }

    /// Also keeps every message of conversions in this spool, until somebody finds it settled and
    /// releases it: for a log that can lose what it acknowledged.
    #[must_use]
    pub fn holding(self, held: Spool) -> Self {
        Self { held: Some(held), ..self }
    }

    /// Returns where messages are kept until they are settled.
    pub fn held(&self) -> Option<&Spool> {
        self.held.as_ref()
    }

    /// Appends a batch and returns once it is durable: in the log within `deadline`, else in the
    /// spool. It lands on `shard` unless that does not take it and another does.
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
        let appending = self.append_to_log(shard, batch, deadline);
        let is_in_log = match self.held.as_ref().filter(|_| batch.holds_messages()) {
            Some(held) => join(appending, self.hold(held, shard, batch)).await.0,
            None => appending.await,
        };
        if is_in_log {
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

    /// A disk that does not hold a message is no reason to refuse it: the log has it, durably as far
    /// as one server can.
    async fn hold(&self, held: &Spool, shard: Shard, batch: &PackedBatch) {
        let holding = timeout(self.options.spool_timeout, held.append(shard, batch));
        let held = holding.await.unwrap_or(Err(SpoolError::TimedOut));
        let was_holding = self.is_holding.swap(held.is_ok(), Ordering::Relaxed);
        match held {
            Err(error) if was_holding => {
                error!("messages are not held until they are settled: {error}");
            }
            Ok(()) if !was_holding => info!("messages are held again until they are settled"),
            Ok(()) | Err(_) => {}
        }
    }

    /// Tries one shard that is up and, if it fails, one of another server at once.
    async fn append_to_log(&self, shard: Shard, batch: &PackedBatch, deadline: Duration) -> bool {
        let began = Instant::now();
        let Some(first) = self.up_from(shard, |_| true) else { return false };
        // Half, so that a server that hangs leaves time for another.
        let patience = if self.breakers.len() > 1 { deadline / 2 } else { deadline };
        if self.append_to_shard(first, batch, patience).await {
            return true;
        }
        let Some(second) = self.up_from(first, |other| self.log.are_apart(first, other)) else {
            return false;
        };
        let rest = deadline.saturating_sub(began.elapsed());
        self.append_to_shard(second, batch, rest).await
    }

    async fn append_to_shard(&self, shard: Shard, batch: &PackedBatch, patience: Duration) -> bool {
        match timeout(patience, self.log.append(shard, batch)).await {
            Ok(Ok(_)) => {
                self.note_up(shard);
                true
            }
            // The shard's own trouble: the others go on as they are.
            Ok(Err(StreamError::Refused { .. })) => {
                self.stats.log_failures.add(1);
                false
            }
            Ok(Err(error @ (StreamError::Down { .. } | StreamError::Settings(_)))) => {
                self.stats.log_failures.add(1);
                self.note_down(shard, &error);
                false
            }
            // Late is not down: the next probe, which is patient, tells which it was.
            Ok(Err(StreamError::Unreplicated { .. })) => {
                self.stats.log_shortfalls.add(1);
                self.of_one_fate(shard).for_each(Breaker::open);
                false
            }
            Err(_) => {
                self.stats.log_timeouts.add(1);
                self.of_one_fate(shard).for_each(Breaker::open);
                false
            }
        }
    }

    /// Returns the first shard, from this one on, that fits and may be tried.
    fn up_from(&self, shard: Shard, fits: impl Fn(Shard) -> bool) -> Option<Shard> {
        let n_shards = self.breakers.len();
        (0..n_shards)
            .map(|n| (usize::from(shard.0) + n) % n_shards)
            .map(|n| (Shard(u16::try_from(n).unwrap_or(0)), &self.breakers[n]))
            .find(|(shard, breaker)| fits(*shard) && breaker.admits())
            .map(|(shard, _)| shard)
    }

    /// Returns the breakers of the shards that fail and heal together with this one.
    fn of_one_fate(&self, shard: Shard) -> impl Iterator<Item = &Breaker> {
        let is_beside = move |other: Shard| other == shard || !self.log.are_apart(shard, other);
        let all = (0..).map(Shard).zip(&self.breakers);
        all.filter(move |(other, _)| is_beside(*other)).map(|(_, breaker)| breaker)
    }

    fn note_up(&self, shard: Shard) {
        if self.breakers.get(usize::from(shard.0)).is_some_and(Breaker::is_open) {
            self.of_one_fate(shard).for_each(Breaker::close);
            self.healed.notify_one();
        }
        self.set_log_up(None);
    }

    fn note_down(&self, shard: Shard, failure: &StreamError) {
        let were_down = self.shards_down();
        self.of_one_fate(shard).for_each(Breaker::open);
        let are_down = self.shards_down();
        if usize::from(are_down) == self.breakers.len() {
            self.set_log_up(Some(failure));
        } else if are_down > were_down {
            let causes = telemetry::with_causes(failure);
            warn!("{are_down} shards are down, other shards take their events: {causes}");
        }
    }

    fn shards_down(&self) -> u16 {
        let n = self.breakers.iter().filter(|breaker| breaker.is_open()).count();
        u16::try_from(n).unwrap_or(u16::MAX)
    }

    /// Probes log and spool and empties the spool, for ever; the spool also as soon as the log is
    /// back. May be dropped at any point.
    pub async fn run_drainer(&self) {
        let mut ticks = tokio::time::interval(self.options.probe_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.tend().await,
                () = self.healed.notified() => self.empty().await,
            }
        }
    }

    /// Probes both sides, and empties the spool where the log takes what it holds.
    pub(super) async fn tend(&self) {
        self.probe().await;
        self.empty().await;
    }

    async fn empty(&self) {
        if self.state().is_log_up && self.spool.n_events() > 0 {
            match self.drain().await {
                Ok(n_events) => info!("moved {n_events} events from the spool to the log"),
                Err(error) => warn!("{}", telemetry::with_causes(&error)),
            }
        }
    }

    /// Connects the runtime that calls this to each server, so that its first events do not wait for
    /// that. Whether it worked is told by them.
    pub async fn connect(&self) {
        let shards = self.one_of_each_fate();
        join_all(shards.into_iter().map(|shard| self.log.state(shard))).await;
    }

    /// Asks both sides whether an append would work now.
    pub async fn probe(&self) {
        join_all(self.one_of_each_fate().into_iter().map(|shard| self.probe_shard(shard))).await;
        let was_failing = self.spool.is_failing();
        let probing = timeout(self.options.spool_timeout, self.spool.probe());
        match probing.await.unwrap_or(Err(SpoolError::TimedOut)) {
            Err(e) if !was_failing => error!("the spool cannot take events: {e}"),
            Ok(()) if was_failing => info!("the spool takes events again"),
            Ok(()) | Err(_) => {}
        }
    }

    async fn probe_shard(&self, shard: Shard) {
        let started = Instant::now();
        match timeout(self.options.probe_timeout, self.log.probe(shard)).await {
            Ok(Ok(())) if started.elapsed() <= self.options.brisk => self.note_up(shard),
            Ok(Ok(())) => self.set_log_up(None),
            Ok(Err(error)) => self.note_down(shard, &error),
            Err(_) => {
                let reason = "no answer to a probe".to_owned();
                self.note_down(shard, &StreamError::Down { reason, source: None });
            }
        }
    }

    /// Returns one shard of each server.
    fn one_of_each_fate(&self) -> Vec<Shard> {
        let mut chosen: Vec<Shard> = Vec::new();
        for (shard, _) in (0..).map(Shard).zip(&self.breakers) {
            if chosen.iter().all(|other| self.log.are_apart(*other, shard)) {
                chosen.push(shard);
            }
        }
        chosen
    }

    /// Moves what waits in the spool to the log and returns the number of events.
    pub async fn drain(&self) -> Result<u64, DrainError> {
        self.spool.drain(self).await
    }

    /// Returns what `/readyz` and the metrics tell.
    pub fn state(&self) -> DurableState {
        DurableState {
            is_log_up: self.is_log_up.load(Ordering::Relaxed),
            shards_down: self.shards_down(),
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

impl<L: EventLog> Outlet for DurableLog<L> {
    /// Takes what was spooled: on its shard, or on one that is up. A server that is known to take
    /// nothing comes last: one that lacks replicas would keep a copy of everything all the same.
    async fn take(&self, shard: Shard, batch: &PackedBatch) -> Result<(), StreamError> {
        let apart_from = |one| self.up_from(one, |other| self.log.are_apart(one, other));
        let is_open = self.breakers.get(usize::from(shard.0)).is_some_and(Breaker::is_open);
        let first = if is_open { apart_from(shard).unwrap_or(shard) } else { shard };
        let Err(error) = self.log.append(first, batch).await else { return Ok(()) };
        match apart_from(first) {
            Some(other) => self.log.append(other, batch).await.map(drop),
            None => Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
