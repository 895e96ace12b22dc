//! A message as the record that it lies in the stream as.

use crate::commission::hold::Trust;
use crate::conversion::wire::{self, ReportError};
use crate::ids::{ProgramId, ReceiptId, SourceId};
use crate::settlement::Message;
use crate::stream::ConversionRecord;

/// Why an event from the stream cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Undecodable {
    /// The report is not one.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// The record names a trust that this release does not know.
    #[error("unknown trust {0:?}")]
    Trust(String),
}

/// Reads a message out of its record.
pub fn message(record: &ConversionRecord) -> Result<Message, Undecodable> {
    let trust = trust_of(&record.trust)?;
    Ok(Message {
        receipt_id: ReceiptId(record.receipt),
        program_id: ProgramId(record.program_id),
        source_id: SourceId(record.source_id),
        channel: record.channel.clone(),
        message_id: record.message_id.clone(),
        body_hash: record.content_hash,
        received_at: record.received_at,
        sent_at: record.sent_at,
        trust,
        report: wire::from_wire(&record.report)?,
    })
}

/// Writes a message as the record that it came from.
pub fn record(message: &Message) -> ConversionRecord {
    ConversionRecord {
        receipt: message.receipt_id.0,
        program_id: message.program_id.0,
        source_id: message.source_id.0,
        channel: message.channel.clone(),
        message_id: message.message_id.clone(),
        content_hash: message.body_hash,
        received_at: message.received_at,
        sent_at: message.sent_at,
        trust: trust_code(message.trust).to_owned(),
        report: wire::to_wire(&message.report),
    }
}

/// Reads the text form of trust.
pub fn trust_of(code: &str) -> Result<Trust, Undecodable> {
    match code {
        "signed" => Ok(Trust::Signed),
        "postback" => Ok(Trust::Postback),
        other => Err(Undecodable::Trust(other.to_owned())),
    }
}

/// Returns the text form of trust.
pub fn trust_code(trust: Trust) -> &'static str {
    match trust {
        Trust::Signed => "signed",
        Trust::Postback => "postback",
    }
}
