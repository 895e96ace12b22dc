//! The partner's week: how many clicks each weekday brings, relative to a mean day.
//!
//! A partner with few clicks has too few Mondays to know its own week, so each weekday is drawn
//! towards the week of its kind with the weight of [`PRIOR_CLICKS`] clicks: dealers and integrators
//! rest on Sundays, on which webmasters are busiest. The week of a kind is drawn towards the week of
//! the whole network likewise. Old weeks fade, because a week changes when its audience does.

use super::series::Day;

const WEEK: usize = 7;
/// After so many days a day counts half.
const HALF_LIFE_DAYS: f64 = 56.0;
/// Clicks the week of its kind counts for against the partner's own.
const PRIOR_CLICKS: f64 = 60.0;
/// Clicks the network's week counts for against the week of a kind.
const KIND_PRIOR_CLICKS: f64 = 600.0;
/// Four weeks of everybody's clicks before weekdays are told apart.
const LEARNED_FROM: Day = 28;
/// One weekday in 50 of the mean, or 6 times it: beyond lies accident.
const WEIGHTS: (f64, f64) = (0.02, 6.0);

/// Kinds that are told apart; further ones are taken for the last.
pub(crate) const KINDS_MAX: usize = 4;

/// Weight of a weekday for each kind.
pub(crate) type KindWeights = [f64; KINDS_MAX];

fn place(kind: u8) -> usize {
    usize::from(kind).min(KINDS_MAX - 1)
}

/// Learns the weekday weights of all partners.
#[derive(Debug)]
pub(crate) struct Season {
    weeks: Vec<Sums>,
    /// The kind of each partner.
    kinds: Vec<u8>,
}

/// Fading sums of one partner or of many, by weekday.
#[derive(Debug, Clone, Default)]
struct Sums {
    clicks: [f64; WEEK],
    days: [f64; WEEK],
}

impl Sums {
    fn add(&mut self, other: &Self) {
        for q in 0..WEEK {
            self.clicks[q] += other.clicks[q];
            self.days[q] += other.days[q];
        }
    }

    fn has_days(&self) -> bool {
        self.days.iter().any(|&days| days > 0.0)
    }

    fn mean(&self) -> f64 {
        self.clicks.iter().sum::<f64>() / self.days.iter().sum::<f64>().max(1e-9)
    }

    /// Returns the weight of a weekday, drawn towards `usual` with so many clicks.
    fn weight(&self, weekday: usize, usual: f64, clicks: f64) -> f64 {
        let mean = self.mean();
        if mean <= 0.0 {
            return usual;
        }
        let prior = clicks / WEEK as f64;
        let weight = (self.clicks[weekday] + prior * usual) / (self.days[weekday] * mean + prior);
        weight.clamp(WEIGHTS.0, WEIGHTS.1)
    }

    /// Returns the weight of a weekday, its rate against the mean of all seven.
    fn relative_rate(&self, weekday: usize) -> f64 {
        let rate = |q: usize| self.clicks[q] / self.days[q].max(1e-9);
        let mean = (0..WEEK).map(rate).sum::<f64>() / WEEK as f64;
        if mean > 0.0 { rate(weekday) / mean } else { 1.0 }
    }
}

impl Season {
    /// Begins with partners of these kinds, any numbers.
    pub(crate) fn new(kinds: Vec<u8>) -> Self {
        Self { weeks: vec![Sums::default(); kinds.len()], kinds }
    }

    /// Returns each partner's weight of this day's weekday, from the days before it; `usual` is that
    /// of the kinds.
    pub(crate) fn weights(&self, day: Day, usual: &KindWeights) -> Vec<f64> {
        if day < LEARNED_FROM {
            return vec![1.0; self.weeks.len()];
        }
        let partners = self.weeks.iter().zip(&self.kinds);
        partners
            .map(|(own, kind)| own.weight(day % WEEK, usual[place(*kind)], PRIOR_CLICKS))
            .collect()
    }

    /// Returns the weight of this day's weekday for each kind.
    pub(crate) fn usual_weights(&self, day: Day) -> KindWeights {
        if day < LEARNED_FROM {
            return [1.0; KINDS_MAX];
        }
        let mut kinds: [Sums; KINDS_MAX] = Default::default();
        for (own, kind) in self.weeks.iter().zip(&self.kinds) {
            kinds[place(*kind)].add(own);
        }
        let mut all = Sums::default();
        kinds.iter().for_each(|kind| all.add(kind));
        let network = all.relative_rate(day % WEEK);
        // A single kind is the network. One whose partners have not begun is none.
        let is_one = kinds.iter().filter(|kind| kind.has_days()).count() <= 1;
        kinds.map(|kind| {
            if is_one { network } else { kind.weight(day % WEEK, network, KIND_PRIOR_CLICKS) }
        })
    }

    /// Returns the fading sums of a partner.
    pub(crate) fn sums(&self, partner: usize) -> Vec<f64> {
        let own = &self.weeks[partner];
        own.clicks.iter().chain(&own.days).copied().collect()
    }

    /// Returns them in the same order, to be set.
    pub(crate) fn sums_mut(&mut self, partner: usize) -> impl Iterator<Item = &mut f64> {
        let own = &mut self.weeks[partner];
        own.clicks.iter_mut().chain(&mut own.days)
    }

    /// Lets every partner's past fade by one day.
    pub(crate) fn fade(&mut self) {
        let kept = 0.5_f64.powf(1.0 / HALF_LIFE_DAYS);
        for sum in self.weeks.iter_mut().flat_map(|own| own.clicks.iter_mut().chain(&mut own.days))
        {
            *sum *= kept;
        }
    }

    /// Adds one partner's clicks of a day, already freed of what the whole network did.
    pub(crate) fn learn(&mut self, partner: usize, day: Day, clicks: f64) {
        let own = &mut self.weeks[partner];
        own.clicks[day % WEEK] += clicks;
        own.days[day % WEEK] += 1.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taught(daily: impl Fn(usize, Day) -> f64, partners: usize) -> Season {
        let mut season = Season::new(vec![0; partners]);
        for day in 0..56 {
            season.fade();
            for partner in 0..partners {
                season.learn(partner, day, daily(partner, day));
            }
        }
        season
    }

    fn weights(season: &Season, day: Day) -> Vec<f64> {
        season.weights(day, &season.usual_weights(day))
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
        let weights = weights(&season, 62);
        assert!(weights[0] < 0.15, "{weights:?}");
        assert!((0.2..0.7).contains(&weights[1]), "{weights:?}");
    }

    #[test]
    fn small_partner_gets_the_week_of_its_kind() {
        // Kind 1 rests on day 6; of each kind one brings nearly all clicks, one hardly any.
        let kinds = vec![0, 1, 0, 1];
        let mut season = Season::new(kinds.clone());
        for day in 0..56 {
            season.fade();
            for (partner, kind) in kinds.iter().enumerate() {
                let rests = *kind == 1 && day % 7 == 6;
                let size = if partner < 2 { 100.0 } else { 0.1 };
                season.learn(partner, day, if rests { 0.0 } else { size });
            }
        }
        let weights = weights(&season, 62);
        assert!(weights[2] > 0.9 && weights[3] < 0.3, "{weights:?}");
        assert!(weights[0] > 0.9 && weights[1] < 0.1, "{weights:?}");
    }

    #[test]
    fn no_weekday_is_known_in_the_first_four_weeks() {
        let season = taught(|_, day| day as f64, 1);
        assert_eq!(weights(&season, 27), [1.0]);
        assert_ne!(weights(&season, 28), [1.0]);
    }

    #[test]
    fn partner_without_clicks_has_the_network_s_week() {
        let season = taught(|p, day| if p == 1 { 0.0 } else { (day % 7) as f64 }, 2);
        let weights = weights(&season, 59);
        assert!((weights[1] - 1.0).abs() < 1e-9 && weights[1].is_finite(), "{weights:?}");
    }
}
