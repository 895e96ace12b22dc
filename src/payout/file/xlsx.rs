//! The table of payments as a workbook: account numbers stay text, amounts are numbers.

use rust_xlsxwriter::{DocProperties, ExcelDateTime, Format, Workbook};

use super::csv::{COLUMNS, texts};
use super::{FileError, FileHead, FileItem};

/// Columns that hold amounts, by their place in [`COLUMNS`].
const AMOUNTS: [usize; 4] = [2, 11, 12, 13];

/// Writes the payments. The workbook's own time of making is the file's, so that the same payments
/// give the same bytes.
pub(super) fn write(head: &FileHead, items: &[FileItem]) -> Result<Vec<u8>, FileError> {
    let mut book = Workbook::new();
    let made = ExcelDateTime::from_timestamp(head.made_at.and_utc().timestamp())?;
    book.set_properties(&DocProperties::new().set_creation_datetime(&made));
    let bold = Format::new().set_bold();
    // Quoted: a name that begins with `=` is shown, never computed (CWE-1236).
    let quoted = Format::new().set_quote_prefix();
    let decimals = usize::try_from(head.currency.exponent()).unwrap_or(0);
    let money = Format::new().set_num_format(match decimals {
        0 => "0".to_owned(),
        n => format!("0.{}", "0".repeat(n)),
    });
    let sheet = book.add_worksheet();
    sheet.set_name("payouts")?;
    for (at, name) in (0..).zip(COLUMNS) {
        sheet.write_string_with_format(0, at, name, &bold)?;
        sheet.set_column_width(at, 18)?;
    }
    sheet.set_freeze_panes(1, 0)?;
    for (row, item) in (1..).zip(items) {
        for (at, (column, text)) in (0..).zip(texts(head, item).into_iter().enumerate()) {
            // 15 digits are what a spreadsheet's number holds exactly.
            let fits = text.len() <= 15;
            match text.parse::<f64>() {
                Ok(number) if fits && AMOUNTS.contains(&column) => {
                    sheet.write_number_with_format(row, at, number, &money)?;
                }
                Ok(_) | Err(_) => {
                    sheet.write_string_with_format(row, at, text, &quoted)?;
                }
            }
        }
    }
    Ok(book.save_to_buffer()?)
}
