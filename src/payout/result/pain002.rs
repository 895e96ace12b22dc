//! Results as ISO 20022 `pain.002`: the answer of a bank to its file of transfers.
//!
//! Only what a bank says of a single transfer counts; the status of the whole file repeats it or
//! says less. `ACSC` and `ACCC` mean that money has moved, `RJCT` that it never will; every other
//! status is a step on the way.

use super::xml::{Part, walk};
use super::{ResultRow, Said, UnreadableFile};
use crate::payout::file::pain001::read_id;

#[derive(Default)]
struct Transfer {
    id: String,
    status: String,
    code: String,
    words: String,
    reference: Option<String>,
    amount: Option<String>,
}

/// Reads the statuses of transfers.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<ResultRow>, UnreadableFile> {
    let mut current: Option<Transfer> = None;
    let mut rows: Vec<ResultRow> = Vec::new();
    walk(bytes, |part| match part {
        Part::Begin("TxInfAndSts") => current = Some(Transfer::default()),
        Part::Begin(_) => {}
        Part::End { name: "TxInfAndSts", .. } => {
            let number = u64::try_from(rows.len() + 1).unwrap_or(u64::MAX);
            rows.extend(current.take().map(|transfer| transfer.into_row(number)));
        }
        Part::End { name, text, around } => {
            if let Some(transfer) = &mut current {
                transfer.put(name, text, around.last().map_or("", String::as_str));
            }
        }
    })?;
    Ok(rows)
}

impl Transfer {
    fn put(&mut self, name: &str, text: &str, around: &str) {
        match (name, around) {
            ("OrgnlEndToEndId", _) => self.id = read_id(text),
            ("TxSts", _) => self.status = text.to_owned(),
            ("Cd" | "Prtry", "Rsn") => self.code = text.to_owned(),
            ("AddtlInf", _) => self.words = text.to_owned(),
            ("AcctSvcrRef", _) => self.reference = Some(text.to_owned()),
            ("InstdAmt", _) => self.amount = Some(text.to_owned()),
            _ => {}
        }
    }

    fn into_row(self, number: u64) -> ResultRow {
        let said = match self.status.as_str() {
            "ACSC" | "ACCC" => Said::Paid,
            "RJCT" => Said::Failed,
            _ => Said::Open,
        };
        let reason = format!("{} {}", self.code, self.words).trim().to_owned();
        ResultRow {
            line: number,
            id: self.id,
            said,
            status: self.status,
            reference: self.reference,
            reason: Some(reason).filter(|r| !r.is_empty()),
            amount: self.amount,
        }
    }
}
