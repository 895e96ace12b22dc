//! Who was seen on a link that day, as far as this process has read it.
//!
//! The table is the truth and only grows; a process reads on from where it was, and keeps eight bytes a
//! visitor. A database index of them took longer to keep than the clicks themselves: a visitor's name is a
//! hash, so that each new one changed another page.
//!
//! Memory holds so many of a day and no more, whatever comes; the others are in files.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::NaiveDate;
use foldhash::HashSet;

use super::visitor_file::NameFile;
use super::visitor_filter::NameFilter;

/// Days that are kept: today, yesterday, and one that comes late.
const DAYS_MAX: usize = 3;
/// Visitors of a day that are kept in memory. With one run more (of a batch, or joined) they fit into a
/// table of 2^20 places, seven eighths of which may be taken, of nine bytes each.
const IN_MEMORY_MAX: usize = 750_000;

/// Visitors of some days.
#[derive(Debug)]
pub struct Visitors {
    folder: PathBuf,
    in_memory_max: usize,
    days: Mutex<BTreeMap<NaiveDate, Day>>,
}

#[derive(Debug, Default)]
struct Day {
    /// The number of the last run that was read.
    read_to: i64,
    seen: HashSet<u64>,
    /// Those that were too many, the largest file first. A name goes from memory to a file and from
    /// there to a larger one, never back.
    files: Vec<Arc<NameFile>>,
    /// Who may be in a file, once there is one.
    filed: Option<NameFilter>,
    /// With how many in memory a disk did not take them.
    refused_at: usize,
}

impl Visitors {
    /// Returns visitors of no day yet; what is too much for memory goes into files of this folder.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, in_memory_max: IN_MEMORY_MAX, days: Mutex::default() }
    }

    /// Keeps so many of a day in memory.
    #[must_use]
    pub fn holding(self, in_memory_max: usize) -> Self {
        Self { in_memory_max, ..self }
    }

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

    /// Adds a run: names of eight bytes each. Reading one twice changes nothing. Returns whether
    /// memory is full of the day: [`Self::put_away`] is due.
    pub(super) fn add(&self, day: NaiveDate, run: i64, names: &[u8]) -> bool {
        let mut known = self.lock();
        let day = known.entry(day).or_default();
        day.seen.extend(names.as_chunks().0.iter().map(|name| u64::from_be_bytes(*name)));
        day.read_to = day.read_to.max(run);
        day.seen.len() >= day.refused_at + self.in_memory_max
    }

    /// Tells whether a name was seen on its day.
    ///
    /// # Errors
    /// A file cannot be read. The day is forgotten, to be read from the table again.
    pub(super) fn has_seen(&self, day: NaiveDate, name: i64) -> io::Result<bool> {
        let mut known = self.lock();
        let Some(of_day) = known.get(&day) else { return Ok(false) };
        let name = name.cast_unsigned();
        if of_day.seen.contains(&name) {
            return Ok(true);
        }
        if of_day.filed.as_ref().is_none_or(|filed| !filed.may_have(name)) {
            return Ok(false);
        }
        for file in &of_day.files {
            match file.has(name) {
                Ok(false) => {}
                Ok(true) => return Ok(true),
                Err(error) => {
                    known.remove(&day);
                    return Err(error);
                }
            }
        }
        Ok(false)
    }

    /// Puts what memory holds of a day into a file, and makes one of two files while the last two are
    /// about as large: there are few of them, and each name is written a few times. Takes a moment for
    /// each million, and leaves everything as it is where the disk does not take it.
    pub(super) fn put_away(&self, day: NaiveDate) {
        let done = self.put_into_file(day).and_then(|()| {
            while let Some((one, other)) = self.alike(day) {
                let both = Arc::new(NameFile::merge(&self.folder, &one, &other)?);
                self.replace(day, [one, other], both);
            }
            Ok(())
        });
        if let Err(error) = done {
            let folder = self.folder.display();
            tracing::error!(
                "visitors of {day} stay where they are, {folder} does not take them: {error}"
            );
        }
    }

    fn put_into_file(&self, day: NaiveDate) -> io::Result<()> {
        let mut known = self.lock();
        let Some(day) = known.get_mut(&day) else { return Ok(()) };
        let mut names: Vec<u64> = day.seen.iter().copied().collect();
        names.sort_unstable();
        match NameFile::write(&self.folder, names.iter().map(|name| Ok(*name))) {
            Ok(file) => {
                let filed = day.filed.get_or_insert_default();
                names.iter().for_each(|name| filed.add(*name));
                // Its room is kept: a day that was full is soon full again.
                day.seen.clear();
                day.seen.shrink_to(self.in_memory_max);
                day.refused_at = 0;
                day.files.push(Arc::new(file));
                Ok(())
            }
            Err(error) => {
                day.refused_at = day.seen.len();
                Err(error)
            }
        }
    }

    /// Returns the last two files of a day, if they are about as large.
    fn alike(&self, day: NaiveDate) -> Option<(Arc<NameFile>, Arc<NameFile>)> {
        match self.lock().get(&day)?.files.as_slice() {
            [.., one, other] if one.len() < 2 * other.len() => {
                Some((Arc::clone(one), Arc::clone(other)))
            }
            _ => None,
        }
    }

    /// Puts a file in the place of two, which were read while everybody else went on.
    fn replace(&self, day: NaiveDate, two: [Arc<NameFile>; 2], one: Arc<NameFile>) {
        if let Some(day) = self.lock().get_mut(&day) {
            let is_of_two = |file: &Arc<NameFile>| two.iter().any(|of| Arc::ptr_eq(of, file));
            let n_before = day.files.len();
            day.files.retain(|file| !is_of_two(file));
            // With neither of them there, somebody else has made one of both.
            if day.files.len() < n_before {
                day.files.push(one);
                day.files.sort_by_key(|file| std::cmp::Reverse(file.len()));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NaiveDate, Day>> {
        // Nothing in there is left half done by a panic that would matter: a name is in or not.
        self.days.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: NaiveDate = NaiveDate::from_ymd_opt(2026, 3, 1).unwrap();

    fn days(after: &[u64]) -> BTreeSet<NaiveDate> {
        after.iter().map(|n| DAY + chrono::Days::new(*n)).collect()
    }

    fn visitors() -> Visitors {
        Visitors::new(std::env::temp_dir())
    }

    /// An odd factor gives each number another name.
    fn name(n: i64) -> i64 {
        n.wrapping_mul(0x5851_f42d_4c95_7f2d)
    }

    fn bytes(names: impl Iterator<Item = i64>) -> Vec<u8> {
        names.flat_map(i64::to_be_bytes).collect()
    }

    #[test]
    fn a_name_is_known_on_its_day_and_no_other() {
        let visitors = visitors();
        let names: Vec<i64> = vec![0, -1, 1, i64::MIN, i64::MAX, 0x0001_0000_0000_0000];
        let bytes = bytes(names.iter().copied());
        visitors.add(DAY, 7, &bytes);
        visitors.add(DAY, 7, &bytes);
        for _ in ["in memory", "in a file"] {
            for &name in &names {
                assert!(visitors.has_seen(DAY, name).unwrap(), "{name}");
                assert!(!visitors.has_seen(DAY, name ^ 2).unwrap(), "near {name}");
                let later = DAY.succ_opt().unwrap();
                assert!(!visitors.has_seen(later, name).unwrap(), "{name} a day later");
            }
            visitors.put_away(DAY);
        }
        assert_eq!(visitors.read_to(&days(&[0, 1])), [(DAY, 7), (DAY.succ_opt().unwrap(), 0)]);
    }

    #[test]
    fn thousands_of_names_are_all_found_with_a_few_of_them_in_memory() {
        let visitors = visitors().holding(3000);
        for part in 0..100 {
            // One of eleven came with the part before.
            let names = (0..1100).map(|n| name((n + part * 1000) % 100_000));
            if visitors.add(DAY, part, &bytes(names)) {
                visitors.put_away(DAY);
            }
            let known = visitors.lock();
            assert!(known[&DAY].seen.len() < 3000);
            assert!(known[&DAY].files.len() <= 6, "each is at least twice as large as the next");
        }
        for n in 0..200_000 {
            assert_eq!(visitors.has_seen(DAY, name(n)).unwrap(), n < 100_000, "{n}");
        }
        let n_in_files: usize = visitors.lock()[&DAY].files.iter().map(|file| file.len()).sum();
        assert!((97_000..110_000).contains(&n_in_files), "{n_in_files}");
    }

    #[test]
    fn what_the_disk_does_not_take_stays_in_memory_and_is_tried_again_later() {
        let visitors = Visitors::new("/proc/no-such-folder".into()).holding(1000);
        let mut n_tries = 0;
        for part in 0..50 {
            if visitors.add(DAY, part, &bytes((part * 100..part * 100 + 100).map(name))) {
                visitors.put_away(DAY);
                n_tries += 1;
            }
        }
        assert_eq!(n_tries, 5, "once for each thousand");
        assert!((0..5000).all(|n| visitors.has_seen(DAY, name(n)).unwrap()));
    }

    #[test]
    fn days_beyond_the_last_are_read_anew() {
        let visitors = visitors();
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
