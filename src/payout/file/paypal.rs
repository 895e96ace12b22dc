//! Payouts of PayPal as CSV: no header row; recipient, amount, currency, customer id, note, wallet.

use csv::{Terminator, WriterBuilder};

use super::text::one_line;
use super::{FileError, FileHead, FileItem};
use crate::payout::method::Route;

const NOTE_MAX_CHARS: usize = 400;

/// Writes the payouts; the customer id, 30 characters at most, is the payout's.
pub(super) fn write(head: &FileHead, items: &[FileItem]) -> Result<Vec<u8>, FileError> {
    const IN_MEMORY: &str = "writing to memory cannot fail";
    let mut out = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
    for item in items {
        let route = item.method.as_ref().map(|m| &m.route);
        let Some(Route::Paypal { email }) = route else {
            return Err(FileError::Misplaced(item.payout_id));
        };
        let id = item.payout_id.to_string();
        let note = one_line(&format!("{} {}", head.program, head.period), NOTE_MAX_CHARS);
        let amount = item.amount.to_decimal_string();
        let currency = item.amount.currency.code();
        out.write_record([email, &amount, currency, &id, &note, "PAYPAL"]).expect(IN_MEMORY);
    }
    Ok(out.into_inner().expect(IN_MEMORY))
}
