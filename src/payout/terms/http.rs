//! Handlers of payout terms and smallest payouts.

use actix_web::web::{Bytes as RawBody, Data, Path};
use actix_web::{HttpRequest, HttpResponse, get, post, put};
use chrono::NaiveDate;
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::store::{self, Minimum};
use crate::account::http::{Caller, scope};
use crate::app::App;
use crate::clock::Timestamp;
use crate::ids::{PartnerId, ProgramId};
use crate::money::{AmountRule, Currency, Money};
use crate::partner::store::find_enrollment;
use crate::payout::cycle::{Cycle, PayTerms, day_begins};
use crate::payout::http::{Who, parse_id, read_json};
use crate::program::Program;
use crate::program::store::find_program;
use crate::web::{Code, Problem, ProblemBody, detached, transact};

/// Smallest payouts that are listed, at most.
const MINIMUMS_MAX: i64 = 1_000;

/// Adds the routes.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(put_terms).service(get_terms).service(add_minimum).service(list_minimums);
}

/// When a program pays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TermsChange {
    /// `weekly`, `semi_monthly` or `monthly`.
    #[schema(example = "monthly")]
    pub cycle: String,
    /// Days from the end of a period to its payment, 0 to 90.
    #[schema(example = 15)]
    pub net_days: u16,
}

/// When a program pays, as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct TermsBody {
    /// `weekly`, `semi_monthly` or `monthly`.
    pub cycle: &'static str,
    /// Days from the end of a period to its payment.
    pub net_days: u16,
    /// The last period that is over.
    pub last_period: String,
    /// What was approved later is not in it.
    #[schema(value_type = String)]
    pub cutoff: Timestamp,
    /// When it is due.
    #[schema(value_type = String)]
    pub due_date: NaiveDate,
}

fn told(terms: PayTerms, program: &Program, now: Timestamp) -> Result<TermsBody, Problem> {
    let zone: Tz = program.time_zone.parse().unwrap_or(Tz::UTC);
    let today = now.with_timezone(&zone).date_naive();
    let period = terms.cycle.last_before(today).ok_or_else(|| Problem::new(Code::NotFound))?;
    let end = terms.cycle.end_of(&period).map_err(Problem::internal)?;
    Ok(TermsBody {
        cycle: terms.cycle.code(),
        net_days: terms.net_days,
        cutoff: day_begins(end, zone),
        due_date: terms.due_on(&period).map_err(Problem::internal)?,
        last_period: period.to_string(),
    })
}

/// Says how often a program pays, and how many days after the end of a period.
#[utoipa::path(tag = "payouts", request_body = TermsChange, responses(
    (status = 200, body = TermsBody), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[put("/v1/programs/{id}/payout-terms")]
async fn put_terms(
    app: Data<App>,
    caller: Caller<scope::ProgramsWrite>,
    req: HttpRequest,
    id: Path<String>,
    bytes: RawBody,
) -> Result<HttpResponse, Problem> {
    let id: ProgramId = parse_id(&id)?;
    caller.check_reach(id)?;
    let body: TermsChange = read_json(&req, &bytes)?;
    let cycle = Cycle::from_code(&body.cycle);
    let mut problem = Problem::new(Code::InvalidField);
    if cycle.is_none() {
        let known = Cycle::ALL.map(Cycle::code).join(", ");
        problem = problem.error("/cycle", format!("must be one of {known}"));
    }
    if body.net_days > PayTerms::NET_DAYS_MAX {
        let why = format!("must be 0 to {}", PayTerms::NET_DAYS_MAX);
        problem = problem.error("/net_days", why);
    }
    let Some(cycle) = cycle.filter(|_| problem.errors().is_empty()) else { return Err(problem) };
    let terms = PayTerms { cycle, net_days: body.net_days };
    let who = Who::new(&caller, app.clock.now());
    let answer = transact(&app.db, async move |db| {
        let program = find_program(db, id).await?.ok_or_else(|| Problem::new(Code::NotFound))?;
        let before = store::find_terms(db, id).await?;
        store::put_terms(db, id, terms, who.actor.at).await?;
        let shown = |t: PayTerms| json!({"cycle": t.cycle.code(), "net_days": t.net_days});
        let details = json!({"before": shown(before), "after": shown(terms)});
        who.record(db, "payout_terms.set", id, id, details).await?;
        told(terms, &program, who.actor.at)
    })
    .await?;
    Ok(HttpResponse::Ok().json(answer))
}

/// Shows how often a program pays, and the last period that is over.
#[utoipa::path(tag = "payouts",
    responses((status = 200, body = TermsBody), (status = 404, body = ProblemBody)))]
#[get("/v1/programs/{id}/payout-terms")]
async fn get_terms(
    app: Data<App>,
    caller: Caller<scope::PayoutsRead>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id: ProgramId = parse_id(&id)?;
    caller.check_reach(id)?;
    let (db, now) = (app.db.clone(), app.clock.now());
    let answer = detached(async move {
        let mut db = db.acquire().await?;
        let program = find_program(&mut db, id).await?;
        let program = program.ok_or_else(|| Problem::new(Code::NotFound))?;
        told(store::find_terms(&mut db, id).await?, &program, now)
    })
    .await?;
    Ok(HttpResponse::Ok().json(answer))
}

/// A smallest payout, from a day on.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MinimumBody {
    /// Of this partner alone; of the program where none is given.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub partner_id: Option<PartnerId>,
    /// ISO 4217 code.
    #[schema(example = "EUR")]
    pub currency: String,
    /// In major units; zero pays whatever is owed.
    #[schema(example = "50.00")]
    pub minimum: String,
    /// The first day on which it counts.
    #[schema(value_type = String, example = "2026-12-01")]
    pub effective_from: NaiveDate,
}

/// Adds a smallest payout, of a program or of one partner in it, from a day on.
#[utoipa::path(tag = "payouts", request_body = MinimumBody, responses(
    (status = 201, body = MinimumBody), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[post("/v1/programs/{id}/payout-minimums")]
async fn add_minimum(
    app: Data<App>,
    caller: Caller<scope::ProgramsWrite>,
    req: HttpRequest,
    id: Path<String>,
    bytes: RawBody,
) -> Result<HttpResponse, Problem> {
    let id: ProgramId = parse_id(&id)?;
    caller.check_reach(id)?;
    let body: MinimumBody = read_json(&req, &bytes)?;
    let wrong = |at: &str, why: String| Problem::new(Code::InvalidField).error(at, why);
    let currency: Currency =
        body.currency.parse().map_err(|e| wrong("/currency", format!("{e}")))?;
    let minimum = Money::parse_amount(&body.minimum, currency, AmountRule::ZeroOrMore)
        .map_err(|e| wrong("/minimum", format!("{e}")))?;
    let row = Minimum {
        partner_id: body.partner_id,
        currency: body.currency.clone(),
        effective_from: body.effective_from,
        minimum_minor: minimum.minor,
    };
    let who = Who::new(&caller, app.clock.now());
    transact(&app.db, async move |db| {
        if find_program(db, id).await?.is_none() {
            return Err(Problem::new(Code::NotFound));
        }
        if let Some(partner_id) = row.partner_id
            && find_enrollment(db, id, partner_id).await?.is_none()
        {
            let why = "is not enrolled in the program".to_owned();
            return Err(Problem::new(Code::InvalidField).error("/partner_id", why));
        }
        if !store::insert_minimum(db, id, &row, who.actor.user_id, who.actor.at).await? {
            let why = "there is one from that day already; give a later day";
            return Err(Problem::new(Code::InvalidField).error("/effective_from", why));
        }
        let details = json!({
            "partner_id": row.partner_id, "currency": row.currency,
            "minimum_minor": row.minimum_minor, "effective_from": row.effective_from,
        });
        who.record(db, "payout_minimum.add", id, id, details).await
    })
    .await?;
    Ok(HttpResponse::Created().json(body))
}

/// Lists the smallest payouts of a program, those of partners after its own.
#[utoipa::path(tag = "payouts",
    responses((status = 200, body = Vec<MinimumBody>), (status = 404, body = ProblemBody)))]
#[get("/v1/programs/{id}/payout-minimums")]
async fn list_minimums(
    app: Data<App>,
    caller: Caller<scope::PayoutsRead>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id: ProgramId = parse_id(&id)?;
    caller.check_reach(id)?;
    let db = app.db.clone();
    let rows = detached(async move {
        let mut db = db.acquire().await?;
        Ok(store::list_minimums(&mut db, id, MINIMUMS_MAX).await?)
    })
    .await?;
    let mut minimums = Vec::with_capacity(rows.len());
    for row in rows {
        let currency: Currency = row.currency.parse().map_err(Problem::internal)?;
        minimums.push(MinimumBody {
            partner_id: row.partner_id,
            minimum: Money::new(row.minimum_minor, currency).to_decimal_string(),
            currency: row.currency,
            effective_from: row.effective_from,
        });
    }
    Ok(HttpResponse::Ok().json(json!({"data": minimums, "has_more": false})))
}
