//! Leases: of several processes that could do a thing, one does it.
//!
//! A pool holds items: the shards of a stream, or the timers as a whole. Every process that would
//! work on a pool is a member for as long as it says so, and takes a fair share of the items; what
//! an owner has not renewed for [`LIFETIME`] others may take. Taking raises the item's epoch.
//!
//! A lease is only as good as its check: whoever writes under it shows owner and epoch inside the
//! same transaction ([`store::is_held`]), which also keeps the item from being taken until that
//! transaction ends. So a process that was paused, or cut off, and wakes with an old lease in its
//! memory writes nothing.

pub mod keeper;
pub mod store;

use std::collections::BTreeMap;
use std::time::Duration;

/// How long an owner may be silent before others take what it held: a few seconds, so that a
/// process that was killed is soon replaced, and a busy one is not robbed.
pub const LIFETIME: Duration = Duration::from_secs(5);

/// What an owner shows to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The pool.
    pub pool: String,
    /// The item in it.
    pub item: u16,
    /// Who holds it.
    pub owner: String,
    /// How often it changed hands before.
    pub epoch: i64,
}

/// Items held, with their epochs.
pub type Epochs = BTreeMap<u16, i64>;

/// What a member does to come to its fair share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Items to give up.
    pub n_release: usize,
    /// Items to take, if so many are free.
    pub n_claim: usize,
}

/// Decides what a member does that holds `n_held` of `n_items`, with `n_members` in all.
///
/// The share is rounded up, so nothing is left over; the last ones get less.
pub fn plan(n_items: usize, n_members: usize, n_held: usize) -> Plan {
    let share = n_items.div_ceil(n_members.max(1));
    Plan { n_release: n_held.saturating_sub(share), n_claim: share.saturating_sub(n_held) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn alone_takes_all_and_a_second_gets_half() {
        assert_eq!(plan(64, 1, 0), Plan { n_release: 0, n_claim: 64 });
        assert_eq!(plan(64, 2, 64), Plan { n_release: 32, n_claim: 0 });
        assert_eq!(plan(64, 2, 32), Plan { n_release: 0, n_claim: 0 });
        assert_eq!(plan(1, 2, 1), Plan { n_release: 0, n_claim: 0 }, "one item stays where it is");
        assert_eq!(plan(1, 0, 0), Plan { n_release: 0, n_claim: 1 });
    }

    proptest! {
        #[test]
        fn whoever_comes_and_goes_everything_is_held_and_nobody_holds_too_much(
            n_items in 1..200_usize,
            changes in prop::collection::vec((any::<bool>(), 0..9_usize), 1..12),
        ) {
            let mut members = vec![0];
            let mut n_free = n_items;
            for (joins, which) in changes {
                if joins {
                    members.push(0);
                } else if members.len() > 1 {
                    n_free += members.remove(which % members.len());
                }
                // Two rounds: the first may only give up.
                for _ in 0..2 {
                    let n_members = members.len();
                    for held in &mut members {
                        let plan = plan(n_items, n_members, *held);
                        let n_claimed = plan.n_claim.min(n_free);
                        *held = *held - plan.n_release + n_claimed;
                        n_free = n_free + plan.n_release - n_claimed;
                    }
                }
                prop_assert_eq!(n_free, 0);
                let share = n_items.div_ceil(members.len());
                prop_assert!(members.iter().all(|held| *held <= share), "{:?}", members);
            }
        }
    }
}
