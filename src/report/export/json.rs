//! A report as one JSON document. Amounts are decimal strings: a JSON number is read as a float.

use serde::ser::{SerializeMap as _, SerializeSeq as _};
use serde::{Serialize, Serializer};

use super::rfc3339;
use crate::report::{Cell, Column, Readout};

/// Writes the report with its totals.
pub fn write(readout: &Readout) -> String {
    serde_json::to_string(&Document(readout)).expect("cells are plain values with string keys")
}

struct Document<'a>(&'a Readout);

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Readout { report, params, columns, table } = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("report", report)?;
        map.serialize_entry("from", &rfc3339(params.window.from))?;
        map.serialize_entry("to", &rfc3339(params.window.to))?;
        map.serialize_entry("time_zone", params.window.time_zone.name())?;
        map.serialize_entry("currency", params.currency.code())?;
        map.serialize_entry("rows", &Rows(columns, &table.rows))?;
        map.serialize_entry("summary", &Summary(&table.summary))?;
        map.end()
    }
}

struct Rows<'a>(&'a [Column], &'a [Vec<Cell>]);

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(self.1.len()))?;
        for row in self.1 {
            seq.serialize_element(&Row(self.0, row))?;
        }
        seq.end()
    }
}

/// One row as an object, its columns in their order.
pub(super) struct Row<'a>(pub(super) &'a [Column], pub(super) &'a [Cell]);

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let cells = self.0.iter().zip(self.1).map(|(column, cell)| (column.name, Value(cell)));
        serializer.collect_map(cells)
    }
}

struct Summary<'a>(&'a [(&'static str, Cell)]);

impl Serialize for Summary<'_> {
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
