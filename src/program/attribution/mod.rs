//! Attribution policy: which evidence says whose a conversion is, in which order, and its limits.
//!
//! ```json
//! {"v":1,"ladder":["click","coupon","customer"],"window_days":30,"min_seconds":0,
//!  "model":"last_click","ownership":{"lasts":"days","days":365,"bind_on":["lead"]}}
//! ```
//!
//! Editions are added and never changed; a conversion is judged by the edition that was in force
//! when it happened. What happened before the first edition is judged by the first.

pub mod http;
pub mod model;
pub mod store;

pub use model::Model;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::ids::AttributionPolicyId;

/// Days for which a click may count, at most.
pub const WINDOW_DAYS_MAX: i32 = 3650;
/// Seconds that a click may be made to wait, at most: a day.
const MIN_SECONDS_MAX: u32 = 86_400;
const WINDOW_DAYS: i32 = 30;
/// The events that may bind a customer: those that a conversion can have.
pub const BINDING_EVENTS: [&str; 5] = ["sale", "lead", "signup", "install", "renewal"];

/// An attribution policy; what is left out is as usual.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyDocument {
    /// The version of this form: 1.
    #[serde(default = "version")]
    pub v: u8,
    /// What is looked at, first what counts first: `click`, `coupon`, `customer`, in any order,
    /// each at most once. All three in this order if left out.
    #[serde(default = "whole_ladder")]
    pub ladder: Vec<String>,
    /// Days from the click to the conversion within which the click counts, 1 to 3650; 30 if left
    /// out.
    #[serde(default = "window")]
    pub window_days: i32,
    /// Seconds from the click to the conversion below which the click does not count, 0 to 86400; 0
    /// if left out.
    #[serde(default)]
    pub min_seconds: u32,
    /// How a conversion is shared by the clicks on its path: `last_click`, which is also what it is
    /// if left out, `first_click`, `linear`, `position` (40 % the first, 40 % the last, 20 % those
    /// between) or `time_decay`.
    #[serde(default = "last_click")]
    pub model: String,
    /// Days after which a click weighs half, 1 to 365; of `time_decay` alone, and 7 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub half_life_days: Option<u16>,
    /// How long a customer belongs to the partner who brought it; nobody's if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ownership: Option<OwnershipDocument>,
}

/// How long a customer belongs to the partner who brought it, and what binds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OwnershipDocument {
    /// `lifetime` or `days`.
    pub lasts: String,
    /// With `days`: for how many after what binds it, 1 to 3650.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<i32>,
    /// The events that bind: any of `sale`, `lead`, `signup`, `install`, `renewal`; `lead` alone if
    /// left out.
    #[serde(default = "lead")]
    pub bind_on: Vec<String>,
}

fn lead() -> Vec<String> {
    vec!["lead".to_owned()]
}

fn version() -> u8 {
    1
}

fn whole_ladder() -> Vec<String> {
    Step::ALL.map(|step| step.as_str().to_owned()).to_vec()
}

fn window() -> i32 {
    WINDOW_DAYS
}

fn last_click() -> String {
    Model::LastClick.as_str().to_owned()
}

impl Default for PolicyDocument {
    fn default() -> Self {
        Self {
            v: version(),
            ladder: whole_ladder(),
            window_days: window(),
            min_seconds: 0,
            model: last_click(),
            half_life_days: None,
            ownership: None,
        }
    }
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongField {
    /// JSON pointer into the document.
    pub pointer: &'static str,
    /// What is wrong and how to mend it.
    pub detail: String,
}

/// A kind of evidence, a step of the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The signed click id that came with the conversion.
    Click,
    /// The coupon that the customer used.
    Coupon,
    /// Whose customer it is.
    Customer,
}

impl Step {
    /// Every step, in the usual order.
    pub const ALL: [Self; 3] = [Self::Click, Self::Coupon, Self::Customer];

    /// Returns the text form kept in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Click => "click",
            Self::Coupon => "coupon",
            Self::Customer => "customer",
        }
    }

    /// Returns the step with this text form.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.as_str() == text)
    }
}

/// What a program has decided about attribution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What is looked at, first what counts first; each step at most once.
    pub ladder: Vec<Step>,
    /// How far a click may lie before its conversion.
    pub window: TimeDelta,
    /// How far it must lie before it at least.
    pub min: TimeDelta,
    /// How a conversion is shared by the clicks on its path.
    pub model: Model,
    /// How long a customer belongs to the partner who brought it; none: customers are nobody's.
    pub ownership: Option<Ownership>,
}

/// How long a customer belongs to the partner who brought it, and what binds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// How long; for life where it is not given.
    pub lasts: Option<TimeDelta>,
    /// The events that bind.
    pub bind_on: Vec<String>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            ladder: Step::ALL.to_vec(),
            window: TimeDelta::days(WINDOW_DAYS.into()),
            min: TimeDelta::zero(),
            model: Model::LastClick,
            ownership: None,
        }
    }
}

impl TryFrom<&PolicyDocument> for Policy {
    type Error = Vec<WrongField>;

    fn try_from(document: &PolicyDocument) -> Result<Self, Vec<WrongField>> {
        let mut wrong = Vec::new();
        let mut check = |fits: bool, pointer, detail: &str| {
            if !fits {
                wrong.push(WrongField { pointer, detail: detail.to_owned() });
            }
        };
        check(document.v == version(), "/v", "must be 1");
        let ladder: Vec<Step> = document.ladder.iter().filter_map(|s| Step::parse(s)).collect();
        let known = ladder.len() == document.ladder.len() && !ladder.is_empty();
        let once = ladder.iter().enumerate().all(|(n, step)| !ladder[..n].contains(step));
        let detail = "must name at least one of click, coupon, customer, and each at most once";
        check(known && once, "/ladder", detail);
        let window_fits = (1..=WINDOW_DAYS_MAX).contains(&document.window_days);
        check(window_fits, "/window_days", "must be 1 to 3650");
        check(document.min_seconds <= MIN_SECONDS_MAX, "/min_seconds", "must be 0 to 86400");
        let (window, min) = (
            TimeDelta::days(document.window_days.clamp(1, WINDOW_DAYS_MAX).into()),
            TimeDelta::seconds(document.min_seconds.into()),
        );
        let model = Model::read(&document.model, document.half_life_days)
            .map_err(|field| check(false, field.pointer, &field.detail));
        let ownership = document.ownership.as_ref().map(|ownership| ownership.read(&mut check));
        match model.ok() {
            Some(model) if wrong.is_empty() => Ok(Self { ladder, window, min, model, ownership }),
            Some(_) | None => Err(wrong),
        }
    }
}

impl OwnershipDocument {
    /// Reads it, and has each field checked; what does not fit is not used.
    fn read(&self, check: &mut impl FnMut(bool, &'static str, &str)) -> Ownership {
        let is_days = self.lasts == "days";
        check(is_days || self.lasts == "lifetime", "/ownership/lasts", "must be lifetime or days");
        match self.days {
            Some(days) if is_days => {
                let fits = (1..=WINDOW_DAYS_MAX).contains(&days);
                check(fits, "/ownership/days", "must be 1 to 3650");
            }
            Some(_) => check(false, "/ownership/days", "is for lasts = days alone; leave it out"),
            None => check(!is_days, "/ownership/days", "is required with lasts = days"),
        }
        let known = self.bind_on.iter().all(|event| BINDING_EVENTS.contains(&event.as_str()));
        let once = self.bind_on.iter().enumerate().all(|(n, e)| !self.bind_on[..n].contains(e));
        let detail = format!("must name at least one of {}, each once", BINDING_EVENTS.join(", "));
        check(known && once && !self.bind_on.is_empty(), "/ownership/bind_on", &detail);
        let days = self.days.filter(|days| (1..=WINDOW_DAYS_MAX).contains(days));
        let lasts = days.filter(|_| is_days).map(|days| TimeDelta::days(days.into()));
        Ownership { lasts, bind_on: self.bind_on.clone() }
    }
}

/// An edition of a program's policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyVersion {
    /// Its id; none for what holds where nothing was ever decided.
    pub id: Option<AttributionPolicyId>,
    /// From when on it holds.
    pub effective_from: Timestamp,
    /// What it says.
    pub policy: Policy,
}

/// The editions of a program's policy: at any time one is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policies {
    first: PolicyVersion,
    later: Vec<PolicyVersion>,
}

impl Policies {
    /// Takes the editions of a program in any order; the usual policy holds where there are none.
    pub fn new(mut versions: Vec<PolicyVersion>) -> Self {
        versions.sort_by_key(|version| version.effective_from);
        if versions.is_empty() {
            return Self::default();
        }
        let later = versions.split_off(1);
        Self { first: versions.remove(0), later }
    }

    /// Returns what every edition says.
    pub fn all(&self) -> impl Iterator<Item = &Policy> {
        std::iter::once(&self.first).chain(&self.later).map(|version| &version.policy)
    }

    /// Returns the edition that is in force at a time.
    pub fn at(&self, at: Timestamp) -> &PolicyVersion {
        let is_in_force = |version: &&PolicyVersion| version.effective_from <= at;
        self.later.iter().rev().find(is_in_force).unwrap_or(&self.first)
    }
}

impl Default for Policies {
    fn default() -> Self {
        let effective_from = Timestamp::UNIX_EPOCH;
        let first = PolicyVersion { id: None, effective_from, policy: Policy::default() };
        Self { first, later: Vec::new() }
    }
}

/// Says why an edition cannot begin when it wants to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadDate {
    /// What has happened was judged already.
    #[error("is in the past; a new edition judges what is to come, so take {0} or later")]
    Past(Timestamp),
    /// Editions follow one another.
    #[error("is not after the latest edition, which begins at {0}")]
    NotAfter(Timestamp),
}

/// Decides whether an edition may begin at `wanted`; `latest` is the beginning of the latest one.
pub fn check_date(
    latest: Option<Timestamp>,
    wanted: Timestamp,
    now: Timestamp,
) -> Result<(), BadDate> {
    match latest {
        Some(latest) if wanted <= latest => Err(BadDate::NotAfter(latest)),
        Some(_) | None if wanted < now => Err(BadDate::Past(now)),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn read(document: Value) -> Result<Policy, Vec<&'static str>> {
        let document: PolicyDocument = serde_json::from_value(document).unwrap();
        Policy::try_from(&document).map_err(|wrong| wrong.iter().map(|w| w.pointer).collect())
    }

    #[test]
    fn what_is_left_out_is_as_usual() {
        assert_eq!(read(json!({})), Ok(Policy::default()));
        let whole = json!({"v": 1, "ladder": ["click", "coupon", "customer"], "window_days": 30,
            "min_seconds": 0, "model": "last_click"});
        assert_eq!(serde_json::to_value(PolicyDocument::default()).unwrap(), whole);
    }

    #[test]
    fn each_mistake_is_told_at_its_field() {
        for (document, pointers) in [
            (json!({"v": 2}), vec!["/v"]),
            (json!({"ladder": []}), vec!["/ladder"]),
            (json!({"ladder": ["click", "click"]}), vec!["/ladder"]),
            (json!({"ladder": ["click", "code"]}), vec!["/ladder"]),
            (json!({"window_days": 0}), vec!["/window_days"]),
            (json!({"window_days": 3651}), vec!["/window_days"]),
            (json!({"min_seconds": 86_401}), vec!["/min_seconds"]),
            (json!({"model": "first_touch", "window_days": -1}), vec!["/window_days", "/model"]),
            (json!({"model": "linear", "half_life_days": 7}), vec!["/half_life_days"]),
            (json!({"model": "time_decay", "half_life_days": 0}), vec!["/half_life_days"]),
            (json!({"model": "time_decay", "half_life_days": 366}), vec!["/half_life_days"]),
            (json!({"ownership": {"lasts": "ever"}}), vec!["/ownership/lasts"]),
            (json!({"ownership": {"lasts": "days"}}), vec!["/ownership/days"]),
            (json!({"ownership": {"lasts": "days", "days": 0}}), vec!["/ownership/days"]),
            (json!({"ownership": {"lasts": "lifetime", "days": 9}}), vec!["/ownership/days"]),
            (
                json!({"ownership": {"lasts": "lifetime", "bind_on": []}}),
                vec!["/ownership/bind_on"],
            ),
            (
                json!({"ownership": {"lasts": "lifetime", "bind_on": ["lead", "lead"]}}),
                vec!["/ownership/bind_on"],
            ),
        ] {
            assert_eq!(read(document.clone()), Err(pointers), "{document}");
        }
        let narrow = read(json!({"ladder": ["customer"], "window_days": 3650, "min_seconds": 5}));
        assert_eq!(narrow.map(|p| p.ladder), Ok(vec![Step::Customer]));
        for (document, lasts, bind_on) in [
            (json!({"lasts": "lifetime"}), None, vec!["lead"]),
            (
                json!({"lasts": "days", "days": 90, "bind_on": ["lead", "sale"]}),
                Some(TimeDelta::days(90)),
                vec!["lead", "sale"],
            ),
        ] {
            let owned = read(json!({"ownership": document})).unwrap().ownership.unwrap();
            let bind_on = bind_on.into_iter().map(str::to_owned).collect();
            assert_eq!(owned, Ownership { lasts, bind_on });
        }
    }

    #[test]
    fn an_edition_begins_after_the_latest_and_not_in_the_past() {
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let day = TimeDelta::days(1);
        for (latest, wanted, expected) in [
            (None, now, Ok(())),
            (None, now - day, Err(BadDate::Past(now))),
            (Some(now - day), now, Ok(())),
            (Some(now - day), now + day, Ok(())),
            (Some(now - day * 2), now - day, Err(BadDate::Past(now))),
            (Some(now), now, Err(BadDate::NotAfter(now))),
            (Some(now + day), now, Err(BadDate::NotAfter(now + day))),
        ] {
            assert_eq!(check_date(latest, wanted, now), expected, "{latest:?} {wanted}");
        }
    }

    proptest! {
        #[test]
        fn the_edition_in_force_is_the_latest_that_has_begun(
            days in prop::collection::btree_set(0..1000i64, 0..8), asked in -10..1010i64,
        ) {
            let at = |day: i64| Timestamp::UNIX_EPOCH + TimeDelta::days(day);
            let edition = |day: &i64| PolicyVersion {
                id: None, effective_from: at(*day), policy: Policy::default(),
            };
            let versions: Vec<PolicyVersion> = days.iter().rev().map(edition).collect();
            let found = Policies::new(versions).at(at(asked)).effective_from;
            let latest = days.iter().filter(|day| **day <= asked).max().or(days.first());
            prop_assert_eq!(found, at(latest.copied().unwrap_or(0)));
        }
    }
}
