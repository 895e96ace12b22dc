//! Payouts: what is owed is gathered into a batch, approved by a second person and paid.
//!
//! Money is reserved when the batch is made, so it can be in no second one; it comes back when a
//! payout is canceled, fails or is returned by the bank. What must hold: the commissions of a
//! payout sum to its amount, which is what the ledger reserved; a commission is in at most one
//! open payout; a payout is in one file at most, and a file is the same at every download.

pub mod action;
pub mod adjustment;
pub mod batch;
pub mod cycle;
pub mod file;
pub mod http;
pub mod method;
pub mod result;
pub mod state;
pub mod store;
pub mod tax;
pub mod terms;
pub mod wire;

use chrono::NaiveDate;

use crate::clock::Timestamp;
use crate::ids::{LedgerTransactionId, PartnerId, PayoutBatchId, PayoutId, ProgramId, UserId};
use crate::ledger::posting::PayoutAmounts;
use crate::money::{Money, MoneyError};
use crate::payout::batch::CarryReason;
use crate::payout::method::MethodKind;
use crate::payout::state::{BatchState, PayoutState};
use crate::payout::tax::{LegalType, VatTreatment};

/// One run for a program, a period and a currency.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The program that pays.
    pub program_id: ProgramId,
    /// Key of the row.
    pub payout_batch_id: PayoutBatchId,
    /// What it is called: `2026-10` or `2026-10-15`.
    pub period: String,
    /// Sum of its payouts that are not canceled.
    pub totals: PayoutAmounts,
    /// How many those are.
    pub n_payouts: i64,
    /// What was approved later is not in it.
    pub cutoff_at: Timestamp,
    /// When the bank is to move the money.
    pub execution_on: Option<NaiveDate>,
    /// Where it stands.
    pub state: BatchState,
    /// Who made it.
    pub created_by: UserId,
    /// When.
    pub created_at: Timestamp,
    /// Who approved it: another user.
    pub approved_by: Option<UserId>,
    /// When.
    pub approved_at: Option<Timestamp>,
}

/// One partner's money in a batch.
#[derive(Clone, Debug)]
pub struct Payout {
    /// The program that pays.
    pub program_id: ProgramId,
    /// Key of the row; the reference on the bank's statement.
    pub payout_id: PayoutId,
    /// The batch it belongs to.
    pub payout_batch_id: PayoutBatchId,
    /// Who is paid.
    pub partner_id: PartnerId,
    /// What the person is called.
    pub partner_name: String,
    /// Net above zero, VAT and what is withheld.
    pub amounts: PayoutAmounts,
    /// How it pays; none for payouts made before methods were kept.
    pub method: Option<MethodKind>,
    /// The account as people may see it.
    pub account_masked: Option<String>,
    /// Who is paid, for tax law.
    pub legal_type: Option<LegalType>,
    /// How VAT treats it.
    pub vat_treatment: Option<VatTreatment>,
    /// Number of the self-billed document.
    pub document_no: Option<String>,
    /// Number of the receipt of a self-employed person.
    pub receipt_no: Option<String>,
    /// The file and the part of it that carry it.
    pub file: Option<(String, i32)>,
    /// The account that pays.
    pub bank_label: Option<String>,
    /// Where it stands.
    pub state: PayoutState,
    /// What the bank calls the payment.
    pub bank_reference: Option<String>,
    /// Why it failed or came back.
    pub failure_reason: Option<String>,
    /// When the bank paid.
    pub paid_at: Option<Timestamp>,
    /// What the ledger reserved.
    pub reserve_transaction_id: LedgerTransactionId,
    /// What the ledger paid.
    pub pay_transaction_id: Option<LedgerTransactionId>,
}

/// What a partner is owed and does not get in this batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CarriedForward {
    /// Who.
    pub partner_id: PartnerId,
    /// How much; below zero for a debt.
    pub amount: Money,
    /// Why.
    pub reason: CarryReason,
}

impl Payout {
    /// Returns what the bank moves.
    pub fn transfer(&self) -> Result<Money, MoneyError> {
        self.amounts.transfer()
    }
}
