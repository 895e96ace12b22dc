//! Once a day for each program: visits the landing page, asks the detector, acts on what it says.
//!
//! The landing page and the detector take seconds and hold no transaction. Then everything is
//! written in one, whose first row claims the day: of two instances, the second finds it taken and
//! writes nothing. Days that were missed, because the service was off, are acted on first, each as
//! if it were the last one.

use chrono::{Days, Duration, NaiveDate};
use chrono_tz::Tz;
use serde_json::json;

use super::case::due_on;
use super::finding::{Finding, Habits, NetworkFall, PRESENT_DAYS, findings, network_fall};
use super::incident_store::{self, DayCounts, Sighting};
use super::landing::{probe, store as landing_store};
use super::learned_store::{self, LearnedDay};
use super::notice_store::{self, Declined};
use super::plan::{FOLLOWED_DAYS, Known, Step, plan};
use super::shared::{Scope, Shared, hour, shared};
use super::store::{self, NewCase};
use crate::account::audit_store::{self, Entry};
use crate::address::Guard;
use crate::clock::{Timestamp, midnight};
use crate::db::{Db, DbTx};
use crate::ids::{CaseId, IncidentId, ProgramId};
use crate::program::{Program, store as program_store};
use crate::report::decline::at_hand::is_learned;
use crate::report::decline::judgment::judge_everybody;
use crate::report::decline::learning::Learning;
use crate::report::period::Window;
use crate::report::{Params, ReportError};

/// The clicks of a day's last minutes are settled by then, even after a short trouble.
const AFTER_MIDNIGHT: Duration = Duration::minutes(30);
/// Programs of a deployment, at most.
const PROGRAMS_MAX: i64 = 1_000;
/// Days that are caught up after the service was off. Older ones are no news any more: what still
/// holds of them is found on the days that are acted on.
const CATCH_UP_DAYS: u64 = 14;
/// Clicks that settle late are taken in at most once in such a time.
const LEARNED_AGAIN_AFTER: Duration = Duration::hours(1);
/// Country and page of a partner are those of its clicks of the last quarter.
const HABIT_DAYS: u64 = 91;

/// Why a day was not acted on. Nothing of it was written; it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum DailyError {
    /// PostgreSQL could not be reached, or failed.
    #[error("the day's cases cannot be written")]
    Database(#[from] sqlx::Error),
    /// The detector could not be asked.
    #[error("the program cannot be judged")]
    Report(#[from] ReportError),
    /// The terms of a program cannot be used.
    #[error("{0}")]
    Terms(String),
}

/// Acts on every whole day that nobody acted on yet, of every program; returns how many days.
///
/// # Errors
/// The first one; the other programs are done all the same.
pub async fn run_due(db: &Db, guard: &Guard, now: Timestamp) -> Result<u64, DailyError> {
    let programs = {
        let mut db = db.acquire().await?;
        program_store::list_programs(&mut db, None, None, PROGRAMS_MAX).await?
    };
    let (mut n_done, mut first_error) = (0, None);
    for program in programs.iter().filter(|p| p.status == "active") {
        if let Err(error) = run_program(db, guard, program, now, &mut n_done).await {
            first_error = first_error.or(Some(error));
        }
    }
    first_error.map_or(Ok(n_done), Err)
}

/// The day of a program that is to be acted on.
struct Day {
    program_id: ProgramId,
    /// A whole day.
    day: NaiveDate,
    /// The day after it, which is the program's today unless days were missed: when cases are
    /// opened.
    today: NaiveDate,
    /// Where the program's midnight is.
    zone: Tz,
    now: Timestamp,
}

impl Day {
    fn of(program: &Program, day: NaiveDate, zone: Tz, now: Timestamp) -> Self {
        let today = day.succ_opt().unwrap_or(day);
        Self { program_id: program.program_id, day, today, zone, now }
    }
}

/// Acts on the days of a program, each in a transaction of its own: what is done stays done.
async fn run_program(
    db: &Db,
    guard: &Guard,
    program: &Program,
    now: Timestamp,
    n_done: &mut u64,
) -> Result<(), DailyError> {
    let zone = zone(program)?;
    let today = (now - AFTER_MIDNIGHT).with_timezone(&zone).date_naive();
    let last_done = {
        let mut db = db.acquire().await?;
        incident_store::last_day(&mut db, program.program_id).await?
    };
    let due = due_days(last_done, today);
    if due.is_empty() {
        return match last_done {
            Some(day) => learn_again(db, program, Day::of(program, day, zone, now)).await,
            None => Ok(()),
        };
    }
    // The page can only be seen as it is now, so one look serves all of the days.
    let check = probe::check(program, guard, now).await;
    {
        let mut db = db.acquire().await?;
        landing_store::insert_check(&mut db, program.program_id, &check, now).await?;
    }
    let mut learning = None;
    for day in due {
        let at = Day::of(program, day, zone, now);
        let learned = learn(db, program, &at, learning).await?;
        *n_done += u64::from(run_day(db, program, &at, &learned).await?);
        keep(db, program, &at, &learned).await?;
        learning = Some(learned);
    }
    Ok(())
}

/// Learns a day again whose clicks have changed since, so that reports need not.
async fn learn_again(db: &Db, program: &Program, at: Day) -> Result<(), DailyError> {
    let is_stale = {
        let (mut db, since) = (db.acquire().await?, at.now - LEARNED_AGAIN_AFTER);
        learned_store::is_stale(&mut db, learned_day(program, &at), since).await?
    };
    if is_stale {
        learn_day(db, program, at.day, at.now).await?;
    }
    Ok(())
}

/// Learns a program up to a day, so that reports need not, and acts on nothing; returns how many
/// partners it has.
///
/// # Errors
/// [`DailyError`]; what was learned before may be gone then.
pub async fn learn_day(
    db: &Db,
    program: &Program,
    day: NaiveDate,
    now: Timestamp,
) -> Result<usize, DailyError> {
    let at = Day::of(program, day, zone(program)?, now);
    let learning = learn(db, program, &at, None).await?;
    keep(db, program, &at, &learning).await?;
    Ok(learning.count())
}

/// Learns a day as [`learn_day`] does, unless what is known of it still holds: somebody may have asked
/// for it while it was being learned.
///
/// # Errors
/// As [`learn_day`].
pub async fn learn_day_once(
    db: &Db,
    program: &Program,
    day: NaiveDate,
    now: Timestamp,
) -> Result<(), DailyError> {
    let at = Day::of(program, day, zone(program)?, now);
    let is_known = {
        let mut db = db.acquire().await?;
        is_learned(&mut db, &params(program, &at)?).await?
    };
    if !is_known {
        learn_day(db, program, day, now).await?;
    }
    Ok(())
}

fn zone(program: &Program) -> Result<Tz, DailyError> {
    program.time_zone.parse().map_err(|e| DailyError::Terms(format!("{e}")))
}

fn learned_day<'a>(program: &'a Program, at: &Day) -> LearnedDay<'a> {
    LearnedDay { program_id: at.program_id, day: at.day, time_zone: &program.time_zone }
}

/// Learns up to the day, from where the detector is or from what was kept.
async fn learn(
    db: &Db,
    program: &Program,
    at: &Day,
    before: Option<Learning>,
) -> Result<Learning, DailyError> {
    let mut db_tx = db.begin().await?;
    let until = midnight(at.today, at.zone);
    learned_store::begin(&mut db_tx, learned_day(program, at), until, at.now).await?;
    db_tx.commit().await?;
    let (mut db, params) = (db.acquire().await?, params(program, at)?);
    Ok(match before.filter(|learning| learning.reaches(at.day)) {
        Some(mut learning) => {
            learning.go_on(&mut db, &params, at.day).await?;
            learning
        }
        None => Learning::of(&mut db, &params, at.day).await?,
    })
}

/// Keeps what was learned, for reports and for the next days.
async fn keep(db: &Db, program: &Program, at: &Day, learning: &Learning) -> Result<(), DailyError> {
    let day = learned_day(program, at);
    let mut db_tx = db.begin().await?;
    learned_store::keep(&mut db_tx, day, &learning.learned().to_bytes()).await?;
    if learning.ends_week() {
        for (number, block) in (0..).zip(learning.blocks()) {
            learned_store::keep_block(&mut db_tx, day, number, &block).await?;
        }
        learned_store::keep_head(&mut db_tx, day, &learning.head()).await?;
    }
    db_tx.commit().await?;
    Ok(())
}

/// Returns the whole days before `today` that are to be acted on, the oldest first. A program that
/// was never acted on has missed nothing.
fn due_days(last_done: Option<NaiveDate>, today: NaiveDate) -> Vec<NaiveDate> {
    let from = last_done.map_or(today - Days::new(1), |last| last + Days::new(1));
    let from = from.max(today - Days::new(CATCH_UP_DAYS));
    from.iter_days().take_while(|day| *day < today).collect()
}

async fn run_day(
    db: &Db,
    program: &Program,
    at: &Day,
    learning: &Learning,
) -> Result<bool, DailyError> {
    let (network, findings) = {
        let mut db = db.acquire().await?;
        let params = params(program, at)?;
        let judgment = judge_everybody(&mut db, &params, learning, PRESENT_DAYS).await?;
        let since = at.day.checked_sub_days(Days::new(HABIT_DAYS)).unwrap_or(at.day);
        let countries = incident_store::list_main_countries(&mut db, at.program_id, since).await?;
        let pages = incident_store::list_main_pages(&mut db, at.program_id, since).await?;
        let habits = Habits {
            countries: countries.into_iter().collect(),
            pages: pages.into_iter().collect(),
        };
        (network_fall(&judgment), findings(&judgment, &habits))
    };
    let mut db_tx = db.begin().await?;
    let is_done = act(&mut db_tx, at, network, &findings).await?;
    db_tx.commit().await?;
    Ok(is_done)
}

fn params(program: &Program, at: &Day) -> Result<Params, DailyError> {
    let (from, to) = (at.day.to_string(), at.today.to_string());
    let window =
        Window::parse(&from, &to, at.zone).map_err(|e| DailyError::Terms(e.to_string()))?;
    let currency = program.currency.parse().map_err(|e| DailyError::Terms(format!("{e}")))?;
    Ok(Params { program_id: program.program_id, partner_id: None, window, currency, now: at.now })
}

/// Writes everything of a day; false if another instance did.
async fn act(
    db: &mut DbTx,
    at: &Day,
    network: Option<NetworkFall>,
    findings: &[Finding],
) -> Result<bool, sqlx::Error> {
    let followed_from = at.day - Duration::days(FOLLOWED_DAYS);
    let known = store::lock_known(db, at.program_id, followed_from).await?;
    let causes = shared(network, findings);
    let steps = plan(at.day, findings, &causes, &known);
    let counts = counts(findings, &steps);
    if !incident_store::insert_day(db, at.program_id, at.day, counts, at.now).await? {
        return Ok(false);
    }
    let incidents = write_incidents(db, at, findings, &causes).await?;
    let incident = |cause: Option<usize>| cause.and_then(|c| incidents.get(c).copied());
    for step in &steps {
        match step {
            Step::Open { place, kind, listing } => {
                let finding = &findings[*place];
                let case = NewCase {
                    case_id: CaseId::new(),
                    program_id: at.program_id,
                    partner_id: finding.partner_id,
                    kind: *kind,
                    owner: finding.owner.as_deref(),
                    opened_on: at.today,
                    due_on: due_on(at.today, &listing.severity, &finding.rank),
                    judged_on: at.day,
                    listing,
                };
                open(db, at, &case).await?;
            }
            Step::Follow { case_id, cause, .. } => {
                let case = known.iter().find(|k| k.case_id == *case_id);
                if let Some(case) = case {
                    follow(db, at, case, step, incident(*cause)).await?;
                }
            }
            Step::Note { place, listing, cause } => {
                let partner_id = findings[*place].partner_id;
                let what = (listing.severity.as_str(), listing.since);
                let incident = incident(*cause);
                let (program_id, day) = (at.program_id, at.day);
                incident_store::insert_note(db, program_id, day, partner_id, what, incident)
                    .await?;
            }
        }
    }
    Ok(true)
}

fn counts(findings: &[Finding], steps: &[Step]) -> DayCounts {
    let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    let is_open = |step: &&Step| matches!(step, Step::Open { .. });
    let is_explained = |step: &&Step| {
        matches!(step, Step::Note { cause: Some(_), .. } | Step::Follow { cause: Some(_), .. })
    };
    DayCounts {
        n_judged: count(findings.iter().filter(|f| f.is_judged).count()),
        n_listed: count(findings.iter().filter(|f| f.listed.is_some()).count()),
        n_opened: count(steps.iter().filter(is_open).count()),
        n_explained: count(steps.iter().filter(is_explained).count()),
    }
}

/// Opens, renews and ends incidents; returns the id of each cause.
async fn write_incidents(
    db: &mut DbTx,
    at: &Day,
    findings: &[Finding],
    causes: &[Shared],
) -> Result<Vec<IncidentId>, sqlx::Error> {
    let fault = landing_store::find_fault(db, at.program_id).await?;
    let mut ids = Vec::with_capacity(causes.len());
    for cause in causes {
        let (kind, subject) = match &cause.scope {
            Scope::Network if fault.is_some() => ("destination", ""),
            Scope::Network => ("network", ""),
            Scope::Page(page) => ("destination", page.as_str()),
            Scope::Country(code) => ("country", code.as_str()),
        };
        let began_at = find_hour(db, at, findings, cause).await?;
        let hour = began_at.map(|t| t.with_timezone(&at.zone).format("%F %H:%M").to_string());
        let sighting = Sighting {
            kind,
            subject,
            since: cause.since,
            began_at,
            n_partners: i32::try_from(cause.members.len()).unwrap_or(i32::MAX),
            n_judged: i32::try_from(cause.n_judged).unwrap_or(i32::MAX),
            text: cause.text(fault.as_deref(), hour.as_deref()),
        };
        let (id, is_new) =
            incident_store::see_incident(db, at.program_id, at.day, &sighting, at.now).await?;
        if is_new {
            tracing::warn!(incident.id = %id, "incident {id}: {}", sighting.text);
            record(db, at, "incident.open", id, json!({"text": sighting.text})).await?;
        }
        ids.push(id);
    }
    for id in incident_store::end_unseen(db, at.program_id, at.day, at.now).await? {
        record(db, at, "incident.end", id, json!({"ended_on": at.day})).await?;
    }
    Ok(ids)
}

/// Finds the hour in which the clicks of a cause's members fell.
async fn find_hour(
    db: &mut DbTx,
    at: &Day,
    findings: &[Finding],
    cause: &Shared,
) -> Result<Option<Timestamp>, sqlx::Error> {
    let members: Vec<_> = cause.members.iter().map(|&i| findings[i].partner_id).collect();
    let Some(span) = hour::Span::around(cause.since, at.today, at.zone) else { return Ok(None) };
    let read = (span.learned_from(), span.until);
    let hours = incident_store::list_hours(db, at.program_id, &members, read).await?;
    Ok(hour::began(span, &hours.into_iter().collect()))
}

async fn open(db: &mut DbTx, at: &Day, case: &NewCase<'_>) -> Result<(), sqlx::Error> {
    store::insert_case(db, case, at.now).await?;
    let details = json!({
        "partner_id": case.partner_id,
        "kind": case.kind.as_str(),
        "severity": case.listing.severity,
    });
    record(db, at, "case.open", case.case_id, details).await?;
    let notice = Declined {
        program_id: at.program_id,
        case_id: case.case_id,
        partner_id: case.partner_id,
        kind: case.kind,
        listing: case.listing,
    };
    notice_store::declined(db, &notice, at.now).await
}

async fn follow(
    db: &mut DbTx,
    at: &Day,
    case: &Known,
    step: &Step,
    incident: Option<IncidentId>,
) -> Result<(), sqlx::Error> {
    let Step::Follow { listing, kept_percent, recovered_on, .. } = step else { return Ok(()) };
    let id = (at.program_id, case.case_id);
    if let Some(listing) = listing {
        store::update_figures(db, id, at.day, listing, at.now).await?;
    }
    if let Some(kept) = kept_percent {
        store::insert_case_day(db, id, at.day, *kept).await?;
    }
    if *recovered_on != case.recovered_on || incident.is_some() {
        store::update_course(db, id, *recovered_on, incident, at.now).await?;
    }
    if *recovered_on != case.recovered_on {
        let details = json!({"before": case.recovered_on, "after": recovered_on});
        record(db, at, "case.recovery", case.case_id, details).await?;
    }
    Ok(())
}

async fn record(
    db: &mut DbTx,
    at: &Day,
    action: &'static str,
    object: impl std::fmt::Display,
    details: serde_json::Value,
) -> Result<(), sqlx::Error> {
    let entry = Entry::by_system(action, object).program(at.program_id).details(details);
    audit_store::record(db, entry, at.now).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_days_are_due_and_no_more_than_two_weeks_of_them() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        let today = day("2026-11-20");
        for (last_done, n_due, first) in [
            (None, 1, "2026-11-19"),
            (Some("2026-11-19"), 0, ""),
            // A clock that was set back, or a program that moved to another time zone.
            (Some("2026-11-20"), 0, ""),
            (Some("2026-11-18"), 1, "2026-11-19"),
            (Some("2026-11-16"), 3, "2026-11-17"),
            (Some("2026-03-01"), 14, "2026-11-06"),
        ] {
            let due = due_days(last_done.map(day), today);
            assert_eq!(due.len(), n_due, "{last_done:?}");
            assert_eq!(due.first().copied(), (n_due > 0).then(|| day(first)), "{last_done:?}");
            assert!(due.last().is_none_or(|last| *last == day("2026-11-19")));
        }
    }
}
