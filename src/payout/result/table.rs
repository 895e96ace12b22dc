//! Results as tables: our own, the report of PayPal, the history of Wise. Columns are found by name.

use csv::{ReaderBuilder, StringRecord, Trim};

use super::{ResultRow, Said, UnreadableFile};
use crate::ids::PayoutId;

/// Reads our own table: `payout_id` and `status` (`paid`, `failed`, `returned`; anything else is
/// open), and where there are any `reference`, `reason` and `amount`.
pub(super) fn read_own(bytes: &[u8]) -> Result<Vec<ResultRow>, UnreadableFile> {
    let columns = Columns {
        id: &["payout_id", "reference_id", "end_to_end_id"],
        status: &["status"],
        reference: &["reference", "bank_reference"],
        reason: &["reason"],
        amount: &["amount"],
    };
    read(bytes, &columns, |status| match status {
        "paid" => Said::Paid,
        "failed" => Said::Failed,
        "returned" => Said::Returned,
        _ => Said::Open,
    })
}

/// Reads the report of PayPal: the customer id is the payout's. Unclaimed, on hold and pending
/// payments are open: the money may still arrive, or come back.
pub(super) fn read_paypal(bytes: &[u8]) -> Result<Vec<ResultRow>, UnreadableFile> {
    let columns = Columns {
        id: &["customer id", "unique id", "sender item id", "sender_item_id", "custom number"],
        status: &["status", "transaction status", "transaction_status"],
        reference: &["transaction id", "transaction_id", "payout item id", "payout_item_id"],
        reason: &["reason", "error", "error message", "error code", "failure reason"],
        amount: &["amount", "gross", "gross amount"],
    };
    read(bytes, &columns, |status| match status {
        "completed" | "success" | "processed" | "claimed" => Said::Paid,
        "failed" | "denied" | "blocked" | "canceled" | "cancelled" | "expired" => Said::Failed,
        // Unclaimed money comes back after thirty days, though it was never paid.
        "returned" | "reversed" | "refunded" => Said::Refunded,
        _ => Said::Open,
    })
}

/// Reads the history of Wise: the payment's reference is the payout's id. The history is that of the
/// whole account, so movements that name no payout are passed over, as is money that came in.
pub(super) fn read_wise(bytes: &[u8]) -> Result<Vec<ResultRow>, UnreadableFile> {
    let columns = Columns {
        id: &["reference", "payment reference", "paymentreference"],
        status: &["status"],
        reference: &["id", "transferwise id", "transfer id"],
        reason: &["note", "reason"],
        amount: &["target amount (after fees)"],
    };
    let mut rows = read(bytes, &columns, |status| match status {
        "completed" | "outgoing_payment_sent" => Said::Paid,
        "cancelled" | "canceled" => Said::Failed,
        "refunded" | "funds_refunded" | "bounced_back" | "charged_back" => Said::Refunded,
        _ => Said::Open,
    })?;
    rows.retain(|row| row.id.parse::<PayoutId>().is_ok());
    Ok(rows)
}

struct Columns {
    id: &'static [&'static str],
    status: &'static [&'static str],
    reference: &'static [&'static str],
    reason: &'static [&'static str],
    amount: &'static [&'static str],
}

fn read(
    bytes: &[u8],
    columns: &Columns,
    said: impl Fn(&str) -> Said,
) -> Result<Vec<ResultRow>, UnreadableFile> {
    let text = std::str::from_utf8(bytes).map_err(|_| UnreadableFile::NotText)?;
    // Plain line ends: with two characters each the reader would number lines one too low.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    // Excel in most of Europe saves with semicolons.
    let head = text.lines().next().unwrap_or_default();
    let delimiter = [b',', b';', b'\t']
        .into_iter()
        .max_by_key(|d| (head.bytes().filter(|b| b == d).count(), *d == b','));
    let mut reader = ReaderBuilder::new()
        .delimiter(delimiter.unwrap_or(b','))
        .trim(Trim::All)
        .from_reader(text.as_bytes());
    let headers = reader.headers().map_err(|e| bad_line(&e))?.clone();
    let place =
        |names: &[&str]| headers.iter().position(|h| names.contains(&h.to_lowercase().as_str()));
    let need =
        |names: &'static [&'static str]| place(names).ok_or(UnreadableFile::NoColumn(names[0]));
    let (id, status) = (need(columns.id)?, need(columns.status)?);
    let (reference, reason) = (place(columns.reference), place(columns.reason));
    let amount = place(columns.amount);
    let field = |record: &StringRecord, at: Option<usize>| {
        at.and_then(|at| record.get(at)).filter(|t| !t.is_empty()).map(str::to_owned)
    };
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|e| bad_line(&e))?;
        let status = field(&record, Some(status)).unwrap_or_default();
        rows.push(ResultRow {
            line: record.position().map_or(0, csv::Position::line),
            id: field(&record, Some(id)).unwrap_or_default(),
            said: said(&status.to_lowercase()),
            status,
            reference: field(&record, reference),
            reason: field(&record, reason),
            amount: field(&record, amount),
        });
    }
    Ok(rows)
}

fn bad_line(error: &csv::Error) -> UnreadableFile {
    let line = error.position().map_or(0, csv::Position::line);
    UnreadableFile::BadLine { line, why: error.to_string() }
}
