//! Stories: the whole service on real PostgreSQL, real Redis and real HTTP, as its users meet it.
//!
//! Every test that starts a `TestApp` also proves, when it ends, that the ledger balances and that
//! nothing was left behind in the stream or among the dead letters.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]
#![expect(unreachable_pub, reason = "a test binary has no outside")]

mod attribution;
mod bad_input;
mod books;
mod bulk;
mod claims;
mod cli;
mod click_settlement;
mod clicks;
mod decline_cases;
mod decline_kept;
mod decline_pictures;
mod decline_stories;
mod documents;
mod engines;
mod explanations;
mod fraud;
mod harness;
mod imports;
mod late_facts;
mod link_to_payout;
mod minting;
mod models;
mod outbound;
mod partner_network;
mod payment_files;
mod payouts;
mod plans;
mod postbacks;
mod redirect_without_stores;
mod senders;
mod service;
mod settles_once;
mod simulate;
mod tidy;
mod told_clicks;
mod webhooks;
