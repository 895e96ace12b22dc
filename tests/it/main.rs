//! Stories: the whole service on real PostgreSQL, real Redis and real HTTP, as its users meet it.
//!
//! Every test that starts a `TestApp` also proves, when it ends, every invariant of the audit, and
//! that nothing was left behind among the dead letters.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]
#![expect(unreachable_pub, reason = "a test binary has no outside")]

mod attribution;
mod audit;
mod bad_input;
mod books;
mod bulk;
mod claims;
mod clawbacks;
mod cli;
mod click_settlement;
mod clicks;
mod cluster;
mod conversion_settlement;
mod decline_cases;
mod decline_kept;
mod decline_pictures;
mod decline_stories;
mod documents;
mod door;
mod engines;
mod explanations;
mod faults;
mod first_key;
mod first_party;
mod fraud;
mod harness;
mod imports;
mod late_facts;
mod leases;
mod link_to_payout;
mod minting;
mod models;
mod outbound;
mod partner_keys;
mod partner_network;
mod payment_files;
mod payouts;
mod plans;
mod postbacks;
mod redirect_without_stores;
mod refused;
mod retention;
mod senders;
mod service;
mod settles_once;
mod simulate;
mod standing_rules;
mod tidy;
mod told_clicks;
mod unattributed;
mod waiting_room;
mod webhooks;
