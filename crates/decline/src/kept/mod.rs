//! What is kept of a day in the database, so that the next one need not be learned from scratch.
//!
//! Two things are kept as bytes. `learned`: what reports need of a day, which is little: the few
//! figures of each day that tell what the network did, who could be judged, and the few partners
//! that stand out. All other figures of a partner follow from its own clicks and these.
//! `states`: everything that the detector knows of each partner at the end of a week, from which
//! it goes on. Sums are exact (`totals`), so going on leads to the very figures of a fresh
//! start; what is kept is used only while the days that it rests on are unchanged.

pub mod learned;
pub mod states;

use bytes::{Buf as _, BufMut as _};

use super::history::CommonDay;
use super::season::KindWeights;
use super::totals::UNITS;

/// Raised with every change of a figure or of the form: what was kept before is not read any more.
pub const VERSION: i16 = 2;

/// Writes figures, small numbers in few bytes.
#[derive(Debug, Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn place(&mut self, place: usize) {
        self.number(place as u64);
    }

    /// Days count from 1, because there may be none.
    fn day(&mut self, day: Option<usize>) {
        self.place(day.map_or(0, |day| day + 1));
    }

    fn float(&mut self, float: f64) {
        // The sum of nothing is a zero below zero: one state has one form.
        self.0.put_f64_le(float + 0.0);
    }

    /// Usual days are whole multiples of a small unit.
    fn usual_days(&mut self, days: f64) {
        self.number((days * UNITS).round() as u64);
    }

    fn common(&mut self, days: &[CommonDay]) {
        self.place(days.len());
        for CommonDay { factor, weekdays, usual } in days {
            [factor, usual].into_iter().chain(weekdays).for_each(|&figure| self.float(figure));
        }
    }

    fn single(&mut self, float: f32) {
        self.0.put_f32_le(float);
    }
}

/// Reads them back; none where they end too early or cannot be.
#[derive(Debug)]
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        self.0.try_get_u8().ok()
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn place(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    /// Reads how many things follow, each of a byte at least.
    fn count(&mut self) -> Option<usize> {
        self.place().filter(|&count| count <= self.0.len())
    }

    fn day(&mut self) -> Option<Option<usize>> {
        self.place().map(|day| day.checked_sub(1))
    }

    fn float(&mut self) -> Option<f64> {
        self.0.try_get_f64_le().ok()
    }

    fn usual_days(&mut self) -> Option<f64> {
        Some(self.number()? as f64 / UNITS)
    }

    fn common(&mut self) -> Option<Vec<CommonDay>> {
        let count = self.count()?;
        let mut day = || {
            let (factor, usual) = (self.float()?, self.float()?);
            let mut weekdays = KindWeights::default();
            for weight in &mut weekdays {
                *weight = self.float()?;
            }
            Some(CommonDay { factor, weekdays, usual })
        };
        (0..count).map(|_| day()).collect()
    }

    fn single(&mut self) -> Option<f32> {
        self.0.try_get_f32_le().ok()
    }

    fn id(&mut self) -> Option<uuid::Uuid> {
        Some(uuid::Uuid::from_u128(self.0.try_get_u128().ok()?))
    }

    fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn figures_come_back(numbers: Vec<u64>, float: f64, day: Option<u16>) {
            let mut out = Writer::default();
            out.place(numbers.len());
            numbers.iter().for_each(|&n| out.number(n));
            out.float(float);
            out.day(day.map(usize::from));
            let mut read = Reader(&out.0);
            let count = read.count().unwrap();
            let back: Vec<u64> = (0..count).map(|_| read.number().unwrap()).collect();
            prop_assert_eq!(back, numbers);
            prop_assert_eq!(read.float().unwrap().to_bits(), (float + 0.0).to_bits());
            prop_assert_eq!(read.day().unwrap(), day.map(usize::from));
            prop_assert!(read.end().is_some());
        }

        #[test]
        fn nonsense_is_no_figure_and_no_panic(bytes: Vec<u8>) {
            drop(learned::read(&bytes));
            let mut read = Reader(&bytes);
            while read.count().is_some() {}
        }
    }
}
