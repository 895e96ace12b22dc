//! Links: what a partner publishes, and where a visitor of it is sent.
//!
//! [`token`] is the signed text that says who promotes what; it is checked without a look-up, so
//! that a redirect needs neither Redis nor PostgreSQL. [`destination`] decides the address from
//! the program's [`template`] and the visitor's [`parameters`]. The address itself is never part
//! of the token: a stolen key cannot send anybody outside a registered program.

pub mod destination;
pub mod http;
pub mod inspect_http;
pub mod mint_http;
pub mod mint_store;
pub mod paid;
pub mod parameters;
pub mod store;
pub mod template;
pub mod token;
