//! Our fault or theirs: falls that most partners of a group began together are one incident.
//!
//! Partners do not agree on a day to lose interest. If far more of a group fell within the same
//! days than usually fall (binomial tail), the group's common part is to blame: our tracker or
//! landing page for the whole network, one page for the partners whose links lead there, the
//! market, payment or delivery for a country. The whole network is asked first, then pages, then
//! countries, and who is explained is not counted again. Pure.
#![expect(clippy::float_arithmetic, reason = "probabilities, no amount of money")]

pub mod hour;

use std::collections::BTreeMap;

use chrono::NaiveDate;
use statrs::distribution::{Binomial, DiscreteCDF as _};

use crate::incident::finding::{Finding, NetworkFall};

/// The first day of a fall is known to about two days.
const NEAR_DAYS: i64 = 2;
/// With fewer partners "most" is no evidence.
const GROUP_MIN: usize = 5;
const FALLEN_MIN: usize = 3;
/// At least half of the group must have fallen: the others are not touched by what is shared.
const MOST: f64 = 0.5;
/// So many that fall in the same days come by chance once in 100,000 such groups.
const CHANCE_MAX: f64 = 1e-5;
/// At least two in a hundred partners fall in any five days: a quiet network proves nothing.
const USUAL_MIN: f64 = 0.02;
/// The usual rate is taken from the eight weeks around.
const USUAL_DAYS: i64 = 56;

/// Where links lead that ask for no other page.
pub const OWN_PAGE: &str = "the landing page of the program";

/// What the partners of a group share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Tracker, landing page, offer.
    Network,
    /// A page: host and path of a deep link, or [`OWN_PAGE`].
    Page(String),
    /// A country, ISO 3166-1 alpha-2.
    Country(String),
}

/// A fall that is nobody's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    /// What is shared.
    pub scope: Scope,
    /// First day.
    pub since: NaiveDate,
    /// Places of the partners whose fall it explains.
    pub members: Vec<usize>,
    /// Partners of the group that can be judged.
    pub n_judged: usize,
    /// What is left of the network's usual clicks, percent, where the whole network shows it.
    pub kept_percent: Option<i64>,
}

impl Shared {
    /// Tells whether a fall of the partner at this place that began then is explained.
    pub fn explains(&self, place: usize, since: NaiveDate) -> bool {
        self.members.contains(&place) && (since - self.since).num_days() >= -NEAR_DAYS
    }

    /// Returns the text of the incident; `landing` says what is wrong with the landing page, and
    /// `hour` names the hour in which it began, if that is known.
    pub fn text(&self, landing: Option<&str>, hour: Option<&str>) -> String {
        let (n, of, since) = (self.members.len(), self.n_judged, self.since.to_string());
        let since = hour.unwrap_or(&since);
        match &self.scope {
            Scope::Network => {
                let kept = self.kept_percent.map_or_else(String::new, |kept| {
                    format!("; the whole network is at {kept} % of its usual clicks")
                });
                let landing = landing.map_or_else(String::new, |text| format!("; {text}"));
                format!(
                    "Tracking or landing problem: {n} of {of} partners since {since}{kept}{landing}."
                )
            }
            Scope::Page(page) => format!(
                "Landing problem: {n} of {of} partners whose links lead to {page} since {since}; \
                 open the page and its tracking before you call partners."
            ),
            Scope::Country(code) => format!(
                "Problem in {code}: {n} of {of} partners there since {since}; look at the offer, \
                 payment and delivery in this country before partners."
            ),
        }
    }
}

/// Finds what is shared among the day's falls; at most one cause explains a partner.
pub fn shared(network: Option<NetworkFall>, findings: &[Finding]) -> Vec<Shared> {
    let judged: Vec<usize> = (0..findings.len()).filter(|&i| findings[i].is_judged).collect();
    let whole = match network {
        Some(fall) => Some(Shared {
            scope: Scope::Network,
            since: fall.since,
            members: near_or_after(findings, &judged, fall.since),
            n_judged: judged.len(),
            kept_percent: Some(fall.kept_percent),
        }),
        None => joint_fall(findings, Scope::Network, &judged, &judged),
    };
    let mut causes: Vec<Shared> = whole.into_iter().collect();
    let of_pages = joint_falls(findings, &judged, &causes, Scope::Page, |finding| {
        Some(finding.page.as_deref().unwrap_or(OWN_PAGE))
    });
    causes.extend(of_pages);
    let of_countries = joint_falls(findings, &judged, &causes, Scope::Country, |finding| {
        finding.country.as_deref()
    });
    causes.extend(of_countries);
    causes
}

/// Finds joint falls among the partners that have the same `subject`, those explained left out.
fn joint_falls(
    findings: &[Finding],
    judged: &[usize],
    causes: &[Shared],
    scope: impl Fn(String) -> Scope,
    subject: impl Fn(&Finding) -> Option<&str>,
) -> Vec<Shared> {
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for &place in judged {
        let is_explained = causes.iter().any(|cause| cause.members.contains(&place));
        if let (Some(subject), false) = (subject(&findings[place]), is_explained) {
            groups.entry(subject).or_default().push(place);
        }
    }
    // Where all share one page or country, it is the network.
    if groups.len() < 2 {
        return Vec::new();
    }
    let joint = |(subject, group): (&str, Vec<usize>)| {
        joint_fall(findings, scope(subject.to_owned()), &group, judged)
    };
    groups.into_iter().filter_map(joint).collect()
}

/// Returns the clearest joint fall of a group, if there is one.
fn joint_fall(
    findings: &[Finding],
    scope: Scope,
    group: &[usize],
    judged: &[usize],
) -> Option<Shared> {
    if group.len() < GROUP_MIN {
        return None;
    }
    let days = group.iter().filter_map(|&i| findings[i].fallen_since);
    let (chance, since) = days
        .map(|day| (chance(findings, group, judged, day), day))
        .min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)))?;
    let members = near(findings, group, since);
    let is_most = members.len() >= FALLEN_MIN && members.len() as f64 >= MOST * group.len() as f64;
    (chance <= CHANCE_MAX && is_most).then(|| Shared {
        scope,
        since,
        members: near_or_after(findings, group, since),
        n_judged: group.len(),
        kept_percent: None,
    })
}

/// Returns the chance that so many of the group fall near the day, each for reasons of its own.
fn chance(findings: &[Finding], group: &[usize], judged: &[usize], day: NaiveDate) -> f64 {
    let fallen = near(findings, group, day).len() as u64;
    let others: Vec<usize> = judged.iter().copied().filter(|i| !group.contains(i)).collect();
    // What the rest of the network did in the same days tells more than what was usual.
    let beside = near(findings, &others, day).len() as f64 / (others.len() + 1) as f64;
    let usual = usual_share(findings, judged, day);
    let rate = usual.max(beside).clamp(USUAL_MIN, 1.0);
    // At least `fallen`: the tail above one less.
    match (fallen.checked_sub(1), Binomial::new(rate, group.len() as u64)) {
        (Some(below), Ok(law)) => law.sf(below),
        (None, _) | (_, Err(_)) => 1.0,
    }
}

/// Returns the share of partners that fall in as many days at other times.
fn usual_share(findings: &[Finding], judged: &[usize], day: NaiveDate) -> f64 {
    let at_other_times =
        |since: NaiveDate| (NEAR_DAYS + 1..=USUAL_DAYS).contains(&(since - day).num_days().abs());
    let falls = judged.iter().filter(|&&i| findings[i].fallen_since.is_some_and(at_other_times));
    let stretches = (2 * (USUAL_DAYS - NEAR_DAYS)) as f64 / (2 * NEAR_DAYS + 1) as f64;
    falls.count() as f64 / stretches / judged.len().max(1) as f64
}

fn near(findings: &[Finding], group: &[usize], day: NaiveDate) -> Vec<usize> {
    let is_near = |since: NaiveDate| (since - day).num_days().abs() <= NEAR_DAYS;
    group.iter().copied().filter(|&i| findings[i].fallen_since.is_some_and(is_near)).collect()
}

/// Who falls while the incident lasts falls with it.
fn near_or_after(findings: &[Finding], group: &[usize], day: NaiveDate) -> Vec<usize> {
    let is_after = |since: NaiveDate| (since - day).num_days() >= -NEAR_DAYS;
    let fell = |i: &usize| {
        let finding = &findings[*i];
        let listed = finding.listed.as_ref().map(|l| l.since);
        finding.fallen_since.is_some_and(is_after) || listed.is_some_and(is_after)
    };
    group.iter().copied().filter(fell).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::ids::PartnerId;

    pub(in crate::incident) fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    pub(in crate::incident) fn finding(country: &str, fallen: Option<&str>) -> Finding {
        Finding {
            partner_id: PartnerId::new(),
            rank: "B".to_owned(),
            owner: None,
            country: Some(country.to_owned()),
            page: None,
            is_judged: true,
            fallen_since: fallen.map(day),
            listed: None,
            cannot_sell: None,
            present_28d: Some(560),
        }
    }

    fn many(n: usize, country: &str, fallen: Option<&str>) -> Vec<Finding> {
        (0..n).map(|_| finding(country, fallen)).collect()
    }

    #[test]
    fn joint_fall_of_most_partners_is_one_incident_of_the_network() {
        let mut findings = many(18, "DE", Some("2026-11-20"));
        findings.extend(many(16, "FR", Some("2026-11-21")));
        findings.extend(many(6, "DE", None));
        let causes = shared(None, &findings);
        assert_eq!(causes.len(), 1, "{causes:?}");
        assert_eq!((&causes[0].scope, causes[0].members.len()), (&Scope::Network, 34));
        let text = causes[0].text(Some("the landing page answers 404"), None);
        assert!(text.starts_with("Tracking or landing problem: 34 of 40 partners since 2026-11-2"));
        assert!(text.ends_with("the landing page answers 404."), "{text}");
        assert!(causes[0].explains(0, day("2026-11-20")));
        assert!(!causes[0].explains(0, day("2026-11-01")), "an old fall is its own");
        assert!(!causes[0].explains(39, day("2026-11-20")), "who did not fall is no member");
    }

    #[test]
    fn joint_fall_in_one_country_leaves_the_others_alone() {
        let mut findings = many(12, "DE", Some("2026-11-20"));
        findings.extend(many(2, "DE", None));
        findings.extend(many(30, "FR", None));
        findings.push(finding("FR", Some("2026-11-20")));
        let causes = shared(None, &findings);
        assert_eq!(causes.len(), 1, "{causes:?}");
        assert_eq!(causes[0].scope, Scope::Country("DE".to_owned()));
        assert_eq!(causes[0].members, (0..12).collect::<Vec<_>>());
    }

    #[test]
    fn joint_fall_of_one_page_is_the_page_s_in_every_country() {
        let mut findings = many(6, "DE", Some("2026-11-20"));
        findings.extend(many(6, "FR", Some("2026-11-20")));
        for finding in &mut findings {
            finding.page = Some("shop.example/sale".to_owned());
        }
        findings.extend(many(20, "DE", None));
        findings.extend(many(20, "FR", None));
        let causes = shared(None, &findings);
        assert_eq!(causes.len(), 1, "{causes:?}");
        assert_eq!(causes[0].scope, Scope::Page("shop.example/sale".to_owned()));
        assert_eq!(causes[0].members, (0..12).collect::<Vec<_>>());
        let text = causes[0].text(None, Some("2026-11-20 14:00"));
        assert!(text.contains("lead to shop.example/sale since 2026-11-20 14:00;"), "{text}");
    }

    #[test]
    fn falls_on_days_of_their_own_share_nothing() {
        // A bad season: every third partner falls, two weeks apart from each other.
        let mut findings = many(20, "DE", None);
        for (i, since) in ["2026-09-20", "2026-10-04", "2026-10-18", "2026-11-01", "2026-11-15"]
            .iter()
            .enumerate()
        {
            findings[i].fallen_since = Some(day(since));
            findings[i + 5].fallen_since = Some(day(since));
        }
        assert_eq!(shared(None, &findings), []);
    }

    #[test]
    fn few_partners_or_a_few_of_many_are_no_incident() {
        let mut four_of_four = many(4, "DE", Some("2026-11-20"));
        assert_eq!(shared(None, &four_of_four), []);
        four_of_four.extend(many(36, "DE", None));
        assert_eq!(shared(None, &four_of_four), [], "four of forty");
        let five_of_five = many(5, "DE", Some("2026-11-20"));
        assert_eq!(shared(None, &five_of_five).len(), 1);
    }

    #[test]
    fn the_network_factor_is_an_incident_even_if_nobody_is_listed() {
        let fall = NetworkFall { since: day("2026-11-18"), kept_percent: 12 };
        let mut findings = many(10, "DE", None);
        findings[3].fallen_since = Some(day("2026-11-17"));
        findings[4].fallen_since = Some(day("2026-10-01"));
        let causes = shared(Some(fall), &findings);
        assert_eq!(causes.len(), 1);
        assert_eq!(causes[0].members, [3]);
        assert!(causes[0].text(None, None).contains("at 12 % of its usual clicks"));
    }

    #[test]
    fn who_cannot_be_judged_is_not_counted() {
        let mut findings = many(6, "DE", Some("2026-11-20"));
        for finding in &mut findings[..2] {
            finding.is_judged = false;
        }
        assert_eq!(shared(None, &findings), []);
    }
}
