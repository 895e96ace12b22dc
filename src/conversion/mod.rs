//! Conversions: the results that a shop reports, and the proof that it was the shop.
//!
//! [`signature`] checks who sent a webhook, over its raw bytes, before anything is parsed.

pub mod signature;
