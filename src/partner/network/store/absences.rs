//! SQL of declared absences.

use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::ids::{AbsenceId, PartnerId, ProgramId};
use crate::partner::network::Days;

/// An absence as it stands.
#[derive(Clone, Debug)]
pub struct Absence {
    /// Key of the row.
    pub absence_id: AbsenceId,
    /// When.
    pub days: Days,
    /// Season, holiday or other.
    pub reason: String,
}

/// Lists the absences of a partner in a program, in their order.
pub async fn list(
    db: &mut PgConnection,
    program_id: ProgramId,
    partner_id: PartnerId,
) -> Result<Vec<Absence>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select absence_id as "absence_id: AbsenceId", from_on, to_on, reason
           from absences
           where program_id = $1 and partner_id = $2
           order by from_on"#,
        program_id.0,
        partner_id.0,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| Absence {
            absence_id: r.absence_id,
            days: Days { from: r.from_on, to: r.to_on },
            reason: r.reason,
        })
        .collect())
}

/// Inserts an absence in the place of those that it has absorbed.
pub async fn replace(
    db: &mut PgConnection,
    (program_id, partner_id): (ProgramId, PartnerId),
    absorbed: &[AbsenceId],
    a: &Absence,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let absorbed: Vec<uuid::Uuid> = absorbed.iter().map(|id| id.0).collect();
    sqlx::query!(
        "with gone as (
             delete from absences
             where program_id = $1 and partner_id = $2 and absence_id = any($3))
         insert into absences
             (program_id, absence_id, partner_id, from_on, to_on, reason, created_at)
         values ($1, $4, $2, $5, $6, $7, $8)",
        program_id.0,
        partner_id.0,
        &absorbed[..],
        a.absence_id.0,
        a.days.from,
        a.days.to,
        a.reason,
        now,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Takes an absence back and returns its program; none when there is no such one in `programs`.
pub async fn delete(
    db: &mut PgConnection,
    partner_id: PartnerId,
    absence_id: AbsenceId,
    programs: Option<&[ProgramId]>,
) -> Result<Option<ProgramId>, sqlx::Error> {
    let programs: Option<Vec<uuid::Uuid>> = programs.map(|all| all.iter().map(|p| p.0).collect());
    sqlx::query_scalar!(
        r#"delete from absences
           where partner_id = $1 and absence_id = $2
             and ($3::uuid[] is null or program_id = any($3))
           returning program_id as "program_id: ProgramId""#,
        partner_id.0,
        absence_id.0,
        programs.as_deref(),
    )
    .fetch_optional(db)
    .await
}
