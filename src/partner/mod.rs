//! Partners: who promotes, and in which programs.
//!
//! A partner is one identity in the whole deployment. What is particular to a program (approval,
//! rank, owner, minting epoch, smallest payout) is its [`Enrollment`] there; a redirect, a
//! commission or a payout needs an active one.

pub mod http;
pub mod network;
pub mod store;

use chrono::NaiveDate;

use crate::clock::Timestamp;
use crate::ids::{PartnerId, ProgramId};

/// The kinds of partner; a baseline differs by kind.
pub const KINDS: [&str; 4] = ["webmaster", "dealer", "integrator", "other"];

/// The ranks, best first.
pub const RANKS: [&str; 4] = ["A", "B", "C", "D"];

/// A partner as it stands.
#[derive(Clone, Debug)]
pub struct Partner {
    /// Key of the row.
    pub partner_id: PartnerId,
    /// Its number in tokens, 1–4,294,967,295.
    pub number: i64,
    /// What people call it.
    pub name: String,
    /// Its name in addresses, unique.
    pub slug: String,
    /// One of [`KINDS`].
    pub kind: String,
    /// Active or blocked.
    pub status: String,
    /// ISO 3166-1 alpha-2.
    pub country: Option<String>,
    /// Where to write to.
    pub email: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What a partner is in one program.
#[derive(Clone, Debug)]
pub struct Enrollment {
    /// The program.
    pub program_id: ProgramId,
    /// The partner.
    pub partner_id: PartnerId,
    /// Applied, active, paused, ended or declined.
    pub status: String,
    /// One of [`RANKS`].
    pub rank: String,
    /// Who looks after the partner.
    pub owner: Option<String>,
    /// When to be in touch next.
    pub next_contact_due: Option<NaiveDate>,
    /// Smallest payout of this partner, minor units; the program's where none is given.
    pub min_payout_minor: Option<i64>,
    /// When it began.
    pub created_at: Timestamp,
}
