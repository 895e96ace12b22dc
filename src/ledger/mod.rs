//! The ledger: double entry, only ever added to, one hash chain per program.
//!
//! A [`Posting`] is a balanced set of signed entries (debit positive, credit negative) over
//! [`Account`]s; there is no way to make one that does not balance. Once stored it is a
//! [`LedgerTransaction`]. A balance is nothing but a sum of entries, and [`proof`] shows from the
//! entries alone that the book balances and that nobody has changed it.

pub mod account;
pub mod http;
pub mod posting;
pub mod proof;
pub mod store;

pub use account::{Account, BankLabel};
pub use posting::{Code, Entry, LedgerTransaction, Posting, PostingError};
