//! What the detector says of each partner, in whole figures that can be stored and acted on.
#![expect(clippy::float_arithmetic, reason = "statistics of click counts become whole figures")]

use std::collections::HashMap;

use chrono::NaiveDate;

use super::case::Listing;
use crate::ids::PartnerId;
use crate::report::decline::judgment::{Judged, Judgment};
use crate::report::decline::table::{cause, severity};
use crate::report::decline::{Cause, ConversionFall, Decline, Verdict, remedy};

/// Figures are told for four weeks.
const FIGURE_DAYS: f64 = 28.0;
/// The present is the last two weeks: a recovery must hold so long.
const PRESENT_DAYS: usize = 14;
/// What the network usually does is the median of sixteen weeks: eight weeks of outage stand out.
const USUAL_DAYS: usize = 112;
/// Below 85 % of that for three days the whole network has fallen, as the detector has it.
const LOW: f64 = 0.85;
const LOW_DAYS: usize = 3;

/// A partner on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Who.
    pub partner_id: PartnerId,
    /// A to D.
    pub rank: String,
    /// Who looks after it.
    pub owner: Option<String>,
    /// Where most of its clicks come from.
    pub country: Option<String>,
    /// Whether the detector may judge it at all.
    pub is_judged: bool,
    /// First day of a fall from which it has not come back, listed or not.
    pub fallen_since: Option<NaiveDate>,
    /// Its fall in clicks, if it is on the day's list.
    pub listed: Option<Listing>,
    /// Its fall in conversions at unchanged clicks.
    pub cannot_sell: Option<Listing>,
    /// Clicks in 28 usual days at the rate of the last two weeks; none without usual days.
    pub present_28d: Option<i64>,
}

/// A fall of the whole network, as the detector's factor shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkFall {
    /// Its first day.
    pub since: NaiveDate,
    /// What is left of the usual clicks, percent.
    pub kept_percent: i64,
}

/// Returns what the judgment says of every partner.
pub fn findings(judgment: &Judgment, countries: &HashMap<PartnerId, String>) -> Vec<Finding> {
    judgment.partners.iter().map(|judged| finding(judgment, judged, countries)).collect()
}

/// Returns the fall of the whole network that stands on the day judged.
///
/// The detector's factor is relative to a level that it learns slowly, and after the first months
/// of a program it may rest off 1 for long. So a fall is measured against the factor's own last
/// months: else a resting factor would be an outage without end, and explain every decline away.
pub fn network_fall(judgment: &Judgment) -> Option<NetworkFall> {
    let days = judgment.network.days();
    let from = days.saturating_sub(USUAL_DAYS);
    let factors: Vec<f64> = (from..days).map(|day| judgment.network.factor(day)).collect();
    judgment.incident.and(low_stretch(&factors)).map(|(n_days, kept)| NetworkFall {
        since: judgment.date(days - n_days),
        kept_percent: whole(100.0 * kept),
    })
}

/// Returns how many days at the end are low against the median, and what they kept of it.
fn low_stretch(factors: &[f64]) -> Option<(usize, f64)> {
    let mut sorted = factors.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let usual = *sorted.get(factors.len() / 2)?;
    let low: Vec<f64> =
        factors.iter().rev().copied().take_while(|factor| *factor < LOW * usual).collect();
    let kept = low.iter().sum::<f64>() / low.len().max(1) as f64 / usual;
    (low.len() >= LOW_DAYS).then_some((low.len(), kept))
}

fn finding(
    judgment: &Judgment,
    judged: &Judged,
    countries: &HashMap<PartnerId, String>,
) -> Finding {
    let (subject, assessment) = (&judged.subject, &judged.assessment);
    let last = judgment.network.days() - 1;
    let (is_judged, listed) = match &assessment.verdict {
        Verdict::TooYoung { .. } | Verdict::Away => (false, None),
        Verdict::NotListed => (true, None),
        Verdict::Listed(decline) => (true, Some(of_clicks(judgment, decline))),
    };
    let fall = assessment.conversion_fall.as_ref().filter(|_| is_judged);
    let rate = judgment.network.rate(assessment.partner, last, PRESENT_DAYS);
    Finding {
        partner_id: subject.partner_id,
        rank: subject.rank.clone(),
        owner: subject.owner.clone(),
        country: countries.get(&subject.partner_id).cloned(),
        is_judged,
        fallen_since: assessment.state.fallen.map(|fallen| judgment.date(fallen.since)),
        listed,
        cannot_sell: fall.map(|fall| of_conversions(judgment, fall, last)),
        present_28d: rate.map(|rate| whole(FIGURE_DAYS * rate)),
    }
}

fn of_clicks(judgment: &Judgment, decline: &Decline) -> Listing {
    Listing {
        severity: severity(decline.severity).to_owned(),
        since: judgment.date(decline.since),
        expected_28d: whole(FIGURE_DAYS * decline.expected_per_day.value),
        observed_28d: whole(FIGURE_DAYS * decline.observed_per_day.value),
        share_lost_percent: percent(decline.share_lost),
        lost_to_date: whole(decline.lost_to_date.value),
        lost_next_28d: whole(decline.lost_next_28_days.value),
        p_value: format!("{:.1e}", decline.p_value),
        possible_cause: cause(decline.diagnosis.cause).to_owned(),
        cause_share_percent: percent(decline.diagnosis.share),
        evidence: decline.diagnosis.evidence.clone(),
        advice: decline.remedy.to_owned(),
    }
}

/// Visitors come and do not buy: the offer, the page or the audience is wrong.
fn of_conversions(judgment: &Judgment, fall: &ConversionFall, last: usize) -> Listing {
    let to_28d = FIGURE_DAYS / (last + 1 - fall.since) as f64;
    let lost = fall.expected - fall.observed;
    Listing {
        severity: "warning".to_owned(),
        since: judgment.date(fall.since),
        expected_28d: whole(to_28d * fall.expected),
        observed_28d: whole(to_28d * fall.observed),
        share_lost_percent: percent(lost / fall.expected),
        lost_to_date: whole(lost),
        lost_next_28d: whole(to_28d * lost),
        p_value: format!("{:.1e}", fall.p_value),
        possible_cause: cause(Cause::ContentMarketing).to_owned(),
        cause_share_percent: 0,
        evidence: vec![format!(
            "clicks hold, {} conversions where {:.1} were to be expected",
            whole(fall.observed),
            fall.expected
        )],
        advice: remedy(Cause::ContentMarketing).to_owned(),
    }
}

fn whole(figure: f64) -> i64 {
    figure.round() as i64
}

fn percent(share: f64) -> i32 {
    (100.0 * share).round() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_falls_against_its_own_months() {
        for (usual, low, n_low, expected) in [
            (1.0, 0.1, 4, Some((4, 0.1))),
            (1.0, 0.1, 2, None),
            (1.0, 0.9, 30, None),
            // A factor that rests off 1 is no fall, and hides none.
            (0.7, 0.7, 0, None),
            (0.7, 0.07, 3, Some((3, 0.1))),
        ] {
            let mut factors = vec![usual; USUAL_DAYS - n_low];
            factors.extend(vec![low; n_low]);
            let found = low_stretch(&factors).map(|(n, kept)| (n, (100.0 * kept).round() / 100.0));
            assert_eq!(found, expected, "{usual} {low} {n_low}");
        }
        assert_eq!(low_stretch(&[]), None);
    }
}
