//! SQL of who was seen on a link that day: runs of names, as they were settled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::NaiveDate;
use futures_util::TryStreamExt as _;
use sqlx::PgConnection;

use crate::settlement::click::DAY_0;
use crate::settlement::click::visitors::Visitors;

/// The first half of the lock of a day; the other is the day.
const LOCK: i32 = 1_986_622_580;
/// A run of fewer bytes is joined with others.
const SMALL_BYTES: i32 = 64 * 1024;
/// So many small runs are worth it.
const SMALL_RUNS_MIN: i64 = 100;
/// The last runs are left alone, by their numbers: who settles has read all but these, and reads no
/// name again.
const LAST_RUNS: i64 = 1000;
/// What is joined has about so many bytes: who reads holds one run in memory.
const JOINED_BYTES: i64 = 1024 * 1024;

/// Reads what was settled of these days since the last time; returns how many runs that were.
pub async fn learn(
    db: &mut PgConnection,
    visitors: &Arc<Visitors>,
    days: &BTreeSet<NaiveDate>,
) -> Result<usize, sqlx::Error> {
    let (days, read_to): (Vec<_>, Vec<_>) = visitors.read_to(days).into_iter().unzip();
    let mut runs = sqlx::query!(
        r#"select r.day as "day!", r.run_no as "run_no!", r.names as "names!"
           from unnest($1::date[], $2::bigint[]) as n (day, read_to)
           join visitor_runs r on r.day = n.day and r.run_no > n.read_to
           order by r.day, r.run_no"#,
        &days,
        &read_to,
    )
    .fetch(db);
    let mut n_read = 0;
    // One by one: those of a whole day may be a hundred megabytes.
    while let Some(run) = runs.try_next().await? {
        if visitors.add(run.day, run.run_no, &run.names) {
            let visitors = Arc::clone(visitors);
            let putting = tokio::task::spawn_blocking(move || visitors.put_away(run.day));
            putting.await.map_err(std::io::Error::other)?;
        }
        n_read += 1;
    }
    Ok(n_read)
}

/// Waits until nobody else settles new visitors of these days; ends with the transaction. Runs get
/// their numbers under it, so that who has read one has read all before it.
pub async fn lock(db: &mut PgConnection, days: &BTreeSet<NaiveDate>) -> Result<(), sqlx::Error> {
    for day in days {
        let day = i32::try_from((*day - DAY_0).num_days()).unwrap_or(i32::MAX);
        sqlx::query!("select pg_advisory_xact_lock($1, $2)", LOCK, day).execute(&mut *db).await?;
    }
    Ok(())
}

/// Writes a run of each day: names of eight bytes each. The days are locked.
pub async fn insert_runs(
    db: &mut PgConnection,
    runs: BTreeMap<NaiveDate, Vec<u8>>,
) -> Result<(), sqlx::Error> {
    if runs.is_empty() {
        return Ok(());
    }
    let (days, names): (Vec<_>, Vec<_>) = runs.into_iter().unzip();
    sqlx::query!(
        "insert into visitor_runs (day, names) select * from unnest($1::date[], $2::bytea[])",
        &days,
        &names,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Makes few runs of many small ones, as quiet hours leave them: who starts reads them all.
pub async fn join_runs(db: &mut PgConnection, day: NaiveDate) -> Result<u64, sqlx::Error> {
    let joined = sqlx::query!(
        "with small as materialized (
             select run_no, sum(octet_length(names)) over (order by run_no) / $5::bigint as part
             from visitor_runs
             where day = $1 and octet_length(names) < $2
               and run_no <= (select max(run_no) from visitor_runs where day = $1) - $4::bigint),
         gone as (
             delete from visitor_runs r using small s
             where r.day = $1 and r.run_no = s.run_no
               and (select count(*) from small) >= $3
             returning s.part, r.run_no, r.names)
         insert into visitor_runs (day, run_no, names) overriding system value
         -- By the last number: who has read to one before it reads the others once more.
         select $1, max(run_no), string_agg(names, '') from gone group by part",
        day,
        SMALL_BYTES,
        SMALL_RUNS_MIN,
        LAST_RUNS,
        JOINED_BYTES,
    )
    .execute(db)
    .await?;
    Ok(joined.rows_affected())
}

/// Forgets visitors of days before `day`: their salts are gone, so no click can match them.
pub async fn forget_visitors(db: &mut PgConnection, day: NaiveDate) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!("delete from visitor_runs where day < $1", day).execute(db).await?;
    Ok(done.rows_affected())
}
