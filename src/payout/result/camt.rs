//! Results as ISO 20022 `camt.053` or `camt.054`: what a bank has booked on the account that pays.
//!
//! A statement is full of other people's movements; only those with the end-to-end id of a payout
//! are told. A booked debit was paid, a booked credit with a reason of return came back; whatever is
//! not booked yet is open.

use super::xml::{Part, walk};
use super::{ResultRow, Said, UnreadableFile};
use crate::ids::PayoutId;
use crate::payout::file::pain001::read_id;

/// What an entry of the statement says of all its movements.
#[derive(Default)]
struct Entry {
    status: String,
    direction: String,
    reference: Option<String>,
}

#[derive(Default)]
struct Movement {
    id: String,
    direction: Option<String>,
    is_return: bool,
    code: String,
    words: String,
    reference: Option<String>,
    amount: Option<String>,
}

/// Reads the movements that name a payout.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<ResultRow>, UnreadableFile> {
    let mut entry = Entry::default();
    let mut current: Option<Movement> = None;
    // A bank may state the status after the movements, so they wait for the end of their entry.
    let mut waiting: Vec<Movement> = Vec::new();
    let mut rows: Vec<ResultRow> = Vec::new();
    walk(bytes, |part| match part {
        Part::Begin("Ntry") => entry = Entry::default(),
        Part::Begin("TxDtls") => current = Some(Movement::default()),
        Part::Begin("RtrInf") => {
            if let Some(movement) = &mut current {
                movement.is_return = true;
            }
        }
        Part::Begin(_) => {}
        Part::End { name: "TxDtls", .. } => waiting.extend(current.take()),
        Part::End { name: "Ntry", .. } => {
            for movement in waiting.drain(..) {
                let number = u64::try_from(rows.len() + 1).unwrap_or(u64::MAX);
                rows.extend(movement.into_row(&entry, number));
            }
        }
        Part::End { name, text, around } => {
            let around = around.last().map_or("", String::as_str);
            match &mut current {
                Some(movement) => movement.put(name, text, around),
                None => entry.put(name, text, around),
            }
        }
    })?;
    Ok(rows)
}

impl Entry {
    fn put(&mut self, name: &str, text: &str, around: &str) {
        match (name, around) {
            // Plain up to version 7, inside an element of its own later.
            ("Sts", "Ntry") if !text.is_empty() => self.status = text.to_owned(),
            ("Cd", "Sts") => self.status = text.to_owned(),
            ("CdtDbtInd", "Ntry") => self.direction = text.to_owned(),
            ("AcctSvcrRef", "Ntry") => self.reference = Some(text.to_owned()),
            _ => {}
        }
    }
}

impl Movement {
    fn put(&mut self, name: &str, text: &str, around: &str) {
        match (name, around) {
            ("EndToEndId", _) => self.id = read_id(text),
            ("CdtDbtInd", "TxDtls") => self.direction = Some(text.to_owned()),
            ("Cd" | "Prtry", "Rsn") => self.code = text.to_owned(),
            ("AddtlInf", "RtrInf") => self.words = text.to_owned(),
            ("AcctSvcrRef", _) => self.reference = Some(text.to_owned()),
            ("Amt", "TxDtls" | "TxAmt" | "InstdAmt") => self.amount = Some(text.to_owned()),
            _ => {}
        }
    }

    /// Returns the row, if the movement is one of a payout.
    fn into_row(self, entry: &Entry, number: u64) -> Option<ResultRow> {
        self.id.parse::<PayoutId>().ok()?;
        let direction = self.direction.as_ref().unwrap_or(&entry.direction);
        let said = match (entry.status.as_str(), direction.as_str(), self.is_return) {
            ("BOOK", "DBIT", false) => Said::Paid,
            ("BOOK", "CRDT", true) => Said::Returned,
            _ => Said::Open,
        };
        let reason = format!("{} {}", self.code, self.words).trim().to_owned();
        Some(ResultRow {
            line: number,
            id: self.id,
            said,
            status: format!("{} {direction}", entry.status),
            reference: self.reference.or_else(|| entry.reference.clone()),
            reason: Some(reason).filter(|r| !r.is_empty()),
            amount: self.amount,
        })
    }
}
