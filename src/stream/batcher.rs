//! Many events, one durable write: what arrives while a worker waits for one goes out with the next.
//!
//! An event that finds no batch open opens one and spawns its sending; the sending runs when the
//! loop has served everything that is ready, so under load a batch holds all events of that turn
//! and on an idle service it holds one. While an append is under way the next batch stays open: the
//! server writes to its disk one append after the other, so it would wait there instead, and each
//! append costs both sides as much as several clicks. Where a large append has just been answered,
//! most of those whom it carried ask again within the turn: the next one leaves when many of them
//! have, and the rest is served while the disk writes. Each worker has batchers of its own: no locks.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{spawn_local, yield_now};
use tokio::time::timeout;

use super::{DurableLog, PackedBatch, Shard};
use crate::telemetry;

/// Events in one entry, at most: a bad entry costs no more than this, and settling one is quick.
const EVENTS_MAX: usize = 512;

/// How long a batch stays open for the append before it, at most: one that hangs holds up nobody.
const HELD_MAX: Duration = Duration::from_millis(5);

/// Events of an append, at least, for the next one to leave before the turn ends: serving so many takes
/// about as long as a disk.
const LARGE: usize = 64;

/// Collects the events of one worker. Cloning is cheap; all clones are one.
#[derive(Clone)]
pub struct Batcher(Rc<Collecting>);

struct Collecting {
    log: Arc<DurableLog>,
    deadline: Duration,
    shards: u16,
    open: RefCell<Option<Open>>,
    /// Appends under way.
    n_under_way: Cell<usize>,
    /// None is under way any more.
    answered: Notify,
    /// With how many events the open batch leaves before the turn ends.
    goal: Cell<usize>,
}

struct Open {
    batch: PackedBatch,
    fate: Rc<Fate>,
}

impl Batcher {
    /// Returns a batcher whose writes wait for the log until `deadline`, then go to the spool.
    pub fn new(log: Arc<DurableLog>, deadline: Duration, shards: u16) -> Self {
        let (open, answered) = (RefCell::default(), Notify::new());
        let (n_under_way, goal) = (Cell::new(0), Cell::new(usize::MAX));
        Self(Rc::new(Collecting { log, deadline, shards, open, n_under_way, answered, goal }))
    }

    /// Lets `add` put one event into the open batch and returns what tells when it is durable.
    pub fn push(&self, add: impl FnOnce(&mut PackedBatch)) -> Durable {
        let this = &self.0;
        let mut slot = this.open.borrow_mut();
        let is_new = slot.is_none();
        let Open { batch, fate } =
            slot.get_or_insert_with(|| Open { batch: PackedBatch::new(), fate: Rc::default() });
        add(batch);
        let (n_events, fate) = (batch.len(), Rc::clone(fate));
        drop(slot);
        let is_enough = n_events >= this.goal.get() && this.n_under_way.get() == 0;
        if n_events >= EVENTS_MAX || is_enough {
            self.send(Turn::GoesOn);
        } else if is_new {
            spawn_local(self.clone().send_at_the_end_of_the_turn(Rc::clone(&fate)));
        }
        Durable { fate, place: None }
    }

    async fn send_at_the_end_of_the_turn(self, fate: Rc<Fate>) {
        let this = &self.0;
        if this.n_under_way.get() > 0 {
            let _ = timeout(HELD_MAX, this.answered.notified()).await;
        }
        yield_now().await;
        let is_open = this.open.borrow().as_ref().is_some_and(|open| Rc::ptr_eq(&open.fate, &fate));
        if is_open {
            self.send(Turn::Ends);
        }
    }

    /// Sends the open batch in a task of its own: the caller who opened it may go away, the others
    /// stay.
    fn send(&self, turn: Turn) {
        let Some(Open { batch, fate }) = self.0.open.borrow_mut().take() else { return };
        self.0.goal.set(usize::MAX);
        let is_large = batch.len() >= LARGE;
        let mut keeping = Box::pin(UnderWay::new(Rc::clone(&self.0), fate).keep(batch));
        if turn == Turn::GoesOn || is_large {
            // So that the append is on its way before the turn goes on; its task asks again.
            let now = keeping.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            if now.is_ready() {
                return;
            }
            // Runs behind the connection's own task, which writes. A server on this core would
            // get it when we have nothing to do; its part is short, and then the disk works beside us.
            tokio::spawn(async { thread::yield_now() });
        }
        spawn_local(keeping);
    }
}

/// What becomes of the turn of the loop in which a batch is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    GoesOn,
    Ends,
}

/// An append under way; those who wait for one that is dropped hear that it was in vain.
struct UnderWay {
    of: Rc<Collecting>,
    fate: Rc<Fate>,
}

impl UnderWay {
    fn new(of: Rc<Collecting>, fate: Rc<Fate>) -> Self {
        of.n_under_way.update(|n| n + 1);
        Self { of, fate }
    }

    async fn keep(self, batch: PackedBatch) {
        let Collecting { log, deadline, shards, open, goal, .. } = &*self.of;
        let shard = Shard(rand::random::<u16>() % shards);
        let kept = log.append(shard, &batch, *deadline).await;
        if let Err(error) = &kept {
            let causes = telemetry::with_causes(error);
            tracing::error!("{} events could not be kept: {causes}", batch.len());
        }
        self.fate.decide(kept.is_ok());
        let n_open = open.borrow().as_ref().map_or(0, |open| open.batch.len());
        let is_large = batch.len() >= LARGE;
        goal.set(if is_large { n_open + batch.len() * 3 / 5 } else { usize::MAX });
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.fate.decide(false);
        self.of.n_under_way.update(|n| n - 1);
        if self.of.n_under_way.get() == 0 {
            // Only now: who was answered asks again, and may be in the next batch.
            self.of.answered.notify_waiters();
        }
    }
}

/// What becomes of the events of a batch, and who waits to hear it.
#[derive(Default)]
struct Fate {
    is_durable: Cell<Option<bool>>,
    waiting: RefCell<Vec<Waker>>,
}

impl Fate {
    /// The first word counts.
    fn decide(&self, is_durable: bool) {
        if self.is_durable.get().is_none() {
            self.is_durable.set(Some(is_durable));
            self.waiting.take().into_iter().for_each(Waker::wake);
        }
    }
}

/// Tells whether an event is durable, once that is known.
#[must_use]
pub struct Durable {
    fate: Rc<Fate>,
    /// Where it waits among those of its batch.
    place: Option<usize>,
}

impl Future for Durable {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        if let Some(is_durable) = self.fate.is_durable.get() {
            return Poll::Ready(is_durable);
        }
        let this = &mut *self;
        let mut waiting = this.fate.waiting.borrow_mut();
        match this.place.and_then(|n| waiting.get_mut(n)) {
            Some(waker) => waker.clone_from(cx.waker()),
            None => {
                this.place = Some(waiting.len());
                waiting.push(cx.waker().clone());
            }
        }
        Poll::Pending
    }
}
