//! The copy of the terms that the hot paths live on: in memory, and on disk for a start without stores.
//!
//! A redirect or a webhook never asks PostgreSQL what a program is. It reads this copy, which a
//! [`keeper`] renews every few seconds when the version in the database has risen, and which is
//! written to disk (mode 0600; source secrets stay encrypted in it) so that a process that starts
//! while PostgreSQL is down still redirects and still checks signatures.

pub mod keeper;
pub mod store;
pub mod wire;

use std::sync::Arc;

use arc_swap::ArcSwap;
use foldhash::{HashMap, HashSet};

use crate::clock::Timestamp;
use crate::ids::{LinkNo, PartnerId, PartnerNo, ProgramId, ProgramNo, SourceId};
use crate::link::destination::Landing;
use crate::link::token::MintEpochs;
use crate::program::postback::PostbackTerms;
use crate::sealing::Opened;

/// What a program is to the hot paths.
#[derive(Clone, Debug)]
pub struct ProgramTerms {
    /// Key of the row.
    pub program_id: ProgramId,
    /// Its number in tokens.
    pub number: ProgramNo,
    /// Whether it takes visitors.
    pub is_active: bool,
    /// ISO 4217 code that it pays in.
    pub currency: String,
    /// Where visitors land, ready to be rendered.
    pub landing: Landing,
    /// Where visitors of dead links go.
    pub fallback_url: Option<String>,
}

/// What a partner is to the hot paths.
#[derive(Clone, Debug)]
pub struct PartnerTerms {
    /// Key of the row.
    pub partner_id: PartnerId,
    /// Its number in tokens.
    pub number: PartnerNo,
    /// Its name in addresses, for landing macros.
    pub slug: String,
    /// Whether it is blocked everywhere.
    pub is_blocked: bool,
}

/// What a partner is in a program, to the hot paths.
#[derive(Clone, Copy, Debug)]
pub struct EnrollmentTerms {
    /// Whether it may promote.
    pub is_active: bool,
    /// The epoch of the key with which it may sign links itself.
    pub mint_epoch: u16,
    /// Until when the key of the epoch before is good too.
    pub mint_previous_until: Option<Timestamp>,
}

impl EnrollmentTerms {
    /// Returns the epochs whose keys are good `now`.
    pub fn mint_epochs(&self, now: Timestamp) -> MintEpochs {
        let is_overlap = self.mint_previous_until.is_some_and(|until| now < until);
        let previous = self.mint_epoch.checked_sub(1).filter(|_| is_overlap);
        MintEpochs { current: self.mint_epoch, previous }
    }
}

/// What a source is to the webhook.
#[derive(Clone, Debug)]
pub struct SourceTerms {
    /// The program that it reports to.
    pub program_id: ProgramId,
    /// Key of the row.
    pub source_id: SourceId,
    /// Whether it may report.
    pub is_active: bool,
    /// Orders of sources that share a namespace are one order.
    pub order_namespace: String,
    /// Requests that it may send in a second, if it has a rate of its own.
    pub requests_per_second: Option<u32>,
    /// Its secrets, encrypted, newest first, with the time at which each ends.
    pub secrets: Vec<SealedSecret>,
    /// How it speaks when it sends postbacks.
    pub postback: PostbackTerms,
}

/// A source's secret as it rests: encrypted.
#[derive(Clone, Debug)]
pub struct SealedSecret {
    /// Nonce and ciphertext.
    pub ciphertext: Vec<u8>,
    /// When it ends; the newest has no end.
    pub expires_at: Option<Timestamp>,
    /// The same in plain, once it was used.
    pub opened: Opened,
}

/// All terms at one version.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Version in the database that this copy was taken at; 0 is a copy that was never taken.
    pub version: i64,
    /// When it was taken; none is a copy that was never taken.
    pub taken_at: Option<Timestamp>,
    programs: HashMap<ProgramNo, ProgramTerms>,
    partners: HashMap<PartnerNo, PartnerTerms>,
    enrollments: HashMap<(ProgramNo, PartnerNo), EnrollmentTerms>,
    paused_links: HashSet<(ProgramNo, PartnerNo, LinkNo)>,
    sources: HashMap<SourceId, Arc<SourceTerms>>,
}

impl Snapshot {
    /// Finds a program by its number in tokens.
    pub fn program(&self, number: ProgramNo) -> Option<&ProgramTerms> {
        self.programs.get(&number)
    }

    /// Finds a partner by its number in tokens.
    pub fn partner(&self, number: PartnerNo) -> Option<&PartnerTerms> {
        self.partners.get(&number)
    }

    /// Finds what a partner is in a program.
    pub fn enrollment(&self, program: ProgramNo, partner: PartnerNo) -> Option<EnrollmentTerms> {
        self.enrollments.get(&(program, partner)).copied()
    }

    /// Returns the epochs of a partner's key that are good `now`, where he is in the program.
    pub fn mint_epochs(
        &self,
        program: ProgramNo,
        partner: PartnerNo,
        now: Timestamp,
    ) -> Option<MintEpochs> {
        Some(self.enrollment(program, partner)?.mint_epochs(now))
    }

    /// Tells whether a link was paused by hand. A link without a row is live: its token says so.
    pub fn is_paused(&self, program: ProgramNo, partner: PartnerNo, link: LinkNo) -> bool {
        !self.paused_links.is_empty() && self.paused_links.contains(&(program, partner, link))
    }

    /// Finds a conversion source.
    pub fn source(&self, source_id: SourceId) -> Option<&Arc<SourceTerms>> {
        self.sources.get(&source_id)
    }
}

/// The place where the current snapshot is found: reading it takes no lock.
#[derive(Clone, Debug, Default)]
pub struct SnapshotCell(Arc<ArcSwap<Snapshot>>);

impl SnapshotCell {
    /// Returns the current snapshot; the guard is cheap and must not be held across an await.
    pub fn load(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.0.load()
    }

    /// Puts a newer snapshot in place.
    pub fn store(&self, snapshot: Snapshot) {
        self.0.store(Arc::new(snapshot));
    }
}
