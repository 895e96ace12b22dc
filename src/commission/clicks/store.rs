//! SQL of clicks that are paid: which days have others than were looked at, and what was paid.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::NaiveDate;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Day, Hour, Paid, PartnerDay, cause_of};
use crate::clock::Timestamp;
use crate::commission::plan::wire;
use crate::commission::state::{CommissionState, Standing};
use crate::ids::{PartnerId, PlanVersionId, ProgramId};

/// The class of clicks by people in the sums of hours.
pub(in crate::commission) const HUMAN: i16 = 0;

/// Returns programs that pay for clicks and whose clicks were not looked at since.
pub async fn due_programs(
    db: &mut PgConnection,
    since: Timestamp,
) -> Result<Vec<ProgramId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select distinct v.program_id as "program_id: ProgramId"
           from plan_versions v
           left join click_runs r on r.program_id = v.program_id
           where v.document -> 'rules' @> '[{"kind": "clicks"}]'
             and (r.ran_at is null or r.ran_at <= $1)"#,
        since,
    )
    .fetch_all(db)
    .await
}

/// Keeps others from looking at a program's clicks until the transaction ends; false when they were
/// looked at since.
pub async fn begin_run(
    db: &mut PgConnection,
    program_id: ProgramId,
    since: Timestamp,
) -> Result<bool, sqlx::Error> {
    sqlx::query!(
        "insert into click_runs (program_id, ran_at) values ($1, null)
         on conflict on constraint click_runs_pkey do nothing",
        program_id.0,
    )
    .execute(&mut *db)
    .await?;
    let ran_at = sqlx::query_scalar!(
        "select ran_at from click_runs where program_id = $1 for update",
        program_id.0,
    )
    .fetch_one(db)
    .await?;
    Ok(ran_at.is_none_or(|ran_at| ran_at <= since))
}

/// Says that all clicks of a program were looked at.
pub async fn end_run(
    db: &mut PgConnection,
    program_id: ProgramId,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!("update click_runs set ran_at = $2 where program_id = $1", program_id.0, now)
        .execute(db)
        .await
        .map(drop)
}

/// A partner's day with other clicks than were looked at.
#[derive(Clone, Copy, Debug)]
pub struct Changed {
    /// Whose.
    pub partner_id: PartnerId,
    /// Whether the partner may earn now.
    pub standing: Standing,
    /// Which day.
    pub day: Day,
    /// How many unique clicks there are.
    pub n_unique: i64,
}

/// Finds partners' days with other clicks than were looked at, in the order of days and, within one,
/// in that in which partners joined.
pub async fn load_changed(
    db: &mut PgConnection,
    program_id: ProgramId,
    days: &[Day],
    limit: i64,
) -> Result<Vec<Changed>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select e.partner_id as "partner_id: PartnerId", d.day as "day!", d.from_at as "from!",
                  d.to_at as "to!", s.n_unique as "n_unique!",
                  (e.status in ('active', 'ended') and p.status = 'active') as "is_good!"
           from unnest($2::date[], $3::timestamptz[], $4::timestamptz[]) as d (day, from_at, to_at)
           cross join enrollments e
           join partners p on p.partner_id = e.partner_id
           cross join lateral (
               select coalesce(sum(h.n_unique), 0)::bigint as n_unique
               from click_hours h
               where h.program_id = $1 and h.partner_id = e.partner_id
                 and h.hour >= d.from_at and h.hour < d.to_at and h.class = $5) s
           left join click_days k
               on k.program_id = $1 and k.partner_id = e.partner_id and k.day = d.day
           where e.program_id = $1 and s.n_unique > coalesce(k.n_unique, 0)
           order by d.day, e.partner_id
           limit $6"#,
        program_id.0,
        &days.iter().map(|day| day.day).collect::<Vec<_>>(),
        &days.iter().map(|day| day.from).collect::<Vec<_>>(),
        &days.iter().map(|day| day.to).collect::<Vec<_>>(),
        HUMAN,
        limit,
    )
    .fetch_all(db)
    .await?;
    let changed = rows.into_iter().map(|r| Changed {
        partner_id: r.partner_id,
        standing: if r.is_good { Standing::Good } else { Standing::Blocked },
        day: Day { day: r.day, from: r.from, to: r.to },
        n_unique: r.n_unique,
    });
    Ok(changed.collect())
}

/// Loads the clicks of these days, and what was earned by some of them already.
pub async fn load_days(
    db: &mut PgConnection,
    program_id: ProgramId,
    changed: &[Changed],
) -> Result<Vec<PartnerDay>, sqlx::Error> {
    let mut hours = load_hours(db, program_id, changed).await?;
    let mut paid = load_paid(db, program_id, changed).await?;
    let day = |one: &Changed| {
        let key = (one.partner_id, one.day.day);
        PartnerDay {
            partner_id: one.partner_id,
            standing: one.standing,
            day: one.day,
            hours: hours.remove(&key).unwrap_or_default(),
            paid: paid.remove(&key).unwrap_or_default(),
        }
    };
    Ok(changed.iter().map(day).collect())
}

type ByDay<T> = HashMap<(PartnerId, NaiveDate), Vec<T>>;

async fn load_hours(
    db: &mut PgConnection,
    program_id: ProgramId,
    changed: &[Changed],
) -> Result<ByDay<Hour>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select n.partner_id as "partner_id!: PartnerId", n.day as "day!", h.hour, h.country,
                  sum(h.n_unique)::bigint as "n!"
           from unnest($2::uuid[], $3::date[], $4::timestamptz[], $5::timestamptz[])
               as n (partner_id, day, from_at, to_at)
           join click_hours h
               on h.program_id = $1 and h.partner_id = n.partner_id
               and h.hour >= n.from_at and h.hour < n.to_at and h.class = $6
           group by n.partner_id, n.day, h.hour, h.country
           order by h.hour, h.country"#,
        program_id.0,
        &changed.iter().map(|one| one.partner_id.0).collect::<Vec<_>>(),
        &changed.iter().map(|one| one.day.day).collect::<Vec<_>>(),
        &changed.iter().map(|one| one.day.from).collect::<Vec<_>>(),
        &changed.iter().map(|one| one.day.to).collect::<Vec<_>>(),
        HUMAN,
    )
    .fetch_all(db)
    .await?;
    let mut hours: ByDay<Hour> = HashMap::new();
    for r in rows {
        let country = Some(Arc::from(r.country)).filter(|country: &Arc<str>| !country.is_empty());
        let hour = Hour { hour: r.hour, country, n: r.n };
        hours.entry((r.partner_id, r.day)).or_default().push(hour);
    }
    Ok(hours)
}

async fn load_paid(
    db: &mut PgConnection,
    program_id: ProgramId,
    changed: &[Changed],
) -> Result<ByDay<Paid>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select n.partner_id as "partner_id!: PartnerId", n.day as "day!",
                  c.plan_version_id as "plan_version_id: PlanVersionId", c.calculation, c.state,
                  c.reason
           from unnest($2::uuid[], $3::date[], $4::text[]) as n (partner_id, day, cause)
           join commissions c
               on c.program_id = $1 and c.partner_id = n.partner_id and c.kind = 'clicks'
               and c.cause collate "C" >= n.cause and c.cause collate "C" < n.cause || '~'
           order by c.commission_id"#,
        program_id.0,
        &changed.iter().map(|one| one.partner_id.0).collect::<Vec<_>>(),
        &changed.iter().map(|one| one.day.day).collect::<Vec<_>>(),
        &changed.iter().map(|one| cause_of(one.day.day)).collect::<Vec<_>>(),
    )
    .fetch_all(db)
    .await?;
    let mut all: ByDay<Paid> = HashMap::new();
    for r in rows {
        let unknown = || sqlx::Error::Decode("a commission of clicks cannot be read".into());
        let stored = wire::from_wire(&r.calculation).ok_or_else(unknown)?;
        let clicks = stored.inputs.clicks.ok_or_else(unknown)?;
        let paid = Paid {
            plan_version_id: r.plan_version_id.ok_or_else(unknown)?,
            rule_index: stored.rule_index,
            n: clicks.before + clicks.n,
            state: CommissionState::from_code(&r.state).ok_or_else(unknown)?,
            reason: r.reason,
        };
        all.entry((r.partner_id, r.day)).or_default().push(paid);
    }
    Ok(all)
}

/// Keeps how many clicks were looked at.
pub async fn write_seen(
    db: &mut PgConnection,
    program_id: ProgramId,
    changed: &[Changed],
) -> Result<(), sqlx::Error> {
    let partners: Vec<Uuid> = changed.iter().map(|one| one.partner_id.0).collect();
    sqlx::query!(
        "insert into click_days (program_id, partner_id, day, n_unique)
         select $1, * from unnest($2::uuid[], $3::date[], $4::bigint[])
         on conflict on constraint click_days_pkey do update set n_unique = excluded.n_unique",
        program_id.0,
        &partners,
        &changed.iter().map(|one| one.day.day).collect::<Vec<_>>(),
        &changed.iter().map(|one| one.n_unique).collect::<Vec<_>>(),
    )
    .execute(db)
    .await
    .map(drop)
}
