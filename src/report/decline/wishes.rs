//! Days that readers asked for and nobody has learned: each is learned once, however many ask.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::NaiveDate;

use crate::ids::ProgramId;

/// Days that wait, at most; a reader whose day finds no room asks again in a moment.
const WAITING_MAX: usize = 100;

/// A day of a program.
pub type Wish = (ProgramId, NaiveDate);

/// The days that are to be learned in this process.
#[derive(Debug, Default)]
pub struct Wishes(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    open: BTreeSet<Wish>,
    /// The one that is being learned.
    current: Option<Wish>,
}

impl Wishes {
    /// Wishes for a day; nothing changes where somebody did before.
    pub fn add(&self, wish: Wish) {
        let mut waiting = self.lock();
        if waiting.current != Some(wish) && waiting.open.len() < WAITING_MAX {
            waiting.open.insert(wish);
        }
    }

    /// Returns the next day to learn; the one before is done.
    pub fn next(&self) -> Option<Wish> {
        let mut waiting = self.lock();
        waiting.current = waiting.open.pop_first();
        waiting.current
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it is held, and a set has no state that could be half-changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_learned_once_while_it_waits_and_while_it_is_learned() {
        let (wishes, program_id) = (Wishes::default(), ProgramId::new());
        let day = |n| (program_id, NaiveDate::from_epoch_days(n).unwrap());
        wishes.add(day(2));
        wishes.add(day(1));
        wishes.add(day(2));
        assert_eq!(wishes.next(), Some(day(1)));
        wishes.add(day(1));
        assert_eq!((wishes.next(), wishes.next()), (Some(day(2)), None));
        wishes.add(day(1));
        assert_eq!(wishes.next(), Some(day(1)), "it failed, or was thrown away since");
        for n in 0..2 * WAITING_MAX as i32 {
            wishes.add(day(n));
        }
        assert_eq!(std::iter::from_fn(|| wishes.next()).count(), WAITING_MAX);
    }
}
