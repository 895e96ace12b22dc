//! A report as one JSON document. Amounts are decimal strings: a JSON number is read as a float.

use serde::{Serialize, Serializer};

use super::rfc3339;
use crate::report::{Cell, Column, Params};

const PLAIN: &str = "cells are plain values with string keys";

/// Opens the document: what was asked for, and the list of rows.
pub(super) fn write_head(report: &str, params: &Params, out: &mut Vec<u8>) {
    let asked = [
        ("report", report.to_owned()),
        ("from", rfc3339(params.window.from)),
        ("to", rfc3339(params.window.to)),
        ("time_zone", params.window.time_zone.name().to_owned()),
        ("currency", params.currency.code().to_owned()),
    ];
    out.push(b'{');
    for (name, value) in asked {
        serde_json::to_writer(&mut *out, name).expect(PLAIN);
        out.push(b':');
        serde_json::to_writer(&mut *out, &value).expect(PLAIN);
        out.push(b',');
    }
    out.extend(b"\"rows\":[");
}

/// Writes rows; `is_first` when none came before.
pub(super) fn write_rows(
    columns: &[Column],
    rows: &[Vec<Cell>],
    mut is_first: bool,
    out: &mut Vec<u8>,
) {
    for row in rows {
        if !std::mem::take(&mut is_first) {
            out.push(b',');
        }
        serde_json::to_writer(&mut *out, &Row(columns, row)).expect(PLAIN);
    }
}

/// Closes the list and the document, the totals in between.
pub(super) fn write_tail(summary: &[(&'static str, Cell)], out: &mut Vec<u8>) {
    out.extend(b"],\"summary\":");
    serde_json::to_writer(&mut *out, &Totals(summary)).expect(PLAIN);
    out.push(b'}');
}

/// One row as an object, its columns in their order.
pub(super) struct Row<'a>(pub(super) &'a [Column], pub(super) &'a [Cell]);

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let cells = self.0.iter().zip(self.1).map(|(column, cell)| (column.name, Value(cell)));
        serializer.collect_map(cells)
    }
}

/// Totals as an object.
pub struct Totals<'a>(pub &'a [(&'static str, Cell)]);

impl Serialize for Totals<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, cell)| (name, Value(cell))))
    }
}

struct Value<'a>(&'a Cell);

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Cell::Text(text) => serializer.serialize_str(text),
            Cell::Money(amount) => serializer.serialize_str(&amount.to_decimal_string()),
            Cell::Int(n) => serializer.serialize_i64(*n),
            Cell::Date(day) => serializer.collect_str(day),
            Cell::Time(at) => serializer.serialize_str(&rfc3339(*at)),
            Cell::Bool(yes) => serializer.serialize_bool(*yes),
            Cell::Empty => serializer.serialize_unit(),
        }
    }
}
