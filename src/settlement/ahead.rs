//! A batch is decided in pieces, on a thread of its own, while the pieces before are written: both take
//! about as long.

use std::{future, panic};

use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::settlement::facts::Facts;
use crate::settlement::grant::Moved;
use crate::settlement::{Decided, Message, decide};

/// Pieces that may wait to be written.
const WAITING_MAX: usize = 16;
/// Messages of a piece: below, handing it over takes longer than what is saved by having it earlier.
const PIECE: usize = 64;

/// What is decided of a batch, and what comes.
pub(super) struct Deciding {
    pieces: mpsc::Receiver<Vec<Decided>>,
    thread: JoinHandle<Moved>,
}

/// Begins to decide messages in their order.
pub(super) fn decide(mut facts: Facts, messages: Vec<Message>) -> Deciding {
    let (decided, pieces) = mpsc::channel(WAITING_MAX);
    let thread = spawn_blocking(move || {
        let mut messages = messages.into_iter();
        while messages.len() > 0 {
            let piece = messages.by_ref().take(PIECE).collect();
            if decided.blocking_send(decide::decide_all(&mut facts, piece)).is_err() {
                // Nobody takes them any more: the batch is given up.
                break;
            }
        }
        facts.pricing.moved
    });
    Deciding { pieces, thread }
}

impl Deciding {
    /// Returns the next decisions, in order, or `None` after the last.
    pub(super) async fn next(&mut self) -> Option<Vec<Decided>> {
        self.pieces.recv().await
    }

    /// Returns what they moved of sums that others are priced by.
    pub(super) async fn end(self) -> Moved {
        drop(self.pieces);
        match self.thread.await {
            Ok(moved) => moved,
            Err(error) => match error.try_into_panic() {
                Ok(panicked) => panic::resume_unwind(panicked),
                // The runtime ends before the thread began: nothing may be written any more.
                Err(_) => future::pending().await,
            },
        }
    }
}
