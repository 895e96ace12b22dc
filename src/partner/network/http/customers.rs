//! Customers that stay a partner's for a while: the step `customer` of attribution looks at them.

use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, get, post};
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::{ProgramQuery, check_enrolled, find_books, lock_enrolled};
use crate::account::audit_store::{self, Entry};
use crate::account::http::{Caller, scope};
use crate::app::App;
use crate::clock::Timestamp;
use crate::ids::{PartnerId, ProgramId};
use crate::partner::network::store::customers::{self as rows, Protection};
use crate::partner::network::store::read_policy;
use crate::signing::hash_customer;
use crate::web::fields::{Mistakes, NAME_MAX, path_id};
use crate::web::{
    Code, Page, PageQuery, Problem, ProblemBody, Query, StrictJson, detached, transact,
};

pub(super) fn configure(cfg: &mut ServiceConfig) {
    cfg.service(protect_customer).service(list_protected).service(check_customer);
}

/// A customer to be protected.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProtectionBody {
    /// The program.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// The shop's name of the customer, as in conversions; only a keyed hash is kept.
    pub customer_ref: String,
}

/// A customer to be looked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomerBody {
    /// The shop's name of the customer.
    pub customer_ref: String,
}

/// A protection as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProtectionBody {
    /// The keyed hash of the customer, hexadecimal.
    pub customer_hash: String,
    /// Whose customer it is.
    #[schema(value_type = String)]
    pub partner_id: PartnerId,
    /// Since when.
    #[schema(value_type = String)]
    pub since: Timestamp,
    /// Until when.
    #[schema(value_type = String)]
    pub until: Timestamp,
}

impl From<Protection> for ProtectionBody {
    fn from(p: Protection) -> Self {
        let customer_hash = p.customer_hash.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { customer_hash, partner_id: p.partner_id, since: p.since, until: p.until }
    }
}

/// Whether a customer is protected.
#[derive(Debug, Serialize, ToSchema)]
pub struct CheckBody {
    /// Whether it is somebody's.
    pub is_protected: bool,
    /// Whose, and until when.
    pub protection: Option<ProtectionBody>,
}

fn check_ref(customer_ref: &str) -> Result<(), Problem> {
    let mut wrong = Mistakes::default();
    wrong.text("/customer_ref", customer_ref, NAME_MAX);
    wrong.end()
}

/// Protects a customer for a partner, from now for the days of the program.
#[utoipa::path(tag = "network", request_body = NewProtectionBody, responses(
    (status = 201, body = ProtectionBody), (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[post("/v1/partners/{id}/protected-customers")]
async fn protect_customer(
    app: Data<App>,
    caller: Caller<scope::PartnersWrite>,
    id: Path<String>,
    body: StrictJson<NewProtectionBody>,
) -> Result<HttpResponse, Problem> {
    let (partner_id, program_id): (PartnerId, _) = (path_id(&id)?, body.0.program_id);
    caller.check_reach(program_id)?;
    check_ref(&body.0.customer_ref)?;
    let customer_hash = hash_customer(&app.customer_key, &body.0.customer_ref).to_vec();
    let now = app.clock.now();
    let answer = transact(&app.db, async move |db| {
        lock_enrolled(db, (program_id, partner_id)).await?;
        let days = read_policy(db, program_id).await?.customer_protection_days;
        if days == 0 {
            return Err(Problem::new(Code::InvalidTransition).detail(
                "The program protects no customers; set customer_protection_days of its \
                 network-policy.",
            ));
        }
        let until = now + TimeDelta::days(days.into());
        let protection = Protection { customer_hash, partner_id, since: now, until };
        let since = rows::protect(db, program_id, &protection).await?.ok_or_else(|| {
            Problem::new(Code::InvalidTransition)
                .detail("The customer is another partner's; wait until that has ended.")
        })?;
        let entry = Entry::by(&caller, "customer.protect", partner_id)
            .program(program_id)
            .details(json!({"until": until}))
            .request(&caller.request_id);
        audit_store::record(db, entry, now).await?;
        Ok(ProtectionBody::from(Protection { since, ..protection }))
    })
    .await?;
    Ok(HttpResponse::Created().json(answer))
}

/// Lists the customers that are a partner's now.
#[utoipa::path(tag = "network", params(ProgramQuery, PageQuery), responses(
    (status = 200, body = Page<ProtectionBody>), (status = 404, body = ProblemBody)))]
#[get("/v1/partners/{id}/protected-customers")]
async fn list_protected(
    app: Data<App>,
    caller: Caller<scope::PartnersRead>,
    id: Path<String>,
    query: Query<ProgramQuery>,
    page: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let place = (query.program_id, path_id(&id)?);
    caller.check_reach(place.0)?;
    let (limit, after) = (page.limit()?, page.after()?);
    let (db, now) = (app.db.clone(), app.clock.now());
    let found = detached(async move {
        let mut db = db.acquire().await?;
        check_enrolled(&mut db, place).await?;
        Ok(rows::list(&mut db, place, now, after, i64::from(limit) + 1).await?)
    })
    .await?;
    let page = Page::new(found, limit, |p| p.customer_hash.clone()).map(ProtectionBody::from);
    Ok(HttpResponse::Ok().json(page))
}

/// Tells whose a customer is; the name travels in the body, since addresses end up in logs.
#[utoipa::path(tag = "network", request_body = CustomerBody, responses(
    (status = 200, body = CheckBody), (status = 404, body = ProblemBody)))]
#[post("/v1/programs/{id}/protected-customers/check")]
async fn check_customer(
    app: Data<App>,
    caller: Caller<scope::PartnersRead>,
    id: Path<String>,
    body: StrictJson<CustomerBody>,
) -> Result<HttpResponse, Problem> {
    let program_id: ProgramId = path_id(&id)?;
    caller.check_reach(program_id)?;
    check_ref(&body.0.customer_ref)?;
    let hash = hash_customer(&app.customer_key, &body.0.customer_ref);
    let (db, now) = (app.db.clone(), app.clock.now());
    let found = detached(async move {
        let mut db = db.acquire().await?;
        find_books(&mut db, program_id).await?;
        Ok(rows::find(&mut db, program_id, &hash, now).await?)
    })
    .await?;
    let answer =
        CheckBody { is_protected: found.is_some(), protection: found.map(ProtectionBody::from) };
    Ok(HttpResponse::Ok().json(answer))
}
