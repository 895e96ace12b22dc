//! Compares what came in the last 2 to 112 days with what the weeks before promised.
//!
//! Each window length keeps its own score of how well such forecasts held for this partner in the
//! past (`own` error); only days long enough ago to be clear of the present fall count.

use super::JUDGED_FROM;
use super::finding::Finding;
use super::history::History;
use super::network::weighted_median;
use super::price::Evidence;
use super::series::Day;
use super::tail::{Expectation, mixed_low_tail};

/// Window lengths in days, short for a sudden stop and long for a slow fade.
const WINDOWS: [usize; 14] = [2, 3, 5, 7, 10, 14, 21, 28, 35, 42, 56, 70, 84, 112];
/// No window begins before four full weeks of baseline.
const BASELINE_FROM: Day = 28;
/// A window tells only of falls to less than 85 % of the expected.
const FALLEN_BELOW: f64 = 0.85;
/// "Still low now" is asked over the last 3, 7, 14 and 28 days ...
const NOW_DAYS: [usize; 4] = [3, 7, 14, 28];
/// ... if they were to bring 8 clicks or more, and answered yes below 75 %.
const NOW_MIN_CLICKS: f64 = 8.0;
const NOW_BELOW: f64 = 0.75;
/// Deviations below which no tail is computed: it could not list anybody.
const MIN_DEVIATIONS: f64 = 1.5;
/// Half-life in days of what is known about the own forecast error.
const ERROR_HALF_LIFE: f64 = 150.0;
/// Days a forecast must be over before its error counts.
const ERROR_GUARD: usize = 28;
/// Forecasts the network's typical error counts for against the partner's own.
const PRIOR_FORECASTS: f64 = 4.0;
/// Start and floor of the typical error (relative variance), and how much of the median it keeps.
const START_ERROR: f64 = 0.05;
const MIN_ERROR: f64 = 0.002;
const ERROR_SHARE: f64 = 0.5;
/// A partner's error is at least this part of the typical one.
const MIN_OWN_SHARE: f64 = 0.15;
/// Partners needed before the typical error is learned.
const MIN_PARTNERS: usize = 30;
/// Partners feel holidays differently: variance of that, relative to the squared disturbance.
const HOLIDAY_VARIANCE: f64 = 0.09;

/// Number of window lengths.
pub(crate) const COUNT: usize = WINDOWS.len();
/// A forecast of the longest window that is old enough to learn from began so many days ago; its
/// baseline is known, no earlier day is needed.
pub(crate) const REACH_DAYS: usize = 2 * 112 + ERROR_GUARD;

/// Compares one window with its baseline.
#[derive(Debug, Clone, Copy)]
struct Forecast {
    /// Clicks per usual day of the baseline, and the relative variance of its count.
    rate: f64,
    baseline_error: f64,
    exposure: f64,
    expected: f64,
    seen: f64,
}

impl Forecast {
    /// Relative variance of the comparison by chance alone.
    fn chance(&self) -> f64 {
        1.0 / self.expected + self.baseline_error
    }

    /// Squared relative error beyond chance.
    fn excess(&self) -> f64 {
        let error = ((self.seen - self.expected) / self.expected).clamp(-1.0, 1.0);
        error * error - self.chance().min(1.0)
    }
}

/// Weighted excess of a past forecast and its weight.
pub(crate) type Lesson = (f64, f64);

/// One length, with what was learned of how well its forecasts hold. Each learns by itself, so
/// lengths may be looked at side by side.
#[derive(Debug)]
pub(crate) struct Window {
    length: usize,
    /// Typical error of the network's forecasts over this length ...
    pub(crate) typical: f64,
    /// ... and what it was at the beginning of each judged day.
    pub(crate) typicals: Vec<f64>,
    /// Fading sums of the lessons that are old enough, by partner.
    pub(crate) learned: Vec<Lesson>,
}

impl Window {
    /// Returns the window at this place of the lengths.
    pub(crate) fn new(place: usize, partners: usize) -> Self {
        Self {
            length: WINDOWS[place],
            typical: START_ERROR,
            typicals: Vec::new(),
            learned: vec![(0.0, 0.0); partners],
        }
    }

    /// Offers the findings of the window that ends with `day`, and learns from the one that is old
    /// enough by now.
    pub(crate) fn look(
        &mut self,
        history: &History,
        day: Day,
        keep: &mut impl FnMut(usize, Finding),
    ) {
        self.typicals.push(self.typical);
        self.learn(history, day);
        for partner in 0..self.learned.len() {
            let forecast = self.forecast(history, partner, day);
            if let Some(forecast) = forecast
                && let Some(finding) = self.judge(history, partner, day, forecast)
            {
                keep(partner, finding);
            }
        }
    }

    /// Returns a partner's forecast for the window that ends with `day`, if it has a basis.
    fn forecast(&self, history: &History, partner: usize, day: Day) -> Option<Forecast> {
        let length = self.length as f64;
        let from = (day + 1).checked_sub(self.length).filter(|&d| d >= BASELINE_FROM)?;
        let baseline = history.baselines_before(from)[partner];
        let min_weeks = (length / 10.5).clamp(3.0, 6.0);
        if baseline.weeks < min_weeks || history.used.between(partner, from, day + 1) < 0.6 * length
        {
            return None;
        }
        // A silent baseline still promises half a click in all its weeks.
        let rate = baseline.rate.max(0.5 / (7.0 * baseline.weeks));
        let exposure = history.exposure.between(partner, from, day + 1);
        (exposure > 0.0).then(|| Forecast {
            rate,
            baseline_error: 1.0 / (0.8 * baseline.clicks + 0.5),
            exposure,
            expected: rate * exposure,
            seen: history.clicks.between(partner, from, day + 1),
        })
    }

    fn learn(&mut self, history: &History, day: Day) {
        let age = self.length + ERROR_GUARD;
        let due = day.checked_sub(age).filter(|&due| due >= JUDGED_FROM);
        let kept = 0.5_f64.powf(1.0 / ERROR_HALF_LIFE);
        for partner in 0..self.learned.len() {
            let new = due.and_then(|due| self.lesson(history, partner, due));
            let (excess, weight) = new.unwrap_or_default();
            let learned = &mut self.learned[partner];
            *learned = (kept * learned.0 + excess, kept * learned.1 + weight);
        }
        let step = day - JUDGED_FROM;
        if step.is_multiple_of(7) && step >= age + 7 {
            self.learn_typical();
        }
    }

    /// Returns what the forecast for the window that ended with `day` teaches, weighted by what was
    /// typical then.
    fn lesson(&self, history: &History, partner: usize, day: Day) -> Option<Lesson> {
        let forecast = self.forecast(history, partner, day).filter(|f| f.expected > 0.3)?;
        let typical = self.typicals[day - JUDGED_FROM];
        let weight = (typical / (typical + forecast.chance())).powi(2) / self.length as f64;
        Some((weight * forecast.excess(), weight))
    }

    fn learn_typical(&mut self) {
        let mut errors: Vec<(f64, f64)> = self
            .learned
            .iter()
            .filter(|(_, weight)| *weight > 1e-3)
            .map(|(excess, weight)| (excess / weight, weight.min(3.0)))
            .collect();
        if errors.len() >= MIN_PARTNERS {
            let median = weighted_median(&mut errors).unwrap_or(0.0).max(0.0);
            self.typical = (0.5 * self.typical + 0.5 * ERROR_SHARE * median).max(MIN_ERROR);
        }
    }

    fn own_error(&self, partner: usize) -> f64 {
        let (excess, weight) = self.learned[partner];
        let own = (PRIOR_FORECASTS * self.typical + excess) / (PRIOR_FORECASTS + weight);
        own.max(MIN_OWN_SHARE * self.typical)
    }

    fn judge(
        &self,
        history: &History,
        partner: usize,
        day: Day,
        forecast: Forecast,
    ) -> Option<Finding> {
        let Forecast { rate, baseline_error, exposure, expected, seen } = forecast;
        let from = day + 1 - self.length;
        if expected <= 0.5 || seen / expected >= FALLEN_BELOW {
            return None;
        }
        let own = self.own_error(partner);
        let is_low = |known: f64| {
            let deviation = (expected + expected * expected * (known + own)).sqrt();
            expected - seen > MIN_DEVIATIONS * deviation
        };
        // Most partners are not, also without holidays.
        if !is_low(baseline_error) || !self.is_low_now(history, partner, day, rate) {
            return None;
        }
        let disturbance = history.disturbance(partner, from, day + 1) / exposure;
        let holiday = HOLIDAY_VARIANCE * disturbance / (self.length.min(5) as f64).sqrt();
        let known = baseline_error + holiday;
        if !is_low(known) {
            return None;
        }
        let p_value = mixed_low_tail(seen, Expectation { mean: expected, known, own });
        let evidence = Evidence::Window(self.length);
        Some(Finding::new(evidence, p_value, rate, seen, expected, known + own, from))
    }

    fn is_low_now(&self, history: &History, partner: usize, day: Day, rate: f64) -> bool {
        NOW_DAYS.iter().take_while(|&&days| days <= self.length).all(|days| {
            let from = day + 1 - days;
            let expected = rate * history.exposure.between(partner, from, day + 1);
            expected < NOW_MIN_CLICKS
                || history.raw.between(partner, from, day + 1) <= NOW_BELOW * expected
        })
    }
}
