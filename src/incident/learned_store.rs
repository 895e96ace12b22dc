//! SQL of what the detector learned: begun before the days are read, so that a change that comes
//! meanwhile is noted, and filled in afterwards.

use chrono::{Days, NaiveDate};
use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::db::DbTx;
use crate::ids::ProgramId;
use crate::report::decline::VERSION;

/// Days for which reports find what was learned.
const LEARNED_DAYS: u64 = 40;
/// Two weeks' ends: if clicks settle late for the last week, the one before still holds.
const STATE_DAYS: u64 = 14;

/// A day of a program that is to be learned.
#[derive(Clone, Copy, Debug)]
pub struct LearnedDay<'a> {
    /// The program.
    pub program_id: ProgramId,
    /// The day.
    pub day: NaiveDate,
    /// Whose midnight begins a day.
    pub time_zone: &'a str,
}

/// Begins to learn a day that ends at `until`; what was learned of it before is gone.
pub async fn begin(
    db: &mut DbTx,
    day: LearnedDay<'_>,
    until: Timestamp,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!("select lock_decline($1, true)", day.program_id.0).fetch_one(&mut **db).await?;
    sqlx::query!(
        "delete from decline_learned where program_id = $1 and day = $2",
        day.program_id.0,
        day.day,
    )
    .execute(&mut **db)
    .await?;
    sqlx::query!(
        "insert into decline_learned (program_id, day, until, time_zone, version, begun_at)
         values ($1, $2, $3, $4, $5, $6)",
        day.program_id.0,
        day.day,
        until,
        day.time_zone,
        VERSION,
        now,
    )
    .execute(&mut **db)
    .await
    .map(drop)
}

/// Keeps what reports need of a day, and forgets days that nobody asks for.
pub async fn keep(
    db: &mut PgConnection,
    day: LearnedDay<'_>,
    learned: &[u8],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update decline_learned set learned = $3 where program_id = $1 and day = $2",
        day.program_id.0,
        day.day,
        learned,
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        "delete from decline_learned where program_id = $1 and day < $2",
        day.program_id.0,
        day.day - Days::new(LEARNED_DAYS),
    )
    .execute(db)
    .await
    .map(drop)
}

/// Keeps the states of some partners at the end of a week.
pub async fn keep_block(
    db: &mut PgConnection,
    day: LearnedDay<'_>,
    block: i32,
    states: &[u8],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into decline_states (program_id, day, block, states) values ($1, $2, $3, $4)",
        day.program_id.0,
        day.day,
        block,
        states,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Keeps the head, when all blocks are there, and forgets older states.
pub async fn keep_head(
    db: &mut PgConnection,
    day: LearnedDay<'_>,
    head: &[u8],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update decline_learned set head = $3 where program_id = $1 and day = $2",
        day.program_id.0,
        day.day,
        head,
    )
    .execute(&mut *db)
    .await?;
    let oldest = day.day - Days::new(STATE_DAYS);
    sqlx::query!(
        "update decline_learned set head = null
         where program_id = $1 and day < $2 and head is not null",
        day.program_id.0,
        oldest,
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        "delete from decline_states where program_id = $1 and day < $2",
        day.program_id.0,
        oldest,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Tells whether a day is to be learned again: what was kept of it does not hold, and nobody has
/// begun since then.
pub async fn is_stale(
    db: &mut PgConnection,
    day: LearnedDay<'_>,
    since: Timestamp,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select not exists (
               select 1 from decline_learned
               where program_id = $1 and day = $2
                 and (begun_at > $5
                      or learned is not null and not has_changed and time_zone = $3
                         and version = $4)) as "is_stale!""#,
        day.program_id.0,
        day.day,
        day.time_zone,
        VERSION,
        since,
    )
    .fetch_one(db)
    .await
}
