//! Results as ISO 20022 `pain.002`: the answer of a bank to its file of transfers.
//!
//! Only what a bank says of a single transfer counts; the status of the whole file repeats it or
//! says less. `ACSC` and `ACCC` mean that money has moved, `RJCT` that it never will; every other
//! status is a step on the way.

use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::Event;

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
    let text = std::str::from_utf8(bytes).map_err(|_| UnreadableFile::NotText)?;
    let mut reader = Reader::from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    let bad = |why: String| UnreadableFile::BadLine { line: 1, why };
    let mut open: Vec<String> = Vec::new();
    let mut current: Option<Transfer> = None;
    let mut rows: Vec<ResultRow> = Vec::new();
    let mut value = String::new();
    loop {
        match reader.read_event().map_err(|e| bad(e.to_string()))? {
            Event::Start(tag) => {
                let name = tag.local_name().as_ref().to_owned();
                if name == "TxInfAndSts" {
                    current = Some(Transfer::default());
                }
                open.push(name);
                value.clear();
            }
            Event::Text(part) => value.push_str(&part),
            Event::GeneralRef(name) => {
                let text = format!("&{};", &*name);
                value.push_str(&unescape(&text).map_err(|e| bad(e.to_string()))?);
            }
            Event::End(_) => {
                let name = open.pop().unwrap_or_default();
                let text = std::mem::take(&mut value).trim().to_owned();
                if name == "TxInfAndSts"
                    && let Some(transfer) = current.take()
                {
                    let n = u64::try_from(rows.len()).unwrap_or(u64::MAX);
                    rows.push(transfer.into_row(n + 1));
                } else if let Some(transfer) = &mut current {
                    transfer.put(&name, text, open.last().map_or("", String::as_str));
                }
            }
            Event::Eof if open.is_empty() => return Ok(rows),
            Event::Eof => return Err(bad("it ends too early".to_owned())),
            Event::Empty(_)
            | Event::CData(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::PI(_)
            | Event::DocType(_) => {}
        }
    }
}

impl Transfer {
    fn put(&mut self, name: &str, text: String, around: &str) {
        match (name, around) {
            ("OrgnlEndToEndId", _) => self.id = read_id(&text),
            ("TxSts", _) => self.status = text,
            ("Cd" | "Prtry", "Rsn") => self.code = text,
            ("AddtlInf", _) => self.words = text,
            ("AcctSvcrRef", _) => self.reference = Some(text),
            ("InstdAmt", _) => self.amount = Some(text),
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
