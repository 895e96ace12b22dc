//! Exports: a report that was read, as the bytes of a file. Pure.

pub mod csv;
pub mod json;
pub mod ndjson;
pub mod xlsx;

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
    /// An Excel workbook, the totals on a sheet of their own.
    Xlsx,
}

/// Writes a report.
pub fn write(readout: &Readout, format: Format) -> Vec<u8> {
    let text = match format {
        Format::Json => json::write(readout),
        Format::Ndjson => ndjson::write(readout.columns, &readout.table.rows),
        Format::Csv(dialect) => csv::write(readout.columns, &readout.table.rows, dialect),
        Format::Xlsx => return xlsx::write(readout),
    };
    text.into_bytes()
}

/// Tells whether a spreadsheet would take a text for a formula.
fn starts_formula(text: &str) -> bool {
    // The wide forms count too: Excel with an East Asian setting takes them for the narrow ones.
    const STARTS: [char; 12] = [
        '=', '+', '-', '@', '\t', '\r', '\n', '\0', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}',
    ];
    text.starts_with(STARTS)
}

/// Writes a time as RFC 3339 in UTC, with as many decimals as it needs.
fn rfc3339(at: Timestamp) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

#[cfg(test)]
#[path = "export_tests.rs"]
mod tests;
