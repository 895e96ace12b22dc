//! The body of a conversion record: who sent it in fixed places, then the report as JSON.
//!
//! `receipt 16, program 16, source 16, content hash 32, received_at 8, sent_at 8`, both times in
//! microseconds since 1970, then channel, trust and message id, each `length u32 LE` and UTF-8; the
//! rest is the report. Integers are little-endian.

use serde::Serialize;
use uuid::Uuid;

use super::{ConversionRecord, WireError};
use crate::clock::Timestamp;

/// Appends the body.
pub(super) fn encode<R: Serialize>(record: &ConversionRecord<R>, out: &mut Vec<u8>) {
    for id in [record.receipt, record.program_id, record.source_id] {
        out.extend_from_slice(id.as_bytes());
    }
    out.extend_from_slice(&record.content_hash);
    for at in [record.received_at, record.sent_at] {
        out.extend_from_slice(&at.timestamp_micros().to_le_bytes());
    }
    for text in [&record.channel, &record.trust, &record.message_id] {
        let length = u32::try_from(text.len()).expect("texts are bounded far below 4 GiB");
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(text.as_bytes());
    }
    serde_json::to_writer(out, &record.report)
        .expect("texts and a JSON value always serialize, and a Vec takes every write");
}

/// Reads a body.
pub(super) fn decode(body: &[u8]) -> Result<ConversionRecord, WireError> {
    let mut rest = Rest(body);
    let (receipt, program_id, source_id) = (rest.id()?, rest.id()?, rest.id()?);
    let content_hash = rest.array()?;
    let (received_at, sent_at) = (rest.time()?, rest.time()?);
    let (channel, trust, message_id) = (rest.text()?, rest.text()?, rest.text()?);
    let report =
        serde_json::from_slice(rest.0).map_err(|error| WireError::Json(error.to_string()))?;
    Ok(ConversionRecord {
        receipt,
        program_id,
        source_id,
        channel,
        message_id,
        content_hash,
        received_at,
        sent_at,
        trust,
        report,
    })
}

/// What of a body is still to be read.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn bytes(&mut self, wanted: usize) -> Result<&[u8], WireError> {
        let found = self.0.len();
        let (taken, rest) =
            self.0.split_at_checked(wanted).ok_or(WireError::CutShort { wanted, found })?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let bytes = self.bytes(N)?;
        bytes.try_into().map_err(|_| WireError::CutShort { wanted: N, found: bytes.len() })
    }

    fn id(&mut self) -> Result<Uuid, WireError> {
        self.array().map(Uuid::from_bytes)
    }

    fn time(&mut self) -> Result<Timestamp, WireError> {
        let micros = i64::from_le_bytes(self.array()?);
        Timestamp::from_timestamp_micros(micros).ok_or(WireError::NoTime(micros))
    }

    fn text(&mut self) -> Result<String, WireError> {
        let length = u32::from_le_bytes(self.array()?) as usize;
        let text = std::str::from_utf8(self.bytes(length)?).map_err(|_| WireError::NotText)?;
        Ok(text.to_owned())
    }
}
