//! What is known about a claimed order, as facts and as it is shown.

use chrono::{NaiveDate, TimeDelta};
use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::ids::{CommissionId, ConversionId, PartnerId, ReceiptId};

/// The fewest characters of a click id that name it: 32 of 44 hold all but its signature.
const RECOGNIZED_MIN: usize = 32;
/// How many characters may have been spoiled on the way.
const SPOILED_MAX: usize = 2;

/// Everything that a verdict rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The order, if the shop has reported it.
    pub order: Order,
    /// The click that the partner names.
    pub click: NamedClick,
    /// Days within which a click counted at that time.
    pub window_days: i32,
    /// Seconds before which it did not.
    pub min_seconds: i32,
    /// The last human click of the partner within the window before the order.
    pub last_click_at: Option<Timestamp>,
    /// Human clicks of the partner within a day before the order.
    pub n_clicks_day: i64,
    /// The first day of which clicks are kept, where earlier ones were dropped.
    pub clicks_from: Option<NaiveDate>,
    /// Orders that the shop reported within an hour before and after.
    pub n_orders_near: i64,
    /// Messages about the order that wait for it to be reported.
    pub n_waiting: i64,
}

/// What the shop says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Nothing.
    Unknown,
    /// Several orders bear this name, in several order namespaces.
    Several,
    /// One order.
    Known(KnownOrder),
}

/// An order that the shop has reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownOrder {
    /// Its conversion.
    pub conversion_id: ConversionId,
    /// The receipt of its message.
    pub receipt_id: ReceiptId,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// Whether it was a trial run.
    pub is_test: bool,
    /// Whether all of it went back.
    pub is_refunded: bool,
    /// Why it is attributed, or to nobody.
    pub attribution: String,
    /// Whose click came with it, also where it did not count.
    pub clicked_partner: Option<PartnerId>,
    /// When that was.
    pub click_at: Option<Timestamp>,
    /// The click id as it came, also when it did not verify.
    pub click_id: Option<String>,
    /// The coupon used.
    pub coupon_code: Option<String>,
    /// Who has earned by it, refusals and what was taken back left out.
    pub earned_by: Vec<(PartnerId, CommissionId)>,
}

/// The click that a partner names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedClick {
    /// None.
    None,
    /// One that we did not sign.
    NotOurs,
    /// One of another partner or program.
    OfOthers,
    /// One of the partner's own.
    Own {
        /// The text.
        text: String,
        /// When.
        at: Timestamp,
        /// Whether the click is there, and was a person's; nobody knows where its day was dropped.
        is_human: Option<bool>,
    },
}

/// Tells whether `found` is what became of a good click id on its way: spelled in other case, cut
/// at an end, or with a character or two lost to somebody's form.
pub fn is_damaged_form(good: &str, found: &str) -> bool {
    if good == found || found.len() < RECOGNIZED_MIN {
        return false;
    }
    let n_spoiled = good.chars().zip(found.chars()).filter(|(a, b)| a != b).count();
    good.eq_ignore_ascii_case(found)
        || good.starts_with(found)
        || good.ends_with(found)
        || (good.len() == found.len() && n_spoiled <= SPOILED_MAX)
}

impl Evidence {
    /// Returns the order, if there is one.
    pub fn known(&self) -> Option<&KnownOrder> {
        match &self.order {
            Order::Known(order) => Some(order),
            Order::Unknown | Order::Several => None,
        }
    }

    /// Tells whether the click id that came with the order is a damaged form of the one named.
    pub fn is_click_damaged(&self) -> bool {
        let found = self.known().and_then(|order| order.click_id.as_deref());
        match (&self.click, found) {
            (NamedClick::Own { text, .. }, Some(found)) => is_damaged_form(text, found),
            (
                NamedClick::Own { .. }
                | NamedClick::None
                | NamedClick::NotOurs
                | NamedClick::OfOthers,
                _,
            ) => false,
        }
    }

    /// Returns the first day of which clicks are kept, if some of the window before the order are not.
    pub fn gone_before(&self, order: &KnownOrder) -> Option<NaiveDate> {
        let window = TimeDelta::days(self.window_days.into());
        let begins = (order.occurred_at - window).date_naive();
        self.clicks_from.filter(|kept_from| begins < *kept_from)
    }

    /// Returns it as it is shown. Whose the order is, is told by the manager's pages alone, so other
    /// partners are not named.
    pub fn to_json(&self, claimant: PartnerId) -> Value {
        let order = match &self.order {
            Order::Unknown => json!({"state": "unknown"}),
            Order::Several => json!({"state": "several"}),
            Order::Known(o) => json!({
                "state": "known",
                "conversion_id": o.conversion_id,
                "receipt_id": o.receipt_id,
                "occurred_at": o.occurred_at,
                "is_test": o.is_test,
                "is_refunded": o.is_refunded,
                "attribution": o.attribution,
                "click_id": o.click_id,
                "click_at": o.click_at,
                "coupon_code": o.coupon_code,
                "earned_by": match &o.earned_by[..] {
                    [] => "nobody",
                    all if all.iter().any(|(partner, _)| *partner == claimant) => "claimant",
                    _ => "another_partner",
                },
            }),
        };
        let click = match &self.click {
            NamedClick::None => json!({"state": "none"}),
            NamedClick::NotOurs => json!({"state": "not_ours"}),
            NamedClick::OfOthers => json!({"state": "of_others"}),
            NamedClick::Own { at, is_human, .. } => json!({
                "state": "own",
                "at": at,
                "is_human": is_human,
                "is_damaged_in_order": self.is_click_damaged(),
            }),
        };
        json!({
            "order": order,
            "named_click": click,
            "window_days": self.window_days,
            "min_seconds": self.min_seconds,
            "last_click_at": self.last_click_at,
            "clicks_within_a_day": self.n_clicks_day,
            "clicks_kept_from": self.clicks_from,
            "orders_within_an_hour": self.n_orders_near,
            "messages_waiting": self.n_waiting,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_click_id_is_recognized_after_what_forms_do_to_it() {
        let good = "QAVGr4yUAAAHAAAAAQAAAAIBAgMEBQABAgMEBQYHCAkK";
        assert_eq!(good.len(), 44);
        let one_wrong = good.replacen("yU", "yV", 1);
        let three_wrong = good.replacen("r4yU", "rXXX", 1);
        for (found, is_damaged) in [
            (good, false),
            (&good.to_lowercase(), true),
            (&good[..43], true),
            (&good[1..], true),
            (&good[..32], true),
            (&good[..31], false),
            (&one_wrong, true),
            (&three_wrong, false),
            ("", false),
        ] {
            assert_eq!(is_damaged_form(good, found), is_damaged, "{found}");
        }
    }
}
