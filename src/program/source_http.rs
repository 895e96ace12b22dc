//! The routes of conversion sources and their secrets.
//!
//! A secret is shown in the answer that makes it and never again, so these answers are not kept
//! for idempotency keys either: repeating such a request makes another secret.

#![expect(unused_qualifications, reason = "utoipa repeats the types of two queries")]

use actix_web::http::header::{CACHE_CONTROL, LOCATION};
use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, get, patch, post};
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::account::audit_store::{self, Entry};
use crate::account::http::{Caller, scope};
use crate::app::App;
use crate::clock::Timestamp;
use crate::conversion::signature::WebhookSecret;
use crate::db::broken_constraint;
use crate::ids::{ProgramId, SecretId, SourceId};
use crate::program::{Source, source_store as store};
use crate::sealing::random_bytes;
use crate::web::fields::{Mistakes, NAME_MAX, path_id, present};
use crate::web::{
    Code, Page, PageQuery, Problem, ProblemBody, Query, StrictJson, detached, transact,
};

const STATUSES: [&str; 2] = ["active", "disabled"];
const NAMESPACE_MAX: usize = 64;
const RATES: std::ops::RangeInclusive<i32> = 1..=1_000_000;
const OVERLAP_HOURS_DEFAULT: u16 = 72;
/// Thirty days: whoever has not changed the secret by then never will.
const OVERLAP_HOURS_MAX: u16 = 720;

/// Adds the routes of sources.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(create_source)
        .service(list_sources)
        .service(get_source)
        .service(update_source)
        .service(rotate_secret);
}

/// A source to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSourceBody {
    /// The program that it reports to.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// What people call it.
    #[schema(example = "web shop")]
    pub name: String,
    /// Orders of sources that share a namespace are one order; empty by default.
    #[serde(default)]
    pub order_namespace: String,
    /// Requests that it may send in a second to each process, 1 to 1000000; `TRIBUTARY_SOURCE_RATE`
    /// where it is not given.
    pub requests_per_second: Option<i32>,
    /// A secret that the shop signs with already, `whsec_…`; a new one where it is not given.
    pub secret: Option<String>,
}

/// What is to change of a source.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceChanges {
    /// `active` or `disabled`.
    pub status: Option<String>,
    /// Requests that it may send in a second to each process, 1 to 1000000; null for
    /// `TRIBUTARY_SOURCE_RATE`.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<i32>)]
    pub requests_per_second: Option<Option<i32>>,
}

/// A secret to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSecretBody {
    /// Hours for which the older secret stays good, 0 to 720; 72 by default.
    pub overlap_hours: Option<u16>,
}

/// Which sources to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SourceFilter {
    /// The program.
    #[param(value_type = String)]
    pub program_id: ProgramId,
}

/// A source as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct SourceBody {
    /// Its id.
    #[schema(value_type = String)]
    pub id: SourceId,
    /// The program that it reports to.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// What people call it.
    pub name: String,
    /// `active` or `disabled`.
    pub status: String,
    /// Orders of sources that share a namespace are one order.
    pub order_namespace: String,
    /// Requests that it may send in a second to each process; null: `TRIBUTARY_SOURCE_RATE`.
    pub requests_per_second: Option<i32>,
    /// Where the shop sends its messages.
    pub webhook_url: String,
    /// The secret to sign with: shown in the answer that makes it, never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// When it was made.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
}

/// A new secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct SecretBody {
    /// Its id.
    #[schema(value_type = String)]
    pub id: SecretId,
    /// The secret: shown here, never again.
    pub secret: String,
    /// Where the shop sends its messages.
    pub webhook_url: String,
    /// When the older secret ends.
    #[schema(value_type = String)]
    pub older_ends_at: Timestamp,
}

impl SourceBody {
    fn new(source: Source, secret: Option<&WebhookSecret>, public_url: &Url) -> Self {
        Self {
            webhook_url: webhook_url(public_url, source.source_id),
            id: source.source_id,
            program_id: source.program_id,
            name: source.name,
            status: source.status,
            order_namespace: source.order_namespace,
            requests_per_second: source.requests_per_second,
            secret: secret.map(WebhookSecret::expose),
            created_at: source.created_at,
        }
    }
}

fn check_rate(wrong: &mut Mistakes, rate: Option<i32>) {
    let is_right = rate.is_none_or(|rate| RATES.contains(&rate));
    wrong.check(is_right, "/requests_per_second", "must be 1 to 1000000, or null");
}

fn webhook_url(public_url: &Url, source_id: SourceId) -> String {
    format!("{}/v1/webhooks/{source_id}", public_url.as_str().trim_end_matches('/'))
}

fn new_secret() -> WebhookSecret {
    WebhookSecret::from_bytes(&random_bytes::<32>()).expect("32 is between 24 and 64")
}

/// Seals a secret for the row of its source: copied to another source's row, it does not open.
fn seal(app: &App, source_id: SourceId, secret: &WebhookSecret) -> Vec<u8> {
    app.sealer.seal(source_id.0.as_bytes(), secret.as_bytes())
}

/// Makes a source; its secret is shown in this answer only.
#[utoipa::path(tag = "sources", request_body = NewSourceBody, responses(
    (status = 201, body = SourceBody), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[post("/v1/sources")]
async fn create_source(
    app: Data<App>,
    caller: Caller<scope::WebhooksWrite>,
    body: StrictJson<NewSourceBody>,
) -> Result<HttpResponse, Problem> {
    let new = body.0;
    caller.check_reach(new.program_id)?;
    let mut wrong = Mistakes::default();
    wrong.text("/name", &new.name, NAME_MAX);
    if !new.order_namespace.is_empty() {
        wrong.text("/order_namespace", &new.order_namespace, NAMESPACE_MAX);
    }
    check_rate(&mut wrong, new.requests_per_second);
    let secret = match new.secret.as_deref().map(WebhookSecret::parse) {
        None => Some(new_secret()),
        Some(Ok(given)) => Some(given),
        Some(Err(e)) => {
            wrong.add("/secret", e.to_string());
            None
        }
    };
    wrong.end()?;
    let secret = secret.expect("a refused secret has ended this above");
    let now = app.clock.now();
    let source = Source {
        program_id: new.program_id,
        source_id: SourceId::new(),
        name: new.name,
        status: "active".to_owned(),
        order_namespace: new.order_namespace,
        requests_per_second: new.requests_per_second,
        created_at: now,
    };
    let sealed = seal(&app, source.source_id, &secret);
    let answer = SourceBody::new(source.clone(), Some(&secret), &app.config.public_url);
    let entry = Entry::by(&caller, "source.create", source.source_id)
        .program(source.program_id)
        .details(json!({"name": source.name, "order_namespace": source.order_namespace,
            "requests_per_second": source.requests_per_second}))
        .request(&caller.request_id);
    transact(&app.db, async move |db| {
        store::insert_source(db, &source).await.map_err(|e| match broken_constraint(&e) {
            Some("sources_program") => {
                Problem::new(Code::NotFound).detail("There is no such program; check program_id.")
            }
            Some(_) | None => e.into(),
        })?;
        store::rotate_secret(db, &source, SecretId::new(), &sealed, now, now).await?;
        Ok(audit_store::record(db, entry, now).await?)
    })
    .await?;
    app.keeper.refresh_soon().await;
    Ok(HttpResponse::Created()
        .insert_header((LOCATION, format!("/v1/sources/{}", answer.id)))
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(answer))
}

/// Lists the sources of a program; never their secrets.
#[utoipa::path(tag = "sources", params(SourceFilter, PageQuery), responses(
    (status = 200, body = Page<SourceBody>), (status = 404, body = ProblemBody)))]
#[get("/v1/sources")]
async fn list_sources(
    app: Data<App>,
    caller: Caller<scope::WebhooksRead>,
    filter: Query<SourceFilter>,
    page: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let program_id = filter.program_id;
    caller.check_reach(program_id)?;
    let (limit, after) = (page.limit()?, page.after()?);
    let db = app.db.clone();
    let rows = detached(async move {
        let mut db = db.acquire().await?;
        Ok(store::list_sources(&mut db, program_id, after, i64::from(limit) + 1).await?)
    })
    .await?;
    let page = Page::new(rows, limit, |source| source.source_id)
        .map(|source| SourceBody::new(source, None, &app.config.public_url));
    Ok(HttpResponse::Ok().json(page))
}

/// Shows a source; never its secrets.
#[utoipa::path(tag = "sources", responses(
    (status = 200, body = SourceBody), (status = 404, body = ProblemBody)))]
#[get("/v1/sources/{id}")]
async fn get_source(
    app: Data<App>,
    caller: Caller<scope::WebhooksRead>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id: SourceId = path_id(&id)?;
    let db = app.db.clone();
    let found = detached(async move {
        let mut db = db.acquire().await?;
        Ok(store::find_source(&mut db, id).await?)
    })
    .await?;
    let source = reached(&caller, found)?;
    Ok(HttpResponse::Ok().json(SourceBody::new(source, None, &app.config.public_url)))
}

fn reached<S>(caller: &Caller<S>, found: Option<Source>) -> Result<Source, Problem> {
    found
        .filter(|source| caller.reaches(source.program_id))
        .ok_or_else(|| Problem::new(Code::NotFound))
}

/// Switches a source on or off, or sets how fast it may send.
#[utoipa::path(tag = "sources", request_body = SourceChanges, responses(
    (status = 200, body = SourceBody), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[patch("/v1/sources/{id}")]
async fn update_source(
    app: Data<App>,
    caller: Caller<scope::WebhooksWrite>,
    id: Path<String>,
    body: StrictJson<SourceChanges>,
) -> Result<HttpResponse, Problem> {
    let id: SourceId = path_id(&id)?;
    let changes = body.0;
    let mut wrong = Mistakes::default();
    if let Some(status) = &changes.status {
        wrong.one_of("/status", status, &STATUSES);
    }
    check_rate(&mut wrong, changes.requests_per_second.flatten());
    wrong.end()?;
    let now = app.clock.now();
    let source = transact(&app.db, async move |db| {
        let old = reached(&caller, store::lock_source(db, id).await?)?;
        let source = Source {
            status: changes.status.unwrap_or_else(|| old.status.clone()),
            requests_per_second: changes.requests_per_second.unwrap_or(old.requests_per_second),
            ..old.clone()
        };
        store::update_source(db, &source, now).await?;
        let told =
            |s: &Source| json!({"status": s.status, "requests_per_second": s.requests_per_second});
        let entry = Entry::by(&caller, "source.update", id)
            .program(source.program_id)
            .details(json!({"from": told(&old), "to": told(&source)}))
            .request(&caller.request_id);
        audit_store::record(db, entry, now).await?;
        Ok(source)
    })
    .await?;
    app.keeper.refresh_soon().await;
    Ok(HttpResponse::Ok().json(SourceBody::new(source, None, &app.config.public_url)))
}

/// Makes a new secret, which is good at once; the older one stays good for the overlap.
#[utoipa::path(tag = "sources", request_body = NewSecretBody, responses(
    (status = 201, body = SecretBody), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[post("/v1/sources/{id}/secrets")]
async fn rotate_secret(
    app: Data<App>,
    caller: Caller<scope::WebhooksWrite>,
    id: Path<String>,
    body: StrictJson<NewSecretBody>,
) -> Result<HttpResponse, Problem> {
    let id: SourceId = path_id(&id)?;
    let overlap_hours = body.0.overlap_hours.unwrap_or(OVERLAP_HOURS_DEFAULT);
    let mut wrong = Mistakes::default();
    wrong.check(overlap_hours <= OVERLAP_HOURS_MAX, "/overlap_hours", "must be 0 to 720");
    wrong.end()?;
    let now = app.clock.now();
    let secret = new_secret();
    let answer = SecretBody {
        id: SecretId::new(),
        secret: secret.expose(),
        webhook_url: webhook_url(&app.config.public_url, id),
        older_ends_at: now + TimeDelta::hours(i64::from(overlap_hours)),
    };
    let (secret_id, older_ends_at) = (answer.id, answer.older_ends_at);
    let sealed = seal(&app, id, &secret);
    transact(&app.db, async move |db| {
        let source = reached(&caller, store::lock_source(db, id).await?)?;
        store::rotate_secret(db, &source, secret_id, &sealed, now, older_ends_at).await?;
        let entry = Entry::by(&caller, "source.rotate_secret", id)
            .program(source.program_id)
            .details(json!({"secret_id": secret_id, "older_ends_at": older_ends_at}))
            .request(&caller.request_id);
        Ok(audit_store::record(db, entry, now).await?)
    })
    .await?;
    app.keeper.refresh_soon().await;
    Ok(HttpResponse::Created().insert_header((CACHE_CONTROL, "no-store")).json(answer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sealing::Sealer;
    use crate::signing::Key;

    #[test]
    fn the_webhook_url_stands_under_the_public_url() {
        let id = SourceId::new();
        for (base, start) in [
            ("https://go.example", "https://go.example/v1/webhooks/"),
            ("https://shop.example/go/", "https://shop.example/go/v1/webhooks/"),
        ] {
            let url = webhook_url(&Url::parse(base).unwrap(), id);
            assert_eq!(url, format!("{start}{id}"));
        }
    }

    #[test]
    fn a_new_secret_survives_sealing_and_its_text_form() {
        let (secret, id) = (new_secret(), SourceId::new());
        let sealer = Sealer::new(&Key::new([1; 32]));
        let sealed = sealer.seal(id.0.as_bytes(), secret.as_bytes());
        let opened = sealer.open(id.0.as_bytes(), &sealed).unwrap();
        assert_eq!(WebhookSecret::from_bytes(&opened).unwrap().expose(), secret.expose());
        assert_eq!(opened.len(), 32);
        assert_ne!(new_secret().expose(), secret.expose());
    }
}
