//! Results of banks: what an answer says about each payout, and what is done about it. Pure.
//!
//! A row is believed only where it fits: the payout is in the batch, the amount is the one that was
//! sent, and the step is possible. What a bank has not decided changes nothing and is never tried
//! again by the service: a second payment is worse than a late one.

mod camt;
pub mod http;
mod one_c;
mod pain002;
mod table;
mod xml;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::ids::PayoutId;
use crate::ledger::account::BankLabel;
use crate::money::{AmountRule, Currency, Money};
use crate::payout::Payout;
use crate::payout::action::BankResult;
use crate::payout::state::{PayoutAction, PayoutState, act_on_payout};

/// Rows of one file, at most: the largest batch.
pub const ROWS_MAX: usize = 100_000;
const REFERENCE_MAX_CHARS: usize = 140;
const REASON_MAX_CHARS: usize = 500;

/// In which form results come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultFormat {
    /// Our own table: payout id, status, reference, reason.
    Csv,
    /// The report of PayPal.
    Paypal,
    /// The answer of a bank to pain.001.
    Pain002,
    /// The statement of a bank: camt.053 or camt.054.
    Camt,
    /// The history of Wise.
    Wise,
    /// The statement of a Russian bank: 1C client-bank 1.03.
    OneC,
}

/// Verdicts about rows that match no payout, or not as they should: somebody must look.
pub const UNMATCHED: [&str; 4] = ["not_in_batch", "amount_differs", "not_possible", "twice"];

impl ResultFormat {
    /// All of them, for reading and for tests.
    pub const ALL: [Self; 6] =
        [Self::Csv, Self::Paypal, Self::Pain002, Self::Camt, Self::Wise, Self::OneC];

    /// Returns the code in addresses and as stored.
    pub fn code(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Paypal => "paypal",
            Self::Pain002 => "pain.002",
            Self::Camt => "camt",
            Self::Wise => "wise",
            Self::OneC => "1c",
        }
    }

    /// Reads a code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|f| f.code() == code)
    }
}

/// What a row says happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// Paid.
    Paid,
    /// Refused.
    Failed,
    /// Paid, and sent back.
    Returned,
    /// The money is back with the payer, whether it had arrived before or not.
    Refunded,
    /// Not decided, or in words that are not known.
    Open,
}

/// A row of a file of results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultRow {
    /// Where it stands in the file: line, or number of the transaction.
    pub line: u64,
    /// The payout as the row names it.
    pub id: String,
    /// What happened.
    pub said: Said,
    /// The status in the file's own words.
    pub status: String,
    /// What the bank calls the payment.
    pub reference: Option<String>,
    /// Why it failed or came back.
    pub reason: Option<String>,
    /// The amount in the file, where there is one.
    pub amount: Option<String>,
}

/// Why a file cannot be read at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableFile {
    /// It is not text in UTF-8.
    #[error("the file is not UTF-8 text")]
    NotText,
    /// A column that is needed is missing.
    #[error("the file has no column {0}; its header row must name it")]
    NoColumn(&'static str),
    /// A line is damaged.
    #[error("line {line} cannot be read: {why}")]
    BadLine {
        /// Which.
        line: u64,
        /// Why.
        why: String,
    },
    /// There is nothing in it.
    #[error("the file has no row")]
    Empty,
    /// Too much is in it.
    #[error("the file has more than {ROWS_MAX} rows")]
    TooMany,
}

/// Reads a file of results.
pub fn read(format: ResultFormat, bytes: &[u8]) -> Result<Vec<ResultRow>, UnreadableFile> {
    let rows = match format {
        ResultFormat::Csv => table::read_own(bytes),
        ResultFormat::Paypal => table::read_paypal(bytes),
        ResultFormat::Pain002 => pain002::read(bytes),
        ResultFormat::Camt => camt::read(bytes),
        ResultFormat::Wise => table::read_wise(bytes),
        ResultFormat::OneC => one_c::read(bytes),
    }?;
    match rows.len() {
        0 => Err(UnreadableFile::Empty),
        n if n > ROWS_MAX => Err(UnreadableFile::TooMany),
        _ => Ok(rows),
    }
}

/// What became of a row.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
pub struct Verdict {
    /// Where the row stands in the file.
    pub line: u64,
    /// The payout as the row names it.
    pub payout_id: String,
    /// What the bank calls the payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// `paid`, `failed`, `returned`: done. `unchanged`: it was so already. `open`: the bank has not
    /// decided. `not_in_batch`, `amount_differs`, `not_possible`, `twice`: look at it.
    pub verdict: String,
    /// In words.
    pub detail: String,
}

/// A decision about a row: the verdict, and what is to be done.
#[derive(Debug)]
pub struct Decided {
    /// The verdict.
    pub verdict: Verdict,
    /// What is to be done; nothing for most verdicts.
    pub act: Option<(PayoutId, BankResult)>,
}

/// Decides about a row; `payout` is the one it names, if the batch has it.
pub fn decide(
    row: &ResultRow,
    payout: Option<&Payout>,
    bank: &BankLabel,
    now: Timestamp,
) -> Decided {
    let told = |code: &str, detail: String| Verdict {
        line: row.line,
        payout_id: row.id.chars().take(64).collect(),
        reference: row.reference.as_ref().map(|r| r.chars().take(REFERENCE_MAX_CHARS).collect()),
        verdict: code.to_owned(),
        detail,
    };
    let nothing = |code: &str, detail: String| Decided { verdict: told(code, detail), act: None };
    let Some(payout) = payout else {
        return nothing("not_in_batch", "This batch has no such payout.".to_owned());
    };
    if let Some(amount) = &row.amount
        && !is_amount(amount, payout)
    {
        let sent = payout.transfer().map(Money::to_decimal_string).unwrap_or_default();
        return nothing("amount_differs", format!("The file says {amount}, sent was {sent}."));
    }
    let action = match row.said {
        Said::Open => {
            let status: String = row.status.chars().take(40).collect();
            return nothing("open", format!("{status:?}: not decided; it stays as it is."));
        }
        Said::Paid => PayoutAction::Pay,
        Said::Failed => PayoutAction::Fail,
        Said::Refunded if payout.state != PayoutState::Paid => PayoutAction::Fail,
        Said::Returned | Said::Refunded => PayoutAction::Return,
    };
    if is_done(row.said, payout.state) {
        return nothing("unchanged", format!("It is {} already.", payout.state.code()));
    }
    if let Err(error) = act_on_payout(payout.state, action) {
        return nothing("not_possible", format!("{error}."));
    }
    let cut = |text: Option<&String>, fallback: &str, chars_max: usize| {
        let plain: String = text
            .into_iter()
            .flat_map(|t| t.chars())
            .filter(|c| !c.is_control())
            .take(chars_max)
            .collect();
        if plain.trim().is_empty() { fallback.to_owned() } else { plain.trim().to_owned() }
    };
    let reason = cut(row.reason.as_ref(), &row.status, REASON_MAX_CHARS);
    let failed = |reason: String| (told("failed", reason.clone()), BankResult::Failed { reason });
    let (verdict, result) = match row.said {
        Said::Failed => failed(reason),
        Said::Refunded if action == PayoutAction::Fail => failed(reason),
        Said::Returned | Said::Refunded => {
            (told("returned", reason.clone()), BankResult::Returned { reason })
        }
        Said::Paid | Said::Open => {
            let bank_reference = cut(row.reference.as_ref(), &row.id, REFERENCE_MAX_CHARS);
            let detail = format!("Reference {bank_reference}.");
            let result = BankResult::Paid { bank_reference, paid_at: now, bank: bank.clone() };
            (told("paid", detail), result)
        }
    };
    Decided { verdict, act: Some((payout.payout_id, result)) }
}

/// Tells whether a payout stands where a row wants it: the file, or one like it, was read before.
fn is_done(said: Said, state: PayoutState) -> bool {
    match said {
        Said::Paid => state == PayoutState::Paid,
        Said::Failed => state == PayoutState::Failed,
        Said::Returned => state == PayoutState::Returned,
        Said::Refunded => matches!(state, PayoutState::Failed | PayoutState::Returned),
        Said::Open => false,
    }
}

/// Tells whether a text is what the bank was to move; a report may show it as money going out.
fn is_amount(text: &str, payout: &Payout) -> bool {
    let Ok(sent) = payout.transfer() else { return false };
    let plain: String = text.trim().trim_start_matches('-').chars().filter(|c| *c != ',').collect();
    let currency: Currency = sent.currency;
    Money::parse_amount(&plain, currency, AmountRule::Positive).is_ok_and(|found| found == sent)
}

#[cfg(test)]
#[path = "result_tests.rs"]
mod tests;
