//! The routes of what plans refer to beside themselves: rates of exchange and groups of partners.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse, get, post, put};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::account::audit_store::{self, Entry};
use crate::account::http::{Caller, scope};
use crate::account::once_http::{Answer, KeyRule, once};
use crate::app::App;
use crate::clock::Timestamp;
use crate::commission::plan::{nano_text, rate_nano};
use crate::commission::terms_store::{self, RateRow};
use crate::ids::{PartnerId, ProgramId};
use crate::money::Currency;
use crate::web::fields::{KeyedJson, Mistakes, path_id};
use crate::web::{Code, Problem, ProblemBody, detached};

/// Longest name of a source and of a group.
const TEXT_MAX: usize = 64;
/// Rates shown at once: two years of days.
const RATES_MAX: i64 = 750;

/// Adds the routes of rates and groups.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(create_rate).service(list_rates).service(set_group);
}

/// A rate of exchange to be entered.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRateBody {
    /// The currency of sales.
    pub from: String,
    /// The currency of payouts.
    pub to: String,
    /// How much of `to` one unit of `from` is worth, as text with at most 9 decimals: `0.9213`.
    pub rate: String,
    /// Who says so: `ecb`, `contract`.
    pub source: String,
    /// From when on it holds; now where it is not given.
    #[schema(value_type = Option<String>)]
    pub at: Option<Timestamp>,
}

/// A rate of exchange.
#[derive(Debug, Serialize, ToSchema)]
pub struct RateBody {
    /// The currency of sales.
    pub from: String,
    /// The currency of payouts.
    pub to: String,
    /// How much of `to` one unit of `from` is worth.
    pub rate: String,
    /// Who says so.
    pub source: String,
    /// From when on it holds.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// When it was entered.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
}

impl From<RateRow> for RateBody {
    fn from(row: RateRow) -> Self {
        Self {
            from: row.from_currency,
            to: row.to_currency,
            rate: nano_text(row.rate_nano),
            source: row.source,
            at: row.at,
            created_at: row.created_at,
        }
    }
}

/// The rates of a program, the latest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct RatesBody {
    /// At most 750.
    pub data: Vec<RateBody>,
}

/// The group of a partner.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupBody {
    /// The group that rules of plans name; none for no group.
    pub group: Option<String>,
}

/// Enters a rate of exchange; it is never changed, because commissions are reckoned by it.
#[utoipa::path(tag = "programs", request_body = NewRateBody, responses(
    (status = 201, body = RateBody), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[post("/v1/programs/{id}/fx-rates")]
async fn create_rate(
    app: Data<App>,
    req: HttpRequest,
    caller: Caller<scope::ProgramsWrite>,
    id: Path<String>,
    body: KeyedJson<NewRateBody>,
) -> Result<HttpResponse, Problem> {
    let program_id: ProgramId = path_id(&id)?;
    caller.check_reach(program_id)?;
    let now = app.clock.now();
    let row = read_rate(&body.value, now)?;
    let entry = Entry::by(&caller, "fx_rate.create", program_id)
        .program(program_id)
        .details(json!({"from": row.from_currency, "to": row.to_currency, "at": row.at,
            "rate": nano_text(row.rate_nano), "source": row.source}))
        .request(&caller.request_id);
    let user_id = caller.user_id;
    once(&app, &req, &caller, KeyRule::Optional, &body.bytes, async move |db| {
        if !terms_store::insert_rate(db, program_id, &row, user_id).await? {
            let detail = "has a rate already, which is never changed: give a later time";
            return Err(Problem::new(Code::InvalidField).error("/at", detail));
        }
        audit_store::record(db, entry, now).await?;
        let location = format!("/v1/programs/{program_id}/fx-rates");
        Ok(Answer::created(location, RateBody::from(row)))
    })
    .await
}

fn read_rate(body: &NewRateBody, now: Timestamp) -> Result<RateRow, Problem> {
    let mut wrong = Mistakes::default();
    for (pointer, code) in [("/from", &body.from), ("/to", &body.to)] {
        if let Err(error) = code.parse::<Currency>() {
            wrong.add(pointer, error.to_string());
        }
    }
    wrong.check(body.from != body.to, "/to", "must be another currency than from");
    wrong.text("/source", &body.source, TEXT_MAX);
    let rate = rate_nano(&body.rate);
    if let Err(error) = &rate {
        wrong.add("/rate", error.to_string());
    }
    wrong.end()?;
    Ok(RateRow {
        from_currency: body.from.clone(),
        to_currency: body.to.clone(),
        at: body.at.unwrap_or(now),
        rate_nano: rate.unwrap_or_default(),
        source: body.source.clone(),
        created_at: now,
    })
}

/// Lists the rates of exchange of a program, the latest first.
#[utoipa::path(tag = "programs", responses(
    (status = 200, body = RatesBody), (status = 404, body = ProblemBody)))]
#[get("/v1/programs/{id}/fx-rates")]
async fn list_rates(
    app: Data<App>,
    caller: Caller<scope::ProgramsRead>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let program_id: ProgramId = path_id(&id)?;
    caller.check_reach(program_id)?;
    let db = app.db.clone();
    let rows = detached(async move {
        let mut db = db.acquire().await?;
        Ok(terms_store::list_rates(&mut db, program_id, RATES_MAX).await?)
    })
    .await?;
    let data = rows.into_iter().map(RateBody::from).collect();
    Ok(HttpResponse::Ok().json(RatesBody { data }))
}

/// Puts a partner into the group that rules of plans name.
#[utoipa::path(tag = "programs", request_body = GroupBody, responses(
    (status = 200, body = GroupBody), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[put("/v1/programs/{id}/partners/{partner_id}/terms-group")]
async fn set_group(
    app: Data<App>,
    req: HttpRequest,
    caller: Caller<scope::ProgramsWrite>,
    path: Path<(String, String)>,
    body: KeyedJson<GroupBody>,
) -> Result<HttpResponse, Problem> {
    let (program_id, partner_id): (ProgramId, PartnerId) = (path_id(&path.0)?, path_id(&path.1)?);
    caller.check_reach(program_id)?;
    let group = body.value.group;
    if let Some(group) = &group {
        let mut wrong = Mistakes::default();
        wrong.text("/group", group, TEXT_MAX);
        wrong.end()?;
    }
    let now = app.clock.now();
    let entry = Entry::by(&caller, "enrollment.group", partner_id)
        .program(program_id)
        .details(json!({"group": group}))
        .request(&caller.request_id);
    once(&app, &req, &caller, KeyRule::Optional, &body.bytes, async move |db| {
        if !terms_store::set_group(db, program_id, partner_id, group.as_deref(), now).await? {
            return Err(Problem::new(Code::NotFound));
        }
        audit_store::record(db, entry, now).await?;
        Ok(Answer::ok(GroupBody { group }))
    })
    .await
}
