//! The routes of what is set for the postbacks of a source, and of its key.
//!
//! The key is shown in the answer that makes it and never again; only its hash is kept.

use std::collections::BTreeMap;

use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, get, post, put};
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::account::audit_store::{self, Entry};
use crate::account::http::{Caller, scope};
use crate::app::App;
use crate::clock::Timestamp;
use crate::conversion::EVENTS;
use crate::conversion::postback::hex;
use crate::conversion::postback::profile::{Meaning, PostbackStatus, Profile};
use crate::ids::SourceId;
use crate::program::postback::{KEY_BYTES, PostbackTerms};
use crate::program::{Source, postback_store as store, source_store};
use crate::sealing::random_bytes;
use crate::web::fields::{Mistakes, path_id};
use crate::web::{Code, Problem, ProblemBody, StrictJson, detached, transact};

/// Words in a map, at most.
const MAP_MAX: usize = 200;
const WORD_MAX: usize = 200;
const OVERLAP_HOURS_DEFAULT: u16 = 72;
/// Thirty days, as for secrets.
const OVERLAP_HOURS_MAX: u16 = 720;

/// Adds the routes.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(get_postback).service(set_postback).service(rotate_postback_key);
}

/// How a source speaks when it sends postbacks.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PostbackSettings {
    /// `generic`, `tune`, `everflow`, `voluum`, `keitaro`, `binom`, `affise`, `admitad`, `awin` or
    /// `cj`.
    #[schema(example = "keitaro")]
    pub alias_profile: String,
    /// Their words for a status, and ours: `pending`, `approved`, `rejected`, `refunded`.
    #[serde(default)]
    pub status_map: BTreeMap<String, String>,
    /// Their names of events, and ours: `sale`, `lead`, `signup`, `install`, `renewal`.
    #[serde(default)]
    pub event_map: BTreeMap<String, String>,
    /// What a postback that names no event reports; `sale` by default.
    pub default_event: Option<String>,
    /// Whether the key alone is not enough and each postback must be signed.
    #[serde(default)]
    pub needs_signature: bool,
    /// Whether time approves what rests on the key alone. A key in an address is read by logs and
    /// browsers: whoever finds it can then earn by waiting. False by default; kept in the audit log.
    #[serde(default)]
    pub approves_by_time: bool,
}

/// How a source speaks, as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct PostbackBody {
    /// The source.
    #[schema(value_type = String)]
    pub source_id: SourceId,
    /// Which names it uses beside ours.
    pub alias_profile: String,
    /// Their words for a status, and ours.
    pub status_map: BTreeMap<String, String>,
    /// Their names of events, and ours.
    pub event_map: BTreeMap<String, String>,
    /// What a postback that names no event reports.
    pub default_event: String,
    /// Whether each postback must be signed.
    pub needs_signature: bool,
    /// Whether time approves what rests on the key alone.
    pub approves_by_time: bool,
    /// Whether it has a key; without one only signed postbacks are taken.
    pub has_key: bool,
    /// The address to paste into the tracker; put its macros in the place of the dots.
    pub postback_url: String,
}

/// A key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPostbackKeyBody {
    /// Hours for which the older key stays good, 0 to 720; 72 by default.
    pub overlap_hours: Option<u16>,
}

/// A new key.
#[derive(Debug, Serialize, ToSchema)]
pub struct PostbackKeyBody {
    /// The key: shown here, never again.
    pub key: String,
    /// The address with the key in it.
    pub postback_url: String,
    /// When the older key ends.
    #[schema(value_type = String)]
    pub older_ends_at: Timestamp,
}

impl PostbackBody {
    fn new(app: &App, source: &Source, terms: PostbackTerms) -> Self {
        Self {
            source_id: source.source_id,
            postback_url: postback_url(app, source.source_id, &terms.alias_profile, "…"),
            has_key: !terms.keys.is_empty(),
            alias_profile: terms.alias_profile,
            status_map: terms.status_map,
            event_map: terms.event_map,
            default_event: terms.default_event,
            needs_signature: terms.needs_signature,
            approves_by_time: terms.approves_by_time,
        }
    }
}

fn postback_url(app: &App, source_id: SourceId, profile: &str, key: &str) -> String {
    let base = app.config.public_url.as_str().trim_end_matches('/');
    let profile =
        Profile::find(profile).unwrap_or(&crate::conversion::postback::profile::PROFILES[0]);
    let fields = [Meaning::ClickId, Meaning::OrderId, Meaning::Amount, Meaning::Currency];
    let query: Vec<String> = fields.iter().map(|m| format!("{}=…", profile.name_of(*m))).collect();
    format!("{base}/postback/{source_id}?key={key}&{}", query.join("&"))
}

fn reached<S>(caller: &Caller<S>, found: Option<Source>) -> Result<Source, Problem> {
    found
        .filter(|source| caller.reaches(source.program_id))
        .ok_or_else(|| Problem::new(Code::NotFound))
}

/// Shows how a source speaks when it sends postbacks; never its key.
#[utoipa::path(tag = "sources", responses(
    (status = 200, body = PostbackBody), (status = 404, body = ProblemBody)))]
#[get("/v1/sources/{id}/postback")]
async fn get_postback(
    app: Data<App>,
    caller: Caller<scope::WebhooksRead>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id: SourceId = path_id(&id)?;
    let db = app.db.clone();
    let (source, terms) = detached(async move {
        let mut db = db.acquire().await?;
        let source = reached(&caller, source_store::find_source(&mut db, id).await?)?;
        let terms = store::find_terms(&mut db, &source).await?;
        Ok((source, terms))
    })
    .await?;
    Ok(HttpResponse::Ok().json(PostbackBody::new(&app, &source, terms)))
}

/// Sets how a source speaks when it sends postbacks; its key stays.
#[utoipa::path(tag = "sources", request_body = PostbackSettings, responses(
    (status = 200, body = PostbackBody), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[put("/v1/sources/{id}/postback")]
async fn set_postback(
    app: Data<App>,
    caller: Caller<scope::WebhooksWrite>,
    id: Path<String>,
    body: StrictJson<PostbackSettings>,
) -> Result<HttpResponse, Problem> {
    let id: SourceId = path_id(&id)?;
    let terms = read_settings(body.0)?;
    let now = app.clock.now();
    let (source, terms) = transact(&app.db, async move |db| {
        let source = reached(&caller, source_store::lock_source(db, id).await?)?;
        store::set_terms(db, &source, &terms, now).await?;
        let entry = Entry::by(&caller, "source.set_postback", id)
            .program(source.program_id)
            .details(json!({"alias_profile": terms.alias_profile, "status_map": terms.status_map,
                "event_map": terms.event_map, "default_event": terms.default_event,
                "needs_signature": terms.needs_signature,
                "approves_by_time": terms.approves_by_time}))
            .request(&caller.request_id);
        audit_store::record(db, entry, now).await?;
        let terms = store::find_terms(db, &source).await?;
        Ok((source, terms))
    })
    .await?;
    app.keeper.refresh_soon().await;
    Ok(HttpResponse::Ok().json(PostbackBody::new(&app, &source, terms)))
}

fn read_settings(body: PostbackSettings) -> Result<PostbackTerms, Problem> {
    let default_event = body.default_event.unwrap_or_else(|| "sale".to_owned());
    let mut wrong = Mistakes::default();
    wrong.one_of("/alias_profile", &body.alias_profile, &Profile::names());
    wrong.one_of("/default_event", &default_event, &EVENTS);
    check_map(&mut wrong, "/status_map", &body.status_map, &PostbackStatus::WORDS);
    check_map(&mut wrong, "/event_map", &body.event_map, &EVENTS);
    wrong.end()?;
    Ok(PostbackTerms {
        alias_profile: body.alias_profile,
        status_map: body.status_map,
        event_map: body.event_map,
        default_event,
        needs_signature: body.needs_signature,
        approves_by_time: body.approves_by_time,
        keys: Vec::new(),
    })
}

fn check_map(
    wrong: &mut Mistakes,
    pointer: &'static str,
    map: &BTreeMap<String, String>,
    ours: &[&str],
) {
    wrong.check(map.len() <= MAP_MAX, pointer, "must have at most 200 words; leave some out");
    for (theirs, word) in map {
        wrong.text(pointer, theirs, WORD_MAX);
        wrong.one_of(pointer, word, ours);
    }
}

/// Makes a new postback key, which is good at once; the older one stays good for the overlap.
#[utoipa::path(tag = "sources", request_body = NewPostbackKeyBody, responses(
    (status = 201, body = PostbackKeyBody), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[post("/v1/sources/{id}/rotate-postback-key")]
async fn rotate_postback_key(
    app: Data<App>,
    caller: Caller<scope::WebhooksWrite>,
    id: Path<String>,
    body: StrictJson<NewPostbackKeyBody>,
) -> Result<HttpResponse, Problem> {
    let id: SourceId = path_id(&id)?;
    let overlap_hours = body.0.overlap_hours.unwrap_or(OVERLAP_HOURS_DEFAULT);
    let mut wrong = Mistakes::default();
    wrong.check(overlap_hours <= OVERLAP_HOURS_MAX, "/overlap_hours", "must be 0 to 720");
    wrong.end()?;
    let now = app.clock.now();
    let older_ends_at = now + TimeDelta::hours(i64::from(overlap_hours));
    let key = hex(&random_bytes::<KEY_BYTES>());
    let hash = Sha256::digest(key.as_bytes()).to_vec();
    let terms = transact(&app.db, async move |db| {
        let source = reached(&caller, source_store::lock_source(db, id).await?)?;
        store::rotate_key(db, &source, &hash, now, older_ends_at).await?;
        let entry = Entry::by(&caller, "source.rotate_postback_key", id)
            .program(source.program_id)
            .details(json!({"older_ends_at": older_ends_at}))
            .request(&caller.request_id);
        audit_store::record(db, entry, now).await?;
        Ok(store::find_terms(db, &source).await?)
    })
    .await?;
    app.keeper.refresh_soon().await;
    let postback_url = postback_url(&app, id, &terms.alias_profile, &key);
    let answer = PostbackKeyBody { key, postback_url, older_ends_at };
    Ok(HttpResponse::Created().insert_header((CACHE_CONTROL, "no-store")).json(answer))
}
