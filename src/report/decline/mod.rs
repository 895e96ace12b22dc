//! The decline report: who declines, since when, what it costs, why, and what to do.
//!
//! What it says comes from the detector, which is a crate of its own (`crates/decline`) and
//! explained there. Here it is fed with settled clicks and shown: `query` reads them, `learning` lets
//! the detector learn them, `judgment` tells about the partners that matter, `told` adds what is
//! known beside the counts, `table` and `rising_table` make reports of it, `picture` draws. Where a day
//! would have to be learned for seconds, `at_hand` says so before, and `wishes` has it learned once.
#![expect(
    clippy::float_arithmetic,
    reason = "statistics of click counts; no amount of money is computed here"
)]

pub mod at_hand;
pub mod judgment;
mod kept_query;
pub mod learning;
pub mod picture;
pub mod picture_http;
pub mod query;
pub mod rising_table;
pub mod table;
pub mod told;
pub mod wishes;

pub use tributary_decline::kept::VERSION;
pub use tributary_decline::{
    Assessment, Cause, ConversionFall, Day, Decline, Diagnosis, Estimate, FalseAlarms, Incident,
    Network, PartnerSeries, Rise, Severity, Verdict, remedy,
};
