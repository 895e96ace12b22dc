//! Refunds by table, and by a small model that applies every decision to a ledger.

use proptest::prelude::*;

use super::*;
use crate::clock::Timestamp;
use crate::commission::plan::tests::{any_plan, price};
use crate::commission::plan::{Approval, EventKind, PlanTerms, PriceFacts};
use crate::commission::state::{
    Action, CommissionFacts, CommissionKind, Reason, Standing, transition,
};
use crate::ids::{CommissionId, PartnerId, ProgramId};
use crate::ledger::posting::CommissionRef;
use crate::ledger::{Account, Posting, proof};
use CommissionState::{Approved, OnHold, Paid, Pending, Rejected, Reversed};

fn eur(minor: i64) -> Money {
    Money::new(minor, "EUR".parse().unwrap())
}

/// 10 % of 100.00 plus 3.00.
fn hybrid() -> Calculation {
    let json = r#"{"v":1,"rules":[{"event":"sale","kind":"percent_plus_flat","currency":"EUR",
        "percent_bps":1000,"flat":"3.00"}]}"#;
    let document = serde_json::from_str(json).unwrap();
    let terms = PlanTerms::try_from(&document).unwrap();
    price(&terms, &PriceFacts::new(EventKind::Sale, Some(eur(10_000)))).unwrap()
}

fn refund(id: &str, minor: Option<i64>) -> Refund {
    Refund { refund_id: id.into(), amount: minor.map(eur) }
}

#[test]
fn a_refund_does_what_the_state_allows() {
    use RefundOutcome::{Amend, Clawback, Reject, Reverse, Unchanged};
    let calculation = hybrid();
    let (part, all) = (Some(5_000), None);
    let less = Amend { to: eur(800), by: eur(-500) };
    let (half, whole) = (Clawback { take: eur(500) }, Clawback { take: eur(1_300) });
    let (free, reserved) = (Reservation::Free, Reservation::Reserved);
    for (state, reservation, corrections, minor, expected) in [
        (Pending, free, None, part, less),
        (OnHold, free, None, part, less),
        (Pending, free, None, all, Reject),
        (OnHold, free, None, Some(10_000), Reject),
        (Pending, free, None, Some(99_999), Reject),
        (Approved, free, None, part, half),
        (Approved, free, None, all, Reverse),
        (Approved, free, Some(-500), all, Clawback { take: eur(800) }),
        (Approved, free, Some(0), all, whole),
        (Approved, reserved, None, part, half),
        (Approved, reserved, None, all, whole),
        (Paid, reserved, None, part, half),
        (Paid, reserved, None, Some(99_999), whole),
        (Paid, reserved, Some(-1_300), all, Unchanged),
        (Paid, reserved, Some(-900), part, Unchanged),
    ] {
        let facts = RefundFacts {
            state,
            reservation,
            calculation: &calculation,
            earned: eur(1_300),
            corrections: corrections.map(eur),
            by_hand: None,
            refunds: &[],
        };
        assert_eq!(on_refund(&facts, &refund("r", minor)), Ok(expected), "{state:?} {minor:?}");
    }
}

#[test]
fn a_refund_that_cannot_be_is_refused() {
    let calculation = hybrid();
    let known = [refund("r-1", Some(100))];
    let facts = RefundFacts {
        state: Pending,
        reservation: Reservation::Free,
        calculation: &calculation,
        earned: eur(1_290),
        corrections: None,
        by_hand: None,
        refunds: &known,
    };
    assert_eq!(on_refund(&facts, &known[0]), Ok(RefundOutcome::AlreadyApplied));
    let conflict = on_refund(&facts, &refund("r-1", Some(101)));
    assert!(matches!(conflict, Err(IllegalRefund::Conflict { .. })));
    let nothing = on_refund(&facts, &refund("r-2", Some(0)));
    assert!(matches!(nothing, Err(IllegalRefund::NotPositive { .. })));
    let yen =
        Refund { refund_id: "r-3".into(), amount: Some(Money::new(1, "JPY".parse().unwrap())) };
    assert!(matches!(on_refund(&facts, &yen), Err(IllegalRefund::Money(_))));
    for state in [Rejected, Reversed] {
        let over = on_refund(&RefundFacts { state, ..facts }, &refund("r-4", None));
        assert_eq!(over, Err(IllegalRefund::AlreadyOver(state)));
    }
}

#[test]
fn an_update_amends_before_approval_and_adjusts_after_it() {
    let calculation = hybrid();
    let dearer = {
        let terms = PlanTerms {
            rules: vec![calculation.rule.clone()],
            hold_days: 30,
            approval: Approval::Auto,
            common: calculation.common.clone(),
        };
        price(&terms, &PriceFacts::new(EventKind::Sale, Some(eur(20_000)))).unwrap()
    };
    let half = [refund("r-1", Some(5_000))];
    let facts = RefundFacts {
        state: Pending,
        reservation: Reservation::Free,
        calculation: &calculation,
        earned: eur(800),
        corrections: None,
        by_hand: None,
        refunds: &half,
    };
    // 10 % of what is left of 200.00, plus 3.00.
    let more = RefundOutcome::Amend { to: eur(1_800), by: eur(1_000) };
    assert_eq!(on_update(&facts, Some(&dearer)), Ok(more));
    assert_eq!(on_update(&facts, Some(&calculation)), Ok(RefundOutcome::Unchanged));
    assert_eq!(on_update(&facts, None), Ok(RefundOutcome::Reject));
    for state in [Approved, Paid] {
        let facts = RefundFacts { state, ..facts };
        let up = RefundOutcome::Adjust { by: eur(1_000) };
        assert_eq!(on_update(&facts, Some(&dearer)), Ok(up));
        assert_eq!(on_update(&facts, None), Ok(RefundOutcome::Adjust { by: eur(-800) }));
    }
    let held = on_update(&RefundFacts { state: OnHold, ..facts }, Some(&dearer));
    assert_eq!(held, Ok(more), "a review changes nothing of what is owed");
}

/// A commission with its book: applies each decision as the store would.
struct Model {
    calculation: Calculation,
    state: CommissionState,
    reservation: Reservation,
    earned: Money,
    clawbacks: Vec<Money>,
    refunds: Vec<Refund>,
    postings: Vec<Posting>,
    of: CommissionRef,
}

impl Model {
    fn new(calculation: Calculation) -> Self {
        let of = CommissionRef {
            program: ProgramId::new(),
            partner: PartnerId::new(),
            commission: CommissionId::new(),
            effective_at: Timestamp::UNIX_EPOCH,
        };
        let earned = calculation.total;
        let postings = vec![Posting::accrue(of, earned).unwrap()];
        let (clawbacks, refunds) = (Vec::new(), Vec::new());
        let (state, reservation) = (Pending, Reservation::Free);
        Self { calculation, state, reservation, earned, clawbacks, refunds, postings, of }
    }

    fn taken_back(&self) -> Money {
        self.clawbacks.iter().fold(eur(0), |sum, m| sum.checked_add(*m).unwrap())
    }

    /// Takes one action, which the state table must allow.
    fn act(&mut self, action: Action) {
        let facts = CommissionFacts {
            kind: CommissionKind::Earned,
            state: self.state,
            reservation: self.reservation,
            has_corrections: !self.clawbacks.is_empty(),
            hold_until: Timestamp::UNIX_EPOCH,
            approval: Approval::Auto,
            standing: Standing::Good,
            now: Timestamp::UNIX_EPOCH,
        };
        let outcome = transition(&facts, action).unwrap();
        (self.state, self.reservation) = (outcome.state, outcome.reservation);
    }

    /// One step towards being paid.
    fn advance(&mut self) {
        match (self.state, self.reservation) {
            (Pending, _) => {
                self.act(Action::ApproveDue);
                self.postings.push(Posting::approve(self.of, self.earned).unwrap());
            }
            (Approved, Reservation::Free) => self.act(Action::Reserve),
            (Approved, Reservation::Reserved) => self.act(Action::Pay),
            (OnHold | Rejected | Reversed | Paid, _) => {}
        }
    }

    fn refund(&mut self, refund: &Refund) {
        let corrections =
            (!self.clawbacks.is_empty()).then(|| self.taken_back().checked_neg().unwrap());
        let facts = RefundFacts {
            state: self.state,
            reservation: self.reservation,
            calculation: &self.calculation,
            earned: self.earned,
            corrections,
            by_hand: None,
            refunds: &self.refunds,
        };
        let reason = Reason::OrderCanceled;
        let outcome = match on_refund(&facts, refund) {
            Err(IllegalRefund::AlreadyOver(_)) | Ok(RefundOutcome::AlreadyApplied) => return,
            other => other.unwrap(),
        };
        self.refunds.push(refund.clone());
        let revision = u32::try_from(self.refunds.len()).unwrap();
        let posting = match outcome {
            RefundOutcome::AlreadyApplied | RefundOutcome::Unchanged => return,
            RefundOutcome::Amend { to, by } => {
                self.act(Action::Amend);
                self.earned = to;
                Posting::amend(self.of, by, revision)
            }
            RefundOutcome::Reject => {
                self.act(Action::Reject(reason));
                Posting::reject(self.of, self.earned)
            }
            RefundOutcome::Reverse => {
                self.act(Action::Reverse(reason));
                Posting::reverse(self.of, self.earned)
            }
            RefundOutcome::Clawback { take } => {
                self.act(Action::ClawBack(reason));
                self.clawbacks.push(take);
                Posting::clawback(self.of, take)
            }
            RefundOutcome::Adjust { .. } => unreachable!("a refund never adjusts"),
        };
        self.postings.push(posting.unwrap());
    }

    /// What the book owes the partner, pending and payable together.
    fn owed(&self) -> i128 {
        let CommissionRef { program, partner, .. } = self.of;
        let both =
            [Account::PartnerPending(program, partner), Account::PartnerPayable(program, partner)];
        let balances = proof::balances(&self.postings);
        let currency = self.calculation.total.currency;
        -both.into_iter().filter_map(|a| balances.get(&(a, currency))).sum::<i128>()
    }
}

/// A priced sale, and refunds that may exceed it.
fn any_story() -> impl Strategy<Value = (Calculation, Vec<Refund>)> {
    let parts = prop::collection::vec(prop::option::weighted(0.9, 1i64..20_000), 1..8);
    (any_plan(), 1i64..50_000, 0i64..5_000, parts).prop_filter_map(
        "the sale earns something",
        |(plan, minor, tax, parts)| {
            let amount = Some(eur(minor));
            let facts =
                PriceFacts { tax: Some(eur(tax)), ..PriceFacts::new(EventKind::Sale, amount) };
            let calculation = price(&plan, &facts).ok()?;
            let refunds = parts.into_iter().enumerate();
            Some((calculation, refunds.map(|(i, part)| refund(&i.to_string(), part)).collect()))
        },
    )
}

proptest! {
    #[test]
    fn refunds_net_to_the_target_whenever_and_however_often_they_come(
        (calculation, refunds) in any_story(),
        steps in prop::collection::vec(0usize..3, 8),
    ) {
        let mut model = Model::new(calculation.clone());
        let mut last = i128::from(calculation.total.minor);
        for (refund, &advances) in refunds.iter().zip(&steps) {
            (0..advances).for_each(|_| model.advance());
            model.refund(refund);
            let once = model.owed();
            model.refund(refund);
            prop_assert_eq!(model.owed(), once, "applied twice");
            prop_assert!(once <= last && once >= 0, "{} after {}", once, last);
            last = once;
        }
        let left = left(&calculation, &refunds).unwrap();
        let target = left.map_or(Money::zero(calculation.total.currency), |left| left.total);
        prop_assert_eq!(model.owed(), i128::from(target.minor));
        prop_assert!(model.taken_back().minor <= calculation.total.minor);
    }

    #[test]
    fn the_order_of_refunds_does_not_matter(
        ((calculation, refunds), shuffled) in any_story().prop_flat_map(|(calculation, refunds)| {
            (Just((calculation, refunds.clone())), Just(refunds).prop_shuffle())
        }),
        advances in 0usize..4,
    ) {
        let end = |refunds: &[Refund]| {
            let mut model = Model::new(calculation.clone());
            (0..advances).for_each(|_| model.advance());
            refunds.iter().for_each(|refund| model.refund(refund));
            (model.owed(), model.taken_back())
        };
        let (one, other) = (end(&refunds), end(&shuffled));
        prop_assert_eq!(one.0, other.0);
    }
}
