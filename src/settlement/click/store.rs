//! SQL of settling clicks: a set at a time, each click once.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use futures_util::future::join;
use sqlx::PgConnection;

use crate::db::copy::COPY_MIN;
use crate::settlement::click::row_store::{self, Row};
use crate::settlement::click::sum_store::Sums;
use crate::settlement::click::visitors::Visitors;
use crate::settlement::click::{Click, visitor_store};

/// Writes clicks with their hourly sums; returns how many were new.
///
/// A click whose program and partner are unknown is left out: its token was signed by us, so the
/// row was deleted by hand. What is there already changes nothing, sums included.
pub async fn insert_clicks(
    db: &mut PgConnection,
    visitors: &Visitors,
    clicks: &[&Click],
) -> Result<u64, sqlx::Error> {
    if clicks.is_empty() {
        return Ok(0);
    }
    for day in clicks.iter().map(|c| c.day).collect::<BTreeSet<NaiveDate>>() {
        sqlx::query!("select ensure_click_day($1)", day).execute(&mut *db).await?;
    }
    let mut rows = row_store::name_rows(db, clicks).await?;
    judge(db, visitors, &mut rows).await?;
    // The sums are reckoned while the server reads the rows.
    let (written, mut sums) = if rows.len() >= COPY_MIN {
        join(row_store::copy(db, &rows), async { Some(Sums::of(&rows)) }).await
    } else {
        (Ok(false), None)
    };
    if !written? {
        let written = row_store::merge(db, &rows).await?;
        rows.retain(|row| written.contains(&(row.program_id, row.click.click_id)));
        sums = None;
    }
    if remember(db, visitors, &mut rows).await? > 0 {
        sums = None;
    }
    sums.unwrap_or_else(|| Sums::of(&rows)).add(db).await?;
    Ok(rows.len() as u64)
}

/// Decides which clicks are unique: the first of a visitor on a link that day, and each of a person
/// that asked not to be recognized.
async fn judge(
    db: &mut PgConnection,
    visitors: &Visitors,
    rows: &mut [Row<'_>],
) -> Result<(), sqlx::Error> {
    let mut firsts: Vec<((NaiveDate, i64), usize)> = Vec::with_capacity(rows.len());
    for (i, row) in rows.iter_mut().enumerate() {
        match row.seen {
            Some(name) => firsts.push(((row.click.day, name), i)),
            None => row.is_unique = row.click.is_human(),
        }
    }
    let days: BTreeSet<NaiveDate> = firsts.iter().map(|((day, _), _)| *day).collect();
    if days.is_empty() {
        return Ok(());
    }
    visitor_store::learn(db, visitors, &days).await?;
    firsts.sort_unstable_by_key(|&(name, i)| (name, rows[i].click.at, rows[i].click.click_id));
    firsts.dedup_by_key(|(name, _)| *name);
    let (names, places): (Vec<_>, Vec<_>) = firsts.into_iter().unzip();
    for (is_seen, i) in visitors.have_seen(&names).into_iter().zip(places) {
        rows[i].is_unique = !is_seen;
    }
    Ok(())
}

/// Writes down the visitors of the clicks that were judged unique; returns how many of these are not,
/// after all: another settler saw their visitors meanwhile.
async fn remember(
    db: &mut PgConnection,
    visitors: &Visitors,
    rows: &mut [Row<'_>],
) -> Result<usize, sqlx::Error> {
    let mut new: Vec<((NaiveDate, i64), usize)> = Vec::new();
    for (i, row) in rows.iter().enumerate().filter(|(_, row)| row.is_unique) {
        new.extend(row.seen.map(|name| ((row.click.day, name), i)));
    }
    let days: BTreeSet<NaiveDate> = new.iter().map(|((day, _), _)| *day).collect();
    if days.is_empty() {
        return Ok(0);
    }
    visitor_store::lock(db, &days).await?;
    visitor_store::learn(db, visitors, &days).await?;
    let (names, places): (Vec<_>, Vec<_>) = new.into_iter().unzip();
    let mut runs: BTreeMap<NaiveDate, Vec<u8>> = BTreeMap::new();
    let mut known = Vec::new();
    for ((is_seen, (day, name)), i) in visitors.have_seen(&names).into_iter().zip(names).zip(places)
    {
        if is_seen {
            rows[i].is_unique = false;
            known.push(i);
        } else {
            runs.entry(day).or_default().extend(name.to_be_bytes());
        }
    }
    if !known.is_empty() {
        let key = |i: &usize| (rows[*i].program_id, rows[*i].click.day, rows[*i].click.click_id);
        row_store::set_known(db, &known.iter().map(key).collect::<Vec<_>>()).await?;
    }
    visitor_store::insert_runs(db, runs).await?;
    Ok(known.len())
}

/// Forgets pages of days before `day`: incidents look back a quarter.
pub async fn forget_landings(db: &mut PgConnection, day: NaiveDate) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!("delete from click_landings where day < $1", day).execute(db).await?;
    Ok(done.rows_affected())
}
