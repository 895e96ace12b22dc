//! Partners that rise: the mirror of the detector, in its simplest honest form.
//!
//! Windows of one to eight weeks are compared with the eight weeks before them, by the same weekday
//! weights and network factor: the upper tail of the negative binomial says how rare so many clicks
//! are. Counts are uncapped on both sides, since the cap that keeps bursts from hiding falls would
//! hide rises as well; instead the day that helps most is left out, so that no single day makes a
//! rise. Listed is who passes Benjamini and Hochberg's bound at 1 % of the day's list.
//!
//! Unlike the falls, no benchmark with planted rises measures this.

use super::detector::Detector;
use super::tail::{Expectation, mixed_high_tail};
use super::{Day, Estimate, Network, halves};

/// Window lengths in days.
const WINDOWS: [usize; 6] = [7, 14, 21, 28, 42, 56];
/// The level before is the mean of eight weeks, of which four were seen.
const REFERENCE_DAYS: usize = 56;
const MIN_REFERENCE_DAYS: f64 = 28.0;
/// A window must be seen on 60 % of its days, and the last week must be seen as well.
const MIN_SEEN: f64 = 0.6;
/// The mirror of the 85 % that a fall must go below.
const RISEN_ABOVE: f64 = 1.0 / 0.85;
/// "Still high now": the last week, unless it was to bring fewer clicks than this.
const NOW_DAYS: usize = 7;
const NOW_MIN_CLICKS: f64 = 8.0;
/// Partners drift on their own: 8 % is assumed of everybody, and 16 % of a few.
const WANDER: f64 = 0.0064;
/// Overlapping windows, counted as six independent looks.
const LOOKS: f64 = 6.0;
/// This share of a day's list may be false.
const FALSE_SHARE: f64 = 0.01;

/// Describes a rise. Rates are clicks a day, as days have been in the last months.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rise {
    /// Index of the partner in the list given to [`Network::new`].
    pub partner: usize,
    /// First day of the stretch that shows it best.
    pub since: Day,
    /// Clicks a day of the eight weeks before.
    pub expected_per_day: Estimate,
    /// Clicks a day since then, without the best day.
    pub observed_per_day: Estimate,
    /// Clicks gained since then, without the best day.
    pub gained: f64,
    /// So many clicks come by chance once in `1 / p_value` such stretches, for the least of six.
    pub p_value: f64,
}

/// Returns the rises of a day's list, the surest first; `n_judged` partners could be on it.
pub fn listed(mut rises: Vec<Rise>, n_judged: usize) -> Vec<Rise> {
    rises.sort_unstable_by(|a, b| a.p_value.total_cmp(&b.p_value));
    let passes = |(rank, rise): (usize, &Rise)| {
        rise.p_value <= FALSE_SHARE * (rank + 1) as f64 / n_judged as f64
    };
    let listed = rises.iter().enumerate().rposition(passes).map_or(0, |last| last + 1);
    rises.truncate(listed);
    rises
}

impl Network {
    /// Returns the partners that rise at the end of the last day, the surest first.
    pub fn rising(&self) -> Vec<Rise> {
        let judged = (0..self.partners()).filter(|&partner| self.detector.can_judge(partner));
        listed(self.detector.rises(), judged.count())
    }
}

impl Detector {
    /// Returns the rises that may be on the list of the last day.
    pub fn rises(&self) -> Vec<Rise> {
        let clearest = |partner| self.can_judge(partner).then(|| self.clearest_rise(partner))?;
        let rises = halves::map(self.count(), clearest).into_iter().flatten();
        rises.filter(|rise| rise.p_value <= FALSE_SHARE).collect()
    }

    fn clearest_rise(&self, partner: usize) -> Option<Rise> {
        let day = self.last();
        let rises = WINDOWS.iter().filter_map(|&days| self.rise(partner, day, days));
        let mut best = rises.min_by(|a, b| a.p_value.total_cmp(&b.p_value))?;
        best.p_value = (LOOKS * best.p_value).min(1.0);
        Some(best)
    }

    fn rise(&self, partner: usize, day: Day, length: usize) -> Option<Rise> {
        let history = &self.history;
        let since = (day + 1).checked_sub(length)?;
        let before = since.checked_sub(REFERENCE_DAYS)?;
        let used = history.used.between(partner, since, day + 1);
        let known = history.used.between(partner, before, since);
        if known < MIN_REFERENCE_DAYS || used < MIN_SEEN * length as f64 {
            return None;
        }
        let usual = history.raw.between(partner, before, since);
        // Half a click keeps a silent partner's first click from being a miracle.
        let rate = (usual + 0.5) / history.exposure.between(partner, before, since);
        let (seen, exposure) = self.without_best_day(partner, since, day, rate);
        let expected = rate * exposure;
        if expected <= 0.0 || seen < RISEN_ABOVE * expected || !self.is_high_now(partner, day, rate)
        {
            return None;
        }
        let noise = history.noise_before(partner, since);
        let disturbance = history.disturbance(partner, since, day + 1) / exposure;
        // Both means rest on noisy days, and partners feel a holiday differently.
        let variance = 1.0 / (usual + 0.5) + noise / known + noise / used + 0.09 * disturbance;
        let expectation = Expectation { mean: expected, known: variance, own: WANDER };
        let (usual_days, observed) = (history.usual(), seen / exposure);
        Some(Rise {
            partner,
            since,
            expected_per_day: Estimate::around(rate, 1.0 / (usual + 0.5) + noise / known)
                .times(usual_days),
            observed_per_day: Estimate::around(observed, 1.0 / (seen + 0.5) + noise / used)
                .times(usual_days),
            gained: seen - expected,
            p_value: mixed_high_tail(seen, expectation),
        })
    }

    /// Returns clicks and usual days of a stretch but for the day that rose most.
    fn without_best_day(&self, partner: usize, since: Day, day: Day, rate: f64) -> (f64, f64) {
        let history = &self.history;
        let (mut seen, mut exposure, mut best) = (0.0, 0.0, (0.0, 0.0));
        for today in since..=day {
            let (clicks, usual) =
                (history.raw.on(partner, today), history.exposure.on(partner, today));
            seen += clicks;
            exposure += usual;
            if clicks - rate * usual > best.0 - rate * best.1 {
                best = (clicks, usual);
            }
        }
        (seen - best.0, exposure - best.1)
    }

    fn is_high_now(&self, partner: usize, day: Day, rate: f64) -> bool {
        let from = day + 1 - NOW_DAYS.min(day + 1);
        let (seen, exposure) = self.without_best_day(partner, from, day, rate);
        let expected = rate * exposure;
        if expected < NOW_MIN_CLICKS { seen > 0.0 } else { seen >= RISEN_ABOVE * expected }
    }
}

#[cfg(test)]
#[path = "rising_tests.rs"]
mod tests;
