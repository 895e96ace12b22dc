//! SQL of the sums of clicks: by hour, and by page.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, NaiveDate};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::settlement::click::row_store::Row;

/// What a batch adds.
pub(super) struct Sums<'a> {
    hours: Vec<(Hour<'a>, (i64, i64))>,
    landings: Landings<'a>,
}

impl<'a> Sums<'a> {
    /// Reckons the sums of clicks.
    pub(super) fn of(rows: &[Row<'a>]) -> Self {
        Self { hours: hours(rows), landings: landings(rows) }
    }

    /// Adds them to those that are there.
    pub(super) async fn add(&self, db: &mut PgConnection) -> Result<(), sqlx::Error> {
        add_hours(db, &self.hours).await?;
        add_landings(db, &self.landings).await
    }
}

type Hour<'a> = (Uuid, Uuid, Timestamp, i64, i16, &'a str);

/// Returns the clicks of each hour and those that are unique, in the order of the key: two settlers
/// that meet lock the sums one way only.
fn hours<'a>(rows: &[Row<'a>]) -> Vec<(Hour<'a>, (i64, i64))> {
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
    if sums.is_empty() {
        return Ok(());
    }
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
fn landings<'a>(rows: &[Row<'a>]) -> Landings<'a> {
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
