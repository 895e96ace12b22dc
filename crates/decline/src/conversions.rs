//! Conversions that fall while clicks hold: the partner still sends people, but the wrong ones.

use super::history::History;
use super::series::Day;
use super::tail::low_tail;
use super::totals::Totals;

/// Conversions are rare and late: only longer windows tell.
const WINDOWS: [usize; 4] = [7, 14, 28, 56];
/// The conversion rate is learned from 24 weeks before the window.
const REFERENCE_DAYS: usize = 168;
const MIN_CONVERSIONS: f64 = 8.0;
/// With fewer of them in so many days there is nothing to tell.
pub const MIN_COUNT: i64 = 8;
/// Days before the judged one that the longest window and its reference reach back.
pub const REACH_DAYS: usize = 223;
const MIN_EXPECTED: f64 = 3.0;
const FALLEN_BELOW: f64 = 0.6;
/// Relative variance of a conversion rate that has not changed.
const RATE_VARIANCE: f64 = 0.08;
const LISTED_AT: f64 = 1e-4;

/// Describes a fall of conversions at unchanged clicks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConversionFall {
    /// First day of the window that shows it best.
    pub since: Day,
    /// Conversions expected of the window's clicks.
    pub expected: f64,
    /// Conversions seen.
    pub observed: f64,
    /// Chance of so few.
    pub p_value: f64,
}

/// Returns the clearest fall of conversions in the windows that end with `day`.
pub(crate) fn fall(
    history: &History,
    conversions: &[u32],
    partner: usize,
    day: Day,
) -> Option<ConversionFall> {
    let first = day.saturating_sub(REACH_DAYS);
    // Hardly any partner has enough of them.
    if conversions[first..=day].iter().sum::<u32>() < MIN_CONVERSIONS as u32 {
        return None;
    }
    // Cut on the days on which clicks are cut, and by the same part.
    let mut totals = Totals::<f64>::new(1, first);
    for (today, &n) in (first..).zip(&conversions[first..=day]) {
        let raw = history.raw.on(partner, today).max(1.0);
        let kept = (history.clicks.on(partner, today) / raw).min(1.0);
        totals.begin_day();
        totals.add(0, today, f64::from(n) * kept);
    }
    WINDOWS
        .iter()
        .filter_map(|days| {
            let since = (day + 1).checked_sub(*days)?;
            let from = since.saturating_sub(REFERENCE_DAYS);
            let before = totals.between(0, from, since);
            let rate = (before + 0.5) / (history.clicks.between(partner, from, since) + 1.0);
            let expected = rate * history.clicks.between(partner, since, day + 1);
            let observed = totals.between(0, since, day + 1);
            let tells = before >= MIN_CONVERSIONS && expected > MIN_EXPECTED;
            if !tells || observed >= FALLEN_BELOW * expected {
                return None;
            }
            let variance = 1.0 / (before + 0.5) + RATE_VARIANCE;
            let p_value = low_tail(observed, expected, variance);
            Some(ConversionFall { since, expected, observed, p_value })
        })
        .filter(|fall| fall.p_value <= LISTED_AT)
        .min_by(|a, b| a.p_value.total_cmp(&b.p_value))
}
