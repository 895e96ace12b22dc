//! The ledger: double entry, only ever added to, one hash chain per program.
//!
//! A [`Posting`] is a balanced set of signed entries (debit positive, credit negative) over
//! [`Account`]s; there is no way to make one that does not balance. Once stored it is a
//! [`LedgerTransaction`]. A balance is nothing but a sum of entries, and [`proof`] shows from the
//! entries alone that the book balances and that nobody has changed it.
//!
//! Months are closed one after another ([`period`]); what partners are told about a closed month is
//! kept as it was told ([`statement`]).

pub mod account;
pub mod book;
pub mod closing;
mod copy_store;
pub mod http;
pub mod period;
pub mod period_http;
pub mod period_store;
pub mod posting;
pub mod proof;
pub mod statement;
pub mod statement_store;
pub mod store;

pub use account::{Account, BankLabel};
pub use posting::{Code, Entry, LedgerTransaction, Posting, PostingError};
