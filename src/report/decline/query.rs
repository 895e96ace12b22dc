//! What the detector is fed with, read from the settled sums: one series for each partner.

use std::collections::HashMap;

use chrono::{Days, NaiveDate};
use sqlx::PgConnection;

use super::{Day, PartnerSeries};
use crate::click::classify::Class;
use crate::ids::PartnerId;
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
    let n_days = DAYS as usize;
    let index = |day: NaiveDate| usize::try_from((day - first).num_days()).ok();
    for row in read_days(db, params, first, last).await? {
        let place = places.get(&row.partner_id).copied();
        let (Some(place), Some(day)) = (place, index(row.day)) else { continue };
        let series = &mut subjects[place].series;
        let count = u32::try_from(row.n).unwrap_or(u32::MAX);
        let of = match row.what.as_str() {
            "clicks" => &mut series.clicks,
            "conversions" => &mut series.conversions,
            _ => &mut series.links_created,
        };
        if let Some(cell) = of.get_mut(day) {
            *cell = count;
        }
    }
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
        s.n_clicks = s.series.clicks.iter().map(|&n| i64::from(n)).sum();
        begun.is_some()
    });
    Ok(Reading { first, n_days, subjects })
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
            kind: r.kind,
            rank: r.rank,
            owner: r.owner,
            next_contact_due: r.next_contact_due,
            earned_minor: r.earned_minor,
            n_sales: r.n_sales,
            n_clicks: 0,
            series: PartnerSeries {
                joined_on: 0,
                clicks: empty(),
                conversions: empty(),
                links_created: empty(),
                logins: empty(),
                countries: Vec::new(),
                away: Vec::new(),
                faults: Vec::new(),
            },
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

struct DayRow {
    partner_id: PartnerId,
    day: NaiveDate,
    what: String,
    n: i64,
}

/// The days that are not empty: unique clicks of people, conversions, links made.
async fn read_days(
    db: &mut PgConnection,
    params: &Params,
    first: NaiveDate,
    last: NaiveDate,
) -> Result<Vec<DayRow>, sqlx::Error> {
    sqlx::query_as!(
        DayRow,
        r#"select partner_id as "partner_id!: PartnerId", day as "day!", what as "what!",
                  sum(n)::bigint as "n!"
           from (
               select h.partner_id, (h.hour at time zone $2)::date as day, 'clicks' as what,
                      h.n_unique as n
               from click_hours h
               where h.program_id = $1 and h.class = $5
               union all
               select v.partner_id, (v.occurred_at at time zone $2)::date, 'conversions', 1
               from conversions v
               where v.program_id = $1 and v.attribution = 'click' and not v.is_test
               union all
               select l.partner_id, (l.created_at at time zone $2)::date, 'links', 1
               from links l
               where l.program_id = $1) counted
           where partner_id is not null and day between $3 and $4
           group by partner_id, day, what"#,
        params.program_id.0,
        params.window.time_zone.name(),
        first,
        last,
        i16::from(Class::Human.code()),
    )
    .fetch_all(db)
    .await
}
