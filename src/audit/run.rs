//! A run: every invariant asked for, page by page, in one moment of the database.

use std::time::Instant;

use sqlx::{Executor as _, PgConnection};
use uuid::Uuid;

use super::{At, Beside, CheckError, Invariant, Judged, REGISTRY, Reach};
use crate::clock::Timestamp;
use crate::db::{Db, DbTx};
use crate::ids::ProgramId;

/// One moment for all statements, no writing. A page ends within seconds; one that takes minutes
/// has found a plan that is wrong, and holds back the clean-up of old rows.
const READING: [&str; 3] = [
    "set transaction isolation level repeatable read read only",
    "set local statement_timeout = '5min'",
    "set local idle_in_transaction_session_timeout = '60s'",
];

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Which invariants.
    pub invariants: Vec<&'static Invariant>,
    /// The one program to look at; none for all.
    pub program: Option<ProgramId>,
    /// Broken rows to name of each, at most.
    pub first: i32,
    /// The time.
    pub now: Timestamp,
    /// How far.
    pub reach: Reach,
}

/// Why an audit could not be run.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// No invariant has this name.
    #[error("no invariant is called {name:?}; there are {}", names().join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// A check failed.
    #[error("{name} could not be looked at")]
    Check {
        /// Which.
        name: &'static str,
        /// Why.
        #[source]
        source: CheckError,
    },
    /// PostgreSQL refused or could not be reached.
    #[error("the database could not be read")]
    Database(#[from] sqlx::Error),
}

fn names() -> Vec<&'static str> {
    REGISTRY.iter().map(|one| one.name).collect()
}

/// Finds invariants by their names; all of them where none is named.
pub fn choose(only: &[String]) -> Result<Vec<&'static Invariant>, AuditError> {
    if only.is_empty() {
        return Ok(REGISTRY.iter().collect());
    }
    let find = |name: &String| {
        let found = REGISTRY.iter().find(|one| one.name == name);
        found.ok_or_else(|| AuditError::Unknown { name: name.chars().take(64).collect() })
    };
    only.iter().map(find).collect()
}

/// Begins a transaction that sees one moment and can write nothing.
pub async fn begin(db: &Db) -> Result<DbTx, sqlx::Error> {
    let mut db = db.begin().await?;
    for setting in READING {
        db.execute(setting).await?;
    }
    Ok(db)
}

/// Looks at everything asked for, on a connection that sees one moment; `told` hears of each
/// invariant how many rows were looked at so far.
pub async fn run(
    db: &mut PgConnection,
    ask: &Ask,
    beside: &Beside<'_>,
    told: &mut (dyn FnMut(&'static Invariant, u64) + Send),
) -> Result<Vec<Judged>, AuditError> {
    let mut all = Vec::with_capacity(ask.invariants.len());
    for invariant in &ask.invariants {
        let judged = judge(db, invariant, ask, beside, told).await;
        all.push(judged.map_err(|source| AuditError::Check { name: invariant.name, source })?);
    }
    Ok(all)
}

/// Looks at one invariant, page by page.
pub async fn judge(
    db: &mut PgConnection,
    invariant: &'static Invariant,
    ask: &Ask,
    beside: &Beside<'_>,
    told: &mut (dyn FnMut(&'static Invariant, u64) + Send),
) -> Result<Judged, CheckError> {
    let mut judged =
        Judged { invariant, n_looked: 0, n_broken: 0, first: Vec::new(), not_looked: None };
    let mut after = (ask.program.map_or(Uuid::nil(), |p| before(p.0)), Uuid::max());
    if ask.program.is_none() {
        after.1 = Uuid::nil();
    }
    loop {
        let n_named = i32::try_from(judged.first.len()).unwrap_or(i32::MAX);
        let at = At {
            after,
            last_program: ask.program.map_or(Uuid::max(), |p| p.0),
            rows: invariant.rows,
            first: ask.first.saturating_sub(n_named),
            now: ask.now,
            reach: ask.reach,
            beside,
        };
        let began = Instant::now();
        let page = (invariant.check)(db, &at).await?;
        tokio::time::sleep(ask.reach.rest_after(began.elapsed())).await;
        judged.n_looked += page.n_looked;
        judged.n_broken += page.n_broken;
        judged.first.extend(page.first);
        judged.not_looked = judged.not_looked.or(page.not_looked);
        told(invariant, judged.n_looked);
        match page.next {
            Some(_) if !ask.reach.has_time() => return Err(CheckError::TooLong),
            Some(next) => after = next,
            None => return Ok(judged),
        }
    }
}

/// Returns the greatest key below a program's: pages begin after it.
fn before(program: Uuid) -> Uuid {
    Uuid::from_u128(program.as_u128().saturating_sub(1))
}
