//! What a day's findings lead to: cases to open and to follow, falls that are only noted. Pure.

use std::collections::HashMap;

use chrono::NaiveDate;

use super::case::{Kind, Listing};
use super::finding::Finding;
use super::shared::Shared;
use crate::ids::{CaseId, PartnerId};

/// Back above so much of what was expected, a partner has recovered.
const RECOVERED_PERCENT: i64 = 80;
/// The detector's own release counts at once; a rate of two weeks needs as many days of a case,
/// or it would still hold clicks from before the fall.
const RATE_DAYS: i64 = 14;
/// Longer than that nobody follows a closed case: the effect of a remedy is told after 28 days.
pub const FOLLOWED_DAYS: i64 = 120;

/// What the plan needs to know of a case: all open ones, and closed ones that are followed.
#[derive(Clone, Debug)]
pub struct Known {
    /// Key of the row.
    pub case_id: CaseId,
    /// Whose.
    pub partner_id: PartnerId,
    /// Text of [`Kind`].
    pub kind: String,
    /// Whether it goes on.
    pub is_open: bool,
    /// Day of the opening.
    pub opened_on: NaiveDate,
    /// First day of the fall.
    pub since: NaiveDate,
    /// What was expected in 28 days at the opening.
    pub opened_expected_28d: i64,
    /// Since when the partner is back.
    pub recovered_on: Option<NaiveDate>,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A case of the finding at this place.
    Open {
        /// Place of the finding.
        place: usize,
        /// Will not or cannot.
        kind: Kind,
        /// The figures.
        listing: Listing,
    },
    /// A day in the life of a case.
    Follow {
        /// The case.
        case_id: CaseId,
        /// New figures, if the partner is still listed.
        listing: Option<Listing>,
        /// What is left of the old level, percent, if that can be told.
        kept_percent: Option<i32>,
        /// Since when the partner is back; none takes a recovery back that did not last.
        recovered_on: Option<NaiveDate>,
        /// Place of the shared cause that explains it.
        cause: Option<usize>,
    },
    /// Listed, but no case: watched only, or explained.
    Note {
        /// Place of the finding.
        place: usize,
        /// The figures.
        listing: Listing,
        /// Place of the shared cause.
        cause: Option<usize>,
    },
}

/// Decides what the day leads to.
pub fn plan(day: NaiveDate, findings: &[Finding], causes: &[Shared], known: &[Known]) -> Vec<Step> {
    let places: HashMap<PartnerId, usize> =
        findings.iter().enumerate().map(|(place, f)| (f.partner_id, place)).collect();
    let followed = known.iter().filter_map(|case| {
        let place = *places.get(&case.partner_id)?;
        Some(follow(day, case, place, &findings[place], causes))
    });
    let has_case = |f: &Finding| known.iter().any(|c| c.is_open && c.partner_id == f.partner_id);
    let fresh = findings.iter().enumerate().filter(|(_, f)| !has_case(f));
    followed.chain(fresh.filter_map(|(place, f)| begin(place, f, causes))).collect()
}

/// A fall in clicks comes before one in conversions: who sends nobody cannot sell either.
fn begin(place: usize, finding: &Finding, causes: &[Shared]) -> Option<Step> {
    let (kind, listing) = match (&finding.listed, &finding.cannot_sell) {
        (Some(listing), _) => (Kind::WillNotSell, listing.clone()),
        (None, Some(listing)) => (Kind::CannotSell, listing.clone()),
        (None, None) => return None,
    };
    let cause = explained(causes, place, &listing);
    if cause.is_some() || listing.severity == "watch" {
        return Some(Step::Note { place, listing, cause });
    }
    Some(Step::Open { place, kind, listing })
}

fn explained(causes: &[Shared], place: usize, listing: &Listing) -> Option<usize> {
    causes.iter().position(|cause| cause.explains(place, listing.since))
}

fn follow(
    day: NaiveDate,
    case: &Known,
    place: usize,
    finding: &Finding,
    causes: &[Shared],
) -> Step {
    let is_clicks = case.kind == Kind::WillNotSell.as_str();
    let listing = if is_clicks { &finding.listed } else { &finding.cannot_sell };
    let kept = match (is_clicks, finding.present_28d, listing) {
        (true, Some(present), _) => Some(percent_of(present, case.opened_expected_28d)),
        (false, _, Some(listing)) => Some(percent_of(listing.observed_28d, listing.expected_28d)),
        (true, None, _) | (false, _, None) => None,
    };
    let is_old_enough = (day - case.opened_on).num_days() >= RATE_DAYS;
    let is_back = finding.is_judged
        && listing.is_none()
        && if is_clicks {
            let regained = kept.is_some_and(|kept| kept >= RECOVERED_PERCENT);
            finding.fallen_since.is_none() || (is_old_enough && regained)
        } else {
            is_old_enough
        };
    // A day without verdict says nothing about a recovery.
    let recovered_on = match (is_back, finding.is_judged) {
        (true, _) => Some(case.recovered_on.unwrap_or(day)),
        (false, true) if listing.is_some() => None,
        (false, _) => case.recovered_on,
    };
    Step::Follow {
        case_id: case.case_id,
        listing: listing.clone().filter(|_| case.is_open),
        kept_percent: kept.map(|kept| i32::try_from(kept).unwrap_or(i32::MAX)),
        recovered_on,
        cause: listing
            .as_ref()
            .filter(|_| case.is_open)
            .and_then(|_| causes.iter().position(|cause| cause.explains(place, case.since))),
    }
}

fn percent_of(part: i64, whole: i64) -> i64 {
    let whole = whole.max(1);
    (200 * part + whole) / (2 * whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::case::tests::listing;
    use crate::incident::shared::Scope;
    use crate::incident::shared::tests::{day, finding};

    fn listed(severity: &str) -> Finding {
        let since = "2026-11-15";
        let listed = Some(listing(severity, since));
        Finding { listed, present_28d: Some(0), ..finding("DE", Some(since)) }
    }

    fn known(finding: &Finding) -> Known {
        Known {
            case_id: CaseId::new(),
            partner_id: finding.partner_id,
            kind: Kind::WillNotSell.as_str().to_owned(),
            is_open: true,
            opened_on: day("2026-11-18"),
            since: day("2026-11-15"),
            opened_expected_28d: 560,
            recovered_on: None,
        }
    }

    fn today() -> NaiveDate {
        day("2026-11-20")
    }

    #[test]
    fn warnings_open_cases_and_watches_are_noted() {
        let findings = [
            listed("watch"),
            listed("warning"),
            listed("critical"),
            listed("silent"),
            finding("DE", None),
        ];
        let steps = plan(today(), &findings, &[], &[]);
        assert!(matches!(steps[0], Step::Note { place: 0, cause: None, .. }), "{steps:?}");
        for (step, expected) in steps[1..].iter().zip(1..) {
            assert!(
                matches!(step, Step::Open { place, kind: Kind::WillNotSell, .. } if *place == expected),
                "{step:?}"
            );
        }
        assert_eq!(steps.len(), 4);
    }

    #[test]
    fn a_partner_with_an_open_case_gets_no_second() {
        let findings = [listed("silent")];
        let case = known(&findings[0]);
        let steps = plan(today(), &findings, &[], std::slice::from_ref(&case));
        assert!(
            matches!(
                &steps[..],
                [Step::Follow {
                    listing: Some(_),
                    kept_percent: Some(0),
                    recovered_on: None,
                    cause: None,
                    ..
                }]
            ),
            "{steps:?}"
        );
        let closed = Known { is_open: false, ..case };
        let steps = plan(today(), &findings, &[], &[closed]);
        assert!(matches!(&steps[..], [Step::Follow { listing: None, .. }, Step::Open { .. }]));
    }

    #[test]
    fn what_an_incident_explains_opens_no_case() {
        let mut findings = vec![listed("silent"), listed("silent")];
        findings[1].listed = Some(listing("silent", "2026-10-01"));
        let cause = Shared {
            scope: Scope::Network,
            since: day("2026-11-15"),
            members: vec![0, 1],
            n_judged: 2,
            kept_percent: None,
        };
        let steps = plan(today(), &findings, &[cause], &[]);
        assert!(
            matches!(
                &steps[..],
                [Step::Note { place: 0, cause: Some(0), .. }, Step::Open { place: 1, .. }]
            ),
            "{steps:?}"
        );
    }

    #[test]
    fn traffic_without_sales_is_a_case_of_its_own_kind() {
        let mut sells_nothing = finding("DE", None);
        sells_nothing.cannot_sell = Some(listing("warning", "2026-11-01"));
        let mut neither = listed("warning");
        neither.cannot_sell = sells_nothing.cannot_sell.clone();
        let steps = plan(today(), &[sells_nothing, neither], &[], &[]);
        let kinds: Vec<Kind> = steps
            .iter()
            .filter_map(|s| match s {
                Step::Open { kind, .. } => Some(*kind),
                Step::Follow { .. } | Step::Note { .. } => None,
            })
            .collect();
        assert_eq!(kinds, [Kind::CannotSell, Kind::WillNotSell]);
    }

    #[test]
    fn recovery_is_noted_kept_and_taken_back() {
        let base = finding("DE", None);
        let fallen = Some(day("2026-11-15"));
        let relisted = Some(listing("warning", "2026-11-15"));
        let earlier = Some(day("2026-11-19"));
        // Fallen, listed, clicks, day of the opening, noted before: noted now.
        for (fallen_since, listed, present, opened, before, expected) in [
            (None, None, 300, "2026-11-18", None, Some(today())),
            (fallen, None, 448, "2026-11-06", None, Some(today())),
            (fallen, None, 445, "2026-11-06", None, None),
            (fallen, None, 448, "2026-11-07", None, None),
            (None, None, 560, "2026-11-01", earlier, earlier),
            (fallen, None, 100, "2026-11-01", earlier, earlier),
            (fallen, relisted, 0, "2026-11-01", earlier, None),
        ] {
            let text = format!("{fallen_since:?} {present} {opened} {before:?}");
            let finding =
                Finding { fallen_since, listed, present_28d: Some(present), ..base.clone() };
            let case = Known { opened_on: day(opened), recovered_on: before, ..known(&finding) };
            match &plan(today(), &[finding], &[], &[case])[..] {
                [Step::Follow { recovered_on, .. }] => {
                    assert_eq!(*recovered_on, expected, "{text}")
                }
                steps => panic!("{text}: {steps:?}"),
            }
        }
    }

    #[test]
    fn an_absence_is_no_recovery() {
        let mut away = finding("DE", None);
        away.is_judged = false;
        let case = known(&away);
        let steps = plan(today(), &[away], &[], &[case]);
        assert!(matches!(steps[..], [Step::Follow { recovered_on: None, .. }]), "{steps:?}");
    }
}
