//! SQL of landing checks.

use sqlx::PgConnection;
use uuid::Uuid;

use super::Check;
use crate::clock::Timestamp;
use crate::ids::ProgramId;

/// Keeps a check.
pub async fn insert_check(
    db: &mut PgConnection,
    program_id: ProgramId,
    check: &Check,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into landing_checks
             (program_id, check_id, checked_at, verdict, text, http_status, final_url)
         values ($1, $2, $3, $4, $5, $6, $7)",
        program_id.0,
        Uuid::now_v7(),
        now,
        check.verdict.as_str(),
        check.text,
        check.http_status.map(i32::from),
        check.final_url,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Returns what is wrong with the landing page by its newest check that could be made.
pub async fn find_fault(
    db: &mut PgConnection,
    program_id: ProgramId,
) -> Result<Option<String>, sqlx::Error> {
    let newest = sqlx::query!(
        "select verdict, text
         from landing_checks
         where program_id = $1 and verdict <> 'not_checked'
         order by checked_at desc
         limit 1",
        program_id.0,
    )
    .fetch_optional(db)
    .await?;
    Ok(newest.filter(|row| row.verdict != "ok").map(|row| row.text))
}
