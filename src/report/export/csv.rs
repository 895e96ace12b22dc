//! A report as CSV, in the dialect of whoever reads it.
//!
//! All dialects follow RFC 4180: CRLF, a header row, quotes doubled, quoted only where needed.
//! Excel reads UTF-8 only behind a byte order mark, and in most of Europe expects semicolons and
//! decimal commas.

use std::borrow::Cow;
use std::str::FromStr;

use csv::{Terminator, Writer, WriterBuilder};

use super::{rfc3339, starts_formula};
use crate::report::{Cell, Column};

/// Who reads the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// A program: comma, dot, text as it is.
    Rfc4180,
    /// Excel with English settings: byte order mark, comma, dot, formulas defused.
    Excel,
    /// Excel with the settings of most of Europe: byte order mark, semicolon, decimal comma,
    /// formulas defused.
    ExcelEu,
}

impl Dialect {
    /// All dialects, for reading and for tests.
    pub const ALL: [Self; 3] = [Self::Rfc4180, Self::Excel, Self::ExcelEu];

    /// Returns its name in queries.
    pub fn code(self) -> &'static str {
        match self {
            Self::Rfc4180 => "rfc4180",
            Self::Excel => "excel",
            Self::ExcelEu => "excel-eu",
        }
    }

    /// Tells whether text that a spreadsheet would run as a formula is defused.
    pub fn is_safe_in_spreadsheets(self) -> bool {
        match self {
            Self::Rfc4180 => false,
            Self::Excel | Self::ExcelEu => true,
        }
    }

    fn delimiter(self) -> u8 {
        match self {
            Self::Rfc4180 | Self::Excel => b',',
            Self::ExcelEu => b';',
        }
    }
}

/// Says that no dialect has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a dialect is one of rfc4180, excel, excel-eu")]
pub struct UnknownDialect;

impl FromStr for Dialect {
    type Err = UnknownDialect;

    fn from_str(code: &str) -> Result<Self, UnknownDialect> {
        Self::ALL.into_iter().find(|d| d.code() == code).ok_or(UnknownDialect)
    }
}

const IN_MEMORY: &str = "writing to memory cannot fail";

/// Writes the header and the rows.
pub fn write(columns: &[Column], rows: &[Vec<Cell>], dialect: Dialect) -> String {
    let mut out = Vec::new();
    write_header(columns, dialect, &mut out);
    write_rows(rows, dialect, &mut out);
    String::from_utf8(out).expect("fields are UTF-8 and the rest is ASCII")
}

/// Writes the header, behind a byte order mark where the dialect has one.
pub(super) fn write_header(columns: &[Column], dialect: Dialect, out: &mut Vec<u8>) {
    if dialect.is_safe_in_spreadsheets() {
        out.extend("\u{feff}".as_bytes());
    }
    let mut lines = lines(dialect, out);
    lines.write_record(columns.iter().map(|c| c.name)).expect(IN_MEMORY);
    lines.flush().expect(IN_MEMORY);
}

/// Writes rows.
pub(super) fn write_rows(rows: &[Vec<Cell>], dialect: Dialect, out: &mut Vec<u8>) {
    let mut lines = lines(dialect, out);
    for row in rows {
        for cell in row {
            lines.write_field(field(cell, dialect).as_bytes()).expect(IN_MEMORY);
        }
        lines.write_record(None::<&[u8]>).expect(IN_MEMORY);
    }
    lines.flush().expect(IN_MEMORY);
}

fn lines(dialect: Dialect, out: &mut Vec<u8>) -> Writer<&mut Vec<u8>> {
    WriterBuilder::new()
        .delimiter(dialect.delimiter())
        .terminator(Terminator::CRLF)
        .from_writer(out)
}

fn field(cell: &Cell, dialect: Dialect) -> Cow<'_, str> {
    match cell {
        Cell::Text(text) if dialect.is_safe_in_spreadsheets() => defuse(text),
        Cell::Text(text) => Cow::Borrowed(text),
        Cell::Money(amount) => {
            let amount = amount.to_decimal_string();
            Cow::Owned(match dialect {
                Dialect::Rfc4180 | Dialect::Excel => amount,
                Dialect::ExcelEu => amount.replace('.', ","),
            })
        }
        Cell::Int(n) => Cow::Owned(n.to_string()),
        Cell::Date(day) => Cow::Owned(day.to_string()),
        Cell::Time(at) => Cow::Owned(rfc3339(*at)),
        Cell::Bool(yes) => Cow::Borrowed(if *yes { "true" } else { "false" }),
        Cell::Empty => Cow::Borrowed(""),
    }
}

/// Puts an apostrophe before text that a spreadsheet would take for a formula (CWE-1236, ASVS
/// 1.2.10): quoting alone does not help. Numbers are ours, so a negative amount stays a number.
fn defuse(text: &str) -> Cow<'_, str> {
    if starts_formula(text) { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) }
}
