//! What the evidence is worth. Pure.

use chrono::TimeDelta;

use crate::claim::evidence::{Evidence, KnownOrder, NamedClick, Order};
use crate::clock::Timestamp;
use crate::ids::{CommissionId, PartnerId};

/// How far an order may lie before its click: the clocks of shop and service differ a little.
const SKEW_MAX: TimeDelta = TimeDelta::minutes(5);

/// Attributions of orders that came without a click id that is one of ours, where no click is kept.
const CLICKLESS: [&str; 5] =
    ["no_click", "bad_click_id", "unknown_coupon", "coupon_not_begun", "coupon_ended"];

/// What is to be done about a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The partner has this commission for it already.
    Counted(CommissionId),
    /// It is the partner's: accept it now.
    Proven,
    /// It may well be: a person decides, and at the deadline it is accepted.
    Supported,
    /// Nothing decides it: a person must.
    Undecided,
    /// It is not the partner's.
    Contradicted,
}

/// A finding with its ground.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What is to be done.
    pub finding: Finding,
    /// Why, as a code.
    pub reason: &'static str,
    /// Why, for people.
    pub sentence: String,
}

fn verdict(finding: Finding, reason: &'static str, sentence: impl Into<String>) -> Verdict {
    Verdict { finding, reason, sentence: sentence.into() }
}

/// Decides what the evidence says about the claim of a partner.
pub fn judge(evidence: &Evidence, claimant: PartnerId) -> Verdict {
    match &evidence.order {
        Order::Unknown => unknown(evidence),
        Order::Several => verdict(
            Finding::Undecided,
            "order_ambiguous",
            "Several shops of the program have an order of this name.",
        ),
        Order::Known(order) => known(evidence, order, claimant),
    }
}

fn unknown(evidence: &Evidence) -> Verdict {
    let sentence = format!(
        "The shop has not reported this order. It reported {} others within an hour of then, and {} \
         messages about this one wait.",
        evidence.n_orders_near, evidence.n_waiting
    );
    verdict(Finding::Undecided, "order_unknown", sentence)
}

fn known(evidence: &Evidence, order: &KnownOrder, claimant: PartnerId) -> Verdict {
    use Finding::{Contradicted, Counted, Undecided};
    if let Some((_, id)) = order.earned_by.iter().find(|(partner, _)| *partner == claimant) {
        let sentence = format!("The order counts for the partner already: {id}.");
        return verdict(Counted(*id), "already_counted", sentence);
    }
    if !order.earned_by.is_empty() {
        let sentence = "Another partner has earned by this order; only a person can change that.";
        return verdict(Undecided, "other_partner", sentence);
    }
    if order.is_test {
        return verdict(Contradicted, "test_order", "It was a trial run, which earns nothing.");
    }
    if order.is_refunded {
        return verdict(Contradicted, "order_canceled", "All of the order went back.");
    }
    match &evidence.click {
        NamedClick::Own { at, is_human, .. } => with_click(evidence, order, *at, *is_human),
        NamedClick::OfOthers => {
            let sentence = "The click id named belongs to another partner or program.";
            verdict(Contradicted, "click_of_others", sentence)
        }
        NamedClick::NotOurs => {
            let sentence = "The click id named was not signed here; send it exactly as it was.";
            verdict(Undecided, "bad_click_id", sentence)
        }
        NamedClick::None => without_click(evidence, order, claimant),
    }
}

fn with_click(
    evidence: &Evidence,
    order: &KnownOrder,
    at: Timestamp,
    is_human: Option<bool>,
) -> Verdict {
    use Finding::{Proven, Supported, Undecided};
    if let Some(outside) = outside(evidence, order, at) {
        return outside;
    }
    if evidence.is_click_damaged() {
        let sentence = "The order came with a damaged form of this very click id.";
        return verdict(Proven, "damaged_click_id", sentence);
    }
    if is_human.is_none() {
        let sentence = "The click named was signed here and lies in the window, but clicks of its day \
                        are no longer kept: nothing tells whether it was a person's.";
        return verdict(Undecided, "click_not_kept", sentence);
    }
    let has_none = order.click_at.is_none() && CLICKLESS.contains(&order.attribution.as_str());
    if is_human == Some(true) && has_none {
        let sentence = format!(
            "The shop sent the order without a click id that counts; a person clicked the partner's \
             link {} before it.",
            span(order.occurred_at - at)
        );
        return verdict(Supported, "click_in_window", sentence);
    }
    let sentence = "The click named lies in the window, but nothing ties it to this order.";
    verdict(Undecided, "click_in_window", sentence)
}

fn without_click(evidence: &Evidence, order: &KnownOrder, claimant: PartnerId) -> Verdict {
    let came_with_own = order.clicked_partner == Some(claimant);
    if let Some(at) = order.click_at.filter(|_| came_with_own)
        && let Some(outside) = outside(evidence, order, at)
    {
        return outside;
    }
    let gone_before = evidence.gone_before(order).filter(|_| evidence.last_click_at.is_none());
    if let Some(kept_from) = gone_before {
        let coupon = order.coupon_code.as_ref().map_or("", |_| " The customer used a coupon.");
        let sentence = format!(
            "Clicks before {kept_from} are no longer kept, so nothing tells whether the partner's link \
             was clicked within {} days before the order.{coupon}",
            evidence.window_days
        );
        return verdict(Finding::Undecided, "clicks_not_kept", sentence);
    }
    match (evidence.last_click_at, &order.coupon_code) {
        (Some(at), _) => {
            let sentence = format!(
                "The partner's link was last clicked {} before the order, {} times within a day; \
                 nothing ties a click to it.",
                span(order.occurred_at - at),
                evidence.n_clicks_day
            );
            verdict(Finding::Undecided, "clicks_near", sentence)
        }
        (None, Some(_)) => {
            let sentence = "The partner's link was not clicked within the window, but the customer \
                            used a coupon.";
            verdict(Finding::Undecided, "coupon_used", sentence)
        }
        (None, None) => {
            let sentence = format!(
                "No person clicked the partner's link within {} days before the order.",
                evidence.window_days
            );
            verdict(Finding::Contradicted, "no_click_in_window", sentence)
        }
    }
}

/// Says of a click why it cannot have led to the order, if it cannot.
fn outside(evidence: &Evidence, order: &KnownOrder, at: Timestamp) -> Option<Verdict> {
    let window = TimeDelta::days(evidence.window_days.into());
    let min = TimeDelta::seconds(evidence.min_seconds.into());
    if order.occurred_at + SKEW_MAX < at {
        let sentence = format!("The click came {} after the order.", span(at - order.occurred_at));
        Some(verdict(Finding::Contradicted, "before_click", sentence))
    } else if order.occurred_at - at > window {
        let sentence = format!(
            "The click came {} before the order; clicks count for {} days.",
            span(order.occurred_at - at),
            evidence.window_days
        );
        Some(verdict(Finding::Contradicted, "outside_window", sentence))
    } else if (order.occurred_at - at).max(TimeDelta::zero()) < min {
        let sentence = format!(
            "The click came {} before the order; clicks count from {} seconds on.",
            span(order.occurred_at - at),
            evidence.min_seconds
        );
        Some(verdict(Finding::Contradicted, "too_soon", sentence))
    } else {
        None
    }
}

/// Returns a length of time in the unit that people would choose.
fn span(time: TimeDelta) -> String {
    match time.num_seconds().max(0) {
        s if s < 120 => format!("{s} s"),
        s if s < 7200 => format!("{} min", s / 60),
        s if s < 3 * 86_400 => format!("{} h", s / 3600),
        s => format!("{} days", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ConversionId, ReceiptId};

    const GOOD: &str = "QAVGr4yUAAAHAAAAAQAAAAIBAgMEBQABAgMEBQYHCAkK";

    fn at(text: &str) -> Timestamp {
        format!("2026-11-{text}:00Z").parse().unwrap()
    }

    fn order() -> KnownOrder {
        KnownOrder {
            conversion_id: ConversionId::new(),
            receipt_id: ReceiptId::new(),
            occurred_at: at("20T12:00"),
            is_test: false,
            is_refunded: false,
            attribution: "no_click".to_owned(),
            clicked_partner: None,
            click_at: None,
            click_id: None,
            coupon_code: None,
            earned_by: Vec::new(),
        }
    }

    fn evidence(order: KnownOrder, click: NamedClick) -> Evidence {
        Evidence {
            order: Order::Known(order),
            click,
            window_days: 10,
            min_seconds: 30,
            last_click_at: None,
            n_clicks_day: 0,
            clicks_from: None,
            n_orders_near: 0,
            n_waiting: 0,
        }
    }

    fn own(time: &str, is_human: bool) -> NamedClick {
        NamedClick::Own { text: GOOD.to_owned(), at: at(time), is_human: Some(is_human) }
    }

    #[test]
    fn each_piece_of_evidence_weighs_what_it_weighs() {
        let me = PartnerId::new();
        let mine = CommissionId::new();
        let damaged = KnownOrder {
            attribution: "bad_click_id".into(),
            click_id: Some(GOOD.to_lowercase()),
            ..order()
        };
        let late = KnownOrder {
            attribution: "outside_window".into(),
            clicked_partner: Some(me),
            click_at: Some(at("05T12:00")),
            ..order()
        };
        let unknown_coupon = KnownOrder { attribution: "unknown_coupon".into(), ..order() };
        let earned = |by| KnownOrder { earned_by: vec![(by, mine)], ..order() };
        let other = || earned(PartnerId::new());
        use Finding::{Contradicted, Counted, Proven, Supported, Undecided};
        for (order, click, finding, reason) in [
            (earned(me), NamedClick::None, Counted(mine), "already_counted"),
            (other(), NamedClick::None, Undecided, "other_partner"),
            // Not even the best evidence takes what another has.
            (
                KnownOrder { earned_by: other().earned_by, ..damaged.clone() },
                own("19T12:00", true),
                Undecided,
                "other_partner",
            ),
            (damaged.clone(), own("19T12:00", true), Proven, "damaged_click_id"),
            (damaged.clone(), own("10T11:59", true), Contradicted, "outside_window"),
            (damaged, NamedClick::NotOurs, Undecided, "bad_click_id"),
            (order(), own("19T12:00", true), Supported, "click_in_window"),
            (order(), own("19T12:00", false), Undecided, "click_in_window"),
            (order(), own("10T12:00", true), Supported, "click_in_window"),
            (order(), own("20T12:05", true), Contradicted, "too_soon"),
            (order(), own("20T12:06", true), Contradicted, "before_click"),
            (order(), own("20T12:00", true), Contradicted, "too_soon"),
            (order(), own("20T11:59", true), Supported, "click_in_window"),
            (unknown_coupon, own("19T12:00", true), Supported, "click_in_window"),
            (order(), NamedClick::OfOthers, Contradicted, "click_of_others"),
            (order(), NamedClick::None, Contradicted, "no_click_in_window"),
            (
                KnownOrder { coupon_code: Some("X".into()), ..order() },
                NamedClick::None,
                Undecided,
                "coupon_used",
            ),
            (late, NamedClick::None, Contradicted, "outside_window"),
            (
                KnownOrder { is_test: true, ..order() },
                own("19T12:00", true),
                Contradicted,
                "test_order",
            ),
            (
                KnownOrder { is_refunded: true, ..order() },
                own("19T12:00", true),
                Contradicted,
                "order_canceled",
            ),
        ] {
            let evidence = evidence(order, click);
            let found = judge(&evidence, me);
            assert_eq!((found.finding, found.reason), (finding, reason), "{evidence:?}");
            assert!(found.sentence.ends_with('.'), "{found:?}");
        }
    }

    #[test]
    fn where_clicks_are_no_longer_kept_their_absence_proves_nothing() {
        use Finding::{Contradicted, Undecided};
        let gone = NamedClick::Own { text: GOOD.to_owned(), at: at("11T12:00"), is_human: None };
        let coupon = KnownOrder { coupon_code: Some("X".into()), ..order() };
        for (order, click, kept_from, finding, reason) in [
            (order(), gone.clone(), "2026-11-12", Undecided, "click_not_kept"),
            (order(), NamedClick::None, "2026-11-11", Undecided, "clicks_not_kept"),
            (coupon, NamedClick::None, "2026-11-11", Undecided, "clicks_not_kept"),
            // The window of ten days begins on the first day kept.
            (order(), NamedClick::None, "2026-11-10", Contradicted, "no_click_in_window"),
        ] {
            let clicks_from = Some(kept_from.parse().unwrap());
            let evidence = Evidence { clicks_from, ..evidence(order, click) };
            let found = judge(&evidence, PartnerId::new());
            assert_eq!((found.finding, found.reason), (finding, reason), "{evidence:?}");
            assert!(found.sentence.ends_with('.'), "{found:?}");
        }
    }

    #[test]
    fn an_order_that_is_not_there_or_twice_waits_for_a_person() {
        for (order, reason) in
            [(Order::Unknown, "order_unknown"), (Order::Several, "order_ambiguous")]
        {
            let evidence = Evidence { order, ..evidence(self::order(), own("19T12:00", true)) };
            let found = judge(&evidence, PartnerId::new());
            assert_eq!((found.finding, found.reason), (Finding::Undecided, reason));
        }
    }
}
