//! Dead letters: events that could not be understood, or not applied, and wait for a person.

pub mod http;
pub mod store;
