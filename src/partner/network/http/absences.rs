//! Declared absences: the decline detector neither judges these days nor learns from them.

use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, delete, get, post};
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::{ProgramQuery, check_enrolled, lock_enrolled};
use crate::account::audit_store::{self, Entry};
use crate::account::http::{Caller, scope};
use crate::app::App;
use crate::ids::{AbsenceId, PartnerId, ProgramId};
use crate::partner::network::Days;
use crate::partner::network::absence::{COUNT_MAX, DAYS_MAX, REASONS, merge};
use crate::partner::network::store::absences::{self as rows, Absence};
use crate::web::fields::{Mistakes, path_id};
use crate::web::{Code, Page, Problem, ProblemBody, Query, StrictJson, detached, transact};

pub(super) fn configure(cfg: &mut ServiceConfig) {
    cfg.service(declare_absence).service(list_absences).service(take_absence_back);
}

/// An absence to be declared.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAbsenceBody {
    /// The program.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// The first day.
    #[schema(value_type = String)]
    pub from: NaiveDate,
    /// The last day.
    #[schema(value_type = String)]
    pub to: NaiveDate,
    /// `season`, `holiday` or `other`.
    pub reason: String,
}

/// An absence as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct AbsenceBody {
    /// Its id.
    #[schema(value_type = String)]
    pub id: AbsenceId,
    /// The first day.
    #[schema(value_type = String)]
    pub from: NaiveDate,
    /// The last day.
    #[schema(value_type = String)]
    pub to: NaiveDate,
    /// `season`, `holiday` or `other`.
    pub reason: String,
}

impl From<Absence> for AbsenceBody {
    fn from(a: Absence) -> Self {
        Self { id: a.absence_id, from: a.days.from, to: a.days.to, reason: a.reason }
    }
}

/// Declares an absence; days that overlap or touch a known one become one absence with it.
#[utoipa::path(tag = "network", request_body = NewAbsenceBody, responses(
    (status = 201, body = AbsenceBody), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[post("/v1/partners/{id}/absences")]
async fn declare_absence(
    app: Data<App>,
    caller: Caller<scope::PartnersWrite>,
    id: Path<String>,
    body: StrictJson<NewAbsenceBody>,
) -> Result<HttpResponse, Problem> {
    let (partner_id, new): (PartnerId, _) = (path_id(&id)?, body.0);
    let place = (new.program_id, partner_id);
    caller.check_reach(new.program_id)?;
    let days = Days { from: new.from, to: new.to };
    let mut wrong = Mistakes::default();
    wrong.one_of("/reason", &new.reason, &REASONS);
    wrong.check((1..=DAYS_MAX).contains(&days.count()), "/to", "must be 0 to 365 days after from");
    wrong.end()?;
    let now = app.clock.now();
    let answer = transact(&app.db, async move |db| {
        lock_enrolled(db, place).await?;
        let known = rows::list(db, new.program_id, partner_id).await?;
        if known.len() >= COUNT_MAX {
            return Err(Problem::new(Code::InvalidField)
                .error("", "the partner has 100 absences already; delete old ones"));
        }
        let known: Vec<_> = known.into_iter().map(|a| (a.absence_id, a.days)).collect();
        let merged = merge(&known, days);
        let absence =
            Absence { absence_id: AbsenceId::new(), days: merged.days, reason: new.reason };
        rows::replace(db, place, &merged.absorbed, &absence, now).await?;
        let answer = AbsenceBody::from(absence);
        let entry = Entry::by(&caller, "absence.declare", partner_id)
            .program(new.program_id)
            .details(json!(answer))
            .request(&caller.request_id);
        audit_store::record(db, entry, now).await?;
        Ok(answer)
    })
    .await?;
    Ok(HttpResponse::Created().json(answer))
}

/// Lists the absences of a partner in a program: 100 at most, all on one page.
#[utoipa::path(tag = "network", params(ProgramQuery), responses(
    (status = 200, body = Page<AbsenceBody>), (status = 404, body = ProblemBody)))]
#[get("/v1/partners/{id}/absences")]
async fn list_absences(
    app: Data<App>,
    caller: Caller<scope::PartnersRead>,
    id: Path<String>,
    query: Query<ProgramQuery>,
) -> Result<HttpResponse, Problem> {
    let (partner_id, program_id) = (path_id(&id)?, query.program_id);
    caller.check_reach(program_id)?;
    let db = app.db.clone();
    let found = detached(async move {
        let mut db = db.acquire().await?;
        check_enrolled(&mut db, (program_id, partner_id)).await?;
        Ok(rows::list(&mut db, program_id, partner_id).await?)
    })
    .await?;
    let data = found.into_iter().map(AbsenceBody::from).collect();
    Ok(HttpResponse::Ok().json(Page { data, has_more: false, next_cursor: None }))
}

/// Takes an absence back.
#[utoipa::path(tag = "network", responses((status = 204), (status = 404, body = ProblemBody)))]
#[delete("/v1/partners/{id}/absences/{absence_id}")]
async fn take_absence_back(
    app: Data<App>,
    caller: Caller<scope::PartnersWrite>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (partner_id, absence_id): (PartnerId, AbsenceId) = (path_id(&path.0)?, path_id(&path.1)?);
    let now = app.clock.now();
    transact(&app.db, async move |db| {
        let reach = caller.programs.as_deref();
        let found = rows::delete(db, partner_id, absence_id, reach).await?;
        let program_id = found.ok_or_else(|| Problem::new(Code::NotFound))?;
        let entry = Entry::by(&caller, "absence.delete", partner_id)
            .program(program_id)
            .details(json!({"absence_id": absence_id}))
            .request(&caller.request_id);
        Ok(audit_store::record(db, entry, now).await?)
    })
    .await?;
    Ok(HttpResponse::NoContent().finish())
}
