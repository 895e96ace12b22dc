//! SQL of the sums that plans count: whose are to be proven, and what they say.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::audit::At;
use crate::clock::Timestamp;
use crate::commission::plan::{Counter, Owner, Period, Scope, Volume};
use crate::commission::pricing::{SumKey, SumState};
use crate::ids::{PartnerId, ProgramId};

/// A partner whose sums are to be proven.
pub(in crate::audit) struct Member {
    pub(in crate::audit) program_id: ProgramId,
    pub(in crate::audit) partner_id: PartnerId,
    /// Whether it is the first of its program: it stands for the sums of the whole program.
    pub(in crate::audit) is_first: bool,
    /// Whether its periods are to be reckoned again.
    pub(in crate::audit) is_marked: bool,
    /// Whether those of anybody in its program are.
    pub(in crate::audit) is_program_marked: bool,
}

/// Loads a page of partners of programs.
pub(in crate::audit) async fn find_members(
    db: &mut PgConnection,
    at: &At<'_>,
) -> Result<Vec<Member>, sqlx::Error> {
    sqlx::query_as!(
        Member,
        r#"select e.program_id as "program_id: ProgramId", e.partner_id as "partner_id: PartnerId",
                  not exists (select from enrollments b
                              where b.program_id = e.program_id and b.partner_id < e.partner_id)
                      as "is_first!",
                  exists (select from plan_marks m
                          where m.program_id = e.program_id and m.partner_id = e.partner_id)
                      as "is_marked!",
                  exists (select from plan_marks m where m.program_id = e.program_id)
                      as "is_program_marked!"
           from enrollments e
           where (e.program_id, e.partner_id) > ($1, $2) and e.program_id <= $3
           order by e.program_id, e.partner_id
           limit $4"#,
        at.after.0,
        at.after.1,
        at.last_program,
        at.rows,
    )
    .fetch_all(db)
    .await
}

/// Tells whether more than `most` was earned since: too much to be held at once.
pub(in crate::audit) async fn has_earned_more_than(
    db: &mut PgConnection,
    program_id: ProgramId,
    partner_id: Option<PartnerId>,
    since: Timestamp,
    most: i64,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select count(*) > $4::bigint as "is_more!"
           from (select from commissions c
                 where c.program_id = $1 and ($2::uuid is null or c.partner_id = $2)
                   and c.kind in ('earned', 'clicks') and c.occurred_at >= $3
                 limit $4::bigint + 1) c"#,
        program_id.0,
        partner_id.map(|id| id.0),
        since,
        most,
    )
    .fetch_one(db)
    .await
}

/// Loads what sums say of periods that began on `floor` or later, without those of nothing; with a
/// partner its own.
pub(in crate::audit) async fn load_sums(
    db: &mut PgConnection,
    program_id: ProgramId,
    partner_id: Option<PartnerId>,
    floor: NaiveDate,
) -> Result<BTreeMap<SumKey, SumState>, sqlx::Error> {
    let rows = sqlx::query!(
        "select partner_id, scope, period, start_on, n, amount_minor, earned_minor
         from plan_sums
         where program_id = $1 and ($2::uuid is null or partner_id = $2) and start_on >= $3
           and (n, amount_minor, earned_minor) <> (0, 0, 0)",
        program_id.0,
        partner_id.map(|id| id.0),
        floor,
    )
    .fetch_all(db)
    .await?;
    let sums = rows.into_iter().filter_map(|r| {
        let partner_id = Some(r.partner_id).filter(|id| *id != Uuid::nil()).map(PartnerId);
        let owner = if partner_id.is_some() { Owner::Partner } else { Owner::Program };
        let period = Period::from_code(&r.period)?;
        let counter = Counter { scope: Scope(r.scope), owner, period };
        let key = SumKey { program_id, partner_id, counter, start: r.start_on };
        let volume = Volume { n: r.n, amount_minor: r.amount_minor };
        Some((key, SumState { volume, earned_minor: r.earned_minor, last_at: None }))
    });
    Ok(sums.collect())
}
