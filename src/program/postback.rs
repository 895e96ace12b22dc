//! How a source speaks when it sends postbacks: its profile, its words for ours, its key.

use std::collections::BTreeMap;

use crate::clock::Timestamp;

/// Random bytes of a postback key: 192 bits, in hexadecimal.
pub const KEY_BYTES: usize = 24;

/// What is set for the postbacks of a source; the default is what a source without a row has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostbackTerms {
    /// Name of the alias profile.
    pub alias_profile: String,
    /// Their words for a status, and ours: `pending`, `approved`, `rejected`, `refunded`.
    pub status_map: BTreeMap<String, String>,
    /// Their names of events, and ours.
    pub event_map: BTreeMap<String, String>,
    /// What a postback that names no event reports.
    pub default_event: String,
    /// Whether a postback must be signed: the key alone is then not enough.
    pub needs_signature: bool,
    /// Whether time approves what rests on its postbacks alone; otherwise a person does.
    pub approves_by_time: bool,
    /// SHA-256 of its keys with the time at which each ends, newest first.
    pub keys: Vec<PostbackKey>,
}

/// A key of a source's postbacks, of which only the hash is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostbackKey {
    /// SHA-256 of the key's text.
    pub hash: Vec<u8>,
    /// When it ends; the newest has no end.
    pub ends_at: Option<Timestamp>,
}

impl Default for PostbackTerms {
    fn default() -> Self {
        Self {
            alias_profile: "generic".to_owned(),
            status_map: BTreeMap::new(),
            event_map: BTreeMap::new(),
            default_event: "sale".to_owned(),
            needs_signature: false,
            approves_by_time: false,
            keys: Vec::new(),
        }
    }
}
