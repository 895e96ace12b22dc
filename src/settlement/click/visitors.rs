//! Who was seen on a link that day, as far as this process has read it.
//!
//! The table is the truth and only grows; a process reads on from where it was, and keeps eight bytes a
//! visitor, less what the place in memory says already. A database index of them took longer to keep than
//! the clicks themselves: a visitor's name is a hash, so that each new one changed another page.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::NaiveDate;

/// Days that are kept in memory: today, yesterday, and one that comes late.
const DAYS_MAX: usize = 3;
/// By the first two bytes of a name.
const BUCKETS: usize = 1 << 16;

/// Visitors of some days.
#[derive(Debug, Default)]
pub struct Visitors(Mutex<BTreeMap<NaiveDate, Day>>);

#[derive(Debug, Default)]
struct Day {
    /// The number of the last run that was read.
    read_to: i64,
    seen: Seen,
}

impl Visitors {
    /// Returns the number of the last run of each day that was read, 0 before the first; days beyond
    /// those that are kept are forgotten, and read anew when they are wanted.
    pub(super) fn read_to(&self, days: &BTreeSet<NaiveDate>) -> Vec<(NaiveDate, i64)> {
        let mut known = self.lock();
        for &day in days {
            known.entry(day).or_default();
        }
        while let Some(&first) = known.keys().find(|day| !days.contains(day))
            && known.len() > DAYS_MAX
        {
            known.remove(&first);
        }
        days.iter().map(|day| (*day, known.get(day).map_or(0, |day| day.read_to))).collect()
    }

    /// Adds a run: names of eight bytes each. Reading one twice changes nothing.
    pub(super) fn add(&self, day: NaiveDate, run: i64, names: &[u8]) {
        let mut known = self.lock();
        let day = known.entry(day).or_default();
        names.as_chunks().0.iter().for_each(|name| day.seen.add(*name));
        day.read_to = day.read_to.max(run);
    }

    /// Tells whether a name was seen on its day.
    pub(super) fn has_seen(&self, day: NaiveDate, name: i64) -> bool {
        self.lock().get(&day).is_some_and(|day| day.seen.has(name.to_be_bytes()))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NaiveDate, Day>> {
        // Nothing in there is left half done by a panic that would matter: a name is in or not.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A set of names of eight bytes. The first two of each say in which bucket the other six are, in order.
#[derive(Debug)]
struct Seen(Box<[Vec<[u8; 6]>]>);

impl Default for Seen {
    fn default() -> Self {
        Self(vec![Vec::new(); BUCKETS].into())
    }
}

impl Seen {
    fn has(&self, [a, b, rest @ ..]: [u8; 8]) -> bool {
        self.0[usize::from(u16::from_be_bytes([a, b]))].binary_search(&rest).is_ok()
    }

    fn add(&mut self, [a, b, rest @ ..]: [u8; 8]) {
        let bucket = &mut self.0[usize::from(u16::from_be_bytes([a, b]))];
        if let Err(place) = bucket.binary_search(&rest) {
            if bucket.len() == bucket.capacity() {
                // By an eighth: doubled, a bucket would be half empty, and all of them fill alike.
                bucket.reserve_exact(bucket.len() / 8 + 2);
            }
            bucket.insert(place, rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: NaiveDate = NaiveDate::from_ymd_opt(2026, 3, 1).unwrap();

    fn days(after: &[u64]) -> BTreeSet<NaiveDate> {
        after.iter().map(|n| DAY + chrono::Days::new(*n)).collect()
    }

    #[test]
    fn a_name_is_known_on_its_day_and_no_other() {
        let visitors = Visitors::default();
        let names: Vec<i64> = vec![0, -1, 1, i64::MIN, i64::MAX, 0x0001_0000_0000_0000];
        let bytes: Vec<u8> = names.iter().flat_map(|name| name.to_be_bytes()).collect();
        visitors.add(DAY, 7, &bytes);
        visitors.add(DAY, 7, &bytes);
        for name in names {
            assert!(visitors.has_seen(DAY, name), "{name}");
            assert!(!visitors.has_seen(DAY, name ^ 2), "near {name}");
            assert!(!visitors.has_seen(DAY.succ_opt().unwrap(), name), "{name} a day later");
        }
        assert_eq!(visitors.read_to(&days(&[0, 1])), [(DAY, 7), (DAY.succ_opt().unwrap(), 0)]);
    }

    #[test]
    fn thousands_of_names_are_all_found() {
        let visitors = Visitors::default();
        // An odd factor gives each number another name.
        let name = |n: i64| n.wrapping_mul(0x5851_f42d_4c95_7f2d);
        for part in 0..10 {
            let bytes: Vec<u8> =
                (0..10_000).flat_map(|n| name(n * 10 + part).to_be_bytes()).collect();
            visitors.add(DAY, part, &bytes);
        }
        for n in 0..200_000 {
            assert_eq!(visitors.has_seen(DAY, name(n)), n < 100_000, "{n}");
        }
    }

    #[test]
    fn days_beyond_the_last_are_read_anew() {
        let visitors = Visitors::default();
        for n in 0..3 {
            visitors.read_to(&days(&[n]));
            visitors.add(DAY + chrono::Days::new(n), 5, &[1; 8]);
        }
        assert_eq!(visitors.read_to(&days(&[0]))[0].1, 5);
        // A fourth takes the place of the oldest that is not asked for.
        assert_eq!(visitors.read_to(&days(&[3]))[0].1, 0);
        assert_eq!(visitors.read_to(&days(&[2]))[0].1, 5);
        assert_eq!(visitors.read_to(&days(&[0]))[0].1, 0);
        assert_eq!(visitors.read_to(&days(&[0, 1, 2, 3])).len(), 4);
    }
}
