//! What keeps callers away from a shard that has just failed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Keeps callers away from a log that failed: closed means "try the log". The first pause is short, since
/// most that is late is so for a moment; each trial doubles the next one.
pub(super) struct Breaker {
    pub(super) born: Instant,
    /// The first pause and the longest, in milliseconds.
    pauses: (u64, u64),
    /// The pause after the next trial.
    pause_ms: AtomicU64,
    /// When the next trial is due, in milliseconds since `born`; 0 while closed.
    pub(super) retry_at_ms: AtomicU64,
}

impl Breaker {
    pub(super) fn new(first: Duration, longest: Duration) -> Self {
        let pauses =
            [first, longest].map(|p| u64::try_from(p.as_millis()).unwrap_or(u64::MAX).max(1));
        let [pause_ms, retry_at_ms] = [AtomicU64::new(pauses[0]), AtomicU64::new(0)];
        Self { born: Instant::now(), pauses: (pauses[0], pauses[1]), pause_ms, retry_at_ms }
    }

    /// Says whether this caller may try the log. While open, one caller per pause may.
    pub(super) fn admits(&self) -> bool {
        let retry_at = self.retry_at_ms.load(Ordering::Acquire);
        if retry_at == 0 {
            return true;
        }
        let now = self.now_ms();
        if now < retry_at {
            return false;
        }
        let pause = self.pause_ms.load(Ordering::Relaxed).saturating_mul(2).min(self.pauses.1);
        let is_ours = self
            .retry_at_ms
            .compare_exchange(
                retry_at,
                now.saturating_add(pause),
                Ordering::AcqRel,
                Ordering::Acquire,
            )
            .is_ok();
        if is_ours {
            self.pause_ms.store(pause, Ordering::Relaxed);
        }
        is_ours
    }

    /// Keeps callers away; while it does already, the next trial stays when it is due.
    pub(super) fn open(&self) {
        let retry_at = self.now_ms().saturating_add(self.pauses.0);
        let opened =
            self.retry_at_ms.compare_exchange(0, retry_at, Ordering::AcqRel, Ordering::Acquire);
        if opened.is_ok() {
            self.pause_ms.store(self.pauses.0, Ordering::Relaxed);
        }
    }

    /// Tells whether callers are kept away.
    pub(super) fn is_open(&self) -> bool {
        self.retry_at_ms.load(Ordering::Acquire) != 0
    }

    pub(super) fn close(&self) {
        self.retry_at_ms.store(0, Ordering::Release);
    }

    fn now_ms(&self) -> u64 {
        // Not 0, which is "closed".
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
    }
}
