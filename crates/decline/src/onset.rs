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
pub(crate) fn onset(
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

#[cfg(test)]
mod tests {
    use super::super::series::PartnerSeries;
    use super::*;

    #[test]
    fn fall_is_dated_by_the_days_themselves_wherever_it_was_first_seen() {
        let clicks = (0..160).map(|day| if day < 140 { 10 } else { 2 }).collect();
        let partner = PartnerSeries { clicks, ..PartnerSeries::default() };
        let history = History::learn(&[partner], 160);
        for seen_since in [133, 140, 147, 155] {
            assert_eq!(onset(&history, 0, (10.0, 0.2), seen_since, 159), 140);
        }
        // Further back than four weeks it is not looked for.
        assert_eq!(onset(&history, 0, (20.0, 0.5), 100, 159), 72);
    }
}
