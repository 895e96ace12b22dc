//! The handler of landing checks.

use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, post};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::{probe, store};
use crate::account::audit_store::{self, Entry};
use crate::account::http::{Caller, scope};
use crate::app::App;
use crate::clock::Timestamp;
use crate::ids::ProgramId;
use crate::program::store as program_store;
use crate::web::fields::path_id;
use crate::web::{Code, Problem, ProblemBody, detached, transact};

/// Adds the route of landing checks.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(check_landing);
}

/// What a check of the landing page found.
#[derive(Debug, Serialize, ToSchema)]
pub struct LandingCheckBody {
    /// `ok`, `dead`, `drops_click_id` or `not_checked`.
    pub verdict: &'static str,
    /// Why, in words.
    pub text: String,
    /// The last HTTP status.
    pub http_status: Option<u16>,
    /// Where the visit ended, without parameters.
    pub final_url: Option<String>,
    /// When.
    #[schema(value_type = String)]
    pub checked_at: Timestamp,
}

/// Visits the program's landing page with a probe and tells whether it is there and keeps the
/// click id; at most ten seconds, at most five redirects.
#[utoipa::path(tag = "cases", responses(
    (status = 200, body = LandingCheckBody), (status = 404, body = ProblemBody)))]
#[post("/v1/programs/{id}/landing-check")]
async fn check_landing(
    app: Data<App>,
    caller: Caller<scope::ProgramsWrite>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let program_id: ProgramId = path_id(&id)?;
    caller.check_reach(program_id)?;
    let (db, now) = (app.db.clone(), app.clock.now());
    let guard = app.guard();
    // No connection is held while a stranger's server thinks.
    let check = detached(async move {
        let program = {
            let mut db = db.acquire().await?;
            program_store::find_program(&mut db, program_id).await?
        };
        let program = program.ok_or_else(|| Problem::new(Code::NotFound))?;
        Ok(probe::check(&program, &guard, now).await)
    })
    .await?;
    let entry = Entry::by(&caller, "landing.check", program_id)
        .program(program_id)
        .details(json!({"verdict": check.verdict.as_str()}))
        .request(&caller.request_id);
    let answer = LandingCheckBody {
        verdict: check.verdict.as_str(),
        text: check.text.clone(),
        http_status: check.http_status,
        final_url: check.final_url.clone(),
        checked_at: now,
    };
    transact(&app.db, async move |db| {
        store::insert_check(db, program_id, &check, now).await?;
        Ok(audit_store::record(db, entry, now).await?)
    })
    .await?;
    Ok(HttpResponse::Ok().json(answer))
}
