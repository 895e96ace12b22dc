//! SQL of payouts: batches here, what they hold beside.

pub mod files;
pub mod owed;
pub mod payouts;

use chrono::NaiveDate;
use sqlx::PgConnection;
use uuid::Uuid;

pub use payouts::{PayoutFilter, find_payout, load_payouts};

use crate::clock::Timestamp;
use crate::ids::{PartnerId, PayoutBatchId, ProgramId, UserId};
use crate::ledger::posting::PayoutAmounts;
use crate::money::{Currency, Money};
use crate::payout::state::BatchState;
use crate::payout::{Batch, CarriedForward};

/// Says that a stored text is none that this release knows.
fn unknown(column: &str, value: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("{column} holds {value:?}").into())
}

fn amounts(
    (net, vat, withheld): (i64, i64, i64),
    currency: &str,
) -> Result<PayoutAmounts, sqlx::Error> {
    let currency: Currency = currency.parse().map_err(|_| unknown("currency", currency))?;
    let money = |minor| Money::new(minor, currency);
    Ok(PayoutAmounts { net: money(net), vat: money(vat), withheld: money(withheld) })
}

/// Inserts a draft; false when the period has a live batch already, also one that another
/// transaction was just making.
pub async fn insert_batch(db: &mut PgConnection, b: &Batch) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "insert into payout_batches
             (program_id, payout_batch_id, period, currency, cutoff_at, status, created_by,
              created_at, execution_on)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         on conflict (program_id, period, currency) where status <> 'canceled' do nothing",
        b.program_id.0,
        b.payout_batch_id.0,
        b.period,
        b.totals.net.currency.code(),
        b.cutoff_at,
        b.state.code(),
        b.created_by.0,
        b.created_at,
        b.execution_on,
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

/// Who is not in a batch, as it is shown.
#[derive(Clone, Debug)]
pub struct CarriedRow {
    /// Who.
    pub partner_id: PartnerId,
    /// What the partner is called.
    pub partner_name: String,
    /// How much, minor units.
    pub amount_minor: i64,
    /// Why.
    pub reason: String,
}

/// Loads who is not in a batch, in the order of partners.
pub async fn load_carried_forward(
    db: &mut PgConnection,
    batch: &Batch,
    after: Option<PartnerId>,
    limit: i64,
) -> Result<Vec<CarriedRow>, sqlx::Error> {
    sqlx::query_as!(
        CarriedRow,
        r#"select f.partner_id as "partner_id: PartnerId", n.name as partner_name,
                  f.amount_minor, f.reason
           from payout_carried_forward f
           join partners n on n.partner_id = f.partner_id
           where f.program_id = $1 and f.payout_batch_id = $2
             and ($3::uuid is null or f.partner_id > $3)
           order by f.partner_id
           limit $4"#,
        batch.program_id.0,
        batch.payout_batch_id.0,
        after.map(|a| a.0),
        limit,
    )
    .fetch_all(db)
    .await
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
    execution_on: Option<NaiveDate>,
    n_payouts: i64,
    net_minor: i64,
    vat_minor: i64,
    withheld_minor: i64,
}

impl TryFrom<BatchRow> for Batch {
    type Error = sqlx::Error;

    fn try_from(r: BatchRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            program_id: r.program_id,
            payout_batch_id: r.payout_batch_id,
            period: r.period,
            totals: amounts((r.net_minor, r.vat_minor, r.withheld_minor), &r.currency)?,
            n_payouts: r.n_payouts,
            cutoff_at: r.cutoff_at,
            execution_on: r.execution_on,
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
                  b.approved_by as "approved_by: UserId", b.approved_at, b.execution_on,
                  s.n_payouts as "n_payouts!", s.net_minor as "net_minor!",
                  s.vat_minor as "vat_minor!", s.withheld_minor as "withheld_minor!"
           from payout_batches b
           cross join lateral (
               select count(*) as n_payouts,
                      coalesce(sum(p.amount_minor), 0)::bigint as net_minor,
                      coalesce(sum(p.vat_minor), 0)::bigint as vat_minor,
                      coalesce(sum(p.withheld_minor), 0)::bigint as withheld_minor
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
