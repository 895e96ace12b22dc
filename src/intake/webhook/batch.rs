//! A batch, message by message: what each says, and which say the same.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::conversion::webhook::{WebhookMessage, read_report};
use crate::conversion::{MessageType, Report};
use crate::signing::Key;

/// Messages in one batch, at most.
pub const ITEMS_MAX: usize = 500;

/// Many messages in one signed body.
#[derive(Debug, Deserialize, ToSchema)]
pub struct WebhookBatch {
    /// `batch`.
    #[schema(example = "batch")]
    pub r#type: String,
    /// The messages, 1 to 500, each as it would be sent alone.
    #[schema(value_type = Vec<WebhookMessage>)]
    pub data: Vec<Value>,
}

/// A message of a batch that could be read.
#[derive(Debug)]
pub struct Item {
    /// Names it for ever: the same in a batch that is sent again.
    pub message_id: String,
    /// SHA-256 of its own JSON.
    pub body_hash: [u8; 32],
    /// What it says.
    pub report: Report,
}

/// What is wrong with a message: where, from the root of the batch, and what.
pub type ItemProblem = (String, String);

/// Reads the message at `place`. Its id is the batch's id, a dot and the place: no id of a sender
/// holds a dot, so no message sent alone can have it.
pub fn read_item(
    batch_id: &str,
    place: usize,
    value: &Value,
    customer_key: &Key,
    now: Timestamp,
) -> Result<Item, Vec<ItemProblem>> {
    let at = |pointer: &str| format!("/data/{place}{pointer}");
    let body_hash = Sha256::digest(value.to_string()).into();
    let message = WebhookMessage::deserialize(value).map_err(|e| vec![(at(""), e.to_string())])?;
    let report = read_report(message, customer_key, now).map_err(|problems| {
        problems.into_iter().map(|p| (at(p.pointer), p.detail)).collect::<Vec<_>>()
    })?;
    Ok(Item { message_id: format!("{batch_id}.{place}"), body_hash, report })
}

/// What an earlier message of the same batch means for this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    /// Nothing: it is the first about its order.
    No,
    /// The message at this place reports the same with the same content.
    SameAs(usize),
    /// The message at this place reports the same order with other content.
    Against(usize),
}

/// The orders that a batch has reported so far.
#[derive(Debug, Default)]
pub struct Reported(HashMap<(String, String), (usize, [u8; 32])>);

impl Reported {
    /// Adds the message at `place` and tells whether its order was reported before.
    pub fn add(&mut self, place: usize, report: &Report) -> Echo {
        if report.message_type != MessageType::Created {
            return Echo::No;
        }
        let content = report.content_hash();
        let first =
            *self.0.entry((report.event.clone(), report.dedup_ref())).or_insert((place, content));
        match first {
            (n, _) if n == place => Echo::No,
            (n, known) if known == content => Echo::SameAs(n),
            (n, _) => Echo::Against(n),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(place: usize, value: &Value) -> Result<Item, Vec<ItemProblem>> {
        let now = "2026-11-22T10:15:10Z".parse().unwrap();
        read_item("msg_1", place, value, &Key::new([7; 32]), now)
    }

    fn sale(order_id: &str, amount: &str) -> Value {
        json!({"type": "conversion.created", "timestamp": "2026-11-22T10:15:04Z",
            "data": {"event": "sale", "order_id": order_id, "amount": amount, "currency": "EUR"}})
    }

    #[test]
    fn a_message_is_named_by_its_place() {
        let (first, again) = (read(3, &sale("A", "1")).unwrap(), read(3, &sale("A", "1")).unwrap());
        assert_eq!(first.message_id, "msg_1.3");
        assert_eq!((first.message_id, first.body_hash), (again.message_id, again.body_hash));
        assert_ne!(first.body_hash, read(3, &sale("A", "2")).unwrap().body_hash);
    }

    #[test]
    fn a_mistake_is_told_from_the_root() {
        let wrong = read(7, &sale("A", "1,5")).unwrap_err();
        assert_eq!(wrong[0].0, "/data/7/data/amount");
        let wrong = read(7, &json!({"type": "conversion.created"})).unwrap_err();
        assert_eq!(wrong, [("/data/7".to_owned(), "missing field `timestamp`".to_owned())]);
    }

    #[test]
    fn one_order_counts_once() {
        let mut reported = Reported::default();
        let mut add = |n, value| reported.add(n, &read(n, &value).unwrap().report);
        assert_eq!(add(0, sale("A", "1")), Echo::No);
        assert_eq!(add(1, sale("B", "1")), Echo::No);
        assert_eq!(add(2, sale("A", "1.00")), Echo::SameAs(0));
        assert_eq!(add(3, sale("A", "2")), Echo::Against(0));
        let mut refund = sale("A", "1");
        refund["type"] = json!("conversion.approved");
        assert_eq!(add(4, refund), Echo::No);
    }
}
