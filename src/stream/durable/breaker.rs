//! What keeps callers away from a shard that has just failed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Keeps callers away from a log that failed: closed means "try the log".
pub(super) struct Breaker {
    pub(super) born: Instant,
    pause_ms: u64,
    /// When the next trial is due, in milliseconds since `born`; 0 while closed.
    pub(super) retry_at_ms: AtomicU64,
}

impl Breaker {
    pub(super) fn new(pause: Duration) -> Self {
        let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX).max(1);
        Self { born: Instant::now(), pause_ms, retry_at_ms: AtomicU64::new(0) }
    }

    /// Says whether this caller may try the log. While open, one caller per pause may.
    pub(super) fn admits(&self) -> bool {
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

    pub(super) fn open(&self) {
        self.retry_at_ms.store(self.now_ms().saturating_add(self.pause_ms), Ordering::Release);
    }

    /// Tells whether callers are kept away.
    pub(super) fn is_open(&self) -> bool {
        self.retry_at_ms.load(Ordering::Acquire) != 0
    }

    pub(super) fn close(&self) {
        self.retry_at_ms.store(0, Ordering::Release);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
