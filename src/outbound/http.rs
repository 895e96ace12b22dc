//! The routes of webhook endpoints, their secrets and their deliveries.
//!
//! A secret is shown in the answer that makes it and never again, so these answers are not kept
//! for idempotency keys either: repeating such a request makes another endpoint or secret.

#![expect(unused_qualifications, reason = "utoipa repeats the types of two queries")]

use actix_web::http::header::{CACHE_CONTROL, LOCATION};
use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, delete, get, patch, post};
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::account::audit_store::{self, Entry};
use crate::account::http::{Caller, scope};
use crate::address::Guard;
use crate::app::App;
use crate::clock::Timestamp;
use crate::conversion::signature::WebhookSecret;
use crate::db::{DbTx, broken_constraint};
use crate::ids::{EndpointId, NoticeId, ProgramId, SecretId};
use crate::outbound::{Delivery, Endpoint, Notice, PING, store};
use crate::sealing::random_bytes;
use crate::web::fields::{Mistakes, path_id};
use crate::web::{
    Code, Page, PageQuery, Problem, ProblemBody, Query, StrictJson, detached, transact,
};

const STATUSES: [&str; 2] = ["active", "disabled"];
const URL_MAX: usize = 2048;
const KINDS_MAX: usize = 50;
const KIND_MAX: usize = 64;
const OVERLAP_HOURS_DEFAULT: u16 = 72;
/// Thirty days: whoever has not changed the secret by then never will.
const OVERLAP_HOURS_MAX: u16 = 720;

/// Adds the routes of endpoints.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(create_webhook_endpoint)
        .service(list_webhook_endpoints)
        .service(get_webhook_endpoint)
        .service(update_webhook_endpoint)
        .service(delete_webhook_endpoint)
        .service(rotate_endpoint_secret)
        .service(test_webhook_endpoint)
        .service(list_deliveries)
        .service(retry_delivery);
}

/// An endpoint to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEndpointBody {
    /// The program whose notices it gets.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// Where messages go: https, on a public address.
    #[schema(example = "https://hooks.example/tributary")]
    pub url: String,
    /// Kinds that it wants, such as `partner.activity_declined`; `*`, the default, stands for all.
    pub kinds: Option<Vec<String>>,
}

/// What is to change of an endpoint.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointChanges {
    /// `active` or `disabled`; disabling ends what is pending.
    pub status: String,
}

/// A secret to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEndpointSecretBody {
    /// Hours for which messages are signed with the older secret too, 0 to 720; 72 by default.
    pub overlap_hours: Option<u16>,
}

/// Which endpoints to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EndpointFilter {
    /// The program.
    #[param(value_type = String)]
    pub program_id: ProgramId,
}

/// An endpoint as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct EndpointBody {
    /// Its id.
    #[schema(value_type = String)]
    pub id: EndpointId,
    /// The program whose notices it gets.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// Where messages go.
    pub url: String,
    /// Kinds that it wants; `*` stands for all.
    pub kinds: Vec<String>,
    /// `active` or `disabled`.
    pub status: String,
    /// The first failure since the last success.
    #[schema(value_type = Option<String>)]
    pub failing_since: Option<Timestamp>,
    /// What its messages are signed with: shown in the answer that makes it, never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// When it was made.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
}

/// A new secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct EndpointSecretBody {
    /// Its id.
    #[schema(value_type = String)]
    pub id: SecretId,
    /// The secret: shown here, never again.
    pub secret: String,
    /// Until when messages are signed with the older secret too.
    #[schema(value_type = String)]
    pub older_ends_at: Timestamp,
}

/// What became of a notice at an endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryBody {
    /// The notice's id, which is the `webhook-id` of the message.
    #[schema(value_type = String)]
    pub id: NoticeId,
    /// Kind of the notice.
    pub kind: String,
    /// `pending`, `delivered` or `failed`.
    pub status: String,
    /// Attempts begun since it was first due, or since it was last asked for by hand.
    pub attempts: i32,
    /// When it is tried next, if it is pending.
    #[schema(value_type = Option<String>)]
    pub next_attempt_at: Option<Timestamp>,
    /// Status of the last answer.
    pub last_status: Option<i32>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When it was made.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
    /// When it was taken.
    #[schema(value_type = Option<String>)]
    pub delivered_at: Option<Timestamp>,
}

/// A message that is on its way.
#[derive(Debug, Serialize, ToSchema)]
pub struct SentBody {
    /// The notice's id, under which the deliveries of the endpoint show what becomes of it.
    #[schema(value_type = String)]
    pub id: NoticeId,
}

impl EndpointBody {
    fn new(endpoint: Endpoint, secret: Option<&WebhookSecret>) -> Self {
        Self {
            id: endpoint.endpoint_id,
            program_id: endpoint.program_id,
            url: endpoint.url,
            kinds: endpoint.kinds,
            status: endpoint.status,
            failing_since: endpoint.failing_since,
            secret: secret.map(WebhookSecret::expose),
            created_at: endpoint.created_at,
        }
    }
}

impl From<Delivery> for DeliveryBody {
    fn from(d: Delivery) -> Self {
        Self {
            id: d.notice_id,
            kind: d.kind,
            next_attempt_at: (d.status == "pending").then_some(d.next_attempt_at),
            status: d.status,
            attempts: d.attempts,
            last_status: d.last_status,
            last_error: d.last_error,
            created_at: d.created_at,
            delivered_at: d.delivered_at,
        }
    }
}

fn new_secret() -> WebhookSecret {
    WebhookSecret::from_bytes(&random_bytes::<32>()).expect("32 is between 24 and 64")
}

/// Seals a secret for the row of its endpoint: copied to another row, it does not open.
fn seal(app: &App, endpoint_id: EndpointId, secret: &WebhookSecret) -> Vec<u8> {
    app.sealer.seal(endpoint_id.0.as_bytes(), secret.as_bytes())
}

fn check_url(wrong: &mut Mistakes, guard: &Guard, text: &str) {
    match Url::parse(text) {
        _ if text.len() > URL_MAX => wrong.add("/url", "must have at most 2048 bytes"),
        Err(error) => wrong.add("/url", error.to_string()),
        Ok(url) => {
            if let Err(refused) = guard.check_url(&url) {
                wrong.add("/url", refused.to_string());
            }
        }
    }
}

/// Checks that each kind is `*` or dotted words; which kinds there will be is not known here.
fn check_kinds(wrong: &mut Mistakes, kinds: &[String]) {
    wrong.check((1..=KINDS_MAX).contains(&kinds.len()), "/kinds", "must hold 1 to 50 kinds");
    let is_word = |word: &str| {
        let is_letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        !word.is_empty() && word.bytes().all(is_letter)
    };
    let is_kind =
        |kind: &String| kind == "*" || (kind.len() <= KIND_MAX && kind.split('.').all(is_word));
    let detail = "each must be * or dotted words such as partner.activity_declined";
    wrong.check(kinds.iter().all(is_kind), "/kinds", detail);
}

/// Finds an endpoint that the caller reaches and keeps others from changing it.
async fn lock_reached<S>(
    db: &mut DbTx,
    caller: &Caller<S>,
    id: EndpointId,
) -> Result<Endpoint, Problem> {
    reached(caller, store::lock_endpoint(db, id).await?)
}

fn reached<S>(caller: &Caller<S>, found: Option<Endpoint>) -> Result<Endpoint, Problem> {
    found
        .filter(|endpoint| caller.reaches(endpoint.program_id))
        .ok_or_else(|| Problem::new(Code::NotFound))
}

fn check_active(endpoint: &Endpoint) -> Result<(), Problem> {
    if endpoint.status == "active" {
        return Ok(());
    }
    let detail = "The endpoint is disabled; set its status to active first.";
    Err(Problem::new(Code::InvalidTransition).detail(detail))
}

/// Makes an endpoint; its secret is shown in this answer only.
#[utoipa::path(tag = "webhook endpoints", request_body = NewEndpointBody, responses(
    (status = 201, body = EndpointBody), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[post("/v1/webhook-endpoints")]
async fn create_webhook_endpoint(
    app: Data<App>,
    caller: Caller<scope::WebhooksWrite>,
    body: StrictJson<NewEndpointBody>,
) -> Result<HttpResponse, Problem> {
    let new = body.0;
    caller.check_reach(new.program_id)?;
    let kinds = new.kinds.unwrap_or_else(|| vec!["*".to_owned()]);
    let mut wrong = Mistakes::default();
    check_url(&mut wrong, &app.guard(), &new.url);
    check_kinds(&mut wrong, &kinds);
    wrong.end()?;
    let now = app.clock.now();
    let endpoint = Endpoint {
        program_id: new.program_id,
        endpoint_id: EndpointId::new(),
        url: new.url,
        kinds,
        status: "active".to_owned(),
        failing_since: None,
        created_at: now,
    };
    let secret = new_secret();
    let sealed = seal(&app, endpoint.endpoint_id, &secret);
    let answer = EndpointBody::new(endpoint.clone(), Some(&secret));
    let entry = Entry::by(&caller, "webhook_endpoint.create", endpoint.endpoint_id)
        .program(endpoint.program_id)
        .details(json!({"url": endpoint.url, "kinds": endpoint.kinds}))
        .request(&caller.request_id);
    transact(&app.db, async move |db| {
        store::insert_endpoint(db, &endpoint).await.map_err(|e| match broken_constraint(&e) {
            Some("webhook_endpoints_program") => {
                Problem::new(Code::NotFound).detail("There is no such program; check program_id.")
            }
            Some(_) | None => e.into(),
        })?;
        let key = (endpoint.program_id, endpoint.endpoint_id);
        store::rotate_secret(db, key, (SecretId::new(), &sealed), now, now).await?;
        Ok(audit_store::record(db, entry, now).await?)
    })
    .await?;
    Ok(HttpResponse::Created()
        .insert_header((LOCATION, format!("/v1/webhook-endpoints/{}", answer.id)))
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(answer))
}

/// Lists the endpoints of a program; never their secrets.
#[utoipa::path(tag = "webhook endpoints", params(EndpointFilter, PageQuery), responses(
    (status = 200, body = Page<EndpointBody>), (status = 404, body = ProblemBody)))]
#[get("/v1/webhook-endpoints")]
async fn list_webhook_endpoints(
    app: Data<App>,
    caller: Caller<scope::WebhooksRead>,
    filter: Query<EndpointFilter>,
    page: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let program_id = filter.program_id;
    caller.check_reach(program_id)?;
    let (limit, after) = (page.limit()?, page.after()?);
    let db = app.db.clone();
    let rows = detached(async move {
        let mut db = db.acquire().await?;
        Ok(store::list_endpoints(&mut db, program_id, after, i64::from(limit) + 1).await?)
    })
    .await?;
    let page = Page::new(rows, limit, |endpoint| endpoint.endpoint_id)
        .map(|endpoint| EndpointBody::new(endpoint, None));
    Ok(HttpResponse::Ok().json(page))
}

/// Shows an endpoint; never its secrets.
#[utoipa::path(tag = "webhook endpoints", responses(
    (status = 200, body = EndpointBody), (status = 404, body = ProblemBody)))]
#[get("/v1/webhook-endpoints/{id}")]
async fn get_webhook_endpoint(
    app: Data<App>,
    caller: Caller<scope::WebhooksRead>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id: EndpointId = path_id(&id)?;
    let db = app.db.clone();
    let found = detached(async move {
        let mut db = db.acquire().await?;
        Ok(store::find_endpoint(&mut db, id).await?)
    })
    .await?;
    Ok(HttpResponse::Ok().json(EndpointBody::new(reached(&caller, found)?, None)))
}

/// Switches an endpoint on or off.
#[utoipa::path(tag = "webhook endpoints", request_body = EndpointChanges, responses(
    (status = 200, body = EndpointBody), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[patch("/v1/webhook-endpoints/{id}")]
async fn update_webhook_endpoint(
    app: Data<App>,
    caller: Caller<scope::WebhooksWrite>,
    id: Path<String>,
    body: StrictJson<EndpointChanges>,
) -> Result<HttpResponse, Problem> {
    let id: EndpointId = path_id(&id)?;
    let status = body.0.status;
    let mut wrong = Mistakes::default();
    wrong.one_of("/status", &status, &STATUSES);
    wrong.end()?;
    let now = app.clock.now();
    let endpoint = transact(&app.db, async move |db| {
        let endpoint = lock_reached(db, &caller, id).await?;
        store::set_status(db, (endpoint.program_id, id), &status, now).await?;
        let entry = Entry::by(&caller, "webhook_endpoint.update", id)
            .program(endpoint.program_id)
            .details(json!({"from": endpoint.status, "to": status}))
            .request(&caller.request_id);
        audit_store::record(db, entry, now).await?;
        reached(&caller, store::find_endpoint(db, id).await?)
    })
    .await?;
    Ok(HttpResponse::Ok().json(EndpointBody::new(endpoint, None)))
}

/// Removes an endpoint with its secrets and deliveries.
#[utoipa::path(tag = "webhook endpoints", responses(
    (status = 204), (status = 404, body = ProblemBody)))]
#[delete("/v1/webhook-endpoints/{id}")]
async fn delete_webhook_endpoint(
    app: Data<App>,
    caller: Caller<scope::WebhooksWrite>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id: EndpointId = path_id(&id)?;
    let now = app.clock.now();
    transact(&app.db, async move |db| {
        let endpoint = lock_reached(db, &caller, id).await?;
        store::delete_endpoint(db, &endpoint).await?;
        let entry = Entry::by(&caller, "webhook_endpoint.delete", id)
            .program(endpoint.program_id)
            .details(json!({"url": endpoint.url}))
            .request(&caller.request_id);
        Ok(audit_store::record(db, entry, now).await?)
    })
    .await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Makes a new secret; messages are signed with it at once, and with the older one for the overlap.
#[utoipa::path(tag = "webhook endpoints", request_body = NewEndpointSecretBody, responses(
    (status = 201, body = EndpointSecretBody), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[post("/v1/webhook-endpoints/{id}/secrets")]
async fn rotate_endpoint_secret(
    app: Data<App>,
    caller: Caller<scope::WebhooksWrite>,
    id: Path<String>,
    body: StrictJson<NewEndpointSecretBody>,
) -> Result<HttpResponse, Problem> {
    let id: EndpointId = path_id(&id)?;
    let overlap_hours = body.0.overlap_hours.unwrap_or(OVERLAP_HOURS_DEFAULT);
    let mut wrong = Mistakes::default();
    wrong.check(overlap_hours <= OVERLAP_HOURS_MAX, "/overlap_hours", "must be 0 to 720");
    wrong.end()?;
    let now = app.clock.now();
    let secret = new_secret();
    let answer = EndpointSecretBody {
        id: SecretId::new(),
        secret: secret.expose(),
        older_ends_at: now + TimeDelta::hours(i64::from(overlap_hours)),
    };
    let (secret_id, older_ends_at) = (answer.id, answer.older_ends_at);
    let sealed = seal(&app, id, &secret);
    transact(&app.db, async move |db| {
        let endpoint = lock_reached(db, &caller, id).await?;
        let key = (endpoint.program_id, id);
        store::rotate_secret(db, key, (secret_id, &sealed), now, older_ends_at).await?;
        let entry = Entry::by(&caller, "webhook_endpoint.rotate_secret", id)
            .program(endpoint.program_id)
            .details(json!({"secret_id": secret_id, "older_ends_at": older_ends_at}))
            .request(&caller.request_id);
        Ok(audit_store::record(db, entry, now).await?)
    })
    .await?;
    Ok(HttpResponse::Created().insert_header((CACHE_CONTROL, "no-store")).json(answer))
}

/// Sends a `ping` to an endpoint, whatever kinds it wants.
#[utoipa::path(tag = "webhook endpoints", responses(
    (status = 202, body = SentBody), (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody)))]
#[post("/v1/webhook-endpoints/{id}/test")]
async fn test_webhook_endpoint(
    app: Data<App>,
    caller: Caller<scope::WebhooksWrite>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id: EndpointId = path_id(&id)?;
    let now = app.clock.now();
    let notice_id = NoticeId::new();
    transact(&app.db, async move |db| {
        let endpoint = lock_reached(db, &caller, id).await?;
        check_active(&endpoint)?;
        let notice = Notice {
            program_id: endpoint.program_id,
            notice_id,
            kind: PING.to_owned(),
            subject: id.to_string(),
            payload: json!({"endpoint_id": id}),
            created_at: now,
        };
        store::insert_notice_for(db, &notice, id).await?;
        let entry = Entry::by(&caller, "webhook_endpoint.test", id)
            .program(endpoint.program_id)
            .details(json!({"notice_id": notice_id}))
            .request(&caller.request_id);
        Ok(audit_store::record(db, entry, now).await?)
    })
    .await?;
    Ok(HttpResponse::Accepted().json(SentBody { id: notice_id }))
}

/// Lists what was sent to an endpoint in the last 30 days, the newest first.
#[utoipa::path(tag = "webhook endpoints", params(PageQuery), responses(
    (status = 200, body = Page<DeliveryBody>), (status = 404, body = ProblemBody)))]
#[get("/v1/webhook-endpoints/{id}/deliveries")]
async fn list_deliveries(
    app: Data<App>,
    caller: Caller<scope::WebhooksRead>,
    id: Path<String>,
    page: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let id: EndpointId = path_id(&id)?;
    let (limit, before) = (page.limit()?, page.after()?);
    let db = app.db.clone();
    let rows = detached(async move {
        let mut db = db.acquire().await?;
        let endpoint = reached(&caller, store::find_endpoint(&mut db, id).await?)?;
        Ok(store::list_deliveries(&mut db, &endpoint, before, i64::from(limit) + 1).await?)
    })
    .await?;
    let page = Page::new(rows, limit, |delivery| delivery.notice_id).map(DeliveryBody::from);
    Ok(HttpResponse::Ok().json(page))
}

/// Sends a message again, whatever became of it.
#[utoipa::path(tag = "webhook endpoints", responses(
    (status = 202, body = SentBody), (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody)))]
#[post("/v1/webhook-endpoints/{id}/deliveries/{delivery_id}/retry")]
async fn retry_delivery(
    app: Data<App>,
    caller: Caller<scope::WebhooksWrite>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (id, notice_id): (EndpointId, NoticeId) = (path_id(&path.0)?, path_id(&path.1)?);
    let now = app.clock.now();
    transact(&app.db, async move |db| {
        let endpoint = lock_reached(db, &caller, id).await?;
        check_active(&endpoint)?;
        if !store::retry_delivery(db, &endpoint, notice_id, now).await? {
            return Err(Problem::new(Code::NotFound));
        }
        let entry = Entry::by(&caller, "webhook_endpoint.retry", id)
            .program(endpoint.program_id)
            .details(json!({"notice_id": notice_id}))
            .request(&caller.request_id);
        Ok(audit_store::record(db, entry, now).await?)
    })
    .await?;
    Ok(HttpResponse::Accepted().json(SentBody { id: notice_id }))
}
