//! SQL of payouts: a partner's money in a batch, and what it is made of.

use chrono::NaiveDate;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{amounts, unknown};
use crate::clock::Timestamp;
use crate::ids::{
    CommissionId, LedgerTransactionId, PartnerId, PayoutBatchId, PayoutId, ProgramId,
};
use crate::ledger::posting::PayoutAmounts;
use crate::money::Money;
use crate::payout::batch::PlannedPayout;
use crate::payout::method::MethodKind;
use crate::payout::state::PayoutState;
use crate::payout::tax::{LegalType, VatTreatment};
use crate::payout::{Batch, Payout};

/// A payout of a new batch, with what the ledger reserved for it.
pub type Reserved = (PayoutId, LedgerTransactionId, PlannedPayout);

/// Inserts the payouts of a new batch with their reserves, each with what it is made of.
pub async fn insert_payouts(
    db: &mut PgConnection,
    batch: &Batch,
    payouts: &[Reserved],
) -> Result<(), sqlx::Error> {
    let texts = |f: fn(&PlannedPayout) -> &str| {
        payouts.iter().map(|p| f(&p.2).to_owned()).collect::<Vec<_>>()
    };
    let minors = |f: fn(&PayoutAmounts) -> Money| {
        payouts.iter().map(|p| f(&p.2.amounts).minor).collect::<Vec<_>>()
    };
    sqlx::query!(
        "insert into payouts
             (program_id, payout_id, payout_batch_id, partner_id, currency, amount_minor, status,
              reserve_transaction_id, updated_at, vat_minor, withheld_minor, method_kind,
              method_sealed, account_masked, legal_type, vat_treatment, tax_id, vat_id,
              vat_rate_bps)
         select $1, n.payout_id, $2, n.partner_id, $3, n.amount_minor, 'draft', n.reserve, $4,
                n.vat_minor, n.withheld_minor, n.method_kind, n.method_sealed, n.account_masked,
                n.legal_type, n.vat_treatment, n.tax_id, n.vat_id, n.vat_rate_bps
         from unnest($5::uuid[], $6::uuid[], $7::bigint[], $8::uuid[], $9::bigint[],
                     $10::bigint[], $11::text[], $12::bytea[], $13::text[], $14::text[],
                     $15::text[], $16::text[], $17::text[], $18::integer[])
              as n (payout_id, partner_id, amount_minor, reserve, vat_minor, withheld_minor,
                    method_kind, method_sealed, account_masked, legal_type, vat_treatment, tax_id,
                    vat_id, vat_rate_bps)",
        batch.program_id.0,
        batch.payout_batch_id.0,
        batch.totals.net.currency.code(),
        batch.created_at,
        &payouts.iter().map(|p| p.0.0).collect::<Vec<_>>(),
        &payouts.iter().map(|p| p.2.partner_id.0).collect::<Vec<_>>(),
        &minors(|a| a.net),
        &payouts.iter().map(|p| p.1.0).collect::<Vec<_>>(),
        &minors(|a| a.vat),
        &minors(|a| a.withheld),
        &texts(|p| p.method.kind.code()),
        &payouts.iter().map(|p| p.2.method.sealed.clone()).collect::<Vec<_>>(),
        &texts(|p| &p.method.account_masked),
        &texts(|p| p.tax.legal_type.code()),
        &texts(|p| p.tax.vat_treatment.code()),
        &payouts.iter().map(|p| p.2.tax.tax_id.clone()).collect::<Vec<_>>() as &[Option<String>],
        &payouts.iter().map(|p| p.2.tax.vat_id.clone()).collect::<Vec<_>>() as &[Option<String>],
        &payouts
            .iter()
            .map(|p| i32::try_from(p.2.tax.vat_rate.0).unwrap_or(i32::MAX))
            .collect::<Vec<_>>(),
    )
    .execute(&mut *db)
    .await?;
    insert_items(db, batch.program_id, payouts).await
}

/// Inserts what payouts are made of, and marks the adjustments as held; that of commissions is a
/// step of theirs.
async fn insert_items(
    db: &mut PgConnection,
    program_id: ProgramId,
    payouts: &[Reserved],
) -> Result<(), sqlx::Error> {
    let items = || payouts.iter().flat_map(|p| p.2.commissions.iter().map(move |c| (p.0, c)));
    sqlx::query!(
        "insert into payout_items (program_id, payout_id, commission_id, amount_minor)
         select $1, n.payout_id, n.commission_id, n.amount_minor
         from unnest($2::uuid[], $3::uuid[], $4::bigint[])
              as n (payout_id, commission_id, amount_minor)",
        program_id.0,
        &items().map(|(payout, _)| payout.0).collect::<Vec<_>>(),
        &items().map(|(_, c)| c.0.0).collect::<Vec<_>>(),
        &items().map(|(_, c)| c.1.minor).collect::<Vec<_>>(),
    )
    .execute(&mut *db)
    .await?;
    let held = || payouts.iter().flat_map(|p| p.2.adjustments.iter().map(move |a| (p.0, a)));
    let held_by: Vec<Uuid> = held().map(|(payout, _)| payout.0).collect();
    let ids: Vec<Uuid> = held().map(|(_, a)| a.0.0).collect();
    sqlx::query!(
        "insert into payout_adjustments (program_id, payout_id, adjustment_id, amount_minor)
         select $1, n.payout_id, n.adjustment_id, n.amount_minor
         from unnest($2::uuid[], $3::uuid[], $4::bigint[])
              as n (payout_id, adjustment_id, amount_minor)",
        program_id.0,
        &held_by,
        &ids,
        &held().map(|(_, a)| a.1.minor).collect::<Vec<_>>(),
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        "update adjustments a set payout_id = n.payout_id
         from unnest($2::uuid[], $3::uuid[]) as n (payout_id, adjustment_id)
         where a.program_id = $1 and a.adjustment_id = n.adjustment_id",
        program_id.0,
        &held_by,
        &ids,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Lets go of the adjustments that payouts hold: they are owed again.
pub async fn free_adjustments(
    db: &mut PgConnection,
    program_id: ProgramId,
    payouts: &[Payout],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update adjustments set payout_id = null where program_id = $1 and payout_id = any($2)",
        program_id.0,
        &payouts.iter().map(|p| p.payout_id.0).collect::<Vec<_>>(),
    )
    .execute(db)
    .await
    .map(drop)
}

struct PayoutRow {
    program_id: ProgramId,
    payout_id: PayoutId,
    payout_batch_id: PayoutBatchId,
    partner_id: PartnerId,
    partner_name: String,
    currency: String,
    amount_minor: i64,
    vat_minor: i64,
    withheld_minor: i64,
    method_kind: Option<String>,
    account_masked: Option<String>,
    legal_type: Option<String>,
    vat_treatment: Option<String>,
    document_no: Option<String>,
    receipt_no: Option<String>,
    file_format: Option<String>,
    file_part: Option<i32>,
    bank_label: Option<String>,
    status: String,
    bank_reference: Option<String>,
    failure_reason: Option<String>,
    paid_at: Option<Timestamp>,
    reserve_transaction_id: LedgerTransactionId,
    pay_transaction_id: Option<LedgerTransactionId>,
}

/// Reads a code that may be missing.
fn read<T>(
    column: &str,
    code: Option<String>,
    from_code: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, sqlx::Error> {
    let Some(code) = code else { return Ok(None) };
    from_code(&code).map(Some).ok_or_else(|| unknown(column, &code))
}

impl TryFrom<PayoutRow> for Payout {
    type Error = sqlx::Error;

    fn try_from(r: PayoutRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            program_id: r.program_id,
            payout_id: r.payout_id,
            payout_batch_id: r.payout_batch_id,
            partner_id: r.partner_id,
            partner_name: r.partner_name,
            amounts: amounts((r.amount_minor, r.vat_minor, r.withheld_minor), &r.currency)?,
            method: read("payouts.method_kind", r.method_kind, MethodKind::from_code)?,
            account_masked: r.account_masked,
            legal_type: read("payouts.legal_type", r.legal_type, LegalType::from_code)?,
            vat_treatment: read("payouts.vat_treatment", r.vat_treatment, VatTreatment::from_code)?,
            document_no: r.document_no,
            receipt_no: r.receipt_no,
            file: r.file_format.zip(r.file_part),
            bank_label: r.bank_label,
            state: PayoutState::from_code(&r.status)
                .ok_or_else(|| unknown("payouts.status", &r.status))?,
            bank_reference: r.bank_reference,
            failure_reason: r.failure_reason,
            paid_at: r.paid_at,
            reserve_transaction_id: r.reserve_transaction_id,
            pay_transaction_id: r.pay_transaction_id,
        })
    }
}

/// Which payouts to load; what is not given does not limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct PayoutFilter {
    /// Of this batch.
    pub batch: Option<PayoutBatchId>,
    /// This one alone.
    pub id: Option<PayoutId>,
    /// Made after this one.
    pub after: Option<PayoutId>,
}

/// Loads payouts in the order of their making.
pub async fn load_payouts(
    db: &mut PgConnection,
    filter: PayoutFilter,
    limit: i64,
) -> Result<Vec<Payout>, sqlx::Error> {
    let rows = sqlx::query_as!(
        PayoutRow,
        r#"select p.program_id as "program_id: ProgramId", p.payout_id as "payout_id: PayoutId",
                  p.payout_batch_id as "payout_batch_id: PayoutBatchId",
                  p.partner_id as "partner_id: PartnerId", n.name as partner_name, p.currency,
                  p.amount_minor, p.vat_minor, p.withheld_minor, p.method_kind, p.account_masked,
                  p.legal_type, p.vat_treatment, p.document_no, p.receipt_no, p.file_format,
                  p.file_part, p.bank_label, p.status, p.bank_reference, p.failure_reason,
                  p.paid_at,
                  p.reserve_transaction_id as "reserve_transaction_id: LedgerTransactionId",
                  p.pay_transaction_id as "pay_transaction_id: LedgerTransactionId"
           from payouts p
           join partners n on n.partner_id = p.partner_id
           join payout_batches b
             on b.program_id = p.program_id and b.payout_batch_id = p.payout_batch_id
           where ($1::uuid is null or b.payout_batch_id = $1)
             and ($2::uuid is null or p.payout_id = $2)
             and ($3::uuid is null or p.payout_id > $3)
           order by p.payout_id
           limit $4"#,
        filter.batch.map(|i| i.0),
        filter.id.map(|i| i.0),
        filter.after.map(|i| i.0),
        limit,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Payout::try_from).collect()
}

/// Finds a payout.
pub async fn find_payout(
    db: &mut PgConnection,
    id: PayoutId,
) -> Result<Option<Payout>, sqlx::Error> {
    let filter = PayoutFilter { id: Some(id), ..PayoutFilter::default() };
    Ok(load_payouts(db, filter, 1).await?.pop())
}

/// Writes where payouts of a program stand now.
pub async fn update_payouts(
    db: &mut PgConnection,
    program_id: ProgramId,
    payouts: &[Payout],
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let texts = |f: fn(&Payout) -> Option<&str>| {
        payouts.iter().map(|p| f(p).map(str::to_owned)).collect::<Vec<_>>()
    };
    sqlx::query!(
        "update payouts p
         set status = n.status, bank_reference = n.bank_reference,
             failure_reason = n.failure_reason, paid_at = n.paid_at,
             pay_transaction_id = n.pay_transaction_id, document_no = n.document_no,
             file_format = n.file_format, file_part = n.file_part, bank_label = n.bank_label,
             updated_at = $2
         from unnest($3::uuid[], $4::text[], $5::text[], $6::text[], $7::timestamptz[],
                     $8::uuid[], $9::text[], $10::text[], $11::integer[], $12::text[])
              as n (payout_id, status, bank_reference, failure_reason, paid_at, pay_transaction_id,
                    document_no, file_format, file_part, bank_label)
         where p.program_id = $1 and p.payout_id = n.payout_id",
        program_id.0,
        now,
        &payouts.iter().map(|p| p.payout_id.0).collect::<Vec<_>>(),
        &payouts.iter().map(|p| p.state.code().to_owned()).collect::<Vec<_>>(),
        &texts(|p| p.bank_reference.as_deref()) as &[Option<String>],
        &texts(|p| p.failure_reason.as_deref()) as &[Option<String>],
        &payouts.iter().map(|p| p.paid_at).collect::<Vec<_>>() as &[Option<Timestamp>],
        &payouts.iter().map(|p| p.pay_transaction_id.map(|t| t.0)).collect::<Vec<_>>()
            as &[Option<Uuid>],
        &texts(|p| p.document_no.as_deref()) as &[Option<String>],
        &texts(|p| p.file.as_ref().map(|f| f.0.as_str())) as &[Option<String>],
        &payouts.iter().map(|p| p.file.as_ref().map(|f| f.1)).collect::<Vec<_>>()
            as &[Option<i32>],
        &texts(|p| p.bank_label.as_deref()) as &[Option<String>],
    )
    .execute(db)
    .await
    .map(drop)
}

/// Keeps the receipt that a self-employed person sent for a payment.
pub async fn put_receipt(
    db: &mut PgConnection,
    payout: &Payout,
    receipt_no: &str,
    receipt_on: NaiveDate,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update payouts set receipt_no = $3, receipt_on = $4
         where program_id = $1 and payout_id = $2",
        payout.program_id.0,
        payout.payout_id.0,
        receipt_no,
        receipt_on,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Takes `n` numbers of self-billed documents of a year and returns the first; the row stays locked
/// until the transaction ends, so that none is lost.
pub async fn take_document_numbers(
    db: &mut PgConnection,
    program_id: ProgramId,
    year: i32,
    n: i64,
) -> Result<i64, sqlx::Error> {
    let last = sqlx::query_scalar!(
        "insert into payout_document_numbers as d (program_id, year, last_number)
         values ($1, $2, $3)
         on conflict on constraint payout_document_numbers_pkey
         do update set last_number = d.last_number + excluded.last_number
         returning last_number",
        program_id.0,
        year,
        n,
    )
    .fetch_one(db)
    .await?;
    Ok(last - n + 1)
}

/// Returns the states that the payouts of a batch are in, each once.
pub async fn load_states(
    db: &mut PgConnection,
    batch: &Batch,
) -> Result<Vec<PayoutState>, sqlx::Error> {
    let codes = sqlx::query_scalar!(
        "select distinct status from payouts where program_id = $1 and payout_batch_id = $2",
        batch.program_id.0,
        batch.payout_batch_id.0,
    )
    .fetch_all(db)
    .await?;
    codes
        .iter()
        .map(|code| PayoutState::from_code(code).ok_or_else(|| unknown("payouts.status", code)))
        .collect()
}

/// Returns the commissions that payouts hold, or have paid.
pub async fn load_held(
    db: &mut PgConnection,
    program_id: ProgramId,
    payouts: &[Payout],
) -> Result<Vec<CommissionId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select commission_id as "commission_id: CommissionId"
           from commissions
           where program_id = $1 and payout_id = any($2)
           order by commission_id"#,
        program_id.0,
        &payouts.iter().map(|p| p.payout_id.0).collect::<Vec<_>>(),
    )
    .fetch_all(db)
    .await
}

/// Returns the path of the bank account that a stored payment was made from.
pub async fn find_bank_path(
    db: &mut PgConnection,
    program_id: ProgramId,
    pay_transaction_id: LedgerTransactionId,
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar!(
        "select a.path
         from ledger_entries e
         join ledger_accounts a on a.program_id = e.program_id and a.account_id = e.account_id
         where e.program_id = $1 and e.ledger_transaction_id = $2 and a.path like 'asset:bank:%'",
        program_id.0,
        pay_transaction_id.0,
    )
    .fetch_optional(db)
    .await
}
