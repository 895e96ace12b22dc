//! What is kept of a record that could not be understood or applied.
//!
//! Settlement writes it to PostgreSQL in the same transaction as the offset, so that one poison
//! record never blocks its shard and never disappears.

use super::{BadRecord, Offset, Shard};

/// A record that settlement could not use, with all that is needed to look at it and replay it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The shard it came from.
    pub shard: Shard,
    /// The entry it came in.
    pub offset: Offset,
    /// Its place in that entry, from 0; with shard and offset it is unique in a generation.
    pub position: u32,
    /// The record's kind byte, if the entry could be split that far.
    pub kind: Option<u8>,
    /// A whole entry holding this record alone: appending it again replays it.
    pub bytes: Vec<u8>,
    /// Why it could not be used, for a person.
    pub reason: String,
}

impl DeadLetter {
    /// Returns the dead letter of a record that could not be decoded.
    pub fn undecodable(shard: Shard, offset: Offset, position: u32, bad: BadRecord) -> Self {
        Self {
            shard,
            offset,
            position,
            kind: bad.kind,
            bytes: bad.bytes,
            reason: bad.error.to_string(),
        }
    }
}
