//! Programs: the merchant's terms, and the sources that may report conversions to them.
//!
//! A program says where its visitors land, which hosts a deep link may name, whose a conversion is
//! ([`attribution`], [`coupon`]), in which currency it pays, and in which time zone its days begin.

pub mod attribution;
pub mod coupon;
pub mod http;
pub mod postback;
pub mod postback_http;
pub mod postback_store;
pub mod secret_http;
pub mod source_http;
pub mod source_store;
pub mod store;

use crate::clock::Timestamp;
use crate::ids::{ProgramId, SourceId};

/// A program as it stands.
#[derive(Clone, Debug)]
pub struct Program {
    /// Key of the row.
    pub program_id: ProgramId,
    /// Its number in tokens, 1–16,777,215.
    pub number: i32,
    /// What people call it.
    pub name: String,
    /// Its name in addresses, unique.
    pub slug: String,
    /// Active or paused.
    pub status: String,
    /// ISO 4217 code that it pays in.
    pub currency: String,
    /// Landing URL with macros such as `{click_id}`.
    pub landing_template: String,
    /// Query parameter that carries the click id where the template has no macro for it.
    pub click_id_param: String,
    /// Hosts that a deep link may name, their subdomains included.
    pub allowed_hosts: Vec<String>,
    /// Whether deep links may be plain http.
    pub allow_http: bool,
    /// Where visitors of dead links go.
    pub fallback_url: Option<String>,
    /// IANA name; the program's days begin at its midnight.
    pub time_zone: String,
    /// Days from click to conversion within which the click counts, by the latest edition of its
    /// attribution policy.
    pub attribution_window_days: i32,
    /// Smallest payout, minor units.
    pub min_payout_minor: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// A conversion source as it stands; its secrets are never part of it.
#[derive(Clone, Debug)]
pub struct Source {
    /// The program that it reports to.
    pub program_id: ProgramId,
    /// Key of the row; stands in the webhook's URL.
    pub source_id: SourceId,
    /// What people call it.
    pub name: String,
    /// Active or disabled.
    pub status: String,
    /// Orders of sources that share a namespace are one order.
    pub order_namespace: String,
    /// When it was made.
    pub created_at: Timestamp,
}
