//! A plain table of payments for a bank's own import or a person's hands.
//!
//! RFC 4180: comma, CRLF, header row, UTF-8 without mark, amounts with a dot. The reference is
//! the payout's id, 29 characters: it fits the 35 of a SEPA end-to-end id, and finds the payout
//! again on the bank's statement.

use csv::{Terminator, WriterBuilder};

use super::{FileHead, FileItem};
use crate::payout::method::Route;

/// The columns, of the workbook too.
pub(super) const COLUMNS: [&str; 16] = [
    "payout_id",
    "partner",
    "amount",
    "currency",
    "reference",
    "method",
    "holder",
    "account",
    "bank",
    "tax_id",
    "document_no",
    "net",
    "vat",
    "withheld",
    "execution_date",
    "purpose",
];

/// Writes the payments.
///
/// Names are text that somebody typed; they are not guarded against spreadsheets, because a bank
/// must get them unchanged. The workbook is for people.
pub(super) fn write(head: &FileHead, items: &[FileItem]) -> Vec<u8> {
    const IN_MEMORY: &str = "writing to memory cannot fail";
    let mut out = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
    out.write_record(COLUMNS).expect(IN_MEMORY);
    for item in items {
        out.write_record(texts(head, item)).expect(IN_MEMORY);
    }
    out.into_inner().expect(IN_MEMORY)
}

/// Returns the texts of a row.
pub(super) fn texts(head: &FileHead, item: &FileItem) -> [String; 16] {
    let id = item.payout_id.to_string();
    let (account, bank) = account(item);
    [
        id.clone(),
        item.partner.clone(),
        item.amount.to_decimal_string(),
        item.amount.currency.code().to_owned(),
        id,
        item.method.as_ref().map_or("", |m| m.kind().code()).to_owned(),
        item.method.as_ref().map_or_else(String::new, |m| m.holder.clone()),
        account,
        bank,
        item.tax_id.clone().unwrap_or_default(),
        item.document_no.clone().unwrap_or_default(),
        item.net.to_decimal_string(),
        item.vat.to_decimal_string(),
        item.withheld.to_decimal_string(),
        head.execution_on.to_string(),
        format!("{} {}", head.program, head.period),
    ]
}

fn account(item: &FileItem) -> (String, String) {
    let Some(method) = &item.method else { return (String::new(), String::new()) };
    match &method.route {
        Route::Sepa { iban, bic, .. } => {
            (iban.electronic().to_owned(), bic.clone().unwrap_or_default())
        }
        Route::Paypal { email } => (email.clone(), "PayPal".to_owned()),
        Route::Wise { recipient_id, email, iban } => {
            let iban = iban.as_ref().map(|iban| iban.electronic().to_owned());
            let account = iban.or_else(|| email.clone()).or_else(|| recipient_id.clone());
            (account.unwrap_or_default(), "Wise".to_owned())
        }
        Route::RuBank(ru) => (ru.account.clone(), ru.bik.clone()),
        Route::Manual { note } => (note.clone().unwrap_or_default(), String::new()),
    }
}
