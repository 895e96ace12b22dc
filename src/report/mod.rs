//! Reports only read: they never change what they report on.
pub mod decline;
