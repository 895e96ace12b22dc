//! Payment files: payouts as the bytes that a bank or a payment service takes. Pure.
//!
//! The same payouts give the same bytes, whenever they are written. The id of a payout goes with
//! each payment, so that the bank's statement finds it again.

pub mod csv;
pub mod http;
pub mod one_c;
pub mod pain001;
pub mod paypal;
pub mod text;
pub mod wise;
pub mod xlsx;

use chrono::{NaiveDate, NaiveDateTime};

use crate::ids::{PayoutBatchId, PayoutId};
use crate::money::{Currency, Money, MoneyError};
use crate::payout::method::{MethodKind, PayoutMethod};

/// Returns the place that a file is sealed for: it opens as no other part and in no other batch.
pub fn sealed_place(batch: PayoutBatchId, format: &str, part: i32) -> Vec<u8> {
    format!("{batch}/{format}/{part}").into_bytes()
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// SEPA credit transfers, ISO 20022 pain.001.001.09.
    Pain001,
    /// Payouts of PayPal.
    Paypal,
    /// Batch payments of Wise.
    Wise,
    /// Payment orders for Russian banks, 1C client-bank 1.03.
    OneC,
    /// A plain table.
    Csv,
    /// The same table for spreadsheets.
    Xlsx,
}

impl FileFormat {
    /// All of them, for reading and for tests.
    pub const ALL: [Self; 6] =
        [Self::Pain001, Self::Paypal, Self::Wise, Self::OneC, Self::Csv, Self::Xlsx];

    /// Returns the code in addresses and as stored.
    pub fn code(self) -> &'static str {
        match self {
            Self::Pain001 => "pain.001",
            Self::Paypal => "paypal",
            Self::Wise => "wise",
            Self::OneC => "1c",
            Self::Csv => "csv",
            Self::Xlsx => "xlsx",
        }
    }

    /// Reads a code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|f| f.code() == code)
    }

    /// Payments in one file, at most; a larger batch becomes several parts.
    pub fn rows_max(self) -> usize {
        match self {
            Self::Paypal => 5_000,
            Self::Wise => 1_000,
            // The standard has no limit; banks that publish theirs take ten thousand or more.
            Self::Pain001 | Self::OneC => 10_000,
            // One sheet holds 1,048,576 rows, more than a batch.
            Self::Csv | Self::Xlsx => 1_000_000,
        }
    }

    /// Tells whether a payout that goes this way belongs into the file; plain tables take whatever
    /// no other file has.
    pub fn takes(self, method: Option<MethodKind>) -> bool {
        match self {
            Self::Pain001 => method == Some(MethodKind::Sepa),
            Self::Paypal => method == Some(MethodKind::Paypal),
            Self::Wise => method == Some(MethodKind::Wise),
            Self::OneC => method == Some(MethodKind::RuBank),
            Self::Csv | Self::Xlsx => true,
        }
    }

    /// Returns the kind of account that must pay, where the file names it.
    pub fn payer_kind(self) -> Option<MethodKind> {
        match self {
            Self::Pain001 => Some(MethodKind::Sepa),
            Self::OneC => Some(MethodKind::RuBank),
            Self::Paypal | Self::Wise | Self::Csv | Self::Xlsx => None,
        }
    }

    /// Returns the media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Pain001 => "application/xml",
            Self::Paypal => "text/csv; charset=utf-8; header=absent",
            Self::Wise | Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::OneC => "text/plain; charset=windows-1251",
            Self::Xlsx => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        }
    }

    /// Returns the end of the file's name.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Pain001 => "xml",
            Self::Paypal | Self::Wise | Self::Csv => "csv",
            Self::OneC => "txt",
            Self::Xlsx => "xlsx",
        }
    }
}

/// What a file says once.
#[derive(Clone, Debug)]
pub struct FileHead {
    /// The batch.
    pub batch_id: PayoutBatchId,
    /// Which part this is, from 1.
    pub part: usize,
    /// What the batch is for.
    pub period: String,
    /// Who pays, in payments' purposes.
    pub program: String,
    /// The account that pays; there where the format names it.
    pub payer: Option<PayoutMethod>,
    /// When the bank is to move the money.
    pub execution_on: NaiveDate,
    /// When the file was made, where the program is.
    pub made_at: NaiveDateTime,
    /// The one currency.
    pub currency: Currency,
}

/// One payment.
#[derive(Clone, Debug)]
pub struct FileItem {
    /// The payout.
    pub payout_id: PayoutId,
    /// What the partner is called.
    pub partner: String,
    /// Its tax number.
    pub tax_id: Option<String>,
    /// Where the money goes; none for payouts made before methods were kept.
    pub method: Option<PayoutMethod>,
    /// What the bank moves.
    pub amount: Money,
    /// The commissions.
    pub net: Money,
    /// VAT in it.
    pub vat: Money,
    /// What was withheld from it.
    pub withheld: Money,
    /// Number of the self-billed document.
    pub document_no: Option<String>,
}

/// Why a file cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// A payment that the format cannot carry came in: the choice before was wrong.
    #[error("{0} does not fit into this format")]
    Misplaced(PayoutId),
    /// The format names the account that pays, and none is given.
    #[error("the file needs the account that pays")]
    NoPayer,
    /// The amounts cannot be summed.
    #[error("the amounts cannot be summed")]
    Money(#[from] MoneyError),
    /// The workbook cannot be written.
    #[error("the workbook cannot be written")]
    Workbook(#[from] rust_xlsxwriter::XlsxError),
}

/// Writes a file of payments, in the order given.
pub fn write(
    format: FileFormat,
    head: &FileHead,
    items: &[FileItem],
) -> Result<Vec<u8>, FileError> {
    match format {
        FileFormat::Pain001 => pain001::write(head, items),
        FileFormat::Paypal => paypal::write(head, items),
        FileFormat::Wise => wise::write(head, items),
        FileFormat::OneC => one_c::write(head, items),
        FileFormat::Csv => Ok(csv::write(head, items)),
        FileFormat::Xlsx => xlsx::write(head, items),
    }
}

/// Cuts payments into as many numbered parts as the format needs, in their order.
pub fn parts<T>(format: FileFormat, items: &[T]) -> impl Iterator<Item = (usize, &[T])> {
    (1..).zip(items.chunks(format.rows_max()))
}

/// Sums what the bank moves.
pub fn total(currency: Currency, items: &[FileItem]) -> Result<Money, MoneyError> {
    items.iter().map(|i| i.amount).try_fold(Money::zero(currency), Money::checked_add)
}

#[cfg(test)]
mod file_tests;
