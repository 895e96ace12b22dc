//! Clicks: one human redirect each, with a signed id and no trace of the person.
//!
//! [`classify`] decides whether a request is a click at all, [`click_id`] names it so that a
//! conversion can be attributed without finding its row, and [`visitor`] recognizes a repeat
//! within the life of a salt. Nothing here names a store: a click never waits for a database.

pub mod classify;
pub mod click_id;
pub mod visitor;
