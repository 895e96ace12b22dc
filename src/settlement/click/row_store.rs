//! SQL of the rows of clicks: by binary COPY, the fast way for a batch in which every click is new, or
//! by a merge that leaves out what is there.

use std::collections::HashSet;

use chrono::NaiveDate;
use sqlx::{Executor as _, PgConnection};
use uuid::Uuid;

use crate::db::copy::{RowFields, copy_rows};
use crate::settlement::click::names::Keys;
use crate::settlement::click::{Click, Places};

const CLICKS: &str = "clicks (program_id, day, click_id, at, partner_id, link_number, class, reason, \
                      is_unique, device, browser, flags, country, referrer_host, sub1, sub2, sub3, \
                      sub4, sub5, erid, landing)";

/// A click with the keys of its program and partner.
pub(super) struct Row<'a> {
    pub(super) program_id: Uuid,
    pub(super) partner_id: Uuid,
    pub(super) click: &'a Click,
    /// What names the visit, if it may be recognized.
    pub(super) seen: Option<i64>,
    pub(super) is_unique: bool,
}

/// Makes a row of each click; leaves out those whose program or partner is not there, and the second of
/// two that are the same.
pub(super) fn name_rows<'a>(clicks: &'a [&'a Click], keys: &Keys) -> Vec<Row<'a>> {
    let mut places = Places::default();
    let named = clicks.iter().filter_map(|&click| {
        let (program_id, partner_id) = keys.of(click)?;
        let seen = click.seen(&mut places);
        Some(Row { program_id, partner_id, click, seen, is_unique: false })
    });
    let mut rows: Vec<Row<'a>> = named.collect();
    // In the order of the key, which is also that of time within a program: pages of the index fill one
    // by one, and who comes first is met first.
    rows.sort_by_key(|r| (r.click.day, r.program_id, r.click.click_id));
    rows.dedup_by_key(|r| (r.program_id, r.click.click_id));
    rows
}

/// Copies the rows, if none of them is there yet; otherwise writes nothing and returns `false`, maybe
/// before it has taken all of them.
pub(super) async fn copy<'r, 'a: 'r>(
    db: &mut PgConnection,
    rows: impl Iterator<Item = &'r Row<'a>>,
) -> Result<bool, sqlx::Error> {
    db.execute("savepoint copied_clicks").await?;
    match copy_rows(db, CLICKS, rows, write).await {
        Ok(_) => {
            db.execute("release savepoint copied_clicks").await?;
            Ok(true)
        }
        Err(error) if error.as_database_error().is_some_and(|told| told.is_unique_violation()) => {
            db.execute("rollback to savepoint copied_clicks").await?;
            Ok(false)
        }
        Err(error) => Err(error),
    }
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

/// Inserts the rows that are not there yet and returns their keys: program and click.
pub(super) async fn merge(
    db: &mut PgConnection,
    rows: &[Row<'_>],
) -> Result<HashSet<(Uuid, Uuid)>, sqlx::Error> {
    let long = |f: fn(&Row<'_>) -> i64| rows.iter().map(f).collect::<Vec<_>>();
    let short = |f: fn(&Row<'_>) -> i16| rows.iter().map(f).collect::<Vec<_>>();
    let text = |f: fn(&Click) -> &Option<String>| {
        rows.iter().map(|row| f(row.click).clone()).collect::<Vec<_>>()
    };
    let written = sqlx::query_file!(
        "src/settlement/click/merge_clicks.sql",
        &rows.iter().map(|r| r.program_id).collect::<Vec<_>>(),
        &rows.iter().map(|r| r.click.day).collect::<Vec<_>>(),
        &rows.iter().map(|r| r.click.click_id).collect::<Vec<_>>(),
        &rows.iter().map(|r| r.click.at).collect::<Vec<_>>(),
        &rows.iter().map(|r| r.partner_id).collect::<Vec<_>>(),
        &long(|r| i64::from(r.click.link.0)),
        &short(|r| r.click.class),
        &short(|r| r.click.reason),
        &rows.iter().map(|r| r.is_unique).collect::<Vec<_>>(),
        &short(|r| r.click.device),
        &short(|r| r.click.browser),
        &short(|r| r.click.flags),
        &text(|c| &c.country) as &[Option<String>],
        &text(|c| &c.referrer_host) as &[Option<String>],
        &text(|c| &c.subs[0]) as &[Option<String>],
        &text(|c| &c.subs[1]) as &[Option<String>],
        &text(|c| &c.subs[2]) as &[Option<String>],
        &text(|c| &c.subs[3]) as &[Option<String>],
        &text(|c| &c.subs[4]) as &[Option<String>],
        &text(|c| &c.erid) as &[Option<String>],
        &text(|c| &c.landing) as &[Option<String>],
    )
    .fetch_all(db)
    .await?;
    Ok(written.into_iter().map(|row| (row.program_id, row.click_id)).collect())
}

/// Marks clicks whose visitor was seen before: program, day, click.
pub(super) async fn set_known(
    db: &mut PgConnection,
    clicks: &[(Uuid, NaiveDate, Uuid)],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update clicks c set is_unique = false
         from unnest($1::uuid[], $2::date[], $3::uuid[]) as n (program_id, day, click_id)
         where c.program_id = n.program_id and c.day = n.day and c.click_id = n.click_id",
        &clicks.iter().map(|c| c.0).collect::<Vec<_>>(),
        &clicks.iter().map(|c| c.1).collect::<Vec<_>>(),
        &clicks.iter().map(|c| c.2).collect::<Vec<_>>(),
    )
    .execute(db)
    .await
    .map(drop)
}
