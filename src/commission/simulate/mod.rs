//! What a plan would have paid: a draft is played over what really happened, and nothing changes.
//!
//! A [`Past`] is a conversion with what the ledger holds for it; [`replay`] prices conversions in
//! the order of their time, by the edition of each one's time, and from the beginning of the span
//! on by the draft: as if it had been published for that day. Editions price as they priced then,
//! from stored inputs, so a replay without a draft comes to the ledger, to the cent. [`outcome`]
//! adds up who would have more and who less. [`run`] reads one moment of the database, a page at a
//! time, so that a million conversions need the memory of a page and of the sums in between.
//!
//! [`clicks`] stand as they were paid, and a draft prices their days anew.
//!
//! What stays as it is: a commission that was rejected or reversed, and what somebody took back or
//! added by hand. Ranks, groups and recruiters are those that were known then; where no plan asked
//! for them then, those of now.

pub mod click_store;
pub mod clicks;
pub mod http;
pub mod outcome;
pub mod past;
pub mod replay;
pub mod run;
pub mod store;
pub mod wish;
pub mod wish_http;

pub use outcome::{Outcome, Tally};
pub use past::{Part, Past};
pub use replay::{Draft, Ground, Replay, Span};

#[cfg(test)]
mod tests;
