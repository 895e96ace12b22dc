//! The versioned wire: what one stream entry holds.
//!
//! An entry is a packed batch: one byte of wire version, then records `[kind u8][length u32 LE]
//! [body]`. Version 1 must parse for ever: entries and spool segments outlive releases, and
//! `golden/v1.hex` holds its bytes. A change of a body is a new kind; a change of the framing is
//! a new version.
//!
//! The codes of class, reason, device and browser belong to the click's own module; here they are
//! bytes that travel.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::Timestamp;

mod click;
mod message;

pub use self::click::{CLICK_PAYLOAD_BYTES, ClickRecord, TEXT_BYTES_MAX};

const WIRE_VERSION: u8 = 1;
const KIND_CLICK: u8 = 1;
/// A conversion as JSON: read, and not written any more.
const KIND_CONVERSION_JSON: u8 = 2;
const KIND_PARKED: u8 = 3;
const KIND_CONVERSION: u8 = 4;
const CONVERSION_VERSION: u8 = 1;
const RECORD_HEAD_BYTES: usize = 5;
/// Room that a batch has from the start.
const BYTES_FIRST: usize = 1024;

/// An event on its way to settlement.
#[derive(Debug, Clone, PartialEq)]
pub enum StreamEvent {
    /// A redirect of a visitor.
    Click(Box<ClickRecord>),
    /// A message of a conversion source.
    Conversion(Box<ConversionRecord>),
    /// A message whose event has a name of the sender's own: kept until a person maps it.
    Parked(Box<ConversionRecord>),
}

/// A conversion message as it was accepted. Wire type: fields may be added, never renamed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConversionRecord<R = serde_json::Value> {
    /// The receipt given to the sender.
    pub receipt: Uuid,
    /// The program of the source.
    pub program_id: Uuid,
    /// The source that signed or sent it.
    pub source_id: Uuid,
    /// The way it came: `webhook`, `postback` and so on.
    pub channel: String,
    /// The sender's own id of the message (`webhook-id`).
    pub message_id: String,
    /// SHA-256 of the content, lower-case hex on the wire.
    #[serde(with = "hex_digest")]
    pub content_hash: [u8; 32],
    /// When it reached us.
    pub received_at: Timestamp,
    /// When the sender says it was sent: updates are ordered by it.
    pub sent_at: Timestamp,
    /// How far the sender is believed, as the intake decided.
    pub trust: String,
    /// The normalized report; numbers keep their exact text. What is read is a JSON value; what is
    /// written may be anything that becomes the same.
    pub report: R,
}

/// Says why a record could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The entry does not begin with a version this release knows; an empty entry has none.
    #[error("unknown wire version {0:?}")]
    UnknownVersion(Option<u8>),
    /// The entry or a field ends before its length says.
    #[error("cut short: {wanted} bytes announced, {found} there")]
    CutShort {
        /// Bytes that should follow.
        wanted: usize,
        /// Bytes that do follow.
        found: usize,
    },
    /// A record of a kind this release does not know.
    #[error("unknown record kind {0}")]
    UnknownKind(u8),
    /// A conversion body of a version this release does not know.
    #[error("unknown conversion version {0}")]
    UnknownConversionVersion(u8),
    /// Bytes after the last field.
    #[error("{0} bytes too many")]
    Trailing(usize),
    /// A time that no calendar has.
    #[error("{0} microseconds since 1970 are no time")]
    NoTime(i64),
    /// A text that is not UTF-8.
    #[error("a text is not UTF-8")]
    NotText,
    /// A conversion body that is not the JSON expected.
    #[error("not a conversion: {0}")]
    Json(String),
}

/// A record that could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct BadRecord {
    /// The kind byte, if the entry could be split that far.
    pub kind: Option<u8>,
    /// A whole entry holding this record alone, so that appending it again replays it; the
    /// unchanged entry when that could not be split.
    pub bytes: Vec<u8>,
    /// What was wrong.
    #[source]
    pub error: WireError,
}

/// Events packed for one append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedBatch {
    bytes: Vec<u8>,
    n_events: usize,
}

impl Default for PackedBatch {
    fn default() -> Self {
        let mut bytes = Vec::with_capacity(BYTES_FIRST);
        bytes.push(WIRE_VERSION);
        Self { bytes, n_events: 0 }
    }
}

impl PackedBatch {
    /// Returns an empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a batch of bytes that were packed before: from a spool or a dead letter.
    ///
    /// `n_events` is only counted with, never trusted: the bytes are checked when unpacked.
    pub fn from_bytes(bytes: Vec<u8>, n_events: usize) -> Self {
        Self { bytes, n_events }
    }

    /// Adds a click. Texts longer than [`TEXT_BYTES_MAX`] are cut: a click is never refused.
    pub fn push_click(&mut self, click: &ClickRecord) {
        self.push(KIND_CLICK, |body| click.encode(body));
    }

    /// Adds a conversion.
    pub fn push_conversion<R: Serialize>(&mut self, conversion: &ConversionRecord<R>) {
        self.push(KIND_CONVERSION, |body| message::encode(conversion, body));
    }

    /// Adds a message that is to be parked.
    pub fn push_parked(&mut self, conversion: &ConversionRecord) {
        let body = Versioned { v: CONVERSION_VERSION, conversion };
        self.push(KIND_PARKED, |bytes| {
            serde_json::to_writer(bytes, &body)
                .expect("texts and a JSON value always serialize, and a Vec takes every write");
        });
    }

    /// Returns the number of events.
    pub fn len(&self) -> usize {
        self.n_events
    }

    /// Says whether there is nothing to append.
    pub fn is_empty(&self) -> bool {
        self.n_events == 0
    }

    /// Says whether these are messages of conversions, not clicks: each door packs its own kind.
    pub fn holds_messages(&self) -> bool {
        self.bytes.get(1).is_some_and(|kind| *kind != KIND_CLICK)
    }

    /// Returns the packed bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the packed bytes, consuming the batch.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn push(&mut self, kind: u8, encode: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len() + RECORD_HEAD_BYTES;
        self.bytes.extend_from_slice(&[kind, 0, 0, 0, 0]);
        encode(&mut self.bytes);
        let length = u32::try_from(self.bytes.len() - start)
            .expect("a record is bounded far below 4 GiB by the limits on bodies and texts");
        self.bytes[start - 4..start].copy_from_slice(&length.to_le_bytes());
        self.n_events += 1;
    }
}

/// Decodes an entry, record by record: a bad one costs itself alone.
///
/// An entry of an unknown version is one bad record; after a record whose length cannot be right
/// the rest is one bad record.
pub fn unpack(entry: &[u8]) -> impl Iterator<Item = Result<StreamEvent, BadRecord>> {
    let (version, records) = match entry.split_first() {
        Some((version, records)) => (Some(*version), records),
        None => (None, entry),
    };
    let unknown = (version != Some(WIRE_VERSION)).then(|| {
        let error = WireError::UnknownVersion(version);
        Err(BadRecord { kind: None, bytes: entry.to_vec(), error })
    });
    let records = if unknown.is_some() { &[] } else { records };
    unknown.into_iter().chain(Records(records))
}

/// What an entry says it holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EventCounts {
    /// Clicks.
    pub n_clicks: usize,
    /// Everything else; what cannot be split counts as one.
    pub n_others: usize,
}

/// Returns what an entry says it holds, without decoding it.
pub fn count_events(entry: &[u8]) -> EventCounts {
    let mut records = entry.get(1..).unwrap_or_default();
    let mut counts = EventCounts::default();
    while let Some(&kind) = records.first() {
        let split = split_record(records);
        match (&split, kind) {
            (Ok(_), KIND_CLICK) => counts.n_clicks += 1,
            (Ok(_) | Err(_), _) => counts.n_others += 1,
        }
        records = split.map_or(&[], |(_, rest)| rest);
    }
    counts
}

struct Records<'a>(&'a [u8]);

impl Iterator for Records<'_> {
    type Item = Result<StreamEvent, BadRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        let kind = *self.0.first()?;
        let (record, body) = match split_record(self.0) {
            Ok((record, rest)) => {
                self.0 = rest;
                (record, Ok(&record[RECORD_HEAD_BYTES..]))
            }
            Err(error) => (std::mem::take(&mut self.0), Err(error)),
        };
        Some(body.and_then(|body| decode(kind, body)).map_err(|error| {
            let bytes = [&[WIRE_VERSION], record].concat();
            BadRecord { kind: Some(kind), bytes, error }
        }))
    }
}

fn split_record(bytes: &[u8]) -> Result<(&[u8], &[u8]), WireError> {
    let short = |wanted| WireError::CutShort { wanted, found: bytes.len() };
    let head = bytes.first_chunk().ok_or(short(RECORD_HEAD_BYTES))?;
    let &[_, a, b, c, d]: &[u8; RECORD_HEAD_BYTES] = head;
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    let end = RECORD_HEAD_BYTES.saturating_add(length);
    bytes.split_at_checked(end).ok_or(short(end))
}

fn decode(kind: u8, body: &[u8]) -> Result<StreamEvent, WireError> {
    match kind {
        KIND_CLICK => ClickRecord::decode(body).map(|click| StreamEvent::Click(Box::new(click))),
        KIND_CONVERSION => {
            message::decode(body).map(|record| StreamEvent::Conversion(Box::new(record)))
        }
        KIND_CONVERSION_JSON => {
            decode_conversion(body).map(|record| StreamEvent::Conversion(Box::new(record)))
        }
        KIND_PARKED => decode_conversion(body).map(|record| StreamEvent::Parked(Box::new(record))),
        other => Err(WireError::UnknownKind(other)),
    }
}

/// The envelope of a conversion body.
#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    v: u8,
    conversion: T,
}

#[derive(Deserialize)]
struct VersionOnly {
    v: u8,
}

fn decode_conversion(body: &[u8]) -> Result<ConversionRecord, WireError> {
    let json = |error: serde_json::Error| WireError::Json(error.to_string());
    // The version first: a later body may have nothing else in common with this one.
    match serde_json::from_slice::<VersionOnly>(body).map_err(json)?.v {
        CONVERSION_VERSION => {
            serde_json::from_slice(body).map(|body: Versioned<_>| body.conversion).map_err(json)
        }
        other => Err(WireError::UnknownConversionVersion(other)),
    }
}

/// A digest as 64 lower-case hexadecimal digits.
mod hex_digest {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(digest: &[u8; 32], s: S) -> Result<S::Ok, S::Error> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |nibble: u8| DIGITS[usize::from(nibble)];
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(digest) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        s.serialize_str(str::from_utf8(&text).expect("digits are ASCII"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<[u8; 32], D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        parse(text.as_bytes()).ok_or_else(|| D::Error::custom("expected 64 hexadecimal digits"))
    }

    fn parse(text: &[u8]) -> Option<[u8; 32]> {
        let (pairs, []) = text.as_chunks::<2>() else { return None };
        let nibble = |digit: u8| (digit as char).to_digit(16);
        let bytes: Option<Vec<u8>> = pairs
            .iter()
            .map(|&[high, low]| u8::try_from(nibble(high)? << 4 | nibble(low)?).ok())
            .collect();
        bytes?.try_into().ok()
    }
}

#[cfg(test)]
mod tests;
