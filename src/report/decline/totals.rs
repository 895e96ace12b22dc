//! Running totals by day and partner: the sum over any stretch of days is one subtraction.

use super::series::Day;

/// Holds, for every day, each partner's total over the days before it.
#[derive(Debug, Clone)]
pub(super) struct Totals {
    partners: usize,
    sums: Vec<f64>,
}

impl Totals {
    pub(super) fn new(days: usize, partners: usize) -> Self {
        Self { partners, sums: vec![0.0; (days + 1) * partners] }
    }

    /// Sets what one partner adds on `day`. Days must be written in order.
    pub(super) fn add(&mut self, partner: usize, day: Day, amount: f64) {
        let before = day * self.partners + partner;
        self.sums[before + self.partners] = self.sums[before] + amount;
    }

    /// Returns every partner's total over the days before `day`.
    pub(super) fn before(&self, day: Day) -> &[f64] {
        &self.sums[day * self.partners..(day + 1) * self.partners]
    }

    /// Returns a partner's sum over the days `from..until`.
    pub(super) fn between(&self, partner: usize, from: Day, until: Day) -> f64 {
        self.before(until)[partner] - self.before(from)[partner]
    }

    /// Returns what a partner added on one day.
    pub(super) fn on(&self, partner: usize, day: Day) -> f64 {
        self.between(partner, day, day + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_a_stretch_are_differences() {
        let mut totals = Totals::new(3, 2);
        for (day, amount) in [1.0, 2.0, 4.0].into_iter().enumerate() {
            totals.add(0, day, amount);
            totals.add(1, day, 10.0 * amount);
        }
        assert_eq!(totals.between(0, 1, 3), 6.0);
        assert_eq!(totals.between(1, 0, 1), 10.0);
        assert_eq!(totals.on(1, 2), 40.0);
        assert_eq!(totals.before(3), [7.0, 70.0]);
    }
}
