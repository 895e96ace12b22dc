//! Handlers of cases and incidents.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse, get, patch, post};
use serde_json::json;
use sqlx::PgConnection;
use utoipa_actix_web::service_config::ServiceConfig;
use uuid::Uuid;

use super::case::{CLOSED, Case, Changes, Refused};
use super::effect::effects;
use super::store::{self, CaseFilter, Contact};
use super::wire_http::{
    AccuracyBody, CaseBody, CaseChanges, CaseQuery, EffectBody, IncidentBody, IncidentQuery,
    NewContactBody, ProgramQuery,
};
use super::{incident_store, landing};
use crate::account::Caller as Identity;
use crate::account::audit_store::{self, Entry};
use crate::account::http::{Caller, scope};
use crate::account::once_http::{Answer, KeyRule, once};
use crate::app::App;
use crate::ids::CaseId;
use crate::web::fields::{KeyedJson, path_id};
use crate::web::{
    Code, Page, PageQuery, Problem, ProblemBody, Query, StrictJson, detached, transact,
};

/// Contacts shown with a case, the latest.
const CONTACTS_MAX: i64 = 200;
/// Cases that an effect is measured on, the newest.
const COURSES_MAX: i64 = 20_000;

/// Adds the routes of cases, incidents and landing checks.
pub fn configure(cfg: &mut ServiceConfig) {
    landing::http::configure(cfg);
    cfg.service(list_cases)
        // Before the case with an id, which would take their names for one.
        .service(show_accuracy)
        .service(show_effects)
        .service(show_case)
        .service(update_case)
        .service(add_contact)
        .service(list_incidents);
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NoOutcome => {
                Self::new(Code::InvalidField).error("/outcome", format!("is required: {refused}"))
            }
            Refused::OutcomeOfOpen => {
                Self::new(Code::InvalidField).error("/outcome", refused.to_string())
            }
            Refused::Closed => Self::new(Code::InvalidTransition).detail(
                "The case is closed; its cause and remedy may still be told, nothing else.",
            ),
        }
    }
}

/// Finds a case that the key reaches and keeps it locked.
async fn lock_case(db: &mut PgConnection, caller: &Identity, id: CaseId) -> Result<Case, Problem> {
    let case = store::lock_case(db, id).await?;
    case.filter(|c| caller.reaches(c.program_id)).ok_or_else(|| Problem::new(Code::NotFound))
}

/// Lists cases in the order of their opening.
#[utoipa::path(tag = "cases", params(CaseQuery, PageQuery), responses(
    (status = 200, body = Page<CaseBody>), (status = 404, body = ProblemBody)))]
#[get("/v1/cases")]
async fn list_cases(
    app: Data<App>,
    caller: Caller<scope::PartnersRead>,
    query: Query<CaseQuery>,
    page: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let (limit, after) = (page.limit()?, page.after()?);
    if let Some(program_id) = query.program_id {
        caller.check_reach(program_id)?;
    }
    let query = query.into_inner();
    let filter = CaseFilter {
        reach: caller.programs.as_ref().map(|all| all.iter().map(|p| p.0).collect()),
        program_id: query.program_id,
        case_id: None,
        status: query.status,
        owner: query.owner,
        due_before: query.overdue.unwrap_or(false).then(|| app.clock.now().date_naive()),
    };
    let db = app.db.clone();
    let rows = detached(async move {
        let mut db = db.acquire().await?;
        Ok(store::list_cases(&mut db, &filter, after, i64::from(limit) + 1).await?)
    })
    .await?;
    let page = Page::new(rows, limit, |case| case.case_id).map(|case| CaseBody::new(case, None));
    Ok(HttpResponse::Ok().json(page))
}

/// Shows a case with its contacts.
#[utoipa::path(tag = "cases", responses(
    (status = 200, body = CaseBody), (status = 404, body = ProblemBody)))]
#[get("/v1/cases/{id}")]
async fn show_case(
    app: Data<App>,
    caller: Caller<scope::PartnersRead>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id: CaseId = path_id(&id)?;
    let db = app.db.clone();
    let answer = detached(async move {
        let mut db = db.acquire().await?;
        let filter = CaseFilter { case_id: Some(id), ..CaseFilter::default() };
        let case = store::list_cases(&mut db, &filter, None, 1).await?.pop();
        let case = case.filter(|c| caller.reaches(c.program_id));
        let case = case.ok_or_else(|| Problem::new(Code::NotFound))?;
        let contacts =
            store::list_contacts(&mut db, (case.program_id, case.case_id), CONTACTS_MAX).await?;
        Ok(CaseBody::new(case, Some(contacts)))
    })
    .await?;
    Ok(HttpResponse::Ok().json(answer))
}

/// Changes a case: owner, date, status, what the cause was, what was done. Closing needs an outcome.
#[utoipa::path(tag = "cases", request_body = CaseChanges, responses(
    (status = 200, body = CaseBody), (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[patch("/v1/cases/{id}")]
async fn update_case(
    app: Data<App>,
    caller: Caller<scope::PartnersWrite>,
    id: Path<String>,
    body: StrictJson<CaseChanges>,
) -> Result<HttpResponse, Problem> {
    let id: CaseId = path_id(&id)?;
    let now = app.clock.now();
    let changes = body.0.into_changes(now.date_naive())?;
    let answer = transact(&app.db, async move |db| {
        let mut case = lock_case(db, &caller, id).await?;
        let before = details(&case);
        case.change(changes, now.date_naive())?;
        store::update_case(db, &case, now).await?;
        let entry = Entry::by(&caller, "case.update", id)
            .program(case.program_id)
            .details(json!({"before": before, "after": details(&case)}))
            .request(&caller.request_id);
        audit_store::record(db, entry, now).await?;
        case.updated_at = now;
        Ok(CaseBody::new(case, None))
    })
    .await?;
    Ok(HttpResponse::Ok().json(answer))
}

/// Returns what the audit log keeps of a case.
fn details(case: &Case) -> serde_json::Value {
    json!({
        "owner": case.owner,
        "due_on": case.due_on,
        "status": case.status,
        "outcome": case.outcome,
        "confirmed_cause": case.confirmed_cause,
        "remedy": case.remedy,
        "remedy_on": case.remedy_on,
    })
}

/// Writes a contact down; an open case becomes a contacted one, and takes the next date.
#[utoipa::path(tag = "cases", request_body = NewContactBody, responses(
    (status = 201, body = CaseBody), (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[post("/v1/cases/{id}/contacts")]
async fn add_contact(
    app: Data<App>,
    req: HttpRequest,
    caller: Caller<scope::PartnersWrite>,
    id: Path<String>,
    body: KeyedJson<NewContactBody>,
) -> Result<HttpResponse, Problem> {
    let id: CaseId = path_id(&id)?;
    let new = body.value;
    new.check()?;
    let now = app.clock.now();
    let (identity, request_id): (Identity, _) = ((*caller).clone(), caller.request_id.clone());
    once(&app, &req, &caller, KeyRule::Optional, &body.bytes, async move |db| {
        let mut case = lock_case(db, &identity, id).await?;
        if case.status == CLOSED {
            return Err(Refused::Closed.into());
        }
        let contact = Contact {
            contact_id: Uuid::now_v7(),
            at: now,
            by_user: identity.actor(),
            channel: new.channel,
            note: new.note,
            next_step: new.next_step,
            next_due: new.next_due,
        };
        let key = (case.program_id, case.case_id);
        store::insert_contact(db, key, &contact).await?;
        let status = (case.status == "open").then(|| "contacted".to_owned());
        let changes = Changes { status, due_on: contact.next_due, ..Changes::default() };
        case.change(changes, now.date_naive())?;
        store::update_case(db, &case, now).await?;
        let entry = Entry::by(&identity, "case.contact", id)
            .program(case.program_id)
            .details(json!({"channel": contact.channel, "next_due": contact.next_due}))
            .request(&request_id);
        audit_store::record(db, entry, now).await?;
        let contacts = store::list_contacts(db, key, CONTACTS_MAX).await?;
        Ok(Answer::created(format!("/v1/cases/{id}"), CaseBody::new(case, Some(contacts))))
    })
    .await
}

/// Tells how often each guessed cause was right, by what people confirmed.
#[utoipa::path(tag = "cases", params(ProgramQuery), responses(
    (status = 200, body = Vec<AccuracyBody>), (status = 404, body = ProblemBody)))]
#[get("/v1/cases/accuracy")]
async fn show_accuracy(
    app: Data<App>,
    caller: Caller<scope::PartnersRead>,
    query: Query<ProgramQuery>,
) -> Result<HttpResponse, Problem> {
    caller.check_reach(query.program_id)?;
    let db = app.db.clone();
    let rows = detached(async move {
        let mut db = db.acquire().await?;
        Ok(store::count_accuracy(&mut db, query.program_id).await?)
    })
    .await?;
    Ok(HttpResponse::Ok().json(rows.into_iter().map(AccuracyBody::from).collect::<Vec<_>>()))
}

/// Tells whether each remedy helped: treated cases against matched cases that nobody treated.
#[utoipa::path(tag = "cases", params(ProgramQuery), responses(
    (status = 200, body = Vec<EffectBody>), (status = 404, body = ProblemBody)))]
#[get("/v1/cases/effects")]
async fn show_effects(
    app: Data<App>,
    caller: Caller<scope::PartnersRead>,
    query: Query<ProgramQuery>,
) -> Result<HttpResponse, Problem> {
    caller.check_reach(query.program_id)?;
    let db = app.db.clone();
    let courses = detached(async move {
        let mut db = db.acquire().await?;
        Ok(store::list_courses(&mut db, query.program_id, COURSES_MAX).await?)
    })
    .await?;
    let answer: Vec<EffectBody> = effects(&courses).into_iter().map(EffectBody::from).collect();
    Ok(HttpResponse::Ok().json(answer))
}

/// Lists the incidents of a program: falls that many partners share.
#[utoipa::path(tag = "cases", params(IncidentQuery, PageQuery), responses(
    (status = 200, body = Page<IncidentBody>), (status = 404, body = ProblemBody)))]
#[get("/v1/incidents")]
async fn list_incidents(
    app: Data<App>,
    caller: Caller<scope::PartnersRead>,
    query: Query<IncidentQuery>,
    page: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let (limit, after) = (page.limit()?, page.after()?);
    caller.check_reach(query.program_id)?;
    let db = app.db.clone();
    let rows = detached(async move {
        let mut db = db.acquire().await?;
        let (program, status) = (query.program_id, query.status.as_deref());
        let limit = i64::from(limit) + 1;
        Ok(incident_store::list_incidents(&mut db, program, status, after, limit).await?)
    })
    .await?;
    let page = Page::new(rows, limit, |i| i.incident_id).map(IncidentBody::from);
    Ok(HttpResponse::Ok().json(page))
}
