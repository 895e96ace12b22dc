//! SQL of incidents and of days that were judged.

use chrono::NaiveDate;
use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::ids::{IncidentId, PartnerId, ProgramId};

/// An incident as it stands.
#[derive(Clone, Debug)]
pub struct Incident {
    /// The program.
    pub program_id: ProgramId,
    /// Key of the row.
    pub incident_id: IncidentId,
    /// `network`, `destination` (one page, or the landing page is proven to be broken) or
    /// `country`.
    pub kind: String,
    /// The country's code or the page, else empty.
    pub subject: String,
    /// Open or over.
    pub status: String,
    /// First day.
    pub since: NaiveDate,
    /// The hour in which it began, where clicks tell it.
    pub began_at: Option<Timestamp>,
    /// The last day on which it was seen.
    pub seen_on: NaiveDate,
    /// The first day on which it was not.
    pub ended_on: Option<NaiveDate>,
    /// Partners whose fall it explains.
    pub n_partners: i32,
    /// Partners that could be judged.
    pub n_judged: i32,
    /// What happened, in a sentence.
    pub text: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What a day saw of an incident.
#[derive(Clone, Debug)]
pub struct Sighting<'a> {
    /// Network, destination or country.
    pub kind: &'a str,
    /// The country's code or the page, else empty.
    pub subject: &'a str,
    /// First day.
    pub since: NaiveDate,
    /// The hour in which it began.
    pub began_at: Option<Timestamp>,
    /// Partners whose fall it explains.
    pub n_partners: i32,
    /// Partners that could be judged.
    pub n_judged: i32,
    /// What happened.
    pub text: String,
}

/// Opens an incident or renews the open one of the subject, whose first day stays; returns its id
/// and whether it is new.
pub async fn see_incident(
    db: &mut PgConnection,
    program_id: ProgramId,
    day: NaiveDate,
    s: &Sighting<'_>,
    now: Timestamp,
) -> Result<(IncidentId, bool), sqlx::Error> {
    let fresh = IncidentId::new();
    let id = sqlx::query_scalar!(
        r#"insert into incidents
             (program_id, incident_id, kind, subject, since, seen_on, n_partners, n_judged, text,
              created_at, updated_at, began_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, $11)
         on conflict (program_id, subject) where status = 'open' do update
         set kind = excluded.kind, seen_on = excluded.seen_on, n_partners = excluded.n_partners,
             n_judged = excluded.n_judged, text = excluded.text, updated_at = excluded.updated_at,
             began_at = coalesce(incidents.began_at, excluded.began_at)
         returning incident_id as "incident_id: IncidentId""#,
        program_id.0,
        fresh.0,
        s.kind,
        s.subject,
        s.since,
        day,
        s.n_partners,
        s.n_judged,
        s.text,
        now,
        s.began_at,
    )
    .fetch_one(db)
    .await?;
    Ok((id, id == fresh))
}

/// Ends the open incidents that the day did not see; returns them.
pub async fn end_unseen(
    db: &mut PgConnection,
    program_id: ProgramId,
    day: NaiveDate,
    now: Timestamp,
) -> Result<Vec<IncidentId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"update incidents
         set status = 'over', ended_on = $2, updated_at = $3
         where program_id = $1 and status = 'open' and seen_on < $2
         returning incident_id as "incident_id: IncidentId""#,
        program_id.0,
        day,
        now,
    )
    .fetch_all(db)
    .await
}

/// Lists the incidents of a program, oldest first.
pub async fn list_incidents(
    db: &mut PgConnection,
    program_id: ProgramId,
    status: Option<&str>,
    after: Option<IncidentId>,
    limit: i64,
) -> Result<Vec<Incident>, sqlx::Error> {
    sqlx::query_as!(
        Incident,
        r#"select program_id as "program_id: ProgramId", incident_id as "incident_id: IncidentId",
                  kind, subject, status, since, began_at, seen_on, ended_on, n_partners, n_judged, text,
                  created_at
           from incidents
           where program_id = $1
             and ($2::text is null or status = $2)
             and ($3::uuid is null or incident_id > $3)
           order by incident_id
           limit $4"#,
        program_id.0,
        status,
        after.map(|a| a.0),
        limit,
    )
    .fetch_all(db)
    .await
}

/// Returns the last day of a program that was acted on.
pub async fn last_day(
    db: &mut PgConnection,
    program_id: ProgramId,
) -> Result<Option<NaiveDate>, sqlx::Error> {
    sqlx::query_scalar!("select max(day) from decline_days where program_id = $1", program_id.0)
        .fetch_one(db)
        .await
}

/// What a day came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DayCounts {
    /// Partners that could be judged.
    pub n_judged: i32,
    /// Partners on the list.
    pub n_listed: i32,
    /// Cases opened.
    pub n_opened: i32,
    /// Listed partners that an incident explains.
    pub n_explained: i32,
}

/// Claims a day of a program: false if another did it. A second instance waits here until the
/// first has ended.
pub async fn insert_day(
    db: &mut PgConnection,
    program_id: ProgramId,
    day: NaiveDate,
    counts: DayCounts,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "insert into decline_days
             (program_id, day, n_judged, n_listed, n_opened, n_explained, judged_at)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict on constraint decline_days_pkey do nothing",
        program_id.0,
        day,
        counts.n_judged,
        counts.n_listed,
        counts.n_opened,
        counts.n_explained,
        now,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes a listed partner that got no case.
pub async fn insert_note(
    db: &mut PgConnection,
    program_id: ProgramId,
    day: NaiveDate,
    partner_id: PartnerId,
    (severity, since): (&str, NaiveDate),
    incident_id: Option<IncidentId>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into decline_notes (program_id, day, partner_id, severity, since, incident_id)
         values ($1, $2, $3, $4, $5, $6)",
        program_id.0,
        day,
        partner_id.0,
        severity,
        since,
        incident_id.map(|i| i.0),
    )
    .execute(db)
    .await
    .map(drop)
}

/// Returns the country from which most of a partner's clicks came since a day.
pub async fn list_main_countries(
    db: &mut PgConnection,
    program_id: ProgramId,
    since: NaiveDate,
) -> Result<Vec<(PartnerId, String)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select distinct on (partner_id) partner_id as "partner_id: PartnerId", country
           from click_hours
           where program_id = $1 and country <> '' and hour >= $2::date
           group by partner_id, country
           order by partner_id, sum(n_unique) desc, country"#,
        program_id.0,
        since,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|r| (r.partner_id, r.country)).collect())
}

/// Returns the page of each partner to which more than half of its clicks went since a day;
/// partners whose visitors mostly see the program's own landing page are left out.
pub async fn list_main_pages(
    db: &mut PgConnection,
    program_id: ProgramId,
    since: NaiveDate,
) -> Result<Vec<(PartnerId, String)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"with totals as (
               select partner_id, sum(n_unique) as n from click_hours
               where program_id = $1 and class = 0 and hour >= $2::date
               group by partner_id
           ), pages as (
               select partner_id, landing, sum(n_unique) as n from click_landings
               where program_id = $1 and day >= $2
               group by partner_id, landing
           )
           select p.partner_id as "partner_id: PartnerId", p.landing
           from pages p
           join totals t on t.partner_id = p.partner_id
           where 2 * p.n > t.n"#,
        program_id.0,
        since,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|r| (r.partner_id, r.landing)).collect())
}

/// Returns the unique clicks of people on the links of some partners, by hour.
pub async fn list_hours(
    db: &mut PgConnection,
    program_id: ProgramId,
    partners: &[PartnerId],
    (from, until): (Timestamp, Timestamp),
) -> Result<Vec<(Timestamp, i64)>, sqlx::Error> {
    let ids: Vec<uuid::Uuid> = partners.iter().map(|id| id.0).collect();
    let rows = sqlx::query!(
        r#"select hour, sum(n_unique)::bigint as "n!"
           from click_hours
           where program_id = $1 and partner_id = any ($2) and class = 0
             and hour >= $3 and hour < $4
           group by hour"#,
        program_id.0,
        &ids,
        from,
        until,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|r| (r.hour, r.n)).collect())
}
