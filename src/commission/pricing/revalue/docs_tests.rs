//! The worked examples of `docs/commissions.md`, reckoned again as settlement would.

use super::tests::Book;
use super::*;
use crate::commission::plan::{Circumstances, CustomerKind, EventKind, FxRate, PriceFacts, Split};
use crate::ids::PartnerId;
use crate::money::{AmountRule, Currency};

const PAGE: &str = include_str!("../../../../docs/commissions.md");
/// Examples and rows that the page had when this was written: fewer would mean that none was read.
const EXAMPLES_MIN: usize = 14;
const ROWS_MIN: usize = 50;

fn time(text: &str) -> Timestamp {
    let full = if text.contains('T') { text.to_owned() } else { format!("{text}T12:00:00Z") };
    full.parse().unwrap()
}

fn money(text: &str) -> Money {
    let (amount, code) = text.split_once(' ').unwrap();
    read(amount, code.parse().unwrap())
}

fn read(amount: &str, currency: Currency) -> Money {
    Money::parse_amount(amount, currency, AmountRule::ZeroOrMore).unwrap()
}

/// One row of a table.
struct Row<'a> {
    when: &'a str,
    partner: u128,
    sale: Option<Money>,
    also: BTreeMap<&'a str, &'a str>,
    commission: Money,
}

impl<'a> Row<'a> {
    fn parse(line: &'a str) -> Self {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let also = cells[3].split_whitespace().filter_map(|pair| pair.split_once('='));
        Self {
            when: cells[0],
            partner: cells[1].parse().unwrap(),
            sale: (cells[2] != "–").then(|| money(cells[2])),
            also: also.collect(),
            commission: money(cells[4]),
        }
    }

    fn inputs(&self, to: Option<Currency>) -> Inputs {
        let part = |name: &str| Some(read(self.also.get(name)?, self.sale?.currency));
        let event =
            self.also.get("event").map_or(Some(EventKind::Sale), |e| EventKind::from_code(e));
        let facts = PriceFacts {
            tax: part("tax"),
            shipping: part("shipping"),
            discount: part("discount"),
            ..PriceFacts::new(event.unwrap(), self.sale)
        };
        let partner_id = PartnerId(uuid::Uuid::from_u128(self.partner));
        let text = |name: &str| self.also.get(name).map(|text| (*text).into());
        let customer = self
            .also
            .get("customer")
            .map(|code| CustomerKind::ALL.into_iter().find(|kind| kind.code() == *code).unwrap());
        let around = Circumstances {
            country: text("country"),
            group: text("group"),
            customer,
            customer_since: self.also.get("since").map(|day| time(day)),
            recruiter: Some(PartnerId(uuid::Uuid::from_u128(99))),
            ..Circumstances::new(partner_id, time(self.when))
        };
        let split = self.also.get("share").map(|share| {
            let (index, weights) = share.split_once('/').unwrap();
            let weights = weights.split(':').map(|weight| weight.parse().unwrap()).collect();
            Split { index: index.parse::<usize>().unwrap() - 1, weights }
        });
        let rate = self.also.get("rate").zip(to).map(|(rate, to)| FxRate {
            from: self.sale.unwrap().currency,
            to,
            rate_nano: crate::commission::plan::rate_nano(rate).unwrap(),
            source: "ecb".into(),
            at: time(self.when),
        });
        Inputs { split, rate, ..Inputs::new(facts, around) }
    }
}

#[test]
fn the_examples_of_the_page_are_right() {
    let (_, examples) = PAGE.split_once("<!-- examples -->").unwrap();
    let (examples, _) = examples.split_once("<!-- end of examples -->").unwrap();
    let (mut n_examples, mut n_rows) = (0, 0);
    for example in examples.split("\n### ").skip(1) {
        let title = example.lines().next().unwrap();
        let (_, rest) = example.split_once("```json").unwrap();
        let (plan, table) = rest.split_once("```").unwrap();
        let mut book = Book::new(&serde_json::from_str(plan).unwrap());
        let rows: Vec<Row<'_>> =
            table.lines().filter(|l| l.starts_with("| 2")).map(Row::parse).collect();
        let to = book.pay_in();
        for (n, row) in rows.iter().enumerate() {
            let name = format!("A-{n}");
            let calculation = book.settle_inputs(&name, &row.inputs(to)).0;
            let recruiter = calculation.recruiter.map(|part| part.amount);
            if let Some(expected) = row.also.get("recruiter") {
                assert_eq!(recruiter.map(Money::to_decimal_string).as_deref(), Some(*expected));
            }
            let by_hand = row.also.get("by_hand");
            if by_hand.is_some() || row.also.contains_key("clawback") {
                book.approve(&name);
            }
            if let Some(take) = by_hand {
                book.take_back(&name, read(take, row.commission.currency));
            }
            if let Some(back) = row.also.get("refunded") {
                book.refund(&name, read(back, row.sale.unwrap().currency));
            }
            if let Some(expected) = row.also.get("clawback") {
                let latest = book.earned.iter().find(|e| e.name == name);
                let latest = latest.and_then(|e| e.followers.last()).unwrap();
                assert_eq!(latest.kind, CommissionKind::Clawback);
                assert_eq!(latest.amount.to_decimal_string(), **expected, "{title}: {name}");
            }
        }
        book.revalue();
        for (n, row) in rows.iter().enumerate() {
            let found = book.net_of(&format!("A-{n}"));
            assert_eq!(found, row.commission, "{title}: {} of {}", row.when, row.partner);
            n_rows += 1;
        }
        n_examples += 1;
    }
    assert!(n_examples >= EXAMPLES_MIN && n_rows >= ROWS_MIN, "{n_examples}, {n_rows}");
}
