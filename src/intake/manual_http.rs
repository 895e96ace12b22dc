//! `POST /v1/conversions`: a conversion entered by hand, with who and why.
//!
//! It takes the way of every other: read as a webhook's message, appended to the stream, settled.
//! A person with an API key stands behind it, so it is believed as a signed one.

#![expect(unused_qualifications, reason = "utoipa repeats the type of a query")]

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse, post};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::account::audit_store::{self, Entry};
use crate::account::http::{Caller, scope};
use crate::account::once_http::{Answer, KeyRule, once};
use crate::app::App;
use crate::conversion::webhook::{ConversionData, WebhookMessage, read_report};
use crate::conversion::{MessageType, Report};
use crate::ids::{ReceiptId, SourceId};
use crate::intake::append_http::append;
use crate::intake::sending::Sending;
use crate::intake::trial::{Foreseen, foresee};
use crate::metrics as metric;
use crate::settlement::record;
use crate::snapshot::SourceTerms;
use crate::stream::{ConversionRecord, PackedBatch};
use crate::web::fields::{KeyedJson, Mistakes, NAME_MAX};
use crate::web::{Code, Problem, ProblemBody, Query, detached};

const NOT_STORED: &str = "The conversion could not be stored; send it again with the same key.";

/// Adds the route.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(enter_conversion);
}

/// A conversion entered by hand.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ManualEntry {
    /// The source whose order it is.
    #[schema(value_type = String)]
    pub source_id: SourceId,
    /// `conversion.created` by default; `.updated`, `.approved`, `.rejected` or `.refunded`.
    pub r#type: Option<String>,
    /// The conversion, as the webhook takes it.
    pub data: ConversionData,
    /// Why it is entered by hand.
    #[schema(example = "the shop's webhook was down on Friday")]
    pub reason: String,
}

/// How to take it.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ManualQuery {
    /// `true` writes nothing and answers with what settlement would say.
    pub dry_run: Option<bool>,
}

/// What became of it so far.
#[derive(Debug, Serialize, ToSchema)]
pub struct ManualAnswer {
    /// `accepted`: durable, will be settled. `dry_run`: nothing was written.
    #[schema(value_type = String)]
    pub status: &'static str,
    /// Asks `GET /v1/receipts/{receipt}` what became of it.
    #[schema(value_type = Option<String>)]
    pub receipt: Option<ReceiptId>,
    /// What settlement would say; of a dry run.
    pub settlement: Option<Foreseen>,
}

/// Enters a conversion by hand; who and why are kept with it and in the audit log.
#[utoipa::path(tag = "conversions", params(ManualQuery), request_body = ManualEntry, responses(
    (status = 202, body = ManualAnswer), (status = 200, body = ManualAnswer, description = "A dry run."),
    (status = 400, body = ProblemBody), (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody), (status = 422, body = ProblemBody),
    (status = 503, body = ProblemBody)))]
#[post("/v1/conversions")]
async fn enter_conversion(
    app: Data<App>,
    caller: Caller<scope::ConversionsWrite>,
    req: HttpRequest,
    query: Query<ManualQuery>,
    body: KeyedJson<ManualEntry>,
) -> Result<HttpResponse, Problem> {
    let entry = body.value;
    let source = app
        .snapshot
        .load()
        .source(entry.source_id)
        .filter(|source| caller.reaches(source.program_id))
        .cloned()
        .ok_or_else(|| Problem::new(Code::UnknownSource))?;
    let report = read_entry(&app, &caller, &entry)?;
    let key = req.headers().get("idempotency-key").map(|v| v.as_bytes()).unwrap_or_default();
    let id =
        Sha256::new().chain_update(caller.api_key_id.0.as_bytes()).chain_update(key).finalize();
    let message_id = format!("manual:{}", crate::conversion::postback::hex(&id[..16]));
    let record = record(&app, &source, message_id, &report);
    if query.dry_run.unwrap_or(false) {
        return foreseen(&app, &record).await;
    }
    let audit = Entry::by(&caller, "conversion.enter", ReceiptId(record.receipt))
        .program(source.program_id)
        .details(json!({"type": report.message_type.as_str(), "event": report.event,
            "order_id": report.order_id, "reason": entry.reason}))
        .request(&caller.request_id);
    let (now, shared) = (app.clock.now(), app.clone());
    let answer = once(&app, &req, &caller, KeyRule::Required, &body.bytes, async move |db| {
        audit_store::record(db, audit, now).await?;
        // Last: if the commit fails, the next try has the same message id and settles once.
        let mut batch = PackedBatch::new();
        batch.push_conversion(&record);
        append(&shared, &batch, NOT_STORED).await?;
        let receipt = Some(ReceiptId(record.receipt));
        let body = ManualAnswer { status: "accepted", receipt, settlement: None };
        Ok(Answer { status: StatusCode::ACCEPTED, ..Answer::ok(body) })
    })
    .await?;
    metrics::counter!(metric::CONVERSIONS, "channel" => "manual", "result" => "accepted")
        .increment(1);
    Ok(answer)
}

fn read_entry(
    app: &App,
    caller: &Caller<scope::ConversionsWrite>,
    entry: &ManualEntry,
) -> Result<Report, Problem> {
    let mut wrong = Mistakes::default();
    wrong.text("/reason", &entry.reason, NAME_MAX);
    wrong.end()?;
    let now = app.clock.now();
    let kind = entry.r#type.clone();
    let mut data = entry.data.clone();
    data.metadata.insert("entered_by".to_owned(), Value::from(caller.actor()));
    data.metadata.insert("entered_because".to_owned(), Value::from(entry.reason.as_str()));
    if data.reason.is_none() {
        data.reason = Some(entry.reason.clone());
    }
    let message = WebhookMessage {
        r#type: kind.unwrap_or_else(|| MessageType::Created.as_str().to_owned()),
        timestamp: now.to_rfc3339(),
        data,
    };
    read_report(message, &app.customer_key, now).map_err(|problems| {
        problems.into_iter().fold(Problem::new(Code::InvalidField), |problem, field| {
            problem.error(field.pointer, field.detail)
        })
    })
}

fn record(
    app: &App,
    source: &SourceTerms,
    message_id: String,
    report: &Report,
) -> ConversionRecord {
    let now = app.clock.now();
    let sending = Sending {
        program_id: source.program_id,
        source_id: source.source_id,
        channel: "manual",
        trust: "signed",
        received_at: now,
        sent_at: now,
    };
    sending.record(message_id, report.content_hash(), report)
}

async fn foreseen(app: &Data<App>, record: &ConversionRecord) -> Result<HttpResponse, Problem> {
    let message = record::message(record).map_err(Problem::internal)?;
    let shared = app.clone();
    let told = detached(async move {
        let mut db = shared.db.begin().await?;
        let told = foresee(&shared, &mut db, vec![message]).await;
        db.rollback().await?;
        Ok(told?)
    })
    .await?;
    let settlement = told.into_iter().next();
    let body = ManualAnswer { status: "dry_run", receipt: None, settlement };
    Ok(HttpResponse::Ok().json(body))
}
