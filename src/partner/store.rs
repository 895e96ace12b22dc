//! SQL of partners and enrollments.

use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::ids::{PartnerId, ProgramId};
use crate::partner::{Enrollment, Partner};

/// Inserts a partner and returns the number that it was given; number and status of `p` are not used.
pub async fn insert_partner(
    db: &mut PgConnection,
    p: &Partner,
    now: Timestamp,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        "insert into partners (partner_id, name, slug, kind, country, email, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $7)
         returning number",
        p.partner_id.0,
        p.name,
        p.slug,
        p.kind,
        p.country,
        p.email,
        now,
    )
    .fetch_one(db)
    .await
}

/// Finds a partner.
pub async fn find_partner(
    db: &mut PgConnection,
    partner_id: PartnerId,
) -> Result<Option<Partner>, sqlx::Error> {
    sqlx::query_as!(
        Partner,
        r#"select partner_id as "partner_id: PartnerId", number, name, slug, kind, status, country,
                  email, created_at
           from partners
           where partner_id = $1"#,
        partner_id.0,
    )
    .fetch_optional(db)
    .await
}

/// Tells whether a partner has this name in addresses.
pub async fn has_slug(db: &mut PgConnection, slug: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select exists (select 1 from partners where slug = $1) as "has_slug!""#,
        slug
    )
    .fetch_one(db)
    .await
}

/// Lists partners in the order of their making, after the given one; `programs` limits them to
/// those enrolled in one of the programs.
pub async fn list_partners(
    db: &mut PgConnection,
    programs: Option<&[ProgramId]>,
    after: Option<PartnerId>,
    limit: i64,
) -> Result<Vec<Partner>, sqlx::Error> {
    let programs: Option<Vec<uuid::Uuid>> = programs.map(|all| all.iter().map(|p| p.0).collect());
    sqlx::query_as!(
        Partner,
        r#"select partner_id as "partner_id: PartnerId", number, name, slug, kind, status, country,
                  email, created_at
           from partners p
           where ($1::uuid[] is null or exists (
                 select 1 from enrollments e
                 where e.partner_id = p.partner_id and e.program_id = any($1)))
             and ($2::uuid is null or partner_id > $2)
           order by partner_id
           limit $3"#,
        programs.as_deref(),
        after.map(|a| a.0),
        limit,
    )
    .fetch_all(db)
    .await
}

/// Blocks or unblocks a partner everywhere; false when there is no such partner.
pub async fn set_partner_status(
    db: &mut PgConnection,
    partner_id: PartnerId,
    status: &str,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "update partners set status = $2, updated_at = $3 where partner_id = $1",
        partner_id.0,
        status,
        now,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Inserts an enrollment.
pub async fn insert_enrollment(db: &mut PgConnection, e: &Enrollment) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into enrollments
             (program_id, partner_id, status, rank, owner, next_contact_due, min_payout_minor,
              created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $8)",
        e.program_id.0,
        e.partner_id.0,
        e.status,
        e.rank,
        e.owner,
        e.next_contact_due,
        e.min_payout_minor,
        e.created_at,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Writes every changeable column of an enrollment; false when there is none.
pub async fn update_enrollment(
    db: &mut PgConnection,
    e: &Enrollment,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "update enrollments
         set status = $3, rank = $4, owner = $5, next_contact_due = $6, min_payout_minor = $7,
             updated_at = $8
         where program_id = $1 and partner_id = $2",
        e.program_id.0,
        e.partner_id.0,
        e.status,
        e.rank,
        e.owner,
        e.next_contact_due,
        e.min_payout_minor,
        now,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Finds what a partner is in a program.
pub async fn find_enrollment(
    db: &mut PgConnection,
    program_id: ProgramId,
    partner_id: PartnerId,
) -> Result<Option<Enrollment>, sqlx::Error> {
    sqlx::query_as!(
        Enrollment,
        r#"select program_id as "program_id: ProgramId", partner_id as "partner_id: PartnerId",
                  status, rank, owner, next_contact_due, min_payout_minor, created_at
           from enrollments
           where program_id = $1 and partner_id = $2"#,
        program_id.0,
        partner_id.0,
    )
    .fetch_optional(db)
    .await
}

/// Finds an enrollment and keeps others from changing it until the transaction ends.
pub async fn lock_enrollment(
    db: &mut PgConnection,
    program_id: ProgramId,
    partner_id: PartnerId,
) -> Result<Option<Enrollment>, sqlx::Error> {
    sqlx::query_as!(
        Enrollment,
        r#"select program_id as "program_id: ProgramId", partner_id as "partner_id: PartnerId",
                  status, rank, owner, next_contact_due, min_payout_minor, created_at
           from enrollments
           where program_id = $1 and partner_id = $2
           for no key update"#,
        program_id.0,
        partner_id.0,
    )
    .fetch_optional(db)
    .await
}

/// Tells whether a partner may be approved and paid in a program: not blocked, and active there or
/// ended, since what was earned before the end is still owed.
pub async fn is_in_good_standing(
    db: &mut PgConnection,
    program_id: ProgramId,
    partner_id: PartnerId,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select exists (
               select 1 from enrollments e
               join partners p on p.partner_id = e.partner_id
               where e.program_id = $1
                 and e.partner_id = $2
                 and e.status in ('active', 'ended')
                 and p.status = 'active') as "is_good!""#,
        program_id.0,
        partner_id.0,
    )
    .fetch_one(db)
    .await
}

/// Lists the enrollments of a partner.
pub async fn list_enrollments(
    db: &mut PgConnection,
    partner_id: PartnerId,
) -> Result<Vec<Enrollment>, sqlx::Error> {
    sqlx::query_as!(
        Enrollment,
        r#"select program_id as "program_id: ProgramId", partner_id as "partner_id: PartnerId",
                  status, rank, owner, next_contact_due, min_payout_minor, created_at
           from enrollments
           where partner_id = $1
           order by program_id"#,
        partner_id.0,
    )
    .fetch_all(db)
    .await
}
