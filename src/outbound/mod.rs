//! What the service tells others by itself: signed notices to endpoints, and a daily mail.
//!
//! Whoever decides something inserts a [`Notice`] in the transaction of the decision
//! ([`store::insert_notice`]); the role `deliver` turns it into one delivery for each endpoint that
//! wants its kind and sends these until they are taken or the [`retry`] schedule ends. A message
//! is sent at least once; its `webhook-id` is the notice's id in every attempt, so a receiver can
//! tell a repetition. A connection goes only where [`crate::address`] lets it. The mail
//! ([`digest`]) is written once for each program and day, and has its recipients tried one by one.

pub mod deliverer;
pub mod digest;
pub mod digest_http;
pub mod digest_store;
pub mod http;
pub mod mail;
pub mod retry;
pub mod sender;
pub mod sign;
pub mod store;
mod words;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Timestamp;
use crate::ids::{EndpointId, NoticeId, ProgramId};

/// Kind of a notice that a manager sends to try an endpoint.
pub const PING: &str = "ping";
/// Kind of a notice that an endpoint is no longer called.
pub const ENDPOINT_DISABLED: &str = "endpoint.disabled";
/// Kind of a notice that a partner's activity has declined; its payload is [`ActivityDeclined`].
pub const ACTIVITY_DECLINED: &str = "partner.activity_declined";

/// Something that was decided and that others may want to know.
#[derive(Clone, Debug)]
pub struct Notice {
    /// Whose it is.
    pub program_id: ProgramId,
    /// Its id, which is the `webhook-id` of its messages.
    pub notice_id: NoticeId,
    /// Dotted words in lower case, such as `partner.activity_declined`.
    pub kind: String,
    /// The id of what it is about.
    pub subject: String,
    /// What endpoints get as `data`.
    pub payload: Value,
    /// When it was decided.
    pub created_at: Timestamp,
}

/// Payload of [`ACTIVITY_DECLINED`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivityDeclined {
    /// Who, `pt_…`.
    pub partner_id: String,
    /// What people call it.
    pub partner_name: String,
    /// `watch`, `warning`, `critical` or `silent`.
    pub severity: String,
    /// First day of the fall.
    pub since: chrono::NaiveDate,
    /// Share of its clicks that no longer come.
    pub share_lost_percent: i64,
    /// Commission that is expected to be missed in the next 28 days, in major units.
    pub lost_commission_next_28d: String,
    /// Currency of that amount.
    pub currency: String,
    /// Code of the possible cause, such as `technical`.
    pub possible_cause: String,
    /// What to do about it.
    pub remedy: String,
    /// The case that was opened, if one was.
    #[serde(default)]
    pub case_id: Option<String>,
}

/// An endpoint as it stands; its secrets are never part of it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Whose notices it gets.
    pub program_id: ProgramId,
    /// Key of the row.
    pub endpoint_id: EndpointId,
    /// Where messages go.
    pub url: String,
    /// Kinds that it wants; `*` stands for all.
    pub kinds: Vec<String>,
    /// Active or disabled.
    pub status: String,
    /// The first failure since the last success.
    pub failing_since: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What became of a notice at an endpoint.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The notice.
    pub notice_id: NoticeId,
    /// Its kind.
    pub kind: String,
    /// Pending, delivered or failed.
    pub status: String,
    /// Attempts begun since it was first due, or since it was last asked for by hand.
    pub attempts: i32,
    /// When it is tried next, if it is pending.
    pub next_attempt_at: Timestamp,
    /// Status of the last answer.
    pub last_status: Option<i32>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was taken.
    pub delivered_at: Option<Timestamp>,
}
