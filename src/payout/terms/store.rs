//! SQL of payout terms and smallest payouts.

use std::collections::HashMap;

use chrono::NaiveDate;
use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::ids::{PartnerId, ProgramId, UserId};
use crate::money::Currency;
use crate::payout::cycle::{Cycle, PayTerms};

/// Finds when a program pays; the usual terms where it has said nothing.
pub async fn find_terms(
    db: &mut PgConnection,
    program_id: ProgramId,
) -> Result<PayTerms, sqlx::Error> {
    let row = sqlx::query!(
        "select cycle, net_days from payout_terms where program_id = $1",
        program_id.0,
    )
    .fetch_optional(db)
    .await?;
    let Some(row) = row else { return Ok(PayTerms::usual()) };
    let unknown =
        || sqlx::Error::Decode(format!("payout_terms.cycle holds {:?}", row.cycle).into());
    Ok(PayTerms {
        cycle: Cycle::from_code(&row.cycle).ok_or_else(unknown)?,
        net_days: u16::try_from(row.net_days).unwrap_or(0),
    })
}

/// Keeps when a program pays.
pub async fn put_terms(
    db: &mut PgConnection,
    program_id: ProgramId,
    terms: PayTerms,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into payout_terms (program_id, cycle, net_days, updated_at)
         values ($1, $2, $3, $4)
         on conflict on constraint payout_terms_pkey
         do update set cycle = excluded.cycle, net_days = excluded.net_days,
                       updated_at = excluded.updated_at",
        program_id.0,
        terms.cycle.code(),
        i32::from(terms.net_days),
        now,
    )
    .execute(db)
    .await
    .map(drop)
}

/// A smallest payout, from a day on.
#[derive(Clone, Debug)]
pub struct Minimum {
    /// Of this partner alone; of the program where none is given.
    pub partner_id: Option<PartnerId>,
    /// In which currency.
    pub currency: String,
    /// From when.
    pub effective_from: NaiveDate,
    /// Minor units.
    pub minimum_minor: i64,
}

/// Adds a smallest payout; false when there is one from that day already.
pub async fn insert_minimum(
    db: &mut PgConnection,
    program_id: ProgramId,
    m: &Minimum,
    by: UserId,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "insert into payout_minimums
             (program_id, partner_id, currency, effective_from, minimum_minor, created_by,
              created_at)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict do nothing",
        program_id.0,
        m.partner_id.map(|p| p.0),
        m.currency,
        m.effective_from,
        m.minimum_minor,
        by.0,
        now,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Lists the smallest payouts of a program, those of partners after its own.
pub async fn list_minimums(
    db: &mut PgConnection,
    program_id: ProgramId,
    limit: i64,
) -> Result<Vec<Minimum>, sqlx::Error> {
    sqlx::query_as!(
        Minimum,
        r#"select partner_id as "partner_id: PartnerId", currency, effective_from, minimum_minor
           from payout_minimums
           where program_id = $1
           order by partner_id nulls first, currency, effective_from
           limit $2"#,
        program_id.0,
        limit,
    )
    .fetch_all(db)
    .await
}

/// Loads the smallest payouts in effect on a day, by partner; under none the program's own.
pub async fn load_minimums(
    db: &mut PgConnection,
    program_id: ProgramId,
    currency: Currency,
    partners: &[PartnerId],
    on: NaiveDate,
) -> Result<HashMap<Option<PartnerId>, i64>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select distinct on (partner_id) partner_id as "partner_id: PartnerId", minimum_minor
           from payout_minimums
           where program_id = $1 and currency = $2 and effective_from <= $3
             and (partner_id is null or partner_id = any($4))
           order by partner_id, effective_from desc"#,
        program_id.0,
        currency.code(),
        on,
        &partners.iter().map(|p| p.0).collect::<Vec<_>>(),
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|r| (r.partner_id, r.minimum_minor)).collect())
}
