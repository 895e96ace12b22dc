//! SQL of payouts.

use std::collections::HashMap;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::commission::state::Standing;
use crate::ids::{
    CommissionId, LedgerTransactionId, PartnerId, PayoutBatchId, PayoutId, ProgramId, UserId,
};
use crate::money::{Currency, Money};
use crate::payout::batch::PlannedPayout;
use crate::payout::state::{BatchState, PayoutState};
use crate::payout::{Batch, CarriedForward, Payout};

/// Says that a stored text is none that this release knows.
fn unknown(column: &str, value: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("{column} holds {value:?}").into())
}

fn money(minor: i64, currency: &str) -> Result<Money, sqlx::Error> {
    let currency = currency.parse().map_err(|_| unknown("currency", currency))?;
    Ok(Money::new(minor, currency))
}

/// Locks the head of a program's ledger.
///
/// Whoever changes an approved commission takes this lock before the commission's own, so a batch
/// must too: the other order would let the two wait for each other.
pub async fn lock_ledger(db: &mut PgConnection, program_id: ProgramId) -> Result<(), sqlx::Error> {
    sqlx::query!("select sequence from ledger_heads where program_id = $1 for update", program_id.0)
        .fetch_optional(db)
        .await
        .map(drop)
}

/// Locks what is owed and in no payout: commissions approved up to the cut-off, by partner.
pub async fn lock_owed(
    db: &mut PgConnection,
    program_id: ProgramId,
    currency: Currency,
    cutoff_at: Timestamp,
    limit: i64,
) -> Result<Vec<CommissionId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select commission_id as "commission_id: CommissionId"
           from commissions
           where program_id = $1
             and currency = $2
             and state = 'approved'
             and payout_id is null
             and approved_at <= $3
           order by partner_id, commission_id
           limit $4
           for update"#,
        program_id.0,
        currency.code(),
        cutoff_at,
        limit,
    )
    .fetch_all(db)
    .await
}

/// What a program says about paying a partner.
#[derive(Clone, Copy, Debug)]
pub struct PayTerms {
    /// Whether the partner may be paid.
    pub standing: Standing,
    /// The partner's own smallest payout, minor units of the program's currency.
    pub min_payout_minor: Option<i64>,
}

/// Loads the terms of partners. Who left the program is still paid what was earned.
pub async fn load_terms(
    db: &mut PgConnection,
    program_id: ProgramId,
    partners: &[PartnerId],
) -> Result<HashMap<PartnerId, PayTerms>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select e.partner_id as "partner_id: PartnerId", e.min_payout_minor,
                  p.status = 'active' and e.status in ('active', 'ended') as "is_good!"
           from enrollments e
           join partners p on p.partner_id = e.partner_id
           where e.program_id = $1 and e.partner_id = any($2)"#,
        program_id.0,
        &partners.iter().map(|p| p.0).collect::<Vec<_>>(),
    )
    .fetch_all(db)
    .await?;
    let terms = rows.into_iter().map(|r| {
        let standing = if r.is_good { Standing::Good } else { Standing::Blocked };
        (r.partner_id, PayTerms { standing, min_payout_minor: r.min_payout_minor })
    });
    Ok(terms.collect())
}

/// Inserts a draft; false when the period has a live batch already, also one that another
/// transaction was just making.
pub async fn insert_batch(db: &mut PgConnection, b: &Batch) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "insert into payout_batches
             (program_id, payout_batch_id, period, currency, cutoff_at, status, created_by,
              created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict (program_id, period, currency) where status <> 'canceled' do nothing",
        b.program_id.0,
        b.payout_batch_id.0,
        b.period,
        b.total.currency.code(),
        b.cutoff_at,
        b.state.code(),
        b.created_by.0,
        b.created_at,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Finds the live batch of a period.
pub async fn find_live_batch(
    db: &mut PgConnection,
    program_id: ProgramId,
    period: &str,
    currency: Currency,
) -> Result<Option<PayoutBatchId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select payout_batch_id as "payout_batch_id: PayoutBatchId"
           from payout_batches
           where program_id = $1 and period = $2 and currency = $3 and status <> 'canceled'"#,
        program_id.0,
        period,
        currency.code(),
    )
    .fetch_optional(db)
    .await
}

/// Inserts the payouts of a new batch with their reserves, each with what it is made of.
pub async fn insert_payouts(
    db: &mut PgConnection,
    batch: &Batch,
    payouts: &[(PayoutId, LedgerTransactionId, PlannedPayout)],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into payouts
             (program_id, payout_id, payout_batch_id, partner_id, currency, amount_minor, status,
              reserve_transaction_id, updated_at)
         select $1, n.payout_id, $2, n.partner_id, $3, n.amount_minor, 'draft', n.reserve, $4
         from unnest($5::uuid[], $6::uuid[], $7::bigint[], $8::uuid[])
              as n (payout_id, partner_id, amount_minor, reserve)",
        batch.program_id.0,
        batch.payout_batch_id.0,
        batch.total.currency.code(),
        batch.created_at,
        &payouts.iter().map(|p| p.0.0).collect::<Vec<_>>(),
        &payouts.iter().map(|p| p.2.partner_id.0).collect::<Vec<_>>(),
        &payouts.iter().map(|p| p.2.amount.minor).collect::<Vec<_>>(),
        &payouts.iter().map(|p| p.1.0).collect::<Vec<_>>(),
    )
    .execute(&mut *db)
    .await?;
    let items = || payouts.iter().flat_map(|p| p.2.commissions.iter().map(move |c| (p.0, c)));
    sqlx::query!(
        "insert into payout_items (program_id, payout_id, commission_id, amount_minor)
         select $1, n.payout_id, n.commission_id, n.amount_minor
         from unnest($2::uuid[], $3::uuid[], $4::bigint[])
              as n (payout_id, commission_id, amount_minor)",
        batch.program_id.0,
        &items().map(|(payout, _)| payout.0).collect::<Vec<_>>(),
        &items().map(|(_, c)| c.0.0).collect::<Vec<_>>(),
        &items().map(|(_, c)| c.1.minor).collect::<Vec<_>>(),
    )
    .execute(db)
    .await
    .map(drop)
}

/// Inserts who is not in a new batch.
pub async fn insert_carried_forward(
    db: &mut PgConnection,
    batch: &Batch,
    carried: &[CarriedForward],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into payout_carried_forward
             (program_id, payout_batch_id, partner_id, amount_minor, reason)
         select $1, $2, n.partner_id, n.amount_minor, n.reason
         from unnest($3::uuid[], $4::bigint[], $5::text[]) as n (partner_id, amount_minor, reason)",
        batch.program_id.0,
        batch.payout_batch_id.0,
        &carried.iter().map(|c| c.partner_id.0).collect::<Vec<_>>(),
        &carried.iter().map(|c| c.amount.minor).collect::<Vec<_>>(),
        &carried.iter().map(|c| c.reason.code().to_owned()).collect::<Vec<_>>(),
    )
    .execute(db)
    .await
    .map(drop)
}

struct BatchRow {
    program_id: ProgramId,
    payout_batch_id: PayoutBatchId,
    period: String,
    currency: String,
    cutoff_at: Timestamp,
    status: String,
    created_by: UserId,
    created_at: Timestamp,
    approved_by: Option<UserId>,
    approved_at: Option<Timestamp>,
    n_payouts: i64,
    total_minor: i64,
}

impl TryFrom<BatchRow> for Batch {
    type Error = sqlx::Error;

    fn try_from(r: BatchRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            program_id: r.program_id,
            payout_batch_id: r.payout_batch_id,
            period: r.period,
            total: money(r.total_minor, &r.currency)?,
            n_payouts: r.n_payouts,
            cutoff_at: r.cutoff_at,
            state: BatchState::from_code(&r.status)
                .ok_or_else(|| unknown("payout_batches.status", &r.status))?,
            created_by: r.created_by,
            created_at: r.created_at,
            approved_by: r.approved_by,
            approved_at: r.approved_at,
        })
    }
}

/// Which batches to load; what is not given does not limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct BatchFilter<'a> {
    /// Of these programs.
    pub programs: Option<&'a [ProgramId]>,
    /// This one alone.
    pub id: Option<PayoutBatchId>,
    /// Made before this one: the newest come first.
    pub before: Option<PayoutBatchId>,
}

/// Loads batches, the newest first.
pub async fn load_batches(
    db: &mut PgConnection,
    filter: BatchFilter<'_>,
    limit: i64,
) -> Result<Vec<Batch>, sqlx::Error> {
    let programs: Option<Vec<Uuid>> = filter.programs.map(|all| all.iter().map(|p| p.0).collect());
    let rows = sqlx::query_as!(
        BatchRow,
        r#"select b.program_id as "program_id: ProgramId",
                  b.payout_batch_id as "payout_batch_id: PayoutBatchId", b.period, b.currency,
                  b.cutoff_at, b.status, b.created_by as "created_by: UserId", b.created_at,
                  b.approved_by as "approved_by: UserId", b.approved_at,
                  s.n_payouts as "n_payouts!", s.total_minor as "total_minor!"
           from payout_batches b
           cross join lateral (
               select count(*) as n_payouts,
                      coalesce(sum(p.amount_minor), 0)::bigint as total_minor
               from payouts p
               where p.program_id = b.program_id
                 and p.payout_batch_id = b.payout_batch_id
                 and p.status <> 'canceled') s
           where ($1::uuid[] is null or b.program_id = any($1))
             and ($2::uuid is null or b.payout_batch_id = $2)
             and ($3::uuid is null or b.payout_batch_id < $3)
           order by b.payout_batch_id desc
           limit $4"#,
        programs.as_deref(),
        filter.id.map(|i| i.0),
        filter.before.map(|i| i.0),
        limit,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Batch::try_from).collect()
}

/// Finds a batch.
pub async fn find_batch(
    db: &mut PgConnection,
    id: PayoutBatchId,
) -> Result<Option<Batch>, sqlx::Error> {
    let filter = BatchFilter { id: Some(id), ..BatchFilter::default() };
    Ok(load_batches(db, filter, 1).await?.pop())
}

/// Finds a batch and locks it until the transaction ends: what is decided on it is decided in line.
pub async fn lock_batch(
    db: &mut PgConnection,
    id: PayoutBatchId,
) -> Result<Option<Batch>, sqlx::Error> {
    sqlx::query!("select from payout_batches where payout_batch_id = $1 for update", id.0)
        .fetch_optional(&mut *db)
        .await?;
    find_batch(db, id).await
}

/// Writes where a batch stands and who approved it.
pub async fn update_batch(db: &mut PgConnection, b: &Batch) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update payout_batches set status = $3, approved_by = $4, approved_at = $5
         where program_id = $1 and payout_batch_id = $2",
        b.program_id.0,
        b.payout_batch_id.0,
        b.state.code(),
        b.approved_by.map(|u| u.0),
        b.approved_at,
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
    status: String,
    bank_reference: Option<String>,
    failure_reason: Option<String>,
    paid_at: Option<Timestamp>,
    reserve_transaction_id: LedgerTransactionId,
    pay_transaction_id: Option<LedgerTransactionId>,
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
            amount: money(r.amount_minor, &r.currency)?,
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
                  p.amount_minor, p.status, p.bank_reference, p.failure_reason, p.paid_at,
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
    sqlx::query!(
        "update payouts p
         set status = n.status, bank_reference = n.bank_reference,
             failure_reason = n.failure_reason, paid_at = n.paid_at,
             pay_transaction_id = n.pay_transaction_id, updated_at = $2
         from unnest($3::uuid[], $4::text[], $5::text[], $6::text[], $7::timestamptz[],
                     $8::uuid[])
              as n (payout_id, status, bank_reference, failure_reason, paid_at, pay_transaction_id)
         where p.program_id = $1 and p.payout_id = n.payout_id",
        program_id.0,
        now,
        &payouts.iter().map(|p| p.payout_id.0).collect::<Vec<_>>(),
        &payouts.iter().map(|p| p.state.code().to_owned()).collect::<Vec<_>>(),
        &payouts.iter().map(|p| p.bank_reference.clone()).collect::<Vec<_>>()
            as &[Option<String>],
        &payouts.iter().map(|p| p.failure_reason.clone()).collect::<Vec<_>>()
            as &[Option<String>],
        &payouts.iter().map(|p| p.paid_at).collect::<Vec<_>>() as &[Option<Timestamp>],
        &payouts.iter().map(|p| p.pay_transaction_id.map(|t| t.0)).collect::<Vec<_>>()
            as &[Option<Uuid>],
    )
    .execute(db)
    .await
    .map(drop)
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

/// The file of a batch.
#[derive(Clone, Debug)]
pub struct StoredFile {
    /// How it is written: `csv`.
    pub format: String,
    /// The file.
    pub bytes: Vec<u8>,
    /// Its SHA-256.
    pub sha256: Vec<u8>,
}

/// Keeps the file of a batch for ever.
pub async fn insert_file(
    db: &mut PgConnection,
    batch: &Batch,
    file: &StoredFile,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into payout_files (program_id, payout_batch_id, format, bytes, sha256, created_at)
         values ($1, $2, $3, $4, $5, $6)",
        batch.program_id.0,
        batch.payout_batch_id.0,
        file.format,
        file.bytes,
        file.sha256,
        now,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Finds the file of a batch.
pub async fn find_file(
    db: &mut PgConnection,
    batch: &Batch,
) -> Result<Option<StoredFile>, sqlx::Error> {
    sqlx::query_as!(
        StoredFile,
        "select format, bytes, sha256 from payout_files
         where program_id = $1 and payout_batch_id = $2",
        batch.program_id.0,
        batch.payout_batch_id.0,
    )
    .fetch_optional(db)
    .await
}
