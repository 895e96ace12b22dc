//! `POST /v1/webhooks/{source_id}`: conversions, signed by Standard Webhooks 1.0.0.
//!
//! Order of checks: length, source, headers, timestamp, signature over the raw bytes, JSON,
//! fields; nothing is parsed before the signature has been verified. The answer 202 means that
//! the message is durable and must not be sent again; 200 that it was known.

use actix_web::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use actix_web::web::{Bytes, Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse, post};
use chrono::TimeDelta;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::app::App;
use crate::click::click_id::ClickId;
use crate::clock::Timestamp;
use crate::conversion::signature::{
    Freshness, HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, SignatureError, SignedMessage,
    WebhookHeaders, WebhookSecret, verify,
};
use crate::conversion::webhook::{WebhookMessage, read_report};
use crate::conversion::{MessageType, Report, wire};
use crate::ids::{ConversionId, ReceiptId, SourceId};
use crate::intake::known::{Known, Makes, Question};
use crate::metrics as metric;
use crate::snapshot::SourceTerms;
use crate::stream::ConversionRecord;
use crate::stream::batcher::Batcher;
use crate::web::body::{check_json, parse_json, read};
use crate::web::{Code, Problem};

/// Live secrets of a source, at most.
const SECRETS_MAX: usize = 2;

/// Adds the routes.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(receive_webhook);
}

/// What became of a message so far.
#[derive(Debug, Serialize, ToSchema)]
pub struct Accepted {
    /// `accepted`: durable, will be settled. `duplicate`: known, nothing changes.
    #[schema(example = "accepted")]
    pub status: &'static str,
    /// Asks `GET /v1/receipts/{receipt}` what became of it.
    #[schema(value_type = String)]
    pub receipt: ReceiptId,
    /// The conversion, where it is known already.
    #[schema(value_type = Option<String>)]
    pub conversion_id: Option<ConversionId>,
}

/// Takes a conversion message of a partner site, signed by Standard Webhooks.
#[utoipa::path(tag = "conversions", request_body = WebhookMessage,
    params(("source_id" = String, Path, description = "The source; chooses the secrets."),
        ("webhook-id" = String, Header, description = "Your id of the message; the same for each try."),
        ("webhook-timestamp" = i64, Header, description = "Seconds since 1970, within 5 minutes."),
        ("webhook-signature" = String, Header, description = "`v1,` and base64 of HMAC-SHA256 over `id.timestamp.body`.")),
    responses((status = 202, body = Accepted, description = "Durable; do not send again."),
        (status = 200, body = Accepted, description = "Known; nothing changes."),
        Problem))]
#[post("/v1/webhooks/{source_id}")]
async fn receive_webhook(
    app: Data<App>,
    batcher: Data<Batcher>,
    req: HttpRequest,
    source_id: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let answer = receive(&app, &batcher, &req, &source_id, payload).await;
    let result = match &answer {
        Ok(response) if response.status() == 202 => "accepted",
        Ok(_) => "duplicate",
        Err(problem) if problem.code() == Code::ConversionConflict => "conflict",
        Err(_) => "rejected",
    };
    metrics::counter!(metric::CONVERSIONS, "channel" => "webhook", "result" => result).increment(1);
    answer
}

async fn receive(
    app: &App,
    batcher: &Batcher,
    req: &HttpRequest,
    source_id: &str,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let body = read(payload, app.config.webhook_max_bytes).await?;
    let source = find_source(app, source_id)?;
    if req.headers().contains_key(CONTENT_ENCODING) || req.headers().contains_key(CONTENT_TYPE) {
        check_json(req.headers())?;
    } else {
        return Err(Problem::new(Code::UnsupportedMediaType));
    }
    let now = app.clock.now();
    let signed = check_signature(app, req, &source, &body, now)?;
    let message: WebhookMessage = parse_json(&body)?;
    let report = read_report(message, &app.customer_key, now).map_err(|problems| {
        problems.into_iter().fold(Problem::new(Code::InvalidField), |problem, field| {
            problem.error(field.pointer, field.detail)
        })
    })?;
    check_attributable(app, &report)?;
    let body_hash: [u8; 32] = Sha256::digest(&body).into();
    if let Some(known) = look_up(app, &source, &signed.id, body_hash, &report).await? {
        return Ok(HttpResponse::Ok().json(known));
    }
    let receipt = ReceiptId::new();
    let record = ConversionRecord {
        receipt: receipt.0,
        program_id: source.program_id.0,
        source_id: source.source_id.0,
        channel: "webhook".to_owned(),
        message_id: signed.id,
        content_hash: body_hash,
        received_at: now,
        sent_at: signed.timestamp,
        trust: "signed".to_owned(),
        report: wire::to_wire(&report),
    };
    append(batcher, &record).await?;
    Ok(HttpResponse::Accepted().json(Accepted { status: "accepted", receipt, conversion_id: None }))
}

pub(super) fn find_source(app: &App, text: &str) -> Result<SourceTerms, Problem> {
    let snapshot = app.snapshot.load();
    let source = text
        .parse::<SourceId>()
        .ok()
        .and_then(|id| snapshot.source(id))
        .ok_or_else(|| Problem::new(Code::UnknownSource))?;
    if source.is_active { Ok(source.clone()) } else { Err(Problem::new(Code::SourceDisabled)) }
}

fn check_signature(
    app: &App,
    req: &HttpRequest,
    source: &SourceTerms,
    body: &Bytes,
    now: Timestamp,
) -> Result<SignedMessage, Problem> {
    let secrets: Vec<WebhookSecret> = source
        .secrets
        .iter()
        .filter(|s| s.expires_at.is_none_or(|end| end > now))
        .take(SECRETS_MAX)
        .filter_map(|s| {
            let opened = app.sealer.open(source.source_id.0.as_bytes(), &s.ciphertext);
            let secret = opened.map(|bytes| WebhookSecret::from_bytes(&bytes));
            if secret.is_err() {
                tracing::error!("a secret of {} cannot be opened", source.source_id);
            }
            secret.ok()?.ok()
        })
        .collect();
    let values = |name: &'static str| {
        req.headers().get_all(name).map(|v| v.as_bytes()).collect::<Vec<&[u8]>>()
    };
    let (id, timestamp, signature) =
        (values(HEADER_ID), values(HEADER_TIMESTAMP), values(HEADER_SIGNATURE));
    let headers = WebhookHeaders { id: &id, timestamp: &timestamp, signature: &signature };
    let tolerance =
        TimeDelta::from_std(app.config.webhook_tolerance).unwrap_or(TimeDelta::minutes(5));
    verify(&secrets, &headers, body, Freshness { now, tolerance }).map_err(|error| {
        let label = match &error {
            SignatureError::MissingHeader(_) => "missing_header",
            SignatureError::OutOfTolerance { .. } => "timestamp",
            SignatureError::NoMatch => "no_match",
            SignatureError::DuplicateHeader(_)
            | SignatureError::BadId
            | SignatureError::BadTimestamp
            | SignatureError::TooManySignatures => "malformed",
        };
        metrics::counter!(metric::WEBHOOK_VERIFY_FAILURES, "reason" => label).increment(1);
        let detail = format!("{error}.");
        if matches!(error, SignatureError::OutOfTolerance { .. }) {
            Problem::new(Code::TimestampOutOfTolerance)
                .detail(detail)
                .with("server_time", now.to_rfc3339())
        } else {
            Problem::new(Code::InvalidSignature).detail(detail)
        }
    })
}

/// Refuses a message that nothing could ever be attributed by: no order, and a click id that is
/// not ours. With an order id it is taken in, so that finance sees it.
fn check_attributable(app: &App, report: &Report) -> Result<(), Problem> {
    match (&report.order_id, &report.click_id) {
        (None, Some(text)) => {
            ClickId::verify(&app.config.click_keys, text).map(drop).map_err(|e| {
                Problem::new(Code::InvalidField)
                    .error("/data/click_id", format!("{e}, and there is no order_id to go by"))
            })
        }
        (Some(_), _) | (None, None) => Ok(()),
    }
}

/// Looks whether the message is known.
async fn look_up(
    app: &App,
    source: &SourceTerms,
    message_id: &str,
    body_hash: [u8; 32],
    report: &Report,
) -> Result<Option<Accepted>, Problem> {
    let makes = (report.message_type == MessageType::Created).then(|| Makes {
        order_namespace: source.order_namespace.clone(),
        event: report.event.clone(),
        dedup_ref: report.dedup_ref(),
        content_hash: report.content_hash(),
    });
    let question = Question {
        program_id: source.program_id,
        source_id: source.source_id,
        message_id: message_id.to_owned(),
        body_hash,
        makes,
    };
    match app.known.ask(question).await {
        Known::No => Ok(None),
        Known::Duplicate { receipt_id: receipt, conversion_id } => {
            Ok(Some(Accepted { status: "duplicate", receipt, conversion_id }))
        }
        Known::IdReused => Err(Problem::new(Code::WebhookIdReused)),
        Known::Conflict { conversion_id } => {
            Err(Problem::new(Code::ConversionConflict)
                .with("conversion_id", conversion_id.to_string()))
        }
    }
}

/// Makes a message durable, together with what else comes in this turn of the worker.
async fn append(batcher: &Batcher, record: &ConversionRecord) -> Result<(), Problem> {
    let kept = batcher.push(|batch| batch.push_conversion(record)).await;
    if kept == Ok(true) {
        return Ok(());
    }
    Err(Problem::new(Code::Unavailable)
        .detail("The message could not be stored; send it again with the same webhook-id.")
        .retry_after(5))
}
