//! Exports: a report that was read, as text. Pure.

pub mod csv;
pub mod json;
pub mod ndjson;

use chrono::SecondsFormat;

use crate::clock::Timestamp;
use crate::report::Readout;
use csv::Dialect;

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON document with the totals.
    Json,
    /// One JSON object a line, without totals.
    Ndjson,
    /// A table for spreadsheets, without totals.
    Csv(Dialect),
}

/// Writes a report.
pub fn write(readout: &Readout, format: Format) -> String {
    match format {
        Format::Json => json::write(readout),
        Format::Ndjson => ndjson::write(readout.columns, &readout.table.rows),
        Format::Csv(dialect) => csv::write(readout.columns, &readout.table.rows, dialect),
    }
}

/// Writes a time as RFC 3339 in UTC, with as many decimals as it needs.
fn rfc3339(at: Timestamp) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

#[cfg(test)]
#[path = "export_tests.rs"]
mod tests;
