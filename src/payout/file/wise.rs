//! Batch payments of Wise as CSV: its header row must not be changed.
//!
//! The amount is fixed in the currency of the recipient, so that fees are the payer's and the
//! partner gets what the statement says.

use csv::{Terminator, WriterBuilder};

use super::text::one_line;
use super::{FileError, FileHead, FileItem};
use crate::payout::method::Route;

const HEADER: [&str; 10] = [
    "recipientId",
    "name",
    "recipientEmail",
    "recipientDetail",
    "recipientType",
    "sourceCurrency",
    "targetCurrency",
    "amount",
    "amountCurrency",
    "paymentReference",
];

/// Writes the payments. Who is known to Wise is named by its number, others by address or account.
pub(super) fn write(_: &FileHead, items: &[FileItem]) -> Result<Vec<u8>, FileError> {
    const IN_MEMORY: &str = "writing to memory cannot fail";
    let mut out = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
    out.write_record(HEADER).expect(IN_MEMORY);
    for item in items {
        let misplaced = || FileError::Misplaced(item.payout_id);
        let method = item.method.as_ref().ok_or_else(misplaced)?;
        let Route::Wise { recipient_id, email, iban } = &method.route else {
            return Err(misplaced());
        };
        let kind = if item.tax_id.is_some() { "INSTITUTION" } else { "PERSON" };
        let currency = item.amount.currency.code();
        let reference = item.payout_id.to_string();
        out.write_record([
            recipient_id.as_deref().unwrap_or(""),
            &one_line(&method.holder, 70),
            email.as_deref().unwrap_or(""),
            iban.as_ref().map_or("", |iban| iban.electronic()),
            kind,
            currency,
            currency,
            &item.amount.to_decimal_string(),
            "target",
            &reference,
        ])
        .expect(IN_MEMORY);
    }
    Ok(out.into_inner().expect(IN_MEMORY))
}
