//! `GET|POST /postback/{source_id}`: a conversion in the query of a URL.
//!
//! The answer is one line of text that never repeats a parameter: `OK` when the message is durable
//! or known, else the parameter, the reason and the fix. A key in an address is read by logs and
//! browsers, so it is believed less than a signature: it approves nothing.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, RETRY_AFTER};
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse, get, post};
use chrono::TimeDelta;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::app::App;
use crate::click::classify::RequestHead;
use crate::click::click_id::ClickId;
use crate::clock::Timestamp;
use crate::conversion::MessageType;
use crate::conversion::postback::{
    Belief, EventName, Planned, Postback, Refusal, plan, read as read_parameters, signature,
};
use crate::ids::ReceiptId;
use crate::intake::known::{Known, Makes, Question};
use crate::intake::sending::Sending;
use crate::intake::webhook::http::{find_source, live_secrets};
use crate::metrics as metric;
use crate::snapshot::SourceTerms;
use crate::stream::batcher::Batcher;
use crate::web::body::read;

/// Longest form that a postback may send.
const FORM_MAX_BYTES: usize = 16 * 1024;
/// The receipt, for `GET /v1/receipts/{receipt}`.
const RECEIPT: HeaderName = HeaderName::from_static("tributary-receipt");

/// Adds the routes.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(take_query).service(take_form);
}

/// Why a postback is not taken: the status and the line.
pub(super) struct Refused {
    pub(super) status: StatusCode,
    pub(super) line: String,
}

impl Refused {
    fn new(status: StatusCode, line: impl Into<String>) -> Self {
        Self { status, line: line.into() }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::new(StatusCode::BAD_REQUEST, refusal.to_string())
    }
}

/// Takes a postback in a query.
#[utoipa::path(tag = "conversions", security(()),
    params(("source_id" = String, Path, description = "The source; chooses key, profile and secrets.")),
    responses((status = 200, content_type = "text/plain", body = String,
            description = "`OK`: durable, or known."),
        (status = 400, content_type = "text/plain", body = String,
            description = "The parameter, the reason, the fix."),
        (status = 401, content_type = "text/plain", body = String),
        (status = 404, content_type = "text/plain", body = String),
        (status = 409, content_type = "text/plain", body = String,
            description = "The order is known with other content."),
        (status = 410, content_type = "text/plain", body = String),
        (status = 503, content_type = "text/plain", body = String)))]
#[get("/postback/{source_id}")]
async fn take_query(
    app: Data<App>,
    batcher: Data<Batcher>,
    req: HttpRequest,
    source_id: Path<String>,
) -> HttpResponse {
    answer(receive(&app, &batcher, &req, &source_id, "").await)
}

/// Takes a postback in a form.
#[utoipa::path(tag = "conversions", security(()),
    request_body(content = String, content_type = "application/x-www-form-urlencoded"),
    params(("source_id" = String, Path, description = "The source; chooses key, profile and secrets.")),
    responses((status = 200, content_type = "text/plain", body = String),
        (status = 400, content_type = "text/plain", body = String),
        (status = 401, content_type = "text/plain", body = String),
        (status = 404, content_type = "text/plain", body = String),
        (status = 409, content_type = "text/plain", body = String),
        (status = 410, content_type = "text/plain", body = String),
        (status = 413, content_type = "text/plain", body = String),
        (status = 503, content_type = "text/plain", body = String)))]
#[post("/postback/{source_id}")]
async fn take_form(
    app: Data<App>,
    batcher: Data<Batcher>,
    req: HttpRequest,
    source_id: Path<String>,
    payload: Payload,
) -> HttpResponse {
    let done = match read_form(&req, payload).await {
        Ok(form) => receive(&app, &batcher, &req, &source_id, &form).await,
        Err(refused) => Err(refused),
    };
    answer(done)
}

async fn read_form(req: &HttpRequest, payload: Payload) -> Result<String, Refused> {
    let body = read(payload, FORM_MAX_BYTES).await.map_err(|problem| {
        let line = format!("body: is cut or has more than {FORM_MAX_BYTES} bytes; send less");
        Refused::new(problem.code().status(), line)
    })?;
    let media_type = req.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    if body.is_empty() || media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        // What is no UTF-8 becomes replacement characters, as in a query.
        return Ok(String::from_utf8_lossy(&body).into_owned());
    }
    let line = "body: is no form; send application/x-www-form-urlencoded, or use the query";
    Err(Refused::new(StatusCode::BAD_REQUEST, line))
}

fn answer(done: Result<Option<ReceiptId>, Refused>) -> HttpResponse {
    let (status, line, result) = match &done {
        Ok(_) => (StatusCode::OK, "OK", "accepted"),
        Err(Refused { status, line }) if *status == StatusCode::CONFLICT => {
            (*status, line.as_str(), "conflict")
        }
        Err(Refused { status, line }) => (*status, line.as_str(), "rejected"),
    };
    metrics::counter!(metric::CONVERSIONS, "channel" => "postback", "result" => result)
        .increment(1);
    let mut response = HttpResponse::build(status);
    response.insert_header((CACHE_CONTROL, "no-store")).content_type("text/plain; charset=utf-8");
    if let Ok(Some(receipt)) = &done {
        response.insert_header((RECEIPT, receipt.to_string()));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.insert_header((RETRY_AFTER, 5));
    }
    response.body(format!("{line}\n"))
}

async fn receive(
    app: &App,
    batcher: &Batcher,
    req: &HttpRequest,
    source_id: &str,
    form: &str,
) -> Result<Option<ReceiptId>, Refused> {
    if is_speculative(req) {
        let line = "a browser fetched ahead; nothing was done";
        return Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, line));
    }
    let source = find_source(app, source_id).map_err(|problem| {
        Refused::new(problem.code().status(), format!("{}.", problem.code().title()))
    })?;
    let now = app.clock.now();
    let postback = read_parameters(parameters(req.query_string(), form), &source.postback)?;
    let belief = believe(app, &source, &postback, now)?;
    let planned = plan(&postback, &source.postback, belief, &app.customer_key, now)?;
    check_attributable(app, &planned)?;
    take_in(app, batcher, &source, &postback, belief, planned, now).await
}

/// Returns the parameters of a query and a form, decoded.
pub(super) fn parameters<'a>(
    query: &'a str,
    form: &'a str,
) -> impl Iterator<Item = (String, String)> + 'a {
    let decode = |text: &'a str| url::form_urlencoded::parse(text.as_bytes()).into_owned();
    decode(query).chain(decode(form))
}

/// A GET that does something must not be done by a browser that only looks ahead.
fn is_speculative(req: &HttpRequest) -> bool {
    let text = |name: &str| req.headers().get(name).and_then(|v| v.to_str().ok());
    let head = RequestHead {
        sec_purpose: text("sec-purpose"),
        purpose: text("purpose"),
        x_purpose: text("x-purpose"),
        x_moz: text("x-moz"),
        ..RequestHead::default()
    };
    head.is_speculative()
}

/// Tells how far a postback is believed. A signature that is wrong is refused even beside a key
/// that is right: somebody changed what was signed.
pub(super) fn believe(
    app: &App,
    source: &SourceTerms,
    postback: &Postback,
    now: Timestamp,
) -> Result<Belief, Refused> {
    let unauthorized = |line: String| Refused::new(StatusCode::UNAUTHORIZED, line);
    if let Some(given) = &postback.signature {
        let secrets = live_secrets(app, source, now);
        let tolerance =
            TimeDelta::from_std(app.config.webhook_tolerance).unwrap_or(TimeDelta::minutes(5));
        return signature::verify(postback, given, source.source_id, &secrets, now, tolerance)
            .map(Belief::Signed)
            .map_err(|e| unauthorized(e.to_string()));
    }
    if source.postback.needs_signature {
        let line = "sig: is missing; this source signs its postbacks";
        return Err(unauthorized(line.to_owned()));
    }
    let Some(key) = &postback.key else {
        let line = "key: is missing; send the source's postback key, or a signature";
        return Err(unauthorized(line.to_owned()));
    };
    let given = Sha256::digest(key.as_bytes());
    let live = source.postback.keys.iter().filter(|k| k.ends_at.is_none_or(|end| end > now));
    let is_match = live.fold(false, |found, k| found | bool::from(k.hash.ct_eq(&given)));
    if is_match {
        Ok(Belief::Key)
    } else {
        Err(unauthorized("key: is not a key of this source; take it from its settings".to_owned()))
    }
}

/// Refuses what nothing could ever be attributed by, as the webhook does.
pub(super) fn check_attributable(app: &App, planned: &[Planned]) -> Result<(), Refused> {
    let Some(Planned { report, .. }) = planned.first() else { return Ok(()) };
    match (&report.order_id, &report.click_id) {
        (None, Some(text)) if ClickId::verify(&app.config.click_keys, text).is_err() => {
            let line = "click_id: is none of ours, and there is no order id to go by; send both";
            Err(Refused::new(StatusCode::BAD_REQUEST, line))
        }
        (Some(_) | None, _) => Ok(()),
    }
}

/// Returns how the messages of a postback are sent.
pub(super) fn sending(source: &SourceTerms, belief: Belief, now: Timestamp) -> Sending {
    let (trust, sent_at) = match belief {
        Belief::Key => ("postback", now),
        Belief::Signed(at) => ("signed", at),
    };
    Sending {
        program_id: source.program_id,
        source_id: source.source_id,
        channel: "postback",
        trust,
        received_at: now,
        sent_at,
    }
}

async fn take_in(
    app: &App,
    batcher: &Batcher,
    source: &SourceTerms,
    postback: &Postback,
    belief: Belief,
    planned: Vec<Planned>,
    now: Timestamp,
) -> Result<Option<ReceiptId>, Refused> {
    let is_parked = matches!(postback.event, EventName::Unmapped(_));
    let is_move = planned.len() > 1;
    let sending = sending(source, belief, now);
    let mut records = Vec::new();
    for one in planned {
        let known = app.known.ask(question(source, &one)).await;
        match known {
            Known::Duplicate { .. } => {}
            Known::No | Known::IdReused => {
                records.push(sending.record(one.message_id, one.body_hash, &one.report));
            }
            // The order is there: its content stays, and a status may move it all the same.
            Known::Conflict { .. } if is_move => {}
            Known::Conflict { .. } => {
                let line = "order: is known with other content, which stays; nothing was changed";
                return Err(Refused::new(StatusCode::CONFLICT, line));
            }
        }
    }
    let Some(last) = records.last() else { return Ok(None) };
    let receipt = ReceiptId(last.receipt);
    let durable = batcher.push(|batch| {
        for record in &records {
            if is_parked { batch.push_parked(record) } else { batch.push_conversion(record) }
        }
    });
    if durable.await == Ok(true) {
        return Ok(Some(receipt));
    }
    let line = "the message could not be stored; send it again";
    Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, line))
}

fn question(source: &SourceTerms, one: &Planned) -> Question {
    let makes = (one.report.message_type == MessageType::Created).then(|| Makes {
        order_namespace: source.order_namespace.clone(),
        event: one.report.event.clone(),
        dedup_ref: one.report.dedup_ref(),
        content_hash: one.report.content_hash(),
    });
    Question {
        program_id: source.program_id,
        source_id: source.source_id,
        message_id: one.message_id.clone(),
        body_hash: one.body_hash,
        makes,
    }
}
