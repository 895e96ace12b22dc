//! The hour in which what many share began: "since 14:00" tells which release or which outage.
//!
//! The clicks of all members together are laid beside what the same hours of the four weeks before
//! brought. The hour that splits the days around into a usual and a fallen part with the greatest
//! Poisson likelihood is it, unless hours far apart split them as well. Pure.
#![expect(clippy::float_arithmetic, reason = "likelihoods, no amount of money")]

use std::collections::HashMap;

use chrono::{Duration, NaiveDate};
use chrono_tz::Tz;

use crate::clock::Timestamp;

/// The first day of a fall is known to about two days.
const BEFORE_DAYS: i64 = 3;
const AFTER_DAYS: i64 = 3;
/// The weeks that tell what is usual.
const WEEKS: i64 = 4;
/// A split at this hour is so many times likelier than none, as a logarithm.
const GAIN_MIN: f64 = 6.0;
/// What remains is at most this part of what came before.
const KEPT_MAX: f64 = 0.8;
/// Hours whose likelihood is within a factor of e² of the best could be it as well…
const NEAR: f64 = 2.0;
/// …and may lie so many hours apart, or the hour is not known.
const DOUBT_HOURS: usize = 4;

/// The hours around the first day of a fall.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// The first hour that may be it.
    pub from: Timestamp,
    /// The end of the hours looked at.
    pub until: Timestamp,
}

impl Span {
    /// Returns the hours around a day, those before `today` alone; none where no midnight is.
    pub fn around(since: NaiveDate, today: NaiveDate, zone: Tz) -> Option<Self> {
        let midnight = |day: NaiveDate| {
            let time = day.and_hms_opt(0, 0, 0)?.and_local_timezone(zone).earliest()?;
            Some(time.to_utc())
        };
        let from = midnight(since - Duration::days(BEFORE_DAYS))?;
        let until = midnight(today.min(since + Duration::days(AFTER_DAYS)))?;
        (from < until).then_some(Self { from, until })
    }

    /// Returns the first hour that must be known.
    pub fn learned_from(self) -> Timestamp {
        self.from - Duration::weeks(WEEKS)
    }
}

/// Returns the hour in which the clicks fell, if they tell it.
pub fn began(span: Span, clicks: &HashMap<Timestamp, i64>) -> Option<Timestamp> {
    let on = |hour: Timestamp| *clicks.get(&hour).unwrap_or(&0) as f64;
    let n_hours = usize::try_from((span.until - span.from).num_hours()).ok()?;
    let hour = |i: usize| Some(span.from + Duration::hours(i64::try_from(i).ok()?));
    let mut seen = Vec::with_capacity(n_hours);
    let mut usual = Vec::with_capacity(n_hours);
    for i in 0..n_hours {
        let at = hour(i)?;
        seen.push(on(at));
        let weeks = (1..=WEEKS).map(|week| on(at - Duration::weeks(week)));
        // An hour without a click in four weeks may have one.
        usual.push(weeks.sum::<f64>() / WEEKS as f64 + 0.05);
    }
    let gains: Vec<f64> = (0..n_hours).map(|i| gain(&seen, &usual, i)).collect();
    let best = gains.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if best < GAIN_MIN {
        return None;
    }
    let near = |gain: &f64| best - gain <= NEAR;
    let first = gains.iter().position(near)?;
    let last = gains.iter().rposition(near)?;
    let likeliest = gains.iter().position(|gain| *gain >= best)?;
    if last - first > DOUBT_HOURS { None } else { hour(likeliest) }
}

/// How much likelier a fall in hour `i` makes the hours than no fall, as a logarithm.
fn gain(seen: &[f64], usual: &[f64], i: usize) -> f64 {
    let part = |range: std::ops::Range<usize>| -> (f64, f64) {
        (seen[range.clone()].iter().sum(), usual[range].iter().sum())
    };
    let likelihood = |(n, mean): (f64, f64)| if n > 0.0 { n * (n / mean).ln() - n } else { 0.0 };
    let (before, after) = (part(0..i), part(i..seen.len()));
    let is_fall = before.0 > 0.0 && after.0 / after.1 <= KEPT_MAX * before.0 / before.1;
    if is_fall {
        likelihood(before) + likelihood(after) - likelihood(part(0..seen.len()))
    } else {
        f64::NEG_INFINITY
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::Timelike as _;

    const ZONE: Tz = chrono_tz::Europe::Berlin;

    fn span() -> Span {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        Span::around(day("2026-11-20"), day("2026-11-22"), ZONE).unwrap()
    }

    /// `by_day` clicks in each hour of daylight; from `stop` on only `kept` percent of them.
    fn clicks(by_day: i64, stop: &str, kept: i64) -> HashMap<Timestamp, i64> {
        let (span, stop) = (span(), stop.parse::<Timestamp>().unwrap());
        let hours = (span.until - span.learned_from()).num_hours();
        (0..hours)
            .map(|i| span.learned_from() + Duration::hours(i))
            .filter(|at| (7..22).contains(&at.hour()))
            .map(|at| (at, if at >= stop { by_day * kept / 100 } else { by_day }))
            .collect()
    }

    #[test]
    fn the_hour_of_a_stop_is_named() {
        let span = span();
        assert_eq!(span.from.to_rfc3339(), "2026-11-16T23:00:00+00:00");
        for (by_day, kept) in [(30, 0), (30, 20), (200, 60)] {
            let found = began(span, &clicks(by_day, "2026-11-20T13:00:00Z", kept));
            assert_eq!(found, Some("2026-11-20T13:00:00Z".parse().unwrap()), "{by_day} {kept}");
        }
    }

    #[test]
    fn a_night_or_few_clicks_leave_the_hour_open() {
        // Nobody clicks between 22:00 and 07:00, so every hour of the night would do.
        assert_eq!(began(span(), &clicks(30, "2026-11-20T23:00:00Z", 0)), None);
        assert_eq!(began(span(), &clicks(30, "2027-01-01T00:00:00Z", 0)), None, "no fall");
        assert_eq!(began(span(), &HashMap::new()), None);
    }
}
