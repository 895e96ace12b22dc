//! A plan as JSON: the wire form, version 1, and what is wrong with it, by JSON pointer.
//!
//! ```json
//! {"v":1,"hold_days":30,"approval":"auto","rounding":"half_even","rules":[
//!   {"event":"sale","kind":"percent","percent_bps":2000},
//!   {"event":"lead","kind":"flat","currency":"EUR","flat":"5.00"},
//!   {"event":"any","kind":"percent_plus_flat","currency":"EUR","percent_bps":500,"flat":"1.00",
//!    "min":"2.00","max":"50.00"}]}
//! ```

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Approval, EventKind, HOLD_DAYS_MAX, PlanTerms, RULES_MAX, Rule};
use crate::commission::kind::Kind;
use crate::money::{AmountRule, Currency, Money, Rounding};

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
    /// `auto` (if left out) or `manual`.
    #[serde(default = "default_approval")]
    pub approval: String,
    /// `half_even` (if left out), `half_up` or `down`.
    #[serde(default = "default_rounding")]
    pub rounding: String,
}

/// A rule on the wire; which of the amounts it needs depends on its kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleDocument {
    /// `sale`, `lead`, `signup`, `install`, `renewal` or `any`.
    pub event: String,
    /// `percent`, `flat` or `percent_plus_flat`.
    pub kind: String,
    /// Only sales in this currency; needed as soon as the rule names an amount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// The rate in basis points: 2000 is 20 %.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent_bps: Option<u32>,
    /// The fixed part in major units: `5.00`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flat: Option<String>,
    /// At least this, in major units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<String>,
    /// At most this, in major units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<String>,
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

impl TryFrom<&PlanDocument> for PlanTerms {
    type Error = InvalidPlan;

    fn try_from(document: &PlanDocument) -> Result<Self, InvalidPlan> {
        let mut errors = Vec::new();
        let mut check = |fits: bool, pointer: &str, message: String| {
            if !fits {
                errors.push(FieldError::new(pointer, message));
            }
        };
        let PlanDocument { v, rules, hold_days, approval, rounding } = document;
        check(*v == 1, "/v", format!("{v} is not a version of this form: expected 1"));
        let n = rules.len();
        check(
            (1..=RULES_MAX).contains(&n),
            "/rules",
            format!("{n} rules: expected 1 to {RULES_MAX}"),
        );
        check(
            *hold_days <= HOLD_DAYS_MAX,
            "/hold_days",
            format!("{hold_days} is too long: at most {HOLD_DAYS_MAX}"),
        );
        let approvals = [Approval::Auto, Approval::Manual];
        let found_approval = approvals.into_iter().find(|a| a.code() == approval);
        check(
            found_approval.is_some(),
            "/approval",
            format!("{approval:?} is neither auto nor manual"),
        );
        let found_rounding = Rounding::ALL.into_iter().find(|r| r.code() == rounding);
        check(
            found_rounding.is_some(),
            "/rounding",
            format!("{rounding:?} is none of half_even, half_up, down"),
        );
        let rules = read_rules(rules, &mut errors);
        match (found_approval, found_rounding) {
            (Some(approval), Some(rounding)) if errors.is_empty() => {
                Ok(Self { rules, hold_days: *hold_days, approval, rounding })
            }
            (Some(_) | None, _) => Err(InvalidPlan { errors }),
        }
    }
}

fn read_rules(documents: &[RuleDocument], errors: &mut Vec<FieldError>) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for (index, document) in documents.iter().take(RULES_MAX).enumerate() {
        let pointer = format!("/rules/{index}");
        match document.read(&pointer) {
            // Two rules for the same case: one of them would silently never pay.
            Ok(rule)
                if rules.iter().any(|r| (r.event, r.currency) == (rule.event, rule.currency)) =>
            {
                let message = "an earlier rule has the same event and currency: remove one";
                errors.push(FieldError::new(pointer, message));
            }
            Ok(rule) => rules.push(rule),
            Err(error) => errors.push(error),
        }
    }
    rules
}

impl RuleDocument {
    fn read(&self, pointer: &str) -> Result<Rule, FieldError> {
        let event = match self.event.as_str() {
            "any" => None,
            code => Some(EventKind::from_code(code).ok_or_else(|| {
                FieldError::new(
                    format!("{pointer}/event"),
                    format!("{code:?} is none of sale, lead, signup, install, renewal, any"),
                )
            })?),
        };
        let currency = self.read_currency(pointer)?;
        let kind = Kind::read(self, pointer)?;
        let min = self.amount("min", self.min.as_deref(), pointer)?;
        let max = self.amount("max", self.max.as_deref(), pointer)?;
        if let (Some(min), Some(max)) = (min, max)
            && min.minor > max.minor
        {
            let message = format!("{min} is above max, {max}");
            return Err(FieldError::new(format!("{pointer}/min"), message));
        }
        Ok(Rule { event, currency, kind, min, max })
    }

    fn read_currency(&self, pointer: &str) -> Result<Option<Currency>, FieldError> {
        self.currency
            .as_deref()
            .map(|code| {
                code.parse::<Currency>()
                    .map_err(|e| FieldError::new(format!("{pointer}/currency"), e.to_string()))
            })
            .transpose()
    }

    /// Reads the amount `text` that stands under `name` in this rule at `pointer`.
    ///
    /// An amount says nothing without a currency, so the rule must have one then.
    pub fn amount(
        &self,
        name: &str,
        text: Option<&str>,
        pointer: &str,
    ) -> Result<Option<Money>, FieldError> {
        let Some(text) = text else { return Ok(None) };
        let currency = self.read_currency(pointer)?.ok_or_else(|| {
            FieldError::new(format!("{pointer}/currency"), format!("is missing: {name} needs one"))
        })?;
        Money::parse_amount(text, currency, AmountRule::Positive)
            .map(Some)
            .map_err(|e| FieldError::new(format!("{pointer}/{name}"), e.to_string()))
    }
}

impl From<&PlanTerms> for PlanDocument {
    fn from(terms: &PlanTerms) -> Self {
        Self {
            v: 1,
            rules: terms.rules.iter().map(RuleDocument::from).collect(),
            hold_days: terms.hold_days,
            approval: terms.approval.code().into(),
            rounding: terms.rounding.code().into(),
        }
    }
}

impl From<&Rule> for RuleDocument {
    fn from(rule: &Rule) -> Self {
        Self {
            event: rule.event.map_or("any", EventKind::code).into(),
            kind: rule.kind.code().into(),
            currency: rule.currency.map(|currency| currency.code().into()),
            percent_bps: rule.kind.percent().map(|percent| percent.rate.0),
            flat: rule.kind.flat().map(|flat| flat.amount.to_decimal_string()),
            min: rule.min.map(Money::to_decimal_string),
            max: rule.max.map(Money::to_decimal_string),
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
