//! Golden explanations: what is said of commissions of every kind, word by word.

use std::fmt::Write as _;
use std::sync::Arc;

use uuid::Uuid;

use super::sentences;
use crate::clock::Timestamp;
use crate::commission::kind::ClickCount;
use crate::commission::plan::{
    Approval, Circumstances, Counter, EventKind, FxRate, Inputs, Language, PlanDocument, PlanTerms,
    PlanVersion, PriceFacts, Split, Sum, Volume, price, price_by, wire,
};
use crate::commission::{Commission, CommissionKind, CommissionState};
use crate::ids::{CommissionId, ConversionId, PartnerId, PlanVersionId, ProgramId};
use crate::money::Money;

const GOLDEN: [(Language, &str); 2] =
    [(Language::En, include_str!("golden.txt")), (Language::Ru, include_str!("golden.ru.txt"))];

/// What is said, in a language.
struct Golden {
    text: String,
    lang: Language,
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn eur(minor: i64) -> Money {
    Money::new(minor, "EUR".parse().unwrap())
}

fn version(json: serde_json::Value) -> PlanVersion {
    let document: PlanDocument = serde_json::from_value(json).unwrap();
    PlanVersion {
        id: PlanVersionId(Uuid::from_u128(7)),
        effective_from: at("2026-11-01T00:00:00Z"),
        terms: PlanTerms::try_from(&document).unwrap().into(),
    }
}

fn sale(minor: i64) -> Inputs {
    let partner_id = PartnerId(Uuid::from_u128(1));
    let facts = PriceFacts::new(EventKind::Sale, Some(eur(minor)));
    Inputs::new(facts, Circumstances::new(partner_id, at("2026-11-02T10:00:00Z")))
}

fn row(version: &PlanVersion, inputs: &Inputs, sums: impl Fn(Counter) -> Sum) -> Commission {
    let calculation = match inputs.clicks {
        Some(_) => price_by(&version.terms, 0, inputs, sums),
        None => price(&version.terms, inputs, sums),
    };
    let calculation = calculation.unwrap();
    let occurred_at = inputs.around.occurred_at;
    Commission {
        program_id: ProgramId(Uuid::from_u128(9)),
        commission_id: CommissionId(Uuid::from_u128(2)),
        kind: CommissionKind::Earned,
        state: CommissionState::Pending,
        partner_id: inputs.around.partner_id,
        conversion_id: Some(ConversionId(Uuid::from_u128(3))),
        corrects_id: None,
        cause: String::new(),
        amount: calculation.total,
        plan_version_id: Some(version.id),
        calculation: wire::to_wire(&calculation, version.id, &version.terms).into(),
        occurred_at,
        hold_until: occurred_at + chrono::TimeDelta::days(30),
        approval: Approval::Auto,
        created_at: occurred_at,
        approved_at: None,
        reason: None,
        payout_id: None,
        revision: 1,
    }
}

fn nothing(_: Counter) -> Sum {
    Sum::default()
}

fn said(golden: &mut Golden, title: &str, version: &PlanVersion, of: &Commission) {
    let Golden { text, lang } = golden;
    writeln!(text, "# {title}").unwrap();
    for sentence in sentences(of, Some(version), *lang) {
        writeln!(text, "{sentence}").unwrap();
    }
    text.push('\n');
}

fn plain(golden: &mut Golden) {
    let plan = version(serde_json::json!({"v": 1, "rules": [
        {"event": "sale", "kind": "percent", "percent_bps": 2000},
        {"event": "sale", "kind": "percent", "percent_bps": 2500, "customer": "new"},
        {"event": "lead", "kind": "flat", "flat": "5.00", "currency": "EUR"}]}));
    let mut inputs = sale(12_400);
    (inputs.facts.tax, inputs.facts.shipping) = (Some(eur(1_900)), Some(eur(490)));
    let earned = row(&plan, &inputs, nothing);
    said(golden, "A share of a sale, held", &plan, &earned);
    inputs.refunded = Some(eur(5_000));
    let mut left = row(&plan, &inputs, nothing);
    (left.state, left.approved_at) = (CommissionState::Approved, Some(at("2026-12-02T10:00:00Z")));
    said(golden, "Part of it went back, the rest is approved", &plan, &left);
    let clawback = Commission {
        kind: CommissionKind::Clawback,
        amount: eur(-807),
        cause: "R-7".to_owned(),
        reason: Some("order_canceled".to_owned()),
        calculation: serde_json::json!({}).into(),
        ..left
    };
    said(golden, "A clawback", &plan, &clawback);
    inputs.split = Some(Split { index: 1, weights: vec![40, 20, 40] });
    let mut shared = row(&plan, &inputs, nothing);
    (shared.state, shared.reason) = (CommissionState::OnHold, Some("too_fast".to_owned()));
    said(golden, "A part of a shared sale, under review", &plan, &shared);
}

fn counted(golden: &mut Golden) {
    let plan = version(serde_json::json!({"v": 1, "rules": [
        {"event": "sale", "kind": "percent", "percent_bps": 1000, "currency": "EUR", "max": "90.00",
         "tiers": {"period": "month", "mode": "progressive",
                   "steps": [{"from_amount": "1000.00", "percent_bps": 1500}]}}],
        "caps": [{"period": "day", "per": "program", "amount": "100.00", "currency": "EUR"}]}));
    let before = |minor: i64, earned_minor: i64| {
        move |_: Counter| Sum {
            before: Volume { n: 1, amount_minor: minor },
            whole: Volume { n: 1, amount_minor: minor },
            earned_minor,
        }
    };
    let crossing = row(&plan, &sale(40_000), before(80_000, 8_000));
    said(golden, "A sale that crosses a tier, cut by a budget", &plan, &crossing);
    let zero = row(&plan, &sale(40_000), before(80_000, 10_000));
    said(golden, "A zero, because the budget was used up", &plan, &zero);
}

fn paid_in(golden: &mut Golden) {
    let plan = version(serde_json::json!({"v": 1, "rounding": "half_up", "approval": "manual",
        "rules": [{"event": "sale", "kind": "percent_plus_flat", "percent_bps": 2000,
                   "flat": "1.00", "currency": "USD"}],
        "pay_in": {"currency": "EUR"}, "recruiter": {"percent_bps": 1000, "mode": "out_of"}}));
    let usd = "USD".parse().unwrap();
    let mut inputs = sale(0);
    inputs.facts.amount = Some(Money::new(10_000, usd));
    inputs.around.recruiter = Some(PartnerId(Uuid::from_u128(4)));
    inputs.rate = Some(FxRate {
        from: usd,
        to: "EUR".parse().unwrap(),
        rate_nano: 921_300_000,
        source: Arc::from("ecb"),
        at: at("2026-11-02T00:00:00Z"),
    });
    let mut earned = row(&plan, &inputs, nothing);
    earned.approval = Approval::Manual;
    said(golden, "Paid in another currency, with a recruiter", &plan, &earned);
    (earned.state, earned.reason) = (CommissionState::Rejected, Some("fraud".to_owned()));
    said(golden, "Refused", &plan, &earned);
}

fn clicked(golden: &mut Golden) {
    let plan = version(serde_json::json!({"v": 1, "rules": [
        {"event": "click", "kind": "clicks", "flat": "7.50", "per_clicks": 1000,
         "currency": "EUR"}]}));
    let mut inputs = sale(0);
    inputs.facts = PriceFacts::new(EventKind::Click, None);
    let day = "2026-11-01".parse().unwrap();
    for (title, before, n) in [("Clicks of a day", 0, 1234), ("Late clicks of it", 1234, 10)] {
        inputs.clicks = Some(ClickCount { day, before, n });
        let mut earned = row(&plan, &inputs, nothing);
        (earned.kind, earned.conversion_id) = (CommissionKind::Clicks, None);
        said(golden, title, &plan, &earned);
    }
}

/// What tiers, people and recruiters change of it later, and what each kind begins as.
fn later(golden: &mut Golden) {
    let plan = version(serde_json::json!({"v": 1, "recruiter": {"percent_bps": 1000}, "rules": [
        {"event": "sale", "kind": "percent_plus_flat", "percent_bps": 1000, "flat": "2.00",
         "currency": "EUR"},
        {"event": "lead", "kind": "flat", "flat": "5.00", "currency": "EUR"},
        {"event": "renewal", "kind": "percent", "percent_bps": 500, "within_months": 12}]}));
    let mut inputs = sale(10_000);
    let earned = row(&plan, &inputs, nothing);
    said(golden, "A share and an amount", &plan, &earned);
    inputs.facts = PriceFacts::new(EventKind::Lead, None);
    said(golden, "An amount for a lead", &plan, &row(&plan, &inputs, nothing));
    inputs.facts = PriceFacts::new(EventKind::Renewal, Some(eur(10_000)));
    inputs.around.customer_since = Some(at("2026-03-01T00:00:00Z"));
    said(golden, "A renewal within a year", &plan, &row(&plan, &inputs, nothing));
    let corrected = |kind, minor, cause: &str, reason: Option<&str>| Commission {
        kind,
        amount: eur(minor),
        cause: cause.to_owned(),
        reason: reason.map(str::to_owned),
        calculation: serde_json::json!({}).into(),
        state: CommissionState::Approved,
        approved_at: Some(at("2026-12-02T10:00:00Z")),
        ..earned.clone()
    };
    let by_hand = format!("by_hand:{}:0", earned.commission_id);
    for (title, kind, minor, cause, reason) in [
        ("A tier that was reached later", CommissionKind::TrueUp, 500, "period:cm_1:0", None),
        ("An order that changed", CommissionKind::Adjustment, -300, "msg_9", None),
        ("What a person took back", CommissionKind::Clawback, -250, &by_hand, Some("fraud")),
    ] {
        said(golden, title, &plan, &corrected(kind, minor, cause, reason));
    }
    let paid = Commission {
        state: CommissionState::Paid,
        approved_at: Some(at("2026-12-02T10:00:00Z")),
        ..earned.clone()
    };
    said(golden, "Paid", &plan, &paid);
}

#[test]
fn explanations_are_said_word_by_word_as_agreed() {
    let said = GOLDEN.map(|(lang, expected)| {
        let mut golden = Golden { text: String::new(), lang };
        plain(&mut golden);
        counted(&mut golden);
        paid_in(&mut golden);
        clicked(&mut golden);
        later(&mut golden);
        (golden.text.trim_end().to_owned(), expected.trim_end())
    });
    for (said, expected) in &said {
        assert!(said == expected, "\nif it is meant, keep this:\n\n{said}\n");
    }
}
