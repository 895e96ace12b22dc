//! A report as one JSON object a line: for tools that read while it arrives.

use super::json::Row;
use crate::report::{Cell, Column};

/// Writes the rows, each line ended by a line feed.
pub fn write(columns: &[Column], rows: &[Vec<Cell>]) -> String {
    let mut out = String::new();
    for row in rows {
        let line = serde_json::to_string(&Row(columns, row));
        out.push_str(&line.expect("cells are plain values with string keys"));
        out.push('\n');
    }
    out
}
