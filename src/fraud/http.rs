//! The routes of suspicion: what a program holds for review, and customers that are partners.

#![expect(unused_qualifications, reason = "utoipa repeats the types of two queries")]

use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, delete, get, post, put};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::account::audit_store::{self, Entry};
use crate::account::http::{Caller, scope};
use crate::app::App;
use crate::clock::Timestamp;
use crate::fraud::store::{self, FlagRow, OwnCustomer};
use crate::fraud::{Policy, PolicyDocument};
use crate::ids::{PartnerId, ProgramId};
use crate::partner::store as partners;
use crate::program::store as programs;
use crate::signing::hash_customer;
use crate::web::fields::{Mistakes, NAME_MAX, path_id};
use crate::web::{
    Code, Page, PageQuery, Problem, ProblemBody, Query, StrictJson, detached, transact,
};

/// Adds the routes of suspicion.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(get_fraud_policy)
        .service(put_fraud_policy)
        .service(add_own_customer)
        .service(list_own_customers)
        .service(remove_own_customer);
}

/// A flag as it is shown beside its commission.
#[derive(Debug, Serialize, ToSchema)]
pub struct FlagBody {
    /// `self_referral`, `too_fast`, `too_slow`, `velocity`, `refund_rate`, `source_share`,
    /// `paid_traffic` or `banned_referrer`.
    pub rule: String,
    /// What it saw and what it allows, as data.
    #[schema(value_type = Object)]
    pub figures: serde_json::Value,
    /// The same, for people.
    pub sentence: String,
    /// When it was raised.
    #[schema(value_type = String)]
    pub raised_at: Timestamp,
}

impl From<FlagRow> for FlagBody {
    fn from(row: FlagRow) -> Self {
        Self {
            rule: row.rule,
            figures: row.figures,
            sentence: row.sentence,
            raised_at: row.raised_at,
        }
    }
}

async fn check_program(db: &mut PgConnection, program_id: ProgramId) -> Result<(), Problem> {
    let found = programs::find_program(db, program_id).await?;
    found.map(drop).ok_or_else(|| Problem::new(Code::NotFound))
}

/// Shows what a program holds for review.
#[utoipa::path(tag = "fraud", responses(
    (status = 200, body = PolicyDocument), (status = 404, body = ProblemBody)))]
#[get("/v1/programs/{id}/fraud-policy")]
async fn get_fraud_policy(
    app: Data<App>,
    caller: Caller<scope::ProgramsRead>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let program_id: ProgramId = path_id(&id)?;
    caller.check_reach(program_id)?;
    let db = app.db.clone();
    let found = detached(async move {
        let mut db = db.acquire().await?;
        check_program(&mut db, program_id).await?;
        Ok(store::find_policy(&mut db, program_id).await?)
    })
    .await?;
    Ok(HttpResponse::Ok().json(found.unwrap_or_default()))
}

/// Writes what a program holds for review; what is left out is off, but for `self_referral`.
#[utoipa::path(tag = "fraud", request_body = PolicyDocument, responses(
    (status = 200, body = PolicyDocument), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[put("/v1/programs/{id}/fraud-policy")]
async fn put_fraud_policy(
    app: Data<App>,
    caller: Caller<scope::ProgramsWrite>,
    id: Path<String>,
    body: StrictJson<PolicyDocument>,
) -> Result<HttpResponse, Problem> {
    let program_id: ProgramId = path_id(&id)?;
    caller.check_reach(program_id)?;
    let document = body.0;
    if let Err(fields) = Policy::try_from(&document) {
        let mut wrong = Mistakes::default();
        fields.into_iter().for_each(|field| wrong.add(field.pointer, field.detail));
        wrong.end()?;
    }
    let now = app.clock.now();
    let document = transact(&app.db, async move |db| {
        check_program(db, program_id).await?;
        store::put_policy(db, program_id, &document, now).await?;
        let entry = Entry::by(&caller, "fraud_policy.write", program_id)
            .program(program_id)
            .details(json!(document))
            .request(&caller.request_id);
        audit_store::record(db, entry, now).await?;
        Ok(document)
    })
    .await?;
    Ok(HttpResponse::Ok().json(document))
}

/// A name under which the shop knows a partner as a customer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOwnCustomerBody {
    /// The program.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// The shop's name of the customer, as in conversions; only a keyed hash is kept.
    pub customer_ref: String,
}

/// A customer that is a partner itself, as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct OwnCustomerBody {
    /// The keyed hash of the customer, hexadecimal.
    pub customer_hash: String,
    /// Since when it is known.
    #[schema(value_type = String)]
    pub since: Timestamp,
}

impl From<OwnCustomer> for OwnCustomerBody {
    fn from(own: OwnCustomer) -> Self {
        let customer_hash = own.customer_hash.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { customer_hash, since: own.created_at }
    }
}

/// Which program an answer is about.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OwnCustomerQuery {
    /// The program.
    #[param(value_type = String)]
    pub program_id: ProgramId,
}

/// Registers a customer as the partner itself: its orders are held as self-referral.
#[utoipa::path(tag = "fraud", request_body = NewOwnCustomerBody, responses(
    (status = 201, body = OwnCustomerBody), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[post("/v1/partners/{id}/own-customers")]
async fn add_own_customer(
    app: Data<App>,
    caller: Caller<scope::PartnersWrite>,
    id: Path<String>,
    body: StrictJson<NewOwnCustomerBody>,
) -> Result<HttpResponse, Problem> {
    let (partner_id, new): (PartnerId, _) = (path_id(&id)?, body.0);
    let place = (new.program_id, partner_id);
    caller.check_reach(new.program_id)?;
    let mut wrong = Mistakes::default();
    wrong.text("/customer_ref", &new.customer_ref, NAME_MAX);
    wrong.end()?;
    let customer_hash = hash_customer(&app.customer_key, &new.customer_ref).to_vec();
    let now = app.clock.now();
    let own = OwnCustomer { customer_hash, created_at: now };
    let answer = transact(&app.db, async move |db| {
        check_enrolled(db, place).await?;
        if store::insert_own_customer(db, place, &own).await? {
            let entry = Entry::by(&caller, "own_customer.add", partner_id)
                .program(new.program_id)
                .request(&caller.request_id);
            audit_store::record(db, entry, now).await?;
        }
        Ok(OwnCustomerBody::from(own))
    })
    .await?;
    Ok(HttpResponse::Created().json(answer))
}

/// Lists the customers that are the partner itself.
#[utoipa::path(tag = "fraud", params(OwnCustomerQuery, PageQuery), responses(
    (status = 200, body = Page<OwnCustomerBody>), (status = 404, body = ProblemBody)))]
#[get("/v1/partners/{id}/own-customers")]
async fn list_own_customers(
    app: Data<App>,
    caller: Caller<scope::PartnersRead>,
    id: Path<String>,
    query: Query<OwnCustomerQuery>,
    page: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let place = (query.program_id, path_id(&id)?);
    caller.check_reach(place.0)?;
    let (limit, after) = (page.limit()?, page.after()?);
    let db = app.db.clone();
    let found = detached(async move {
        let mut db = db.acquire().await?;
        check_enrolled(&mut db, place).await?;
        Ok(store::list_own_customers(&mut db, place, after, i64::from(limit) + 1).await?)
    })
    .await?;
    let page = Page::new(found, limit, |own| own.customer_hash.clone()).map(OwnCustomerBody::from);
    Ok(HttpResponse::Ok().json(page))
}

/// Forgets a customer of a partner, by the hash that the list shows.
#[utoipa::path(tag = "fraud", params(OwnCustomerQuery), responses(
    (status = 204), (status = 404, body = ProblemBody)))]
#[delete("/v1/partners/{id}/own-customers/{customer_hash}")]
async fn remove_own_customer(
    app: Data<App>,
    caller: Caller<scope::PartnersWrite>,
    path: Path<(String, String)>,
    query: Query<OwnCustomerQuery>,
) -> Result<HttpResponse, Problem> {
    let partner_id: PartnerId = path_id(&path.0)?;
    let place = (query.program_id, partner_id);
    caller.check_reach(place.0)?;
    let hash = read_hash(&path.1).ok_or_else(|| Problem::new(Code::NotFound))?;
    let now = app.clock.now();
    transact(&app.db, async move |db| {
        if !store::delete_own_customer(db, place, &hash).await? {
            return Err(Problem::new(Code::NotFound));
        }
        let entry = Entry::by(&caller, "own_customer.remove", partner_id)
            .program(place.0)
            .request(&caller.request_id);
        Ok(audit_store::record(db, entry, now).await?)
    })
    .await?;
    Ok(HttpResponse::NoContent().finish())
}

fn read_hash(text: &str) -> Option<Vec<u8>> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}

/// Refuses a partner that is not enrolled in the program.
async fn check_enrolled(
    db: &mut PgConnection,
    (program_id, partner_id): (ProgramId, PartnerId),
) -> Result<(), Problem> {
    let found = partners::find_enrollment(db, program_id, partner_id).await?;
    found.map(drop).ok_or_else(|| Problem::new(Code::NotFound))
}
