//! From a report to the record that goes into the stream.

use crate::clock::Timestamp;
use crate::conversion::Report;
use crate::conversion::wire::{self, ReportWire};
use crate::ids::{ProgramId, ReceiptId, SourceId};
use crate::stream::ConversionRecord;

/// Who sends what, by which way in.
#[derive(Clone, Debug)]
pub struct Sending {
    /// The program of the source.
    pub program_id: ProgramId,
    /// The source.
    pub source_id: SourceId,
    /// `postback`, `manual` or `import`.
    pub channel: &'static str,
    /// `signed` or `postback`.
    pub trust: &'static str,
    /// When it came.
    pub received_at: Timestamp,
    /// When its sender made it.
    pub sent_at: Timestamp,
}

impl Sending {
    /// Returns the record of a message, with a receipt of its own, as settlement reads it.
    pub fn record(
        &self,
        message_id: String,
        content_hash: [u8; 32],
        report: &Report,
    ) -> ConversionRecord {
        self.with(message_id, content_hash, wire::to_wire(report))
    }

    /// Returns the same record to be written only, which needs no JSON value in between.
    pub fn to_write<'r>(
        &self,
        message_id: String,
        content_hash: [u8; 32],
        report: &'r Report,
    ) -> ConversionRecord<ReportWire<'r>> {
        self.with(message_id, content_hash, report.into())
    }

    fn with<R>(
        &self,
        message_id: String,
        content_hash: [u8; 32],
        report: R,
    ) -> ConversionRecord<R> {
        ConversionRecord {
            receipt: ReceiptId::new().0,
            program_id: self.program_id.0,
            source_id: self.source_id.0,
            channel: self.channel.to_owned(),
            message_id,
            content_hash,
            received_at: self.received_at,
            sent_at: self.sent_at,
            trust: self.trust.to_owned(),
            report,
        }
    }
}
