//! The audit of each hour: one process runs it, and all of them tell what it found.

use chrono::{DurationRound as _, TimeDelta};
use sqlx::Executor as _;

use super::run::{self, Ask, AuditError};
use super::store::kept;
use super::{Beside, FIRST, Judged, REGISTRY, Reach};
use crate::clock::{Clock, Timestamp};
use crate::db::Db;
use crate::telemetry;

/// Days for which runs are kept: long enough to ask when something broke.
const KEPT_DAYS: i64 = 30;
/// One processor, and time to rest.
const UNHURRIED: [&str; 2] =
    ["set local max_parallel_workers_per_gather = 0", "set local statement_timeout = '30min'"];

/// Runs the audit of this hour if nobody has; returns whether it was run here.
pub async fn run_due(db: &Db, beside: &Beside<'_>, clock: &Clock) -> Result<bool, AuditError> {
    let now = clock.now();
    let hour = now.duration_trunc(TimeDelta::hours(1)).unwrap_or(now);
    {
        let mut db = db.acquire().await?;
        if !kept::begin_run(&mut db, hour, now).await? {
            return Ok(false);
        }
    }
    let found = look(db, beside, now).await;
    let mut db = db.begin().await?;
    let told = found.as_deref().map_err(|error| telemetry::with_causes(error));
    kept::end_run(&mut db, hour, told.as_deref().map_err(String::as_str), clock.now()).await?;
    kept::forget(&mut db, now - TimeDelta::days(KEPT_DAYS)).await?;
    db.commit().await?;
    found.map(|all| {
        tell(&all);
        true
    })
}

/// Looks at one invariant after the other, each in a moment of its own: rows that are changed many
/// times a second are found the more slowly the longer PostgreSQL keeps what they were.
async fn look(db: &Db, beside: &Beside<'_>, now: Timestamp) -> Result<Vec<Judged>, AuditError> {
    let mut all = Vec::with_capacity(REGISTRY.len());
    for invariant in REGISTRY {
        let (invariants, reach) = (vec![invariant], Reach::Hourly);
        let ask = Ask { invariants, program: None, first: FIRST, now, reach };
        let mut db = run::begin(db).await?;
        for setting in UNHURRIED {
            db.execute(setting).await?;
        }
        all.extend(run::run(&mut db, &ask, beside, &mut |_, _| ()).await?);
        db.commit().await?;
    }
    Ok(all)
}

fn tell(all: &[Judged]) {
    for judged in all.iter().filter(|judged| judged.n_broken > 0) {
        let (name, n) = (judged.invariant.name, judged.n_broken);
        tracing::error!(
            "the audit found {n} broken rows of {name}; run `tributary audit --only {name}`"
        );
    }
}
