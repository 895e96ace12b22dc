//! Learns day by day what was usual: weekday weights, network factor, capped clicks, baselines.
//!
//! Every day uses the days before it alone, so a report of an old day never changes when newer
//! days arrive (but for a newcomer's first weeks, which are capped once, before its first verdict).
//! What a day needs of the other partners are a few figures ([`CommonDay`]): with them a partner's
//! history can be learned again all alone, and comes out the same.

use super::baseline::{self, Baseline, START_NOISE, WEEKS_MAX, Week, cap};
use super::halves;
use super::network::{self, MIN_PARTNERS, Sight};
use super::season::{KindWeights, Season};
use super::series::{Day, PartnerSeries};
use super::totals::{Totals, UsualDays};

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

/// What the network did on a day.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CommonDay {
    /// Clicks relative to a usual day.
    pub(crate) factor: f64,
    /// Weight of the day's weekday for each kind of partner.
    pub(crate) weekdays: KindWeights,
    /// Factor of the months before, which a usual day is told by ([`network::usual`]).
    pub(crate) usual: f64,
}

impl CommonDay {
    /// How unusual the day was.
    pub(crate) fn disturbance(self) -> f64 {
        (self.factor / self.usual).ln().abs().min(1.0).powi(2)
    }

    fn is_blind(self) -> bool {
        self.factor < BLIND_BELOW * self.usual
    }
}

/// What a day brought, by partner.
#[derive(Debug, Default)]
pub struct Today {
    /// Clicks counted.
    pub counts: Vec<u32>,
    /// Whether the day says anything about the partner.
    pub is_sample: Vec<bool>,
    /// Whether the partner may be judged on it.
    pub can_judge: Vec<bool>,
}

/// Holds what is known of every partner's past.
#[derive(Debug)]
pub struct History {
    /// Days learned.
    pub(crate) days: usize,
    /// First day of each partner, once it has begun.
    pub(crate) joined_on: Vec<Option<Day>>,
    /// Clicks, capped ([`cap`]), of used days.
    pub(crate) clicks: Totals<f64>,
    /// Clicks as counted, of used days.
    pub(crate) raw: Totals<u32>,
    /// Usual days: weekday weight times network factor, 0 on unused days.
    pub(crate) exposure: Totals<UsualDays>,
    /// Number of used days.
    pub(crate) used: Totals<u16>,
    /// What the network did on each day.
    pub(crate) common: Vec<CommonDay>,
    /// Daily noise by number of full weeks.
    pub(crate) noises: Weekly<f64>,
    /// Levels by number of full weeks.
    pub(crate) baselines: Weekly<Baseline>,
    pub(crate) season: Season,
    pub(crate) levels: Vec<f64>,
}

/// What is learned at the end of each week, by partner.
#[derive(Debug)]
pub(crate) struct Weekly<T> {
    /// Weeks that are forgotten.
    first: usize,
    rows: Vec<Vec<T>>,
}

impl<T> Weekly<T> {
    fn after(&self, weeks: usize) -> &[T] {
        &self.rows[weeks - self.first]
    }

    fn since(&self, week: usize) -> &[Vec<T>] {
        &self.rows[week - self.first..]
    }

    fn last(&self) -> &[T] {
        &self.rows[self.rows.len() - 1]
    }

    fn forget_before(&mut self, week: usize) {
        self.rows.drain(..week - self.first);
        self.first = week;
    }
}

impl History {
    /// Begins with partners of these kinds.
    pub(crate) fn new(kinds: Vec<u8>) -> Self {
        let count = kinds.len();
        Self {
            days: 0,
            joined_on: vec![None; count],
            clicks: Totals::new(count, 0),
            raw: Totals::new(count, 0),
            exposure: Totals::new(count, 0),
            used: Totals::new(count, 0),
            common: Vec::new(),
            noises: Weekly { first: 0, rows: vec![vec![START_NOISE; count]] },
            baselines: Weekly { first: 0, rows: vec![vec![Baseline::default(); count]] },
            season: Season::new(kinds),
            levels: vec![0.0; count],
        }
    }

    /// Begins with the first days of these partners known.
    pub(crate) fn of(partners: &[PartnerSeries]) -> Self {
        let joined_on = partners.iter().map(|partner| Some(partner.joined_on)).collect();
        Self { joined_on, ..Self::new(partners.iter().map(|partner| partner.kind).collect()) }
    }

    /// Learns a partner alone, in a network of which all days are known.
    pub fn alone(partner: &PartnerSeries, common: &[CommonDay]) -> Self {
        let partners = std::slice::from_ref(partner);
        let mut history = Self::of(partners);
        for (day, common) in common.iter().enumerate() {
            history.learn_day(&Today::of(partners, day), Some(*common));
        }
        history
    }

    /// Returns every partner's baseline of the full weeks before `day`.
    pub(crate) fn baselines_before(&self, day: Day) -> &[Baseline] {
        self.baselines.after(day / 7)
    }

    /// Returns the partner's daily noise as known from the full weeks before `day`.
    pub(crate) fn noise_before(&self, partner: usize, day: Day) -> f64 {
        self.noises.after(day / 7)[partner]
    }

    /// Returns how unusual the network was in a stretch, by the partner's usual days.
    pub(crate) fn disturbance(&self, partner: usize, from: Day, until: Day) -> f64 {
        let days = from..until;
        days.map(|day| self.exposure.on(partner, day) * self.common[day].disturbance()).sum()
    }

    /// Returns usual days per day at present: what turns clicks per usual day into clicks a day.
    pub(crate) fn usual(&self) -> f64 {
        self.common.last().map_or(1.0, |day| day.usual)
    }

    /// Returns the network factor of every day.
    pub(crate) fn factors(&self) -> Vec<f64> {
        self.common.iter().map(|day| day.factor).collect()
    }

    /// Forgets what was before a day that begins a week.
    pub(crate) fn forget_before(&mut self, day: Day) {
        self.clicks.forget_before(day);
        self.raw.forget_before(day);
        self.exposure.forget_before(day);
        self.used.forget_before(day);
        self.noises.forget_before(day / 7);
        self.baselines.forget_before(day / 7);
    }

    /// Goes on at the end of a week; what partners did on the days from `first` on is yet to be put
    /// in.
    pub(crate) fn resumed(kinds: Vec<u8>, common: Vec<CommonDay>, first: Day) -> Self {
        let (count, days) = (kinds.len(), common.len());
        let n_weeks = days / 7 - first / 7 + 1;
        let mut history = Self {
            days,
            common,
            clicks: Totals::new(count, first),
            raw: Totals::new(count, first),
            exposure: Totals::new(count, first),
            used: Totals::new(count, first),
            noises: Weekly { first: first / 7, rows: vec![vec![START_NOISE; count]; n_weeks] },
            baselines: Weekly {
                first: first / 7,
                rows: vec![vec![Baseline::default(); count]; n_weeks],
            },
            ..Self::new(kinds)
        };
        (first..days).for_each(|_| history.begin_day());
        history
    }

    /// Makes room for a day.
    pub(crate) fn begin_day(&mut self) {
        self.clicks.begin_day();
        self.raw.begin_day();
        self.exposure.begin_day();
        self.used.begin_day();
    }

    /// Puts in what a partner did on the day that was begun.
    pub(crate) fn put_day(
        &mut self,
        partner: usize,
        day: Day,
        (raw, clicks, exposure): (f64, f64, f64),
    ) {
        self.raw.add(partner, day, raw);
        self.clicks.add(partner, day, clicks);
        self.exposure.add(partner, day, exposure);
        self.used.add(partner, day, f64::from(u8::from(exposure > 0.0)));
    }

    /// Returns noise and level of a partner at the end of each week that is kept, oldest first.
    pub(crate) fn learned_of(&self, partner: usize) -> impl Iterator<Item = (f64, Baseline)> {
        let first = super::kept::states::first_kept(self.days) / 7;
        let rows = self.noises.since(first).iter().zip(self.baselines.since(first));
        rows.map(move |(noises, baselines)| (noises[partner], baselines[partner]))
    }

    /// Returns them in the same order, to be set.
    pub(crate) fn learned_of_mut(
        &mut self,
        partner: usize,
    ) -> impl Iterator<Item = (&mut f64, &mut Baseline)> {
        let rows = self.noises.rows.iter_mut().zip(&mut self.baselines.rows);
        rows.map(move |(noises, baselines)| (&mut noises[partner], &mut baselines[partner]))
    }

    /// Learns the next day. What the network did on it is found out, unless it is known.
    pub(crate) fn learn_day(&mut self, today: &Today, common: Option<CommonDay>) {
        let day = self.days;
        let weekdays = common.map_or_else(|| self.season.usual_weights(day), |c| c.weekdays);
        let weights = self.season.weights(day, &weekdays);
        let common = common.unwrap_or_else(|| CommonDay {
            factor: self.factor(day, today, &weights),
            weekdays,
            usual: network::usual(&self.factors()),
        });
        let factor = common.factor;
        self.common.push(common);
        self.season.fade();
        self.begin_day();
        for (i, &weight) in weights.iter().enumerate() {
            let used = today.is_sample[i] && !common.is_blind();
            let (mut raw, mut clicks, mut exposure) = (0.0, 0.0, 0.0);
            if used {
                exposure = weight * factor;
                raw = f64::from(today.counts[i]);
                clicks = if self.levels[i] > 0.0 && day >= UNCAPPED_DAYS {
                    raw.min(cap(self.levels[i] * exposure, self.noises.last()[i]))
                } else {
                    raw
                };
                self.season.learn(i, day, clicks / factor);
            }
            self.put_day(i, day, (raw, clicks, exposure));
        }
        self.days += 1;
        if day % 7 == 6 {
            self.close_week(day);
        }
    }

    fn factor(&self, day: Day, today: &Today, weights: &[f64]) -> f64 {
        if day < NETWORK_FROM {
            return 1.0;
        }
        let sights = halves::map(weights.len(), |i| self.sight(i, day, today, weights[i]));
        let sights: Vec<Sight> = sights.into_iter().flatten().collect();
        if sights.len() >= MIN_PARTNERS {
            return network::factor_of_many(&sights);
        }
        let samples = (0..weights.len()).filter(|&i| today.is_sample[i]);
        network::factor_of_few(
            samples
                .map(|i| (f64::from(today.counts[i]), self.levels[i] * weights[i]))
                .filter(|&(_, expected)| expected > 0.0),
        )
    }

    fn sight(&self, i: usize, day: Day, today: &Today, weight: f64) -> Option<Sight> {
        if !today.is_sample[i] {
            return None;
        }
        let from = day.saturating_sub(RECENT_DAYS);
        let exposure = self.exposure.between(i, from, day);
        let usual = self.clicks.between(i, from, day) / exposure.max(1e-9) * weight;
        (exposure > MIN_SIGHT_EXPOSURE && usual >= 1.0).then(|| Sight {
            count: f64::from(today.counts[i]),
            usual,
            level: self.levels[i] * weight,
            noise: self.noises.last()[i],
        })
    }

    fn close_week(&mut self, last: Day) {
        for i in 0..self.levels.len() {
            let age = self.joined_on[i].and_then(|joined| last.checked_sub(joined));
            if age.is_some_and(|age| RECAP_AGE.contains(&age)) {
                self.cap_first_weeks(i, last);
            }
        }
        let learned = halves::map(self.levels.len(), |i| {
            let mut weeks = [Week::default(); WEEKS_MAX];
            let known = (last / 7 + 1).min(WEEKS_MAX);
            for (week, number) in weeks[..known].iter_mut().zip(last / 7 + 1 - known..) {
                *week = self.week(i, number);
            }
            let level = baseline::level(&weeks[..known], self.levels[i]);
            (level, self.noise(i, last, level), baseline::baseline(&weeks[..known]))
        });
        self.levels.clear();
        let (mut noises, mut baselines) = (Vec::new(), Vec::new());
        for (level, noise, baseline) in learned {
            self.levels.push(level);
            noises.push(noise);
            baselines.push(baseline);
        }
        self.noises.rows.push(noises);
        self.baselines.rows.push(baselines);
    }

    fn week(&self, i: usize, week: usize) -> Week {
        let (from, until) = (7 * week, 7 * week + 7);
        Week::new(self.clicks.between(i, from, until), self.exposure.between(i, from, until))
    }

    fn cap_first_weeks(&mut self, i: usize, last: Day) {
        let Some(joined) = self.joined_on[i].filter(|_| self.levels[i] > 0.0) else { return };
        let noise = self.noises.last()[i];
        let capped: Vec<f64> = (joined..=last)
            .map(|day| {
                let mean = self.levels[i] * self.exposure.on(i, day);
                self.clicks.on(i, day).min(cap(mean, noise))
            })
            .collect();
        for (day, clicks) in (joined..).zip(capped) {
            self.clicks.add(i, day, clicks);
        }
    }

    fn noise(&self, i: usize, last: Day, level: f64) -> f64 {
        let days = (last + 1).saturating_sub(RECENT_DAYS)..=last;
        let pairs = days.map(|day| (self.raw.on(i, day), level * self.exposure.on(i, day)));
        baseline::noise(pairs, self.noises.last()[i])
    }
}

impl Today {
    /// Returns what a day of whole series brought.
    pub(crate) fn of(partners: &[PartnerSeries], day: Day) -> Self {
        Self {
            counts: partners.iter().map(|partner| partner.clicks[day]).collect(),
            is_sample: partners.iter().map(|partner| partner.is_sample(day)).collect(),
            can_judge: partners.iter().map(|partner| partner.can_judge(day)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl History {
        /// Learns the next day of whole series.
        pub(crate) fn learn_series(&mut self, partners: &[PartnerSeries]) {
            self.learn_day(&Today::of(partners, self.days), None);
        }

        pub(crate) fn learn(partners: &[PartnerSeries], days: usize) -> Self {
            let mut history = Self::of(partners);
            (0..days).for_each(|_| history.learn_series(partners));
            history
        }
    }

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
