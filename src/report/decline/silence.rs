//! Silence of partners with few clicks, judged by days with a click instead of clicks.
//!
//! One visitor may click several times a day, so counts of a sparse partner lie; whether a day had
//! any click does not. The share of such days before the last click says how long a silence is
//! usual (beta-geometric).

use super::finding::Finding;
use super::history::History;
use super::price::Evidence;
use super::series::{Day, PartnerSeries};
use super::tail::silence_tail;
use super::totals::Totals;

/// Half a year before the last click.
const REFERENCE_DAYS: usize = 182;
const MIN_REFERENCE_DAYS: f64 = 21.0;
/// The last click must lie after four weeks of history.
const KNOWN_FROM: Day = 28;
/// Three days with a click, by the half day that the prior adds.
const MIN_ACTIVE: f64 = 3.5;
/// Partners seen on more of their days are not sparse: the windows judge them better.
const SPARSE_BELOW: f64 = 0.6;
const MIN_SILENCE: f64 = 7.0;

/// Offers the findings of silent partners on all days from `from` on to `keep`.
pub(super) fn scan(
    partners: &[PartnerSeries],
    history: &History,
    from: Day,
    mut keep: impl FnMut(usize, Day, Finding),
) {
    let active = active_days(partners, history);
    for partner in 0..partners.len() {
        let mut last = None;
        for day in 0..history.days {
            if active.on(partner, day) > 0.0 {
                last = Some(day);
            }
            if let Some(last) = last.filter(|&last| day >= from && last > KNOWN_FROM)
                && let Some(finding) = judge(history, &active, partner, last, day)
            {
                keep(partner, day, finding);
            }
        }
    }
}

fn active_days(partners: &[PartnerSeries], history: &History) -> Totals {
    let mut active = Totals::new(history.days, partners.len());
    for day in 0..history.days {
        for (i, partner) in partners.iter().enumerate() {
            let seen = partner.clicks[day] > 0 && history.exposure.on(i, day) > 0.0;
            active.add(i, day, f64::from(u8::from(seen)));
        }
    }
    active
}

fn judge(
    history: &History,
    active: &Totals,
    partner: usize,
    last: Day,
    day: Day,
) -> Option<Finding> {
    let from = last.saturating_sub(REFERENCE_DAYS);
    let days = history.used.between(partner, from, last);
    let with_click = active.between(partner, from, last);
    let silence = history.used.between(partner, last + 1, day + 1);
    let (a, b) = (with_click + 0.5, days - with_click + 0.5);
    let is_sparse = a >= MIN_ACTIVE && a / (a + b) < SPARSE_BELOW;
    if !is_sparse || days < MIN_REFERENCE_DAYS || silence < MIN_SILENCE {
        return None;
    }
    let clicks = history.clicks.between(partner, from, last);
    let rate = clicks / history.exposure.between(partner, from, last).max(1e-9);
    let expected = rate * history.exposure.between(partner, last + 1, day + 1);
    let p_value = silence_tail(a, b, silence);
    Some(Finding::new(Evidence::Silence, p_value, rate, 0.0, expected, 1.0 / a, last + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every fourth day two clicks, the last of them on day 196.
    fn findings(clicks: impl Fn(Day) -> u32) -> Vec<(Day, Finding)> {
        let clicks = (0..260).map(|day| if day < 200 { clicks(day) } else { 0 }).collect();
        let partners = [PartnerSeries { clicks, ..PartnerSeries::default() }];
        let history = History::learn(&partners, 260);
        let mut found = Vec::new();
        scan(&partners, &history, 60, |_, day, finding| found.push((day, finding)));
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
