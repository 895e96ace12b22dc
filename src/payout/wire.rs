//! Payouts on the wire: bodies of requests and answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::clock::Timestamp;
use crate::ids::{LedgerTransactionId, PartnerId, PayoutBatchId, PayoutId, ProgramId, UserId};
use crate::money::MoneyError;
use crate::payout::batch::{BatchPlan, CarryReason};
use crate::payout::{Batch, Payout};

/// A batch to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBatchBody {
    /// The program that pays.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// A month, `2026-10`, or a day, `2026-10-15`. One live batch for each.
    #[schema(example = "2026-10")]
    pub period: String,
    /// What it pays in; the program's currency where it is not given.
    #[schema(example = "EUR")]
    pub currency: Option<String>,
    /// Commissions approved after it wait for the next batch; now where it is not given.
    #[schema(value_type = Option<String>, example = "2026-11-01T00:00:00Z")]
    pub cutoff: Option<Timestamp>,
    /// Only tells what would be paid.
    #[serde(default)]
    pub dry_run: bool,
}

/// Which batches to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct BatchQuery {
    /// Of this program alone.
    #[param(value_type = Option<String>)]
    pub program_id: Option<ProgramId>,
}

/// Which file to write.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FileQuery {
    /// `csv`.
    pub format: Option<String>,
}

/// That the bank has paid.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MarkPaidBody {
    /// What the bank calls the payment, 1 to 140 characters.
    #[schema(example = "E2E-20261110-0001")]
    pub bank_reference: String,
    /// When it paid; now where it is not given.
    #[schema(value_type = Option<String>)]
    pub paid_at: Option<Timestamp>,
    /// Your own short name of the account that paid; `main` where it is not given. No number.
    #[schema(example = "main")]
    pub bank_account: Option<String>,
}

/// That the bank has not paid, or that a payment came back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MarkFailedBody {
    /// What the bank said, 1 to 500 characters.
    #[schema(example = "account closed")]
    pub reason: String,
}

/// A batch as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchBody {
    /// Its id.
    #[schema(value_type = String)]
    pub id: PayoutBatchId,
    /// The program that pays.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// What it is for.
    pub period: String,
    /// What it pays in.
    pub currency: String,
    /// `draft`, `approved`, `exported`, `completed`, `partially_completed` or `canceled`.
    pub status: String,
    /// Commissions approved after it are not in it.
    #[schema(value_type = String)]
    pub cutoff: Timestamp,
    /// How many payouts it has.
    pub items: i64,
    /// Their sum.
    #[schema(example = "14230.55")]
    pub total: String,
    /// Who made it.
    #[schema(value_type = String)]
    pub created_by: UserId,
    /// When.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
    /// Who approved it.
    #[schema(value_type = Option<String>)]
    pub approved_by: Option<UserId>,
    /// When.
    #[schema(value_type = Option<String>)]
    pub approved_at: Option<Timestamp>,
}

impl From<Batch> for BatchBody {
    fn from(b: Batch) -> Self {
        Self {
            id: b.payout_batch_id,
            program_id: b.program_id,
            period: b.period,
            currency: b.total.currency.code().to_owned(),
            status: b.state.code().to_owned(),
            cutoff: b.cutoff_at,
            items: b.n_payouts,
            total: b.total.to_decimal_string(),
            created_by: b.created_by,
            created_at: b.created_at,
            approved_by: b.approved_by,
            approved_at: b.approved_at,
        }
    }
}

/// Who is paid by a batch and who is not.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlanBody {
    /// Whether this only tells what would be.
    pub dry_run: bool,
    /// How many are paid.
    pub items: usize,
    /// Their sum.
    #[schema(example = "14230.55")]
    pub total: String,
    /// What it pays in.
    pub currency: String,
    /// How many are not paid, by reason: `below_minimum`, `negative_balance`, `blocked`.
    pub carried_forward: BTreeMap<&'static str, usize>,
    /// What those are owed; below zero for debts.
    pub carried_forward_amounts: BTreeMap<&'static str, String>,
    /// The batch, unless this is a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchBody>,
}

impl PlanBody {
    /// Tells what a plan says, with the batch that it became.
    pub fn new(plan: &BatchPlan, batch: Option<Batch>) -> Result<Self, MoneyError> {
        let mut carried_forward = BTreeMap::new();
        let mut carried_forward_amounts = BTreeMap::new();
        for reason in CarryReason::ALL {
            let (n, amount) = plan.carried(reason)?;
            carried_forward.insert(reason.code(), n);
            carried_forward_amounts.insert(reason.code(), amount.to_decimal_string());
        }
        Ok(Self {
            dry_run: batch.is_none(),
            items: plan.payouts.len(),
            total: plan.total.to_decimal_string(),
            currency: plan.total.currency.code().to_owned(),
            carried_forward,
            carried_forward_amounts,
            batch: batch.map(BatchBody::from),
        })
    }
}

/// A payout as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct PayoutBody {
    /// Its id; the reference in the payment file.
    #[schema(value_type = String)]
    pub id: PayoutId,
    /// The batch it belongs to.
    #[schema(value_type = String)]
    pub batch_id: PayoutBatchId,
    /// Who is paid.
    #[schema(value_type = String)]
    pub partner_id: PartnerId,
    /// What the partner is called.
    pub partner_name: String,
    /// How much.
    #[schema(example = "120.50")]
    pub amount: String,
    /// Of what.
    pub currency: String,
    /// `draft`, `approved`, `processing`, `paid`, `failed`, `returned` or `canceled`.
    pub status: String,
    /// What the bank calls the payment.
    pub bank_reference: Option<String>,
    /// When the bank paid.
    #[schema(value_type = Option<String>)]
    pub paid_at: Option<Timestamp>,
    /// Why it failed or came back.
    pub failure_reason: Option<String>,
    /// What the ledger reserved.
    #[schema(value_type = String)]
    pub reserve_transaction_id: LedgerTransactionId,
    /// What the ledger paid.
    #[schema(value_type = Option<String>)]
    pub pay_transaction_id: Option<LedgerTransactionId>,
}

impl From<Payout> for PayoutBody {
    fn from(p: Payout) -> Self {
        Self {
            id: p.payout_id,
            batch_id: p.payout_batch_id,
            partner_id: p.partner_id,
            partner_name: p.partner_name,
            amount: p.amount.to_decimal_string(),
            currency: p.amount.currency.code().to_owned(),
            status: p.state.code().to_owned(),
            bank_reference: p.bank_reference,
            paid_at: p.paid_at,
            failure_reason: p.failure_reason,
            reserve_transaction_id: p.reserve_transaction_id,
            pay_transaction_id: p.pay_transaction_id,
        }
    }
}
