//! SQL of the days on which partners logged in.

use chrono::NaiveDate;
use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::ids::{PartnerId, ProgramId};

/// Sets how often a partner logged in on a day; the greater of two tellings stands, so that a
/// repeated or late one takes nothing back.
pub async fn set(
    db: &mut PgConnection,
    (program_id, partner_id): (ProgramId, PartnerId),
    day: NaiveDate,
    n_logins: i32,
    now: Timestamp,
) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar!(
        "insert into partner_logins as l (program_id, partner_id, day, n_logins, updated_at)
         values ($1, $2, $3, $4, $5)
         on conflict on constraint partner_logins_pkey do update
         set n_logins = greatest(l.n_logins, excluded.n_logins), updated_at = excluded.updated_at
         returning n_logins",
        program_id.0,
        partner_id.0,
        day,
        n_logins,
        now,
    )
    .fetch_one(db)
    .await
}
