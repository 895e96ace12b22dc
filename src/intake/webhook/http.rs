//! `POST /v1/webhooks/{source_id}`: conversions, signed by Standard Webhooks 1.0.0. Those without a
//! query do not come by this route: `plain_http` takes them in front of the router.
//!
//! Order of checks: length, source, headers, timestamp, signature over the raw bytes, JSON,
//! fields; nothing is parsed before the signature has been verified. The answer 202 means that
//! the message is durable and must not be sent again; 200 that it was known.

#![expect(unused_qualifications, reason = "utoipa repeats the type of a query")]

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse, post};
use chrono::TimeDelta;
use metrics::Counter;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::app::App;
use crate::click::click_id::ClickId;
use crate::clock::Timestamp;
use crate::conversion::http::ReceiptBody;
use crate::conversion::signature::{
    Freshness, HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, SignatureError, SignedMessage,
    WebhookHeaders, WebhookSecret, verify,
};
use crate::conversion::webhook::{WebhookMessage, read_report};
use crate::conversion::{MessageType, Report};
use crate::ids::{ConversionId, ReceiptId, SourceId};
use crate::intake::append_http::come_again;
use crate::intake::known::{Known, Makes, Question};
use crate::intake::refused::noting;
use crate::intake::sending::Sending;
use crate::intake::trial::{Foreseen, foresee};
use crate::intake::webhook::wait_http::verdicts;
use crate::metrics as metric;
use crate::settlement::record;
use crate::snapshot::{SealedSecret, SourceTerms};
use crate::stream::ConversionRecord;
use crate::stream::batcher::Batcher;
use crate::web::body::{check_json, parse_json, read};
use crate::web::fields::Mistakes;
use crate::web::headers::Headers;
use crate::web::{Code, Problem, Query, detached};

/// What becomes of a message that is new and durable.
pub(super) const ACCEPTED: &str = "accepted";

/// Live secrets of a source, at most.
const SECRETS_MAX: usize = 2;

/// How long a sender waits for the verdict if it does not say, and at most.
pub(in crate::intake) const WAIT_MS_DEFAULT: u64 = 2_000;
pub(in crate::intake) const WAIT_MS_MAX: u64 = 5_000;

/// The headers that are signed, and the signature.
static SIGNING: [HeaderName; 3] = [
    HeaderName::from_static(HEADER_ID),
    HeaderName::from_static(HEADER_TIMESTAMP),
    HeaderName::from_static(HEADER_SIGNATURE),
];

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

/// How to answer.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct HowToAnswer {
    /// `1`: hold the answer until the message is settled.
    pub wait: Option<String>,
    /// How long at most, in milliseconds: 2000 by default, up to 5000.
    pub wait_ms: Option<u64>,
    /// `1`: write nothing, and answer what settlement would say now.
    pub dry_run: Option<String>,
}

/// How a message is to be answered, once that is read.
pub(super) struct Wish {
    /// How long to wait for the verdict.
    pub(super) wait: Option<Duration>,
    /// Whether nothing may be written.
    pub(super) is_dry_run: bool,
}

impl HowToAnswer {
    /// As soon as the message is durable.
    pub(super) const AT_ONCE: &Self = &Self { wait: None, wait_ms: None, dry_run: None };

    pub(super) fn read(&self) -> Result<Wish, Problem> {
        let mut wrong = Mistakes::default();
        let mut is_on = |pointer, text: &Option<String>| match text.as_deref() {
            Some("1" | "true") => true,
            None | Some("0" | "false") => false,
            Some(_) => {
                wrong.add(pointer, "must be 1 or 0");
                false
            }
        };
        let (waits, is_dry_run) = (is_on("/wait", &self.wait), is_on("/dry_run", &self.dry_run));
        let wait_ms = self.wait_ms.unwrap_or(WAIT_MS_DEFAULT);
        wrong.check(wait_ms <= WAIT_MS_MAX, "/wait_ms", "must be 0 to 5000");
        wrong.end()?;
        Ok(Wish { wait: waits.then(|| Duration::from_millis(wait_ms)), is_dry_run })
    }
}

/// What settlement would say of a message.
#[derive(Debug, Serialize, ToSchema)]
pub struct DryRun {
    /// `dry_run`: nothing was written.
    #[schema(value_type = String)]
    pub status: &'static str,
    /// What settlement would say, and why.
    pub settlement: Foreseen,
}

/// Takes a conversion message of a partner site, signed by Standard Webhooks.
#[utoipa::path(tag = "conversions", request_body = WebhookMessage,
    params(("source_id" = String, Path, description = "The source; chooses the secrets."),
        ("webhook-id" = String, Header, description = "Your id of the message; the same for each try."),
        ("webhook-timestamp" = i64, Header, description = "Seconds since 1970, within 5 minutes."),
        ("webhook-signature" = String, Header, description = "`v1,` and base64 of HMAC-SHA256 over `id.timestamp.body`."),
        HowToAnswer),
    responses((status = 202, body = Accepted, description = "Durable; do not send again."),
        (status = 200, body = Accepted, description = "Known, nothing changes; or the verdict of wait or dry_run."),
        Problem))]
#[post("/v1/webhooks/{source_id}")]
async fn receive_webhook(
    app: Data<App>,
    batcher: Data<Batcher>,
    req: HttpRequest,
    source_id: Path<String>,
    how: Query<HowToAnswer>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let body = read(payload, app.config.webhook_max_bytes).await;
    let received = body.and_then(|body| receive(&app, req.headers(), &source_id, &how, &body));
    let answer = take_in(&app, &batcher, received).await;
    counter(outcome(&answer)).increment(1);
    answer.map(|taken| taken.said.into_response())
}

/// A message that is believed and understood, and not kept yet.
pub(super) struct Received {
    source: Arc<SourceTerms>,
    sending: Sending,
    message_id: String,
    body_hash: [u8; 32],
    report: Report,
    wish: Wish,
}

/// Checks and reads a message.
pub(super) fn receive(
    app: &App,
    headers: &impl Headers,
    source_id: &str,
    how: &HowToAnswer,
    body: &[u8],
) -> Result<Box<Received>, Problem> {
    let Believed { source, signed, now } = believe(app, headers, source_id, body)?;
    let wish = how.read()?;
    let message: WebhookMessage = parse_json(body)?;
    let report = read_report(message, &app.customer_key, now).map_err(|problems| {
        problems.into_iter().fold(Problem::new(Code::InvalidField), |problem, field| {
            problem.error(field.pointer, field.detail)
        })
    })?;
    check_attributable(app, &report)?;
    let (body_hash, sending) = (Sha256::digest(body).into(), sending(&source, &signed, now));
    // In one place from here on: it is large, and would be copied at every step on its way.
    Ok(Box::new(Received { source, sending, message_id: signed.id, body_hash, report, wish }))
}

/// What was answered to a message that was not refused.
pub(super) struct Taken {
    result: &'static str,
    pub(super) said: Said,
}

/// The answer itself.
pub(super) enum Said {
    /// 202, the usual one.
    Accepted(Accepted),
    /// Any other.
    More(HttpResponse),
}

impl Said {
    pub(super) fn into_response(self) -> HttpResponse {
        match self {
            Self::Accepted(accepted) => HttpResponse::Accepted().json(accepted),
            Self::More(response) => response,
        }
    }
}

/// Returns what became of a message, for the metrics.
pub(super) fn outcome(answer: &Result<Taken, Problem>) -> &'static str {
    match answer {
        Ok(taken) => taken.result,
        Err(problem) if problem.code() == Code::ConversionConflict => "conflict",
        Err(_) => "rejected",
    }
}

/// Returns what counts the messages with an outcome.
pub(super) fn counter(outcome: &'static str) -> Counter {
    metrics::counter!(metric::CONVERSIONS, "channel" => "webhook", "result" => outcome)
}

/// What the headers of a body say whose signature has been verified; nothing of it is parsed yet.
pub(super) struct Believed {
    pub(super) source: Arc<SourceTerms>,
    pub(super) signed: SignedMessage,
    pub(super) now: Timestamp,
}

/// Checks who sent a body.
pub(super) fn believe(
    app: &App,
    headers: &impl Headers,
    source_id: &str,
    body: &[u8],
) -> Result<Believed, Problem> {
    let source = find_source(app, source_id).inspect_err(|problem| {
        if problem.code() == Code::SourceDisabled {
            let said = |_: &SourceTerms| noting::said_by_webhook(&signing_headers(headers), body);
            noting::note_disabled(app, source_id, "webhook", said);
        }
    })?;
    if headers.has(&CONTENT_ENCODING) || headers.has(&CONTENT_TYPE) {
        check_json(headers)?;
    } else {
        return Err(Problem::new(Code::UnsupportedMediaType));
    }
    let now = app.clock.now();
    let signed = check_signature(app, headers, &source, body, now)?;
    check_rate(app, &source, now)?;
    Ok(Believed { source, signed, now })
}

/// Makes a message durable that is not known yet.
pub(super) async fn take_in(
    app: &Data<App>,
    batcher: &Batcher,
    received: Result<Box<Received>, Problem>,
) -> Result<Taken, Problem> {
    let received = received?;
    let Received { source, sending, message_id, body_hash, report, wish } = &*received;
    let done = |result, response| Ok(Taken { result, said: Said::More(response) });
    if wish.is_dry_run {
        let record = sending.record(message_id.clone(), *body_hash, report);
        let mut told = Box::pin(foresee_all(app, vec![record])).await?;
        let settlement = told.pop().ok_or_else(|| Problem::new(Code::Internal))?;
        let told = DryRun { status: "dry_run", settlement };
        return done("dry_run", HttpResponse::Ok().json(told));
    }
    let question = question(source, message_id, *body_hash, report);
    if let Some(known) = look_up(app, question).await? {
        return done("duplicate", HttpResponse::Ok().json(known));
    }
    let record = sending.to_write(message_id.clone(), *body_hash, report);
    append(batcher, &record).await?;
    let receipt = ReceiptId(record.receipt);
    if let Some(limit) = wish.wait
        && let Some(row) = Box::pin(verdicts(app, &[receipt], limit)).await.remove(&receipt)
    {
        return done(ACCEPTED, HttpResponse::Ok().json(ReceiptBody::new(receipt, row)?));
    }
    let accepted = Accepted { status: ACCEPTED, receipt, conversion_id: None };
    Ok(Taken { result: ACCEPTED, said: Said::Accepted(accepted) })
}

/// Returns how the messages of a signed body are sent.
pub(super) fn sending(source: &SourceTerms, signed: &SignedMessage, now: Timestamp) -> Sending {
    Sending {
        program_id: source.program_id,
        source_id: source.source_id,
        channel: "webhook",
        trust: "signed",
        received_at: now,
        sent_at: signed.timestamp,
    }
}

/// Asks what settlement would do with messages now, and rolls back.
pub(super) async fn foresee_all(
    app: &Data<App>,
    records: Vec<ConversionRecord>,
) -> Result<Vec<Foreseen>, Problem> {
    let messages = records
        .iter()
        .map(|record| record::message(record).map_err(Problem::internal))
        .collect::<Result<Vec<_>, _>>()?;
    let app = app.clone();
    detached(async move {
        let mut db = app.db.begin().await?;
        let told = foresee(&app, &mut db, messages).await;
        db.rollback().await?;
        Ok(told?)
    })
    .await
}

pub(crate) fn find_source(app: &App, text: &str) -> Result<Arc<SourceTerms>, Problem> {
    let snapshot = app.snapshot.load();
    let source = text
        .parse::<SourceId>()
        .ok()
        .and_then(|id| snapshot.source(id))
        .ok_or_else(|| Problem::new(Code::UnknownSource))?;
    if source.is_active { Ok(Arc::clone(source)) } else { Err(Problem::new(Code::SourceDisabled)) }
}

/// Returns the secrets that a source may sign with now.
pub(crate) fn live_secrets(app: &App, source: &SourceTerms, now: Timestamp) -> Vec<WebhookSecret> {
    open_secrets(app, source, |s| s.expires_at.is_none_or(|end| end > now))
}

/// Returns the secrets of a source that ended last. Nothing is believed by them; they tell why.
pub(crate) fn ended_secrets(app: &App, source: &SourceTerms, now: Timestamp) -> Vec<WebhookSecret> {
    open_secrets(app, source, |s| s.expires_at.is_some_and(|end| end <= now))
}

fn open_secrets(
    app: &App,
    source: &SourceTerms,
    is_wanted: impl Fn(&SealedSecret) -> bool,
) -> Vec<WebhookSecret> {
    let wanted = source.secrets.iter().filter(|s| is_wanted(s));
    wanted
        .take(SECRETS_MAX)
        .filter_map(|s| {
            let context = source.source_id.0.as_bytes();
            let opened = s.opened.get(&app.sealer, context, &s.ciphertext);
            if opened.is_none() {
                tracing::error!("a secret of {} cannot be opened", source.source_id);
            }
            WebhookSecret::from_bytes(opened?).ok()
        })
        .collect()
}

/// Refuses a source that sends faster than it may. Asked after the signature, so that nobody else
/// can use up what the shop may send.
fn check_rate(app: &App, source: &SourceTerms, now: Timestamp) -> Result<(), Problem> {
    let rate = source.requests_per_second.unwrap_or(app.config.source_rate);
    app.rates.take(source.source_id, rate, now).map_err(|seconds| {
        Problem::new(Code::QuotaExceeded)
            .detail(format!(
                "This source may send {rate} requests in a second; nothing was stored."
            ))
            .retry_after(seconds)
    })
}

/// Returns what is given of id, timestamp and signature, each as often as it is there.
fn signing_headers<H: Headers>(headers: &H) -> [Vec<&[u8]>; 3] {
    [&SIGNING[0], &SIGNING[1], &SIGNING[2]].map(|name| headers.all(name).collect())
}

fn check_signature(
    app: &App,
    headers: &impl Headers,
    source: &SourceTerms,
    body: &[u8],
    now: Timestamp,
) -> Result<SignedMessage, Problem> {
    let secrets = live_secrets(app, source, now);
    let signing = signing_headers(headers);
    let [id, timestamp, signature] = &signing;
    let given = WebhookHeaders { id, timestamp, signature };
    let tolerance =
        TimeDelta::from_std(app.config.webhook_tolerance).unwrap_or(TimeDelta::minutes(5));
    let freshness = Freshness { now, tolerance };
    verify(&secrets, &given, body, freshness).map_err(|error| {
        let is_of = |secrets: &[WebhookSecret]| verify(secrets, &given, body, freshness).is_ok();
        let reason = noting::why(&error, || is_of(&ended_secrets(app, source, now)));
        noting::note(app, source, "webhook", reason, || noting::said_by_webhook(&signing, body));
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
pub(super) fn check_attributable(app: &App, report: &Report) -> Result<(), Problem> {
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

/// Returns what names a message and the conversion that it would make.
pub(super) fn question(
    source: &SourceTerms,
    message_id: &str,
    body_hash: [u8; 32],
    report: &Report,
) -> Question {
    let makes = (report.message_type == MessageType::Created).then(|| Makes {
        order_namespace: source.order_namespace.clone(),
        event: report.event.clone(),
        dedup_ref: report.dedup_ref(),
        content_hash: report.content_hash(),
    });
    Question {
        program_id: source.program_id,
        source_id: source.source_id,
        message_id: message_id.to_owned(),
        body_hash,
        makes,
    }
}

/// Looks whether the message is known.
async fn look_up(app: &App, question: Question) -> Result<Option<Accepted>, Problem> {
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
async fn append<R: Serialize>(
    batcher: &Batcher,
    record: &ConversionRecord<R>,
) -> Result<(), Problem> {
    let kept = batcher.push(|batch| batch.push_conversion(record)).await;
    if kept {
        return Ok(());
    }
    Err(come_again("The message could not be stored; send it again with the same webhook-id."))
}
