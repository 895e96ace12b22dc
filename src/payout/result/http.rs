//! Handler of results: a file comes in as it is, a verdict for each row goes out.

#![expect(unused_qualifications, reason = "utoipa repeats the types of a query")]

use std::collections::BTreeMap;

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse, post};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use super::{ResultFormat, UnreadableFile, Verdict};
use crate::account::http::{Caller, scope};
use crate::account::once_http::{Answer, KeyRule, once};
use crate::app::App;
use crate::ids::PayoutBatchId;
use crate::payout::action::{self, Import};
use crate::payout::http::{Who, parse_id, read_label};
use crate::payout::wire::hex;
use crate::web::body::read;
use crate::web::{Code, Problem, ProblemBody, Query};

/// Longest file of results, in bytes: a hundred thousand rows of some 160.
const FILE_MAX_BYTES: usize = 16 * 1024 * 1024;

/// Adds the route.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(import_results);
}

/// In which form the results come.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ImportQuery {
    /// `csv`, `paypal`, `wise`, `pain.002`, `camt` or `1c`; `csv` where it is not given.
    pub format: Option<String>,
    /// The short name of the account that paid; that of the payment file where it is not given.
    pub bank_account: Option<String>,
}

/// What a file of results did.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ResultsImportBody)]
pub struct ImportBody {
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// Whether the same file was taken in before: then nothing was done now.
    pub already_imported: bool,
    /// Where the batch stands now.
    pub batch_status: &'static str,
    /// How many rows had which verdict.
    pub counts: BTreeMap<String, usize>,
    /// What became of each row.
    pub rows: Vec<Verdict>,
}

impl From<UnreadableFile> for Problem {
    fn from(error: UnreadableFile) -> Self {
        Self::new(Code::InvalidField).error("", format!("{error}; nothing was done"))
    }
}

/// Takes in what a bank or PayPal answered: each row gets its verdict, the same file counts once.
#[utoipa::path(tag = "payouts", params(ImportQuery), request_body(content = String, content_type = "text/csv"),
    responses((status = 200, body = ImportBody), (status = 404, body = ProblemBody),
    (status = 413, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[post("/v1/payout-batches/{id}/import-results")]
async fn import_results(
    app: Data<App>,
    caller: Caller<scope::PayoutsWrite>,
    req: HttpRequest,
    id: Path<String>,
    query: Query<ImportQuery>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let id: PayoutBatchId = parse_id(&id)?;
    let code = query.format.as_deref().unwrap_or("csv");
    let format = ResultFormat::from_code(code).ok_or_else(|| {
        let known = ResultFormat::ALL.map(ResultFormat::code).join(", ");
        Problem::new(Code::InvalidField).error("/format", format!("must be one of {known}"))
    })?;
    let bank = match &query.bank_account {
        Some(label) => Some(read_label("/bank_account", Some(label))?),
        None => None,
    };
    let bytes = read(payload, FILE_MAX_BYTES).await?;
    let who = Who::new(&caller, app.clock.now());
    let file = Import { format, bytes: bytes.to_vec(), bank };
    once(&app, &req, &caller, KeyRule::Required, &bytes, async move |db| {
        who.check_batch(db, id).await?;
        let done = action::import(db, id, file, &who.actor).await?;
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for verdict in &done.verdicts {
            *counts.entry(verdict.verdict.clone()).or_default() += 1;
        }
        let sha256 = hex(&done.sha256);
        let details = serde_json::json!({
            "format": format.code(), "sha256": sha256, "counts": counts,
            "already_imported": done.was_known,
        });
        who.record(db, "payout_batch.import_results", id, done.batch.program_id, details).await?;
        Ok(Answer::ok(ImportBody {
            sha256,
            already_imported: done.was_known,
            batch_status: done.batch.state.code(),
            counts,
            rows: done.verdicts,
        }))
    })
    .await
}
