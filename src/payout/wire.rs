//! Payouts on the wire: bodies of requests and answers.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::clock::Timestamp;
use crate::ids::{LedgerTransactionId, PartnerId, PayoutBatchId, PayoutId, ProgramId, UserId};
use crate::ledger::posting::PayoutAmounts;
use crate::money::{Money, MoneyError};
use crate::payout::batch::{BatchPlan, CarryReason};
use crate::payout::{Batch, Payout};

/// A batch to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBatchBody {
    /// The program that pays.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// A month, `2026-10`, or the first day of a cycle, `2026-10-16`. One live batch for each; the
    /// last period of the program's cycle that is over where it is not given.
    #[schema(example = "2026-10")]
    pub period: Option<String>,
    /// What it pays in; the program's currency where it is not given.
    #[schema(example = "EUR")]
    pub currency: Option<String>,
    /// Commissions approved after it wait for the next batch; the end of the period where it is not
    /// given, and now while the period is not over.
    #[schema(value_type = Option<String>, example = "2026-11-01T00:00:00Z")]
    pub cutoff: Option<Timestamp>,
    /// When the bank is to move the money; the day on which the period is due where it is not given,
    /// and not before today.
    #[schema(value_type = Option<String>, example = "2026-11-16")]
    pub execution_date: Option<NaiveDate>,
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
    /// `pain.001`, `paypal`, `wise`, `1c`, `csv` or `xlsx`; `csv` where it is not given.
    pub format: Option<String>,
    /// Which part, from 1, where the format has a limit of rows.
    pub part: Option<i32>,
    /// The short name of the account that pays; `main` where it is not given.
    pub payer: Option<String>,
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
    /// When the bank is to move the money.
    #[schema(value_type = Option<String>)]
    pub execution_date: Option<NaiveDate>,
    /// How many payouts it has.
    pub items: i64,
    /// What the bank moves: net and VAT, less what is withheld.
    #[schema(example = "14230.55")]
    pub total: String,
    /// The commissions and adjustments.
    #[schema(example = "14000.00")]
    pub net: String,
    /// VAT on top.
    #[schema(example = "530.55")]
    pub vat: String,
    /// Tax held back.
    #[schema(example = "300.00")]
    pub withheld: String,
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
            currency: b.totals.net.currency.code().to_owned(),
            status: b.state.code().to_owned(),
            cutoff: b.cutoff_at,
            execution_date: b.execution_on,
            items: b.n_payouts,
            total: moved(&b.totals),
            net: b.totals.net.to_decimal_string(),
            vat: b.totals.vat.to_decimal_string(),
            withheld: b.totals.withheld.to_decimal_string(),
            created_by: b.created_by,
            created_at: b.created_at,
            approved_by: b.approved_by,
            approved_at: b.approved_at,
        }
    }
}

/// Returns what the bank moves. Sums of stored payouts fit, because each part of them does.
pub fn moved(amounts: &PayoutAmounts) -> String {
    amounts.transfer().map_or_else(|_| String::new(), Money::to_decimal_string)
}

/// Lines of a plan that are shown, at most; a batch pages through all of them.
const LINES_MAX: usize = 200;

/// Who is paid by a batch and who is not.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PayoutPlanBody)]
pub struct PlanBody {
    /// Whether this only tells what would be.
    pub dry_run: bool,
    /// What it is for.
    pub period: String,
    /// When it is due.
    #[schema(value_type = String)]
    pub due_date: NaiveDate,
    /// How many are paid.
    pub items: usize,
    /// What the bank moves.
    #[schema(example = "14230.55")]
    pub total: String,
    /// The commissions and adjustments.
    pub net: String,
    /// VAT on top.
    pub vat: String,
    /// Tax held back.
    pub withheld: String,
    /// What it pays in.
    pub currency: String,
    /// How many are not paid, by reason: `negative_balance`, `blocked`, `below_minimum`,
    /// `missing_tax_profile`, `missing_self_billing_consent`, `missing_receipt`,
    /// `no_payout_method`, `method_returned`, `method_other_currency`.
    pub carried_forward: BTreeMap<&'static str, usize>,
    /// What those are owed; below zero for debts.
    pub carried_forward_amounts: BTreeMap<&'static str, String>,
    /// What is worth a look before it is approved.
    pub warnings: Vec<WarningBody>,
    /// Who is paid, the first 200.
    pub payouts: Vec<PlannedBody>,
    /// Who is not, the first 200.
    pub carried: Vec<CarriedBody>,
    /// The batch, unless this is a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchBody>,
}

/// What is worth a look.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PayoutWarningBody)]
pub struct WarningBody {
    /// `before_due`, `account_changed_recently` or `account_shared`.
    pub code: &'static str,
    /// The partner that it is about.
    #[schema(value_type = Option<String>)]
    pub partner_id: Option<PartnerId>,
    /// In words.
    pub detail: String,
}

/// A payout that would be made.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlannedBody {
    /// Who is paid.
    #[schema(value_type = String)]
    pub partner_id: PartnerId,
    /// What the bank moves.
    pub amount: String,
    /// The commissions and adjustments.
    pub net: String,
    /// VAT on top.
    pub vat: String,
    /// Tax held back.
    pub withheld: String,
    /// How it pays.
    pub method: &'static str,
    /// The account, so that its owner knows it.
    pub account_masked: String,
}

/// Who is not paid, and why.
#[derive(Debug, Serialize, ToSchema)]
pub struct CarriedBody {
    /// Who.
    #[schema(value_type = String)]
    pub partner_id: PartnerId,
    /// What the partner is called; left out of plans.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partner_name: Option<String>,
    /// How much; below zero for a debt.
    pub amount: String,
    /// Why.
    pub reason: String,
}

/// When a plan is made, and what it is made for.
#[derive(Clone, Debug)]
pub struct PlanFacts {
    /// What it is for.
    pub period: String,
    /// When it is due.
    pub due_on: NaiveDate,
    /// The day of its making.
    pub today: NaiveDate,
    /// An account changed after it is new.
    pub accounts_new_since: Timestamp,
}

impl PlanBody {
    /// Tells what a plan says, with the batch that it became.
    pub fn new(
        plan: &BatchPlan,
        facts: PlanFacts,
        batch: Option<Batch>,
    ) -> Result<Self, MoneyError> {
        let mut carried_forward = BTreeMap::new();
        let mut carried_forward_amounts = BTreeMap::new();
        for reason in CarryReason::ALL {
            let (n, amount) = plan.carried(reason)?;
            carried_forward.insert(reason.code(), n);
            carried_forward_amounts.insert(reason.code(), amount.to_decimal_string());
        }
        let payouts = plan.payouts.iter().take(LINES_MAX).map(|p| PlannedBody {
            partner_id: p.partner_id,
            amount: moved(&p.amounts),
            net: p.amounts.net.to_decimal_string(),
            vat: p.amounts.vat.to_decimal_string(),
            withheld: p.amounts.withheld.to_decimal_string(),
            method: p.method.kind.code(),
            account_masked: p.method.account_masked.clone(),
        });
        let carried = plan.carried_forward.iter().take(LINES_MAX).map(|c| CarriedBody {
            partner_id: c.partner_id,
            partner_name: None,
            amount: c.amount.to_decimal_string(),
            reason: c.reason.code().to_owned(),
        });
        Ok(Self {
            dry_run: batch.is_none(),
            items: plan.payouts.len(),
            total: moved(&plan.totals),
            net: plan.totals.net.to_decimal_string(),
            vat: plan.totals.vat.to_decimal_string(),
            withheld: plan.totals.withheld.to_decimal_string(),
            currency: plan.totals.net.currency.code().to_owned(),
            carried_forward,
            carried_forward_amounts,
            warnings: warnings(plan, &facts),
            payouts: payouts.collect(),
            carried: carried.collect(),
            period: facts.period,
            due_date: facts.due_on,
            batch: batch.map(BatchBody::from),
        })
    }
}

fn warnings(plan: &BatchPlan, facts: &PlanFacts) -> Vec<WarningBody> {
    let mut warnings = Vec::new();
    if facts.today < facts.due_on {
        let detail = format!("The period {} is due on {}, not yet.", facts.period, facts.due_on);
        warnings.push(WarningBody { code: "before_due", partner_id: None, detail });
    }
    for p in &plan.payouts {
        let mut warn = |code, detail| {
            warnings.push(WarningBody { code, partner_id: Some(p.partner_id), detail });
        };
        let account = &p.method.account_masked;
        if p.method.changed_at > facts.accounts_new_since {
            let day = p.method.changed_at.date_naive();
            warn(
                "account_changed_recently",
                format!("{account} was set on {day}; ask the partner whether it is theirs."),
            );
        }
        if p.method.is_shared {
            warn("account_shared", format!("Another partner is paid to {account} too."));
        }
    }
    warnings.truncate(LINES_MAX);
    warnings
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
    /// What the bank moves: gross less what is withheld.
    #[schema(example = "120.50")]
    pub amount: String,
    /// The commissions and adjustments.
    #[schema(example = "110.00")]
    pub net: String,
    /// VAT on top.
    #[schema(example = "20.90")]
    pub vat: String,
    /// Net and VAT.
    #[schema(example = "130.90")]
    pub gross: String,
    /// Tax held back.
    #[schema(example = "10.40")]
    pub withheld: String,
    /// Of what.
    pub currency: String,
    /// `sepa`, `paypal`, `wise`, `ru_bank` or `manual`.
    pub method: Option<&'static str>,
    /// The account, so that its owner knows it.
    pub account_masked: Option<String>,
    /// Number of the self-billed document.
    pub document_no: Option<String>,
    /// Number of the receipt that a self-employed person in Russia sent.
    pub receipt_no: Option<String>,
    /// The file that carries it: format and part.
    pub file: Option<String>,
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
        let gross = p.amounts.net.checked_add(p.amounts.vat);
        Self {
            id: p.payout_id,
            batch_id: p.payout_batch_id,
            partner_id: p.partner_id,
            partner_name: p.partner_name,
            amount: moved(&p.amounts),
            net: p.amounts.net.to_decimal_string(),
            vat: p.amounts.vat.to_decimal_string(),
            gross: gross.map_or_else(|_| String::new(), Money::to_decimal_string),
            withheld: p.amounts.withheld.to_decimal_string(),
            currency: p.amounts.net.currency.code().to_owned(),
            method: p.method.map(|m| m.code()),
            account_masked: p.account_masked,
            document_no: p.document_no,
            receipt_no: p.receipt_no,
            file: p.file.map(|(format, part)| format!("{format}/{part}")),
            status: p.state.code().to_owned(),
            bank_reference: p.bank_reference,
            paid_at: p.paid_at,
            failure_reason: p.failure_reason,
            reserve_transaction_id: p.reserve_transaction_id,
            pay_transaction_id: p.pay_transaction_id,
        }
    }
}

/// A part of a payment file, as it is listed.
#[derive(Debug, Serialize, ToSchema)]
pub struct FileBody {
    /// How it is written.
    pub format: String,
    /// Which part it is, from 1.
    pub part: i32,
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
    /// How many payouts it carries.
    pub items: Option<i32>,
    /// What the bank is to move by it.
    pub total: Option<String>,
    /// The short name of the account that pays.
    pub payer: Option<String>,
    /// When it was made.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
}

/// Writes bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The receipt of a self-employed person in Russia.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PayoutReceiptBody)]
pub struct ReceiptBody {
    /// Its number, 1 to 40 characters.
    #[schema(example = "200abc1234")]
    pub receipt_no: String,
    /// Its day.
    #[schema(value_type = String, example = "2026-11-05")]
    pub receipt_date: NaiveDate,
}
