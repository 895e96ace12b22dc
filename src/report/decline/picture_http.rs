//! Handlers of the pictures that rows of `activity-decline` and `activity-rising` name.

use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, get};
use serde::Deserialize;
use utoipa_actix_web::service_config::ServiceConfig;

use super::judgment::{Picture, judge_one};
use super::picture::{Activity, chart, sparkline};
use crate::account::http::{Caller, scope};
use crate::app::App;
use crate::ids::{PartnerId, ProgramId};
use crate::report;
use crate::report::http::{PICTURES_ONLY, ReportQuery, find_params};
use crate::web::fields::path_id;
use crate::web::{Code, Problem, ProblemBody, Query, detached};

/// Days of a chart: two weeks at least, a year at most, sixteen weeks where nothing is said.
const DAYS: std::ops::RangeInclusive<usize> = 14..=366;
const USUAL_DAYS: usize = 112;

/// Adds the routes of pictures.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(show_chart).service(show_sparkline);
}

/// What a picture is asked for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PictureQuery {
    /// The program whose clicks are shown.
    #[param(value_type = String)]
    pub program_id: ProgramId,
    /// The last day of the picture, `2026-10-01`; yesterday where it is not given.
    pub day: Option<chrono::NaiveDate>,
    /// Days shown, 14 to 366; 112 where it is not given. A sparkline has its own.
    pub days: Option<usize>,
}

/// Draws clicks a day against what was expected, with the first day of a listed fall.
#[utoipa::path(tag = "reports", params(PictureQuery), responses(
    (status = 200, content_type = "image/svg+xml", body = String),
    (status = 404, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[get("/v1/partners/{id}/activity.svg")]
async fn show_chart(
    app: Data<App>,
    caller: Caller<scope::ReportsRead>,
    id: Path<String>,
    query: Query<PictureQuery>,
) -> Result<HttpResponse, Problem> {
    let days = query.days.unwrap_or(USUAL_DAYS);
    if !DAYS.contains(&days) {
        return Err(Problem::new(Code::InvalidField).error("/days", "must be 14 to 366"));
    }
    draw(app, caller, path_id(&id)?, query.into_inner(), days, chart::svg).await
}

/// Draws the last thirteen weeks in the size of a line of text.
#[utoipa::path(tag = "reports", params(PictureQuery), responses(
    (status = 200, content_type = "image/svg+xml", body = String),
    (status = 404, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[get("/v1/partners/{id}/sparkline.svg")]
async fn show_sparkline(
    app: Data<App>,
    caller: Caller<scope::ReportsRead>,
    id: Path<String>,
    query: Query<PictureQuery>,
) -> Result<HttpResponse, Problem> {
    let days = sparkline::DAYS;
    draw(app, caller, path_id(&id)?, query.into_inner(), days, sparkline::svg).await
}

async fn draw(
    app: Data<App>,
    caller: Caller<scope::ReportsRead>,
    partner_id: PartnerId,
    query: PictureQuery,
    days: usize,
    svg: fn(&Activity) -> String,
) -> Result<HttpResponse, Problem> {
    caller.check_reach(query.program_id)?;
    let asked = ReportQuery::on_day(query.program_id, query.day);
    let (db, now) = (app.db.clone(), app.clock.now());
    let picture = detached(async move {
        let params = find_params(&db, &asked, now).await?;
        let mut db = report::begin_reading(&db).await?;
        let found = judge_one(&mut db, &params, partner_id).await?;
        db.commit().await?;
        let Picture { name, course, decline, first } =
            found.ok_or_else(|| Problem::new(Code::NotFound))?;
        Ok(svg(&Activity::of(&name, course.view(), decline.as_ref(), first, days)))
    })
    .await?;
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "image/svg+xml; charset=utf-8"))
        .insert_header((CACHE_CONTROL, "private, max-age=300"))
        .insert_header((CONTENT_SECURITY_POLICY, PICTURES_ONLY))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(picture))
}
