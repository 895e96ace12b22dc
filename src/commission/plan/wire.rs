//! A calculation as it is stored with its commission: the inputs, what the counters said, the
//! rule and why it won, every step, and a sentence.
//!
//! Version 2. What was stored before has no `v` and no inputs; it is read for its split alone.
//! [`recompute`] prices the stored inputs again, so that an audit can compare.

use std::sync::Arc;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};

use super::calculation::{Calculation, FxRate, Inputs, Limit, Split};
use super::cap::CapStep;
use super::condition::{Circumstances, CustomerKind};
use super::counter::{Count, Counter, Owner, Period, Scope, Sum, Volume};
use super::rule::rivals;
use super::{EventKind, NoCommission, PlanTerms, PriceFacts, price, price_by};
use crate::clock::Timestamp;
use crate::commission::kind::ClickCount;
use crate::ids::{CommissionId, PartnerId, PlanVersionId};
use crate::money::{Currency, Money};

/// The version of this form.
pub const VERSION: u64 = 2;

/// What a commission was priced from.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// The inputs.
    pub inputs: Inputs,
    /// What the counters said.
    pub sums: Vec<(Counter, Sum)>,
    /// What it added to them.
    pub counts: Vec<Count>,
    /// The position of the rule that priced it.
    pub rule_index: usize,
}

#[derive(Serialize, Deserialize)]
struct InputsWire {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fx: Option<FxWire>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rank: Option<Arc<str>>,
    event: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    clicks: Option<ClicksWire>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    country: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    category: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    currency: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    customer: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    placement: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    recruiter: Option<PartnerId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tax_minor: Option<i64>,
    partner_id: PartnerId,
    occurred_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    amount_minor: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    customer_since: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    discount_minor: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refunded_minor: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shipping_minor: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct ClicksWire {
    n: i64,
    day: NaiveDate,
    before: i64,
}

#[derive(Serialize, Deserialize)]
struct FxWire {
    at: Timestamp,
    to: String,
    from: String,
    source: Arc<str>,
    rate_nano: i64,
}

#[derive(Serialize, Deserialize)]
struct CounterWire {
    n: i64,
    owner: String,
    scope: i64,
    period: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    whole_n: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    whole_minor: Option<i64>,
    amount_minor: i64,
    earned_minor: i64,
}

#[derive(Deserialize)]
struct StoredWire {
    v: u64,
    rule: usize,
    inputs: InputsWire,
    split: Option<Split>,
    #[serde(default)]
    sums: Vec<CounterWire>,
    #[serde(default)]
    counts: Vec<CounterWire>,
}

/// A calculation with all its steps, as it is written. Here and below fields stand in the order in which
/// PostgreSQL keeps them.
#[derive(Serialize)]
struct CalculationWire {
    v: u64,
    base: Option<Decimal>,
    caps: Vec<CapWire>,
    flat: Option<Decimal>,
    over: Vec<RivalWire>,
    rule: usize,
    sums: Vec<CounterWire>,
    limit: Option<LimitWire>,
    split: Option<Split>,
    total: Decimal,
    whole: Decimal,
    counts: Vec<CounterWire>,
    inputs: InputsWire,
    slices: Vec<SliceWire>,
    currency: &'static str,
    rounding: &'static str,
    sentence: String,
    recruiter: Option<RecruiterWire>,
    percent_bps: Option<u32>,
    is_converted: bool,
    percent_amount: Option<Decimal>,
    plan_version_id: PlanVersionId,
}

#[derive(Serialize)]
struct RivalWire {
    rule: usize,
    what: Option<&'static str>,
    because: &'static str,
}

#[derive(Serialize)]
struct SliceWire {
    base: Decimal,
    step: usize,
    percent_bps: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum LimitWire {
    RaisedTo(Decimal),
    CutTo(Decimal),
}

#[derive(Serialize)]
struct CapWire {
    per: &'static str,
    found: Decimal,
    amount: Decimal,
    before: Decimal,
    beyond: Decimal,
    period: &'static str,
    within: Decimal,
}

#[derive(Serialize)]
struct RecruiterWire {
    mode: &'static str,
    amount: Decimal,
    partner_id: PartnerId,
    percent_bps: u32,
}

/// An amount without its currency, as a text.
struct Decimal(Money);

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0.to_decimal_string())
    }
}

impl CalculationWire {
    fn of(of: &Calculation, version_id: PlanVersionId, terms: &PlanTerms) -> Self {
        let (inputs, common) = (&of.inputs, &of.common);
        let rivals = rivals(terms, &inputs.facts, &inputs.around, of.rule_index).into_iter();
        let cap = |step: &CapStep| CapWire {
            period: step.cap.period.code(),
            per: step.cap.per.code(),
            amount: Decimal(step.cap.amount),
            before: Decimal(Money::new(step.before_minor, step.cap.amount.currency)),
            found: Decimal(step.found),
            within: Decimal(step.within),
            beyond: Decimal(step.beyond),
        };
        let over = rivals.map(|(rule, lost)| {
            let (because, what) = lost.code();
            RivalWire { rule, because, what }
        });
        let slices = of.slices.iter().map(|slice| SliceWire {
            step: slice.step,
            base: Decimal(slice.base),
            percent_bps: slice.rate.0,
        });
        Self {
            v: VERSION,
            plan_version_id: version_id,
            rule: of.rule_index,
            over: over.collect(),
            inputs: InputsWire::of(inputs),
            base: of.base.map(Decimal),
            slices: slices.collect(),
            percent_bps: of.percent.map(|(rate, _)| rate.0),
            percent_amount: of.percent.map(|(_, part)| Decimal(part)),
            flat: of.flat.map(Decimal),
            rounding: common.rounding.code(),
            limit: of.limit.map(|limit| match limit {
                Limit::RaisedToMin(to) => LimitWire::RaisedTo(Decimal(to)),
                Limit::CutToMax(to) => LimitWire::CutTo(Decimal(to)),
            }),
            whole: Decimal(of.whole),
            split: inputs.split.clone(),
            caps: of.caps.iter().map(cap).collect(),
            is_converted: of.is_converted,
            recruiter: of.recruiter.map(|part| RecruiterWire {
                partner_id: part.partner_id,
                percent_bps: part.rate.0,
                mode: part.mode.code(),
                amount: Decimal(part.amount),
            }),
            sums: of.sums.iter().map(|(c, sum)| CounterWire::of_sum(*c, *sum)).collect(),
            counts: of.counts.iter().map(CounterWire::of_count).collect(),
            total: Decimal(of.total),
            currency: of.total.currency.code(),
            sentence: of.sentence(),
        }
    }
}

const PLAIN: &str = "texts and numbers always serialize";

/// Writes a calculation by this edition, for the store.
pub fn to_text(of: &Calculation, version_id: PlanVersionId, terms: &PlanTerms) -> String {
    serde_json::to_string(&CalculationWire::of(of, version_id, terms)).expect(PLAIN)
}

/// Writes a calculation by this edition, as a tree that more can be put into.
pub fn to_wire(of: &Calculation, version_id: PlanVersionId, terms: &PlanTerms) -> Value {
    serde_json::to_value(CalculationWire::of(of, version_id, terms)).expect(PLAIN)
}

/// Reads what was stored; none for a form without inputs, and for one that this release does not
/// know.
pub fn from_wire(stored: &Value) -> Option<Stored> {
    read(StoredWire::deserialize(stored).ok()?)
}

/// Reads it from its text, without a tree in between: for many of them.
pub fn from_text(stored: &str) -> Option<Stored> {
    read(serde_json::from_str(stored).ok()?)
}

fn read(wire: StoredWire) -> Option<Stored> {
    if wire.v != VERSION {
        return None;
    }
    let sums: Option<Vec<_>> = wire.sums.iter().map(CounterWire::sum).collect();
    let counts: Option<Vec<_>> = wire.counts.iter().map(CounterWire::count).collect();
    let inputs = Inputs { split: wire.split, ..wire.inputs.read()? };
    Some(Stored { inputs, sums: sums?, counts: counts?, rule_index: wire.rule })
}

/// Reads the split alone, which every form has had.
pub fn split(stored: &Value) -> Option<Split> {
    Split::deserialize(stored.get("split")?).ok()
}

/// Writes why a recruiter earns from the commission of a recruited partner.
pub fn recruiter_wire(of: CommissionId, from: &Calculation) -> Option<Value> {
    let part = from.recruiter?;
    let sentence = format!(
        "{} of the commission of the recruited partner; commission {}.",
        part.rate, part.amount
    );
    Some(json!({
        "v": VERSION, "recruiter_of": of, "percent_bps": part.rate.0, "mode": part.mode.code(),
        "total": part.amount.to_decimal_string(), "currency": part.amount.currency.code(),
        "sentence": sentence,
    }))
}

/// Returns new arithmetic for a row that may be a correction: then it says of what.
pub fn corrected(row: &Value, mut arithmetic: Value) -> Value {
    for name in ["corrects", "cause"] {
        if let Some(value) = row.get(name) {
            arithmetic[name] = value.clone();
        }
    }
    arithmetic
}

/// Prices the stored inputs again by the edition that is named there.
///
/// `None`: stored by an older release without its inputs.
pub fn recompute(stored: &Value, terms: &PlanTerms) -> Option<Result<Calculation, NoCommission>> {
    let Stored { inputs, sums, rule_index, .. } = from_wire(stored)?;
    let read = |counter| read_sum(&sums, counter);
    Some(match inputs.clicks {
        // Each of them met the rule by circumstances of its own.
        Some(_) => price_by(terms, rule_index, &inputs, read),
        None => price(terms, &inputs, read),
    })
}

/// Finds what a counter said.
pub fn read_sum(sums: &[(Counter, Sum)], counter: Counter) -> Sum {
    sums.iter().find(|(known, _)| *known == counter).map(|(_, sum)| *sum).unwrap_or_default()
}

impl InputsWire {
    fn of(inputs: &Inputs) -> Self {
        let Inputs { facts, around, refunded, rate, clicks, .. } = inputs;
        let minor = |money: Option<Money>| money.map(|m| m.minor);
        Self {
            event: facts.event.code().into(),
            occurred_at: around.occurred_at,
            partner_id: around.partner_id,
            currency: facts.amount.map(|m| m.currency.code().into()),
            amount_minor: minor(facts.amount),
            tax_minor: minor(facts.tax),
            shipping_minor: minor(facts.shipping),
            discount_minor: minor(facts.discount),
            refunded_minor: minor(*refunded),
            rank: around.rank.clone(),
            group: around.group.clone(),
            placement: around.placement.clone(),
            category: around.category.clone(),
            country: around.country.clone(),
            customer: around.customer.map(|kind| kind.code().into()),
            customer_since: around.customer_since,
            recruiter: around.recruiter,
            fx: rate.as_ref().map(|rate| FxWire {
                from: rate.from.code().into(),
                to: rate.to.code().into(),
                rate_nano: rate.rate_nano,
                source: Arc::clone(&rate.source),
                at: rate.at,
            }),
            clicks: clicks.map(|ClickCount { day, before, n }| ClicksWire { day, before, n }),
        }
    }

    fn read(self) -> Option<Inputs> {
        let currency = match &self.currency {
            Some(code) => Some(code.parse::<Currency>().ok()?),
            None => None,
        };
        let money = |minor: Option<i64>| Some(Money::new(minor?, currency?));
        let customer = match self.customer.as_deref() {
            Some(code) => Some(CustomerKind::ALL.into_iter().find(|kind| kind.code() == code)?),
            None => None,
        };
        let facts = PriceFacts {
            event: EventKind::from_code(&self.event)?,
            amount: money(self.amount_minor),
            tax: money(self.tax_minor),
            shipping: money(self.shipping_minor),
            discount: money(self.discount_minor),
        };
        let around = Circumstances {
            occurred_at: self.occurred_at,
            partner_id: self.partner_id,
            rank: self.rank,
            group: self.group,
            placement: self.placement,
            category: self.category,
            country: self.country,
            customer,
            customer_since: self.customer_since,
            recruiter: self.recruiter,
        };
        let rate = match self.fx {
            Some(fx) => Some(FxRate {
                from: fx.from.parse().ok()?,
                to: fx.to.parse().ok()?,
                rate_nano: fx.rate_nano,
                source: fx.source,
                at: fx.at,
            }),
            None => None,
        };
        let refunded = money(self.refunded_minor);
        let clicks = self.clicks.map(|ClicksWire { day, before, n }| ClickCount { day, before, n });
        Some(Inputs { facts, around, split: None, refunded, rate, clicks })
    }
}

impl CounterWire {
    fn of(counter: Counter, volume: Volume, earned_minor: i64) -> Self {
        Self {
            scope: counter.scope.0,
            owner: counter.owner.code().into(),
            period: counter.period.code().into(),
            n: volume.n,
            amount_minor: volume.amount_minor,
            earned_minor,
            whole_n: None,
            whole_minor: None,
        }
    }

    fn of_sum(counter: Counter, sum: Sum) -> Self {
        Self {
            whole_n: Some(sum.whole.n),
            whole_minor: Some(sum.whole.amount_minor),
            ..Self::of(counter, sum.before, sum.earned_minor)
        }
    }

    fn of_count(count: &Count) -> Self {
        Self::of(count.counter, count.volume, count.earned_minor)
    }

    fn counter(&self) -> Option<Counter> {
        let owner = Owner::from_code(&self.owner)?;
        let period = Period::from_code(&self.period)?;
        Some(Counter { scope: Scope(self.scope), owner, period })
    }

    fn volume(&self) -> Volume {
        Volume { n: self.n, amount_minor: self.amount_minor }
    }

    fn sum(&self) -> Option<(Counter, Sum)> {
        let whole = Volume {
            n: self.whole_n.unwrap_or_default(),
            amount_minor: self.whole_minor.unwrap_or_default(),
        };
        let sum = Sum { before: self.volume(), whole, earned_minor: self.earned_minor };
        Some((self.counter()?, sum))
    }

    fn count(&self) -> Option<Count> {
        let (volume, earned_minor) = (self.volume(), self.earned_minor);
        Some(Count { counter: self.counter()?, volume, earned_minor })
    }
}
