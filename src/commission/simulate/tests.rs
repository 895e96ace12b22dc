//! A replay of the plan as it is comes to the ledger; of a draft, to what it would have been.

use std::collections::BTreeMap;
use std::slice;

use chrono::TimeDelta;
use chrono_tz::Tz;
use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::clicks::BookedDay;
use super::past::{self, CommissionLine, Part, Past};
use super::wish::{Answer, Asker, Raise, Wish, raise};
use super::{Draft, Ground, Outcome, Replay, Span};
use crate::clock::Timestamp;
use crate::commission::clicks::{Day, Hour, PartnerDay};
use crate::commission::explain::proof::{Family, Proof};
use crate::commission::plan::{
    Circumstances, EventKind, Inputs, Language, PriceFacts, Split, wire,
};
use crate::commission::pricing::revalue::Earned;
use crate::commission::pricing::revalue::tests::{
    Book, Sale, any_plan, any_sales, by_hand, run, start, terms,
};
use crate::commission::pricing::{PricingFacts, Told};
use crate::commission::state::Standing;
use crate::commission::{Commission, CommissionKind, Hand};
use crate::conversion::path::{Path, PathClick};
use crate::ids::PartnerId;
use crate::money::{AmountRule, Money};

fn line(row: &Commission) -> CommissionLine {
    CommissionLine {
        conversion_id: row.conversion_id,
        commission_id: row.commission_id,
        kind: row.kind,
        state: row.state,
        partner_id: row.partner_id,
        corrects_id: row.corrects_id,
        amount: row.amount,
        version_id: row.plan_version_id,
        calculation: row.calculation.to_string(),
    }
}

fn past(earned: &Earned) -> Past {
    let row = &earned.commission;
    let rows = [row].into_iter().chain(&earned.followers);
    Past {
        conversion_id: row.conversion_id.unwrap(),
        name: earned.name.clone(),
        occurred_at: row.occurred_at,
        price: wire::from_wire(&row.calculation).map(|stored| stored.inputs.facts),
        told: Told::default(),
        refund: earned.refund.clone(),
        attributed_to: Some(row.partner_id),
        path: None,
        booked: past::booked(rows.map(line).collect()),
    }
}

/// Returns the history of a book in the order of time.
fn history(book: &Book) -> Vec<Past> {
    let mut pasts: Vec<Past> = book.earned.iter().map(past).collect();
    pasts.sort_by(|a, b| (a.occurred_at, &a.name).cmp(&(b.occurred_at, &b.name)));
    pasts
}

fn span() -> Span {
    Span { from: start(), to: start() + TimeDelta::days(100) }
}

fn ground(book: &Book) -> Ground {
    Ground {
        program_id: book.program_id,
        zone: Tz::UTC,
        versions: vec![book.version.clone()],
        fixed_until: None,
        facts: PricingFacts::default(),
        earning: (1..4).map(|n| PartnerId(Uuid::from_u128(n))).collect(),
    }
}

/// Returns what clicks earned in a book, day by day.
fn days_of(book: &Book) -> Vec<BookedDay> {
    let mut days: BTreeMap<_, Vec<CommissionLine>> = BTreeMap::new();
    for row in &book.clicks {
        days.entry((row.occurred_at, row.partner_id)).or_default().push(line(row));
    }
    let day = |((happened_at, partner_id), lines)| BookedDay {
        partner_id,
        happened_at,
        booked: past::booked(lines),
    };
    days.into_iter().map(day).collect()
}

fn replay(book: &Book, draft: Option<&serde_json::Value>, parts: Option<&[Part]>) -> Outcome {
    let draft = draft.map(|plan| Draft { from: start(), terms: terms(plan).into() });
    let mut replay = Replay::new(ground(book), draft, span());
    replay.stand(days_of(book));
    let pasts = history(book);
    if replay.counts_first() {
        pasts.iter().for_each(|past| replay.count(past, parts));
    }
    pasts.iter().for_each(|past| replay.take(past, parts));
    replay.finish()
}

fn by_partner(nets: &BTreeMap<String, i64>, book: &Book) -> BTreeMap<PartnerId, i64> {
    let mut sums = BTreeMap::new();
    for earned in &book.earned {
        let net = nets.get(&earned.name).copied().unwrap_or_default();
        *sums.entry(earned.commission.partner_id).or_default() += net;
    }
    sums
}

proptest! {
    #[test]
    fn a_replay_of_the_plan_as_it_is_comes_to_the_ledger(
        plan in any_plan(), (sales, order) in any_sales(),
    ) {
        let mut book = run(&plan, &sales, &order, false);
        book.revalue();
        let expected = by_partner(&book.nets(), &book);
        let outcome = replay(&book, None, None);
        prop_assert_eq!(outcome.n_conversions, book.earned.len() as u64);
        for ((partner, _), tally) in &outcome.partners {
            prop_assert_eq!(tally.now_minor, expected[partner]);
            prop_assert_eq!(tally.then_minor, expected[partner]);
            prop_assert_eq!((tally.by_hand_minor, tally.n_changed), (0, 0));
        }
        prop_assert!(outcome.examples.is_empty() && outcome.nothing_because.is_empty());
    }

    #[test]
    fn a_replay_of_the_plan_as_it_is_comes_to_what_conversions_and_clicks_share(
        plan in any_plan(), (sales, order) in any_sales(),
        clicks in prop::collection::vec((0usize..10, 1u128..3, 0u64..3, 1i64..400), 0..6),
    ) {
        let mut book = Book::new(&with_clicks(plan));
        let pay = |book: &mut Book, at: &dyn Fn(usize) -> bool| {
            for (after, partner, day, n) in &clicks {
                if at(*after) {
                    book.pay_clicks(*partner, *day, *n);
                }
            }
        };
        for (n, sale) in order.iter().enumerate() {
            pay(&mut book, &|after| after == n);
            book.sell(*sale, &sales[*sale], false);
        }
        pay(&mut book, &|after| after >= order.len());
        book.revalue();
        let mut expected = by_partner(&book.nets(), &book);
        for row in &book.clicks {
            *expected.entry(row.partner_id).or_default() += row.amount.minor;
        }
        let outcome = replay(&book, None, None);
        for ((partner, _), tally) in &outcome.partners {
            prop_assert_eq!((tally.now_minor, tally.then_minor), (expected[partner], expected[partner]));
            prop_assert_eq!((tally.by_hand_minor, tally.n_changed), (0, 0));
        }
        let of_clicks: i64 = book.clicks.iter().map(|row| row.amount.minor).sum();
        prop_assert_eq!(outcome.clicks.values().map(|t| t.then_minor).sum::<i64>(), of_clicks);
    }

    #[test]
    fn what_a_person_took_back_stays_taken_back_whatever_comes(
        plan in any_plan(), (sales, order) in any_sales(),
        takes in prop::collection::vec(0i64..5_000, 10),
    ) {
        let expected = by_hand(&plan, &sales);
        let mut book = Book::new(&plan);
        let mut taken: BTreeMap<String, i64> = BTreeMap::new();
        for &n in &order {
            book.sell(n, &sales[n], false);
            let name = format!("A-{n}");
            let left = book.nets().get(&name).copied().unwrap_or_default();
            let take = takes[n].min(left);
            if sales[n].is_approved && take > 0 {
                book.take_back(&name, Money::new(take, "EUR".parse().unwrap()));
                taken.insert(name, take);
            }
        }
        book.revalue();
        for (name, net) in book.nets() {
            let take = taken.get(&name).copied().unwrap_or_default();
            prop_assert_eq!(net, (expected[&name] - take).max(0));
        }
        for earned in &book.earned {
            let (root, followers) = (earned.commission.clone(), earned.followers.clone());
            let proofs = Family { root, followers }.proofs(slice::from_ref(&book.version));
            prop_assert_eq!(proofs, [(earned.commission.commission_id, Proof::Holds)]);
        }
        for tally in replay(&book, None, None).partners.values() {
            prop_assert_eq!(tally.now_minor, tally.then_minor);
        }
    }

    #[test]
    fn a_replay_of_a_draft_comes_to_what_it_would_have_been(
        plan in any_plan(), draft in any_plan(), (sales, order) in any_sales(),
    ) {
        let mut book = run(&plan, &sales, &order, false);
        book.revalue();
        // What was refunded wholly has left both books.
        let expected = by_partner(&by_hand(&draft, &sales), &book);
        let outcome = replay(&book, Some(&draft), None);
        for ((partner, _), tally) in &outcome.partners {
            prop_assert_eq!(tally.then_minor, expected[partner]);
        }
        let changed: i64 = outcome.totals().values().map(|t| t.difference_minor()).sum();
        let now: i64 = book.nets().values().sum();
        prop_assert_eq!(changed, expected.values().sum::<i64>() - now);
    }
}

/// Adds a rule that pays for clicks.
fn with_clicks(mut plan: serde_json::Value) -> serde_json::Value {
    let rule = json!({"event": "click", "kind": "clicks", "flat": "0.10", "currency": "EUR"});
    plan["rules"].as_array_mut().unwrap().push(rule);
    plan
}

#[test]
fn a_draft_pays_for_the_clicks_of_its_days_when_they_are_over() {
    let percent =
        json!({"v": 1, "rules": [{"event": "sale", "kind": "percent", "percent_bps": 1000}]});
    let mut book = Book::new(&with_clicks(percent.clone()));
    for (n, hour) in [10, 30].into_iter().enumerate() {
        let sale = Sale { hour, ..sale(10_000) };
        book.sell(n, &sale, true);
    }
    book.pay_clicks(1, 0, 60);
    book.pay_clicks(1, 0, 100);
    assert_eq!(book.clicks.iter().map(|row| row.amount.minor).collect::<Vec<_>>(), [600, 400]);
    let mut capped = with_clicks(percent.clone());
    capped["caps"] =
        json!([{"period": "month", "per": "program", "amount": "17.00", "currency": "EUR"}]);
    // As it is; without clicks; 17.00 in all: the sale, then the clicks of its day, then no sale.
    for (draft, of_clicks, in_all) in
        [(None, 1000, 3000), (Some(percent), 0, 2000), (Some(capped), 700, 1700)]
    {
        let is_draft = draft.is_some();
        let draft = draft.map(|plan| Draft { from: start(), terms: terms(&plan).into() });
        let mut replay = Replay::new(ground(&book), draft, span());
        replay.stand(days_of(&book));
        if is_draft {
            let day = Day::of(start().date_naive(), Tz::UTC).unwrap();
            let hours = vec![Hour { hour: day.from, country: None, n: 100 }];
            let (partner_id, paid) = (PartnerId(Uuid::from_u128(1)), Vec::new());
            let standing = Standing::Good;
            replay.meet_clicks(vec![PartnerDay { partner_id, standing, day, hours, paid }]);
        }
        history(&book).iter().for_each(|past| replay.take(past, None));
        let outcome = replay.finish();
        let clicks = outcome.clicks.values().next().unwrap();
        assert_eq!((clicks.now_minor, clicks.then_minor), (1000, of_clicks));
        assert_eq!(clicks.n_to_zero, u64::from(of_clicks == 0));
        let total = outcome.totals().into_values().next().unwrap();
        assert_eq!((total.now_minor, total.then_minor, total.n_conversions), (3000, in_all, 2));
    }
}

#[test]
fn a_draft_shares_what_earned_nothing_along_its_path() {
    let plan =
        json!({"v": 1, "rules": [{"event": "sale", "kind": "percent", "percent_bps": 1000}]});
    let book = Book::new(&plan);
    let ids: Vec<PartnerId> = (1..5).map(|n| PartnerId(Uuid::from_u128(n))).collect();
    let click = |partner_id, weight| PathClick {
        click_id: String::new(),
        finding: "counts".to_owned(),
        partner_id: Some(partner_id),
        link_number: None,
        at: Some(start()),
        weight,
        percent: String::new(),
        is_anothers: false,
    };
    // The fourth may not earn; the first has two clicks of five.
    let clicks = [0, 1, 0, 3].map(|n: usize| click(ids[n], if n == 3 { 2 } else { 1 })).to_vec();
    let mut past = past(&{
        let mut book = Book::new(&plan);
        book.sell(0, &sale(10_000), true);
        book.earned.remove(0)
    });
    past.booked.clear();
    past.path = Some(Path::new(Some("linear".to_owned()), None, clicks));
    let then = |draft: Option<&serde_json::Value>, past: &Past| -> Vec<(PartnerId, i64)> {
        let draft = draft.map(|plan| Draft { from: start(), terms: terms(plan).into() });
        let mut replay = Replay::new(ground(&book), draft, span());
        replay.take(past, None);
        let partners = replay.finish().partners;
        partners.into_iter().map(|((id, _), tally)| (id, tally.then_minor)).collect()
    };
    assert_eq!(then(Some(&plan), &past), [(ids[0], 400), (ids[1], 200)]);
    assert_eq!(then(None, &past), [], "what earned nothing still does");
    // By hand it is somebody's whom no path names.
    past.path = Some(Path::new(None, None, Vec::new()));
    assert_eq!(then(Some(&plan), &past), [(ids[0], 1000)]);
}

#[test]
fn parts_of_a_conversion_have_their_budget_in_the_order_of_their_making() {
    let plan = json!({"v": 1, "rules": [{"event": "sale", "kind": "percent", "percent_bps": 1000}],
        "caps": [{"period": "day", "per": "program", "amount": "6.00", "currency": "EUR"}]});
    for is_swapped in [false, true] {
        let mut book = Book::new(&plan);
        for index in [0, 1] {
            let partner_id = PartnerId(Uuid::from_u128(2 - index as u128));
            let facts =
                PriceFacts::new(EventKind::Sale, Some(Money::new(10_000, "EUR".parse().unwrap())));
            let split = Some(Split { index, weights: vec![1, 1] });
            let around = Circumstances::new(partner_id, start());
            book.settle_inputs("A", &Inputs { split, ..Inputs::new(facts, around) });
        }
        if is_swapped {
            book.earned.reverse();
        }
        book.revalue();
        book.earned.sort_by_key(|earned| earned.commission.commission_id);
        let amounts: Vec<i64> =
            book.earned.iter().map(|earned| earned.commission.amount.minor).collect();
        assert_eq!(amounts, [500, 100], "whatever order they are read in");
    }
}

#[test]
fn another_attribution_pays_others_and_the_ledger_stays() {
    let plan =
        json!({"v": 1, "rules": [{"event": "sale", "kind": "percent", "percent_bps": 1000}]});
    let sale = Sale { hour: 1, partner: 1, minor: 10_001, back: 0, n_backs: 1, is_approved: true };
    let book = run(&plan, &[sale], &[0], true);
    let other = PartnerId(Uuid::from_u128(2));
    let part = |index, partner_id| {
        let split = Some(Split { index, weights: vec![1, 1] });
        Part { partner_id, split }
    };
    let whose = [part(0, book.earned[0].commission.partner_id), part(1, other)];
    let outcome = replay(&book, None, Some(&whose));
    let tallies: Vec<(i64, i64)> =
        outcome.partners.values().map(|tally| (tally.now_minor, tally.then_minor)).collect();
    assert_eq!(tallies, [(1000, 500), (0, 500)]);
}

#[test]
fn what_would_pay_nothing_is_told_with_its_reason() {
    let sale =
        |hour, minor| Sale { hour, partner: 1, minor, back: 0, n_backs: 1, is_approved: false };
    let plan =
        json!({"v": 1, "rules": [{"event": "sale", "kind": "percent", "percent_bps": 1000}]});
    let book = run(&plan, &[sale(1, 10_000), sale(2, 5_000)], &[0, 1], true);
    let leads = json!({"v": 1, "rules": [
        {"event": "lead", "kind": "flat", "currency": "EUR", "flat": "5.00"}]});
    let outcome = replay(&book, Some(&leads), None);
    let tally = outcome.totals().into_values().next().unwrap();
    assert_eq!((tally.now_minor, tally.then_minor, tally.n_to_zero), (1500, 0, 2));
    assert_eq!(outcome.nothing_because, BTreeMap::from([("no_rule", 2)]));
    let told: Vec<_> = outcome.examples.iter().map(|e| (e.now_minor, e.sentence.clone())).collect();
    let sentence = Some("Nothing: the plan pays nothing for sale.".to_owned());
    assert_eq!(told, [(1000, sentence.clone()), (500, sentence)]);

    let capped = json!({"v": 1, "rules": [{"event": "sale", "kind": "percent", "percent_bps": 1000}],
        "caps": [{"period": "day", "per": "program", "amount": "10.00", "currency": "EUR"}]});
    let outcome = replay(&book, Some(&capped), None);
    assert_eq!(outcome.nothing_because, BTreeMap::from([("cap", 1)]));
    let (_, cap) = outcome.caps_then.first_key_value().unwrap();
    assert_eq!((cap.n_conversions, cap.cut_minor), (1, 500));
}

#[test]
fn what_was_taken_back_by_hand_stays_taken_back() {
    let percent = |bps: u32| json!({"v": 1, "rules": [{"event": "sale", "kind": "percent", "percent_bps": bps}]});
    let sale = Sale { hour: 1, partner: 1, minor: 10_000, back: 0, n_backs: 1, is_approved: true };
    let mut book = run(&percent(1000), &[sale], &[0], true);
    let by = Hand { actor: "user".into(), rule: "manual", note: None, at: start() };
    let of = &book.earned[0].commission;
    let less = Money::new(-200, of.amount.currency);
    let step = of.correct(CommissionKind::Adjustment, less, "hand".into(), None, by).unwrap();
    let arithmetic = of.calculation.clone();
    book.earned[0].followers.push(Commission { calculation: arithmetic, ..step.after });
    for (draft, then_minor) in [(None, 800), (Some(percent(2000)), 1800)] {
        let outcome = replay(&book, draft.as_ref(), None);
        let (_, tally) = outcome.partners.first_key_value().unwrap();
        assert_eq!((tally.now_minor, tally.then_minor), (800, then_minor));
        assert_eq!(tally.by_hand_minor, -200);
    }
}

const PAGE: &str = include_str!("../../../docs/commissions.md");

/// Returns what stands between two marks of the page.
fn section(name: &str) -> &'static str {
    let (_, rest) = PAGE.split_once(&format!("<!-- {name} -->")).unwrap();
    rest.split_once(&format!("<!-- end of {name} -->")).unwrap().0
}

fn plans_of(section: &str) -> Vec<serde_json::Value> {
    let blocks = section.split("```json").skip(1);
    blocks.map(|rest| serde_json::from_str(rest.split("```").next().unwrap()).unwrap()).collect()
}

fn rows_of(section: &str) -> Vec<Vec<&str>> {
    let rows = section.lines().filter(|line| line.starts_with("| 1") || line.starts_with("| 2"));
    rows.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

fn money(text: &str) -> Money {
    let (amount, code) = text.split_once(' ').unwrap();
    Money::parse_amount(amount, code.parse().unwrap(), AmountRule::ZeroOrMore).unwrap()
}

#[test]
fn the_what_if_of_the_page_is_right() {
    let section = section("what-if");
    let [now, draft] = plans_of(section).try_into().unwrap();
    let rows = rows_of(section);
    assert!(rows.len() >= 5, "{rows:?}");
    let at = |row: &[&str]| format!("{}T12:00:00Z", row[0]).parse::<Timestamp>().unwrap();
    let mut book = Book::new(&now);
    for (n, row) in rows.iter().enumerate() {
        let partner = PartnerId(Uuid::from_u128(row[1].parse().unwrap()));
        let facts = PriceFacts::new(EventKind::Sale, Some(money(row[2])));
        let inputs = Inputs::new(facts, Circumstances::new(partner, at(row)));
        book.settle_inputs(&format!("A-{n}"), &inputs);
        if !row[3].is_empty() {
            book.refund(&format!("A-{n}"), money(&format!("{} EUR", row[3])));
        }
    }
    let pasts = history(&book);
    for row in &rows {
        let span = Span { from: at(row), to: at(row) + TimeDelta::seconds(1) };
        let draft = Draft { from: start(), terms: terms(&draft).into() };
        let mut replay = Replay::new(ground(&book), Some(draft), span);
        pasts.iter().for_each(|past| replay.count(past, None));
        pasts.iter().for_each(|past| replay.take(past, None));
        let (_, tally) = replay.finish().partners.pop_first().unwrap();
        let expected = (money(row[4]).minor, money(row[5]).minor);
        assert_eq!((tally.now_minor, tally.then_minor), expected, "{row:?}");
    }
}

/// Settles sales of one partner, and answers what so many more would earn, and what they raise.
fn ask(plan: &serde_json::Value, sales: &[Sale], wish: &Wish) -> (Answer, i64) {
    let in_order: Vec<usize> = (0..sales.len()).collect();
    let mut book = run(plan, sales, &in_order, true);
    book.revalue();
    let (partner_id, terms) = (PartnerId(Uuid::from_u128(1)), terms(plan));
    let at = start() + TimeDelta::hours(i64::try_from(sales.len()).unwrap());
    let asker = Asker { program_id: book.program_id, partner_id, at, terms: &terms };
    let mut facts = PricingFacts { sums: book.sums(), ..PricingFacts::default() };
    let wishes = slice::from_ref(wish);
    let answer = asker.answer(&facts, wishes, Language::Ru);
    if !answer.raises_earlier {
        return (answer, 0);
    }
    let (by, sums) =
        raise(ground(&book), (partner_id, span()), (days_of(&book), history(&book)), &answer.whole);
    facts.sums.extend(sums);
    (asker.answer(&facts, wishes, Language::Ru), by.values().sum())
}

fn sale(minor: i64) -> Sale {
    Sale { hour: 0, partner: 1, minor, back: 0, n_backs: 1, is_approved: false }
}

fn wish(amount: Money, count: u32) -> Wish {
    let facts = PriceFacts::new(EventKind::Sale, Some(amount));
    let (category, country, placement, customer) = (None, None, None, None);
    Wish { facts, category, country, placement, customer, count }
}

#[test]
fn the_wishes_of_the_page_are_right() {
    let [_, plan] = plans_of(section("what-if")).try_into().unwrap();
    let rows = rows_of(section("wishes"));
    assert_eq!(rows.len(), 2);
    for row in rows {
        let wish = wish(money(row[0]), row[1].parse().unwrap());
        let (answer, raised) = ask(&plan, &[sale(10_000)], &wish);
        let (currency, minor) = answer.totals.first_key_value().unwrap();
        assert_eq!(Money::new(*minor, *currency), money(row[2]), "{row:?}");
        assert_eq!(raised, money(row[3]).minor, "{row:?}");
        let said = answer.sentences(&[wish], &Raise::Unknown, Language::Ru);
        assert!(said.iter().all(|sentence| sentence.ends_with('.')), "{said:?}");
    }
}

proptest! {
    #[test]
    fn what_is_wished_for_earns_what_it_earns_when_it_comes(
        plan in any_plan(), before in prop::collection::vec(1u128..3, 0..8), count in 1u32..12,
        minor in 1_000i64..60_000,
    ) {
        // One after the other, of the one who asks and of another who shares budgets with it.
        let sold: Vec<Sale> = before
            .iter()
            .zip(0..)
            .map(|(partner, hour)| Sale { hour, partner: *partner, ..sale(minor) })
            .collect();
        let hour = i64::try_from(sold.len()).unwrap();
        let own = |n_more: usize| {
            let wished = std::iter::repeat_n(Sale { hour, ..sale(minor) }, n_more);
            let sales: Vec<Sale> = sold.iter().cloned().chain(wished).collect();
            let in_order: Vec<usize> = (0..sales.len()).collect();
            let mut book = run(&plan, &sales, &in_order, true);
            book.revalue();
            by_partner(&book.nets(), &book).get(&PartnerId(Uuid::from_u128(1))).copied()
        };
        let amount = Money::new(minor, "EUR".parse().unwrap());
        let (answer, raised) = ask(&plan, &sold, &wish(amount, count));
        let expected = own(count as usize).unwrap_or_default() - own(0).unwrap_or_default();
        prop_assert_eq!(answer.totals.values().sum::<i64>() + raised, expected);
        let line = &answer.lines[0];
        let told: u32 = line.steps.iter().map(|step| step.last + 1 - step.first).sum();
        prop_assert_eq!(told + line.n_more, count);
    }
}
