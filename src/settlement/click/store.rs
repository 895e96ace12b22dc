//! SQL of settling clicks: a set at a time, each click once.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use chrono::NaiveDate;
use foldhash::HashSet;
use futures_util::future::join;
use sqlx::PgConnection;

use crate::db::copy::COPY_MIN;
use crate::settlement::click::name_store;
use crate::settlement::click::row_store::{self, Row};
use crate::settlement::click::sum_store::Sums;
use crate::settlement::click::visitors::Visitors;
use crate::settlement::click::{Adding, Click, ClickMemory, visitor_store};

/// Writes clicks with their hourly sums; returns how many were new.
///
/// A click whose program and partner are unknown is left out: its token was signed by us, so the
/// row was deleted by hand. What is there already changes nothing, sums included. Sums of few clicks are
/// added now, whatever `adding` says.
pub async fn insert_clicks(
    db: &mut PgConnection,
    memory: &ClickMemory,
    clicks: &[&Click],
    adding: Adding,
) -> Result<u64, sqlx::Error> {
    if clicks.is_empty() {
        return Ok(0);
    }
    for day in clicks.iter().map(|c| c.day).collect::<BTreeSet<NaiveDate>>() {
        sqlx::query!("select ensure_click_day($1)", day).execute(&mut *db).await?;
    }
    let ClickMemory { names, visitors } = memory;
    let keys = name_store::find(db, names, clicks).await?;
    let days = clicks.iter().filter(|click| click.may_be_recognized()).map(|click| click.day);
    let days: BTreeSet<NaiveDate> = days.collect();
    // Rows are made while the server looks for visitors.
    let naming = async { row_store::name_rows(clicks, &keys) };
    let (learned, mut rows) = join(visitor_store::learn(db, visitors, &days), naming).await;
    learned?;
    let mut sums = Sums::default();
    let mut is_written = false;
    if rows.len() >= COPY_MIN {
        let (judge, mut failed) = (Judge::new(visitors), None);
        let (rows, sums) = (rows.iter_mut(), &mut sums);
        is_written = row_store::copy(db, Judged { rows, judge, sums, failed: &mut failed }).await?;
        if let Some(error) = failed {
            return Err(error.into());
        }
    }
    if !is_written {
        let mut judge = Judge::new(visitors);
        rows.iter_mut().try_for_each(|row| judge.decide(row))?;
        let written = row_store::merge(db, &rows).await?;
        rows.retain(|row| written.contains(&(row.program_id, row.click.click_id)));
        sums = Sums::of(&rows);
    }
    // Sums are sorted while the server looks whether another settler met the same visitors.
    let sorting = async { sums.sorted() };
    let (n_known, mut sums) = join(remember(db, visitors, &mut rows), sorting).await;
    if n_known? > 0 {
        sums = Sums::of(&rows).sorted();
    }
    // Of a few clicks there is little to gain, and who counts them need not wait.
    let adding = if rows.len() >= COPY_MIN { adding } else { Adding::Now };
    sums.write(db, adding).await?;
    Ok(rows.len() as u64)
}

/// Decides which clicks are unique: the first of a visitor on a link that day, and each of a person
/// that asked not to be recognized. It is asked in the order of time.
struct Judge<'a> {
    /// Whom batches before have seen.
    visitors: &'a Visitors,
    /// Whom this one has.
    met: HashSet<(NaiveDate, i64)>,
}

impl<'a> Judge<'a> {
    fn new(visitors: &'a Visitors) -> Self {
        Self { visitors, met: HashSet::default() }
    }

    fn decide(&mut self, row: &mut Row<'_>) -> io::Result<()> {
        row.is_unique = match row.seen {
            Some(name) => {
                let day = row.click.day;
                self.met.insert((day, name)) && !self.visitors.has_seen(day, name)?
            }
            None => row.click.is_human(),
        };
        Ok(())
    }
}

/// Rows that are judged and summed up one by one, while the server reads those before; they end at the
/// first that cannot be judged.
struct Judged<'r, 'a> {
    rows: std::slice::IterMut<'r, Row<'a>>,
    judge: Judge<'r>,
    sums: &'r mut Sums<'a>,
    failed: &'r mut Option<io::Error>,
}

impl<'r, 'a> Iterator for Judged<'r, 'a> {
    type Item = &'r Row<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.rows.next()?;
        if let Err(error) = self.judge.decide(row) {
            *self.failed = Some(error);
            return None;
        }
        self.sums.add(row);
        Some(row)
    }
}

/// Writes down the visitors of the clicks that were judged unique; returns how many of these are not,
/// after all: another settler saw their visitors meanwhile.
async fn remember(
    db: &mut PgConnection,
    visitors: &Arc<Visitors>,
    rows: &mut [Row<'_>],
) -> Result<usize, sqlx::Error> {
    let days: BTreeSet<NaiveDate> = named(rows).map(|(day, _)| day).collect();
    if days.is_empty() {
        return Ok(0);
    }
    visitor_store::lock(db, &days).await?;
    let mut known = Vec::new();
    if visitor_store::learn(db, visitors, &days).await? > 0 {
        for row in rows.iter_mut().filter(|row| row.is_unique) {
            let day = row.click.day;
            if let Some(name) = row.seen
                && visitors.has_seen(day, name)?
            {
                row.is_unique = false;
                known.push((row.program_id, day, row.click.click_id));
            }
        }
    }
    if !known.is_empty() {
        row_store::set_known(db, &known).await?;
    }
    let mut runs: BTreeMap<NaiveDate, Vec<u8>> = BTreeMap::new();
    named(rows).for_each(|(day, name)| runs.entry(day).or_default().extend(name.to_be_bytes()));
    visitor_store::insert_runs(db, runs).await?;
    Ok(known.len())
}

/// Returns what names the visits that are unique and may be recognized.
fn named(rows: &[Row<'_>]) -> impl Iterator<Item = (NaiveDate, i64)> {
    let unique = rows.iter().filter(|row| row.is_unique);
    unique.filter_map(|row| row.seen.map(|name| (row.click.day, name)))
}

/// Forgets pages of days before `day`: incidents look back a quarter.
pub async fn forget_landings(db: &mut PgConnection, day: NaiveDate) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!("delete from click_landings where day < $1", day).execute(db).await?;
    Ok(done.rows_affected())
}
