//! The usual level of one partner: robust means of its weeks, and how noisy its days are.
//!
//! Both the baseline and the days judged against it are capped alike ([`cap`]), so that the end of
//! a bot burst or of a promotion is no fall, and the bias of capping cancels.

/// Says how far above the expected a day still counts, in deviations.
const CAP_DEVIATIONS: f64 = 0.7;
/// A week needs more than two usual days of exposure to be a sample.
const MIN_WEEK_EXPOSURE: f64 = 2.0;
/// Weeks the current level looks at.
const LEVEL_WEEKS: usize = 8;
/// Below 7 clicks a week the median of weeks is mostly 0 or 1 and says little.
const MEDIAN_FROM_PER_DAY: f64 = 1.0;
/// The same bound for the midmean, which keeps more of the weeks.
const MIDMEAN_FROM_PER_DAY: f64 = 4.0 / 7.0;
/// Lengths of the baseline in weeks: the shortest that holds enough clicks is the most current.
const BASELINE_WEEKS: [usize; 3] = [8, 16, WEEKS_MAX];
/// No level looks further back.
pub(crate) const WEEKS_MAX: usize = 26;
/// 400 clicks are known to about 5 %.
const ENOUGH_CLICKS: f64 = 400.0;
/// Bounds of a partner's daily noise, and what is assumed of an unknown one.
const NOISE: (f64, f64) = (0.03, 0.6);
pub(crate) const START_NOISE: f64 = 0.2;

/// Returns the count beyond which a day's clicks are cut, for `mean` clicks expected that day.
pub(crate) fn cap(mean: f64, noise: f64) -> f64 {
    mean + CAP_DEVIATIONS * (mean + noise * mean * mean).sqrt() + 2.0
}

/// Holds one week of a partner: capped clicks and how many usual days it was exposed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Week {
    clicks: f64,
    exposure: f64,
}

impl Week {
    pub(crate) fn new(clicks: f64, exposure: f64) -> Self {
        Self { clicks, exposure }
    }

    /// Clicks per usual day, or `None` if the week was hardly seen.
    fn rate(self) -> Option<f64> {
        (self.exposure > MIN_WEEK_EXPOSURE).then(|| self.clicks / self.exposure)
    }
}

/// Holds the robust level of a stretch of weeks.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Baseline {
    /// Clicks per usual day.
    pub(crate) rate: f64,
    /// Clicks it rests on.
    pub(crate) clicks: f64,
    /// Weeks it rests on.
    pub(crate) weeks: f64,
}

/// Returns the current level, or `old` if none of the last weeks is a sample.
pub(crate) fn level(weeks: &[Week], old: f64) -> f64 {
    let rates = sorted_rates(&weeks[weeks.len().saturating_sub(LEVEL_WEEKS)..]);
    match rates.as_slice() {
        [] => old,
        [only] => *only,
        rates => {
            let median = median(rates);
            if median >= MEDIAN_FROM_PER_DAY { median } else { mean_without_best(rates).max(0.02) }
        }
    }
}

/// Returns the baseline that ends with the last of `weeks`.
pub(crate) fn baseline(weeks: &[Week]) -> Baseline {
    let mut found = Baseline::default();
    for length in BASELINE_WEEKS {
        found = baseline_of(&weeks[weeks.len().saturating_sub(length)..]);
        if found.clicks >= ENOUGH_CLICKS {
            break;
        }
    }
    found
}

fn baseline_of(weeks: &[Week]) -> Baseline {
    let rates = sorted_rates(weeks);
    let clicks = weeks.iter().filter(|week| week.rate().is_some()).map(|week| week.clicks).sum();
    let midmean = midmean(&rates);
    let rate = if midmean >= MIDMEAN_FROM_PER_DAY {
        midmean
    } else if rates.len() >= 4 {
        mean_without_best(&rates)
    } else {
        mean(&rates)
    };
    Baseline { rate, clicks, weeks: rates.len() as f64 }
}

/// Returns the new estimate of a partner's daily noise from pairs of count and expected clicks.
pub(crate) fn noise(days: impl Iterator<Item = (f64, f64)>, old: f64) -> f64 {
    let (mut excess, mut square) = (0.0, 0.0);
    for (count, mean) in days.filter(|&(_, mean)| mean > 0.5) {
        // A burst is not noise: counts beyond 2.5 times the expected are cut.
        excess += (count.min(2.5 * mean + 2.0) - mean).powi(2) - mean;
        square += mean * mean;
    }
    let fresh = if square > 0.0 { 0.7 * old + 0.3 * excess / square } else { old };
    fresh.clamp(NOISE.0, NOISE.1)
}

fn sorted_rates(weeks: &[Week]) -> Vec<f64> {
    let mut rates: Vec<f64> = weeks.iter().filter_map(|week| week.rate()).collect();
    rates.sort_unstable_by(f64::total_cmp);
    rates
}

fn mean(rates: &[f64]) -> f64 {
    rates.iter().sum::<f64>() / rates.len().max(1) as f64
}

fn mean_without_best(sorted: &[f64]) -> f64 {
    mean(&sorted[..sorted.len() - 1])
}

fn median(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[half] } else { (sorted[half - 1] + sorted[half]) / 2.0 }
}

/// Mean of the middle half; of fewer than 8 weeks the lower half, as a newcomer's start is high.
fn midmean(sorted: &[f64]) -> f64 {
    let weeks = sorted.len();
    let (bottom, top) = if weeks < 8 { (0, weeks / 2) } else { (weeks / 4, weeks / 4) };
    mean(&sorted[bottom..weeks - top])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weeks(clicks: &[f64]) -> Vec<Week> {
        clicks.iter().map(|&clicks| Week::new(clicks, 7.0)).collect()
    }

    #[test]
    fn level_is_a_median_that_one_wild_week_does_not_move() {
        let quiet = level(&weeks(&[70.0; 8]), 0.0);
        let wild = level(&weeks(&[70.0, 70.0, 70.0, 7000.0, 70.0, 70.0, 70.0, 70.0]), 0.0);
        assert_eq!((quiet, wild), (10.0, 10.0));
    }

    #[test]
    fn sparse_level_is_the_mean_without_the_best_week() {
        assert_eq!(level(&weeks(&[0.0, 7.0, 0.0, 14.0, 0.0]), 9.0), 0.25);
        assert_eq!(level(&weeks(&[0.0, 0.0, 0.0, 14.0, 0.0]), 9.0), 0.02);
    }

    #[test]
    fn level_stays_while_no_week_is_seen() {
        assert_eq!(level(&[Week::new(0.0, 1.0)], 9.0), 9.0);
    }

    #[test]
    fn baseline_grows_until_it_holds_enough_clicks() {
        let weeks_used = |weekly: f64| baseline(&weeks(&[weekly; 40])).weeks;
        assert_eq!([weeks_used(50.0), weeks_used(49.0), weeks_used(20.0)], [8.0, 16.0, 26.0]);
    }

    #[test]
    fn young_baseline_takes_the_lower_half() {
        let found = baseline(&weeks(&[70.0, 14.0, 21.0, 700.0]));
        assert_eq!(found, Baseline { rate: 2.5, clicks: 805.0, weeks: 4.0 });
    }

    #[test]
    fn noise_of_a_steady_series_falls_to_the_floor_and_of_a_wild_one_rises() {
        let steady = (0..20).fold(0.2, |old, _| noise([(100.0, 100.0); 56].into_iter(), old));
        let wild =
            (0..20).fold(0.2, |old, _| noise([(10.0, 100.0), (190.0, 100.0)].into_iter(), old));
        assert_eq!((steady, wild), NOISE);
        assert_eq!(noise([(0.0, 0.1)].into_iter(), 0.2), 0.2);
    }
}
