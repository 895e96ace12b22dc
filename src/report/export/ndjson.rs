//! A report as one JSON object a line: for tools that read while it arrives.

use super::json::Row;
use crate::report::{Cell, Column};

/// Writes the rows, each line ended by a line feed.
pub fn write(columns: &[Column], rows: &[Vec<Cell>]) -> String {
    let mut out = Vec::new();
    write_rows(columns, rows, &mut out);
    String::from_utf8(out).expect("JSON is UTF-8")
}

pub(super) fn write_rows(columns: &[Column], rows: &[Vec<Cell>], out: &mut Vec<u8>) {
    for row in rows {
        let line = serde_json::to_writer(&mut *out, &Row(columns, row));
        line.expect("cells are plain values with string keys");
        out.push(b'\n');
    }
}
