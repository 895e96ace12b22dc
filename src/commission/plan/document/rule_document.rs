//! A rule of a plan as JSON, and how it is read.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CapDocument, FieldError, check_number, is_same, one_of, read_currency, read_rate};
use crate::clock::Timestamp;
use crate::commission::kind::Kind;
use crate::commission::plan::cap::Cap;
use crate::commission::plan::condition::VALUES_MAX;
use crate::commission::plan::tier::{Measure, STEPS_MAX, TierMode};
use crate::commission::plan::{
    Condition, CustomerKind, EventKind, Part, Period, Rule, Scope, TierStep, Tiers,
};
use crate::ids::PartnerId;
use crate::money::{AmountRule, Currency, Money};

/// Longest time after a first sale that a rule may name: ten years.
const MONTHS_MAX: u16 = 120;
/// Longest text of a condition.
const TEXT_MAX: usize = 64;

/// A rule on the wire; which of the amounts it needs depends on its kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleDocument {
    /// `sale`, `lead`, `signup`, `install`, `renewal`, `any` of these, or `click`.
    pub event: String,
    /// `percent`, `flat`, `percent_plus_flat`, or `clicks` for the event `click`.
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
    /// For how many clicks `flat` is paid; 1 if left out, 1000 for the price of a thousand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_clicks: Option<u32>,
    /// At least this, in major units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<String>,
    /// At most this for one conversion, in major units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<String>,
    /// What is taken off the amount before the rate: of `tax`, `shipping`, `discount`; all three
    /// if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub less: Option<Vec<String>>,
    /// Only these partners, by id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partners: Option<Vec<String>>,
    /// Only partners of these groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
    /// Only partners of these ranks, `A` to `D`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranks: Option<Vec<String>>,
    /// Only where the link stood on such a place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placements: Option<Vec<String>>,
    /// Only products of these categories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub categories: Option<Vec<String>>,
    /// Only `new` or only `returning` customers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<String>,
    /// Only customers of these countries, as two capital letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub countries: Option<Vec<String>>,
    /// Only within so many months of the customer's first sale; for life if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within_months: Option<u16>,
    /// From when on it holds, RFC 3339; from the edition's beginning if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Until when it holds, exclusive, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// How the rate rises with what a partner brings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiers: Option<TiersDocument>,
    /// At most so much in a period.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caps: Vec<CapDocument>,
}

/// Tiers on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TiersDocument {
    /// `day`, `week`, `month` or `all_time`.
    pub period: String,
    /// `progressive`: for what lies above a threshold; `retroactive`: for the whole period.
    pub mode: String,
    /// The steps, by rising threshold.
    pub steps: Vec<StepDocument>,
}

/// A step of tiers: one threshold, and what holds from there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StepDocument {
    /// From this conversion of the period on: 11 begins with the eleventh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_count: Option<u32>,
    /// Above this amount in the period, in major units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_amount: Option<String>,
    /// The rate in basis points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent_bps: Option<u32>,
    /// The fixed part in major units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flat: Option<String>,
}

impl RuleDocument {
    /// Returns a rule of one rate for one event.
    pub fn percent(event: &str, percent_bps: u32) -> Self {
        Self {
            event: event.into(),
            kind: "percent".into(),
            percent_bps: Some(percent_bps),
            ..Self::default()
        }
    }

    /// Returns a rule of one amount for one event.
    pub fn flat(event: &str, currency: &str, flat: &str) -> Self {
        Self {
            event: event.into(),
            kind: "flat".into(),
            currency: Some(currency.into()),
            flat: Some(flat.into()),
            ..Self::default()
        }
    }

    pub(super) fn read(&self, pointer: &str) -> Result<Rule, FieldError> {
        let event = match self.event.as_str() {
            "any" => None,
            code => Some(EventKind::from_code(code).ok_or_else(|| {
                FieldError::new(
                    format!("{pointer}/event"),
                    format!("{code:?} is none of sale, lead, signup, install, renewal, click, any"),
                )
            })?),
        };
        let currency = read_currency(self.currency.as_deref(), pointer)?;
        let kind = Kind::read(self, pointer)?;
        self.check_clicks(event, &kind, pointer)?;
        let min = self.amount("min", self.min.as_deref(), pointer)?;
        let max = self.amount("max", self.max.as_deref(), pointer)?;
        if let (Some(min), Some(max)) = (min, max)
            && min.minor > max.minor
        {
            let message = format!("{min} is above max, {max}");
            return Err(FieldError::new(format!("{pointer}/min"), message));
        }
        let (from, until) =
            (time(&self.from, pointer, "from")?, time(&self.until, pointer, "until")?);
        if from.zip(until).is_some_and(|(from, until)| from >= until) {
            let message = "must be after from";
            return Err(FieldError::new(format!("{pointer}/until"), message));
        }
        let rule = Rule {
            event,
            currency,
            conditions: self.conditions(pointer)?,
            from,
            until,
            less: self.parts(pointer)?,
            kind,
            min,
            max,
            tiers: self.read_tiers(&kind, pointer)?,
            caps: self.read_caps(&kind, pointer)?,
            scope: Scope(0),
        };
        Ok(rule.with_scope())
    }

    /// Refuses what a rule for clicks cannot keep: of a click the partner, the country and the hour
    /// are known, and what a link says of its placement the partner says itself.
    fn check_clicks(
        &self,
        event: Option<EventKind>,
        kind: &Kind,
        pointer: &str,
    ) -> Result<(), FieldError> {
        let wrong =
            |name: &str, message: &str| Err(FieldError::new(format!("{pointer}/{name}"), message));
        match (event == Some(EventKind::Click), kind.clicks().is_some()) {
            (false, false) => return Ok(()),
            (true, false) => return wrong("kind", "must be clicks for the event click"),
            (false, true) => return wrong("event", "must be click for the kind clicks"),
            (true, true) => {}
        }
        let given = [
            ("min", self.min.is_some()),
            ("max", self.max.is_some()),
            ("less", self.less.is_some()),
            ("placements", self.placements.is_some()),
            ("categories", self.categories.is_some()),
            ("customer", self.customer.is_some()),
            ("within_months", self.within_months.is_some()),
            ("tiers", self.tiers.is_some()),
        ];
        match given.into_iter().find(|(_, is_given)| *is_given) {
            Some((name, _)) => wrong(name, "is not for clicks: remove it"),
            None => Ok(()),
        }
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
        let currency = self.own_currency(name, pointer)?;
        Money::parse_amount(text, currency, AmountRule::Positive)
            .map(Some)
            .map_err(|e| FieldError::new(format!("{pointer}/{name}"), e.to_string()))
    }

    fn own_currency(&self, name: &str, pointer: &str) -> Result<Currency, FieldError> {
        read_currency(self.currency.as_deref(), pointer)?.ok_or_else(|| {
            FieldError::new(format!("{pointer}/currency"), format!("is missing: {name} needs one"))
        })
    }

    fn parts(&self, pointer: &str) -> Result<Vec<Part>, FieldError> {
        let Some(codes) = &self.less else { return Ok(Part::ALL.to_vec()) };
        let mut parts = Vec::with_capacity(codes.len());
        for (n, code) in codes.iter().enumerate() {
            parts.push(one_of(&Part::ALL, Part::code, code, &format!("{pointer}/less/{n}"))?);
        }
        parts.sort();
        parts.dedup();
        Ok(parts)
    }

    fn conditions(&self, pointer: &str) -> Result<Vec<Condition>, FieldError> {
        let mut conditions = Vec::new();
        if let Some(partners) = &self.partners {
            let at = format!("{pointer}/partners");
            let mut set = BTreeSet::new();
            for (n, text) in values(partners, &at)?.iter().enumerate() {
                let id = text.parse::<PartnerId>();
                set.insert(id.map_err(|e| FieldError::new(format!("{at}/{n}"), e.to_string()))?);
            }
            conditions.push(Condition::Partner(set));
        }
        type Make = fn(BTreeSet<String>) -> Condition;
        let fields: [(&str, &Option<Vec<String>>, Make, Check); 5] = [
            ("groups", &self.groups, Condition::Group, is_text),
            ("ranks", &self.ranks, Condition::Rank, is_rank),
            ("placements", &self.placements, Condition::Placement, is_text),
            ("categories", &self.categories, Condition::Category, is_text),
            ("countries", &self.countries, Condition::Country, is_country),
        ];
        for (name, given, make, check) in fields {
            let Some(given) = given else { continue };
            let at = format!("{pointer}/{name}");
            for (n, text) in values(given, &at)?.iter().enumerate() {
                check(text).map_err(|message| FieldError::new(format!("{at}/{n}"), message))?;
            }
            conditions.push(make(given.iter().cloned().collect()));
        }
        if let Some(code) = &self.customer {
            let at = format!("{pointer}/customer");
            let kind = one_of(&CustomerKind::ALL, CustomerKind::code, code, &at)?;
            conditions.push(Condition::Customer(kind));
        }
        if let Some(months) = self.within_months {
            if !(1..=MONTHS_MAX).contains(&months) {
                let message = format!("{months} is not from 1 to {MONTHS_MAX}");
                return Err(FieldError::new(format!("{pointer}/within_months"), message));
            }
            conditions.push(Condition::WithinMonths(months));
        }
        // One order whatever the writer's: the name of its counters depends on it.
        conditions.sort_by_key(Condition::named);
        Ok(conditions)
    }

    fn read_tiers(&self, kind: &Kind, pointer: &str) -> Result<Option<Tiers>, FieldError> {
        let Some(tiers) = &self.tiers else { return Ok(None) };
        let at = format!("{pointer}/tiers");
        let period = one_of(&Period::ALL, Period::code, &tiers.period, &format!("{at}/period"))?;
        let modes = [TierMode::Progressive, TierMode::Retroactive];
        let mode = one_of(&modes, TierMode::code, &tiers.mode, &format!("{at}/mode"))?;
        if !(1..=STEPS_MAX).contains(&tiers.steps.len()) {
            let message = format!("{} steps: expected 1 to {STEPS_MAX}", tiers.steps.len());
            return Err(FieldError::new(format!("{at}/steps"), message));
        }
        let by = match tiers.steps[0].from_count {
            Some(_) => Measure::Count,
            None => Measure::Amount,
        };
        let mut steps: Vec<TierStep> = Vec::with_capacity(tiers.steps.len());
        for (n, step) in tiers.steps.iter().enumerate() {
            let at = format!("{at}/steps/{n}");
            let step = self.read_step(step, by, kind, &at, pointer)?;
            if steps.last().is_some_and(|before| before.from >= step.from) {
                let message = "its threshold is not above the one before it";
                return Err(FieldError::new(at, message));
            }
            steps.push(step);
        }
        Ok(Some(Tiers { period, mode, by, steps }))
    }

    fn read_step(
        &self,
        step: &StepDocument,
        by: Measure,
        kind: &Kind,
        at: &str,
        pointer: &str,
    ) -> Result<TierStep, FieldError> {
        let wrong = |name: &str, message: &str| FieldError::new(format!("{at}/{name}"), message);
        let from = match (by, step.from_count, &step.from_amount) {
            (Measure::Count, Some(0 | 1), None) => {
                return Err(wrong(
                    "from_count",
                    "must be 2 or more: below it the rule's own holds",
                ));
            }
            (Measure::Count, Some(n), None) => i64::from(n),
            (Measure::Amount, None, Some(text)) => {
                let currency = self.own_currency("from_amount", pointer)?;
                Money::parse_amount(text, currency, AmountRule::Positive)
                    .map_err(|e| wrong("from_amount", &e.to_string()))?
                    .minor
            }
            (Measure::Count, _, _) => {
                return Err(wrong("from_count", "is missing: all steps of a rule count alike"));
            }
            (Measure::Amount, _, _) => {
                return Err(wrong("from_amount", "is missing: all steps of a rule count alike"));
            }
        };
        let rate = step.percent_bps.map(|bps| read_rate(bps, format!("{at}/percent_bps")));
        let rate = rate.transpose()?;
        let flat = match &step.flat {
            Some(text) => {
                let currency = self.own_currency("flat", pointer)?;
                let flat = Money::parse_amount(text, currency, AmountRule::Positive);
                Some(flat.map_err(|e| wrong("flat", &e.to_string()))?)
            }
            None => None,
        };
        match (kind.percent().is_some(), kind.flat().is_some()) {
            (false, _) if rate.is_some() => Err(wrong("percent_bps", "the rule has no rate")),
            (_, false) if flat.is_some() => Err(wrong("flat", "the rule has no fixed part")),
            (true, false) if rate.is_none() => Err(wrong("percent_bps", "is missing")),
            (false, _) if flat.is_none() => Err(wrong("flat", "is missing")),
            (true, true) if rate.is_none() && flat.is_none() => {
                Err(wrong("percent_bps", "is missing: a step changes the rate or the fixed part"))
            }
            (true | false, true | false) => Ok(TierStep { from, rate, flat }),
        }
    }

    fn read_caps(&self, kind: &Kind, pointer: &str) -> Result<Vec<Cap>, FieldError> {
        check_number(&self.caps, &format!("{pointer}/caps"))?;
        let mut caps: Vec<Cap> = Vec::with_capacity(self.caps.len());
        for (n, document) in self.caps.iter().enumerate() {
            let at = format!("{pointer}/caps/{n}");
            let wrong = |name: &str, message: &str| FieldError::new(format!("{at}{name}"), message);
            if document.currency.is_some() {
                return Err(wrong("/currency", "remove it: the currency of the rule holds"));
            }
            let cap = document.read(self.own_currency("caps", pointer)?, &at)?;
            if caps.iter().any(|known| is_same(known, &cap)) {
                return Err(wrong("", "an earlier cap has the same period and per: remove one"));
            }
            let is_plain = matches!(kind, Kind::Percent(_)) && self.tiers.is_none();
            if cap.then.is_some() && !is_plain {
                let message = "needs a rule of kind percent without tiers: use tiers instead";
                return Err(wrong("/then_percent_bps", message));
            }
            if cap.then.is_some() && caps.iter().any(|known| known.then.is_some()) {
                return Err(wrong("/then_percent_bps", "an earlier cap has one: remove one"));
            }
            caps.push(cap);
        }
        Ok(caps)
    }
}

type Check = fn(&str) -> Result<(), String>;

fn is_text(text: &str) -> Result<(), String> {
    let n = text.chars().count();
    if (1..=TEXT_MAX).contains(&n) && !text.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(format!("must have 1 to {TEXT_MAX} characters, none of them a control character"))
    }
}

fn is_rank(text: &str) -> Result<(), String> {
    if ["A", "B", "C", "D"].contains(&text) {
        Ok(())
    } else {
        Err(format!("{text:?} is none of A, B, C, D"))
    }
}

fn is_country(text: &str) -> Result<(), String> {
    if text.len() == 2 && text.bytes().all(|b| b.is_ascii_uppercase()) {
        Ok(())
    } else {
        Err(format!("{text:?} is not a country: send two capital letters, like DE"))
    }
}

fn values<'a>(given: &'a [String], at: &str) -> Result<&'a [String], FieldError> {
    if (1..=VALUES_MAX).contains(&given.len()) {
        Ok(given)
    } else {
        let message = format!("{} values: expected 1 to {VALUES_MAX}", given.len());
        Err(FieldError::new(at, message))
    }
}

fn time(text: &Option<String>, pointer: &str, name: &str) -> Result<Option<Timestamp>, FieldError> {
    let read = |text: &String| {
        text.parse::<Timestamp>().map_err(|_| {
            let message = format!("{text:?} is not a time like 2026-11-22T10:15:04Z (RFC 3339)");
            FieldError::new(format!("{pointer}/{name}"), message)
        })
    };
    text.as_ref().map(read).transpose()
}

impl From<&Rule> for RuleDocument {
    fn from(rule: &Rule) -> Self {
        let mut document = Self {
            event: rule.event.map_or("any", EventKind::code).into(),
            kind: rule.kind.code().into(),
            currency: rule.currency.map(|currency| currency.code().into()),
            percent_bps: rule.kind.percent().map(|percent| percent.rate.0),
            flat: rule
                .kind
                .flat()
                .map(|flat| flat.amount)
                .or(rule.kind.clicks().map(|clicks| clicks.amount))
                .map(Money::to_decimal_string),
            per_clicks: rule.kind.clicks().map(|clicks| clicks.per).filter(|per| *per != 1),
            min: rule.min.map(Money::to_decimal_string),
            max: rule.max.map(Money::to_decimal_string),
            less: (rule.less != Part::ALL)
                .then(|| rule.less.iter().map(|part| part.code().into()).collect()),
            from: rule.from.map(|at| at.to_rfc3339()),
            until: rule.until.map(|at| at.to_rfc3339()),
            tiers: rule.tiers.as_ref().map(|tiers| TiersDocument::of(tiers, rule)),
            caps: rule.caps.iter().map(|cap| CapDocument::of(cap, None)).collect(),
            ..Self::default()
        };
        for condition in &rule.conditions {
            let texts = |set: &BTreeSet<String>| Some(set.iter().cloned().collect());
            match condition {
                Condition::Partner(set) => {
                    document.partners = Some(set.iter().map(ToString::to_string).collect());
                }
                Condition::Group(set) => document.groups = texts(set),
                Condition::Rank(set) => document.ranks = texts(set),
                Condition::Placement(set) => document.placements = texts(set),
                Condition::Category(set) => document.categories = texts(set),
                Condition::Country(set) => document.countries = texts(set),
                Condition::Customer(kind) => document.customer = Some(kind.code().into()),
                Condition::WithinMonths(months) => document.within_months = Some(*months),
            }
        }
        document
    }
}

impl TiersDocument {
    fn of(tiers: &Tiers, rule: &Rule) -> Self {
        let amount = |minor| rule.currency.map(|c| Money::new(minor, c).to_decimal_string());
        let step = |step: &TierStep| StepDocument {
            from_count: match tiers.by {
                Measure::Count => u32::try_from(step.from).ok(),
                Measure::Amount => None,
            },
            from_amount: match tiers.by {
                Measure::Count => None,
                Measure::Amount => amount(step.from),
            },
            percent_bps: step.rate.map(|rate| rate.0),
            flat: step.flat.map(Money::to_decimal_string),
        };
        Self {
            period: tiers.period.code().into(),
            mode: tiers.mode.code().into(),
            steps: tiers.steps.iter().map(step).collect(),
        }
    }
}
