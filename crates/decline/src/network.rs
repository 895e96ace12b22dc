//! The network factor: what all partners together did on a day, relative to a usual one.
//!
//! A holiday, a broken tracker or a lost market takes clicks from everybody and is no partner's
//! decline. The factor is measured each day over the partners large enough to show it, and every
//! expectation of that day is multiplied by it.

use super::baseline::cap;

/// With fewer partners to compare, the factor is shrunk towards 1 instead of measured robustly.
pub(crate) const MIN_PARTNERS: usize = 20;
/// The few-partner rule starts from so many expected clicks that behave as usual.
const FEW_PRIOR_CLICKS: f64 = 50.0;
/// Below this a partner fell on its own, it does not show the network: so many deviations.
const FALLEN_DEVIATIONS: f64 = -2.2;
/// Fixed point of level and outliers: three rounds settle it.
const ROUNDS: usize = 3;

/// Describes what one partner shows of the network on one day.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sight {
    /// Clicks counted that day.
    pub(crate) count: f64,
    /// Clicks a usual network would have brought, from the mean of the last weeks.
    pub(crate) usual: f64,
    /// The same from the robust level, which sets the cap; 0 before a level is known.
    pub(crate) level: f64,
    /// The partner's daily noise beyond Poisson, as a relative variance.
    pub(crate) noise: f64,
}

impl Sight {
    fn weight(&self) -> f64 {
        1.0 / (1.0 + self.noise * self.usual)
    }

    fn has_fallen(&self, factor: f64) -> bool {
        let mean = factor * self.usual;
        let deviation = (mean + self.noise * mean * mean).sqrt();
        self.count - mean <= FALLEN_DEVIATIONS * deviation
    }

    /// Exactly the cap of the baseline: any other would make the factor drift from day to day.
    fn capped(&self, factor: f64) -> f64 {
        if self.level > 0.0 {
            self.count.min(cap(self.level * factor, self.noise))
        } else {
            self.count
        }
    }
}

/// Returns the factor of a day seen by many partners ([`MIN_PARTNERS`] or more).
pub(crate) fn factor_of_many(sights: &[Sight]) -> f64 {
    let mut ratios: Vec<_> =
        sights.iter().map(|s| (s.count / s.usual, s.weight() * s.usual)).collect();
    let mut factor = weighted_median(&mut ratios).unwrap_or(1.0).max(0.02);
    for _ in 0..ROUNDS {
        let (mut seen, mut usual) = (0.0, 0.0);
        for sight in sights.iter().filter(|s| !s.has_fallen(factor)) {
            seen += sight.weight() * sight.capped(factor);
            usual += sight.weight() * sight.usual;
        }
        if usual > 0.0 {
            factor = (seen / usual).max(0.02);
        }
    }
    factor.min(5.0)
}

/// Returns the factor of a day seen by few partners, from pairs of count and expected clicks.
pub(crate) fn factor_of_few(sights: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (seen, expected) = sights.fold((0.0, 0.0), |(seen, expected), (count, e)| {
        (seen + count.min(3.0 * e + 3.0), expected + e)
    });
    ((seen + FEW_PRIOR_CLICKS) / (expected + FEW_PRIOR_CLICKS)).clamp(0.01, 5.0)
}

/// Returns the value at half of the total weight, or `None` without values. Sorts its input.
pub(crate) fn weighted_median(values: &mut [(f64, f64)]) -> Option<f64> {
    values.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let half = values.iter().map(|v| v.1).sum::<f64>() / 2.0;
    let mut passed = 0.0;
    values.iter().find_map(|&(value, weight)| {
        passed += weight;
        (passed >= half).then_some(value)
    })
}

/// Clicks of the whole network below 85 % of usual for three days are an incident of its own.
const INCIDENT_BELOW: f64 = 0.85;
const INCIDENT_DAYS: usize = 3;
/// Days whose middle factor is what is usual.
const USUAL_DAYS: usize = 112;

/// Returns what was the usual factor of the months that end with these factors.
///
/// A level is learned from clicks divided by the factor, and the factor from clicks divided by the
/// level: so it is in the end the mean of its own last eight weeks, and a scale once taken stays.
/// When all partners of a program begin together, with more clicks than they will keep, it rests
/// below 1 from then on. That changes no comparison, because level times factor is right; but what
/// is *usual* is the factor's own last months, not 1.
pub(crate) fn usual(factors: &[f64]) -> f64 {
    let mut recent = factors[factors.len().saturating_sub(USUAL_DAYS)..].to_vec();
    let half = recent.len() / 2;
    if recent.is_empty() {
        return 1.0;
    }
    *recent.select_nth_unstable_by(half, f64::total_cmp).1
}

/// Returns how many days at the end are low, and what they kept of what is usual.
pub(crate) fn low_stretch(factors: &[f64]) -> Option<(usize, f64)> {
    // A good season that ends is no incident.
    let usual = usual(factors).min(1.0);
    let is_low = |factor: &f64| *factor < INCIDENT_BELOW * usual;
    let low: Vec<f64> = factors.iter().rev().copied().take_while(is_low).collect();
    let kept = low.iter().sum::<f64>() / low.len().max(1) as f64 / usual;
    (low.len() >= INCIDENT_DAYS).then_some((low.len(), kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sights(factor: f64, partners: usize) -> Vec<Sight> {
        (1..=partners)
            .map(|i| 5.0 * i as f64)
            .map(|usual| Sight { count: usual * factor, usual, level: usual, noise: 0.1 })
            .collect()
    }

    #[test]
    fn day_that_halves_everybody_has_factor_one_half() {
        assert!((factor_of_many(&sights(0.5, 40)) - 0.5).abs() < 0.01);
    }

    #[test]
    fn partners_that_fell_alone_do_not_move_the_factor() {
        let mut day = sights(1.0, 40);
        for fallen in day.iter_mut().skip(30) {
            fallen.count = 0.0;
        }
        assert!((factor_of_many(&day) - 1.0).abs() < 0.02, "{}", factor_of_many(&day));
    }

    #[test]
    fn burst_of_one_partner_does_not_move_the_factor() {
        let mut day = sights(1.0, 40);
        day[39].count *= 1000.0;
        assert!((factor_of_many(&day) - 1.0).abs() < 0.03, "{}", factor_of_many(&day));
    }

    #[test]
    fn few_partners_move_the_factor_only_with_many_clicks() {
        let two_quiet = factor_of_few([(0.0, 5.0), (0.0, 5.0)].into_iter());
        assert!((two_quiet - 50.0 / 60.0).abs() < 1e-12);
        let outage = factor_of_few([(0.0, 500.0)].into_iter());
        assert!(outage < 0.1);
    }

    #[test]
    fn median_is_the_value_at_half_the_weight() {
        assert_eq!(weighted_median(&mut [(3.0, 1.0), (1.0, 1.0), (2.0, 5.0)]), Some(2.0));
        assert_eq!(weighted_median(&mut []), None);
    }

    #[test]
    fn the_network_falls_against_its_own_months() {
        for (usual, low, n_low, expected) in [
            (1.0, 0.1, 4, Some((4, 0.1))),
            (1.0, 0.1, 2, None),
            (1.0, 0.9, 30, None),
            // A factor that rests off 1 is no fall, and hides none.
            (0.7, 0.7, 0, None),
            (0.7, 0.07, 3, Some((3, 0.1))),
            // The end of a good season.
            (1.4, 1.0, 10, None),
        ] {
            let mut factors = vec![usual; USUAL_DAYS - n_low];
            factors.extend(vec![low; n_low]);
            let found = low_stretch(&factors).map(|(n, kept)| (n, (100.0 * kept).round() / 100.0));
            assert_eq!(found, expected, "{usual} {low} {n_low}");
        }
        assert_eq!(low_stretch(&[]), None);
    }
}
