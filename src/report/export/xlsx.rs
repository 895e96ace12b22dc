//! A report as an Excel workbook: what it says on one sheet, what was asked for on a second.
//!
//! Cells are typed, so amounts add up and days sort: a number with the decimals of its currency, a
//! date, a time in UTC. Text is never a formula (CWE-1236): it is stored as a string, and what
//! begins like a formula also carries Excel's own mark for that, the quote prefix, which holds when
//! somebody edits the cell. The text itself stays as it was.

use std::fs::File;
use std::io::{BufWriter, Seek as _};

use chrono::{Datelike as _, NaiveDate};
use rust_xlsxwriter::{DocProperties, ExcelDateTime, Format, Workbook, Worksheet, XlsxError};

use super::{rfc3339, starts_formula};
use crate::clock::Timestamp;
use crate::money::Money;
use crate::report::{Cell, Column, Params, Readout, ReportError};

/// Excel keeps 15 digits of a number; what has more is written as text, never rounded.
const DIGITS_MAX: usize = 15;
/// Characters that Excel allows in a cell.
const TEXT_MAX: usize = 32_767;
/// Rows of a sheet, less the header.
const ROWS_MAX: u32 = 1_048_575;
/// Bounds of a column's width, in characters.
const WIDTH: (usize, usize) = (8, 60);
/// Rows that the widths are taken from: enough to see what a column holds.
const MEASURED_ROWS: usize = 1_000;

/// Writes a report that was read and its totals.
pub fn write(readout: &Readout) -> Vec<u8> {
    // The limits of the format (rows, lengths, years) are kept before each cell is written.
    const WITHIN: &str = "every cell is within the limits of the format";
    let Readout { report, params, columns, table } = readout;
    let mut book = Book::new(report, params, columns).expect(WITHIN);
    book.page(&table.rows).expect(WITHIN);
    book.put_summary(&table.summary).expect(WITHIN);
    book.workbook.save_to_buffer().expect(WITHIN)
}

/// A workbook that grows on disk: one row is in memory, whatever their number.
pub struct Book {
    workbook: Workbook,
    styles: Styles,
    report: &'static str,
    columns: &'static [Column],
    params: Params,
    n_rows: u32,
}

impl Book {
    /// Begins a workbook with the header of its first sheet.
    pub fn new(
        report: &'static str,
        params: &Params,
        columns: &'static [Column],
    ) -> Result<Self, XlsxError> {
        let mut workbook = Workbook::new();
        let made = ExcelDateTime::from_timestamp(params.now.timestamp())?;
        workbook.set_properties(&DocProperties::new().set_creation_datetime(&made));
        let styles = Styles::new();
        let sheet = workbook.add_worksheet_with_constant_memory()?;
        // Excel allows 31 characters; names of reports are shorter.
        sheet.set_name(report)?;
        sheet.set_freeze_panes(1, 0)?;
        for (at, column) in (0..).zip(columns) {
            sheet.write_string_with_format(0, at, column.name, &styles.header)?;
        }
        Ok(Self { workbook, styles, report, columns, params: params.clone(), n_rows: 0 })
    }

    /// Returns how many rows were written.
    pub fn n_rows(&self) -> u64 {
        self.n_rows.into()
    }

    /// Writes rows; the widths of the columns are those of the first page.
    pub fn page(&mut self, rows: &[Vec<Cell>]) -> Result<(), ReportError> {
        let n_rows = u32::try_from(rows.len()).ok().and_then(|n| n.checked_add(self.n_rows));
        let n_rows = n_rows.filter(|n| *n <= ROWS_MAX).ok_or(ReportError::SheetFull)?;
        let sheet = self.workbook.worksheet_from_index(0)?;
        if self.n_rows == 0 {
            for (at, column) in (0..).zip(self.columns) {
                let shown = rows.iter().take(MEASURED_ROWS);
                let shown = shown.filter_map(|row| row.get(usize::from(at)));
                sheet.set_column_width(at, width(column, shown))?;
            }
        }
        for (at, row) in (self.n_rows + 1..).zip(rows) {
            for (column, cell) in (0..).zip(row) {
                write_cell(sheet, (at, column), cell, &self.styles)?;
            }
        }
        self.n_rows = n_rows;
        Ok(())
    }

    /// Ends the workbook with the sheet of totals; returns its file, which has no name and goes
    /// when it is closed.
    pub fn finish(mut self, summary: &[(&'static str, Cell)]) -> Result<File, ReportError> {
        self.put_summary(summary)?;
        let mut file = tempfile::tempfile()?;
        self.workbook.save_to_writer(BufWriter::new(&mut file))?;
        file.rewind()?;
        Ok(file)
    }

    /// Totals stand on a sheet of their own: among the rows a spreadsheet would add them up again.
    fn put_summary(&mut self, summary: &[(&'static str, Cell)]) -> Result<(), XlsxError> {
        let sheet = self.workbook.worksheet_from_index(0)?;
        if let Ok(width @ 1..) = u16::try_from(self.columns.len()) {
            sheet.autofilter(0, 0, self.n_rows, width - 1)?;
        }
        let sheet = self.workbook.add_worksheet();
        sheet.set_name("summary")?;
        let window = self.params.window;
        let asked = [
            ("report", Cell::text(self.report)),
            ("from", Cell::Time(window.from)),
            ("to", Cell::Time(window.to)),
            ("time_zone", Cell::text(window.time_zone.name())),
            ("currency", Cell::text(self.params.currency)),
        ];
        for (row, (name, cell)) in (0..).zip(asked.iter().chain(summary)) {
            sheet.write_string_with_format(row, 0, *name, &self.styles.header)?;
            write_cell(sheet, (row, 1), cell, &self.styles)?;
        }
        sheet.set_column_width(0, 26)?;
        sheet.set_column_width(1, 40)?;
        Ok(())
    }
}

struct Styles {
    header: Format,
    quoted: Format,
    date: Format,
    time: Format,
    /// By number of decimals: no currency has more than four.
    money: [Format; 5],
}

impl Styles {
    fn new() -> Self {
        Self {
            header: Format::new().set_bold(),
            quoted: Format::new().set_quote_prefix(),
            date: Format::new().set_num_format("yyyy-mm-dd"),
            time: Format::new().set_num_format("yyyy-mm-dd hh:mm:ss"),
            money: ["#,##0", "#,##0.0", "#,##0.00", "#,##0.000", "#,##0.0000"]
                .map(|decimals| Format::new().set_num_format(decimals)),
        }
    }
}

fn write_cell(
    sheet: &mut Worksheet,
    (row, column): (u32, u16),
    cell: &Cell,
    styles: &Styles,
) -> Result<(), XlsxError> {
    match cell {
        Cell::Text(text) => {
            let text: String = text.chars().take(TEXT_MAX).collect();
            if starts_formula(&text) {
                sheet.write_string_with_format(row, column, text, &styles.quoted)?;
            } else {
                sheet.write_string(row, column, text)?;
            }
        }
        Cell::Money(amount) => match number(&amount.to_decimal_string()) {
            Some(n) => {
                sheet.write_number_with_format(row, column, n, money_style(styles, *amount))?;
            }
            None => {
                sheet.write_string(row, column, amount.to_decimal_string())?;
            }
        },
        Cell::Int(n) => match number(&n.to_string()) {
            Some(n) => {
                sheet.write_number(row, column, n)?;
            }
            None => {
                sheet.write_string(row, column, n.to_string())?;
            }
        },
        Cell::Date(day) => match excel_day(*day) {
            Some(date) => {
                sheet.write_datetime_with_format(row, column, &date, &styles.date)?;
            }
            None => {
                sheet.write_string(row, column, day.to_string())?;
            }
        },
        Cell::Time(at) => match excel_time(*at) {
            Some(time) => {
                sheet.write_datetime_with_format(row, column, &time, &styles.time)?;
            }
            None => {
                sheet.write_string(row, column, rfc3339(*at))?;
            }
        },
        Cell::Bool(yes) => {
            sheet.write_boolean(row, column, *yes)?;
        }
        Cell::Empty => {}
    }
    Ok(())
}

fn money_style(styles: &Styles, amount: Money) -> &Format {
    let decimals = usize::try_from(amount.currency.exponent()).unwrap_or(usize::MAX);
    &styles.money[decimals.min(styles.money.len() - 1)]
}

/// Returns a decimal as Excel keeps numbers, unless digits would be lost.
fn number(decimal: &str) -> Option<f64> {
    let digits = decimal.bytes().filter(u8::is_ascii_digit).count();
    if digits > DIGITS_MAX { None } else { decimal.parse().ok() }
}

/// Excel's days begin with the year 1900 and end with 9999.
fn excel_day(day: NaiveDate) -> Option<ExcelDateTime> {
    let year = u16::try_from(day.year()).ok()?;
    let (month, day) = (u8::try_from(day.month()).ok()?, u8::try_from(day.day()).ok()?);
    ExcelDateTime::from_ymd(year, month, day).ok()
}

fn excel_time(at: Timestamp) -> Option<ExcelDateTime> {
    excel_day(at.date_naive())?;
    ExcelDateTime::from_timestamp(at.timestamp()).ok()
}

fn width<'a>(column: &Column, shown: impl Iterator<Item = &'a Cell>) -> u32 {
    let widest = shown.map(length).chain([column.name.len() + 2]).max().unwrap_or(0);
    u32::try_from(widest.clamp(WIDTH.0, WIDTH.1)).unwrap_or(0)
}

fn length(cell: &Cell) -> usize {
    match cell {
        Cell::Text(text) => text.chars().count(),
        Cell::Money(amount) => amount.to_decimal_string().len() + 2,
        Cell::Int(n) => n.to_string().len(),
        Cell::Date(_) => 10,
        Cell::Time(_) => 19,
        Cell::Bool(_) => 5,
        Cell::Empty => 0,
    }
}

#[cfg(test)]
#[path = "xlsx_tests.rs"]
mod tests;
