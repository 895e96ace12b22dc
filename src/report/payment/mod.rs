//! What partners are told and paid: payouts, statements, receipts that are owed, answers of banks.

pub mod bank_answers;
pub mod payouts;
pub mod receipts;
pub mod statements;
