//! `GET|POST /postback/{source_id}`: a conversion in the query of a URL.
//!
//! The answer is one line of text that never repeats a parameter: `OK` when the message is durable
//! or known, else the parameter, the reason and the fix. A key in an address is read by logs and
//! browsers, so it is believed less than a signature: it approves nothing.

use std::time::Duration;

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
use crate::conversion::signature::WebhookSecret;
use crate::ids::ReceiptId;
use crate::intake::known::{Known, Makes, Question};
use crate::intake::refused::{Reason, noting};
use crate::intake::sending::Sending;
use crate::intake::webhook::http::{
    WAIT_MS_DEFAULT, WAIT_MS_MAX, ended_secrets, find_source, live_secrets,
};
use crate::intake::webhook::wait_http::verdicts;
use crate::metrics as metric;
use crate::snapshot::SourceTerms;
use crate::stream::batcher::Batcher;
use crate::web::Code;
use crate::web::body::read;

/// Parameters that say how to answer. No profile has a meaning for them; they are not kept either.
const WAIT: &str = "wait";
const WAIT_MS: &str = "wait_ms";
/// Longest form that a postback may send.
const FORM_MAX_BYTES: usize = 16 * 1024;
/// The receipt, for `GET /v1/receipts/{receipt}`.
const RECEIPT: HeaderName = HeaderName::from_static("tributary-receipt");

/// Adds the routes.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(take_query).service(take_form);
}

/// A postback that is durable or known.
struct Taken {
    receipt: Option<ReceiptId>,
    /// What became of it, where the tracker waits for that.
    verdict: Option<String>,
}

/// Why a postback is not taken: the status and the line.
pub(super) struct Refused {
    pub(super) status: StatusCode,
    pub(super) line: String,
    retry_after_s: Option<u32>,
    /// Why the sender is not believed, where that is it.
    reason: Option<Reason>,
}

impl Refused {
    pub(super) fn new(status: StatusCode, line: impl Into<String>) -> Self {
        let retry_after_s = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(5);
        Self { status, line: line.into(), retry_after_s, reason: None }
    }

    fn unbelieved(reason: Reason, line: impl Into<String>) -> Self {
        Self { reason: Some(reason), ..Self::new(StatusCode::UNAUTHORIZED, line) }
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
        (status = 429, content_type = "text/plain", body = String,
            description = "The source sends too fast; `Retry-After` says when to send it again."),
        (status = 503, content_type = "text/plain", body = String)))]
#[get("/postback/{source_id}")]
async fn take_query(
    app: Data<App>,
    batcher: Data<Batcher>,
    req: HttpRequest,
    source_id: Path<String>,
) -> HttpResponse {
    answer(&receive(&app, &batcher, &req, &source_id, "").await)
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
        (status = 429, content_type = "text/plain", body = String,
            description = "The source sends too fast; `Retry-After` says when to send it again."),
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
    answer(&done)
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

fn answer(done: &Result<Taken, Refused>) -> HttpResponse {
    let (status, line, result) = match done {
        Ok(Taken { verdict: Some(verdict), .. }) => {
            (StatusCode::OK, format!("OK {verdict}"), "accepted")
        }
        Ok(Taken { verdict: None, .. }) => (StatusCode::OK, "OK".to_owned(), "accepted"),
        Err(Refused { status, line, .. }) if *status == StatusCode::CONFLICT => {
            (*status, line.clone(), "conflict")
        }
        Err(Refused { status, line, .. }) => (*status, line.clone(), "rejected"),
    };
    metrics::counter!(metric::CONVERSIONS, "channel" => "postback", "result" => result)
        .increment(1);
    let mut response = HttpResponse::build(status);
    response.insert_header((CACHE_CONTROL, "no-store")).content_type("text/plain; charset=utf-8");
    if let Ok(Taken { receipt: Some(receipt), .. }) = done {
        response.insert_header((RECEIPT, receipt.to_string()));
    }
    if let Err(Refused { retry_after_s: Some(seconds), .. }) = done {
        response.insert_header((RETRY_AFTER, *seconds));
    }
    response.body(format!("{line}\n"))
}

async fn receive(
    app: &Data<App>,
    batcher: &Batcher,
    req: &HttpRequest,
    source_id: &str,
    form: &str,
) -> Result<Taken, Refused> {
    if is_speculative(req) {
        let line = "a browser fetched ahead; nothing was done";
        return Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, line));
    }
    let source = find_source(app, source_id).map_err(|problem| {
        if problem.code() == Code::SourceDisabled {
            noting::note_disabled(app, source_id, "postback", |source| {
                let postback =
                    read_parameters(parameters(req.query_string(), form), &source.postback);
                postback.map(|p| noting::said_by_postback(&p)).unwrap_or_default()
            });
        }
        Refused::new(problem.code().status(), format!("{}.", problem.code().title()))
    })?;
    let wait = read_wait(req.query_string(), form)?;
    let now = app.clock.now();
    let postback = read_parameters(parameters(req.query_string(), form), &source.postback)?;
    let belief = believe(app, &source, &postback, now).inspect_err(|refused| {
        if let Some(reason) = refused.reason {
            let said = || noting::said_by_postback(&postback);
            noting::note(app, &source, "postback", reason, said);
        }
    })?;
    check_rate(app, &source, now)?;
    let planned = plan(&postback, &source.postback, belief, &app.customer_key, now)?;
    check_attributable(app, &planned)?;
    let sending = sending(&source, belief, now);
    let is_parked = matches!(postback.event, EventName::Unmapped(_));
    let receipts = take_in(app, batcher, &source, is_parked, &sending, planned).await?;
    let receipt = receipts.last().copied();
    // What is parked waits for a person.
    let verdict = match (wait.filter(|_| !is_parked), receipt) {
        (None, _) => None,
        (Some(_), None) => Some("duplicate".to_owned()),
        (Some(limit), Some(last)) => {
            verdicts(app, &receipts, limit).await.remove(&last).map(|row| row.status)
        }
    };
    Ok(Taken { receipt, verdict })
}

/// Returns the parameters of a query and a form, decoded.
pub(super) fn parameters<'a>(
    query: &'a str,
    form: &'a str,
) -> impl Iterator<Item = (String, String)> + 'a {
    let decode = |text: &'a str| url::form_urlencoded::parse(text.as_bytes()).into_owned();
    decode(query).chain(decode(form)).filter(|(name, _)| name != WAIT && name != WAIT_MS)
}

/// Returns how long the tracker waits for the verdict.
fn read_wait(query: &str, form: &str) -> Result<Option<Duration>, Refused> {
    let bad = |line: &str| Refused::new(StatusCode::BAD_REQUEST, line);
    let (mut waits, mut wait_ms) = (false, WAIT_MS_DEFAULT);
    let decode = |text| url::form_urlencoded::parse(str::as_bytes(text));
    for (name, value) in decode(query).chain(decode(form)) {
        match (&*name, &*value) {
            (WAIT, "1" | "true") => waits = true,
            (WAIT, "" | "0" | "false") => waits = false,
            (WAIT, _) => return Err(bad("wait: must be 1 or 0; leave it out to hear OK at once")),
            (WAIT_MS, "") => {}
            (WAIT_MS, value) => {
                wait_ms =
                    value.parse().ok().filter(|ms| *ms <= WAIT_MS_MAX).ok_or_else(|| {
                        bad("wait_ms: must be 0 to 5000; 2000 where it is left out")
                    })?;
            }
            (_, _) => {}
        }
    }
    Ok(waits.then(|| Duration::from_millis(wait_ms)))
}

/// Refuses a source that sends faster than it may, webhooks and postbacks together.
fn check_rate(app: &App, source: &SourceTerms, now: Timestamp) -> Result<(), Refused> {
    let rate = source.requests_per_second.unwrap_or(app.config.source_rate);
    app.rates.take(source.source_id, rate, now).map_err(|seconds| {
        let line = format!(
            "source: may send {rate} requests in a second; nothing was stored, send it again in \
             {seconds} s"
        );
        let refused = Refused::new(StatusCode::TOO_MANY_REQUESTS, line);
        Refused { retry_after_s: Some(seconds), ..refused }
    })
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
    if let Some(given) = &postback.signature {
        let tolerance =
            TimeDelta::from_std(app.config.webhook_tolerance).unwrap_or(TimeDelta::minutes(5));
        let verify = |secrets: &[WebhookSecret]| {
            signature::verify(postback, given, source.source_id, secrets, now, tolerance)
        };
        return verify(&live_secrets(app, source, now)).map(Belief::Signed).map_err(|error| {
            let is_ended = || verify(&ended_secrets(app, source, now)).is_ok();
            Refused::unbelieved(noting::why_postback(error, is_ended), error.to_string())
        });
    }
    if source.postback.needs_signature {
        let line = "sig: is missing; this source signs its postbacks";
        return Err(Refused::unbelieved(Reason::SignatureMissing, line));
    }
    let Some(key) = &postback.key else {
        let line = "key: is missing; send the source's postback key, or a signature";
        return Err(Refused::unbelieved(Reason::KeyUnknown, line));
    };
    let given = Sha256::digest(key.as_bytes());
    let live = source.postback.keys.iter().filter(|k| k.ends_at.is_none_or(|end| end > now));
    let is_match = live.fold(false, |found, k| found | bool::from(k.hash.ct_eq(&given)));
    if is_match {
        Ok(Belief::Key)
    } else {
        let line = "key: is not a key of this source; take it from its settings";
        Err(Refused::unbelieved(Reason::KeyUnknown, line))
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

/// Makes what is not known durable; returns the receipts, that of the last message last.
async fn take_in(
    app: &App,
    batcher: &Batcher,
    source: &SourceTerms,
    is_parked: bool,
    sending: &Sending,
    planned: Vec<Planned>,
) -> Result<Vec<ReceiptId>, Refused> {
    let is_move = planned.len() > 1;
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
    if records.is_empty() {
        return Ok(Vec::new());
    }
    let durable = batcher.push(|batch| {
        for record in &records {
            if is_parked { batch.push_parked(record) } else { batch.push_conversion(record) }
        }
    });
    if durable.await {
        return Ok(records.iter().map(|record| ReceiptId(record.receipt)).collect());
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
