//! SQL of the sums of clicks: by hour, and by page.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate};
use foldhash::HashMap;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::settlement::click::Adding;
use crate::settlement::click::row_store::Row;

/// Batches whose sums are added at once, at most.
const BATCHES_ADDED_MAX: i64 = 64;

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
        SortedSums { hours: Columns::of(&hours), landings: self.landings }
    }
}

/// What a batch adds, in the order in which it is added.
pub(super) struct SortedSums<'a> {
    hours: Columns,
    landings: Landings<'a>,
}

impl SortedSums<'_> {
    /// Adds them to those that are there.
    pub(super) async fn write(
        &self,
        db: &mut PgConnection,
        adding: Adding,
    ) -> Result<(), sqlx::Error> {
        if self.hours.programs.is_empty() {
            return Ok(());
        }
        match adding {
            Adding::Now => add_hours(db, &self.hours).await?,
            Adding::Later => put_aside(db, &self.hours).await?,
        }
        add_landings(db, &self.landings).await
    }
}

/// Sums by hour as PostgreSQL takes them: an array of each column.
#[derive(Default)]
struct Columns {
    programs: Vec<Uuid>,
    partners: Vec<Uuid>,
    hours: Vec<Timestamp>,
    links: Vec<i64>,
    classes: Vec<i16>,
    countries: Vec<String>,
    n_clicks: Vec<i64>,
    n_unique: Vec<i64>,
}

impl Columns {
    fn of(sums: &[(Hour<'_>, (i64, i64))]) -> Self {
        let mut columns = Self::default();
        for ((program, partner, hour, link, class, country), (n_clicks, n_unique)) in sums {
            columns.programs.push(*program);
            columns.partners.push(*partner);
            columns.hours.push(*hour);
            columns.links.push(*link);
            columns.classes.push(*class);
            columns.countries.push((*country).to_owned());
            columns.n_clicks.push(*n_clicks);
            columns.n_unique.push(*n_unique);
        }
        columns
    }
}

/// A statement that takes the columns, in their order.
macro_rules! write_columns {
    ($db:expr, $sums:expr, $sql:literal) => {
        sqlx::query!(
            $sql,
            &$sums.programs,
            &$sums.partners,
            &$sums.hours,
            &$sums.links,
            &$sums.classes,
            &$sums.countries,
            &$sums.n_clicks,
            &$sums.n_unique,
        )
        .execute($db)
        .await
        .map(drop)
    };
}

async fn add_hours(db: &mut PgConnection, sums: &Columns) -> Result<(), sqlx::Error> {
    write_columns!(
        db,
        sums,
        "insert into click_hours as h
             (program_id, partner_id, hour, link_number, class, country, n_clicks, n_unique)
         select * from unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::bigint[],
                              $5::smallint[], $6::text[], $7::bigint[], $8::bigint[])
         on conflict on constraint click_hours_pkey
         do update set n_clicks = h.n_clicks + excluded.n_clicks,
                       n_unique = h.n_unique + excluded.n_unique"
    )
}

async fn put_aside(db: &mut PgConnection, sums: &Columns) -> Result<(), sqlx::Error> {
    write_columns!(
        db,
        sums,
        "insert into click_sums_waiting
             (program_ids, partner_ids, hours, link_numbers, classes, countries, n_clicks, n_unique)
         values ($1, $2, $3, $4, $5, $6, $7, $8)"
    )
}

/// Adds the sums that batches have put aside to those of the hours; tells whether all that waited are
/// added. Whoever does it at the same moment waits, and finds them gone.
///
/// # Errors
/// As a statement of SQL; all of them wait on then.
pub async fn add_waiting(db: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let n_batches = sqlx::query_scalar!(
        r#"with batches as (
               delete from click_sums_waiting
               where batch_no in (select batch_no from click_sums_waiting order by batch_no limit $1)
               returning *),
           added as (
               insert into click_hours as h
                   (program_id, partner_id, hour, link_number, class, country, n_clicks, n_unique)
               select s.program_id, s.partner_id, s.hour, s.link_number, s.class, s.country,
                      sum(s.n_clicks)::bigint, sum(s.n_unique)::bigint
               from batches b
               cross join lateral unnest(
                   b.program_ids, b.partner_ids, b.hours, b.link_numbers, b.classes, b.countries,
                   b.n_clicks, b.n_unique)
                   as s (program_id, partner_id, hour, link_number, class, country, n_clicks, n_unique)
               group by 1, 2, 3, 4, 5, 6
               -- As a batch adds its own: two that meet lock the sums one way only.
               order by 1, 2, 3, 4, 5, s.country collate "C"
               on conflict on constraint click_hours_pkey
               do update set n_clicks = h.n_clicks + excluded.n_clicks,
                             n_unique = h.n_unique + excluded.n_unique)
           select count(*) as "n!" from batches"#,
        BATCHES_ADDED_MAX,
    )
    .fetch_one(db)
    .await?;
    Ok(n_batches < BATCHES_ADDED_MAX)
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
