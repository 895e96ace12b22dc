//! The first day of a fall.
//!
//! The window that shows a fall best need not begin with it. Given the level before and the level
//! now, the likeliest day of the change is the one from which the days speak most for the new
//! level: the classical change point of a Poisson mean.

use super::history::History;
use super::series::Day;

/// A fall is looked for up to four weeks before the window that first showed it.
const LOOK_BACK_DAYS: usize = 28;

/// Returns the likeliest first day of a fall to `kept` of `rate`, first seen from `seen_since` on.
pub(super) fn onset(
    history: &History,
    partner: usize,
    (rate, kept): (f64, f64),
    seen_since: Day,
    day: Day,
) -> Day {
    let earliest = seen_since.saturating_sub(LOOK_BACK_DAYS);
    let mut best = (0.0, seen_since);
    let mut gain = 0.0;
    for from in (earliest..=day).rev() {
        let clicks = history.clicks.on(partner, from);
        gain += clicks * kept.ln() + rate * history.exposure.on(partner, from) * (1.0 - kept);
        if gain > best.0 {
            best = (gain, from);
        }
    }
    best.1
}
