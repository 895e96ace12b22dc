//! SQL of cases, their contacts and their days.

use chrono::NaiveDate;
use sqlx::PgConnection;
use uuid::Uuid;

use super::case::{Accuracy, Case, Kind, Listing};
use super::effect::Course;
use super::plan::Known;
use crate::clock::Timestamp;
use crate::ids::{CaseId, IncidentId, PartnerId, ProgramId};

/// Which cases to list.
#[derive(Clone, Debug, Default)]
pub struct CaseFilter {
    /// The programs that the key reaches; all where none are given.
    pub reach: Option<Vec<Uuid>>,
    /// One program.
    pub program_id: Option<ProgramId>,
    /// One case.
    pub case_id: Option<CaseId>,
    /// One status.
    pub status: Option<String>,
    /// One owner.
    pub owner: Option<String>,
    /// Only open ones that were due before this day.
    pub due_before: Option<NaiveDate>,
}

/// Lists cases in the order of their opening.
pub async fn list_cases(
    db: &mut PgConnection,
    filter: &CaseFilter,
    after: Option<CaseId>,
    limit: i64,
) -> Result<Vec<Case>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select c.program_id as "program_id: ProgramId", c.case_id as "case_id: CaseId",
                  c.partner_id as "partner_id: PartnerId", p.name as partner_name, c.kind,
                  c.status, c.owner, c.opened_on, c.due_on, c.severity, c.opened_severity, c.since,
                  c.judged_on, c.expected_28d, c.observed_28d, c.share_lost_percent,
                  c.lost_to_date, c.lost_next_28d, c.p_value, c.possible_cause,
                  c.cause_share_percent, c.evidence, c.advice, c.confirmed_cause, c.remedy,
                  c.remedy_on, c.recovered_on, c.incident_id as "incident_id: IncidentId",
                  c.outcome, c.closed_on, c.created_at, c.updated_at
           from cases c
           join partners p on p.partner_id = c.partner_id
           where ($1::uuid[] is null or c.program_id = any($1))
             and ($2::uuid is null or c.program_id = $2)
             and ($3::uuid is null or c.case_id = $3)
             and ($4::text is null or c.status = $4)
             and ($5::text is null or c.owner = $5)
             and ($6::date is null or (c.status <> 'closed' and c.due_on < $6))
             and ($7::uuid is null or c.case_id > $7)
           order by c.case_id
           limit $8"#,
        filter.reach.as_deref(),
        filter.program_id.map(|p| p.0),
        filter.case_id.map(|c| c.0),
        filter.status,
        filter.owner,
        filter.due_before,
        after.map(|a| a.0),
        limit,
    )
    .fetch_all(db)
    .await?;
    let case = rows.into_iter().map(|r| Case {
        program_id: r.program_id,
        case_id: r.case_id,
        partner_id: r.partner_id,
        partner_name: r.partner_name,
        kind: r.kind,
        status: r.status,
        owner: r.owner,
        opened_on: r.opened_on,
        due_on: r.due_on,
        opened_severity: r.opened_severity,
        judged_on: r.judged_on,
        figures: Listing {
            severity: r.severity,
            since: r.since,
            expected_28d: r.expected_28d,
            observed_28d: r.observed_28d,
            share_lost_percent: r.share_lost_percent,
            lost_to_date: r.lost_to_date,
            lost_next_28d: r.lost_next_28d,
            p_value: r.p_value,
            possible_cause: r.possible_cause,
            cause_share_percent: r.cause_share_percent,
            evidence: r.evidence,
            advice: r.advice,
        },
        confirmed_cause: r.confirmed_cause,
        remedy: r.remedy,
        remedy_on: r.remedy_on,
        recovered_on: r.recovered_on,
        incident_id: r.incident_id,
        outcome: r.outcome,
        closed_on: r.closed_on,
        created_at: r.created_at,
        updated_at: r.updated_at,
    });
    Ok(case.collect())
}

/// Finds a case and keeps others from changing it until the transaction ends.
pub async fn lock_case(db: &mut PgConnection, id: CaseId) -> Result<Option<Case>, sqlx::Error> {
    sqlx::query!("select 1 as one from cases where case_id = $1 for no key update", id.0)
        .fetch_optional(db.as_mut())
        .await?;
    let filter = CaseFilter { case_id: Some(id), ..CaseFilter::default() };
    Ok(list_cases(db, &filter, None, 1).await?.pop())
}

/// Writes what a person can change.
pub async fn update_case(
    db: &mut PgConnection,
    c: &Case,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update cases
         set owner = $3, due_on = $4, status = $5, confirmed_cause = $6, remedy = $7,
             remedy_on = $8, outcome = $9, closed_on = $10, updated_at = $11
         where program_id = $1 and case_id = $2",
        c.program_id.0,
        c.case_id.0,
        c.owner,
        c.due_on,
        c.status,
        c.confirmed_cause,
        c.remedy,
        c.remedy_on,
        c.outcome,
        c.closed_on,
        now,
    )
    .execute(db)
    .await
    .map(drop)
}

/// A case to be opened.
#[derive(Clone, Debug)]
pub struct NewCase<'a> {
    /// Key of the row.
    pub case_id: CaseId,
    /// The program.
    pub program_id: ProgramId,
    /// Whose.
    pub partner_id: PartnerId,
    /// Will not or cannot.
    pub kind: Kind,
    /// Who looks after the partner.
    pub owner: Option<&'a str>,
    /// The program's today.
    pub opened_on: NaiveDate,
    /// By when it must be taken up.
    pub due_on: NaiveDate,
    /// The day judged.
    pub judged_on: NaiveDate,
    /// The figures.
    pub listing: &'a Listing,
}

/// Opens a case.
pub async fn insert_case(
    db: &mut PgConnection,
    c: &NewCase<'_>,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into cases
             (program_id, case_id, partner_id, kind, owner, opened_on, due_on, judged_on,
              severity, opened_severity, since, expected_28d, opened_expected_28d, observed_28d,
              share_lost_percent, opened_share_lost_percent, lost_to_date, lost_next_28d, p_value,
              possible_cause, cause_share_percent, evidence, advice, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10, $11, $11, $12, $13, $13, $14, $15,
                 $16, $17, $18, $19, $20, $21, $21)",
        c.program_id.0,
        c.case_id.0,
        c.partner_id.0,
        c.kind.as_str(),
        c.owner,
        c.opened_on,
        c.due_on,
        c.judged_on,
        c.listing.severity,
        c.listing.since,
        c.listing.expected_28d,
        c.listing.observed_28d,
        c.listing.share_lost_percent,
        c.listing.lost_to_date,
        c.listing.lost_next_28d,
        c.listing.p_value,
        c.listing.possible_cause,
        c.listing.cause_share_percent,
        &c.listing.evidence,
        c.listing.advice,
        now,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Writes the figures of a day. The guess of the cause stands once a person has answered it.
pub async fn update_figures(
    db: &mut PgConnection,
    (program_id, case_id): (ProgramId, CaseId),
    day: NaiveDate,
    f: &Listing,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update cases
         set judged_on = $3, severity = $4, since = $5, expected_28d = $6, observed_28d = $7,
             share_lost_percent = $8, lost_to_date = $9, lost_next_28d = $10, p_value = $11,
             possible_cause = case when confirmed_cause is null then $12 else possible_cause end,
             cause_share_percent =
                 case when confirmed_cause is null then $13 else cause_share_percent end,
             evidence = case when confirmed_cause is null then $14 else evidence end,
             advice = case when confirmed_cause is null then $15 else advice end,
             updated_at = $16
         where program_id = $1 and case_id = $2",
        program_id.0,
        case_id.0,
        day,
        f.severity,
        f.since,
        f.expected_28d,
        f.observed_28d,
        f.share_lost_percent,
        f.lost_to_date,
        f.lost_next_28d,
        f.p_value,
        f.possible_cause,
        f.cause_share_percent,
        &f.evidence,
        f.advice,
        now,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Writes what the machine sees of a case beside its figures; an incident stays once it is known.
pub async fn update_course(
    db: &mut PgConnection,
    (program_id, case_id): (ProgramId, CaseId),
    recovered_on: Option<NaiveDate>,
    incident_id: Option<IncidentId>,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update cases
         set recovered_on = $3, incident_id = coalesce($4, incident_id), updated_at = $5
         where program_id = $1 and case_id = $2",
        program_id.0,
        case_id.0,
        recovered_on,
        incident_id.map(|i| i.0),
        now,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Writes what was left of the old level on a day.
pub async fn insert_case_day(
    db: &mut PgConnection,
    (program_id, case_id): (ProgramId, CaseId),
    day: NaiveDate,
    kept_percent: i32,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into case_days (program_id, case_id, day, kept_percent)
         values ($1, $2, $3, $4)
         on conflict on constraint case_days_pkey do nothing",
        program_id.0,
        case_id.0,
        day,
        kept_percent,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Locks the open cases of a program, and reads those opened since `followed_from` too.
pub async fn lock_known(
    db: &mut PgConnection,
    program_id: ProgramId,
    followed_from: NaiveDate,
) -> Result<Vec<Known>, sqlx::Error> {
    sqlx::query_as!(
        Known,
        r#"select case_id as "case_id: CaseId", partner_id as "partner_id: PartnerId", kind,
                  status <> 'closed' as "is_open!", opened_on, since, opened_expected_28d,
                  recovered_on
           from cases
           where program_id = $1 and (status <> 'closed' or opened_on >= $2)
           order by case_id
           for no key update"#,
        program_id.0,
        followed_from,
    )
    .fetch_all(db)
    .await
}

/// A contact with a partner about a case.
#[derive(Clone, Debug)]
pub struct Contact {
    /// Key of the row.
    pub contact_id: Uuid,
    /// When.
    pub at: Timestamp,
    /// Who wrote it down.
    pub by_user: String,
    /// One of [`super::case::CHANNELS`].
    pub channel: String,
    /// What was said.
    pub note: String,
    /// What comes next.
    pub next_step: Option<String>,
    /// When.
    pub next_due: Option<NaiveDate>,
}

/// Adds a contact to a case.
pub async fn insert_contact(
    db: &mut PgConnection,
    (program_id, case_id): (ProgramId, CaseId),
    c: &Contact,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into case_contacts
             (program_id, contact_id, case_id, at, by_user, channel, note, next_step, next_due)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        program_id.0,
        c.contact_id,
        case_id.0,
        c.at,
        c.by_user,
        c.channel,
        c.note,
        c.next_step,
        c.next_due,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Lists the latest contacts about a case, newest first.
pub async fn list_contacts(
    db: &mut PgConnection,
    (program_id, case_id): (ProgramId, CaseId),
    limit: i64,
) -> Result<Vec<Contact>, sqlx::Error> {
    sqlx::query_as!(
        Contact,
        "select contact_id, at, by_user, channel, note, next_step, next_due
         from case_contacts
         where program_id = $1 and case_id = $2
         order by contact_id desc
         limit $3",
        program_id.0,
        case_id.0,
        limit,
    )
    .fetch_all(db)
    .await
}

/// Counts how often each guess was answered, and how often it was right.
pub async fn count_accuracy(
    db: &mut PgConnection,
    program_id: ProgramId,
) -> Result<Vec<Accuracy>, sqlx::Error> {
    sqlx::query_as!(
        Accuracy,
        r#"select possible_cause as cause, count(*) as "n_confirmed!",
                  count(*) filter (where confirmed_cause = possible_cause) as "n_right!"
           from cases
           where program_id = $1 and confirmed_cause is not null
           group by possible_cause
           order by possible_cause"#,
        program_id.0,
    )
    .fetch_all(db)
    .await
}

/// Lists the courses of a program's newest cases that began by themselves; those that an incident
/// explains say nothing about a remedy.
pub async fn list_courses(
    db: &mut PgConnection,
    program_id: ProgramId,
    limit: i64,
) -> Result<Vec<Course>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select c.kind, c.opened_on, c.opened_severity, c.opened_expected_28d,
                  c.opened_share_lost_percent, c.remedy, c.remedy_on, c.recovered_on,
                  array_agg(d.day order by d.day) as "days!",
                  array_agg(d.kept_percent order by d.day) as "kept!"
           from cases c
           join case_days d on d.program_id = c.program_id and d.case_id = c.case_id
           where c.program_id = $1 and c.incident_id is null
           group by c.program_id, c.case_id
           order by c.case_id desc
           limit $2"#,
        program_id.0,
        limit,
    )
    .fetch_all(db)
    .await?;
    let course = rows.into_iter().map(|r| {
        let after = |day: NaiveDate| (day - r.opened_on).num_days();
        Course {
            kind: r.kind,
            severity: r.opened_severity,
            expected_28d: r.opened_expected_28d,
            share_lost_percent: r.opened_share_lost_percent,
            remedy: r.remedy.zip(r.remedy_on.map(after)),
            recovered_on: r.recovered_on.map(after),
            kept: r.days.into_iter().map(after).zip(r.kept).collect(),
        }
    });
    Ok(course.collect())
}
