//! The ways in for conversions: from bytes on the wire to a durable event.
//!
//! A way in authenticates the sender, reads its message into a [`Report`](crate::conversion::Report),
//! looks, if PostgreSQL answers in time, whether the message is [`known`], and appends it to the
//! stream. It answers when the event is durable; what it earns is for settlement to say.

mod append_http;
pub mod imports;
pub mod known;
pub mod letters;
pub mod manual_http;
pub mod parked_http;
pub mod postback_http;
pub mod rate;
pub mod refused;
pub mod sending;
pub mod store;
pub mod tester_http;
pub mod trial;
pub mod webhook;

#[cfg(test)]
pub(crate) mod fuzz_tests;
