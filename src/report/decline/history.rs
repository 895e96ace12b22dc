//! Learns day by day what was usual: weekday weights, network factor, capped clicks, baselines.
//!
//! Every day uses the days before it alone, so a report of an old day never changes when newer
//! days arrive (but for a newcomer's first weeks, which are capped once, before its first verdict).

use super::baseline::{self, Baseline, START_NOISE, Week, cap};
use super::halves;
use super::network::{self, MIN_PARTNERS, Sight};
use super::season::Season;
use super::series::{Day, PartnerSeries};
use super::totals::Totals;

/// Below half of its usual clicks the network was not seen: an outage, nobody's decline.
const BLIND_BELOW: f64 = 0.5;
/// The network's factor needs five weeks of everybody's levels.
const NETWORK_FROM: Day = 35;
/// Three weeks before a level is good enough to cap with.
const UNCAPPED_DAYS: Day = 21;
/// Partners with less than two usual weeks of exposure show nothing of the network.
const MIN_SIGHT_EXPOSURE: f64 = 14.0;
/// Eight weeks: what is usual now, for the network's factor and the daily noise.
const RECENT_DAYS: usize = 56;
/// Age at which a newcomer's uncapped first weeks are capped with the level then known.
const RECAP_AGE: std::ops::Range<usize> = 35..42;

/// Holds what is known of every partner's past.
#[derive(Debug)]
pub(super) struct History {
    /// Days learned.
    pub(super) days: usize,
    /// Clicks, capped ([`cap`]), of used days.
    pub(super) clicks: Totals,
    /// Clicks as counted, of used days.
    pub(super) raw: Totals,
    /// Usual days: weekday weight times network factor, 0 on unused days.
    pub(super) exposure: Totals,
    /// Number of used days.
    pub(super) used: Totals,
    /// Exposure times the squared logarithm of the factor: how unusual the network was.
    pub(super) disturbance: Totals,
    /// Network factor of each day.
    pub(super) factors: Vec<f64>,
    /// Daily noise, by number of full weeks, then by partner.
    pub(super) noises: Vec<Vec<f64>>,
    /// By number of full weeks, then by partner.
    baselines: Vec<Vec<Baseline>>,
}

impl History {
    /// Learns all days of the series.
    pub(super) fn learn(partners: &[PartnerSeries], days: usize) -> Self {
        let mut learner = Learner::new(partners, days);
        for day in 0..days {
            learner.learn_day(day);
            if day % 7 == 6 {
                learner.close_week(day);
            }
        }
        learner.history
    }

    /// Returns every partner's baseline of the full weeks before `day`.
    pub(super) fn baselines_before(&self, day: Day) -> &[Baseline] {
        &self.baselines[day / 7]
    }
}

struct Learner<'a> {
    partners: &'a [PartnerSeries],
    season: Season,
    levels: Vec<f64>,
    noises: Vec<f64>,
    weeks: Vec<Vec<Week>>,
    history: History,
}

impl<'a> Learner<'a> {
    fn new(partners: &'a [PartnerSeries], days: usize) -> Self {
        let count = partners.len();
        let totals = || Totals::new(days, count);
        Self {
            partners,
            season: Season::new(partners.iter().map(|p| p.kind).collect()),
            levels: vec![0.0; count],
            noises: vec![START_NOISE; count],
            weeks: vec![Vec::with_capacity(days / 7); count],
            history: History {
                days,
                clicks: totals(),
                raw: totals(),
                exposure: totals(),
                used: totals(),
                disturbance: totals(),
                factors: Vec::with_capacity(days),
                noises: vec![vec![START_NOISE; count]],
                baselines: vec![vec![Baseline::default(); count]],
            },
        }
    }

    fn learn_day(&mut self, day: Day) {
        let weights = self.season.weights(day);
        let factor = self.factor(day, &weights);
        let unusual = factor.ln().abs().min(1.0).powi(2);
        self.season.fade();
        for (i, partner) in self.partners.iter().enumerate() {
            let used = partner.is_sample(day) && factor >= BLIND_BELOW;
            let (mut raw, mut clicks, mut exposure) = (0.0, 0.0, 0.0);
            if used {
                exposure = weights[i] * factor;
                raw = f64::from(partner.clicks[day]);
                clicks = if self.levels[i] > 0.0 && day >= UNCAPPED_DAYS {
                    raw.min(cap(self.levels[i] * exposure, self.noises[i]))
                } else {
                    raw
                };
                self.season.learn(i, day, clicks / factor);
            }
            let history = &mut self.history;
            history.raw.add(i, day, raw);
            history.clicks.add(i, day, clicks);
            history.exposure.add(i, day, exposure);
            history.used.add(i, day, f64::from(u8::from(used)));
            history.disturbance.add(i, day, exposure * unusual);
        }
        self.history.factors.push(factor);
    }

    fn factor(&self, day: Day, weights: &[f64]) -> f64 {
        if day < NETWORK_FROM {
            return 1.0;
        }
        let sights = halves::map(self.partners.len(), |i| self.sight(i, day, weights[i]));
        let sights: Vec<Sight> = sights.into_iter().flatten().collect();
        if sights.len() >= MIN_PARTNERS {
            return network::factor_of_many(&sights);
        }
        let samples = (0..self.partners.len()).filter(|&i| self.partners[i].is_sample(day));
        network::factor_of_few(
            samples
                .map(|i| (f64::from(self.partners[i].clicks[day]), self.levels[i] * weights[i]))
                .filter(|&(_, expected)| expected > 0.0),
        )
    }

    fn sight(&self, i: usize, day: Day, weight: f64) -> Option<Sight> {
        let from = day.saturating_sub(RECENT_DAYS);
        let exposure = self.history.exposure.between(i, from, day);
        let usual = self.history.clicks.between(i, from, day) / exposure.max(1e-9) * weight;
        let shows = self.partners[i].is_sample(day) && exposure > MIN_SIGHT_EXPOSURE;
        (shows && usual >= 1.0).then(|| Sight {
            count: f64::from(self.partners[i].clicks[day]),
            usual,
            level: self.levels[i] * weight,
            noise: self.noises[i],
        })
    }

    fn close_week(&mut self, last: Day) {
        for i in 0..self.partners.len() {
            let age = last.checked_sub(self.partners[i].joined_on);
            if age.is_some_and(|age| RECAP_AGE.contains(&age)) {
                self.cap_first_weeks(i, last);
            }
            let week = self.week(i, last / 7);
            self.weeks[i].push(week);
        }
        let learned = halves::map(self.partners.len(), |i| {
            let level = baseline::level(&self.weeks[i], self.levels[i]);
            (level, self.noise(i, last, level), baseline::baseline(&self.weeks[i]))
        });
        let mut baselines = Vec::with_capacity(learned.len());
        for (i, (level, noise, baseline)) in learned.into_iter().enumerate() {
            self.levels[i] = level;
            self.noises[i] = noise;
            baselines.push(baseline);
        }
        self.history.noises.push(self.noises.clone());
        self.history.baselines.push(baselines);
    }

    fn week(&self, i: usize, week: usize) -> Week {
        let (from, until) = (7 * week, 7 * week + 7);
        let history = &self.history;
        Week::new(history.clicks.between(i, from, until), history.exposure.between(i, from, until))
    }

    fn cap_first_weeks(&mut self, i: usize, last: Day) {
        if self.levels[i] <= 0.0 {
            return;
        }
        let joined = self.partners[i].joined_on;
        let capped: Vec<f64> = (joined..=last)
            .map(|day| {
                let mean = self.levels[i] * self.history.exposure.on(i, day);
                self.history.clicks.on(i, day).min(cap(mean, self.noises[i]))
            })
            .collect();
        for (day, clicks) in (joined..).zip(capped) {
            self.history.clicks.add(i, day, clicks);
        }
        for week in joined / 7..last / 7 {
            self.weeks[i][week] = self.week(i, week);
        }
    }

    fn noise(&self, i: usize, last: Day, level: f64) -> f64 {
        let days = (last + 1).saturating_sub(RECENT_DAYS)..=last;
        let pairs = days.map(|day| {
            let mean = level * self.history.exposure.on(i, day);
            (f64::from(self.partners[i].clicks[day]), mean)
        });
        baseline::noise(pairs, self.noises[i])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lone(days: usize, clicks: impl Fn(Day) -> u32) -> History {
        let clicks = (0..days).map(clicks).collect();
        History::learn(&[PartnerSeries { clicks, ..PartnerSeries::default() }], days)
    }

    #[test]
    fn honeymoon_is_no_sample() {
        let history = lone(14, |_| 5);
        assert_eq!(history.used.between(0, 0, 10), 0.0);
        assert_eq!(history.used.between(0, 10, 14), 4.0);
    }

    #[test]
    fn outage_is_no_sample() {
        let history = lone(80, |day| if day == 70 { 5 } else { 1_000 });
        assert_eq!(history.used.between(0, 69, 72), 2.0);
        assert_eq!(history.raw.on(0, 70), 0.0);
    }

    #[test]
    fn burst_is_capped_near_the_level() {
        let history = lone(80, |day| if day == 70 { 500 } else { 10 });
        assert_eq!(history.raw.on(0, 70), 500.0);
        assert!(history.clicks.on(0, 70) < 25.0, "{}", history.clicks.on(0, 70));
    }

    #[test]
    fn busy_first_weeks_are_capped_once_the_level_is_known() {
        let start = |day| if day < 21 { 50 } else { 10 };
        assert_eq!(lone(41, start).clicks.on(0, 15), 50.0);
        let later = lone(42, start);
        assert!(later.clicks.on(0, 15) < 45.0, "{}", later.clicks.on(0, 15));
        assert_eq!(later.clicks.on(0, 39), 10.0);
    }

    #[test]
    fn baseline_ends_with_the_week_before() {
        let history = lone(100, |day| if day < 91 { 10 } else { 0 });
        let rate = |day| history.baselines_before(day)[0].rate;
        assert!((rate(97) - 10.0).abs() < 1.0, "{}", rate(97));
        assert_eq!(rate(91), rate(97));
    }
}
