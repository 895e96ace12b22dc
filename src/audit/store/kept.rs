//! SQL of the audits that were run: what each found, kept for a while.

use std::collections::HashMap;

use serde_json::Value;
use sqlx::PgConnection;

use super::read_figures;
use crate::audit::{Judged, Offender};
use crate::clock::Timestamp;
use crate::ids::ProgramId;

/// What an invariant came to when it was last looked at.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Rows that were looked at.
    pub n_looked: i64,
    /// Those that were broken.
    pub n_broken: i64,
    /// The first of them.
    pub first: Vec<Offender>,
    /// Why nothing could be looked at.
    pub not_looked: Option<String>,
}

/// A run that came to its end.
#[derive(Clone, Debug)]
pub struct KeptRun {
    /// When it ended.
    pub ended_at: Timestamp,
    /// What it found, by the names of the invariants.
    pub findings: HashMap<String, Finding>,
}

/// Says that the audit of an hour is run here; false when another process does it or has done it.
pub async fn begin_run(
    db: &mut PgConnection,
    hour: Timestamp,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "insert into audit_runs (hour, started_at) values ($1, $2)
         on conflict on constraint audit_runs_pkey do nothing",
        hour,
        now,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Keeps what a run found, or why it could not be run.
pub async fn end_run(
    db: &mut PgConnection,
    hour: Timestamp,
    found: Result<&[Judged], &str>,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update audit_runs set ended_at = $2, error = $3 where hour = $1",
        hour,
        now,
        found.err(),
    )
    .execute(&mut *db)
    .await?;
    let Ok(all) = found else { return Ok(()) };
    let whole = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let first = |one: &Judged| serde_json::to_value(&one.first).unwrap_or_default();
    sqlx::query!(
        "insert into audit_findings (hour, invariant, n_looked, n_broken, first, not_looked)
         select $1, n.invariant, n.n_looked, n.n_broken, n.first, n.not_looked
         from unnest($2::text[], $3::bigint[], $4::bigint[], $5::jsonb[], $6::text[])
              as n (invariant, n_looked, n_broken, first, not_looked)",
        hour,
        &all.iter().map(|one| one.invariant.name.to_owned()).collect::<Vec<_>>(),
        &all.iter().map(|one| whole(one.n_looked)).collect::<Vec<_>>(),
        &all.iter().map(|one| whole(one.n_broken)).collect::<Vec<_>>(),
        &all.iter().map(first).collect::<Vec<_>>(),
        &all.iter().map(|one| one.not_looked.clone()).collect::<Vec<_>>() as &[Option<String>],
    )
    .execute(db)
    .await
    .map(drop)
}

/// Forgets runs of before `before`, with what they found.
pub async fn forget(db: &mut PgConnection, before: Timestamp) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!("delete from audit_runs where hour < $1", before).execute(db).await?;
    Ok(done.rows_affected())
}

/// Loads the last run that came to its end.
pub async fn last_run(db: &mut PgConnection) -> Result<Option<KeptRun>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select r.ended_at as "ended_at!", f.invariant, f.n_looked, f.n_broken, f.first,
                  f.not_looked
           from audit_runs r
           join audit_findings f on f.hour = r.hour
           where r.hour = (select max(l.hour) from audit_runs l
                           where l.ended_at is not null and l.error is null)"#
    )
    .fetch_all(db)
    .await?;
    let Some(ended_at) = rows.first().map(|r| r.ended_at) else { return Ok(None) };
    let findings = rows.into_iter().map(|r| {
        let finding = Finding {
            n_looked: r.n_looked,
            n_broken: r.n_broken,
            first: read_offenders(r.first),
            not_looked: r.not_looked,
        };
        (r.invariant, finding)
    });
    Ok(Some(KeptRun { ended_at, findings: findings.collect() }))
}

fn read_offenders(first: Value) -> Vec<Offender> {
    let Value::Array(rows) = first else { return Vec::new() };
    let read = |mut row: Value| {
        let program: Option<ProgramId> = row["program_id"].as_str().and_then(|id| id.parse().ok());
        let figures = read_figures(row["figures"].take());
        let id = row["id"].as_str().unwrap_or_default().to_owned();
        Offender { program_id: program, id, figures }
    };
    rows.into_iter().map(read).collect()
}
