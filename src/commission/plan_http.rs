//! The routes of plans: editions are added, never changed.

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
use crate::commission::plan::{
    CapDocument, InvalidPlan, Language, PayInDocument, PlanDocument, PlanTerms, RecruiterDocument,
    RuleDocument, SCHEMA, Warning,
};
use crate::commission::plan_store::{self, PlanRow};
use crate::commission::store;
use crate::db::broken_constraint;
use crate::ids::{PlanVersionId, ProgramId};
use crate::web::fields::{KeyedJson, path_id};
use crate::web::{Code, Page, PageQuery, Problem, ProblemBody, Query, detached};

/// Adds the routes of plans.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(create_plan)
        .service(list_plans)
        .service(plan_schema)
        .service(plan_words)
        .service(get_plan);
}

/// An edition of a plan to be made: a plan document and its date.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPlanBody {
    /// From when on it prices events; now where it is not given. Only the first edition of a
    /// program may begin in the past: a later one would price again what is already priced.
    #[schema(value_type = Option<String>)]
    pub effective_from: Option<Timestamp>,
    /// The version of this form: 1.
    pub v: u8,
    /// The rules, at least one; 20 % of each sale where none are given.
    pub rules: Option<Vec<RuleDocument>>,
    /// Days between the event and its approval; 30 by default.
    pub hold_days: Option<u16>,
    /// `event` (by default) or `delivery`: the hold of sales and renewals is counted from the time that
    /// the shop names as `delivered_at`.
    pub hold_basis: Option<String>,
    /// `auto` (by default) or `manual`.
    pub approval: Option<String>,
    /// `half_even` (by default), `half_up` or `down`.
    pub rounding: Option<String>,
    /// What holds for all rules together.
    #[serde(default)]
    pub caps: Vec<CapDocument>,
    /// The currency that commissions are paid in, if not in that of each sale.
    pub pay_in: Option<PayInDocument>,
    /// What the recruiter of a partner has of its sales.
    pub recruiter: Option<RecruiterDocument>,
}

/// An edition of a plan as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlanBody {
    /// Its id.
    #[schema(value_type = String)]
    pub id: PlanVersionId,
    /// The program.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// From when on it prices events.
    #[schema(value_type = String)]
    pub effective_from: Timestamp,
    /// The plan.
    pub document: PlanDocument,
    /// The plan in words, a sentence for each rule and for what holds for all; in Russian by
    /// `GET /v1/plans/{id}/words?lang=ru`.
    pub sentences: Vec<String>,
    /// What a partner manager should think twice about; the plan is taken all the same.
    pub warnings: Vec<WarningBody>,
    /// When it was made.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
}

/// Something to think twice about.
#[derive(Debug, Serialize, ToSchema)]
pub struct WarningBody {
    /// What kind: `unusual_rate`, `many_rules`, `complex_rule` and so on.
    pub code: &'static str,
    /// Where in the plan, as a JSON pointer.
    pub pointer: String,
    /// What, and what to do about it.
    pub message: String,
}

impl From<Warning> for WarningBody {
    fn from(warning: Warning) -> Self {
        let Warning { code, pointer, message } = warning;
        Self { code, pointer, message }
    }
}

/// In which language.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub struct WordsQuery {
    /// `en` (by default) or `ru`.
    pub lang: Option<String>,
}

/// A plan in words.
#[derive(Debug, Serialize, ToSchema)]
pub struct WordsBody {
    /// The language.
    pub lang: String,
    /// A sentence for each rule, then what holds for all.
    pub sentences: Vec<String>,
}

impl TryFrom<PlanRow> for PlanBody {
    type Error = Problem;

    fn try_from(row: PlanRow) -> Result<Self, Problem> {
        let terms = PlanTerms::try_from(&row.document).map_err(Problem::internal)?;
        Ok(Self {
            id: row.plan_version_id,
            program_id: row.program_id,
            effective_from: row.effective_from,
            sentences: terms.words(Language::En),
            warnings: terms.warnings().into_iter().map(WarningBody::from).collect(),
            document: row.document,
            created_at: row.created_at,
        })
    }
}

impl NewPlanBody {
    /// Returns the document without its date.
    pub fn into_document(self) -> PlanDocument {
        let usual = PlanDocument::default();
        PlanDocument {
            v: self.v,
            rules: self.rules.unwrap_or(usual.rules),
            hold_days: self.hold_days.unwrap_or(usual.hold_days),
            hold_basis: self.hold_basis,
            approval: self.approval.unwrap_or(usual.approval),
            rounding: self.rounding.unwrap_or(usual.rounding),
            caps: self.caps,
            pay_in: self.pay_in,
            recruiter: self.recruiter,
        }
    }
}

impl From<InvalidPlan> for Problem {
    fn from(invalid: InvalidPlan) -> Self {
        let problem = Self::new(Code::InvalidField);
        invalid.errors.into_iter().fold(problem, |p, e| p.error(e.pointer, e.message))
    }
}

/// Says why an edition cannot begin when it wants to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum BadDate {
    #[error("is in the past; a new edition prices what is to come, so take {0} or later")]
    Past(Timestamp),
    #[error("is not after the latest edition, which begins at {0}")]
    NotAfter(Timestamp),
}

/// Decides whether an edition may begin at `wanted`; `latest` is the beginning of the latest one.
fn check_date(latest: Option<Timestamp>, wanted: Timestamp, now: Timestamp) -> Result<(), BadDate> {
    match latest {
        None => Ok(()),
        Some(latest) if wanted <= latest => Err(BadDate::NotAfter(latest)),
        Some(_) if wanted < now => Err(BadDate::Past(now)),
        Some(_) => Ok(()),
    }
}

/// Adds an edition of a program's plan.
#[utoipa::path(tag = "programs", request_body = NewPlanBody, responses(
    (status = 201, body = PlanBody), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[post("/v1/programs/{id}/plans")]
async fn create_plan(
    app: Data<App>,
    req: HttpRequest,
    caller: Caller<scope::ProgramsWrite>,
    id: Path<String>,
    body: KeyedJson<NewPlanBody>,
) -> Result<HttpResponse, Problem> {
    let program_id: ProgramId = path_id(&id)?;
    caller.check_reach(program_id)?;
    let now = app.clock.now();
    let effective_from = body.value.effective_from.unwrap_or(now);
    let document = body.value.into_document();
    PlanTerms::try_from(&document)?;
    let plan_version_id = PlanVersionId::new();
    let row = PlanRow { program_id, plan_version_id, effective_from, document, created_at: now };
    let entry = Entry::by(&caller, "plan.create", plan_version_id)
        .program(program_id)
        .details(json!({"effective_from": effective_from, "document": row.document}))
        .request(&caller.request_id);
    let user_id = caller.user_id;
    once(&app, &req, &caller, KeyRule::Optional, &body.bytes, async move |db| {
        if !plan_store::lock_plans(db, program_id).await? {
            return Err(Problem::new(Code::NotFound));
        }
        let latest = plan_store::latest_plan_date(db, program_id).await?;
        check_date(latest, effective_from, now).map_err(at_date)?;
        store::insert_plan(
            db,
            program_id,
            plan_version_id,
            effective_from,
            &row.document,
            user_id,
            now,
        )
        .await
        .map_err(|e| match broken_constraint(&e) {
            // PostgreSQL keeps microseconds: two instants may become one.
            Some("plan_versions_date_once") => at_date(BadDate::NotAfter(effective_from)),
            Some(_) | None => e.into(),
        })?;
        audit_store::record(db, entry, now).await?;
        let location = format!("/v1/plans/{plan_version_id}");
        Ok(Answer::created(location, PlanBody::try_from(row)?))
    })
    .await
}

fn at_date(error: BadDate) -> Problem {
    Problem::new(Code::InvalidField).error("/effective_from", error.to_string())
}

/// Lists the editions of a program's plan, in the order of their making.
#[utoipa::path(tag = "programs", params(PageQuery), responses(
    (status = 200, body = Page<PlanBody>), (status = 404, body = ProblemBody)))]
#[get("/v1/programs/{id}/plans")]
async fn list_plans(
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
        Ok(plan_store::list_plans(&mut db, program_id, after, i64::from(limit) + 1).await?)
    })
    .await?;
    let page = Page::new(rows, limit, |row| row.plan_version_id);
    let data: Result<Vec<_>, Problem> = page.data.into_iter().map(PlanBody::try_from).collect();
    let (has_more, next_cursor) = (page.has_more, page.next_cursor);
    Ok(HttpResponse::Ok().json(Page { data: data?, has_more, next_cursor }))
}

/// Shows an edition of a plan.
#[utoipa::path(tag = "programs", responses(
    (status = 200, body = PlanBody), (status = 404, body = ProblemBody)))]
#[get("/v1/plans/{id}")]
async fn get_plan(
    app: Data<App>,
    caller: Caller<scope::ProgramsRead>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id: PlanVersionId = path_id(&id)?;
    let db = app.db.clone();
    let found = detached(async move {
        let mut db = db.acquire().await?;
        Ok(plan_store::find_plan(&mut db, id).await?)
    })
    .await?;
    let row = found.filter(|row| caller.reaches(row.program_id));
    let row = row.ok_or_else(|| Problem::new(Code::NotFound))?;
    Ok(HttpResponse::Ok().json(PlanBody::try_from(row)?))
}

/// Says an edition of a plan in plain words.
#[utoipa::path(tag = "programs", params(WordsQuery), responses(
    (status = 200, body = WordsBody), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[get("/v1/plans/{id}/words")]
async fn plan_words(
    app: Data<App>,
    caller: Caller<scope::ProgramsRead>,
    id: Path<String>,
    query: Query<WordsQuery>,
) -> Result<HttpResponse, Problem> {
    let id: PlanVersionId = path_id(&id)?;
    let lang = query.into_inner().lang.unwrap_or_else(|| "en".to_owned());
    let language = Language::from_code(&lang).ok_or_else(|| {
        let detail = format!("{lang:?} is neither en nor ru");
        Problem::new(Code::InvalidField).error("/lang", detail)
    })?;
    let db = app.db.clone();
    let found = detached(async move {
        let mut db = db.acquire().await?;
        Ok(plan_store::find_plan(&mut db, id).await?)
    })
    .await?;
    let row = found.filter(|row| caller.reaches(row.program_id));
    let row = row.ok_or_else(|| Problem::new(Code::NotFound))?;
    let terms = PlanTerms::try_from(&row.document).map_err(Problem::internal)?;
    Ok(HttpResponse::Ok().json(WordsBody { lang, sentences: terms.words(language) }))
}

/// Returns the JSON Schema of a plan, for editors and for forms.
#[utoipa::path(tag = "programs", responses((status = 200, body = Object)))]
#[get("/v1/plans/schema")]
async fn plan_schema(_caller: Caller<scope::ProgramsRead>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/schema+json").body(SCHEMA)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn only_the_first_edition_may_begin_in_the_past() {
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let day = TimeDelta::days(1);
        for (latest, wanted, expected) in [
            (None, now - day, Ok(())),
            (None, now + day, Ok(())),
            (Some(now - day), now, Ok(())),
            (Some(now - day), now + day, Ok(())),
            (Some(now - day - day), now - day, Err(BadDate::Past(now))),
            (Some(now + day), now, Err(BadDate::NotAfter(now + day))),
            (Some(now), now, Err(BadDate::NotAfter(now))),
        ] {
            assert_eq!(check_date(latest, wanted, now), expected, "{latest:?} {wanted}");
        }
    }
}
