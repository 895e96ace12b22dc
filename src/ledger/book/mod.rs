//! The book as people read it: accounts with their balances, transactions with their entries.

pub mod http;
pub mod store;
