//! SQL of what plans refer to beside themselves: rates of exchange and groups of partners.

use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::ids::{PartnerId, ProgramId, UserId};

/// A rate of exchange as it lies in the table.
#[derive(Clone, Debug)]
pub struct RateRow {
    /// The currency of sales.
    pub from_currency: String,
    /// The currency of payouts.
    pub to_currency: String,
    /// From when on it holds.
    pub at: Timestamp,
    /// In billionths.
    pub rate_nano: i64,
    /// Who says so.
    pub source: String,
    /// When it was entered.
    pub created_at: Timestamp,
}

/// Adds a rate; false when one of that time is known, which is never changed.
pub async fn insert_rate(
    db: &mut PgConnection,
    program_id: ProgramId,
    rate: &RateRow,
    created_by: UserId,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "insert into fx_rates
             (program_id, from_currency, to_currency, at, rate_nano, source, created_by, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict on constraint fx_rates_pkey do nothing",
        program_id.0,
        rate.from_currency,
        rate.to_currency,
        rate.at,
        rate.rate_nano,
        rate.source,
        created_by.0,
        rate.created_at,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Lists rates, the latest first, before the given time.
pub async fn list_rates(
    db: &mut PgConnection,
    program_id: ProgramId,
    limit: i64,
) -> Result<Vec<RateRow>, sqlx::Error> {
    sqlx::query_as!(
        RateRow,
        "select from_currency, to_currency, at, rate_nano, source, created_at
         from fx_rates
         where program_id = $1
         order by at desc, from_currency, to_currency
         limit $2",
        program_id.0,
        limit,
    )
    .fetch_all(db)
    .await
}

/// Puts a partner into a group, or into none; false when it takes no part in the program.
pub async fn set_group(
    db: &mut PgConnection,
    program_id: ProgramId,
    partner_id: PartnerId,
    group: Option<&str>,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "update enrollments
         set terms_group = $3, updated_at = $4
         where program_id = $1 and partner_id = $2",
        program_id.0,
        partner_id.0,
        group,
        now,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}
