//! Reads workbooks back: the files in the archive, cell by cell.

use std::io::{Cursor, Read as _};

use chrono_tz::Tz;

use super::*;
use crate::ids::ProgramId;
use crate::report::period::Window;
use crate::report::{ColumnKind, Params, Table};

const COLUMNS: &[Column] = &[
    ColumnKind::Text.named("name"),
    ColumnKind::Money.named("amount"),
    ColumnKind::Int.named("clicks"),
    ColumnKind::Date.named("day"),
    ColumnKind::Time.named("paid_at"),
    ColumnKind::Bool.named("is_paid"),
];

fn money(minor: i64, currency: &str) -> Cell {
    Cell::Money(Money::new(minor, currency.parse().unwrap()))
}

fn row(name: &str, amount: Cell) -> Vec<Cell> {
    vec![
        Cell::text(name),
        amount,
        Cell::Int(-3),
        Cell::Date("2026-10-01".parse().unwrap()),
        Cell::Time("2026-10-02T12:00:00Z".parse().unwrap()),
        Cell::Bool(true),
    ]
}

fn readout(rows: Vec<Vec<Cell>>) -> Readout {
    let window = Window::parse("2026-10-01", "2026-11-01", Tz::UTC).unwrap();
    let currency = "EUR".parse().unwrap();
    let params =
        Params { program_id: ProgramId::new(), partner_id: None, window, currency, now: window.to };
    let summary = vec![("sum", money(5, "EUR"))];
    Readout { report: "test", params, columns: COLUMNS, table: Table { rows, summary } }
}

struct Book(zip::ZipArchive<Cursor<Vec<u8>>>);

impl Book {
    fn of(rows: Vec<Vec<Cell>>) -> Self {
        Self(zip::ZipArchive::new(Cursor::new(write(&readout(rows)))).unwrap())
    }

    fn part(&mut self, name: &str) -> String {
        let mut text = String::new();
        self.0.by_name(name).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    /// The XML of a cell of the first sheet, from `<c ` to its end.
    fn cell(&mut self, at: &str) -> String {
        let sheet = self.part("xl/worksheets/sheet1.xml");
        let from = sheet.find(&format!("<c r=\"{at}\"")).unwrap_or_else(|| panic!("no {at}"));
        let end = sheet[from..].find("</c>").unwrap();
        sheet[from..from + end].to_owned()
    }

    fn value(&mut self, at: &str) -> String {
        let cell = self.cell(at);
        let (from, end) = (cell.find("<v>").unwrap() + 3, cell.find("</v>").unwrap());
        cell[from..end].to_owned()
    }

    /// The number format of a cell, as its code.
    fn format(&mut self, at: &str) -> String {
        let style = self.style(at);
        let id = attribute(&style, "numFmtId").to_owned();
        let styles = self.part("xl/styles.xml");
        let found = styles.find(&format!("<numFmt numFmtId=\"{id}\"")).unwrap();
        attribute(&styles[found..], "formatCode").to_owned()
    }

    fn style(&mut self, at: &str) -> String {
        let cell = self.cell(at);
        let number: usize = attribute(&cell, "s").parse().unwrap();
        let styles = self.part("xl/styles.xml");
        let formats = &styles[styles.find("<cellXfs").unwrap()..];
        formats.split("<xf ").nth(number + 1).unwrap().to_owned()
    }

    /// The text of a cell, which stands in the cell itself.
    fn text(&mut self, at: &str) -> String {
        let cell = self.cell(at);
        assert!(cell.contains("t=\"inlineStr\""), "{cell}");
        let from = cell.find("<t").unwrap();
        let from = from + cell[from..].find('>').unwrap() + 1;
        cell[from..cell.find("</t>").unwrap()].to_owned()
    }
}

fn attribute<'a>(xml: &'a str, name: &str) -> &'a str {
    let start = format!("{name}=\"");
    let mut found = xml.match_indices(&start).map(|(at, _)| at);
    let from = found.find(|&at| at == 0 || xml.as_bytes()[at - 1] == b' ');
    let value = &xml[from.unwrap_or_else(|| panic!("{name} in {xml}")) + start.len()..];
    &value[..value.find('"').unwrap()]
}

#[test]
fn cells_keep_their_types() {
    let mut book = Book::of(vec![row("Otto", money(-123_450, "EUR")), row("Umi", money(7, "JPY"))]);
    assert_eq!(
        (book.text("A2"), book.value("B2"), book.value("C2")),
        ("Otto".into(), "-1234.5".into(), "-3".into())
    );
    // Days since the end of 1899: 46,296 is the first of October 2026.
    assert_eq!((book.value("D2"), book.value("E2")), ("46296".into(), "46297.5".into()));
    assert!(book.cell("F2").contains("t=\"b\"") && book.value("F2") == "1");
    let formats = ["B2", "B3", "D2", "E2"].map(|at| book.format(at));
    assert_eq!(formats, ["#,##0.00", "#,##0", "yyyy-mm-dd", "yyyy-mm-dd hh:mm:ss"]);
}

#[test]
fn header_is_bold_and_stays_in_view() {
    let mut book = Book::of(vec![row("Otto", money(1, "EUR"))]);
    assert_eq!(book.text("A1"), "name");
    assert_ne!(attribute(&book.style("A1"), "fontId"), "0");
    assert!(book.part("xl/styles.xml").contains("<b/>"));
    let sheet = book.part("xl/worksheets/sheet1.xml");
    assert!(
        sheet.contains("<pane ySplit=\"1\" topLeftCell=\"A2\"")
            && sheet.contains("state=\"frozen\"")
    );
    assert!(
        sheet.contains("<col min=\"5\" max=\"5\" width=\"19.7")
            && sheet.contains("<autoFilter ref=\"A1:F2\"/>")
    );
}

#[test]
fn no_text_is_a_formula_even_when_it_is_edited() {
    for start in ["=", "+", "-", "@", "\t", "\r", "＝"] {
        let mut book = Book::of(vec![row(&format!("{start}1+1"), money(1, "EUR"))]);
        assert!(book.cell("A2").contains("t=\"inlineStr\""), "{}", book.cell("A2"));
        assert_eq!(attribute(&book.style("A2"), "quotePrefix"), "1");
        assert!(!book.part("xl/worksheets/sheet1.xml").contains("<f>"));
    }
    assert_eq!(Book::of(vec![row("=1+1", money(1, "EUR"))]).text("A2"), "=1+1");
}

#[test]
fn what_excel_cannot_keep_exactly_is_text() {
    let mut row = row("x", money(9_007_199_254_740_993, "EUR"));
    row[2] = Cell::Int(i64::MAX);
    row[3] = Cell::Date("1815-06-18".parse().unwrap());
    let mut book = Book::of(vec![row]);
    let texts = ["B2", "C2", "D2"].map(|at| book.text(at));
    assert_eq!(texts, ["90071992547409.93", "9223372036854775807", "1815-06-18"]);
    assert_eq!(book.text("A2"), "x");
}

#[test]
fn totals_stand_on_a_sheet_of_their_own() {
    let mut book = Book::of(vec![vec![Cell::Empty; COLUMNS.len()]]);
    assert!(book.part("xl/workbook.xml").contains("name=\"summary\""));
    assert!(book.part("xl/worksheets/sheet2.xml").contains("<v>0.05</v>"));
    assert!(!book.part("xl/worksheets/sheet1.xml").contains("r=\"A2\""));
}

#[test]
fn same_report_is_the_same_file() {
    let rows = || readout(vec![row("Otto", money(1, "EUR"))]);
    let params = rows();
    assert_eq!(write(&params), write(&params));
}
