//! Logins: a partner that no longer looks at its own figures is losing interest. The portal that
//! partners use, the operator's or ours, tells them.

use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, put};
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::{find_books, lock_enrolled};
use crate::account::http::{Caller, scope};
use crate::app::App;
use crate::ids::{PartnerId, ProgramId};
use crate::partner::network::store::logins as rows;
use crate::web::fields::{Mistakes, path_id};
use crate::web::{Problem, ProblemBody, StrictJson, transact};

/// More a day is a machine.
const LOGINS_MAX: i32 = 100_000;
/// The detector looks no further back.
const BACK_DAYS: i64 = 400;

pub(super) fn configure(cfg: &mut ServiceConfig) {
    cfg.service(set_logins);
}

/// How often a partner logged in on a day.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginsBody {
    /// The program.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// Logins of the day so far; the greatest number told stands.
    pub n_logins: i32,
}

/// Tells how often a partner logged in on a day of the program's time zone. The same call again
/// changes nothing.
#[utoipa::path(tag = "network", request_body = LoginsBody, responses(
    (status = 200, body = LoginsBody), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[put("/v1/partners/{id}/logins/{day}")]
async fn set_logins(
    app: Data<App>,
    caller: Caller<scope::PartnersWrite>,
    path: Path<(String, String)>,
    body: StrictJson<LoginsBody>,
) -> Result<HttpResponse, Problem> {
    let (partner_id, told): (PartnerId, _) = (path_id(&path.0)?, body.0);
    caller.check_reach(told.program_id)?;
    let day: Option<NaiveDate> = path.1.parse().ok();
    let now = app.clock.now();
    let answer = transact(&app.db, async move |db| {
        let today = find_books(db, told.program_id).await?.day(now);
        let is_near = |day: NaiveDate| (0..=BACK_DAYS).contains(&(today - day).num_days());
        let mut wrong = Mistakes::default();
        let ends = "must be a day such as 2026-11-27, not after today and at most 400 days back";
        wrong.check(day.is_some_and(is_near), "/day", ends);
        wrong.check(
            (1..=LOGINS_MAX).contains(&told.n_logins),
            "/n_logins",
            "must be 1 to 100000; a day without logins is not told",
        );
        wrong.end()?;
        let place = (told.program_id, partner_id);
        lock_enrolled(db, place).await?;
        let n_logins = rows::set(db, place, day.unwrap_or(today), told.n_logins, now).await?;
        Ok(LoginsBody { program_id: told.program_id, n_logins })
    })
    .await?;
    Ok(HttpResponse::Ok().json(answer))
}
