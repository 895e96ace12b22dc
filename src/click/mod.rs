//! Clicks: one human redirect each, with a signed id and no trace of the person.
//!
//! [`http`] answers a link, [`answer_http`] says it: [`classify`] decides whether the request is a click at all,
//! [`click_id`] names it so that a conversion can be attributed without finding its row,
//! [`told_http`] takes the clicks of apps and sites that cannot redirect,
//! [`visitor`] recognizes a repeat within the life of a salt, and a batcher of the stream makes it
//! durable before the visitor goes on. Nothing here names a store: a click never waits for a database.

pub mod answer_http;
pub mod classify;
pub mod click_id;
pub mod help_http;
pub mod http;
pub mod told_http;
pub mod visitor;
