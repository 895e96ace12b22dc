//! `audit`: every invariant with what it came to in the rows of a program.
//!
//! What is in the database is looked at now, in the moment of the report. What lies beside it, the
//! stream and sealed files, is told as the last run of the hour found it, for the whole deployment;
//! so is what takes longer than a reader may hold his place, and all of it while another reader has
//! the same program looked at.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use sqlx::{Connection as _, PgConnection};

use super::rows::{Rows, Summary};
use super::{Cell, Column, ColumnKind as Kind, Params, Report, ReportError};
use crate::audit::run::{Ask, judge};
use crate::audit::store::kept::{KeptRun, last_run};
use crate::audit::{Beside, CheckError, FIRST, Invariant, Judged, REGISTRY, Reach, told};
use crate::ids::ProgramId;

/// How long it is looked; what is left then is told as the last run found it. Over millions of rows
/// an audit takes minutes, and a reader holds one of few places.
const LOOKS_FOR: Duration = Duration::from_secs(30);

/// The report.
#[derive(Debug)]
pub struct Audit;

const COLUMNS: &[Column] = &[
    Kind::Text.named("invariant"),
    Kind::Text.named("status"),
    Kind::Int.named("looked"),
    Kind::Int.named("broken"),
    Kind::Text.named("first"),
    Kind::Time.named("looked_at"),
    Kind::Text.named("means"),
    Kind::Text.named("remedy"),
];

impl Report for Audit {
    fn name(&self) -> &'static str {
        "audit"
    }

    fn description(&self) -> &'static str {
        "Whether everything that must hold does, invariant by invariant; the time does not matter."
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn stream<'a>(
        &'a self,
        db: &'a mut PgConnection,
        params: &'a Params,
        rows: &'a mut dyn Rows,
    ) -> BoxFuture<'a, Result<Summary, ReportError>> {
        Box::pin(async move {
            let ask = Ask {
                invariants: REGISTRY.iter().collect(),
                program: Some(params.program_id),
                first: FIRST,
                now: params.now,
                reach: Reach::Until(Instant::now() + LOOKS_FOR),
            };
            let kept = last_run(db).await?;
            let beside = Beside { sealer: None, stream: None };
            let (mut n_looked, mut n_broken) = (0, 0);
            let turn = Turn::of(params.program_id);
            for invariant in &ask.invariants {
                let judged = if turn.is_none() {
                    unlooked(invariant, "another audit of the program is under way")
                } else if ask.reach.has_time() {
                    look(db, invariant, &ask, &beside).await?
                } else {
                    unlooked(invariant, "the others took all the time of the report")
                };
                let row = Row::of(judged, kept.as_ref(), params);
                n_looked += row.n_looked;
                n_broken += row.n_broken;
                rows.take(vec![row.cells()]).await?;
                rows.expect_long().await?;
            }
            Ok(vec![
                ("invariants", Cell::Int(i64::try_from(REGISTRY.len()).unwrap_or(i64::MAX))),
                ("looked", Cell::Int(n_looked)),
                ("broken", Cell::Int(n_broken)),
            ])
        })
    }
}

/// Programs whose rows are looked at now.
static UNDER_WAY: Mutex<BTreeSet<ProgramId>> = Mutex::new(BTreeSet::new());

/// Whoever looks at a program's rows, alone: a second reader would take as long again, and one who
/// has gone is not noticed before the next line.
struct Turn(ProgramId);

impl Turn {
    fn of(program_id: ProgramId) -> Option<Self> {
        let is_free = under_way().insert(program_id);
        is_free.then_some(Self(program_id))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        under_way().remove(&self.0);
    }
}

fn under_way() -> MutexGuard<'static, BTreeSet<ProgramId>> {
    // Nothing panics while it is held.
    UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks at one invariant. Where PostgreSQL takes too long for it, the others are still told.
async fn look(
    db: &mut PgConnection,
    invariant: &'static Invariant,
    ask: &Ask,
    beside: &Beside<'_>,
) -> Result<Judged, ReportError> {
    // A statement that is canceled spoils what it is in: here a part that is given up alone.
    let mut part = db.begin().await?;
    match judge(&mut part, invariant, ask, beside, &mut |_, _| ()).await {
        Ok(judged) => {
            part.commit().await?;
            Ok(judged)
        }
        Err(CheckError::Database(error)) if !is_canceled(&error) => Err(error.into()),
        Err(CheckError::Database(_) | CheckError::TooLong) => {
            part.rollback().await?;
            Ok(unlooked(invariant, "it takes longer than a report may"))
        }
    }
}

fn is_canceled(error: &sqlx::Error) -> bool {
    // Canceled for its time, or for that of a lock.
    let code = error.as_database_error().and_then(|e| e.code());
    code.is_some_and(|code| ["57014", "55P03"].contains(&code.as_ref()))
}

fn unlooked(invariant: &'static Invariant, why: &str) -> Judged {
    let not_looked = Some(format!("{why}; ask the run of the hour, or `tributary audit`"));
    Judged { invariant, n_looked: 0, n_broken: 0, first: Vec::new(), not_looked }
}

struct Row {
    judged: Judged,
    n_looked: i64,
    n_broken: i64,
    looked_at: Cell,
}

impl Row {
    /// Takes what was looked at now, else what the last run found.
    fn of(mut judged: Judged, kept: Option<&KeptRun>, params: &Params) -> Self {
        let mut looked_at = Cell::Time(params.now);
        if judged.not_looked.is_some() {
            looked_at = Cell::Empty;
            let found = kept.and_then(|run| run.findings.get(judged.invariant.name));
            if let (Some(run), Some(found)) = (kept, found) {
                let count = |n: i64| u64::try_from(n).unwrap_or(0);
                (judged.n_looked, judged.n_broken) = (count(found.n_looked), count(found.n_broken));
                judged.not_looked.clone_from(&found.not_looked);
                looked_at = Cell::Time(run.ended_at);
            }
        }
        let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let (n_looked, n_broken) = (count(judged.n_looked), count(judged.n_broken));
        Self { judged, n_looked, n_broken, looked_at }
    }

    fn cells(self) -> Vec<Cell> {
        let Judged { invariant, first, not_looked, .. } = &self.judged;
        let first = match not_looked {
            Some(why) => why.clone(),
            None => first.iter().map(told::row).collect::<Vec<_>>().join("; "),
        };
        vec![
            Cell::text(invariant.name),
            Cell::text(self.judged.status()),
            Cell::Int(self.n_looked),
            Cell::Int(self.n_broken),
            if first.is_empty() { Cell::Empty } else { Cell::Text(first) },
            self.looked_at,
            Cell::text(invariant.means),
            Cell::text(invariant.remedy),
        ]
    }
}
