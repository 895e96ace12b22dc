//! Pricing by table, plans on the wire, and properties of every plan.

use proptest::prelude::*;

use super::*;
use crate::commission::kind::{Flat, Kind, Percent};

fn eur(minor: i64) -> Money {
    Money::new(minor, "EUR".parse().unwrap())
}

/// Prices for nobody in particular, with counters at nothing.
pub(in crate::commission) fn price(
    terms: &PlanTerms,
    facts: &PriceFacts,
) -> Result<Calculation, NoCommission> {
    super::price(terms, &Inputs::new(*facts, nobody()), |_| Sum::default())
}

pub(in crate::commission) fn nobody() -> Circumstances {
    let at = "2026-11-22T10:00:00Z".parse().unwrap();
    Circumstances::new(crate::ids::PartnerId(uuid::Uuid::nil()), at)
}

fn terms(json: &str) -> PlanTerms {
    let document: PlanDocument = serde_json::from_str(json).unwrap();
    PlanTerms::try_from(&document).unwrap()
}

fn sale(minor: i64) -> PriceFacts {
    PriceFacts::new(EventKind::Sale, Some(eur(minor)))
}

const PLAN: &str = r#"{"v":1,"hold_days":14,"approval":"manual","rounding":"half_up","rules":[
    {"event":"any","kind":"percent","percent_bps":100},
    {"event":"sale","kind":"percent","percent_bps":2000},
    {"event":"sale","currency":"JPY","kind":"percent","percent_bps":1000,"max":"500"},
    {"event":"lead","currency":"EUR","kind":"flat","flat":"5.00"},
    {"event":"renewal","currency":"EUR","kind":"percent_plus_flat","percent_bps":500,"flat":"1.00",
     "min":"2.00","max":"50.00"}]}"#;

#[test]
fn the_most_specific_rule_prices() {
    let plan = terms(PLAN);
    let yen = |minor| Some(Money::new(minor, "JPY".parse().unwrap()));
    for (event, amount, rule, total) in [
        (EventKind::Sale, Some(eur(14_990)), 1, "29.98 EUR"),
        (EventKind::Sale, yen(1_500), 2, "150 JPY"),
        (EventKind::Sale, yen(100_000), 2, "500 JPY"),
        (EventKind::Lead, None, 3, "5.00 EUR"),
        (EventKind::Lead, Some(eur(100)), 3, "5.00 EUR"),
        (EventKind::Lead, yen(1_000), 0, "10 JPY"),
        (EventKind::Install, Some(eur(1_000)), 0, "0.10 EUR"),
        (EventKind::Renewal, Some(eur(10_000)), 4, "6.00 EUR"),
        (EventKind::Renewal, Some(eur(100)), 4, "2.00 EUR"),
        (EventKind::Renewal, Some(eur(1_000_000)), 4, "50.00 EUR"),
    ] {
        let priced = price(&plan, &PriceFacts::new(event, amount)).unwrap();
        assert_eq!(
            (priced.rule_index, priced.total.to_string().as_str()),
            (rule, total),
            "{event:?}"
        );
    }
}

#[test]
fn an_event_named_counts_more_than_a_currency_and_the_earlier_of_equals_wins() {
    let plan = terms(
        r#"{"v":1,"rules":[{"event":"any","currency":"EUR","kind":"percent","percent_bps":100},
            {"event":"sale","kind":"percent","percent_bps":200},
            {"event":"lead","currency":"USD","kind":"flat","flat":"6"},
            {"event":"lead","currency":"EUR","kind":"flat","flat":"5"}]}"#,
    );
    assert_eq!(price(&plan, &sale(10_000)).unwrap().rule_index, 1);
    let lead = price(&plan, &PriceFacts::new(EventKind::Lead, None)).unwrap();
    assert_eq!(lead.total.to_string(), "6.00 USD");
}

#[test]
fn a_sum_that_meets_a_limit_exactly_was_not_changed_by_it() {
    let limit = |minor| {
        let facts = PriceFacts::new(EventKind::Renewal, Some(eur(minor)));
        price(&terms(PLAN), &facts).unwrap().limit
    };
    assert_eq!((limit(2_000), limit(98_000)), (None, None));
    assert_eq!(limit(1_960), Some(Limit::RaisedToMin(eur(200))));
    assert_eq!(limit(98_020), Some(Limit::CutToMax(eur(5_000))));
}

#[test]
fn nothing_has_a_reason() {
    let plan = terms(
        r#"{"v":1,"rules":[{"event":"sale","kind":"percent","percent_bps":1},
            {"event":"lead","currency":"EUR","kind":"flat","flat":"5.00"}]}"#,
    );
    let yen = Some(Money::new(100, "JPY".parse().unwrap()));
    let no_tax = PriceFacts { tax: Some(eur(1_000)), ..sale(1_000) };
    let mixed = PriceFacts { tax: yen, ..sale(1_000) };
    for (facts, reason) in [
        (PriceFacts::new(EventKind::Signup, None), "the plan pays nothing for signup"),
        (PriceFacts::new(EventKind::Lead, yen), "the plan pays for lead, but not in JPY"),
        (PriceFacts::new(EventKind::Sale, None), "sale came without one"),
        (no_tax, "nothing of 10.00 EUR is left"),
        (PriceFacts { tax: Some(eur(1_001)), ..sale(1_000) }, "nothing of 10.00 EUR is left"),
        (sale(4_999), "0.01 % of 49.99 EUR is less than the smallest unit"),
        (mixed, "do not fit together"),
    ] {
        let none = price(&plan, &facts).unwrap_err();
        assert!(none.to_string().contains(reason), "{none}");
    }
    assert_eq!(price(&plan, &sale(5_001)).unwrap().total, eur(1));
}

#[test]
fn tax_shipping_and_discount_are_no_part_of_the_base() {
    let plan = terms(PLAN);
    let facts = PriceFacts {
        tax: Some(eur(1_900)),
        shipping: Some(eur(490)),
        discount: Some(eur(10)),
        ..sale(12_400)
    };
    let priced = price(&plan, &facts).unwrap();
    assert_eq!((priced.base, priced.total), (Some(eur(10_000)), eur(2_000)));
    assert_eq!(
        priced.sentence(),
        "Rule 2: 124.00 EUR less tax 19.00 EUR and shipping 4.90 EUR and discount 0.10 EUR leaves \
         100.00 EUR, 20 % of 100.00 EUR is 20.00 EUR (rounded half_up); commission 20.00 EUR."
    );
    let lead = price(&plan, &PriceFacts::new(EventKind::Lead, None)).unwrap();
    assert_eq!(lead.sentence(), "Rule 4: a flat 5.00 EUR for each lead; commission 5.00 EUR.");
    let renewal = price(&plan, &PriceFacts::new(EventKind::Renewal, Some(eur(1_000)))).unwrap();
    assert_eq!(
        renewal.sentence(),
        "Rule 5: 5 % of 10.00 EUR is 0.50 EUR (rounded half_up), plus a flat 1.00 EUR, \
         raised to the minimum of 2.00 EUR; commission 2.00 EUR."
    );
}

#[test]
fn a_refund_scales_the_rate_and_leaves_the_flat_part() {
    let plan = terms(
        r#"{"v":1,"rules":[{"event":"any","currency":"EUR","kind":"percent_plus_flat",
            "percent_bps":1000,"flat":"3.00"}]}"#,
    );
    let facts = PriceFacts { tax: Some(eur(2_000)), ..sale(12_000) };
    let priced = price(&plan, &facts).unwrap();
    assert_eq!(priced.total, eur(1_300));
    let left = |minor| priced.after_refund_of(eur(minor)).map(|left| left.total);
    assert_eq!(left(6_000), Ok(eur(800)), "half of 100.00 net, plus 3.00");
    assert_eq!(left(0), Ok(eur(1_300)));
}

#[test]
fn a_plan_survives_the_wire() {
    let plan = terms(PLAN);
    let json = serde_json::to_string(&PlanDocument::from(&plan)).unwrap();
    assert_eq!(terms(&json), plan);
    assert_eq!((plan.hold_days, plan.approval), (14, Approval::Manual));
    let brief = terms(r#"{"v":1,"rules":[{"event":"sale","kind":"percent","percent_bps":2000}]}"#);
    assert_eq!((brief.hold_days, brief.approval), (30, Approval::Auto));
    assert_eq!(brief.common.rounding, Rounding::HalfEven);
}

#[test]
fn every_mistake_in_a_plan_is_named_by_its_pointer() {
    for (rule, pointer) in [
        (r#""event":"sold","kind":"percent","percent_bps":1"#, "/rules/0/event"),
        (r#""event":"sale","kind":"tiered""#, "/rules/0/kind"),
        (r#""event":"sale","kind":"percent""#, "/rules/0/percent_bps"),
        (r#""event":"sale","kind":"percent","percent_bps":0"#, "/rules/0/percent_bps"),
        (r#""event":"sale","kind":"percent","percent_bps":10001"#, "/rules/0/percent_bps"),
        (
            r#""event":"sale","kind":"percent","percent_bps":1,"currency":"XXX""#,
            "/rules/0/currency",
        ),
        (r#""event":"sale","kind":"percent","percent_bps":1,"min":"1""#, "/rules/0/currency"),
        (
            r#""event":"sale","kind":"percent","percent_bps":1,"currency":"EUR","flat":"1""#,
            "/rules/0/flat",
        ),
        (r#""event":"lead","kind":"flat","currency":"EUR""#, "/rules/0/flat"),
        (r#""event":"lead","kind":"flat","flat":"5""#, "/rules/0/currency"),
        (r#""event":"lead","kind":"flat","currency":"EUR","flat":"5,0""#, "/rules/0/flat"),
        (r#""event":"lead","kind":"flat","currency":"EUR","flat":"0""#, "/rules/0/flat"),
        (
            r#""event":"lead","kind":"flat","currency":"EUR","flat":"5","percent_bps":1"#,
            "/rules/0/percent_bps",
        ),
        (
            r#""event":"lead","kind":"flat","currency":"EUR","flat":"5","min":"9","max":"8""#,
            "/rules/0/min",
        ),
        (r#""event":"click","kind":"flat","currency":"EUR","flat":"1""#, "/rules/0/kind"),
        (r#""event":"sale","kind":"clicks","currency":"EUR","flat":"1""#, "/rules/0/event"),
        (r#""event":"any","kind":"clicks","currency":"EUR","flat":"1""#, "/rules/0/event"),
        (r#""event":"click","kind":"clicks","currency":"EUR""#, "/rules/0/flat"),
        (
            r#""event":"click","kind":"clicks","currency":"EUR","flat":"1","per_clicks":0"#,
            "/rules/0/per_clicks",
        ),
        (
            r#""event":"lead","kind":"flat","currency":"EUR","flat":"1","per_clicks":2"#,
            "/rules/0/per_clicks",
        ),
        (
            r#""event":"click","kind":"clicks","currency":"EUR","flat":"1","placements":["a"]"#,
            "/rules/0/placements",
        ),
        (
            r#""event":"click","kind":"clicks","currency":"EUR","flat":"1","customer":"new""#,
            "/rules/0/customer",
        ),
    ] {
        let document = serde_json::from_str(&format!(r#"{{"v":1,"rules":[{{{rule}}}]}}"#)).unwrap();
        let invalid = PlanTerms::try_from(&document).unwrap_err();
        assert_eq!(invalid.errors[0].pointer, pointer, "{rule}: {invalid}");
    }
    let rule = r#"{"event":"sale","kind":"percent","percent_bps":1}"#;
    let all = format!(
        r#"{{"v":2,"rules":[{rule},{rule}],"hold_days":366,"approval":"yes","rounding":"up"}}"#
    );
    let invalid = PlanTerms::try_from(&serde_json::from_str(&all).unwrap()).unwrap_err();
    let pointers: Vec<&str> = invalid.errors.iter().map(|e| e.pointer.as_str()).collect();
    assert_eq!(pointers, ["/v", "/hold_days", "/approval", "/rounding", "/rules/1"]);
    let empty = serde_json::from_str(r#"{"v":1,"rules":[]}"#).unwrap();
    assert_eq!(PlanTerms::try_from(&empty).unwrap_err().errors[0].pointer, "/rules");
    assert!(serde_json::from_str::<PlanDocument>(r#"{"v":1,"rules":[],"tiers":[]}"#).is_err());
    let unknown = r#"{"v":1,"rules":[{"event":"sale","kind":"percent","percent":20}]}"#;
    assert!(serde_json::from_str::<PlanDocument>(unknown).is_err());
}

#[test]
fn an_event_is_priced_by_the_version_of_its_own_time() {
    let day = |d: u32| -> Timestamp { format!("2026-11-{d:02}T00:00:00Z").parse().unwrap() };
    let version = |d| PlanVersion {
        id: PlanVersionId::new(),
        effective_from: day(d),
        terms: terms(PLAN).into(),
    };
    let mut versions = vec![version(10), version(1), version(20), version(20)];
    let at = |d| version_at(&versions, d).map(|v| v.id);
    assert_eq!(at(day(1) - chrono::Duration::microseconds(1)), None);
    assert_eq!(at(day(1)), Some(versions[1].id));
    assert_eq!(at(day(10) - chrono::Duration::microseconds(1)), Some(versions[1].id));
    assert_eq!(at(day(10)), Some(versions[0].id));
    let last = versions[2].id.max(versions[3].id);
    assert_eq!(at(day(30)), Some(last));
    versions.reverse();
    assert_eq!(version_at(&versions, day(30)).map(|v| v.id), Some(last));
}

prop_compose! {
    /// A plan of one rule of each kind and any limits.
    pub(in crate::commission) fn any_plan()(
        shape in 0u8..3, bps in 1u32..=10_000, flat in 1i64..100_000,
        min in prop::option::of(1i64..5_000), above_min in prop::option::of(0i64..1_000_000),
        rounding in prop::sample::select(&Rounding::ALL),
    ) -> PlanTerms {
        let (percent, flat) = (Percent { rate: Bps(bps) }, Flat { amount: eur(flat) });
        let kind = match shape {
            0 => Kind::Percent(percent),
            1 => Kind::Flat(flat),
            _ => Kind::PercentPlusFlat(percent, flat),
        };
        let max = above_min.map(|more| eur(min.unwrap_or(1) + more));
        let currency = Some("EUR".parse().unwrap());
        let rule = Rule { min: min.map(eur), max, ..Rule::plain(None, currency, kind) };
        let common = Arc::new(Common { rounding, ..Common::default() });
        PlanTerms { rules: vec![Arc::new(rule)], hold_days: 30, approval: Approval::Auto, common }
    }
}

proptest! {
    #[test]
    fn the_steps_recompute_to_the_total(
        plan in any_plan(), minor in 1i64..=1_000_000_000_000, tax in 0i64..1_000_000,
    ) {
        let facts = PriceFacts { tax: Some(eur(tax)), ..sale(minor) };
        if let Ok(priced) = price(&plan, &facts) {
            prop_assert_eq!(&price(&plan, &priced.inputs.facts).unwrap(), &priced);
            let percent = priced.percent.map_or(0, |(rate, part)| {
                let again = priced.base.unwrap().mul_bps(rate, priced.common.rounding).unwrap();
                assert_eq!(again, part);
                part.minor
            });
            let sum = percent + priced.flat.map_or(0, |flat| flat.minor);
            let least = priced.rule.min.map_or(sum, |min| sum.max(min.minor));
            let total = priced.rule.max.map_or(least, |max| least.min(max.minor));
            prop_assert_eq!(priced.total.minor, total);
            prop_assert!(priced.total.is_positive());
            prop_assert_eq!(priced.limit.is_some(), sum != total);
        }
    }

    #[test]
    fn a_larger_sale_never_earns_less(plan in any_plan(), minor in 1i64..1_000_000_000, more in 0i64..1_000_000) {
        let total = |minor| price(&plan, &sale(minor)).map_or(0, |priced| priced.total.minor);
        prop_assert!(total(minor) <= total(minor + more));
    }

    #[test]
    fn any_plan_survives_the_wire(plan in any_plan()) {
        let json = serde_json::to_string(&PlanDocument::from(&plan)).unwrap();
        prop_assert_eq!(terms(&json), plan);
    }
}
