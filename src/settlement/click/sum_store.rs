//! SQL of the sums of clicks: by hour, and by page.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate};
use foldhash::HashMap;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::settlement::click::row_store::Row;

/// What a batch adds.
#[derive(Default)]
pub(super) struct Sums<'a> {
    hours: HashMap<Hour<'a>, (i64, i64)>,
    landings: Landings<'a>,
}

/// Program, partner, hour, link, class, country.
type Hour<'a> = (Uuid, Uuid, Timestamp, i64, i16, &'a str);

/// Unique clicks by program, partner, day, page.
type Landings<'a> = BTreeMap<(Uuid, Uuid, NaiveDate, &'a str), i64>;

impl<'a> Sums<'a> {
    /// Reckons the sums of clicks.
    pub(super) fn of(rows: &[Row<'a>]) -> Self {
        let mut sums = Self::default();
        rows.iter().for_each(|row| sums.add(row));
        sums
    }

    /// Adds a click.
    pub(super) fn add(&mut self, row: &Row<'a>) {
        let click = row.click;
        let seconds = click.at.timestamp();
        let hour = DateTime::from_timestamp(seconds - seconds.rem_euclid(3600), 0);
        let key = (
            row.program_id,
            row.partner_id,
            hour.unwrap_or(click.at),
            i64::from(click.link.0),
            click.class,
            click.country.as_deref().unwrap_or_default(),
        );
        let sum = self.hours.entry(key).or_default();
        sum.0 += 1;
        sum.1 += i64::from(row.is_unique);
        if row.is_unique
            && let Some(landing) = &click.landing
        {
            let key = (row.program_id, row.partner_id, click.day, landing.as_str());
            *self.landings.entry(key).or_default() += 1;
        }
    }

    /// Puts them in the order of the key: two settlers that meet lock the sums one way only.
    pub(super) fn sorted(self) -> SortedSums<'a> {
        let mut hours: Vec<_> = self.hours.into_iter().collect();
        hours.sort_unstable();
        SortedSums { hours, landings: self.landings }
    }
}

/// What a batch adds, in the order in which it is added.
pub(super) struct SortedSums<'a> {
    hours: Vec<(Hour<'a>, (i64, i64))>,
    landings: Landings<'a>,
}

impl SortedSums<'_> {
    /// Adds them to those that are there.
    pub(super) async fn write(&self, db: &mut PgConnection) -> Result<(), sqlx::Error> {
        add_hours(db, &self.hours).await?;
        add_landings(db, &self.landings).await
    }
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
