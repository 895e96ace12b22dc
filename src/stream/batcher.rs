//! Many events, one durable write: what arrives while a worker waits for one goes out with the next.
//!
//! An event that finds no batch open opens one and spawns its sending; the sending runs when the
//! loop has served everything that is ready, so under load a batch holds all events of that turn
//! and on an idle service it holds one. While an append is under way the next batch stays open: the
//! server writes to its disk one append after the other, so it would wait there instead, and each
//! append costs both sides as much as several clicks. Each worker has batchers of its own: no locks.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::Shared;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::{spawn_local, yield_now};
use tokio::time::timeout;

use super::{DurableLog, PackedBatch, Shard};
use crate::telemetry;

/// Events in one entry, at most: a bad entry costs no more than this, and settling one is quick.
const EVENTS_MAX: usize = 512;

/// How long a batch stays open for the append before it, at most: one that hangs holds up nobody.
const HELD_MAX: Duration = Duration::from_millis(5);

/// Whether an event is durable, once that is known; all events of a batch wait for one answer.
pub type Durable = Shared<oneshot::Receiver<bool>>;

/// Collects the events of one worker.
#[derive(Clone)]
pub struct Batcher {
    log: Arc<DurableLog>,
    deadline: Duration,
    shards: u16,
    open: Rc<RefCell<Option<Open>>>,
    /// One place, which the append under way has.
    way: Arc<Semaphore>,
}

struct Open {
    batch: PackedBatch,
    done: Durable,
    close: oneshot::Sender<bool>,
}

impl Batcher {
    /// Returns a batcher whose writes wait for the log until `deadline`, then go to the spool.
    pub fn new(log: Arc<DurableLog>, deadline: Duration, shards: u16) -> Self {
        Self { log, deadline, shards, open: Rc::default(), way: Arc::new(Semaphore::new(1)) }
    }

    /// Lets `add` put one event into the open batch and returns what tells when it is durable.
    pub fn push(&self, add: impl FnOnce(&mut PackedBatch)) -> Durable {
        let mut slot = self.open.borrow_mut();
        let is_new = slot.is_none();
        let open = slot.get_or_insert_with(|| {
            let (close, done) = oneshot::channel();
            Open { batch: PackedBatch::new(), done: done.shared(), close }
        });
        add(&mut open.batch);
        let done = open.done.clone();
        if open.batch.len() >= EVENTS_MAX {
            let full = slot.take();
            drop(slot);
            self.send(full, None);
        } else if is_new {
            drop(slot);
            let this = self.clone();
            spawn_local(async move {
                let way = Arc::clone(&this.way).acquire_owned();
                let place = timeout(HELD_MAX, way).await.ok().and_then(Result::ok);
                yield_now().await;
                let batch = this.open.borrow_mut().take();
                this.send(batch, place);
            });
        }
        done
    }

    /// Sends a batch in a task of its own: the caller who opened it may go away, the others stay.
    fn send(&self, open: Option<Open>, place: Option<OwnedSemaphorePermit>) {
        let Some(Open { batch, close, .. }) = open else { return };
        let (log, deadline) = (Arc::clone(&self.log), self.deadline);
        let shard = Shard(rand::random::<u16>() % self.shards);
        spawn_local(async move {
            let kept = log.append(shard, &batch, deadline).await;
            if let Err(error) = &kept {
                let causes = telemetry::with_causes(error);
                tracing::error!("{} events could not be kept: {causes}", batch.len());
            }
            // Nobody may be waiting any more.
            let _ = close.send(kept.is_ok());
            // Only now: who is answered asks again, and may be in the next batch.
            drop(place);
        });
    }
}
