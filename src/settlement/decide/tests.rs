//! Any order of arrival, any redelivery: the figures are the same.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::slice;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::click::click_id::ClickId;
use crate::clock::Timestamp;
use crate::commission::hold::Trust;
use crate::commission::plan::{PlanTerms, PlanVersion};
use crate::commission::pricing::PricingFacts;
use crate::commission::state::{Action, Standing};
use crate::commission::{Commission, CommissionState};
use crate::conversion::Report;
use crate::fraud::Policy;
use crate::fraud::facts::FraudFacts;
use crate::ids::{
    LinkNo, PartnerId, PartnerNo, PlanVersionId, ProgramId, ProgramNo, ReceiptId, SourceId,
};
use crate::money::Money;
use crate::program::attribution::Policies;
use crate::settlement::attribution::known::Known;
use crate::settlement::decide::earn::earn;
use crate::settlement::decide::flags::Suspicion;
use crate::settlement::facts::{ConversionFacts, ProgramFacts};
use crate::settlement::{Earner, Share};
use crate::signing::{Key, KeyRing};

const ORDERS: usize = 3;
/// What an order costs at least, after every update.
const PRICE_MIN: i64 = 10_000;

fn now() -> Timestamp {
    "2026-11-22T10:00:00Z".parse().unwrap()
}

fn eur(minor: i64) -> Money {
    Money::new(minor, "EUR".parse().unwrap())
}

/// What every message of a case has in common.
struct Shop {
    program_id: ProgramId,
    source_id: SourceId,
    partner_id: PartnerId,
    keys: KeyRing,
    click_id: String,
}

impl Shop {
    fn new() -> Self {
        let keys = KeyRing::single([7; 32]);
        let click = ClickId::new(now(), ProgramNo(1), PartnerNo(2), LinkNo(3), [0; 5]);
        Self {
            program_id: ProgramId::new(),
            source_id: SourceId::new(),
            partner_id: PartnerId::new(),
            click_id: click.sign(&keys).to_string(),
            keys,
        }
    }

    /// Nothing has come yet; 20 % of each sale.
    fn facts(&self) -> Facts {
        let document = json!({"v": 1, "hold_days": 30,
            "rules": [{"event": "sale", "kind": "percent", "percent_bps": 2000}]});
        let document = serde_json::from_value(document).unwrap();
        let version = PlanVersion {
            id: PlanVersionId::new(),
            effective_from: Timestamp::UNIX_EPOCH,
            terms: PlanTerms::try_from(&document).unwrap().into(),
        };
        let program = ProgramFacts {
            number: ProgramNo(1),
            policies: Policies::default(),
            plans: vec![version],
        };
        let earner = Earner { partner_id: self.partner_id, is_in_good_standing: true };
        Facts {
            now: now(),
            click_keys: self.keys.clone(),
            programs: HashMap::from([(self.program_id, program)]),
            namespaces: HashMap::from([(self.source_id, String::new())]),
            approved_by_time: HashSet::new(),
            earners: HashMap::from([((self.program_id, PartnerNo(2)), earner)]),
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

    fn message(&self, order: usize, said: &Said, n: usize) -> Message {
        let (message_type, minor) = match said {
            Said::Create(minor) => (MessageType::Created, Some(*minor)),
            Said::Update(minor) => (MessageType::Updated, Some(*minor)),
            Said::Refund(_, _) => (MessageType::Refunded, None),
            Said::Approve => (MessageType::Approved, None),
            Said::Reject => (MessageType::Rejected, None),
        };
        let refund = match said {
            Said::Refund(id, minor) => Some((id.to_string(), minor.map(eur))),
            Said::Create(_) | Said::Update(_) | Said::Approve | Said::Reject => None,
        };
        let report = Report {
            message_type,
            event: "sale".to_owned(),
            order_id: Some(format!("A-{order}")),
            click_id: Some(self.click_id.clone()),
            click_ids: Vec::new(),
            currency: Some(eur(0).currency),
            amount: minor.map(eur),
            tax: None,
            shipping: None,
            discount: None,
            coupon_code: None,
            customer_hash: None,
            occurred_at: now(),
            refund_amount: refund.as_ref().and_then(|(_, amount)| *amount),
            refund_id: refund.map(|(id, _)| id),
            reason: None,
            is_test: false,
            metadata: serde_json::Map::new(),
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
            received_at: now(),
            // Several in one second: then the id decides which was made later.
            sent_at: now() + chrono::TimeDelta::seconds(i64::try_from(n / 3).unwrap()),
            trust: Trust::Signed,
            report,
        }
    }
}

/// What a shop says about an order.
#[derive(Clone, Debug)]
enum Said {
    Create(i64),
    Update(i64),
    Refund(u8, Option<i64>),
    Approve,
    Reject,
}

/// All that is said of one order. A shop that both approves and rejects contradicts itself, and
/// the first word holds; so a case does one or neither. Partial refunds stay below every price,
/// because what was taken back wholly is over, and no update brings it to life.
fn any_order() -> impl Strategy<Value = Vec<Said>> {
    let refunds = prop::collection::btree_map(0..5u8, 1..PRICE_MIN / 5, 0..4);
    let updates = prop::collection::vec(PRICE_MIN..100_000, 0..3);
    let end = prop_oneof![Just(None), Just(Some(Said::Approve)), Just(Some(Said::Reject))];
    (PRICE_MIN..100_000, refunds, updates, end, prop::bool::weighted(0.3)).prop_map(
        |(price, refunds, updates, end, is_all_refunded)| {
            let mut said = vec![Said::Create(price)];
            said.extend(refunds.into_iter().map(|(id, minor)| Said::Refund(id, Some(minor))));
            // Whoever takes everything back, or rejects, has no more to update.
            if !is_all_refunded && !matches!(end, Some(Said::Reject)) {
                said.extend(updates.into_iter().map(Said::Update));
            }
            said.extend(is_all_refunded.then_some(Said::Refund(9, None)));
            said.extend(end);
            said
        },
    )
}

/// The messages of some orders, and an order of arrival in which each comes at least once.
fn any_case() -> impl Strategy<Value = (Vec<(usize, Said)>, Vec<usize>, Vec<usize>)> {
    prop::collection::vec(any_order(), 1..=ORDERS).prop_flat_map(|orders| {
        let said: Vec<(usize, Said)> = orders
            .into_iter()
            .enumerate()
            .flat_map(|(order, said)| said.into_iter().map(move |s| (order, s)))
            .collect();
        let all: Vec<usize> = (0..said.len()).collect();
        let again = prop::collection::vec(0..said.len(), 0..6);
        let arrival =
            again.prop_flat_map(move |again| Just([all.clone(), again].concat()).prop_shuffle());
        (Just(said), arrival, prop::collection::vec(1..5usize, 20))
    })
}

/// Decides the messages in batches and proves of every posting that it balances. Returns what each
/// order came to, refunds included, and the sum of all postings of each account.
fn settle(
    shop: &Shop,
    messages: &[Message],
    arrival: &[usize],
    batches: &[usize],
) -> (BTreeMap<String, (i64, usize)>, BTreeMap<String, i64>) {
    let mut facts = shop.facts();
    settle_with(&mut facts, messages, arrival, batches)
}

fn settle_with(
    facts: &mut Facts,
    messages: &[Message],
    arrival: &[usize],
    batches: &[usize],
) -> (BTreeMap<String, (i64, usize)>, BTreeMap<String, i64>) {
    let mut accounts: BTreeMap<String, i64> = BTreeMap::new();
    let mut rest = arrival;
    for size in batches.iter().cycle() {
        let (batch, later) = rest.split_at((*size).min(rest.len()));
        rest = later;
        let batch = batch.iter().map(|&n| messages[n].clone()).collect();
        for decided in decide_all(facts, batch) {
            let Decision::Commission(step) = decided.decision else { continue };
            let Some(posting) = &step.posting else { continue };
            let entries = posting.entries();
            assert_eq!(entries.iter().map(|e| e.amount_minor).sum::<i64>(), 0, "{posting:?}");
            for entry in entries {
                *accounts.entry(entry.account.to_string()).or_default() += entry.amount_minor;
            }
        }
        if rest.is_empty() {
            break;
        }
    }
    assert!(facts.waiting.is_empty(), "{:?}", facts.waiting);
    let net = |c: &Commission| match c.state {
        CommissionState::Rejected | CommissionState::Reversed => 0,
        CommissionState::Pending
        | CommissionState::OnHold
        | CommissionState::Approved
        | CommissionState::Paid => c.amount.minor,
    };
    let nets = facts.conversions.iter().map(|(key, c)| {
        let net = c.commissions.iter().map(net).sum();
        (key.dedup_ref.clone(), (net, c.refunds.len()))
    });
    (nets.collect(), accounts)
}

/// What the partner has, pending and payable together, from the postings alone.
fn owed(accounts: &BTreeMap<String, i64>) -> i64 {
    let liabilities = accounts.iter().filter(|(path, _)| path.starts_with("liability"));
    -liabilities.map(|(_, minor)| minor).sum::<i64>()
}

proptest! {
    #[test]
    fn any_order_of_arrival_and_any_redelivery_come_to_the_same(
        (said, arrival, batches) in any_case(),
    ) {
        let shop = Shop::new();
        let messages: Vec<Message> =
            said.iter().enumerate().map(|(n, (order, s))| shop.message(*order, s, n)).collect();
        let in_order: Vec<usize> = (0..messages.len()).collect();
        let (expected, plain) = settle(&shop, &messages, &in_order, &[usize::MAX]);
        let (found, shuffled) = settle(&shop, &messages, &arrival, &batches);
        prop_assert_eq!(&found, &expected);
        // The books say what the commissions say.
        let sum: i64 = expected.values().map(|(net, _)| net).sum();
        prop_assert_eq!(owed(&plain), sum);
        prop_assert_eq!(owed(&shuffled), sum);
    }
}

proptest! {
    #[test]
    fn flagged_and_released_pays_what_was_never_flagged((said, arrival, batches) in any_case()) {
        let shop = Shop::new();
        let messages: Vec<Message> =
            said.iter().enumerate().map(|(n, (order, s))| shop.message(*order, s, n)).collect();
        let (expected, plain) = settle(&shop, &messages, &arrival, &batches);
        let mut facts = shop.facts();
        let policy = Policy { too_fast: Some(chrono::TimeDelta::hours(1)), ..Policy::default() };
        facts.fraud.policies.insert(shop.program_id, policy);
        let (found, held) = settle_with(&mut facts, &messages, &arrival, &batches);
        prop_assert_eq!(found, expected);
        prop_assert_eq!(owed(&held), owed(&plain));
        for commission in facts.conversions.values().flat_map(ConversionFacts::earned) {
            let until = commission.hold_until;
            if commission.state == CommissionState::Rejected {
                continue;
            }
            prop_assert_eq!(commission.state, CommissionState::OnHold);
            prop_assert_eq!(commission.reason.as_deref(), Some("too_fast"));
            let by = Hand { actor: "user".into(), rule: "manual", note: None, at: now() };
            let released = commission.take(Action::Release, Standing::Good, false, by).unwrap();
            prop_assert!(released.posting.is_none());
            let after = released.after;
            prop_assert_eq!((after.state, after.hold_until), (CommissionState::Pending, until));
            prop_assert_eq!((after.amount, after.reason), (commission.amount, None));
        }
    }
}

/// Settles a sale that partners share by weight, then what the shop says of it later; returns what
/// each partner has, and what all have by the books.
fn shared(weights: &[u32], said: &[Said]) -> (Vec<i64>, i64) {
    let shop = Shop::new();
    let mut facts = shop.facts();
    let shares: Vec<Share> =
        (2..).zip(weights).map(|(n, &weight)| Share { partner: PartnerNo(n), weight }).collect();
    for share in &shares {
        let earner = Earner { partner_id: PartnerId::new(), is_in_good_standing: true };
        facts.earners.insert((shop.program_id, share.partner), earner);
    }
    let first = Arc::new(shop.message(0, &said[0], 0));
    let mut decisions = created::decide(&facts, &first);
    let conversion_id = ConversionId::new();
    decisions.retain(|d| !matches!(d, Decision::Commission(_)));
    for decision in &mut decisions {
        if let Decision::Record(new) = decision {
            new.conversion_id = conversion_id;
        }
    }
    let of = Suspicion { facts: &facts, message: &first, click: None, path: None };
    let opened = earn(&of, &facts.programs[&shop.program_id], &shares, conversion_id).unwrap();
    decisions.extend(opened.into_iter().map(|o| Decision::Commission(Box::new(o.step))));
    let mut owed = 0;
    let mut take = |facts: &mut Facts, message: &Arc<Message>, decisions: Vec<Decision>| {
        for decision in decisions {
            facts.absorb(message, &decision);
            let Decision::Commission(step) = &decision else { continue };
            let entries = step.posting.iter().flat_map(|p| p.entries());
            let liabilities = entries.filter(|e| e.account.to_string().starts_with("liability"));
            owed -= liabilities.map(|e| e.amount_minor).sum::<i64>();
        }
    };
    take(&mut facts, &first, decisions);
    for (n, said) in said.iter().enumerate().skip(1) {
        let message = Arc::new(shop.message(0, said, n));
        let decisions = later::decide(&facts, &message);
        take(&mut facts, &message, decisions);
    }
    let commissions = facts.conversions.values().flat_map(|c| &c.commissions);
    let mut nets: HashMap<PartnerId, i64> = HashMap::new();
    for c in commissions {
        let is_over = matches!(c.state, CommissionState::Rejected | CommissionState::Reversed);
        *nets.entry(c.partner_id).or_default() += if is_over { 0 } else { c.amount.minor };
    }
    let of = |share: &Share| nets.get(&facts.earners[&(shop.program_id, share.partner)].partner_id);
    (shares.iter().map(|s| of(s).copied().unwrap_or_default()).collect(), owed)
}

#[test]
fn every_partner_of_a_sale_is_approved_clawed_back_and_refunded_with_it() {
    let cent = Said::Create(10_003); // 20 % is 20.01 for all.
    assert_eq!(shared(&[1, 1, 1], slice::from_ref(&cent)), (vec![667, 667, 667], 2_001));
    assert_eq!(shared(&[40, 20, 40], slice::from_ref(&cent)), (vec![801, 400, 800], 2_001));
    let half = Said::Refund(1, Some(5_000)); // 20 % of 50.03 is 10.01.
    let said = [cent.clone(), Said::Approve, half.clone()];
    assert_eq!(shared(&[1, 1, 1], &said), (vec![334, 334, 333], 1_001));
    assert_eq!(shared(&[1, 1, 1], &[cent.clone(), half.clone()]), (vec![334, 334, 333], 1_001));
    let all = Said::Refund(2, None);
    assert_eq!(shared(&[1, 1, 1], &[cent.clone(), half, all]), (vec![0, 0, 0], 0));
    assert_eq!(shared(&[3, 1], &[cent, Said::Reject]), (vec![0, 0], 0));
}

proptest! {
    #[test]
    fn parts_sum_to_what_one_partner_alone_would_have(
        weights in prop::collection::vec(0u32..100, 1..6), said in any_order(),
    ) {
        prop_assume!(weights.iter().any(|&w| w > 0));
        let (parts, owed) = shared(&weights, &said);
        let (alone, _) = shared(&[1], &said);
        prop_assert_eq!(parts.iter().sum::<i64>(), alone[0]);
        prop_assert_eq!(owed, alone[0]);
        prop_assert!(parts.iter().all(|part| *part >= 0));
    }
}

#[test]
fn an_update_made_earlier_changes_nothing_even_when_the_later_one_said_nothing_new() {
    let shop = Shop::new();
    let said = [Said::Create(10_000), Said::Update(20_000), Said::Update(10_000)];
    let messages: Vec<Message> =
        said.iter().enumerate().map(|(n, s)| shop.message(0, s, n)).collect();
    for arrival in [[0, 1, 2], [0, 2, 1], [2, 0, 1], [1, 2, 0], [2, 1, 0], [1, 0, 2]] {
        let (nets, _) = settle(&shop, &messages, &arrival, &[1]);
        assert_eq!(nets["A-0"], (2_000, 0), "{arrival:?}");
    }
}
