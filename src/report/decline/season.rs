//! The partner's week: how many clicks each weekday brings, relative to a mean day.
//!
//! A partner with few clicks has too few Mondays to know its own week, so each weekday is drawn
//! towards the week of the whole network with the weight of [`PRIOR_CLICKS`] clicks. Old weeks
//! fade, because a partner's week changes when its audience does.

use super::series::Day;

const WEEK: usize = 7;
/// After so many days a day counts half.
const HALF_LIFE_DAYS: f64 = 56.0;
/// Clicks the network's week counts for against the partner's own.
const PRIOR_CLICKS: f64 = 60.0;
/// Four weeks of everybody's clicks before weekdays are told apart.
const LEARNED_FROM: Day = 28;
/// One weekday in 50 of the mean, or 6 times it: beyond lies accident.
const WEIGHTS: (f64, f64) = (0.02, 6.0);

/// Learns the weekday weights of all partners.
#[derive(Debug)]
pub(super) struct Season {
    weeks: Vec<OwnWeek>,
}

/// Fading sums of one partner, by weekday.
#[derive(Debug, Clone, Default)]
struct OwnWeek {
    clicks: [f64; WEEK],
    days: [f64; WEEK],
}

impl OwnWeek {
    fn mean(&self) -> f64 {
        self.clicks.iter().sum::<f64>() / self.days.iter().sum::<f64>().max(1e-9)
    }

    fn weight(&self, weekday: usize, network: f64) -> f64 {
        let mean = self.mean();
        if mean <= 0.0 {
            return network;
        }
        let prior = PRIOR_CLICKS / WEEK as f64;
        let weight = (self.clicks[weekday] + prior * network) / (self.days[weekday] * mean + prior);
        weight.clamp(WEIGHTS.0, WEIGHTS.1)
    }
}

impl Season {
    pub(super) fn new(partners: usize) -> Self {
        Self { weeks: vec![OwnWeek::default(); partners] }
    }

    /// Returns each partner's weight of this day's weekday, from the days before it; `network` is
    /// that of all partners together.
    pub(super) fn weights(&self, day: Day, network: f64) -> Vec<f64> {
        if day < LEARNED_FROM {
            return vec![1.0; self.weeks.len()];
        }
        self.weeks.iter().map(|own| own.weight(day % WEEK, network)).collect()
    }

    /// Returns the weight of this day's weekday for all partners together.
    pub(super) fn network_weight(&self, day: Day) -> f64 {
        if day < LEARNED_FROM {
            return 1.0;
        }
        let weekday = day % WEEK;
        let mut rates = [0.0; WEEK];
        for (q, rate) in rates.iter_mut().enumerate() {
            let clicks: f64 = self.weeks.iter().map(|own| own.clicks[q]).sum();
            let days: f64 = self.weeks.iter().map(|own| own.days[q]).sum();
            *rate = clicks / days.max(1e-9);
        }
        let mean = rates.iter().sum::<f64>() / WEEK as f64;
        if mean > 0.0 { rates[weekday] / mean } else { 1.0 }
    }

    /// Returns the fading sums of a partner.
    pub(super) fn sums(&self, partner: usize) -> Vec<f64> {
        let own = &self.weeks[partner];
        own.clicks.iter().chain(&own.days).copied().collect()
    }

    /// Returns them in the same order, to be set.
    pub(super) fn sums_mut(&mut self, partner: usize) -> impl Iterator<Item = &mut f64> {
        let own = &mut self.weeks[partner];
        own.clicks.iter_mut().chain(&mut own.days)
    }

    /// Lets every partner's past fade by one day.
    pub(super) fn fade(&mut self) {
        let kept = 0.5_f64.powf(1.0 / HALF_LIFE_DAYS);
        for sum in self.weeks.iter_mut().flat_map(|own| own.clicks.iter_mut().chain(&mut own.days))
        {
            *sum *= kept;
        }
    }

    /// Adds one partner's clicks of a day, already freed of what the whole network did.
    pub(super) fn learn(&mut self, partner: usize, day: Day, clicks: f64) {
        let own = &mut self.weeks[partner];
        own.clicks[day % WEEK] += clicks;
        own.days[day % WEEK] += 1.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taught(daily: impl Fn(usize, Day) -> f64, partners: usize) -> Season {
        let mut season = Season::new(partners);
        for day in 0..56 {
            season.fade();
            for partner in 0..partners {
                season.learn(partner, day, daily(partner, day));
            }
        }
        season
    }

    #[test]
    fn large_partner_keeps_its_own_week_and_small_one_gets_the_network_s() {
        // Partner 0 rests on day 6 of the week, partner 1 (a hundred times smaller) does not.
        let season = taught(
            |p, day| {
                if p == 1 {
                    1.0
                } else if day % 7 == 6 {
                    10.0
                } else {
                    100.0
                }
            },
            2,
        );
        let weights = season.weights(62, season.network_weight(62));
        assert!(weights[0] < 0.15, "{weights:?}");
        assert!((0.2..0.7).contains(&weights[1]), "{weights:?}");
    }

    #[test]
    fn no_weekday_is_known_in_the_first_four_weeks() {
        let season = taught(|_, day| day as f64, 1);
        assert_eq!(season.weights(27, 1.0), [1.0]);
        assert_ne!(season.weights(28, season.network_weight(28)), [1.0]);
    }

    #[test]
    fn partner_without_clicks_has_the_network_s_week() {
        let season = taught(|p, day| if p == 1 { 0.0 } else { (day % 7) as f64 }, 2);
        let weights = season.weights(59, season.network_weight(59));
        assert!((weights[1] - 1.0).abs() < 1e-9 && weights[1].is_finite(), "{weights:?}");
    }
}
