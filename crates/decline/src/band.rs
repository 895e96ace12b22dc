//! What a day was expected to bring a partner, for pictures: the detector's own numbers.
//!
//! Level, weekday weight and network factor are those that the day's windows were compared with;
//! the interval is that of a single day, which is much wider than that of a window.

use super::assess::View;
use super::tail::interval;
use super::{Day, Decline, Estimate};

impl View<'_> {
    /// Returns how many clicks a day was expected to bring, with the 95 % interval of one day.
    ///
    /// From the first day of a `decline` on, the level is the one before the fall: the baseline
    /// would sink with it. None where the day says nothing: a newcomer's first days, a declared
    /// absence, an outage of the tracker, or no level yet.
    pub fn expected(&self, day: Day, decline: Option<&Decline>) -> Option<Estimate> {
        let fall = decline.filter(|decline| day >= decline.since);
        let known = fall.map_or(day, |decline| decline.since);
        let baseline = self.history.baselines_before(known)[self.place];
        let usual = self.history.usual();
        let rate = fall.map_or(baseline.rate, |decline| decline.expected_per_day.value / usual);
        let mean = rate * self.history.exposure.on(self.place, day);
        (mean > 0.0).then(|| {
            let baseline_error = 1.0 / (0.8 * baseline.clicks + 0.5);
            let noise = self.history.noise_before(self.place, known);
            let (low, high) = interval(mean, 1.0 / mean + noise + baseline_error);
            Estimate { value: mean, low, high }
        })
    }

    /// Returns the clicks that the partner brought on a day, as counted.
    pub fn observed(&self, day: Day) -> u32 {
        self.series.clicks[day]
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Network, PartnerSeries};
    use super::*;

    /// Thirty partners with ten clicks a day, twenty on every seventh.
    fn network(days: usize) -> Network {
        let clicks: Vec<u32> = (0..days).map(|day| if day % 7 == 5 { 20 } else { 10 }).collect();
        let none = || vec![0; days];
        let partner = PartnerSeries {
            clicks,
            conversions: none(),
            links_created: none(),
            logins: none(),
            ..PartnerSeries::default()
        };
        Network::new(days, vec![partner; 30]).unwrap()
    }

    #[test]
    fn expected_is_level_by_weekday_within_its_interval() {
        let network = network(147);
        for day in 120..147 {
            let usual = if day % 7 == 5 { 20.0 } else { 10.0 };
            let Estimate { value, low, high } = network.view(3).expected(day, None).unwrap();
            assert!((value / usual - 1.0).abs() < 0.1, "day {day}: {value}");
            assert!(low < value && value < high && low > 0.0, "{low} {value} {high}");
            assert_eq!(f64::from(network.view(3).observed(day)), usual);
        }
    }

    #[test]
    fn days_that_say_nothing_expect_nothing() {
        let network = network(80);
        assert_eq!(network.view(0).expected(5, None), None);
    }
}
