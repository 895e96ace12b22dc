//! A plan as JSON: the wire form, version 1, and what is wrong with it, by JSON pointer.
//!
//! ```json
//! {"v":1,"hold_days":30,"approval":"auto","rounding":"half_even","rules":[
//!   {"event":"sale","kind":"percent","percent_bps":2000},
//!   {"event":"lead","kind":"flat","currency":"EUR","flat":"5.00"},
//!   {"event":"sale","kind":"percent","percent_bps":2000,"currency":"EUR","less":["shipping"],
//!    "min":"5.00","caps":[{"period":"month","amount":"500.00","then_percent_bps":1500}],
//!    "countries":["DE","AT"]}]}
//! ```
//!
//! Fields may be added to this version; none is ever taken away, and each has a default that means
//! what its absence meant before.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::cap::{CAPS_MAX, Cap};
use super::{
    Approval, Common, HOLD_DAYS_MAX, HoldBasis, PayIn, PlanTerms, RULES_MAX, RecruiterMode,
    RecruiterShare, Rule, WithoutRate,
};
use crate::money::{AmountRule, Bps, Currency, Money, Rounding};

mod rule_document;

pub use rule_document::RuleDocument;

/// The JSON Schema of this form.
pub const SCHEMA: &str = include_str!("schema.json");

/// A plan on the wire and in the store; unknown fields are refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanDocument {
    /// The version of this form: 1.
    pub v: u8,
    /// The rules, at least one.
    pub rules: Vec<RuleDocument>,
    /// Days between the event and its approval; 30 if left out.
    #[serde(default = "default_hold_days")]
    pub hold_days: u16,
    /// `event` (if left out), or `delivery`: the hold of sales and renewals is counted from the time
    /// that the shop names as `delivered_at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_basis: Option<String>,
    /// `auto` (if left out) or `manual`.
    #[serde(default = "default_approval")]
    pub approval: String,
    /// `half_even` (if left out), `half_up` or `down`.
    #[serde(default = "default_rounding")]
    pub rounding: String,
    /// What holds for all rules together; each needs a currency here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caps: Vec<CapDocument>,
    /// The currency that commissions are paid in, if not in that of each sale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pay_in: Option<PayInDocument>,
    /// What the recruiter of a partner has of its sales.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recruiter: Option<RecruiterDocument>,
}

/// At most so much in a period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CapDocument {
    /// `day`, `week`, `month` or `all_time`.
    pub period: String,
    /// The most, in major units.
    pub amount: String,
    /// Needed for a cap of the plan; a cap of a rule is in the currency of the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// `partner` (if left out): for each; `program`: a budget for all partners together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per: Option<String>,
    /// The rate for what lies beyond; without it nothing is paid for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then_percent_bps: Option<u32>,
}

/// The currency of payouts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PayInDocument {
    /// ISO 4217 code.
    pub currency: String,
    /// `sale_currency` (if left out): stays as it is; `nothing`: earns nothing and says why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_rate: Option<String>,
}

/// The second level: there is never a third.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecruiterDocument {
    /// The share of the recruited partner's commission, in basis points.
    pub percent_bps: u32,
    /// `on_top` (if left out): the program pays it; `out_of`: it comes out of the commission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
}

fn default_hold_days() -> u16 {
    30
}

fn default_approval() -> String {
    "auto".into()
}

fn default_rounding() -> String {
    Rounding::default().code().into()
}

impl Default for PlanDocument {
    /// The plan of a program that says nothing else: 20 % of each sale, approved after 30 days.
    fn default() -> Self {
        Self {
            v: 1,
            rules: vec![RuleDocument::percent("sale", 2000)],
            hold_days: default_hold_days(),
            hold_basis: None,
            approval: default_approval(),
            rounding: default_rounding(),
            caps: Vec::new(),
            pay_in: None,
            recruiter: None,
        }
    }
}

/// One mistake in a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {message}")]
pub struct FieldError {
    /// Where, as a JSON pointer (RFC 6901): `/rules/0/percent_bps`.
    pub pointer: String,
    /// What is wrong and what is expected.
    pub message: String,
}

impl FieldError {
    /// Returns the mistake at `pointer`.
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }
}

/// All mistakes found in a plan: at most one for each rule and each field beside the rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the plan has {} mistakes, the first: {}", errors.len(), errors[0])]
pub struct InvalidPlan {
    /// The mistakes, never none.
    pub errors: Vec<FieldError>,
}

/// Collects mistakes and goes on reading.
struct Reader(Vec<FieldError>);

impl Reader {
    fn check(&mut self, fits: bool, pointer: &str, message: String) {
        if !fits {
            self.0.push(FieldError::new(pointer, message));
        }
    }

    fn take<T>(&mut self, read: Result<T, FieldError>) -> Option<T> {
        read.map_err(|error| self.0.push(error)).ok()
    }
}

impl TryFrom<&PlanDocument> for PlanTerms {
    type Error = InvalidPlan;

    fn try_from(document: &PlanDocument) -> Result<Self, InvalidPlan> {
        let mut r = Reader(Vec::new());
        let PlanDocument { v, rules, hold_days, approval, rounding, .. } = document;
        let PlanDocument { hold_basis, caps, pay_in, recruiter, .. } = document;
        r.check(*v == 1, "/v", format!("{v} is not a version of this form: expected 1"));
        let n = rules.len();
        r.check(
            (1..=RULES_MAX).contains(&n),
            "/rules",
            format!("{n} rules: expected 1 to {RULES_MAX}"),
        );
        r.check(
            *hold_days <= HOLD_DAYS_MAX,
            "/hold_days",
            format!("{hold_days} is too long: at most {HOLD_DAYS_MAX}"),
        );
        let approvals = [Approval::Auto, Approval::Manual];
        let approval = r.take(one_of(&approvals, Approval::code, approval, "/approval"));
        let basis = hold_basis.as_deref().unwrap_or(HoldBasis::default().code());
        let hold_basis = r.take(one_of(&HoldBasis::ALL, HoldBasis::code, basis, "/hold_basis"));
        let rounding = r.take(one_of(&Rounding::ALL, Rounding::code, rounding, "/rounding"));
        let rules = read_rules(rules, &mut r.0);
        let caps = r.take(read_plan_caps(caps));
        let pay_in = r.take(pay_in.as_ref().map(PayInDocument::read).transpose());
        let recruiter = r.take(recruiter.as_ref().map(RecruiterDocument::read).transpose());
        match (approval, rounding, caps, pay_in, recruiter.zip(hold_basis)) {
            (
                Some(approval),
                Some(rounding),
                Some(caps),
                Some(pay_in),
                Some((recruiter, hold_basis)),
            ) if r.0.is_empty() => {
                let common = Arc::new(Common { rounding, caps, pay_in, recruiter, hold_basis });
                Ok(Self { rules, hold_days: *hold_days, approval, common })
            }
            (Some(_) | None, ..) => Err(InvalidPlan { errors: r.0 }),
        }
    }
}

/// Reads one of the codes of a small set.
fn one_of<T: Copy>(
    all: &[T],
    code: fn(T) -> &'static str,
    text: &str,
    pointer: &str,
) -> Result<T, FieldError> {
    all.iter().copied().find(|one| code(*one) == text).ok_or_else(|| {
        let codes: Vec<&str> = all.iter().map(|one| code(*one)).collect();
        FieldError::new(pointer, format!("{text:?} is none of {}", codes.join(", ")))
    })
}

fn read_rules(documents: &[RuleDocument], errors: &mut Vec<FieldError>) -> Vec<Arc<Rule>> {
    let mut rules: Vec<Arc<Rule>> = Vec::new();
    for (index, document) in documents.iter().take(RULES_MAX).enumerate() {
        let pointer = format!("/rules/{index}");
        match document.read(&pointer) {
            // Two rules for the same case: one of them would silently never pay.
            Ok(rule) => match rules.iter().position(|known| known.ties_with(&rule)) {
                Some(known) => {
                    let message = format!(
                        "rule {} is as specific and may meet the same conversion: remove one, or \
                         let one name something more",
                        known + 1
                    );
                    errors.push(FieldError::new(pointer, message));
                }
                None => rules.push(Arc::new(rule)),
            },
            Err(error) => errors.push(error),
        }
    }
    rules
}

fn read_currency(code: Option<&str>, pointer: &str) -> Result<Option<Currency>, FieldError> {
    code.map(|code| {
        code.parse::<Currency>()
            .map_err(|e| FieldError::new(format!("{pointer}/currency"), e.to_string()))
    })
    .transpose()
}

fn read_rate(bps: u32, at: String) -> Result<Bps, FieldError> {
    // A share above the whole is 20000 typed for 2000, not a reward.
    if (1..=Bps::WHOLE.0).contains(&bps) {
        Ok(Bps(bps))
    } else {
        Err(FieldError::new(at, format!("{bps} is not from 1 to 10000: 2000 is 20 %")))
    }
}

fn read_plan_caps(documents: &[CapDocument]) -> Result<Vec<Cap>, FieldError> {
    let mut caps: Vec<Cap> = Vec::new();
    check_number(documents, "/caps")?;
    for (index, document) in documents.iter().enumerate() {
        let pointer = format!("/caps/{index}");
        let currency = read_currency(document.currency.as_deref(), &pointer)?;
        let currency = currency.ok_or_else(|| {
            FieldError::new(format!("{pointer}/currency"), "is missing: send it like EUR")
        })?;
        if document.then_percent_bps.is_some() {
            let message = "only a cap of a rule can go on at another rate";
            return Err(FieldError::new(format!("{pointer}/then_percent_bps"), message));
        }
        let cap = document.read(currency, &pointer)?;
        let same = |known: &&Cap| known.amount.currency == currency && is_same(known, &cap);
        if caps.iter().any(|known| same(&known)) {
            let message = "an earlier cap has the same period, currency and per: remove one";
            return Err(FieldError::new(pointer, message));
        }
        caps.push(cap);
    }
    Ok(caps)
}

fn is_same(a: &Cap, b: &Cap) -> bool {
    (a.period, a.per) == (b.period, b.per)
}

fn check_number(caps: &[CapDocument], pointer: &str) -> Result<(), FieldError> {
    if caps.len() <= CAPS_MAX {
        return Ok(());
    }
    Err(FieldError::new(pointer, format!("{} caps: at most {CAPS_MAX}", caps.len())))
}

impl CapDocument {
    fn read(&self, currency: Currency, pointer: &str) -> Result<Cap, FieldError> {
        use super::{Owner, Period};
        let period =
            one_of(&Period::ALL, Period::code, &self.period, &format!("{pointer}/period"))?;
        let per = self.per.as_deref().unwrap_or(Owner::Partner.code());
        let per = one_of(&Owner::ALL, Owner::code, per, &format!("{pointer}/per"))?;
        let amount = Money::parse_amount(&self.amount, currency, AmountRule::Positive)
            .map_err(|e| FieldError::new(format!("{pointer}/amount"), e.to_string()))?;
        let at = || format!("{pointer}/then_percent_bps");
        let then = self.then_percent_bps.map(|bps| read_rate(bps, at())).transpose()?;
        Ok(Cap { period, per, amount, then })
    }

    fn of(cap: &Cap, names_currency: Option<Currency>) -> Self {
        Self {
            period: cap.period.code().into(),
            amount: cap.amount.to_decimal_string(),
            currency: names_currency.map(|currency| currency.code().into()),
            per: Some(cap.per.code().into()),
            then_percent_bps: cap.then.map(|rate| rate.0),
        }
    }
}

impl PayInDocument {
    fn read(&self) -> Result<PayIn, FieldError> {
        let currency = self
            .currency
            .parse::<Currency>()
            .map_err(|e| FieldError::new("/pay_in/currency", e.to_string()))?;
        let without_rate = self.without_rate.as_deref();
        let without_rate = one_of(
            &WithoutRate::ALL,
            WithoutRate::code,
            without_rate.unwrap_or(WithoutRate::SaleCurrency.code()),
            "/pay_in/without_rate",
        )?;
        Ok(PayIn { currency, without_rate })
    }
}

impl RecruiterDocument {
    fn read(&self) -> Result<RecruiterShare, FieldError> {
        let rate = read_rate(self.percent_bps, "/recruiter/percent_bps".to_owned())?;
        let modes = [RecruiterMode::OnTop, RecruiterMode::OutOf];
        let mode = self.mode.as_deref().unwrap_or(RecruiterMode::OnTop.code());
        let mode = one_of(&modes, RecruiterMode::code, mode, "/recruiter/mode")?;
        Ok(RecruiterShare { rate, mode })
    }
}

impl From<&PlanTerms> for PlanDocument {
    fn from(terms: &PlanTerms) -> Self {
        let common = &terms.common;
        Self {
            v: 1,
            rules: terms.rules.iter().map(|rule| RuleDocument::from(&**rule)).collect(),
            hold_days: terms.hold_days,
            hold_basis: Some(common.hold_basis)
                .filter(|basis| *basis != HoldBasis::default())
                .map(|basis| basis.code().into()),
            approval: terms.approval.code().into(),
            rounding: common.rounding.code().into(),
            caps: common
                .caps
                .iter()
                .map(|cap| CapDocument::of(cap, Some(cap.amount.currency)))
                .collect(),
            pay_in: common.pay_in.map(|pay_in| PayInDocument {
                currency: pay_in.currency.code().into(),
                without_rate: Some(pay_in.without_rate.code().into()),
            }),
            recruiter: common.recruiter.map(|share| RecruiterDocument {
                percent_bps: share.rate.0,
                mode: Some(share.mode.code().into()),
            }),
        }
    }
}

impl Approval {
    /// Returns the code: `auto` or `manual`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Manual => "manual",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;
    use utoipa::PartialSchema;

    use super::rule_document::{StepDocument, TiersDocument};
    use super::*;

    fn names(object: &Value) -> BTreeSet<String> {
        object["properties"].as_object().unwrap().keys().cloned().collect()
    }

    fn of<T: PartialSchema>() -> BTreeSet<String> {
        names(&serde_json::to_value(T::schema()).unwrap())
    }

    #[test]
    fn the_schema_names_every_field_and_no_other() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let def = |name: &str| names(&schema["$defs"][name]);
        assert_eq!(names(&schema), of::<PlanDocument>());
        assert_eq!(def("rule"), of::<RuleDocument>());
        assert_eq!(def("tiers"), of::<TiersDocument>());
        assert_eq!(def("step"), of::<StepDocument>());
        assert_eq!(def("cap"), of::<CapDocument>());
        assert_eq!(def("pay_in"), of::<PayInDocument>());
        assert_eq!(def("recruiter"), of::<RecruiterDocument>());
    }
}
