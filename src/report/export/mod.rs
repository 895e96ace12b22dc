//! Exports: a report that was read, as the bytes of a file. Pure.

pub mod csv;
pub mod json;
pub mod ndjson;
pub mod xlsx;

use chrono::SecondsFormat;

use crate::clock::Timestamp;
use crate::report::{Cell, Column, Params, Readout};
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

/// Writes a report that was read.
pub fn write(readout: &Readout, format: Format) -> Vec<u8> {
    let Readout { report, params, columns, table } = readout;
    let Some(mut writer) = TextWriter::new(report, params, columns, format) else {
        return xlsx::write(readout);
    };
    let mut out = Vec::new();
    writer.head(&mut out);
    writer.page(&table.rows, &mut out);
    writer.tail(&table.summary, &mut out);
    out
}

/// Writes a report as text while its rows come.
#[derive(Debug)]
pub struct TextWriter {
    shape: Shape,
    columns: &'static [Column],
    n_rows: u64,
}

#[derive(Debug)]
enum Shape {
    Json { report: &'static str, params: Params },
    Ndjson,
    Csv(Dialect),
}

impl TextWriter {
    /// Returns a writer; none for a workbook, which is no text.
    pub fn new(
        report: &'static str,
        params: &Params,
        columns: &'static [Column],
        format: Format,
    ) -> Option<Self> {
        let shape = match format {
            Format::Json => Shape::Json { report, params: params.clone() },
            Format::Ndjson => Shape::Ndjson,
            Format::Csv(dialect) => Shape::Csv(dialect),
            Format::Xlsx => return None,
        };
        Some(Self { shape, columns, n_rows: 0 })
    }

    /// Returns a writer of CSV for programs.
    pub fn csv(columns: &'static [Column]) -> Self {
        Self { shape: Shape::Csv(Dialect::Rfc4180), columns, n_rows: 0 }
    }

    /// Returns how many rows were written.
    pub fn n_rows(&self) -> u64 {
        self.n_rows
    }

    /// Writes what comes before the rows.
    pub fn head(&self, out: &mut Vec<u8>) {
        match &self.shape {
            Shape::Json { report, params } => json::write_head(report, params, out),
            Shape::Ndjson => {}
            Shape::Csv(dialect) => csv::write_header(self.columns, *dialect, out),
        }
    }

    /// Writes rows.
    pub fn page(&mut self, rows: &[Vec<Cell>], out: &mut Vec<u8>) {
        match &self.shape {
            Shape::Json { .. } => json::write_rows(self.columns, rows, self.n_rows == 0, out),
            Shape::Ndjson => ndjson::write_rows(self.columns, rows, out),
            Shape::Csv(dialect) => csv::write_rows(rows, *dialect, out),
        }
        self.n_rows += rows.len() as u64;
    }

    /// Writes what comes after the rows; totals only where they cannot be taken for a row.
    pub fn tail(&self, summary: &[(&'static str, Cell)], out: &mut Vec<u8>) {
        match &self.shape {
            Shape::Json { .. } => json::write_tail(summary, out),
            Shape::Ndjson | Shape::Csv(_) => {}
        }
    }
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
