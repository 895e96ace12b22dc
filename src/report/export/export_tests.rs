//! What exports look like, to the byte.

use chrono_tz::Tz;
use proptest::prelude::*;

use super::*;
use crate::ids::ProgramId;
use crate::money::Money;
use crate::report::period::Window;
use crate::report::{Cell, Column, ColumnKind, Params, Table};

const COLUMNS: &[Column] = &[
    ColumnKind::Text.named("partner_id"),
    ColumnKind::Text.named("name"),
    ColumnKind::Money.named("amount"),
    ColumnKind::Int.named("clicks"),
    ColumnKind::Date.named("day"),
    ColumnKind::Time.named("paid_at"),
    ColumnKind::Bool.named("is_paid"),
];

fn row(name: &str, minor: i64, currency: &str) -> Vec<Cell> {
    vec![
        Cell::text("pt_1"),
        Cell::text(name),
        Cell::Money(Money::new(minor, currency.parse().unwrap())),
        Cell::Int(-3),
        Cell::Date("2026-10-01".parse().unwrap()),
        Cell::Time("2026-10-02T03:04:05.678Z".parse().unwrap()),
        Cell::Bool(true),
    ]
}

fn rows() -> Vec<Vec<Cell>> {
    let mut nothing = vec![Cell::Empty; COLUMNS.len()];
    nothing[0] = Cell::text("pt_2");
    vec![
        row("Müller; \"Otto\", Söhne\nKG", -123_450, "EUR"),
        row("=HYPERLINK(\"http://x\")", 7, "JPY"),
        nothing,
    ]
}

#[test]
fn rfc4180_keeps_text_as_it_is() {
    assert_eq!(
        csv::write(COLUMNS, &rows(), Dialect::Rfc4180),
        "partner_id,name,amount,clicks,day,paid_at,is_paid\r\n\
         pt_1,\"Müller; \"\"Otto\"\", Söhne\nKG\",-1234.50,-3,2026-10-01,2026-10-02T03:04:05.678Z,true\r\n\
         pt_1,\"=HYPERLINK(\"\"http://x\"\")\",7,-3,2026-10-01,2026-10-02T03:04:05.678Z,true\r\n\
         pt_2,,,,,,\r\n"
    );
}

#[test]
fn excel_gets_a_mark_and_no_formulas() {
    assert_eq!(
        csv::write(COLUMNS, &rows(), Dialect::Excel),
        "\u{feff}partner_id,name,amount,clicks,day,paid_at,is_paid\r\n\
         pt_1,\"Müller; \"\"Otto\"\", Söhne\nKG\",-1234.50,-3,2026-10-01,2026-10-02T03:04:05.678Z,true\r\n\
         pt_1,\"'=HYPERLINK(\"\"http://x\"\")\",7,-3,2026-10-01,2026-10-02T03:04:05.678Z,true\r\n\
         pt_2,,,,,,\r\n"
    );
}

#[test]
fn excel_of_europe_gets_semicolons_and_decimal_commas() {
    assert_eq!(
        csv::write(COLUMNS, &rows(), Dialect::ExcelEu),
        "\u{feff}partner_id;name;amount;clicks;day;paid_at;is_paid\r\n\
         pt_1;\"Müller; \"\"Otto\"\", Söhne\nKG\";-1234,50;-3;2026-10-01;2026-10-02T03:04:05.678Z;true\r\n\
         pt_1;\"'=HYPERLINK(\"\"http://x\"\")\";7;-3;2026-10-01;2026-10-02T03:04:05.678Z;true\r\n\
         pt_2;;;;;;\r\n"
    );
}

#[test]
fn every_start_of_a_formula_is_defused_in_text_alone() {
    let column = &[ColumnKind::Text.named("note")];
    for start in ["=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠"] {
        let cell = vec![Cell::text(format!("{start}1"))];
        let file = csv::write(column, &[cell], Dialect::Excel);
        let mut reader = ::csv::Reader::from_reader(file.trim_start_matches('\u{feff}').as_bytes());
        let record = reader.records().next().unwrap().unwrap();
        assert_eq!(&record[0], format!("'{start}1"));
    }
    let amount = vec![Cell::Money(Money::new(-1, "EUR".parse().unwrap()))];
    assert!(csv::write(column, &[amount], Dialect::ExcelEu).ends_with("\r\n-0,01\r\n"));
}

#[test]
fn json_and_ndjson_keep_the_order_of_columns() {
    let window = Window::parse("2026-10-01", "2026-11-01", Tz::Europe__Berlin).unwrap();
    let currency = "EUR".parse().unwrap();
    let now = window.to;
    let params = Params { program_id: ProgramId::new(), partner_id: None, window, currency, now };
    let mut rows = rows();
    rows.remove(0);
    let summary = vec![("rows", Cell::Int(2)), ("sum", Cell::Money(Money::new(5, currency)))];
    let table = Table { rows, summary };
    let readout = Readout { report: "test", params, columns: COLUMNS, table };
    let first = r#"{"partner_id":"pt_1","name":"=HYPERLINK(\"http://x\")","amount":"7","clicks":-3,"day":"2026-10-01","paid_at":"2026-10-02T03:04:05.678Z","is_paid":true}"#;
    let second = r#"{"partner_id":"pt_2","name":null,"amount":null,"clicks":null,"day":null,"paid_at":null,"is_paid":null}"#;
    let text = |format| String::from_utf8(write(&readout, format)).unwrap();
    assert_eq!(text(Format::Ndjson), format!("{first}\n{second}\n"));
    assert_eq!(
        text(Format::Json),
        format!(
            r#"{{"report":"test","from":"2026-09-30T22:00:00Z","to":"2026-10-31T23:00:00Z","time_zone":"Europe/Berlin","currency":"EUR","rows":[{first},{second}],"summary":{{"rows":2,"sum":"0.05"}}}}"#
        )
    );
}

proptest! {
    #[test]
    fn any_text_comes_back_from_rfc4180(texts in prop::collection::vec("\\PC{0,12}|[\r\n\",;'= ]{0,6}", 2..8)) {
        let columns: Vec<Column> = texts.iter().map(|_| ColumnKind::Text.named("c")).collect();
        let row: Vec<Cell> = texts.iter().map(Cell::text).collect();
        let file = csv::write(&columns, &[row], Dialect::Rfc4180);
        let mut reader = ::csv::Reader::from_reader(file.as_bytes());
        let record = reader.records().next().unwrap().unwrap();
        prop_assert_eq!(record.iter().collect::<Vec<_>>(), texts);
    }
}
