//! The hold: how long a commission may still be lost before it is owed.
//!
//! `hold_until` is a date on the commission; `on_hold` is a state, the clock stopped for a review.
//! The two never mix: a review that ends before the date changes nothing, one that ends after it
//! leaves the commission due at once.

use chrono::Duration;

use crate::clock::Timestamp;
use crate::commission::plan::{Approval, EventKind, HOLD_DAYS_MAX, HoldBasis, PlanTerms};

/// How far the report of a conversion can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The shop signed it with its webhook secret.
    Signed,
    /// It came as a plain postback, whose address a browser may have seen.
    Postback,
}

/// What a program says of commissions that rest on a postback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PostbackApproval {
    /// Somebody must approve them: the default.
    #[default]
    ByPerson,
    /// The end of the hold approves them like any other; the program opted in.
    ByTime,
}

/// Returns when the hold of an event of `occurred_at` is over.
pub fn hold_until(occurred_at: Timestamp, terms: &PlanTerms) -> Timestamp {
    occurred_at + Duration::days(i64::from(terms.hold_days))
}

/// Returns when the hold of a conversion is over that the shop says was delivered then.
///
/// Where the hold is counted from the delivery, and nobody has told of one, it lasts as long as any
/// hold may: an order that is never delivered is rejected by its shop, and one that was forgotten is
/// owed in the end.
pub fn until(
    occurred_at: Timestamp,
    delivered_at: Option<Timestamp>,
    event: EventKind,
    terms: &PlanTerms,
) -> Timestamp {
    let is_delivered = matches!(event, EventKind::Sale | EventKind::Renewal);
    match (terms.common.hold_basis, delivered_at) {
        (HoldBasis::Delivery, Some(at)) if is_delivered => hold_until(at.max(occurred_at), terms),
        (HoldBasis::Delivery, None) if is_delivered => {
            occurred_at + Duration::days(i64::from(HOLD_DAYS_MAX))
        }
        (HoldBasis::Event | HoldBasis::Delivery, _) => hold_until(occurred_at, terms),
    }
}

/// Returns when the hold of a commission is over, now that its delivery is told; none where it was
/// told before, or changes nothing.
pub fn after_delivery(
    hold_until: Timestamp,
    occurred_at: Timestamp,
    delivered_at: Option<Timestamp>,
    event: EventKind,
    terms: &PlanTerms,
) -> Option<Timestamp> {
    let untold = until(occurred_at, None, event, terms);
    let told = until(occurred_at, Some(delivered_at?), event, terms);
    (terms.common.hold_basis == HoldBasis::Delivery && hold_until == untold && told != untold)
        .then_some(told)
}

/// Returns whether the hold is over.
pub fn is_due(hold_until: Timestamp, now: Timestamp) -> bool {
    hold_until <= now
}

/// Returns the end of the hold after a review that ends `now`.
pub fn after_release(hold_until: Timestamp, now: Timestamp) -> Timestamp {
    hold_until.max(now)
}

/// Returns who approves: the plan's word, but never time alone where only a postback vouches.
pub fn approval(plan: Approval, trust: Trust, postbacks: PostbackApproval) -> Approval {
    match (plan, trust, postbacks) {
        (Approval::Manual, _, _) => Approval::Manual,
        (Approval::Auto, Trust::Postback, PostbackApproval::ByPerson) => Approval::Manual,
        (Approval::Auto, Trust::Signed, _)
        | (Approval::Auto, Trust::Postback, PostbackApproval::ByTime) => Approval::Auto,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(day: u32) -> Timestamp {
        format!("2026-11-{day:02}T00:00:00Z").parse().unwrap()
    }

    #[test]
    fn a_hold_ends_on_its_instant_and_a_review_never_shortens_it() {
        let terms = PlanTerms {
            rules: Vec::new(),
            hold_days: 9,
            approval: Approval::Auto,
            common: Default::default(),
        };
        let until = hold_until(day(1), &terms);
        assert_eq!(until, day(10));
        assert!(!is_due(until, until - Duration::microseconds(1)));
        assert!(is_due(until, until));
        assert_eq!(after_release(until, day(5)), day(10));
        assert_eq!(after_release(until, day(20)), day(20));
    }

    #[test]
    fn a_hold_is_counted_from_the_delivery_where_the_plan_says_so() {
        use crate::commission::plan::Common;
        let common = Common { hold_basis: HoldBasis::Delivery, ..Common::default() };
        let terms = PlanTerms {
            rules: Vec::new(),
            hold_days: 9,
            approval: Approval::Auto,
            common: std::sync::Arc::new(common),
        };
        let ends = |delivered_at, event| until(day(1), delivered_at, event, &terms);
        let year = day(1) + Duration::days(365);
        assert_eq!(ends(Some(day(5)), EventKind::Sale), day(14));
        assert_eq!(ends(None, EventKind::Sale), year);
        assert_eq!(ends(Some(day(5)), EventKind::Lead), day(10), "a lead is not delivered");
        let then = |hold, at| after_delivery(hold, day(1), at, EventKind::Sale, &terms);
        assert_eq!(then(year, Some(day(5))), Some(day(14)));
        assert_eq!(then(day(14), Some(day(8))), None, "it was told before");
        assert_eq!(then(year, None), None);
        let by_event = PlanTerms { common: Default::default(), ..terms.clone() };
        assert_eq!(until(day(1), Some(day(5)), EventKind::Sale, &by_event), day(10));
    }

    #[test]
    fn a_postback_alone_is_not_approved_by_time() {
        use PostbackApproval::{ByPerson, ByTime};
        use Trust::{Postback, Signed};
        for (plan, trust, postbacks, expected) in [
            (Approval::Auto, Signed, ByPerson, Approval::Auto),
            (Approval::Auto, Signed, ByTime, Approval::Auto),
            (Approval::Auto, Postback, ByPerson, Approval::Manual),
            (Approval::Auto, Postback, ByTime, Approval::Auto),
            (Approval::Manual, Signed, ByTime, Approval::Manual),
            (Approval::Manual, Postback, ByTime, Approval::Manual),
        ] {
            assert_eq!(approval(plan, trust, postbacks), expected, "{trust:?} {postbacks:?}");
        }
    }
}
