//! What the detector is fed with, read from the settled sums: the clicks of all partners day by day,
//! and whole series of the few that are told about.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use chrono::{Days, NaiveDate};
use sqlx::PgConnection;
use tributary_decline::CountrySeries;

use super::{Day, PartnerSeries};
use crate::click::classify::Class;
use crate::ids::{CaseId, PartnerId, ProgramId};
use crate::partner::KINDS;
use crate::report::Params;

/// Days that a partner's clicks are priced by, and in which its links are looked for.
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
    /// The case of its fall that was open on the day; read for listed partners alone.
    pub case_id: Option<CaseId>,
    /// The series; empty where nobody asked, and once the detector has it.
    pub series: PartnerSeries,
}

impl Subject {
    /// Returns what a click has earned the partner, minor units; one that never sold has none.
    pub fn earned_per_click(&self) -> f64 {
        self.earned_minor as f64 / self.n_clicks.max(1) as f64
    }

    /// Returns how many sales a click has brought.
    pub fn sales_per_click(&self) -> f64 {
        self.n_sales as f64 / self.n_clicks.max(1) as f64
    }
}

/// Returns the date of a day of the series that begins on `first`.
pub(super) fn date(first: NaiveDate, day: Day) -> NaiveDate {
    first.checked_add_days(Days::new(day as u64)).unwrap_or(NaiveDate::MAX)
}

/// Countries of a partner that are told apart, those with the most clicks.
const COUNTRIES_MAX: usize = 3;

/// Reads these partners with their series of `n_days` from `first` on.
pub(super) async fn read_subjects(
    db: &mut PgConnection,
    params: &Params,
    (first, n_days): (NaiveDate, usize),
    only: &[PartnerId],
) -> Result<Vec<Subject>, sqlx::Error> {
    let last = date(first, n_days - 1);
    let mut subjects = read_partners(db, params, last, Some(only)).await?;
    let places: HashMap<PartnerId, usize> =
        subjects.iter().enumerate().map(|(n, s)| (s.partner_id, n)).collect();
    for subject in &mut subjects {
        let series = &mut subject.series;
        let PartnerSeries { clicks, conversions, links_created, logins, .. } = series;
        for counts in [clicks, conversions, links_created, logins] {
            counts.resize(n_days, 0);
        }
    }
    for row in read_clicks(db, params, (first, last), only).await? {
        let Some(&place) = places.get(&row.partner_id) else { continue };
        let series = &mut subjects[place].series;
        row.add_to(&mut series.clicks);
        if !row.what.is_empty() {
            let mut clicks = vec![0; n_days];
            row.add_to(&mut clicks);
            series.countries.push(CountrySeries { name: row.what, clicks });
        }
    }
    for row in read_activity(db, params, (first, last), only).await? {
        let Some(&place) = places.get(&row.partner_id) else { continue };
        let series = &mut subjects[place].series;
        row.add_to(match row.what.as_str() {
            "conversions" => &mut series.conversions,
            "logins" => &mut series.logins,
            _ => &mut series.links_created,
        });
    }
    for absence in read_absences(db, params, first, Some(only)).await? {
        if let Some(&place) = places.get(&absence.partner_id) {
            subjects[place].series.away.push(absence.days(first));
        }
    }
    for s in &mut subjects {
        // A partner begins with its first click: before it there is nothing to judge.
        s.series.joined_on = s.series.clicks.iter().position(|&n| n > 0).unwrap_or(0);
        s.n_clicks = total(&s.series.clicks[n_days.saturating_sub(DAYS as usize)..]);
        s.series.countries.sort_by_key(|c| std::cmp::Reverse(total(&c.clicks)));
        s.series.countries.truncate(COUNTRIES_MAX);
    }
    Ok(subjects)
}

fn total(counts: &[u32]) -> i64 {
    counts.iter().map(|&n| i64::from(n)).sum()
}

/// Reads the active partners, all or some, in the order of their ids.
pub(super) async fn read_partners(
    db: &mut PgConnection,
    params: &Params,
    last: NaiveDate,
    only: Option<&[PartnerId]>,
) -> Result<Vec<Subject>, sqlx::Error> {
    let only = only.map(uuids);
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
                 and ($6::uuid[] is null or c.partner_id = any ($6))
                 and c.state not in ('rejected', 'reversed')
                 and (c.occurred_at at time zone $3)::date between $4 and $5
               group by c.partner_id) s on s.partner_id = p.partner_id
           where e.program_id = $1 and e.status = 'active' and p.status = 'active'
             and ($6::uuid[] is null or e.partner_id = any ($6))
           order by p.partner_id"#,
        params.program_id.0,
        params.currency.code(),
        params.window.time_zone.name(),
        last.checked_sub_days(Days::new(DAYS - 1)).unwrap_or(NaiveDate::MIN),
        last,
        only.as_deref(),
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| Subject {
            partner_id: r.partner_id,
            name: r.name,
            series: PartnerSeries { kind: kind_number(&r.kind), ..PartnerSeries::default() },
            kind: r.kind,
            rank: r.rank,
            owner: r.owner,
            next_contact_due: r.next_contact_due,
            earned_minor: r.earned_minor,
            n_sales: r.n_sales,
            n_clicks: 0,
            links: Links::default(),
            case_id: None,
        })
        .collect())
}

/// Returns the number of a kind.
fn kind_number(kind: &str) -> u8 {
    KINDS.iter().position(|known| *known == kind).map_or(0, |n| n as u8)
}

pub(super) fn uuids(ids: &[PartnerId]) -> Vec<uuid::Uuid> {
    ids.iter().map(|id| id.0).collect()
}

/// Reads everybody who takes part in the program, with the number of the kind, in the order of their
/// ids.
pub(super) async fn read_ids(
    db: &mut PgConnection,
    program_id: ProgramId,
) -> Result<Vec<(PartnerId, u8)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select p.partner_id as "partner_id: PartnerId", p.kind
           from enrollments e
           join partners p on p.partner_id = e.partner_id
           where e.program_id = $1
           order by p.partner_id"#,
        program_id.0,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|r| (r.partner_id, kind_number(&r.kind))).collect())
}

/// Reads who is active, in the order of their ids.
pub(super) async fn read_active(
    db: &mut PgConnection,
    program_id: ProgramId,
) -> Result<Vec<PartnerId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select e.partner_id as "partner_id: PartnerId"
           from enrollments e
           join partners p on p.partner_id = e.partner_id
           where e.program_id = $1 and e.status = 'active' and p.status = 'active'
           order by e.partner_id"#,
        program_id.0,
    )
    .fetch_all(db)
    .await
}

/// A declared absence.
pub(super) struct AbsenceRow {
    pub(super) partner_id: PartnerId,
    from_on: NaiveDate,
    to_on: NaiveDate,
}

impl AbsenceRow {
    /// Returns its days in a series that begins on `first`.
    pub(super) fn days(&self, first: NaiveDate) -> RangeInclusive<Day> {
        let index = |day: NaiveDate| usize::try_from((day - first).num_days()).unwrap_or(0);
        index(self.from_on)..=index(self.to_on)
    }
}

/// Reads the absences, of all partners or some, that end on `first` or later.
pub(super) async fn read_absences(
    db: &mut PgConnection,
    params: &Params,
    first: NaiveDate,
    only: Option<&[PartnerId]>,
) -> Result<Vec<AbsenceRow>, sqlx::Error> {
    let only = only.map(uuids);
    sqlx::query_as!(
        AbsenceRow,
        r#"select partner_id as "partner_id: PartnerId", from_on, to_on
           from absences
           where program_id = $1 and to_on >= $2
             and ($3::uuid[] is null or partner_id = any ($3))
           order by partner_id, from_on"#,
        params.program_id.0,
        first,
        only.as_deref(),
    )
    .fetch_all(db)
    .await
}

/// Reads the day of the program's first unique click of a person.
pub(super) async fn read_beginning(
    db: &mut PgConnection,
    params: &Params,
) -> Result<Option<NaiveDate>, sqlx::Error> {
    // The first hour by the index; nearly always it is one of people already.
    sqlx::query_scalar!(
        r#"select (hour at time zone $2)::date as "day!"
           from click_hours
           where program_id = $1 and class = $3 and n_unique > 0
           order by hour
           limit 1"#,
        params.program_id.0,
        params.window.time_zone.name(),
        i16::from(Class::Human.code()),
    )
    .fetch_optional(db)
    .await
}

/// Clicks of a partner on some days, counted from the first of them.
#[derive(Debug)]
pub(super) struct DayClicks {
    pub(super) partner_id: PartnerId,
    days: Vec<i32>,
    counts: Vec<i64>,
}

impl DayClicks {
    /// Gives each day that is not empty, with its clicks.
    pub(super) fn each(&self, mut take: impl FnMut(Day, u32)) {
        for (&day, &n) in self.days.iter().zip(&self.counts) {
            if let Ok(day) = usize::try_from(day) {
                take(day, u32::try_from(n).unwrap_or(u32::MAX));
            }
        }
    }
}

/// Reads the unique clicks of people on the days from `from` to before `until`.
pub(super) async fn read_day_clicks(
    db: &mut PgConnection,
    params: &Params,
    from: NaiveDate,
    until: NaiveDate,
) -> Result<Vec<DayClicks>, sqlx::Error> {
    sqlx::query_as!(
        DayClicks,
        r#"select partner_id as "partner_id!: PartnerId",
                  array_agg(day) as "days!", array_agg(n) as "counts!"
           from (
               select h.partner_id, (h.hour at time zone $2)::date - $3 as day,
                      sum(h.n_unique)::bigint as n
               from click_hours h
               where h.program_id = $1 and h.class = $5
                 and h.hour >= $3::date::timestamp at time zone $2
                 and h.hour < $4::date::timestamp at time zone $2
               group by 1, 2) counted
           group by partner_id"#,
        params.program_id.0,
        params.window.time_zone.name(),
        from,
        until,
        i16::from(Class::Human.code()),
    )
    .fetch_all(db)
    .await
}

/// Reads the conversions by click of partners that have `at_least` so many on the days from `from`
/// to `last`, counted from `from`.
pub(super) async fn read_conversions(
    db: &mut PgConnection,
    params: &Params,
    (from, last): (NaiveDate, NaiveDate),
    at_least: i64,
) -> Result<Vec<DayClicks>, sqlx::Error> {
    sqlx::query_as!(
        DayClicks,
        r#"select partner_id as "partner_id!: PartnerId",
                  array_agg(day) as "days!", array_agg(n) as "counts!"
           from (
               -- A shared one counts for each partner that has a part.
               select s.partner_id, (v.occurred_at at time zone $2)::date - $3 as day,
                      count(*) as n
               from conversions v
               cross join lateral parts_of(
                   v.path, v.partner_id, v.link_number, v.click_at, v.click_id) s
               where v.program_id = $1 and v.attribution = 'click' and not v.is_test
                 and v.occurred_at >= $3::date::timestamp at time zone $2
                 and v.occurred_at < ($4::date + 1)::timestamp at time zone $2
               group by 1, 2) counted
           group by partner_id
           having sum(n) >= $5::bigint"#,
        params.program_id.0,
        params.window.time_zone.name(),
        from,
        last,
        at_least,
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
    (first, last): (NaiveDate, NaiveDate),
    only: &[PartnerId],
) -> Result<Vec<CountsRow>, sqlx::Error> {
    sqlx::query_as!(
        CountsRow,
        r#"select partner_id as "partner_id!: PartnerId", country as "what!",
                  array_agg(day) as "days!", array_agg(n) as "counts!"
           from (
               select h.partner_id, h.country, (h.hour at time zone $2)::date - $3 as day,
                      sum(h.n_unique)::bigint as n
               from click_hours h
               where h.program_id = $1 and h.partner_id = any ($6) and h.class = $5
                 and h.hour >= $3::date::timestamp at time zone $2
                 and h.hour < ($4::date + 1)::timestamp at time zone $2
               group by 1, 2, 3) counted
           group by partner_id, country"#,
        params.program_id.0,
        params.window.time_zone.name(),
        first,
        last,
        i16::from(Class::Human.code()),
        &uuids(only),
    )
    .fetch_all(db)
    .await
}

/// Conversions by click, links made and logins.
async fn read_activity(
    db: &mut PgConnection,
    params: &Params,
    (first, last): (NaiveDate, NaiveDate),
    only: &[PartnerId],
) -> Result<Vec<CountsRow>, sqlx::Error> {
    sqlx::query_as!(
        CountsRow,
        r#"select partner_id as "partner_id!: PartnerId", what as "what!",
                  array_agg(day - $3) as "days!", array_agg(n) as "counts!"
           from (
               select s.partner_id, (v.occurred_at at time zone $2)::date as day,
                      'conversions' as what, count(*) as n
               from conversions v
               cross join lateral parts_of(
                   v.path, v.partner_id, v.link_number, v.click_at, v.click_id) s
               where v.program_id = $1 and (v.partner_id = any ($5) or v.path is not null)
                 and s.partner_id = any ($5)
                 and v.attribution = 'click' and not v.is_test
               group by 1, 2
               union all
               select l.partner_id, (l.created_at at time zone $2)::date, 'links', count(*)
               from links l
               where l.program_id = $1 and l.partner_id = any ($5)
               group by 1, 2
               union all
               select g.partner_id, g.day, 'logins', g.n_logins
               from partner_logins g
               where g.program_id = $1 and g.partner_id = any ($5)) counted
           where day between $3 and $4
           group by partner_id, what"#,
        params.program_id.0,
        params.window.time_zone.name(),
        first,
        last,
        &uuids(only),
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
        &uuids(partners),
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
