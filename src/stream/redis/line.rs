//! The connections to one server: each runtime that speaks with it has its own.
//!
//! A connection is served by the runtime that opened it and ends with it. Over one of its own, a
//! worker's append wakes no other thread, and waits behind no page that settlement reads.

use std::sync::Arc;

use ::redis::cmd;
use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::runtime::{Handle, Id};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::live::Live;

/// The lines to a server; there are as many as the process has runtimes.
#[derive(Default)]
pub(super) struct Lines(ArcSwap<Vec<(Id, Arc<Line>)>>);

impl Lines {
    /// Returns the line of the runtime that asks.
    pub(super) fn own(&self) -> Arc<Line> {
        let runtime = Handle::current().id();
        let of = |lines: &[(Id, Arc<Line>)]| {
            lines.iter().find(|(id, _)| *id == runtime).map(|(_, line)| Arc::clone(line))
        };
        if let Some(line) = of(&self.0.load()) {
            return line;
        }
        // Nobody else adds that of this runtime but its other threads: the first one counts.
        let fresh = Arc::<Line>::default();
        self.0.rcu(|lines| {
            let mut lines = Vec::clone(lines);
            if of(&lines).is_none() {
                lines.push((runtime, Arc::clone(&fresh)));
            }
            lines
        });
        of(&self.0.load()).unwrap_or(fresh)
    }
}

/// The way of a runtime to a server.
#[derive(Default)]
pub(super) struct Line {
    /// The connection in use; it has passed the safety check.
    live: ArcSwapOption<Live>,
    /// Held while connecting, so that one caller dials and the others wait; remembers when the
    /// last attempt failed.
    pub(super) dialing: Mutex<Option<Instant>>,
}

impl Line {
    /// Returns the connection in use.
    pub(super) fn live(&self) -> Option<Arc<Live>> {
        self.live.load_full()
    }

    /// Uses a connection from now on.
    pub(super) fn use_from_now(&self, live: Arc<Live>) {
        self.live.store(Some(live));
    }

    /// Uses a connection no longer, if it is still in use. Calls already under way keep their own
    /// handle of it.
    pub(super) fn give_up(&self, live: &Arc<Live>) {
        self.live.compare_and_swap(live, None);
    }
}

/// A question under way. Who gives it up before it is answered leaves a `PING` behind: a connection
/// that does not answer that either is used no longer. Others would not find out, for each asks
/// over its own.
pub(super) struct Asked {
    line: Arc<Line>,
    live: Arc<Live>,
    is_answered: bool,
}

impl Asked {
    pub(super) fn over(line: Arc<Line>, live: Arc<Live>) -> Self {
        Self { line, live, is_answered: false }
    }

    /// Whatever was said, it was said.
    pub(super) fn answered(mut self) {
        self.is_answered = true;
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let Some(runtime) = Handle::try_current().ok().filter(|_| !self.is_answered) else {
            return;
        };
        let (line, live) = (Arc::clone(&self.line), Arc::clone(&self.live));
        runtime.spawn(async move {
            let mut connection = live.connection.clone();
            if cmd("PING").query_async::<()>(&mut connection).await.is_err() {
                line.give_up(&live);
            }
        });
    }
}
