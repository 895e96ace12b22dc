//! Running totals by day and partner: the sum over any stretch of days is one subtraction.
//!
//! Amounts are whole multiples of a small unit, so every sum is exact: a stretch has the same total
//! wherever the adding began, and a state that was kept leads to the figures of a fresh start.

use super::series::Day;

/// Something that is added up.
pub(crate) trait Amount: Copy + Default {
    /// Returns the total with `amount` added, rounded to the unit.
    fn plus(self, amount: f64) -> Self;
    /// Returns what was added since an earlier total.
    fn since(self, earlier: Self) -> f64;
}

/// Clicks in units of 1/1024: exact up to eight million million.
impl Amount for f64 {
    fn plus(self, amount: f64) -> Self {
        self + (amount * 1024.0).round() / 1024.0
    }

    fn since(self, earlier: Self) -> f64 {
        self - earlier
    }
}

/// Usual days in units of 1/65536. The total may overflow; a stretch of ten years does not.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct UsualDays(u32);

/// Parts of a usual day.
pub(crate) const UNITS: f64 = 65_536.0;

impl Amount for UsualDays {
    fn plus(self, amount: f64) -> Self {
        Self(self.0.wrapping_add((amount * UNITS).round() as u32))
    }

    fn since(self, earlier: Self) -> f64 {
        f64::from(self.0.wrapping_sub(earlier.0)) / UNITS
    }
}

/// Whole clicks, less than four thousand million in a stretch.
impl Amount for u32 {
    fn plus(self, amount: f64) -> Self {
        self.wrapping_add(amount as Self)
    }

    fn since(self, earlier: Self) -> f64 {
        f64::from(self.wrapping_sub(earlier))
    }
}

/// Days.
impl Amount for u16 {
    fn plus(self, amount: f64) -> Self {
        self.wrapping_add(amount as Self)
    }

    fn since(self, earlier: Self) -> f64 {
        f64::from(self.wrapping_sub(earlier))
    }
}

/// Holds, for every day that is kept, each partner's total over the days before it.
#[derive(Debug, Clone)]
pub(crate) struct Totals<T> {
    partners: usize,
    /// The first day whose amounts are kept.
    first: Day,
    sums: Vec<T>,
}

impl<T: Amount> Totals<T> {
    /// Begins with the day `first`.
    pub(crate) fn new(partners: usize, first: Day) -> Self {
        Self { partners, first, sums: vec![T::default(); partners] }
    }

    /// The first day whose amounts are kept.
    pub(crate) fn first(&self) -> Day {
        self.first
    }

    /// Makes room for the next day.
    pub(crate) fn begin_day(&mut self) {
        self.sums.resize(self.sums.len() + self.partners, T::default());
    }

    /// Forgets the days before `first`.
    pub(crate) fn forget_before(&mut self, first: Day) {
        self.sums.drain(..(first - self.first) * self.partners);
        self.first = first;
    }

    /// Sets what one partner adds on `day`. Days must be written in order.
    pub(crate) fn add(&mut self, partner: usize, day: Day, amount: f64) {
        let before = (day - self.first) * self.partners + partner;
        self.sums[before + self.partners] = self.sums[before].plus(amount);
    }

    /// Returns every partner's total over the kept days before `day`.
    pub(crate) fn before(&self, day: Day) -> &[T] {
        let row = (day - self.first) * self.partners;
        &self.sums[row..row + self.partners]
    }

    /// Returns a partner's sum over the days `from..until`.
    pub(crate) fn between(&self, partner: usize, from: Day, until: Day) -> f64 {
        self.before(until)[partner].since(self.before(from)[partner])
    }

    /// Returns what a partner added on one day.
    pub(crate) fn on(&self, partner: usize, day: Day) -> f64 {
        self.between(partner, day, day + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals<T: Amount>(amounts: &[f64]) -> Totals<T> {
        let mut totals = Totals::new(2, 0);
        for (day, &amount) in amounts.iter().enumerate() {
            totals.begin_day();
            totals.add(0, day, amount);
            totals.add(1, day, 10.0 * amount);
        }
        totals
    }

    #[test]
    fn sums_of_a_stretch_are_differences() {
        let totals: Totals<f64> = totals(&[1.0, 2.0, 4.0]);
        assert_eq!(totals.between(0, 1, 3), 6.0);
        assert_eq!(totals.between(1, 0, 1), 10.0);
        assert_eq!(totals.on(1, 2), 40.0);
        assert_eq!(totals.before(3), [7.0, 70.0]);
    }

    #[test]
    fn forgotten_days_change_no_later_sum() {
        let amounts: Vec<f64> = (0..50).map(|n| f64::from(n) / 7.0).collect();
        fn check<T: Amount>(amounts: &[f64]) {
            let whole: Totals<T> = totals(amounts);
            let mut cut = whole.clone();
            cut.forget_before(20);
            assert_eq!(cut.between(1, 21, 47), whole.between(1, 21, 47));
        }
        check::<f64>(&amounts);
        check::<UsualDays>(&amounts);
        check::<u32>(&amounts);
        check::<u16>(&amounts);
    }
}
