//! SQL of programs.

use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::ids::{AttributionPolicyId, ProgramId};
use crate::program::Program;
use crate::program::attribution::store::PolicyRow;
use crate::program::attribution::{self, PolicyDocument};

/// Inserts a program with the first edition of its attribution policy, and returns the number that
/// it was given.
///
/// The number, status and times of `p` are not used: the database numbers, a new program is
/// active, and both times are `now`.
pub async fn insert_program(
    db: &mut PgConnection,
    p: &Program,
    now: Timestamp,
) -> Result<i32, sqlx::Error> {
    let number = sqlx::query_scalar!(
        "insert into programs
             (program_id, name, slug, currency, landing_template, click_id_param, allowed_hosts,
              allow_http, fallback_url, time_zone, attribution_window_days, min_payout_minor,
              created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13)
         returning number",
        p.program_id.0,
        p.name,
        p.slug,
        p.currency,
        p.landing_template,
        p.click_id_param,
        &p.allowed_hosts[..],
        p.allow_http,
        p.fallback_url,
        p.time_zone,
        p.attribution_window_days,
        p.min_payout_minor,
        now,
    )
    .fetch_one(&mut *db)
    .await?;
    let first = PolicyRow {
        program_id: p.program_id,
        policy_id: AttributionPolicyId::new(),
        // Whatever is reported later, and however long ago it happened, there is a policy for it.
        effective_from: Timestamp::UNIX_EPOCH,
        document: PolicyDocument {
            window_days: p.attribution_window_days,
            ..PolicyDocument::default()
        },
        created_at: now,
    };
    attribution::store::insert(db, &first, None).await?;
    Ok(number)
}

/// Finds a program.
pub async fn find_program(
    db: &mut PgConnection,
    program_id: ProgramId,
) -> Result<Option<Program>, sqlx::Error> {
    sqlx::query_as!(
        Program,
        r#"select program_id as "program_id: ProgramId", number, name, slug, status, currency,
                  landing_template, click_id_param, allowed_hosts, allow_http, fallback_url,
                  time_zone, attribution_window_days, min_payout_minor, created_at, updated_at
           from programs
           where program_id = $1"#,
        program_id.0,
    )
    .fetch_optional(db)
    .await
}

/// Finds a program and keeps others from changing it until the transaction ends.
pub async fn lock_program(
    db: &mut PgConnection,
    program_id: ProgramId,
) -> Result<Option<Program>, sqlx::Error> {
    sqlx::query_as!(
        Program,
        r#"select program_id as "program_id: ProgramId", number, name, slug, status, currency,
                  landing_template, click_id_param, allowed_hosts, allow_http, fallback_url,
                  time_zone, attribution_window_days, min_payout_minor, created_at, updated_at
           from programs
           where program_id = $1
           for no key update"#,
        program_id.0,
    )
    .fetch_optional(db)
    .await
}

/// Lists programs in the order of their making, after the given one; `only` limits them to those
/// that the caller's key reaches.
pub async fn list_programs(
    db: &mut PgConnection,
    only: Option<&[ProgramId]>,
    after: Option<ProgramId>,
    limit: i64,
) -> Result<Vec<Program>, sqlx::Error> {
    let only: Option<Vec<uuid::Uuid>> = only.map(|all| all.iter().map(|p| p.0).collect());
    sqlx::query_as!(
        Program,
        r#"select program_id as "program_id: ProgramId", number, name, slug, status, currency,
                  landing_template, click_id_param, allowed_hosts, allow_http, fallback_url,
                  time_zone, attribution_window_days, min_payout_minor, created_at, updated_at
           from programs
           where ($1::uuid[] is null or program_id = any($1))
             and ($2::uuid is null or program_id > $2)
           order by program_id
           limit $3"#,
        only.as_deref(),
        after.map(|a| a.0),
        limit,
    )
    .fetch_all(db)
    .await
}

/// Writes every changeable column of a program; false when there is no such program.
///
/// Currency, number and slug never change: links, ledger and statements rest on them.
pub async fn update_program(
    db: &mut PgConnection,
    p: &Program,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "update programs
         set name = $2, status = $3, landing_template = $4, click_id_param = $5,
             allowed_hosts = $6, allow_http = $7, fallback_url = $8, time_zone = $9,
             attribution_window_days = $10, min_payout_minor = $11, updated_at = $12
         where program_id = $1",
        p.program_id.0,
        p.name,
        p.status,
        p.landing_template,
        p.click_id_param,
        &p.allowed_hosts[..],
        p.allow_http,
        p.fallback_url,
        p.time_zone,
        p.attribution_window_days,
        p.min_payout_minor,
        now,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Finds a program by its name in addresses.
pub async fn find_program_id_by_slug(
    db: &mut PgConnection,
    slug: &str,
) -> Result<Option<ProgramId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select program_id as "program_id: ProgramId" from programs where slug = $1"#,
        slug,
    )
    .fetch_optional(db)
    .await
}
