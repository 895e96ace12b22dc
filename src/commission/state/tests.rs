//! The transition table as the design states it, row by row, and the whole graph.

use super::*;
use ActionCode as A;
use CommissionState::{Approved, OnHold, Paid, Pending, Rejected, Reversed};
use Reservation::{Free, Reserved};

fn day(day: u32) -> Timestamp {
    format!("2026-11-{day:02}T00:00:00Z").parse().unwrap()
}

fn facts(state: CommissionState, reservation: Reservation) -> CommissionFacts {
    CommissionFacts {
        kind: CommissionKind::Earned,
        state,
        reservation,
        has_corrections: false,
        hold_until: day(10),
        approval: Approval::Auto,
        standing: Standing::Good,
        now: day(5),
    }
}

fn allowed(facts: &CommissionFacts) -> Vec<ActionCode> {
    ActionCode::ALL.iter().copied().filter(|&a| decide(facts, a).is_some()).collect()
}

#[test]
fn each_row_of_the_table() {
    let due = CommissionFacts { now: day(10), ..facts(Pending, Free) };
    let (pending, held) = (facts(Pending, Free), facts(OnHold, Free));
    let (owed, taken) = (facts(Approved, Free), facts(Approved, Reserved));
    let paid = facts(Paid, Reserved);
    let other = Reason::Other;
    for (facts, action, state, reservation, posting) in [
        (pending, Action::Update, Pending, Free, Some(Code::Amend)),
        (pending, Action::Amend, Pending, Free, Some(Code::Amend)),
        (due, Action::ApproveDue, Approved, Free, Some(Code::Approve)),
        (pending, Action::Approve, Approved, Free, Some(Code::Approve)),
        (pending, Action::Hold(Reason::Fraud), OnHold, Free, None),
        (held, Action::Release, Pending, Free, None),
        (pending, Action::Extend(other), Pending, Free, None),
        (pending, Action::Reject(other), Rejected, Free, Some(Code::Reject)),
        (held, Action::Reject(Reason::OrderCanceled), Rejected, Free, Some(Code::Reject)),
        (held, Action::Amend, OnHold, Free, Some(Code::Amend)),
        (held, Action::Update, OnHold, Free, Some(Code::Amend)),
        (owed, Action::Reverse(other), Reversed, Free, Some(Code::Reverse)),
        (owed, Action::ClawBack(other), Approved, Free, Some(Code::Clawback)),
        (owed, Action::Adjust, Approved, Free, Some(Code::Adjust)),
        (owed, Action::Reserve, Approved, Reserved, Some(Code::PayoutReserve)),
        (taken, Action::CancelPayout, Approved, Free, Some(Code::PayoutCancel)),
        (taken, Action::FailPayout, Approved, Free, Some(Code::PayoutFail)),
        (taken, Action::Pay, Paid, Reserved, Some(Code::PayoutPay)),
        (taken, Action::ClawBack(other), Approved, Reserved, Some(Code::Clawback)),
        (paid, Action::ClawBack(other), Paid, Reserved, Some(Code::Clawback)),
        (paid, Action::Adjust, Paid, Reserved, Some(Code::Adjust)),
        (paid, Action::ReturnPayout, Approved, Free, Some(Code::PayoutReturn)),
    ] {
        let outcome = transition(&facts, action).unwrap();
        assert_eq!((outcome.state, outcome.reservation), (state, reservation), "{action:?}");
        assert_eq!(outcome.posting, posting, "{action:?}");
        let opens = match posting {
            Some(Code::Clawback) => Some(CommissionKind::Clawback),
            Some(Code::Adjust) => Some(CommissionKind::Adjustment),
            Some(_) | None => None,
        };
        assert_eq!(outcome.opens, opens);
    }
}

#[test]
fn nothing_else_is_possible() {
    let pending = [A::Update, A::Amend, A::Approve, A::Hold, A::Extend, A::Reject];
    for (state, reservation, expected) in [
        (Pending, Free, &pending[..]),
        (OnHold, Free, &[A::Update, A::Amend, A::Release, A::Reject]),
        (Approved, Free, &[A::Reverse, A::ClawBack, A::Adjust, A::Reserve]),
        (Approved, Reserved, &[A::ClawBack, A::Adjust, A::CancelPayout, A::FailPayout, A::Pay]),
        (Paid, Reserved, &[A::ClawBack, A::Adjust, A::ReturnPayout]),
        (Rejected, Free, &[]),
        (Reversed, Free, &[]),
        (Pending, Reserved, &[]),
        (OnHold, Reserved, &[]),
        (Rejected, Reserved, &[]),
        (Reversed, Reserved, &[]),
        (Paid, Free, &[A::ClawBack, A::Adjust]),
    ] {
        assert_eq!(allowed(&facts(state, reservation)), expected, "{state:?} {reservation:?}");
    }
}

#[test]
fn guards_close_what_the_table_opens() {
    let due = CommissionFacts { now: day(10), ..facts(Pending, Free) };
    let open = [A::Amend, A::ApproveDue, A::Approve, A::Hold, A::Reject];
    assert_eq!(allowed(&due), open, "no update after the hold");
    let by_person = CommissionFacts { approval: Approval::Manual, ..due };
    assert!(!allowed(&by_person).contains(&A::ApproveDue));
    assert!(allowed(&by_person).contains(&A::Approve));
    let blocked = CommissionFacts { standing: Standing::Blocked, ..due };
    assert_eq!(allowed(&blocked), [A::Amend, A::Hold, A::Reject]);
    let blocked = CommissionFacts { standing: Standing::Blocked, ..facts(Approved, Free) };
    assert!(!allowed(&blocked).contains(&A::Reserve));
    let corrected = CommissionFacts { has_corrections: true, ..facts(Approved, Free) };
    assert_eq!(allowed(&corrected), [A::ClawBack, A::Adjust, A::Reserve]);
    for kind in [CommissionKind::Clawback, CommissionKind::Adjustment] {
        let row = CommissionFacts { kind, ..facts(Approved, Free) };
        assert_eq!(allowed(&row), [A::Reserve], "a correction is only netted");
    }
}

#[test]
fn a_review_stops_the_clock() {
    let held = facts(OnHold, Free);
    assert_eq!(transition(&held, Action::Release).unwrap().hold_until, day(10));
    let late = CommissionFacts { now: day(20), ..held };
    assert_eq!(transition(&late, Action::Release).unwrap().hold_until, day(20));
    assert!(transition(&late, Action::ApproveDue).is_err(), "a frozen commission is never due");
}

#[test]
fn a_refusal_says_what_is_possible() {
    let refused = transition(&facts(OnHold, Free), Action::Approve).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "approve is not possible while it is on_hold; possible now: update, amend, release, reject"
    );
    let over = transition(&facts(Rejected, Free), Action::Approve).unwrap_err();
    assert!(over.to_string().ends_with("possible now: nothing"));
}

#[test]
fn rows_open_as_the_table_says() {
    let other = Reason::Other;
    let earned = CommissionKind::Earned;
    assert_eq!(open(Opening::Accept), (earned, Pending, Some(Code::Accrue)));
    assert_eq!(open(Opening::Refuse(other)), (earned, Rejected, None));
    let clawback = (CommissionKind::Clawback, Approved, Some(Code::Clawback));
    assert_eq!(open(Opening::Clawback(other)), clawback);
    let adjustment = (CommissionKind::Adjustment, Approved, Some(Code::Adjust));
    assert_eq!(open(Opening::Adjustment), adjustment);
}

#[test]
fn codes_read_back_and_reasons_are_kept() {
    for state in CommissionState::ALL {
        assert_eq!(CommissionState::from_code(state.code()), Some(*state));
    }
    for reason in Reason::ALL {
        assert_eq!(Reason::from_code(reason.code()), Some(*reason));
        assert_eq!(Action::Reject(*reason).reason(), Some(*reason));
    }
    assert_eq!(CommissionState::from_code("void"), None);
    assert_eq!(Action::Pay.reason(), None);
}
