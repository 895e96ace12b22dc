//! Clicks in any portions, by any edition: each paid once, and never more than a cap allows.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::commission::plan::{PlanDocument, PlanTerms, wire};
use crate::commission::pricing::{Footing, Person};
use crate::money::Money;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn version(n: u128, from: &str, rules: serde_json::Value) -> PlanVersion {
    let json = serde_json::json!({"v": 1, "rules": rules});
    let document: PlanDocument = serde_json::from_value(json).unwrap();
    PlanVersion {
        id: PlanVersionId(Uuid::from_u128(n)),
        effective_from: at(from),
        terms: PlanTerms::try_from(&document).unwrap().into(),
    }
}

fn clicks(flat: &str, more: serde_json::Value) -> serde_json::Value {
    let mut rule =
        serde_json::json!({"event": "click", "kind": "clicks", "flat": flat, "currency": "EUR"});
    rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    rule
}

fn day() -> Day {
    let (from, to) = (at("2026-11-02T00:00:00Z"), at("2026-11-03T00:00:00Z"));
    Day { day: "2026-11-02".parse().unwrap(), from, to }
}

fn hour(hour: i64, country: &str, n: i64) -> Hour {
    let country = Some(Arc::from(country)).filter(|country: &Arc<str>| !country.is_empty());
    Hour { hour: day().from + TimeDelta::hours(hour), country, n }
}

/// A program that is paid for on a day, bit by bit.
struct Book {
    versions: Vec<PlanVersion>,
    facts: PricingFacts,
    of: PartnerDay,
}

impl Book {
    fn new(versions: Vec<PlanVersion>) -> Self {
        let of = PartnerDay {
            partner_id: PartnerId(Uuid::from_u128(1)),
            standing: Standing::Good,
            day: day(),
            hours: Vec::new(),
            paid: Vec::new(),
        };
        Self { versions, facts: PricingFacts::default(), of }
    }

    /// Pays for what there is now; returns each rule, how many clicks, what for, and how it begins.
    fn pay(&mut self) -> Vec<(usize, i64, i64, CommissionState)> {
        let program_id = ProgramId(Uuid::from_u128(9));
        let now = day().to + SETTLED_AFTER;
        let payer = Payer { program_id, versions: &self.versions, now };
        let mut made = Vec::new();
        for step in payer.pay(&mut self.facts, &self.of).unwrap() {
            let row = step.after;
            let stored = wire::from_wire(&row.calculation).unwrap();
            let clicks = stored.inputs.clicks.unwrap();
            assert_eq!(step.posting.is_some(), row.amount.is_positive() && row.reason.is_none());
            self.of.paid.push(Paid {
                plan_version_id: row.plan_version_id.unwrap(),
                rule_index: stored.rule_index,
                n: clicks.before + clicks.n,
                state: row.state,
                reason: row.reason,
            });
            made.push((stored.rule_index, clicks.n, row.amount.minor, row.state));
        }
        made
    }
}

#[test]
fn each_click_is_paid_by_the_rule_and_the_edition_of_its_hour() {
    let rules = serde_json::json!([
        clicks("0.10", serde_json::json!({})),
        clicks("0.25", serde_json::json!({"countries": ["DE"]})),
        clicks("0.50", serde_json::json!({"groups": ["gold"], "until": "2026-11-02T04:00:00Z"})),
        {"event": "any", "kind": "percent", "percent_bps": 2000}
    ]);
    let dearer = serde_json::json!([clicks("20.00", serde_json::json!({"per_clicks": 1000}))]);
    let mut book = Book::new(vec![
        version(1, "2026-11-01T00:00:00Z", rules),
        // From within an hour: that one is still paid by the edition before.
        version(2, "2026-11-02T12:30:00Z", dearer),
    ]);
    let footing = Footing { group: Some("gold".into()), ..Footing::default() };
    let person = Person { footings: vec![(day().from, footing)], ..Person::default() };
    book.facts.people.insert((ProgramId(Uuid::from_u128(9)), book.of.partner_id), person);
    book.of.hours = vec![
        hour(3, "DE", 1),
        hour(4, "DE", 10),
        hour(4, "FR", 100),
        hour(12, "", 1000),
        hour(13, "DE", 1025),
    ];
    let pending = CommissionState::Pending;
    let expected = [
        (0, 1100, 11_000, pending),
        (1, 10, 250, pending),
        (2, 1, 50, pending),
        (0, 1025, 2_050, pending),
    ];
    assert_eq!(book.pay(), expected);
    assert_eq!(book.pay(), [], "all of them are paid");
}

#[test]
fn late_clicks_of_a_doubtful_day_wait_and_whoever_is_blocked_earns_nothing() {
    let rules = serde_json::json!([clicks("0.10", serde_json::json!({}))]);
    let mut book = Book::new(vec![version(1, "2026-11-01T00:00:00Z", rules)]);
    book.of.hours = vec![hour(1, "", 5)];
    assert_eq!(book.pay(), [(0, 5, 50, CommissionState::Pending)]);
    (book.of.paid[0].state, book.of.paid[0].reason) =
        (CommissionState::Rejected, Some("fraud".to_owned()));
    book.of.hours.push(hour(2, "", 3));
    let program_id = ProgramId(Uuid::from_u128(9));
    let payer = Payer { program_id, versions: &book.versions, now: day().to };
    let row = payer.pay(&mut book.facts.clone(), &book.of).unwrap().remove(0).after;
    assert_eq!((row.state, row.reason.as_deref()), (CommissionState::OnHold, Some("fraud")));
    book.of.standing = Standing::Blocked;
    let row = payer.pay(&mut book.facts.clone(), &book.of).unwrap().remove(0);
    assert_eq!(
        (row.after.state, row.posting, row.counted.len()),
        (CommissionState::Rejected, None, 0)
    );
}

#[test]
fn days_are_those_of_the_programs_time_zone_that_are_over() {
    let rules = serde_json::json!([clicks("0.10", serde_json::json!({}))]);
    let versions = [version(1, "2026-10-24T22:30:00Z", rules)];
    let found = days(&versions, Tz::Europe__Berlin, at("2026-10-27T00:00:00Z"));
    let told: Vec<String> = found.iter().map(|d| format!("{} {}", d.day, d.to - d.from)).collect();
    // The clock is set back on the 25th: it has an hour more.
    assert_eq!(told, ["2026-10-25 PT90000S", "2026-10-26 PT86400S"]);
    assert_eq!(days(&versions, Tz::Europe__Berlin, at("2026-10-26T23:59:59Z")).len(), 1);
    assert_eq!(days(&versions, Tz::UTC, at("2027-06-01T02:00:00Z")).len(), 35);
    let other = serde_json::json!([{"event": "any", "kind": "percent", "percent_bps": 2000}]);
    let none = [version(1, "2026-10-24T22:30:00Z", other)];
    assert_eq!(days(&none, Tz::UTC, at("2027-06-01T02:00:00Z")), []);
}

proptest! {
    #[test]
    fn in_any_portions_each_click_is_paid_once_and_within_the_cap(
        portions in prop::collection::vec((0i64..24, 0i64..3, 0i64..500), 1..8),
        per in 1u32..1500, cap in prop::option::of(1i64..20_000),
    ) {
        let mut more = serde_json::json!({"per_clicks": per});
        if let Some(cap) = cap {
            let amount = Money::new(cap, "EUR".parse().unwrap()).to_decimal_string();
            more["caps"] = serde_json::json!([{"period": "day", "amount": amount}]);
        }
        let rules = serde_json::json!([clicks("7.35", more)]);
        let versions = vec![version(1, "2026-11-01T00:00:00Z", rules)];
        let (mut by_bits, mut at_once) = (Book::new(versions.clone()), Book::new(versions));
        let (mut n, mut sum) = (0, 0);
        for (at, country, more) in portions {
            let hour = hour(at, ["", "DE", "FR"][usize::try_from(country).unwrap()], more);
            by_bits.of.hours.push(hour.clone());
            at_once.of.hours.push(hour);
            for (_, n_paid, minor, _) in by_bits.pay() {
                (n, sum) = (n + n_paid, sum + minor);
            }
            prop_assert_eq!(by_bits.pay(), []);
        }
        let whole = at_once.pay();
        let (n_whole, minor): (i64, i64) =
            whole.iter().fold((0, 0), |(n, sum), row| (n + row.1, sum + row.2));
        prop_assert_eq!((n, sum), (n_whole, minor));
        prop_assert!(cap.is_none_or(|cap| sum <= cap));
    }
}

#[test]
fn the_table_of_the_page_is_right() {
    let page = include_str!("../../../docs/commissions.md");
    let (_, table) = page.split_once("| Clicks of a day |").unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let (mut book, mut n_rows) = (Book::new(Vec::new()), 0);
    for line in rows {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let n: i64 = cells[0].split(' ').next().unwrap().parse().unwrap();
        if !cells[0].contains("later") {
            let words: Vec<&str> = cells[1].split([' ', ',']).collect();
            let mut more = serde_json::json!({});
            if words[1] == "for" {
                more["per_clicks"] = words[2].parse::<u32>().unwrap().into();
            }
            if let Some((_, most)) = cells[1].split_once("at most ") {
                let amount = most.split(' ').next().unwrap();
                more["caps"] = serde_json::json!([{"period": "day", "amount": amount}]);
            }
            let rules = serde_json::json!([clicks(words[0], more)]);
            book = Book::new(vec![version(1, "2026-11-01T00:00:00Z", rules)]);
        }
        book.of.hours.push(hour(1, "", n));
        let found = Money::new(book.pay()[0].2, "EUR".parse().unwrap()).to_decimal_string();
        assert_eq!(found, cells[2], "{line}");
        n_rows += 1;
    }
    assert_eq!(n_rows, 4);
}
