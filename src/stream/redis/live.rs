//! A connection in use, and how those who append over it wait for replicas.
//!
//! `WAIT` speaks for what was written over its own connection, so it goes where the append went.
//! Until it is answered the server takes nothing else from that connection; what comes meanwhile is
//! written at once when it ends. So one is under way at a time, and all whose append was answered
//! before it is sent share it, as they share an fsync: it costs each of them its length, not that
//! of all before.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{RedisError, cmd};
use futures_util::future::{BoxFuture, FutureExt as _, WeakShared};
use tokio::task::yield_now;

/// One WAIT, shared.
type Round = BoxFuture<'static, Result<u64, RedisError>>;

/// A connection that has passed the safety check.
pub(super) struct Live {
    pub(super) connection: MultiplexedConnection,
    /// The round that is not sent yet. Weak, so that nobody asks for those who have all gone.
    next: Mutex<Option<WeakShared<Round>>>,
    /// Held while a round is under way.
    turn: tokio::sync::Mutex<()>,
}

impl Live {
    pub(super) fn new(connection: MultiplexedConnection) -> Self {
        Self { connection, next: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// Waits until `wanted` replicas have all that was answered over this connection so far, or
    /// until `patience` is over; returns how many have it.
    pub(super) async fn acknowledged(
        self: &Arc<Self>,
        wanted: u8,
        patience: Duration,
    ) -> Result<u64, RedisError> {
        let round = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            next.as_ref().and_then(WeakShared::upgrade).unwrap_or_else(|| {
                let fresh = Arc::clone(self).round(wanted, patience).boxed().shared();
                *next = fresh.downgrade();
                fresh
            })
        };
        round.await
    }

    async fn round(self: Arc<Self>, wanted: u8, patience: Duration) -> Result<u64, RedisError> {
        let _turn = self.turn.lock().await;
        // Those who were answered together with the first come along.
        yield_now().await;
        self.next.lock().unwrap_or_else(PoisonError::into_inner).take();
        // To Redis 0 ms are no limit.
        let patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX).max(1);
        let mut connection = self.connection.clone();
        cmd("WAIT").arg(wanted).arg(patience_ms).query_async(&mut connection).await
    }
}
