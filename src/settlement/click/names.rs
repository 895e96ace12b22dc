//! Keys of programs and partners by the numbers that stand in tokens, as far as a process has asked.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use foldhash::HashMap;
use uuid::Uuid;

use crate::ids::{PartnerNo, ProgramNo};
use crate::settlement::click::Click;

/// How long keys are good: a number and its key never change, but an owner may remove the row by hand.
const GOOD_FOR: Duration = Duration::from_secs(60);
/// Partners that are kept, at most, 24 bytes each.
const PARTNERS_MAX: usize = 100_000;

/// Keys that were asked for within a minute: most batches are of the same ones.
#[derive(Debug, Default)]
pub(super) struct Names(Mutex<Option<Asked>>);

/// Keys, and when the first of them were asked for.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    at: Instant,
    pub(super) keys: Arc<Keys>,
}

/// Keys by numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    pub(super) programs: HashMap<ProgramNo, Uuid>,
    pub(super) partners: HashMap<PartnerNo, Uuid>,
}

impl Keys {
    /// Returns the keys of a click's program and partner, if both are there.
    pub(super) fn of(&self, click: &Click) -> Option<(Uuid, Uuid)> {
        Some((*self.programs.get(&click.program)?, *self.partners.get(&click.partner)?))
    }
}

impl Names {
    /// Returns what is known and still good at this moment.
    pub(super) fn known(&self, now: Instant) -> Asked {
        let asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_good = |asked: &&Asked| {
            now.duration_since(asked.at) < GOOD_FOR && asked.keys.partners.len() < PARTNERS_MAX
        };
        let good = asked.as_ref().filter(is_good).cloned();
        good.unwrap_or_else(|| Asked { at: now, keys: Arc::default() })
    }

    /// Keeps what was asked.
    pub(super) fn keep(&self, asked: &Asked) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_good_for_a_minute_and_so_many_are_kept() {
        let (names, start) = (Names::default(), Instant::now());
        let n_known =
            |seconds| names.known(start + Duration::from_secs(seconds)).keys.partners.len();
        let asked_with = |n: usize| {
            let partners = (0..n as u32).map(|no| (PartnerNo(no), Uuid::nil())).collect();
            let keys = Arc::new(Keys { partners, ..Keys::default() });
            names.keep(&Asked { keys, ..names.known(start) });
        };
        asked_with(1);
        assert_eq!([n_known(0), n_known(59), n_known(60)], [1, 1, 0]);
        asked_with(PARTNERS_MAX - 1);
        assert_eq!(n_known(59), PARTNERS_MAX - 1);
        asked_with(PARTNERS_MAX);
        assert_eq!(n_known(59), 0, "they begin anew");
    }
}
