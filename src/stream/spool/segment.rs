//! The bytes of a spool segment.
//!
//! A segment is [`HEAD`] and records `[body length u32][CRC32 of the length u32][CRC32 of the body
//! u32][body]`, all little-endian; a body is `[shard u16][events u32][packed batch]`. The length
//! has a check of its own, so that a damaged length is never mistaken for a record cut short.

use std::ops::Range;

use crate::stream::{PackedBatch, Shard};

/// What every segment of this format begins with.
pub(super) const HEAD: &[u8; 8] = b"TRBSPL1\n";

pub(super) const RECORD_HEAD_BYTES: usize = 12;
const BODY_HEAD_BYTES: usize = 6;

/// The largest body: eight times the largest webhook batch. A greater length is damage.
pub(super) const BODY_BYTES_MAX: usize = 16 << 20;

/// Appends a record to `out`; refuses a batch that is too large.
pub(super) fn encode(shard: Shard, batch: &PackedBatch) -> Option<Vec<u8>> {
    let length = BODY_HEAD_BYTES + batch.as_bytes().len();
    if length > BODY_BYTES_MAX {
        return None;
    }
    let length_bytes = u32::try_from(length).ok()?.to_le_bytes();
    let n_events = u32::try_from(batch.len()).unwrap_or(u32::MAX);
    let mut record = Vec::with_capacity(RECORD_HEAD_BYTES + length);
    record.extend_from_slice(&length_bytes);
    record.extend_from_slice(&crc32fast::hash(&length_bytes).to_le_bytes());
    record.extend_from_slice(&[0; 4]);
    record.extend_from_slice(&shard.0.to_le_bytes());
    record.extend_from_slice(&n_events.to_le_bytes());
    record.extend_from_slice(batch.as_bytes());
    let crc = crc32fast::hash(&record[RECORD_HEAD_BYTES..]);
    record[8..RECORD_HEAD_BYTES].copy_from_slice(&crc.to_le_bytes());
    Some(record)
}

/// A whole, undamaged record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) shard: Shard,
    pub(super) n_events: u32,
    pub(super) batch: Vec<u8>,
}

/// What stands at the begin of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A record and its size with head.
    Whole(Record, usize),
    /// The begin of a record of this size, if the size is there.
    Short(Option<usize>),
    /// A record of this size whose body is damaged.
    BadBody(usize),
    /// A damaged head: where the next record begins cannot be known.
    BadHead,
}

/// Reads what stands at the begin of `bytes`.
pub(super) fn record_at(bytes: &[u8]) -> Found {
    let Some((head, rest)) = bytes.split_first_chunk::<RECORD_HEAD_BYTES>() else {
        return Found::Short(None);
    };
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let length = word(0) as usize;
    let is_plausible = (BODY_HEAD_BYTES..=BODY_BYTES_MAX).contains(&length);
    if crc32fast::hash(&head[..4]) != word(4) || !is_plausible {
        return Found::BadHead;
    }
    let size = RECORD_HEAD_BYTES + length;
    let Some(body) = rest.get(..length) else { return Found::Short(Some(size)) };
    let Some((&[s0, s1, n0, n1, n2, n3], batch)) = body.split_first_chunk() else {
        return Found::BadHead;
    };
    if crc32fast::hash(body) != word(8) {
        return Found::BadBody(size);
    }
    let shard = Shard(u16::from_le_bytes([s0, s1]));
    let n_events = u32::from_le_bytes([n0, n1, n2, n3]);
    Found::Whole(Record { shard, n_events, batch: batch.to_vec() }, size)
}

/// How a segment was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Record after record to its end.
    Whole,
    /// The last write was cut short: it was never acknowledged.
    Torn,
    /// Something that had been acknowledged may be damaged.
    Bad,
}

/// What a segment still holds.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) verdict: Verdict,
    /// The whole records: their place and number of events.
    pub(super) records: Vec<(Range<usize>, u32)>,
}

impl Scan {
    /// Where the last whole record ends.
    pub(super) fn end(&self) -> usize {
        self.records.last().map_or(HEAD.len(), |(place, _)| place.end)
    }
}

/// Walks a segment once and never stops at damage that it can step over.
pub(super) fn scan(bytes: &[u8]) -> Scan {
    let mut records = Vec::new();
    let Some((head, _)) = bytes.split_first_chunk() else {
        let is_torn = HEAD.starts_with(bytes) || is_zero(bytes);
        let verdict = if is_torn { Verdict::Torn } else { Verdict::Bad };
        return Scan { verdict, records };
    };
    let mut verdict = if head == HEAD { Verdict::Whole } else { Verdict::Bad };
    let mut at = HEAD.len();
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        match record_at(rest) {
            Found::Whole(record, size) => {
                records.push((at..at + size, record.n_events));
                at += size;
            }
            Found::BadBody(size) => {
                verdict = Verdict::Bad;
                at += size;
            }
            Found::Short(_) => {
                verdict = worse(verdict, Verdict::Torn);
                break;
            }
            // A file may be grown before its bytes reach the disk: a tail of zeros is a torn one.
            Found::BadHead => {
                let found = if is_zero(rest) { Verdict::Torn } else { Verdict::Bad };
                verdict = worse(verdict, found);
                break;
            }
        }
    }
    Scan { verdict, records }
}

fn worse(a: Verdict, b: Verdict) -> Verdict {
    if a == Verdict::Bad { a } else { b }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&b| b == 0)
}
