//! Clicks by binary COPY: the fast way for a batch in which every click is new.
//!
//! What the merge of `insert_clicks.sql` leaves to the database (which click of a visitor is the
//! first, the sums of each hour) is reckoned here, and the rows go in as a copy, which checks the
//! keys and nothing else. A click that is there already makes the whole copy fail; it is undone, and
//! the batch takes the way of the merge.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, NaiveDate};
use futures_util::future::join;
use sqlx::{Executor as _, PgConnection};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::db::copy::{RowFields, copy_rows};
use crate::settlement::click::{Click, Places};

const CLICKS: &str = "clicks (program_id, day, click_id, at, partner_id, link_number, class, reason, \
                      is_unique, device, browser, flags, country, referrer_host, sub1, sub2, sub3, \
                      sub4, sub5, erid, landing)";
const SEEN: &str = "seen_visitors (seen, day)";
const SEEN_KEY: &str = "seen_visitors_pkey";
/// SQLSTATE of a key that is there already.
const UNIQUE_VIOLATION: &str = "23505";

/// How often a copy is tried: another settler may have seen one of its visitors at the same moment.
const TRIES_MAX: u32 = 3;

/// Writes clicks with their hourly sums, if none of them is there yet; returns how many, or `None`
/// if some were, and nothing was written.
///
/// The days of the clicks have their partitions.
pub(super) async fn copy_clicks(
    db: &mut PgConnection,
    clicks: &[&Click],
) -> Result<Option<u64>, sqlx::Error> {
    for _ in 0..TRIES_MAX {
        db.execute("savepoint copied_clicks").await?;
        let known = match copy(db, clicks).await {
            Ok(n) => {
                db.execute("release savepoint copied_clicks").await?;
                return Ok(Some(n));
            }
            Err(error) => known_key(error)?,
        };
        db.execute("rollback to savepoint copied_clicks").await?;
        if known != SEEN_KEY {
            break;
        }
    }
    Ok(None)
}

/// Returns the constraint that found its key there already, if that is what the error says.
fn known_key(error: sqlx::Error) -> Result<String, sqlx::Error> {
    let told = error.as_database_error();
    let told = told.filter(|told| told.code().is_some_and(|code| code == UNIQUE_VIOLATION));
    match told.and_then(|told| told.constraint()).map(str::to_owned) {
        Some(constraint) => Ok(constraint),
        None => Err(error),
    }
}

async fn copy(db: &mut PgConnection, clicks: &[&Click]) -> Result<u64, sqlx::Error> {
    let rows = name_rows(db, clicks).await?;
    let rows = judge(db, rows).await?;
    // The sums are reckoned while the server reads the rows.
    let copying = copy_rows(db, CLICKS, &rows, write);
    let (copied, (hours, landings)) =
        join(copying, async { (hours(&rows), landings(&rows)) }).await;
    let n = copied?;
    add_hours(db, &hours).await?;
    add_landings(db, &landings).await?;
    Ok(n)
}

/// A click with the keys of its program and partner.
struct Row<'a> {
    program_id: Uuid,
    partner_id: Uuid,
    click: &'a Click,
    /// What names the visit, if it may be recognized.
    seen: Option<i64>,
    is_unique: bool,
}

/// Finds programs and partners; leaves out clicks without, and the second of two that are the same.
async fn name_rows<'a>(
    db: &mut PgConnection,
    clicks: &'a [&'a Click],
) -> Result<Vec<Row<'a>>, sqlx::Error> {
    let distinct = |number: fn(&Click) -> u32| -> Vec<i64> {
        let mut numbers: Vec<i64> = clicks.iter().map(|c| i64::from(number(c))).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    };
    let programs: HashMap<i64, Uuid> = sqlx::query!(
        r#"select number::bigint as "number!", program_id from programs
           where number = any ($1::bigint[])"#,
        &distinct(|c| c.program.0)
    )
    .fetch_all(&mut *db)
    .await?
    .into_iter()
    .map(|r| (r.number, r.program_id))
    .collect();
    let partners: HashMap<i64, Uuid> = sqlx::query!(
        r#"select number::bigint as "number!", partner_id from partners
           where number = any ($1::bigint[])"#,
        &distinct(|c| c.partner.0)
    )
    .fetch_all(&mut *db)
    .await?
    .into_iter()
    .map(|r| (r.number, r.partner_id))
    .collect();
    let mut places = Places::default();
    let named = clicks.iter().filter_map(|&click| {
        let program_id = *programs.get(&i64::from(click.program.0))?;
        let partner_id = *partners.get(&i64::from(click.partner.0))?;
        let seen = click.seen(&mut places);
        Some(Row { program_id, partner_id, click, seen, is_unique: false })
    });
    let mut rows: Vec<Row<'a>> = named.collect();
    // In the order of the key, which is also that of time: pages of the index fill one by one.
    rows.sort_by_key(|r| (r.click.day, r.program_id, r.click.click_id));
    rows.dedup_by_key(|r| (r.program_id, r.click.click_id));
    Ok(rows)
}

/// Decides which clicks are unique: the first of a visitor on a link that day, and each of a
/// person that asked not to be recognized.
async fn judge<'a>(
    db: &mut PgConnection,
    mut rows: Vec<Row<'a>>,
) -> Result<Vec<Row<'a>>, sqlx::Error> {
    let mut firsts: Vec<(i64, usize)> = Vec::with_capacity(rows.len());
    for (i, row) in rows.iter_mut().enumerate() {
        match row.seen {
            Some(seen) => firsts.push((seen, i)),
            None => row.is_unique = row.click.is_human(),
        }
    }
    // In order, as every settler: two that meet on one visitor wait for each other one way only.
    firsts.sort_unstable_by_key(|&(seen, i)| (seen, rows[i].click.at, rows[i].click.click_id));
    firsts.dedup_by_key(|(seen, _)| *seen);
    let mut known = sqlx::query_scalar!(
        "select seen from seen_visitors where seen = any ($1::bigint[])",
        &firsts.iter().map(|first| first.0).collect::<Vec<_>>(),
    )
    .fetch_all(&mut *db)
    .await?;
    known.sort_unstable();
    firsts.retain(|(seen, _)| known.binary_search(seen).is_err());
    for (_, i) in &firsts {
        rows[*i].is_unique = true;
    }
    let write = |to: &mut RowFields<'_>, &(seen, i): &(i64, usize)| {
        to.put(seen).put(rows[i].click.day);
    };
    copy_rows(db, SEEN, &firsts, write).await?;
    Ok(rows)
}

fn write(to: &mut RowFields<'_>, row: &Row<'_>) {
    let click = row.click;
    to.put(row.program_id).put(click.day).put(click.click_id).put(click.at).put(row.partner_id);
    to.put(i64::from(click.link.0)).put(click.class).put(click.reason).put(row.is_unique);
    to.put(click.device).put(click.browser).put(click.flags);
    to.put(click.country.as_ref()).put(click.referrer_host.as_ref());
    for sub in &click.subs {
        to.put(sub.as_ref());
    }
    to.put(click.erid.as_ref()).put(click.landing.as_ref());
}

type Hour<'a> = (Uuid, Uuid, Timestamp, i64, i16, &'a str);

/// Returns the clicks of each hour and those that are unique, in the order of the key, as the merge
/// has them: two settlers that meet lock the sums one way only.
fn hours<'a>(rows: &'a [Row<'a>]) -> Vec<(Hour<'a>, (i64, i64))> {
    let mut sums: HashMap<Hour<'_>, (i64, i64)> = HashMap::new();
    for row in rows {
        let click = row.click;
        let seconds = click.at.timestamp();
        let hour = DateTime::from_timestamp(seconds - seconds.rem_euclid(3600), 0);
        let country = click.country.as_deref().unwrap_or_default();
        let key = (
            row.program_id,
            row.partner_id,
            hour.unwrap_or(click.at),
            i64::from(click.link.0),
            click.class,
            country,
        );
        let sum = sums.entry(key).or_default();
        sum.0 += 1;
        sum.1 += i64::from(row.is_unique);
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_unstable();
    sums
}

async fn add_hours(
    db: &mut PgConnection,
    sums: &[(Hour<'_>, (i64, i64))],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into click_hours as h
             (program_id, partner_id, hour, link_number, class, country, n_clicks, n_unique)
         select * from unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::bigint[],
                              $5::smallint[], $6::text[], $7::bigint[], $8::bigint[])
         on conflict on constraint click_hours_pkey
         do update set n_clicks = h.n_clicks + excluded.n_clicks,
                       n_unique = h.n_unique + excluded.n_unique",
        &sums.iter().map(|(k, _)| k.0).collect::<Vec<_>>(),
        &sums.iter().map(|(k, _)| k.1).collect::<Vec<_>>(),
        &sums.iter().map(|(k, _)| k.2).collect::<Vec<_>>(),
        &sums.iter().map(|(k, _)| k.3).collect::<Vec<_>>(),
        &sums.iter().map(|(k, _)| k.4).collect::<Vec<_>>(),
        &sums.iter().map(|(k, _)| k.5.to_owned()).collect::<Vec<_>>(),
        &sums.iter().map(|(_, v)| v.0).collect::<Vec<_>>(),
        &sums.iter().map(|(_, v)| v.1).collect::<Vec<_>>(),
    )
    .execute(db)
    .await
    .map(drop)
}

type Landings<'a> = BTreeMap<(Uuid, Uuid, NaiveDate, &'a str), i64>;

/// Returns how many unique clicks went to each page.
fn landings<'a>(rows: &'a [Row<'a>]) -> Landings<'a> {
    let mut sums = Landings::new();
    for row in rows.iter().filter(|row| row.is_unique) {
        if let Some(landing) = &row.click.landing {
            let key = (row.program_id, row.partner_id, row.click.day, landing.as_str());
            *sums.entry(key).or_default() += 1;
        }
    }
    sums
}

async fn add_landings(db: &mut PgConnection, sums: &Landings<'_>) -> Result<(), sqlx::Error> {
    if sums.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into click_landings as l (program_id, partner_id, day, landing, n_unique)
         select * from unnest($1::uuid[], $2::uuid[], $3::date[], $4::text[], $5::bigint[])
         on conflict on constraint click_landings_pkey
         do update set n_unique = l.n_unique + excluded.n_unique",
        &sums.keys().map(|k| k.0).collect::<Vec<_>>(),
        &sums.keys().map(|k| k.1).collect::<Vec<_>>(),
        &sums.keys().map(|k| k.2).collect::<Vec<_>>(),
        &sums.keys().map(|k| k.3.to_owned()).collect::<Vec<_>>(),
        &sums.values().copied().collect::<Vec<_>>(),
    )
    .execute(db)
    .await
    .map(drop)
}
