//! Why a commission is what it is, in sentences made from what is stored.
//!
//! Nothing is decided again here: the attribution, the edition, the rule that won and the steps
//! are read from the rows that settlement wrote. [`proof`] alone reckons, to compare.

use serde_json::Value;

use super::plan::{Approval, Language, PlanVersion};
use super::{Commission, CommissionKind, CommissionState};
use crate::clock::Timestamp;

pub mod http;
pub mod proof;
pub mod store;

/// A rule that could have priced the conversion and did not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rival {
    /// Its number in the plan, from 1.
    pub rule: u64,
    /// `not_met`, `not_in_force`, `less_specific`, `older` or `after`.
    pub because: String,
    /// The condition that decided, where one did.
    pub what: Option<String>,
}

impl Rival {
    /// Says why it lost.
    pub fn sentence(&self) -> String {
        let Self { rule, because, what } = self;
        let what = what.as_deref().unwrap_or("its conditions");
        match because.as_str() {
            "not_met" => format!("Rule {rule} did not apply: {what} does not fit."),
            "not_in_force" => format!("Rule {rule} was not in force at that time."),
            "less_specific" => format!("Rule {rule} fits, too, but does not name {what}."),
            "older" => format!("Rule {rule} fits as well, but began earlier."),
            "after" => format!("Rule {rule} fits as well, but stands after it."),
            other => format!("Rule {rule} lost: {other}."),
        }
    }
}

/// Reads why the other rules lost; none for what recruiters have and for corrections.
pub fn rivals(stored: &Value) -> Vec<Rival> {
    let over = stored.get("over").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let rival = |one: &Value| {
        Some(Rival {
            rule: one.get("rule")?.as_u64()? + 1,
            because: text(one, "because")?.to_owned(),
            what: text(one, "what").map(str::to_owned),
        })
    };
    over.iter().filter_map(rival).collect()
}

/// Reads which rule priced it, from 1, with its words.
pub fn rule(stored: &Value, version: &PlanVersion) -> Option<(u64, String)> {
    let index = stored.get("rule")?.as_u64()?;
    let words = version.terms.words(Language::En);
    Some((index + 1, words.get(usize::try_from(index).ok()?)?.clone()))
}

/// Says why it comes to nothing; none for one that earns or takes back.
pub fn nothing_because(of: &Commission) -> Option<String> {
    if of.state == CommissionState::Rejected || of.state == CommissionState::Reversed {
        let why = of.reason.as_deref().unwrap_or("no reason was given");
        return Some(format!("Nothing is paid: it is {} ({why}).", of.state.code()));
    }
    if !of.amount.is_zero() {
        return None;
    }
    let caps = of.calculation.get("caps").and_then(Value::as_array);
    let full = caps.into_iter().flatten().find(|cap| {
        let is_cut = text(cap, "within") != text(cap, "found");
        is_cut && cap.get("before") == cap.get("amount")
    });
    let reason = match full {
        Some(cap) => format!(
            "the cap of {} a {} ({}) was used up before it",
            text(cap, "amount").unwrap_or_default(),
            text(cap, "period").unwrap_or_default(),
            text(cap, "per").unwrap_or_default(),
        ),
        None if of.calculation.get("split").is_some_and(|split| !split.is_null()) => {
            "its part of the shared conversion is less than the smallest unit".to_owned()
        }
        None => "its arithmetic comes to 0, step by step as told above".to_owned(),
    };
    Some(format!("It is 0: {reason}."))
}

/// Says what it was reckoned from, where it stands and when its hold is over.
pub fn sentences(of: &Commission, version: Option<&PlanVersion>) -> Vec<String> {
    let stored = &of.calculation;
    let mut said = Vec::new();
    if let Some(version) = version {
        let since = time(version.effective_from);
        said.push(format!("The plan {} of {since} was in force when it happened.", version.id));
        if let Some((number, words)) = rule(stored, version) {
            let words = words.split_once(": ").map_or(words.as_str(), |(_, words)| words);
            said.push(format!("Rule {number} priced it: {words}"));
        }
    }
    said.extend(rivals(stored).iter().map(Rival::sentence));
    match (text(stored, "sentence"), of.kind) {
        (Some(sentence), _) => said.push(sentence.to_owned()),
        (None, kind) if !kind.is_earned() => said.push(correction(of)),
        (None, _) => {}
    }
    if let Some(rounding) = text(stored, "rounding") {
        said.push(format!("Each amount is rounded once, {rounding}."));
    }
    said.extend(nothing_because(of));
    said.push(standing(of));
    said
}

/// Says what a clawback or an adjustment changes.
pub fn correction(of: &Commission) -> String {
    let what = match of.kind {
        CommissionKind::Clawback => "taken back",
        CommissionKind::TrueUp => "corrected when its period was reckoned again",
        CommissionKind::Adjustment => "adjusted",
        CommissionKind::Recruiter => "earned by the recruiter",
        CommissionKind::Earned => "earned",
        CommissionKind::Clicks => "earned by clicks",
    };
    let reason = of.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let cause = if of.cause.is_empty() { String::new() } else { format!(", by {}", of.cause) };
    format!("{} {what}{reason}{cause}, at {}.", of.amount, time(of.created_at))
}

fn standing(of: &Commission) -> String {
    let until = time(of.hold_until);
    let approval = match of.approval {
        Approval::Auto => "it is approved by itself then",
        Approval::Manual => "a person or the shop approves it",
    };
    let because = of.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    match (of.state, of.approved_at) {
        (CommissionState::Pending, _) => format!("It is held until {until}; {approval}."),
        (CommissionState::OnHold, _) => {
            format!("It is under review{because}; its hold ends at {until}.")
        }
        (state, Some(at)) => {
            format!("It is {}; it was approved at {}.", state.code(), time(at))
        }
        (state, None) => format!("It is {}{because}.", state.code()),
    }
}

fn text<'a>(of: &'a Value, name: &str) -> Option<&'a str> {
    of.get(name).and_then(Value::as_str)
}

fn time(at: Timestamp) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rivals_are_numbered_as_people_count() {
        let stored = json!({"over": [
            {"rule": 0, "because": "less_specific", "what": "customer"},
            {"rule": 2, "because": "not_in_force", "what": null}]});
        let said: Vec<String> = rivals(&stored).iter().map(Rival::sentence).collect();
        assert_eq!(
            said,
            [
                "Rule 1 fits, too, but does not name customer.",
                "Rule 3 was not in force at that time."
            ]
        );
        assert_eq!(rivals(&json!({})), []);
    }
}
