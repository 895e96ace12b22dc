//! The admin listener: alive, ready, metrics. It is not public.
//!
//! Readiness is per role. The redirect and the intake stay ready while PostgreSQL or Redis is
//! down, because they do their work without; an orchestrator that took them away would remove
//! exactly what should go on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::ContentType;
use actix_web::web::{Data, ServiceConfig};
use actix_web::{HttpResponse, get};
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::config::Role;
use crate::db;
use crate::metrics::Handle;
use crate::web::{Problem, detached};

/// How long readiness waits for PostgreSQL.
const PING_TIMEOUT: Duration = Duration::from_millis(500);

/// What the admin listener knows beside the shared handles.
pub struct State {
    /// Renders the metrics.
    pub metrics: Handle,
    /// Set when the process is about to stop: no new work should come.
    pub is_stopping: AtomicBool,
}

/// Adds the routes.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(livez).service(readyz).service(metrics);
}

#[get("/livez")]
async fn livez() -> HttpResponse {
    HttpResponse::Ok().body("alive\n")
}

#[get("/metrics")]
async fn metrics(state: Data<State>) -> HttpResponse {
    HttpResponse::Ok().content_type(ContentType::plaintext()).body(state.metrics.render())
}

#[get("/readyz")]
async fn readyz(app: Data<App>, state: Data<State>) -> HttpResponse {
    let is_postgres_up = is_postgres_up(&app).await;
    let stream = app.log.state();
    let has_snapshot = app.snapshot.load().taken_at.is_some();
    let is_stopping = state.is_stopping.load(Ordering::Relaxed);
    let store = match (stream.is_log_up, stream.is_spool_up) {
        (true, _) if stream.shards_down > 0 => "ready (other shards take what some cannot)",
        (true, _) => "ready",
        (false, true) => "ready (spooling: redis takes no events)",
        (false, false) => "not_ready: neither redis nor the spool takes events",
    };
    let mut roles = Map::new();
    for role in app.config.roles.iter() {
        let word = match role {
            _ if is_stopping => "not_ready: stopping",
            Role::Redirect | Role::Ingest if !has_snapshot => {
                "not_ready: the terms were never read from postgres"
            }
            Role::Redirect | Role::Ingest => store,
            Role::Settle if !stream.is_log_up => "not_ready: redis",
            _ if !is_postgres_up => "not_ready: postgres",
            Role::Settle | Role::Api | Role::Timers | Role::Deliver => "ready",
        };
        roles.insert(role.to_string(), Value::from(word));
    }
    // A role that works without its stores decides alone; the others do where it is absent.
    let is_ready = |name: &str| {
        roles.get(name).and_then(Value::as_str).is_some_and(|w| w.starts_with("ready"))
    };
    let edge = ["redirect", "ingest"].into_iter().filter(|r| roles.contains_key(*r));
    let is_edge = edge.clone().next().is_some();
    let ok = if is_edge {
        edge.clone().all(is_ready)
    } else {
        roles.values().all(|w| w.as_str().is_some_and(|w| w.starts_with("ready")))
    };
    let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    HttpResponse::build(status).json(json!({
        "ready": ok,
        "role": roles,
        "settles_shards": app.shard_leases.epochs().keys().collect::<Vec<_>>(),
        "runs_timers": app.timer_leases.holds_any(),
        "shards_down": stream.shards_down,
        "spool_events": stream.spool_events,
        "snapshot_taken_at": app.snapshot.load().taken_at,
    }))
}

async fn is_postgres_up(app: &Data<App>) -> bool {
    let db = app.db.clone();
    let ping = detached(async move { db::ping(&db).await.map_err(Problem::from) });
    matches!(tokio::time::timeout(PING_TIMEOUT, ping).await, Ok(Ok(())))
}
