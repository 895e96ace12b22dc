//! Silence of partners with few clicks, judged by days with a click instead of clicks.
//!
//! One visitor may click several times a day, so counts of a sparse partner lie; whether a day had
//! any click does not. The share of such days before the last click says how long a silence is
//! usual (beta-geometric).

use super::finding::Finding;
use super::history::History;
use super::price::Evidence;
use super::series::Day;
use super::tail::silence_tail;

/// Half a year before the last click.
const REFERENCE_DAYS: usize = 182;
const MIN_REFERENCE_DAYS: f64 = 21.0;
/// The last click must lie after four weeks of history.
const KNOWN_FROM: Day = 28;
/// Three days with a click, by the half day that the prior adds.
const MIN_ACTIVE: f64 = 3.5;
/// Partners seen on more of their days are not sparse: the windows judge them better.
const SPARSE_BELOW: f64 = 0.6;
/// Shorter silences say nothing.
const MIN_SILENCE_DAYS: usize = 7;

/// The silence of one partner since its last click on a used day.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Silence {
    pub(crate) last: Option<Day>,
    /// Used days since then, and their exposure.
    pub(crate) used: f64,
    pub(crate) exposure: f64,
    /// What was usual before, once the silence is worth judging.
    pub(crate) reference: Option<Reference>,
}

/// The days before the last click.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Reference {
    pub(crate) days: f64,
    pub(crate) with_click: f64,
    pub(crate) clicks: f64,
    pub(crate) exposure: f64,
}

impl Silence {
    /// Takes in a day that the history has just learned.
    pub(crate) fn pass_day(&mut self, history: &History, partner: usize, day: Day) {
        if history.raw.on(partner, day) > 0.0 {
            *self = Self { last: Some(day), ..Self::default() };
            return;
        }
        let Some(last) = self.last.filter(|&last| last > KNOWN_FROM) else { return };
        self.used += history.used.on(partner, day);
        self.exposure += history.exposure.on(partner, day);
        if day == last + MIN_SILENCE_DAYS {
            self.reference = Some(Reference::before(history, partner, last));
        }
    }

    /// Returns what the silence says at the end of the last day passed.
    pub(crate) fn judge(&self) -> Option<Finding> {
        let (last, before) = (self.last?, self.reference?);
        let (a, b) = (before.with_click + 0.5, before.days - before.with_click + 0.5);
        let is_sparse = a >= MIN_ACTIVE && a / (a + b) < SPARSE_BELOW;
        if !is_sparse || before.days < MIN_REFERENCE_DAYS || self.used < MIN_SILENCE_DAYS as f64 {
            return None;
        }
        let rate = before.clicks / before.exposure.max(1e-9);
        let expected = rate * self.exposure;
        let p_value = silence_tail(a, b, self.used);
        Some(Finding::new(Evidence::Silence, p_value, rate, 0.0, expected, 1.0 / a, last + 1))
    }
}

impl Reference {
    fn before(history: &History, partner: usize, last: Day) -> Self {
        let from = last.saturating_sub(REFERENCE_DAYS);
        let with_click = (from..last).filter(|&day| history.raw.on(partner, day) > 0.0).count();
        Self {
            days: history.used.between(partner, from, last),
            with_click: with_click as f64,
            clicks: history.clicks.between(partner, from, last),
            exposure: history.exposure.between(partner, from, last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::series::PartnerSeries;
    use super::*;

    /// Every fourth day two clicks, the last of them on day 196.
    fn findings(clicks: impl Fn(Day) -> u32) -> Vec<(Day, Finding)> {
        let clicks = (0..260).map(|day| if day < 200 { clicks(day) } else { 0 }).collect();
        let partners = [PartnerSeries { clicks, ..PartnerSeries::default() }];
        let mut history = History::of(&partners);
        let mut silence = Silence::default();
        let mut found = Vec::new();
        for day in 0..260 {
            history.learn_series(&partners);
            silence.pass_day(&history, 0, day);
            found.extend(silence.judge().filter(|_| day >= 60).map(|finding| (day, finding)));
        }
        found
    }

    #[test]
    fn strength_is_the_product_of_idle_days() {
        let found = findings(|day| 2 * u32::from(day % 4 == 0));
        assert_eq!(found[0].0, 196 + 7, "a silence of less than a week says nothing");
        let (day, finding) = found[23];
        // 45 of the 182 days before the last click had one: Beta(45.5, 137.5).
        let idle: f64 = (0..day - 196).map(|k| (137.5 + k as f64) / (183.0 + k as f64)).product();
        assert!((f64::from(finding.strength) + idle.log10()).abs() < 1e-4, "{finding:?}");
        assert_eq!(finding.since(), 197);
    }

    #[test]
    fn partner_seen_on_most_days_is_left_to_the_windows() {
        assert!(findings(|day| u32::from(day % 3 != 0)).is_empty());
    }
}
