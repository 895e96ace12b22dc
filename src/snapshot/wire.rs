//! The form of a snapshot on its way out of the database and onto the disk, versioned.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use foldhash::HashMap;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::{LinkNo, PartnerId, PartnerNo, ProgramId, ProgramNo, SourceId};
use crate::link::destination::Landing;
use crate::link::template::Schemes;
use crate::program::postback::{PostbackKey, PostbackTerms};
use crate::sealing::Opened;
use crate::snapshot::{
    EnrollmentTerms, PartnerTerms, ProgramTerms, SealedSecret, Snapshot, SourceTerms,
};

/// The version of this form. A file of another one is not read: the copy is then taken anew.
pub const WIRE_VERSION: u32 = 1;

/// A whole snapshot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SnapshotWire {
    /// [`WIRE_VERSION`].
    pub v: u32,
    /// Version in the database.
    pub version: i64,
    /// When it was taken.
    pub taken_at: Timestamp,
    /// Every program.
    pub programs: Vec<ProgramWire>,
    /// Every partner.
    pub partners: Vec<PartnerWire>,
    /// Every enrollment.
    pub enrollments: Vec<EnrollmentWire>,
    /// Every link that is not active.
    pub paused_links: Vec<LinkWire>,
    /// Every source.
    pub sources: Vec<SourceWire>,
}

/// A program's row.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "columns of the table, described at `program::Program`")]
pub struct ProgramWire {
    pub program_id: ProgramId,
    pub number: i32,
    pub slug: String,
    pub status: String,
    pub currency: String,
    pub landing_template: String,
    pub click_id_param: String,
    pub allowed_hosts: Vec<String>,
    pub allow_http: bool,
    pub fallback_url: Option<String>,
}

/// A partner's row.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "columns of the table, described at `partner::Partner`")]
pub struct PartnerWire {
    pub partner_id: PartnerId,
    pub number: i64,
    pub slug: String,
    pub status: String,
}

/// An enrollment's row, by numbers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "columns of the table, described at `partner::Enrollment`")]
pub struct EnrollmentWire {
    pub program_number: i32,
    pub partner_number: i64,
    pub status: String,
    pub mint_epoch: i32,
    /// Left out of copies that older releases wrote.
    #[serde(default)]
    pub mint_previous_until: Option<Timestamp>,
}

/// A link that is not active, by numbers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "numbers of the token")]
pub struct LinkWire {
    pub program_number: i32,
    pub partner_number: i64,
    pub link_number: i64,
}

/// A source's row with its secrets.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "columns of the table, described at `program::Source`")]
pub struct SourceWire {
    pub program_id: ProgramId,
    pub source_id: SourceId,
    pub status: String,
    pub order_namespace: String,
    /// Left out of copies that older releases wrote.
    #[serde(default)]
    pub requests_per_second: Option<i32>,
    pub secrets: Vec<SecretWire>,
    /// None where nothing is set, and in copies of older releases.
    #[serde(default)]
    pub postback: Option<PostbackWire>,
}

/// A source's row for postbacks; of its keys only the hashes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "fields of `program::postback::PostbackTerms`")]
pub struct PostbackWire {
    pub alias_profile: String,
    pub status_map: BTreeMap<String, String>,
    pub event_map: BTreeMap<String, String>,
    pub default_event: String,
    pub needs_signature: bool,
    /// Left out of copies that older releases wrote.
    #[serde(default)]
    pub approves_by_time: bool,
    pub keys: Vec<PostbackKeyWire>,
}

/// The hash of a postback key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PostbackKeyWire {
    /// SHA-256, standard base64.
    pub hash: String,
    /// When it ends.
    pub ends_at: Option<Timestamp>,
}

impl From<PostbackTerms> for PostbackWire {
    fn from(t: PostbackTerms) -> Self {
        let key =
            |k: PostbackKey| PostbackKeyWire { hash: STANDARD.encode(&k.hash), ends_at: k.ends_at };
        Self {
            alias_profile: t.alias_profile,
            status_map: t.status_map,
            event_map: t.event_map,
            default_event: t.default_event,
            needs_signature: t.needs_signature,
            approves_by_time: t.approves_by_time,
            keys: t.keys.into_iter().map(key).collect(),
        }
    }
}

/// An encrypted secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SecretWire {
    /// Nonce and ciphertext, standard base64.
    pub ciphertext: String,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

impl From<SnapshotWire> for Snapshot {
    /// Builds the look-up form. A program whose landing template no longer parses is left out:
    /// templates are checked when a program is saved, so this is a file from another age.
    fn from(wire: SnapshotWire) -> Self {
        let programs: HashMap<_, _> =
            wire.programs.into_iter().filter_map(program_terms).map(|p| (p.number, p)).collect();
        let enrollments = wire.enrollments.into_iter().map(|e| {
            let terms = EnrollmentTerms {
                is_active: e.status == "active",
                mint_epoch: u16::try_from(e.mint_epoch).unwrap_or(0),
                mint_previous_until: e.mint_previous_until,
            };
            ((program_number(e.program_number), partner_number(e.partner_number)), terms)
        });
        let paused_links = wire.paused_links.into_iter().map(|l| {
            let link = LinkNo(u32::try_from(l.link_number).unwrap_or(0));
            (program_number(l.program_number), partner_number(l.partner_number), link)
        });
        Self {
            version: wire.version,
            taken_at: Some(wire.taken_at),
            programs,
            partners: wire.partners.into_iter().map(partner_terms).map(|p| (p.number, p)).collect(),
            enrollments: enrollments.collect(),
            paused_links: paused_links.collect(),
            sources: wire
                .sources
                .into_iter()
                .map(|s| (s.source_id, Arc::new(source_terms(s))))
                .collect(),
        }
    }
}

// The database checks that numbers fit; 0 is nobody.
fn program_number(n: i32) -> ProgramNo {
    ProgramNo(u32::try_from(n).unwrap_or(0))
}

fn partner_number(n: i64) -> PartnerNo {
    PartnerNo(u32::try_from(n).unwrap_or(0))
}

fn program_terms(p: ProgramWire) -> Option<ProgramTerms> {
    let schemes = if p.allow_http { Schemes::HttpToo } else { Schemes::HttpsOnly };
    let landing = Landing::compile(
        &p.landing_template,
        &p.click_id_param,
        &p.allowed_hosts,
        schemes,
        &p.slug,
    );
    Some(ProgramTerms {
        program_id: p.program_id,
        number: program_number(p.number),
        is_active: p.status == "active",
        currency: p.currency,
        landing: landing.ok()?,
        fallback_url: p.fallback_url,
    })
}

fn partner_terms(p: PartnerWire) -> PartnerTerms {
    PartnerTerms {
        partner_id: p.partner_id,
        number: partner_number(p.number),
        slug: p.slug,
        is_blocked: p.status == "blocked",
    }
}

fn source_terms(s: SourceWire) -> SourceTerms {
    let secrets = s.secrets.into_iter().filter_map(|x| {
        let ciphertext = STANDARD.decode(&x.ciphertext).ok()?;
        Some(SealedSecret { ciphertext, expires_at: x.expires_at, opened: Opened::default() })
    });
    SourceTerms {
        program_id: s.program_id,
        source_id: s.source_id,
        is_active: s.status == "active",
        order_namespace: s.order_namespace,
        requests_per_second: s.requests_per_second.and_then(|n| u32::try_from(n).ok()),
        secrets: secrets.collect(),
        postback: s.postback.map(postback_terms).unwrap_or_default(),
    }
}

fn postback_terms(p: PostbackWire) -> PostbackTerms {
    let key = |k: PostbackKeyWire| {
        Some(PostbackKey { hash: STANDARD.decode(&k.hash).ok()?, ends_at: k.ends_at })
    };
    PostbackTerms {
        alias_profile: p.alias_profile,
        status_map: p.status_map,
        event_map: p.event_map,
        default_event: p.default_event,
        needs_signature: p.needs_signature,
        approves_by_time: p.approves_by_time,
        keys: p.keys.into_iter().filter_map(key).collect(),
    }
}
