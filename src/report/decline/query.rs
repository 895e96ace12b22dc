//! What the detector is fed with, read from the settled sums: one series for each partner.

use std::collections::HashMap;

use chrono::{Days, NaiveDate};
use sqlx::PgConnection;

use super::{CountrySeries, Day, PartnerSeries};
use crate::click::classify::Class;
use crate::ids::PartnerId;
use crate::partner::KINDS;
use crate::report::Params;

/// Days of history that are read: a year and the five weeks around the same season.
pub(super) const DAYS: u64 = 400;

/// A partner of the program, with its series.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The partner.
    pub partner_id: PartnerId,
    /// What people call it.
    pub name: String,
    /// Webmaster, dealer, integrator or other.
    pub kind: String,
    /// A to D.
    pub rank: String,
    /// Who looks after it.
    pub owner: Option<String>,
    /// When to be in touch next.
    pub next_contact_due: Option<NaiveDate>,
    /// Commissions of its conversions in the days that were read, minor units.
    pub earned_minor: i64,
    /// Sales in the same days.
    pub n_sales: i64,
    /// Clicks in the same days.
    pub n_clicks: i64,
    /// Its links that bring people; read for listed partners alone.
    pub links: Links,
    /// The series; empty once the detector has it.
    pub series: PartnerSeries,
}

/// The series of all partners up to and including `last`.
pub(super) struct Reading {
    pub first: NaiveDate,
    pub n_days: usize,
    pub subjects: Vec<Subject>,
}

/// Returns the date of a day of the series that begins on `first`.
pub(super) fn date(first: NaiveDate, day: Day) -> NaiveDate {
    first.checked_add_days(Days::new(day as u64)).unwrap_or(NaiveDate::MAX)
}

/// Countries of a partner that are told apart, those with the most clicks.
const COUNTRIES_MAX: usize = 3;

/// Reads the series of every active partner that has ever had a click in the days read.
pub(super) async fn read(
    db: &mut PgConnection,
    params: &Params,
    last: NaiveDate,
) -> Result<Reading, sqlx::Error> {
    let first = last.checked_sub_days(Days::new(DAYS - 1)).unwrap_or(NaiveDate::MIN);
    let mut subjects = read_partners(db, params, first, last).await?;
    let places: HashMap<PartnerId, usize> =
        subjects.iter().enumerate().map(|(n, s)| (s.partner_id, n)).collect();
    for row in read_clicks(db, params, first, last).await? {
        let Some(&place) = places.get(&row.partner_id) else { continue };
        let series = &mut subjects[place].series;
        row.add_to(&mut series.clicks);
        if !row.what.is_empty() {
            let mut clicks = vec![0; DAYS as usize];
            row.add_to(&mut clicks);
            series.countries.push(CountrySeries { name: row.what, clicks });
        }
    }
    for row in read_activity(db, params, first, last).await? {
        let Some(&place) = places.get(&row.partner_id) else { continue };
        let series = &mut subjects[place].series;
        row.add_to(match row.what.as_str() {
            "conversions" => &mut series.conversions,
            "logins" => &mut series.logins,
            _ => &mut series.links_created,
        });
    }
    let n_days = DAYS as usize;
    let index = |day: NaiveDate| usize::try_from((day - first).num_days()).ok();
    for absence in read_absences(db, params, first, last).await? {
        let days = index(absence.from_on).unwrap_or(0)..=index(absence.to_on).unwrap_or(n_days - 1);
        if let Some(place) = places.get(&absence.partner_id) {
            subjects[*place].series.away.push(days);
        }
    }
    // A partner begins with its first click: before it there is nothing to judge.
    subjects.retain_mut(|s| {
        let begun = s.series.clicks.iter().position(|&n| n > 0);
        s.series.joined_on = begun.unwrap_or(0);
        s.n_clicks = total(&s.series.clicks);
        s.series.countries.sort_by_key(|c| std::cmp::Reverse(total(&c.clicks)));
        s.series.countries.truncate(COUNTRIES_MAX);
        begun.is_some()
    });
    Ok(Reading { first, n_days, subjects })
}

fn total(counts: &[u32]) -> i64 {
    counts.iter().map(|&n| i64::from(n)).sum()
}

async fn read_partners(
    db: &mut PgConnection,
    params: &Params,
    first: NaiveDate,
    last: NaiveDate,
) -> Result<Vec<Subject>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select p.partner_id as "partner_id: PartnerId", p.name, p.kind, e.rank, e.owner,
                  e.next_contact_due,
                  coalesce(s.earned_minor, 0)::bigint as "earned_minor!",
                  coalesce(s.n_sales, 0)::bigint as "n_sales!"
           from enrollments e
           join partners p on p.partner_id = e.partner_id
           left join (
               select c.partner_id, sum(c.amount_minor) as earned_minor,
                      count(*) filter (where c.kind = 'earned') as n_sales
               from commissions c
               where c.program_id = $1 and c.currency = $2
                 and c.state not in ('rejected', 'reversed')
                 and (c.occurred_at at time zone $3)::date between $4 and $5
               group by c.partner_id) s on s.partner_id = p.partner_id
           where e.program_id = $1 and e.status = 'active' and p.status = 'active'
           order by p.partner_id"#,
        params.program_id.0,
        params.currency.code(),
        params.window.time_zone.name(),
        first,
        last,
    )
    .fetch_all(db)
    .await?;
    let empty = || vec![0; DAYS as usize];
    Ok(rows
        .into_iter()
        .map(|r| Subject {
            partner_id: r.partner_id,
            name: r.name,
            series: PartnerSeries {
                kind: KINDS.iter().position(|k| *k == r.kind).map_or(0, |n| n as u8),
                joined_on: 0,
                clicks: empty(),
                conversions: empty(),
                links_created: empty(),
                logins: empty(),
                countries: Vec::new(),
                away: Vec::new(),
                faults: Vec::new(),
            },
            kind: r.kind,
            rank: r.rank,
            owner: r.owner,
            next_contact_due: r.next_contact_due,
            earned_minor: r.earned_minor,
            n_sales: r.n_sales,
            n_clicks: 0,
            links: Links::default(),
        })
        .collect())
}

struct AbsenceRow {
    partner_id: PartnerId,
    from_on: NaiveDate,
    to_on: NaiveDate,
}

/// Declared absences that lie in the days at least in part.
async fn read_absences(
    db: &mut PgConnection,
    params: &Params,
    first: NaiveDate,
    last: NaiveDate,
) -> Result<Vec<AbsenceRow>, sqlx::Error> {
    sqlx::query_as!(
        AbsenceRow,
        r#"select partner_id as "partner_id: PartnerId", from_on, to_on
           from absences
           where program_id = $1 and to_on >= $2 and from_on <= $3
           order by partner_id, from_on"#,
        params.program_id.0,
        first,
        last,
    )
    .fetch_all(db)
    .await
}

/// One kind of count of a partner on the days that are not empty, in one row: a hundredth of the
/// rows, of which most of the time of reading went into.
struct CountsRow {
    partner_id: PartnerId,
    what: String,
    days: Vec<i32>,
    counts: Vec<i64>,
}

impl CountsRow {
    fn add_to(&self, series: &mut [u32]) {
        for (&day, &n) in self.days.iter().zip(&self.counts) {
            let cell = usize::try_from(day).ok().and_then(|day| series.get_mut(day));
            if let Some(cell) = cell {
                *cell = cell.saturating_add(u32::try_from(n).unwrap_or(u32::MAX));
            }
        }
    }
}

/// Unique clicks of people by country; `what` is the country, empty where it is not known.
async fn read_clicks(
    db: &mut PgConnection,
    params: &Params,
    first: NaiveDate,
    last: NaiveDate,
) -> Result<Vec<CountsRow>, sqlx::Error> {
    sqlx::query_as!(
        CountsRow,
        r#"select partner_id as "partner_id!: PartnerId", country as "what!",
                  array_agg(day) as "days!", array_agg(n) as "counts!"
           from (
               select h.partner_id, h.country, (h.hour at time zone $2)::date - $3 as day,
                      sum(h.n_unique)::bigint as n
               from click_hours h
               where h.program_id = $1 and h.class = $5
                 and h.hour >= $3::date::timestamp at time zone $2
                 and h.hour < ($4::date + 1)::timestamp at time zone $2
               group by 1, 2, 3) counted
           group by partner_id, country"#,
        params.program_id.0,
        params.window.time_zone.name(),
        first,
        last,
        i16::from(Class::Human.code()),
    )
    .fetch_all(db)
    .await
}

/// Conversions by click, links made and logins.
async fn read_activity(
    db: &mut PgConnection,
    params: &Params,
    first: NaiveDate,
    last: NaiveDate,
) -> Result<Vec<CountsRow>, sqlx::Error> {
    sqlx::query_as!(
        CountsRow,
        r#"select partner_id as "partner_id!: PartnerId", what as "what!",
                  array_agg(day - $3) as "days!", array_agg(n) as "counts!"
           from (
               select v.partner_id, (v.occurred_at at time zone $2)::date as day,
                      'conversions' as what, count(*) as n
               from conversions v
               where v.program_id = $1 and v.attribution = 'click' and not v.is_test
               group by 1, 2
               union all
               select l.partner_id, (l.created_at at time zone $2)::date, 'links', count(*)
               from links l
               where l.program_id = $1
               group by 1, 2
               union all
               select g.partner_id, g.day, 'logins', g.n_logins
               from partner_logins g
               where g.program_id = $1) counted
           where partner_id is not null and day between $3 and $4
           group by partner_id, what"#,
        params.program_id.0,
        params.window.time_zone.name(),
        first,
        last,
    )
    .fetch_all(db)
    .await
}

/// How many links of a partner still bring people, and how many no longer do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// With a click in the last 28 days.
    pub live: i64,
    /// With a click before them in the days read, and none since.
    pub dead: i64,
}

/// Days without a click after which a link is dead.
pub(super) const LINK_DAYS: u64 = 28;

/// Reads the links of these partners that ever brought a click in the days read.
pub(super) async fn read_links(
    db: &mut PgConnection,
    params: &Params,
    partners: &[PartnerId],
    last: NaiveDate,
) -> Result<HashMap<PartnerId, Links>, sqlx::Error> {
    let back = |days: u64| last.checked_sub_days(Days::new(days - 1)).unwrap_or(NaiveDate::MIN);
    let ids: Vec<uuid::Uuid> = partners.iter().map(|id| id.0).collect();
    let rows = sqlx::query!(
        r#"select partner_id as "partner_id!: PartnerId",
                  count(*) filter (where last_click >= $4::date) as "live!",
                  count(*) filter (where last_click < $4::date) as "dead!"
           from (
               select h.partner_id, h.link_number, max((h.hour at time zone $3)::date) as last_click
               from click_hours h
               where h.program_id = $1 and h.partner_id = any ($2) and h.class = $7
                 and h.n_unique > 0
                 and h.hour >= $5::date::timestamp at time zone $3
                 and h.hour < ($6::date + 1)::timestamp at time zone $3
               group by 1, 2) links
           group by partner_id"#,
        params.program_id.0,
        &ids,
        params.window.time_zone.name(),
        back(LINK_DAYS),
        back(DAYS),
        last,
        i16::from(Class::Human.code()),
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|r| (r.partner_id, Links { live: r.live, dead: r.dead })).collect())
}
