//! The routes of a source's secrets: which are in force, and ending one at once.
//!
//! The secrets themselves are shown only in the answer that makes them.

use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, delete, get};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::account::audit_store::{self, Entry};
use crate::account::http::{Caller, scope};
use crate::app::App;
use crate::clock::Timestamp;
use crate::ids::{SecretId, SourceId};
use crate::program::Source;
use crate::program::source_store::{self as store, SecretRow};
use crate::web::fields::path_id;
use crate::web::{Code, Problem, ProblemBody, detached, transact};

/// Adds the routes.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(list_secrets).service(end_secret);
}

/// The secrets of a source that are in force.
#[derive(Debug, Serialize, ToSchema)]
pub struct SecretsBody {
    /// Newest first, at most two.
    pub data: Vec<LiveSecret>,
}

/// A secret in force; never the secret itself.
#[derive(Debug, Serialize, ToSchema)]
pub struct LiveSecret {
    /// Its id.
    #[schema(value_type = String)]
    pub id: SecretId,
    /// When it was made.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
    /// When it ends by itself; null for the newest.
    #[schema(value_type = Option<String>)]
    pub ends_at: Option<Timestamp>,
}

impl From<SecretRow> for LiveSecret {
    fn from(row: SecretRow) -> Self {
        Self { id: row.secret_id, created_at: row.created_at, ends_at: row.expires_at }
    }
}

fn reached<S>(caller: &Caller<S>, found: Option<Source>) -> Result<Source, Problem> {
    found
        .filter(|source| caller.reaches(source.program_id))
        .ok_or_else(|| Problem::new(Code::NotFound))
}

/// Lists the secrets of a source that are in force, without themselves.
#[utoipa::path(tag = "sources", responses(
    (status = 200, body = SecretsBody), (status = 404, body = ProblemBody)))]
#[get("/v1/sources/{id}/secrets")]
async fn list_secrets(
    app: Data<App>,
    caller: Caller<scope::WebhooksRead>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id: SourceId = path_id(&id)?;
    let (db, now) = (app.db.clone(), app.clock.now());
    let rows = detached(async move {
        let mut db = db.acquire().await?;
        let source = reached(&caller, store::find_source(&mut db, id).await?)?;
        Ok(store::list_secrets(&mut db, &source, now).await?)
    })
    .await?;
    let data = rows.into_iter().map(LiveSecret::from).collect();
    Ok(HttpResponse::Ok().json(SecretsBody { data }))
}

/// Ends a secret at once, without waiting for its overlap; the last one stays.
#[utoipa::path(tag = "sources", responses(
    (status = 204, description = "It signs nothing any more."), (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody)))]
#[delete("/v1/sources/{id}/secrets/{secret_id}")]
async fn end_secret(
    app: Data<App>,
    caller: Caller<scope::WebhooksWrite>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (id, secret_id): (SourceId, SecretId) = (path_id(&path.0)?, path_id(&path.1)?);
    let now = app.clock.now();
    transact(&app.db, async move |db| {
        let source = reached(&caller, store::lock_source(db, id).await?)?;
        let live = store::list_secrets(db, &source, now).await?;
        if !live.iter().any(|row| row.secret_id == secret_id) {
            return Err(Problem::new(Code::NotFound).detail("No secret in force has this id."));
        }
        if live.len() == 1 {
            let detail = "It is the only secret in force. Make another one first, or switch the \
                          source off.";
            let problem = Problem::new(Code::InvalidTransition).detail(detail);
            return Err(problem.with("allowed", Vec::<Value>::new()));
        }
        store::end_secret(db, &source, secret_id, now).await?;
        let entry = Entry::by(&caller, "source.end_secret", id)
            .program(source.program_id)
            .details(json!({"secret_id": secret_id}))
            .request(&caller.request_id);
        Ok(audit_store::record(db, entry, now).await?)
    })
    .await?;
    app.keeper.refresh_soon().await;
    Ok(HttpResponse::NoContent().finish())
}
