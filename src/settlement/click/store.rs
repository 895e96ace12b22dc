//! SQL of settling clicks: a set at a time, each click once.

use std::collections::BTreeSet;

use chrono::NaiveDate;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::db::copy::COPY_MIN;
use crate::settlement::click::copy_store::copy_clicks;
use crate::settlement::click::{Click, Places};

/// Writes clicks with their hourly sums; returns how many were new.
///
/// A click whose program and partner are unknown is left out: its token was signed by us, so the
/// row was deleted by hand. What is there already changes nothing, sums included.
pub async fn insert_clicks(db: &mut PgConnection, clicks: &[&Click]) -> Result<u64, sqlx::Error> {
    if clicks.is_empty() {
        return Ok(0);
    }
    for day in clicks.iter().map(|c| c.day).collect::<BTreeSet<NaiveDate>>() {
        sqlx::query!("select ensure_click_day($1)", day).execute(&mut *db).await?;
    }
    if clicks.len() >= COPY_MIN
        && let Some(n_new) = copy_clicks(db, clicks).await?
    {
        return Ok(n_new);
    }
    merge(db, clicks).await
}

/// Writes the clicks that are not there yet.
async fn merge(db: &mut PgConnection, clicks: &[&Click]) -> Result<u64, sqlx::Error> {
    let mut places = Places::default();
    let long = |f: fn(&Click) -> i64| clicks.iter().copied().map(f).collect::<Vec<_>>();
    let short = |f: fn(&Click) -> i16| clicks.iter().copied().map(f).collect::<Vec<_>>();
    let text =
        |f: fn(&Click) -> &Option<String>| clicks.iter().map(|c| f(c).clone()).collect::<Vec<_>>();
    sqlx::query_file_scalar!(
        "src/settlement/click/insert_clicks.sql",
        &long(|c| i64::from(c.program.0)),
        &long(|c| i64::from(c.partner.0)),
        &long(|c| i64::from(c.link.0)),
        &clicks.iter().map(|c| c.click_id).collect::<Vec<Uuid>>(),
        &clicks.iter().map(|c| c.at).collect::<Vec<_>>(),
        &clicks.iter().map(|c| c.day).collect::<Vec<_>>(),
        &short(|c| c.class),
        &short(|c| c.reason),
        &short(|c| c.device),
        &short(|c| c.browser),
        &short(|c| c.flags),
        &clicks.iter().map(|c| c.seen(&mut places)).collect::<Vec<_>>() as &[Option<i64>],
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
    .fetch_one(db)
    .await
    .map(|n| u64::try_from(n).unwrap_or(0))
}

/// Forgets visitors of days before `day`: their salts are gone, so no click can match them.
pub async fn forget_visitors(db: &mut PgConnection, day: NaiveDate) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!("delete from seen_visitors where day < $1", day).execute(db).await?;
    Ok(done.rows_affected())
}

/// Forgets pages of days before `day`: incidents look back a quarter.
pub async fn forget_landings(db: &mut PgConnection, day: NaiveDate) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!("delete from click_landings where day < $1", day).execute(db).await?;
    Ok(done.rows_affected())
}
