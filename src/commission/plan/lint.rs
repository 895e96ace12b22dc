//! What a plan allows and a partner manager should think twice about. A simple program is a
//! feature: partners promote what they can reckon in their heads.

use super::condition::Condition;
use super::tier::TierMode;
use super::{Common, EventKind, Period, PlanTerms, Rule};
use crate::money::Bps;

/// The usual share of a sale; outside of it either partners or finance will ask.
pub(super) const USUAL: (Bps, Bps) = (Bps(1500), Bps(2500));
/// Rules beyond which nobody knows a plan by heart.
const RULES_USUAL: usize = 5;
/// Conditions, caps and steps of a rule beyond which it takes a calculator.
const CLAUSES_USUAL: usize = 4;

/// Something to think twice about; the plan is taken all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// What kind, for machines.
    pub code: &'static str,
    /// Where, as a JSON pointer.
    pub pointer: String,
    /// What, in a sentence, and what to do about it.
    pub message: String,
}

impl PlanTerms {
    /// Returns what is worth a second thought.
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        if self.rules.len() > RULES_USUAL {
            warnings.push(Warning {
                code: "many_rules",
                pointer: "/rules".to_owned(),
                message: format!(
                    "{} rules: partners promote a plan that they can keep in mind; {RULES_USUAL} \
                     do for most",
                    self.rules.len()
                ),
            });
        }
        for (index, rule) in self.rules.iter().enumerate() {
            let mut warn = |code, field: &str, message: String| {
                let pointer = format!("/rules/{index}{field}");
                warnings.push(Warning { code, pointer, message });
            };
            check_rate(rule, &mut warn);
            check_size(rule, &mut warn);
            check_tiers(rule, &mut warn);
            check_caps(rule, &mut warn);
            check_clicks(rule, &self.common, &mut warn);
        }
        warnings
    }
}

type Warn<'a> = dyn FnMut(&'static str, &str, String) + 'a;

fn check_rate(rule: &Rule, warn: &mut Warn<'_>) {
    let (least, most) = USUAL;
    let of_sales = rule.event.is_none_or(|event| event == EventKind::Sale);
    if let Some(percent) = rule.kind.percent().filter(|_| of_sales && rule.kind.flat().is_none())
        && !(least..=most).contains(&percent.rate)
    {
        let message = format!("{} is outside of the usual {least} to {most}", percent.rate);
        warn("unusual_rate", "/percent_bps", message);
    }
}

fn check_size(rule: &Rule, warn: &mut Warn<'_>) {
    let steps = rule.tiers.as_ref().map_or(0, |tiers| tiers.steps.len());
    let n = rule.conditions.len() + rule.caps.len() + steps;
    if n > CLAUSES_USUAL {
        let message = format!(
            "{n} conditions, caps and steps in one rule: say it to a partner in one breath, or \
             leave some out"
        );
        warn("complex_rule", "", message);
    }
}

fn check_tiers(rule: &Rule, warn: &mut Warn<'_>) {
    let Some(tiers) = &rule.tiers else { return };
    let own = rule.kind.percent().map(|percent| percent.rate);
    let mut rate = own;
    for (n, step) in tiers.steps.iter().enumerate() {
        if step.rate.zip(rate).is_some_and(|(step, before)| step < before) {
            let message = "this step pays less than the one before it: who sells more earns less";
            warn("falling_tier", &format!("/tiers/steps/{n}"), message.to_owned());
        }
        rate = step.rate.or(rate);
    }
    if tiers.mode == TierMode::Retroactive && tiers.period == Period::AllTime {
        let message = "a threshold that holds for all time raises years of commissions at once";
        warn("retroactive_for_ever", "/tiers/period", message.to_owned());
    }
}

fn check_caps(rule: &Rule, warn: &mut Warn<'_>) {
    for (n, cap) in rule.caps.iter().enumerate() {
        if rule.min.is_some_and(|min| min.minor > cap.amount.minor) {
            let message = "the minimum is above this cap: no commission reaches it".to_owned();
            warn("cap_below_min", &format!("/caps/{n}/amount"), message);
        }
    }
    let is_one_partner =
        |condition: &Condition| matches!(condition, Condition::Partner(all) if all.len() == 1);
    let n_own = rule.conditions.iter().filter(|condition| is_one_partner(condition)).count();
    if n_own > 0 && rule.conditions.len() > n_own {
        let message = "terms of one partner with conditions on top: a group may be simpler";
        warn("narrow_terms", "/partners", message.to_owned());
    }
}

fn check_clicks(rule: &Rule, common: &Common, warn: &mut Warn<'_>) {
    let is_capped = !rule.caps.is_empty() || !common.caps.is_empty();
    if rule.kind.clicks().is_some() && !is_capped {
        let message = "clicks without a cap: add one, for nobody has bought anything yet";
        warn("uncapped_clicks", "/caps", message.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commission::plan::PlanDocument;

    fn codes(rules: &str) -> Vec<&'static str> {
        let json = format!(r#"{{"v":1,"rules":[{rules}]}}"#);
        let document: PlanDocument = serde_json::from_str(&json).unwrap();
        let warnings = PlanTerms::try_from(&document).unwrap().warnings();
        warnings.into_iter().map(|warning| warning.code).collect()
    }

    #[test]
    fn a_simple_plan_in_the_usual_band_has_no_warning() {
        let default = PlanTerms::try_from(&PlanDocument::default()).unwrap();
        assert_eq!(default.warnings(), []);
        for bps in [1500, 2500] {
            let rule = format!(r#"{{"event":"sale","kind":"percent","percent_bps":{bps}}}"#);
            assert_eq!(codes(&rule), [""; 0]);
        }
    }

    #[test]
    fn each_thing_to_think_twice_about_is_named() {
        for (rule, code) in [
            (r#""percent_bps":1499"#, "unusual_rate"),
            (r#""percent_bps":2501"#, "unusual_rate"),
            (
                r#""percent_bps":2000,"currency":"EUR","min":"2.00",
                   "caps":[{"period":"day","amount":"1.00"}]"#,
                "cap_below_min",
            ),
            (
                r#""percent_bps":2000,"tiers":{"period":"month","mode":"progressive",
                   "steps":[{"from_count":2,"percent_bps":1900}]}"#,
                "falling_tier",
            ),
            (
                r#""percent_bps":2000,"tiers":{"period":"all_time","mode":"retroactive",
                   "steps":[{"from_count":2,"percent_bps":2100}]}"#,
                "retroactive_for_ever",
            ),
            (
                r#""percent_bps":2000,"ranks":["A"],"countries":["DE"],"customer":"new",
                   "categories":["x"],"groups":["g"]"#,
                "complex_rule",
            ),
            (
                r#""percent_bps":2000,"partners":["pt_00000000000000000000000000"],"ranks":["A"]"#,
                "narrow_terms",
            ),
        ] {
            let rule = format!(r#"{{"event":"sale","kind":"percent",{rule}}}"#);
            assert_eq!(codes(&rule), [code], "{rule}");
        }
        let clicks = r#"{"event":"click","kind":"clicks","flat":"0.05","currency":"EUR""#;
        assert_eq!(codes(&format!("{clicks}}}")), ["uncapped_clicks"]);
        let caps = r#","caps":[{"period":"day","amount":"20.00"}]}"#;
        assert_eq!(codes(&format!("{clicks}{caps}")), [""; 0]);
        let many: Vec<String> = ["sale", "lead", "signup", "install", "renewal", "any"]
            .map(|e| format!(r#"{{"event":"{e}","kind":"percent","percent_bps":2000}}"#))
            .into();
        assert_eq!(codes(&many.join(",")), ["many_rules"]);
    }
}
