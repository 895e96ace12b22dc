//! Many events, one durable write: what arrives while another write is under way goes out together.
//!
//! An event that finds no batch open opens one and spawns its sending; the sending runs when the
//! loop has served everything that is ready, so under load a batch holds all events of that turn
//! and on an idle service it holds one. While a batch waits for the log, the next one stays open: the
//! log would make it wait for the same disk, and two small writes cost it twice what one costs. It
//! waits no longer than the log has time to answer. Each worker has batchers of its own: no locks.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::Shared;
use tokio::sync::oneshot;
use tokio::task::{spawn_local, yield_now};
use tokio::time::timeout;

use super::{DurableLog, PackedBatch, Shard};
use crate::telemetry;

/// Events in one entry, at most: a bad entry costs no more than this, and settling one is quick.
const EVENTS_MAX: usize = 512;

/// Whether an event is durable, once that is known; all events of a batch wait for one answer.
pub type Durable = Shared<oneshot::Receiver<bool>>;

/// Collects the events of one worker.
#[derive(Clone)]
pub struct Batcher {
    log: Arc<DurableLog>,
    deadline: Duration,
    shards: u16,
    open: Rc<RefCell<Option<Open>>>,
    /// Batches that wait for the log.
    n_sending: Rc<Cell<usize>>,
}

struct Open {
    batch: PackedBatch,
    done: Durable,
    close: oneshot::Sender<bool>,
    /// Whether its sending is spawned.
    is_due: bool,
}

/// One that waits for the log, counted as long as this lives.
struct Sending(Rc<Cell<usize>>);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.update(|n| n - 1);
    }
}

impl Batcher {
    /// Returns a batcher whose writes wait for the log until `deadline`, then go to the spool.
    pub fn new(log: Arc<DurableLog>, deadline: Duration, shards: u16) -> Self {
        Self { log, deadline, shards, open: Rc::default(), n_sending: Rc::default() }
    }

    /// Lets `add` put one event into the open batch and returns what tells when it is durable.
    pub fn push(&self, add: impl FnOnce(&mut PackedBatch)) -> Durable {
        let mut slot = self.open.borrow_mut();
        let open = slot.get_or_insert_with(|| {
            let (close, done) = oneshot::channel();
            Open { batch: PackedBatch::new(), done: done.shared(), close, is_due: false }
        });
        add(&mut open.batch);
        let done = open.done.clone();
        if open.batch.len() >= EVENTS_MAX {
            drop(slot);
            self.send_open();
        } else if !open.is_due && self.n_sending.get() == 0 {
            open.is_due = true;
            drop(slot);
            let this = self.clone();
            spawn_local(async move {
                yield_now().await;
                this.send_open();
            });
        }
        done
    }

    /// Sends the open batch in a task of its own: the caller who opened it may go away, the others
    /// stay.
    fn send_open(&self) {
        let Some(Open { batch, close, .. }) = self.open.borrow_mut().take() else { return };
        let this = self.clone();
        let shard = Shard(rand::random::<u16>() % self.shards);
        self.n_sending.update(|n| n + 1);
        let sending = Sending(Rc::clone(&self.n_sending));
        spawn_local(async move {
            let mut appending = pin!(this.log.append(shard, &batch, this.deadline));
            let in_time = timeout(this.deadline, &mut appending).await;
            drop(sending);
            if this.n_sending.get() == 0 {
                this.send_open();
            }
            let kept = match in_time {
                Ok(kept) => kept,
                Err(_) => appending.await,
            };
            if let Err(error) = &kept {
                let causes = telemetry::with_causes(error);
                tracing::error!("{} events could not be kept: {causes}", batch.len());
            }
            // Nobody may be waiting any more.
            let _ = close.send(kept.is_ok());
        });
    }
}
