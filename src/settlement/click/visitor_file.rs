//! Names of a day's visitors in a file, in order: more than memory is for.
//!
//! The file has no name and ends with the process, which reads all of it again from the table.

use std::cmp::Ordering;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Names that are read at once; the first of each page is in memory.
const PAGE: usize = 128;
const NAME_BYTES: usize = size_of::<u64>();

/// A file of names.
#[derive(Debug)]
pub(super) struct NameFile {
    file: File,
    /// The first name of each page.
    firsts: Vec<u64>,
    n_names: usize,
}

impl NameFile {
    /// Writes names, which come in order, into a file in a folder.
    pub(super) fn write(
        folder: &Path,
        names: impl Iterator<Item = io::Result<u64>>,
    ) -> io::Result<Self> {
        let mut file = BufWriter::new(tempfile::tempfile_in(folder)?);
        let (mut firsts, mut n_names) = (Vec::new(), 0);
        for name in names {
            let name = name?;
            if n_names % PAGE == 0 {
                firsts.push(name);
            }
            file.write_all(&name.to_be_bytes())?;
            n_names += 1;
        }
        Ok(Self { file: file.into_inner()?, firsts, n_names })
    }

    /// Writes the names of two files into one; who is in both stands there once.
    pub(super) fn merge(folder: &Path, one: &Self, other: &Self) -> io::Result<Self> {
        let (mut ones, mut others) = (one.names().peekable(), other.names().peekable());
        let names = std::iter::from_fn(|| match (ones.peek(), others.peek()) {
            (Some(Ok(name)), Some(Ok(of_other))) => match name.cmp(of_other) {
                Ordering::Less => ones.next(),
                Ordering::Greater => others.next(),
                Ordering::Equal => ones.next().and(others.next()),
            },
            (None, _) | (_, Some(Err(_))) => others.next(),
            (_, None) | (Some(Err(_)), _) => ones.next(),
        });
        Self::write(folder, names)
    }

    /// Returns how many there are.
    pub(super) fn len(&self) -> usize {
        self.n_names
    }

    /// Tells whether a name is there.
    pub(super) fn has(&self, name: u64) -> io::Result<bool> {
        let n_before = self.firsts.partition_point(|first| *first <= name);
        let Some(page) = n_before.checked_sub(1) else { return Ok(false) };
        let mut bytes = [0; PAGE * NAME_BYTES];
        Ok(self.read(page, &mut bytes)?.binary_search(&name.to_be_bytes()).is_ok())
    }

    fn names(&self) -> impl Iterator<Item = io::Result<u64>> {
        (0..self.firsts.len()).flat_map(|page| {
            let mut bytes = [0; PAGE * NAME_BYTES];
            match self.read(page, &mut bytes) {
                Ok(names) => names.iter().map(|name| Ok(u64::from_be_bytes(*name))).collect(),
                Err(error) => vec![Err(error)],
            }
        })
    }

    fn read<'b>(
        &self,
        page: usize,
        bytes: &'b mut [u8; PAGE * NAME_BYTES],
    ) -> io::Result<&'b [[u8; NAME_BYTES]]> {
        let first = page * PAGE;
        let bytes = &mut bytes[..PAGE.min(self.n_names - first) * NAME_BYTES];
        self.file.read_exact_at(bytes, (first * NAME_BYTES) as u64)?;
        Ok(bytes.as_chunks().0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(names: impl Iterator<Item = u64>) -> NameFile {
        NameFile::write(&std::env::temp_dir(), names.map(Ok)).unwrap()
    }

    #[test]
    fn each_name_is_found_and_none_beside_it() {
        for n in [0, 1, PAGE as u64 - 1, PAGE as u64, PAGE as u64 + 1, 1000] {
            let file = written((0..n).map(|name| name * 2 + 7));
            for name in 0..2 * n + 9 {
                let is_there = name >= 7 && name % 2 == 1 && name < 2 * n + 7;
                assert_eq!(file.has(name).unwrap(), is_there, "{name} of {n}");
            }
            assert!(!file.has(u64::MAX).unwrap());
        }
    }

    #[test]
    fn two_files_become_one_in_which_each_name_stands_once() {
        let (threes, fives) = (written((0..500).map(|n| n * 3)), written((0..900).map(|n| n * 5)));
        let both = NameFile::merge(&std::env::temp_dir(), &threes, &fives).unwrap();
        let names: Vec<u64> = both.names().map(Result::unwrap).collect();
        let wanted: Vec<u64> =
            (0..4500).filter(|n| n % 5 == 0 || n % 3 == 0 && *n < 1500).collect();
        assert_eq!(names, wanted);
        assert_eq!(both.len(), wanted.len());
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error_and_no_answer() {
        let file = written(0..1000);
        file.file.set_len(4000).unwrap();
        assert!(file.has(3).unwrap());
        assert!(file.has(999).is_err());
        let merged = NameFile::merge(&std::env::temp_dir(), &written(0..9), &file);
        assert!(merged.is_err(), "half of the names would be forgotten");
    }
}
