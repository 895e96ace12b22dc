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
pub const PRESENT_DAYS: usize = 14;

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
    /// The page to which more than half of its clicks go, if it is not the program's own.
    pub page: Option<String>,
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

/// Where the clicks of partners mostly come from and go to.
#[derive(Clone, Debug, Default)]
pub struct Habits {
    /// The country of most clicks.
    pub countries: HashMap<PartnerId, String>,
    /// The page of more than half of the clicks, where it is not the program's own.
    pub pages: HashMap<PartnerId, String>,
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
pub fn findings(judgment: &Judgment, habits: &Habits) -> Vec<Finding> {
    judgment.partners.iter().map(|judged| finding(judgment, judged, habits)).collect()
}

/// Returns the fall of the whole network that stands on the day judged.
pub fn network_fall(judgment: &Judgment) -> Option<NetworkFall> {
    judgment.incident.map(|incident| NetworkFall {
        since: judgment.date(incident.since),
        kept_percent: whole(100.0 * incident.factor),
    })
}

fn finding(judgment: &Judgment, judged: &Judged, habits: &Habits) -> Finding {
    let (subject, assessment) = (&judged.subject, &judged.assessment);
    let last = judgment.last();
    let (is_judged, listed) = match &assessment.verdict {
        Verdict::TooYoung { .. } | Verdict::Away => (false, None),
        Verdict::NotListed => (true, None),
        Verdict::Listed(decline) => (true, Some(of_clicks(judgment, decline))),
    };
    let fall = assessment.conversion_fall.as_ref().filter(|_| is_judged);
    let rate = judged.present_rate;
    Finding {
        partner_id: subject.partner_id,
        rank: subject.rank.clone(),
        owner: subject.owner.clone(),
        country: habits.countries.get(&subject.partner_id).cloned(),
        page: habits.pages.get(&subject.partner_id).cloned(),
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
