//! Whose customers do what: the same whatever the order of arrival and the cut of the batches.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::TimeDelta;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::click::click_id::ClickId;
use crate::clock::Timestamp;
use crate::commission::hold::Trust;
use crate::commission::plan::{PlanTerms, PlanVersion};
use crate::commission::pricing::PricingFacts;
use crate::conversion::Report;
use crate::fraud::facts::FraudFacts;
use crate::ids::{
    LinkNo, PartnerId, PartnerNo, PlanVersionId, ProgramId, ProgramNo, ReceiptId, SourceId,
};
use crate::money::Money;
use crate::program::attribution::{Ownership, Policies, Policy, PolicyVersion};
use crate::settlement::Earner;
use crate::settlement::attribution::known::Known;
use crate::settlement::facts::ProgramFacts;
use crate::signing::{Key, KeyRing};

/// Customers of a case; the leads of each are one partner's.
const CUSTOMERS: u8 = 3;

fn day(n: i64) -> Timestamp {
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    start + TimeDelta::days(n)
}

struct Shop {
    program_id: ProgramId,
    source_id: SourceId,
    partners: Vec<PartnerId>,
    keys: KeyRing,
}

/// Something that a customer did, or what the shop says of it later.
#[derive(Clone, Debug)]
enum Did {
    Lead,
    Sale,
    /// The sale of the same number is refunded in part.
    Refund,
    /// The lead of the same number is rejected.
    Reject,
}

impl Shop {
    fn new() -> Self {
        Self {
            program_id: ProgramId::new(),
            source_id: SourceId::new(),
            partners: (0..CUSTOMERS).map(|_| PartnerId::new()).collect(),
            keys: KeyRing::single([7; 32]),
        }
    }

    /// Twenty per cent of each sale, nothing for a lead; a lead binds.
    fn facts(&self, lasts: Option<TimeDelta>) -> Facts {
        let document = json!({"v": 1, "hold_days": 30,
            "rules": [{"event": "sale", "kind": "percent", "percent_bps": 2000}]});
        let terms = PlanTerms::try_from(&serde_json::from_value(document).unwrap()).unwrap();
        let effective_from = Timestamp::UNIX_EPOCH;
        let plans =
            vec![PlanVersion { id: PlanVersionId::new(), effective_from, terms: terms.into() }];
        let ownership = Some(Ownership { lasts, bind_on: vec!["lead".to_owned()] });
        let policy = Policy { ownership, ..Policy::default() };
        let policies = Policies::new(vec![PolicyVersion { id: None, effective_from, policy }]);
        let program = ProgramFacts { number: ProgramNo(1), policies, plans };
        let earners = self.partners.iter().zip(0..).map(|(id, number)| {
            let earner = Earner { partner_id: *id, is_in_good_standing: true };
            ((self.program_id, PartnerNo(number)), earner)
        });
        Facts {
            now: day(0),
            click_keys: self.keys.clone(),
            programs: HashMap::from([(self.program_id, program)]),
            namespaces: HashMap::from([(self.source_id, String::new())]),
            approved_by_time: HashSet::new(),
            earners: earners.collect(),
            conversions: HashMap::new(),
            messages: HashMap::new(),
            receipts: HashSet::new(),
            waiting: HashMap::new(),
            rooms: HashMap::new(),
            pricing: PricingFacts::default(),
            fraud: FraudFacts::new(Key::new([5; 32])),
            known: Known::default(),
        }
    }

    fn message(&self, n: usize, did: &Did, of: usize, customer: u8, at: i64) -> Message {
        let click =
            ClickId::new(day(at), ProgramNo(1), PartnerNo(customer.into()), LinkNo(3), [0; 5]);
        let eur = |minor| Money::new(minor, "EUR".parse().unwrap());
        let (message_type, event) = match did {
            Did::Lead => (MessageType::Created, "lead"),
            Did::Sale => (MessageType::Created, "sale"),
            Did::Refund => (MessageType::Refunded, "sale"),
            Did::Reject => (MessageType::Rejected, "lead"),
        };
        let is_lead = matches!(did, Did::Lead);
        let refund = matches!(did, Did::Refund).then(|| eur(1_000));
        let report = Report {
            message_type,
            event: event.to_owned(),
            order_id: Some(format!("A-{of}")),
            click_id: is_lead.then(|| click.sign(&self.keys).to_string()),
            currency: Some(eur(0).currency),
            amount: (event == "sale").then(|| eur(10_000)),
            customer_hash: Some([customer; 32]),
            occurred_at: day(at),
            refund_amount: refund,
            refund_id: refund.map(|_| "R".to_owned()),
            ..blank()
        };
        let mut body_hash = [0; 32];
        body_hash[..8].copy_from_slice(&n.to_le_bytes());
        Message {
            receipt_id: ReceiptId::new(),
            program_id: self.program_id,
            source_id: self.source_id,
            channel: "webhook".to_owned(),
            message_id: format!("m{n}"),
            body_hash,
            received_at: day(at),
            sent_at: day(at),
            trust: Trust::Signed,
            report,
        }
    }
}

fn blank() -> Report {
    crate::conversion::wire::from_wire(&json!({"v": 1, "type": "conversion.created",
        "event": "sale", "order_id": "A", "click_id": null, "currency": "EUR",
        "amount_minor": null, "tax_minor": null, "shipping_minor": null, "discount_minor": null,
        "coupon_code": null, "customer_hash": null, "occurred_at": "2026-01-01T00:00:00Z",
        "refund_id": null, "refund_minor": null, "reason": null, "is_test": false,
        "metadata": {}}))
    .unwrap()
}

/// What each order earned for whom, and the sum of its postings.
fn settle(
    facts: &mut Facts,
    messages: &[Message],
    arrival: &[usize],
    size: usize,
) -> BTreeMap<String, Vec<(PartnerId, i64)>> {
    for batch in arrival.chunks(size) {
        for decided in decide_all(facts, batch.iter().map(|&n| messages[n].clone()).collect()) {
            if let Decision::Commission(step) = decided.decision {
                let entries = step.posting.iter().flat_map(|posting| posting.entries());
                assert_eq!(entries.map(|entry| entry.amount_minor).sum::<i64>(), 0);
            }
        }
    }
    assert!(facts.waiting.is_empty());
    let earned = |c: &crate::settlement::facts::ConversionFacts| {
        c.commissions.iter().map(|c| (c.partner_id, c.amount.minor)).collect()
    };
    let orders = facts.conversions.iter().filter(|(key, _)| key.event == "sale");
    orders.map(|(key, c)| (key.dedup_ref.clone(), earned(c))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_sale_is_its_owners_whenever_its_lead_arrives(
        (all, arrival) in prop::collection::vec(
            (prop::bool::ANY, 0..CUSTOMERS, 0..100i64, prop::bool::ANY), 1..10,
        ).prop_flat_map(|all| {
            let mut messages = Vec::new();
            for (of, (is_lead, customer, at, _)) in all.iter().enumerate() {
                let did = if *is_lead { Did::Lead } else { Did::Sale };
                messages.push((did, of, *customer, *at));
            }
            for (of, (is_lead, customer, at, is_refunded)) in all.iter().enumerate() {
                if !is_lead && *is_refunded {
                    messages.push((Did::Refund, of, *customer, *at));
                }
            }
            let order: Vec<usize> = (0..messages.len()).chain(0..messages.len().min(3)).collect();
            (Just(messages), Just(order).prop_shuffle())
        }),
        days in prop::option::of(1..60i64),
        size in 1..6usize,
    ) {
        let shop = Shop::new();
        let messages: Vec<Message> = all
            .iter()
            .enumerate()
            .map(|(n, (did, of, customer, at))| shop.message(n, did, *of, *customer, *at))
            .collect();
        let mut facts = shop.facts(days.map(TimeDelta::days));
        let found = settle(&mut facts, &messages, &arrival, size);
        for (did, of, customer, at) in &all {
            let Did::Sale = did else { continue };
            let is_owned = all.iter().any(|(did, _, other, since)| {
                matches!(did, Did::Lead) && other == customer && since <= at
                    && days.is_none_or(|days| *at < since + days)
            });
            let is_refunded = all.iter().any(|(d, o, ..)| matches!(d, Did::Refund) && o == of);
            let earned = if is_refunded { 1_800 } else { 2_000 };
            let owner = shop.partners[usize::from(*customer)];
            let expected = if is_owned { vec![(owner, earned)] } else { Vec::new() };
            prop_assert_eq!(&found[&format!("A-{of}")], &expected, "{:?}", all);
        }
    }
}

#[test]
fn a_rejected_lead_binds_nobody_from_then_on() {
    let shop = Shop::new();
    let messages = [
        shop.message(0, &Did::Lead, 0, 1, 0),
        shop.message(1, &Did::Sale, 1, 1, 1),
        shop.message(2, &Did::Reject, 0, 1, 0),
        shop.message(3, &Did::Sale, 2, 1, 2),
    ];
    let owner = shop.partners[1];
    for (arrival, first, second) in [
        (vec![0, 1, 2, 3], vec![(owner, 2_000)], vec![]),
        (vec![0, 2, 1, 3], vec![], vec![]),
        // The rejection waited for its lead, and is applied before anything is given by it.
        (vec![1, 2, 0, 3], vec![], vec![]),
    ] {
        let found = settle(&mut shop.facts(None), &messages, &arrival, 2);
        assert_eq!((&found["A-1"], &found["A-2"]), (&first, &second), "{arrival:?}");
    }
}

#[test]
fn what_is_somebodys_stays_and_a_rejected_sale_stays_nobodys() {
    let shop = Shop::new();
    let lead = shop.message(0, &Did::Lead, 0, 1, 5);
    let earlier = shop.message(1, &Did::Lead, 1, 1, 0);
    // The same customer is another's by an earlier lead that comes last.
    let click = ClickId::new(day(0), ProgramNo(1), PartnerNo(2), LinkNo(3), [0; 5]);
    let click_id = Some(click.sign(&shop.keys).to_string());
    let earlier =
        Message { report: Report { click_id, ..earlier.report.clone() }, ..earlier.clone() };
    let sale = shop.message(2, &Did::Sale, 2, 1, 6);
    let canceled = shop.message(3, &Did::Sale, 3, 1, 6);
    let report = Report {
        message_type: MessageType::Rejected,
        reason: Some("order_canceled".to_owned()),
        ..canceled.report.clone()
    };
    let cancel = Message {
        receipt_id: ReceiptId::new(),
        message_id: "m4".to_owned(),
        body_hash: [4; 32],
        report,
        ..canceled.clone()
    };
    let messages = [lead, earlier, sale, canceled, cancel];
    let found = settle(&mut shop.facts(None), &messages, &[2, 3, 4, 0, 1], 1);
    assert_eq!(found["A-2"], [(shop.partners[1], 2_000)]);
    assert_eq!(found["A-3"], []);
    let found = settle(&mut shop.facts(None), &messages, &[1, 0, 2, 3, 4], 5);
    assert_eq!(found["A-2"], [(shop.partners[2], 2_000)], "the oldest bond owns");
}
