//! Results as the statement of a Russian bank: the exchange format 1C client-bank 1.03.
//!
//! A statement is full of other people's payments; only documents whose purpose names a payout are
//! told. What was debited from the account of the statement is paid, what was credited to it came
//! back; a document without that date is not booked.

use encoding_rs::{Encoding, IBM866, UTF_8, WINDOWS_1251};

use super::{ResultRow, Said, UnreadableFile};
use crate::ids::PayoutId;

const FIRST_LINE: &str = "1CClientBankExchange";

/// What a document says.
#[derive(Default)]
struct Document {
    number: String,
    amount: Option<String>,
    payer: String,
    payee: String,
    debited_on: String,
    credited_on: String,
    purpose: String,
}

/// Reads the documents that name a payout.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<ResultRow>, UnreadableFile> {
    let text = decode(bytes);
    let mut lines = (1u64..).zip(text.lines());
    let first = lines.next().map_or("", |(_, line)| line.trim());
    if first != FIRST_LINE {
        let why = format!("the first line of such a file is {FIRST_LINE}");
        return Err(UnreadableFile::BadLine { line: 1, why });
    }
    // The accounts that the statement is of; each is named in its head and in its balances.
    let mut accounts: Vec<String> = Vec::new();
    let mut current: Option<(u64, Document)> = None;
    let mut documents: Vec<(u64, Document)> = Vec::new();
    for (number, line) in lines {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        match (name.trim(), &mut current) {
            ("СекцияДокумент", _) => current = Some((number, Document::default())),
            ("КонецДокумента", _) => documents.extend(current.take()),
            ("РасчСчет", None) => accounts.push(value.trim().to_owned()),
            (name, Some((_, document))) => document.put(name, value.trim()),
            (_, None) => {}
        }
    }
    if let Some((line, _)) = current {
        return Err(UnreadableFile::BadLine { line, why: "the document has no end".to_owned() });
    }
    Ok(documents.into_iter().filter_map(|(line, d)| d.into_row(line, &accounts)).collect())
}

/// Decodes by the encoding that the file names: its name reads right in that encoding alone.
fn decode(bytes: &[u8]) -> String {
    let names = |encoding: &'static Encoding, line: &str| {
        let (text, _) = encoding.decode_without_bom_handling(bytes);
        text.lines().any(|found| found.trim() == line).then(|| text.into_owned())
    };
    names(WINDOWS_1251, "Кодировка=Windows")
        .or_else(|| names(IBM866, "Кодировка=DOS"))
        .unwrap_or_else(|| UTF_8.decode(bytes).0.into_owned())
}

impl Document {
    fn put(&mut self, name: &str, value: &str) {
        let value = value.to_owned();
        match name {
            "Номер" => self.number = value,
            "Сумма" => self.amount = Some(value),
            "ПлательщикСчет" => self.payer = value,
            "ПлательщикРасчСчет" if self.payer.is_empty() => self.payer = value,
            "ПолучательСчет" => self.payee = value,
            "ПолучательРасчСчет" if self.payee.is_empty() => self.payee = value,
            "ДатаСписано" => self.debited_on = value,
            "ДатаПоступило" => self.credited_on = value,
            "НазначениеПлатежа" => self.purpose = value,
            _ => {}
        }
    }

    /// Returns the row, if the purpose names a payout.
    fn into_row(self, line: u64, accounts: &[String]) -> Option<ResultRow> {
        let is_id = |word: &&str| word.parse::<PayoutId>().is_ok();
        let mut words = self.purpose.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let id = words.find(is_id)?.to_owned();
        let (is_ours, is_to_us) = (accounts.contains(&self.payer), accounts.contains(&self.payee));
        let (said, status, day) = if is_ours && !self.debited_on.is_empty() {
            (Said::Paid, "debited", &self.debited_on)
        } else if is_to_us && !self.credited_on.is_empty() {
            (Said::Refunded, "credited", &self.credited_on)
        } else {
            (Said::Open, "not booked", &self.debited_on)
        };
        Some(ResultRow {
            line,
            id,
            said,
            status: status.to_owned(),
            reference: Some(format!("{} {day}", self.number).trim().to_owned()),
            reason: Some(self.purpose).filter(|_| said == Said::Refunded),
            amount: self.amount,
        })
    }
}
