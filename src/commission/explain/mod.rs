//! Why a commission is what it is, in sentences made from what is stored.
//!
//! Nothing is decided again here: the attribution, the edition, the rule that won and the steps
//! are read from the rows that settlement wrote. [`proof`] alone reckons, to compare.

use serde_json::Value;

use super::plan::{Approval, Language, PlanVersion, wire};
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
    pub fn sentence(&self, lang: Language) -> String {
        let Self { rule, because, what } = self;
        let what = what.as_deref().unwrap_or(lang.pick("its conditions", "условия"));
        if lang == Language::Ru {
            let why = match because.as_str() {
                "not_met" => format!("не подошло: не выполнено {what}"),
                "not_in_force" => "тогда не действовало".to_owned(),
                "less_specific" => format!("тоже подходит, но не называет {what}"),
                "older" => "тоже подходит, но началось раньше".to_owned(),
                "after" => "тоже подходит, но стоит после него".to_owned(),
                other => format!("уступило: {other}"),
            };
            return format!("Правило {rule} {why}.");
        }
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
pub fn rule(stored: &Value, version: &PlanVersion, lang: Language) -> Option<(u64, String)> {
    let index = stored.get("rule")?.as_u64()?;
    let words = version.terms.words(lang);
    Some((index + 1, words.get(usize::try_from(index).ok()?)?.clone()))
}

/// Says why it comes to nothing; none for one that earns or takes back.
pub fn nothing_because(of: &Commission, lang: Language) -> Option<String> {
    if of.state == CommissionState::Rejected || of.state == CommissionState::Reversed {
        let unknown = lang.pick("no reason was given", "причина не названа");
        let (why, state) = (of.reason.as_deref().unwrap_or(unknown), of.state.code());
        return Some(lang.pick(
            format!("Nothing is paid: it is {state} ({why})."),
            format!("Не выплачивается: состояние {state} ({why})."),
        ));
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
        Some(cap) => {
            let of = |name| text(cap, name).unwrap_or_default();
            let (amount, period, per) = (of("amount"), of("period"), of("per"));
            lang.pick(
                format!("the cap of {amount} a {period} ({per}) was used up before it"),
                format!("предел {amount} ({period}, {per}) был исчерпан раньше"),
            )
        }
        None if of.calculation.get("split").is_some_and(|split| !split.is_null()) => lang
            .pick(
                "its part of the shared conversion is less than the smallest unit",
                "доля в общей конверсии меньше наименьшей единицы",
            )
            .to_owned(),
        None => lang
            .pick(
                "its arithmetic comes to 0, step by step as told above",
                "расчёт даёт 0, как показано выше",
            )
            .to_owned(),
    };
    Some(lang.pick(format!("It is 0: {reason}."), format!("Сумма 0: {reason}.")))
}

/// Says what it was reckoned from, where it stands and when its hold is over.
pub fn sentences(of: &Commission, version: Option<&PlanVersion>, lang: Language) -> Vec<String> {
    let stored = &of.calculation;
    let mut said = Vec::new();
    if let Some(version) = version {
        let (id, since) = (version.id, time(version.effective_from));
        said.push(lang.pick(
            format!("The plan {id} of {since} was in force when it happened."),
            format!("Действовал план {id} от {since}."),
        ));
        if let Some((number, words)) = rule(stored, version, lang) {
            let words = words.split_once(": ").map_or(words.as_str(), |(_, words)| words);
            said.push(lang.pick(
                format!("Rule {number} priced it: {words}"),
                format!("Посчитано по правилу {number}: {words}"),
            ));
        }
    }
    said.extend(rivals(stored).iter().map(|rival| rival.sentence(lang)));
    match (arithmetic(stored, version, lang), of.kind) {
        (Some(sentence), _) => said.push(sentence),
        (None, kind) if !kind.is_earned() => said.push(correction(of, lang)),
        (None, _) => {}
    }
    if let Some(rounding) = text(stored, "rounding") {
        said.push(lang.pick(
            format!("Each amount is rounded once, {rounding}."),
            format!("Каждая сумма округляется один раз, {rounding}."),
        ));
    }
    said.extend(nothing_because(of, lang));
    said.push(standing(of, lang));
    said
}

/// Says the arithmetic: in English as it is stored, else as the stored inputs come to it again.
fn arithmetic(stored: &Value, version: Option<&PlanVersion>, lang: Language) -> Option<String> {
    let kept = text(stored, "sentence")?;
    let again = match lang {
        Language::En => None,
        Language::Ru => version.and_then(|version| wire::recompute(stored, &version.terms)),
    };
    Some(match again {
        Some(Ok(again)) => again.sentence_in(lang),
        Some(Err(_)) | None => kept.to_owned(),
    })
}

/// Says what a clawback or an adjustment changes.
pub fn correction(of: &Commission, lang: Language) -> String {
    let (en, ru) = match of.kind {
        CommissionKind::Clawback => ("taken back", "забрано"),
        CommissionKind::TrueUp => {
            ("corrected when its period was reckoned again", "добавлено при пересчёте периода")
        }
        CommissionKind::Adjustment => ("adjusted", "изменено"),
        CommissionKind::Recruiter => ("earned by the recruiter", "заработал пригласивший"),
        CommissionKind::Earned => ("earned", "заработано"),
        CommissionKind::Clicks => ("earned by clicks", "заработано кликами"),
    };
    let what = lang.pick(en, ru);
    let reason = of.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let cause = match of.cause.as_str() {
        _ if of.is_by_hand() => lang.pick(", by a person", ", решением человека").to_owned(),
        "" => String::new(),
        cause => lang.pick(format!(", by {cause}"), format!(", основание: {cause}")),
    };
    let at = time(of.created_at);
    lang.pick(
        format!("{} {what}{reason}{cause}, at {at}.", of.amount),
        format!("{} {what}{reason}{cause}, {at}.", of.amount),
    )
}

fn standing(of: &Commission, lang: Language) -> String {
    let until = time(of.hold_until);
    let approval = match of.approval {
        Approval::Auto => lang.pick("it is approved by itself then", "затем одобряется само"),
        Approval::Manual => {
            lang.pick("a person or the shop approves it", "одобряет человек или магазин")
        }
    };
    let because = of.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    match (of.state, of.approved_at) {
        (CommissionState::Pending, _) => lang.pick(
            format!("It is held until {until}; {approval}."),
            format!("Удерживается до {until}; {approval}."),
        ),
        (CommissionState::OnHold, _) => lang.pick(
            format!("It is under review{because}; its hold ends at {until}."),
            format!("На проверке{because}; удержание до {until}."),
        ),
        (state, Some(at)) => lang.pick(
            format!("It is {}; it was approved at {}.", state.code(), time(at)),
            format!("Состояние {}; одобрено {}.", state.code(), time(at)),
        ),
        (state, None) => lang.pick(
            format!("It is {}{because}.", state.code()),
            format!("Состояние {}{because}.", state.code()),
        ),
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
        let said: Vec<String> =
            rivals(&stored).iter().map(|rival| rival.sentence(Language::En)).collect();
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
