//! Conversions: what a partner site reports, checked and put into one form.
//!
//! Whatever the way in, a message becomes a [`Report`]: [`webhook`] reads the signed JSON,
//! [`wire`] carries the report through the stream, [`signature`] decides whether the sender is who
//! it says. Nothing here decides what a conversion earns; that is settlement.

pub mod candidate;
pub mod http;
pub mod parked_store;
pub mod path;
pub mod postback;
pub mod sheet;
pub mod signature;
pub mod store;
pub mod webhook;
pub mod wire;

use sha2::{Digest as _, Sha256};

use crate::clock::Timestamp;
use crate::money::{Currency, Money};

/// The results that a program may pay for.
pub const EVENTS: [&str; 5] = ["sale", "lead", "signup", "install", "renewal"];

/// Click ids of a path, at most.
pub const CLICK_IDS_MAX: usize = 20;

/// What a message does to its conversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageType {
    /// Reports a new conversion.
    Created,
    /// Corrects its content.
    Updated,
    /// The merchant confirms it.
    Approved,
    /// The merchant cancels it before approval.
    Rejected,
    /// Money went back to the customer, in whole or in part.
    Refunded,
}

impl MessageType {
    /// Every type.
    pub const ALL: [Self; 5] =
        [Self::Created, Self::Updated, Self::Approved, Self::Rejected, Self::Refunded];

    /// Returns the text form, `conversion.created` and so on.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "conversion.created",
            Self::Updated => "conversion.updated",
            Self::Approved => "conversion.approved",
            Self::Rejected => "conversion.rejected",
            Self::Refunded => "conversion.refunded",
        }
    }

    /// Returns the type with this text form.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.as_str() == text)
    }
}

/// What a partner site reports, in one form whatever the way in.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// What the message does.
    pub message_type: MessageType,
    /// One of [`EVENTS`].
    pub event: String,
    /// The shop's own name of the order.
    pub order_id: Option<String>,
    /// The click id as it came; whether it is ours is for settlement to say. Of a path it is the
    /// last one.
    pub click_id: Option<String>,
    /// The path to it, where the shop tells: its click ids as they came, the oldest first.
    pub click_ids: Vec<String>,
    /// ISO 4217 code of every amount below.
    pub currency: Option<Currency>,
    /// What the customer paid.
    pub amount: Option<Money>,
    /// Tax within the amount.
    pub tax: Option<Money>,
    /// Shipping within the amount.
    pub shipping: Option<Money>,
    /// Discount still to be taken off the amount.
    pub discount: Option<Money>,
    /// Coupon that the customer used.
    pub coupon_code: Option<String>,
    /// Keyed hash of the shop's name of the customer; the name itself is never kept.
    pub customer_hash: Option<[u8; 32]>,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// The shop's name of a refund: repeated calls change nothing.
    pub refund_id: Option<String>,
    /// How much went back; the whole order where it is not given.
    pub refund_amount: Option<Money>,
    /// Why, for a rejection.
    pub reason: Option<String>,
    /// A trial run that earns nothing.
    pub is_test: bool,
    /// Whatever else the shop wants to see again.
    pub metadata: serde_json::Map<String, serde_json::Value>,
}

impl Report {
    /// Returns what names the conversion within its event and namespace: the order id, or the
    /// click id where the shop has no orders. Never empty: a report without both is refused.
    pub fn dedup_ref(&self) -> String {
        match (&self.order_id, &self.click_id) {
            (Some(order), _) => order.clone(),
            (None, Some(click)) => format!("click:{click}"),
            (None, None) => String::new(),
        }
    }

    /// Returns every click id that came with it, the oldest first: those of the path, and the one
    /// that stands beside it where the path does not hold it.
    pub fn path(&self) -> impl Iterator<Item = &str> {
        whole_path(&self.click_ids, self.click_id.as_deref())
    }

    /// Returns a hash of what the conversion says: equal for a retry, different for a conflict.
    ///
    /// Times are left out: shops stamp each attempt anew. A path counts where there is one, so that
    /// hashes of orders without one stay what they were before there were paths.
    pub fn content_hash(&self) -> [u8; 32] {
        let minor = |m: Option<Money>| m.map(|m| m.minor);
        let mut content = serde_json::json!([
            self.event,
            self.order_id,
            self.click_id,
            self.currency.map(Currency::code),
            minor(self.amount),
            minor(self.tax),
            minor(self.shipping),
            minor(self.discount),
            self.coupon_code,
            self.customer_hash,
        ]);
        if let (false, Some(fields)) = (self.click_ids.is_empty(), content.as_array_mut()) {
            fields.push(self.click_ids.clone().into());
        }
        Sha256::digest(content.to_string().as_bytes()).into()
    }
}

/// Returns a path with the click id that stands beside it, where the path does not hold it.
pub fn whole_path<'a>(
    click_ids: &'a [String],
    click_id: Option<&'a str>,
) -> impl Iterator<Item = &'a str> {
    let beside = click_id.filter(|id| click_ids.iter().all(|known| known != id));
    click_ids.iter().map(String::as_str).chain(beside)
}

/// What is wrong with one field of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldProblem {
    /// JSON pointer into the message.
    pub pointer: &'static str,
    /// What is wrong and how to mend it.
    pub detail: String,
}
