//! The routes of attribution policies: editions are added, never changed.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse, get, post};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::account::audit_store::{self, Entry};
use crate::account::http::{Caller, scope};
use crate::account::once_http::{Answer, KeyRule, once};
use crate::app::App;
use crate::clock::Timestamp;
use crate::db::{DbTx, broken_constraint};
use crate::ids::{AttributionPolicyId, ProgramId, UserId};
use crate::program::attribution::store::{self, PolicyRow};
use crate::program::attribution::{BadDate, Policy, PolicyDocument, check_date};
use crate::program::store as programs;
use crate::web::fields::{KeyedJson, path_id};
use crate::web::{Code, Page, PageQuery, Problem, ProblemBody, Query, detached};

/// Adds the routes of attribution policies.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(publish_policy).service(list_policies).service(get_attribution_policy);
}

/// An edition of a policy to be made: a policy document and its date.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPolicyBody {
    /// From when on it judges conversions; now where it is not given.
    #[schema(value_type = Option<String>)]
    pub effective_from: Option<Timestamp>,
    /// What it says; what is left out of it is as usual.
    pub document: PolicyDocument,
}

/// An edition of a policy as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct PolicyBody {
    /// Its id.
    #[schema(value_type = String)]
    pub id: AttributionPolicyId,
    /// The program.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// From when on it judges conversions. The first edition judges what happened before, too.
    #[schema(value_type = String)]
    pub effective_from: Timestamp,
    /// What it says.
    pub document: PolicyDocument,
    /// When it was made.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
}

impl From<PolicyRow> for PolicyBody {
    fn from(row: PolicyRow) -> Self {
        let PolicyRow { program_id, policy_id: id, effective_from, document, created_at } = row;
        Self { id, program_id, effective_from, document, created_at }
    }
}

/// Says why an edition was not added.
pub(crate) enum Refused {
    /// It cannot begin then.
    Date(BadDate),
    /// Anything else.
    Other(Problem),
}

impl From<sqlx::Error> for Refused {
    fn from(error: sqlx::Error) -> Self {
        Self::Other(error.into())
    }
}

/// Adds an edition. The caller has locked the program, and has checked the document.
pub(crate) async fn add_edition(
    db: &mut DbTx,
    row: &PolicyRow,
    created_by: UserId,
    now: Timestamp,
) -> Result<(), Refused> {
    let latest = store::latest(db, row.program_id).await?;
    check_date(latest.map(|latest| latest.effective_from), row.effective_from, now)
        .map_err(Refused::Date)?;
    store::insert(db, row, Some(created_by)).await.map_err(|e| match broken_constraint(&e) {
        // PostgreSQL keeps microseconds: two instants may become one.
        Some("attribution_policies_date_once") => {
            Refused::Date(BadDate::NotAfter(row.effective_from))
        }
        Some(_) | None => e.into(),
    })
}

/// Adds an edition of a program's attribution policy.
#[utoipa::path(tag = "attribution", request_body = NewPolicyBody, responses(
    (status = 201, body = PolicyBody), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[post("/v1/programs/{id}/attribution-policies")]
async fn publish_policy(
    app: Data<App>,
    req: HttpRequest,
    caller: Caller<scope::ProgramsWrite>,
    id: Path<String>,
    body: KeyedJson<NewPolicyBody>,
) -> Result<HttpResponse, Problem> {
    let program_id: ProgramId = path_id(&id)?;
    caller.check_reach(program_id)?;
    let now = app.clock.now();
    let NewPolicyBody { effective_from, document } = body.value;
    if let Err(fields) = Policy::try_from(&document) {
        let wrong = fields.into_iter().fold(Problem::new(Code::InvalidField), |problem, field| {
            problem.error(format!("/document{}", field.pointer), field.detail)
        });
        return Err(wrong);
    }
    let policy_id = AttributionPolicyId::new();
    let effective_from = effective_from.unwrap_or(now);
    let row = PolicyRow { program_id, policy_id, effective_from, document, created_at: now };
    let entry = Entry::by(&caller, "attribution_policy.publish", policy_id)
        .program(program_id)
        .details(json!({"effective_from": effective_from, "document": row.document}))
        .request(&caller.request_id);
    let user_id = caller.user_id;
    once(&app, &req, &caller, KeyRule::Optional, &body.bytes, async move |db| {
        let program = programs::lock_program(db, program_id).await?;
        program.ok_or_else(|| Problem::new(Code::NotFound))?;
        add_edition(db, &row, user_id, now).await.map_err(|refused| match refused {
            Refused::Date(date) => {
                Problem::new(Code::InvalidField).error("/effective_from", date.to_string())
            }
            Refused::Other(problem) => problem,
        })?;
        audit_store::record(db, entry, now).await?;
        let location = format!("/v1/attribution-policies/{policy_id}");
        Ok(Answer::created(location, PolicyBody::from(row)))
    })
    .await
}

/// Lists the editions of a program's attribution policy, in the order of their beginning.
#[utoipa::path(tag = "attribution", params(PageQuery), responses(
    (status = 200, body = Page<PolicyBody>), (status = 404, body = ProblemBody)))]
#[get("/v1/programs/{id}/attribution-policies")]
async fn list_policies(
    app: Data<App>,
    caller: Caller<scope::ProgramsRead>,
    id: Path<String>,
    page: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let program_id: ProgramId = path_id(&id)?;
    caller.check_reach(program_id)?;
    let (limit, after) = (page.limit()?, page.after()?);
    let db = app.db.clone();
    let rows = detached(async move {
        let mut db = db.acquire().await?;
        let program = programs::find_program(&mut db, program_id).await?;
        program.ok_or_else(|| Problem::new(Code::NotFound))?;
        Ok(store::list(&mut db, program_id, after, i64::from(limit) + 1).await?)
    })
    .await?;
    let page = Page::new(rows, limit, |row| row.effective_from).map(PolicyBody::from);
    Ok(HttpResponse::Ok().json(page))
}

/// Shows an edition of an attribution policy.
#[utoipa::path(tag = "attribution", responses(
    (status = 200, body = PolicyBody), (status = 404, body = ProblemBody)))]
#[get("/v1/attribution-policies/{id}")]
async fn get_attribution_policy(
    app: Data<App>,
    caller: Caller<scope::ProgramsRead>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id: AttributionPolicyId = path_id(&id)?;
    let db = app.db.clone();
    let found = detached(async move {
        let mut db = db.acquire().await?;
        Ok(store::find(&mut db, id).await?)
    })
    .await?;
    let row = found.filter(|row| caller.reaches(row.program_id));
    let row = row.ok_or_else(|| Problem::new(Code::NotFound))?;
    Ok(HttpResponse::Ok().json(PolicyBody::from(row)))
}
