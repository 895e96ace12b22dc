//! SQL of applications.

use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::ids::{PartnerId, ProgramId};

/// An application as it stands.
#[derive(Clone, Debug)]
pub struct Application {
    /// The partner that it made.
    pub partner_id: PartnerId,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// ISO 3166-1 alpha-2.
    pub country: Option<String>,
    /// State of its enrollment.
    pub status: String,
    /// Where to write to.
    pub email: String,
    /// Where it promotes.
    pub site: Option<String>,
    /// Visitors a month that it promises.
    pub reach: Option<i64>,
    /// What it wrote.
    pub message: String,
    /// When it came.
    pub created_at: Timestamp,
    /// When it was decided.
    pub decided_at: Option<Timestamp>,
    /// By whom.
    pub decided_by: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

/// Finds a program that takes applications, and lets them in one after the other: that makes
/// counting and looking for the same address safe.
pub async fn lock_open_program(
    db: &mut PgConnection,
    program_id: ProgramId,
) -> Result<bool, sqlx::Error> {
    let found = sqlx::query_scalar!(
        r#"select 1 as "one!" from programs
           where program_id = $1 and status = 'active'
           for no key update"#,
        program_id.0,
    )
    .fetch_optional(db)
    .await?;
    Ok(found.is_some())
}

/// Counts the applications since a time.
pub async fn count_since(
    db: &mut PgConnection,
    program_id: ProgramId,
    since: Timestamp,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select count(*) as "n!" from applications where program_id = $1 and created_at > $2"#,
        program_id.0,
        since,
    )
    .fetch_one(db)
    .await
}

/// Tells whether an address has an application that is open or was approved.
pub async fn is_known(
    db: &mut PgConnection,
    program_id: ProgramId,
    email: &str,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select exists (
               select 1 from applications a
               join enrollments e
                 on e.program_id = a.program_id and e.partner_id = a.partner_id
               where a.program_id = $1 and lower(a.email) = lower($2)
                 and e.status in ('applied', 'active', 'paused')) as "is_known!""#,
        program_id.0,
        email,
    )
    .fetch_one(db)
    .await
}

/// Inserts an application; its partner and enrollment are there already.
pub async fn insert(
    db: &mut PgConnection,
    program_id: ProgramId,
    a: &Application,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into applications
             (program_id, partner_id, email, site, reach, message, created_at, decided_at,
              decided_by, reason)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        program_id.0,
        a.partner_id.0,
        a.email,
        a.site,
        a.reach,
        a.message,
        a.created_at,
        a.decided_at,
        a.decided_by,
        a.reason,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Lists applications, oldest first, in one state of their enrollment or all.
pub async fn list(
    db: &mut PgConnection,
    program_id: ProgramId,
    status: Option<&str>,
    after: Option<PartnerId>,
    limit: i64,
) -> Result<Vec<Application>, sqlx::Error> {
    sqlx::query_as!(
        Application,
        r#"select a.partner_id as "partner_id: PartnerId", p.name, p.kind, p.country, e.status,
                  a.email, a.site, a.reach, a.message, a.created_at, a.decided_at, a.decided_by,
                  a.reason
           from applications a
           join enrollments e on e.program_id = a.program_id and e.partner_id = a.partner_id
           join partners p on p.partner_id = a.partner_id
           where a.program_id = $1
             and ($2::text is null or e.status = $2)
             and ($3::uuid is null or a.partner_id > $3)
           order by a.partner_id
           limit $4"#,
        program_id.0,
        status,
        after.map(|a| a.0),
        limit,
    )
    .fetch_all(db)
    .await
}

/// Notes a decision; false when the partner never applied there.
pub async fn decide(
    db: &mut PgConnection,
    (program_id, partner_id): (ProgramId, PartnerId),
    by: &str,
    reason: &str,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "update applications
         set decided_at = $3, decided_by = $4, reason = $5
         where program_id = $1 and partner_id = $2",
        program_id.0,
        partner_id.0,
        now,
        by,
        reason,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}
