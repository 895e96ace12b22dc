//! The routes of parked messages: those whose event has no name of ours yet.
//!
//! A person maps the name and releases the message, which then settles as if it had come so, or
//! discards it with a reason. Both stay in the table.

#![expect(unused_qualifications, reason = "utoipa repeats the types of two queries")]

use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, get, post};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::account::audit_store::{self, Entry};
use crate::account::http::{Caller, scope};
use crate::app::App;
use crate::clock::Timestamp;
use crate::conversion::parked_store::{self as store, Parked};
use crate::conversion::{EVENTS, MessageType, wire};
use crate::db::DbTx;
use crate::ids::{ParkedId, ProgramId, ReceiptId, SourceId};
use crate::intake::append_http::append;
use crate::program::{postback_store, source_store};
use crate::stream::{ConversionRecord, PackedBatch};
use crate::web::fields::{Mistakes, path_id};
use crate::web::{
    Code, Page, PageQuery, Problem, ProblemBody, Query, StrictJson, detached, transact,
};

const STATUSES: [&str; 3] = ["parked", "released", "discarded"];
const REASON_MAX: usize = 200;
const NOT_STORED: &str = "The message could not be stored; release it again.";

/// Adds the routes; before that of one conversion, whose address would take them.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(list_parked).service(release_parked).service(discard_parked);
}

/// Which messages to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ParkedFilter {
    /// The program.
    #[param(value_type = String)]
    pub program_id: ProgramId,
    /// `parked` by default; `released` or `discarded`.
    pub status: Option<String>,
}

/// A parked message as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct ParkedBody {
    /// Its id.
    #[schema(value_type = String)]
    pub id: ParkedId,
    /// The program.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// Who sent it.
    #[schema(value_type = String)]
    pub source_id: SourceId,
    /// The name of its event as it was sent.
    pub event_name: String,
    /// `conversion.created` and so on.
    pub r#type: String,
    /// The shop's own name of the order.
    pub order_id: Option<String>,
    /// The click id as it came.
    pub click_id: Option<String>,
    /// What the customer paid, in major units.
    pub amount: Option<String>,
    /// ISO 4217 code.
    pub currency: Option<String>,
    /// The receipt that its sender holds; it tells more once the message is released.
    #[schema(value_type = String)]
    pub receipt: ReceiptId,
    /// When it came.
    #[schema(value_type = String)]
    pub received_at: Timestamp,
    /// `parked`, `released` or `discarded`.
    pub status: String,
    /// Who decided.
    pub decided_by: Option<String>,
    /// When.
    #[schema(value_type = Option<String>)]
    pub decided_at: Option<Timestamp>,
    /// The event it was released as, or why it was discarded.
    pub note: Option<String>,
}

/// What a message's event is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// `sale`, `lead`, `signup`, `install` or `renewal`.
    #[schema(example = "sale")]
    pub event: String,
    /// Whether the source's map keeps the name, so that the next message is not parked.
    #[serde(default)]
    pub remember: bool,
}

/// Why a message is of no use.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Discard {
    /// Why.
    pub reason: String,
}

impl TryFrom<Parked> for ParkedBody {
    type Error = Problem;

    fn try_from(parked: Parked) -> Result<Self, Problem> {
        let record = record_of(&parked)?;
        let report = wire::from_wire(&record.report).map_err(Problem::internal)?;
        Ok(Self {
            id: parked.parked_id,
            program_id: parked.program_id,
            source_id: parked.source_id,
            event_name: parked.event_name,
            r#type: report.message_type.as_str().to_owned(),
            order_id: report.order_id,
            click_id: report.click_id,
            amount: report.amount.map(|m| m.to_decimal_string()),
            currency: report.currency.map(|c| c.code().to_owned()),
            receipt: ReceiptId(record.receipt),
            received_at: parked.received_at,
            status: parked.status,
            decided_by: parked.decided_by,
            decided_at: parked.decided_at,
            note: parked.note,
        })
    }
}

fn record_of(parked: &Parked) -> Result<ConversionRecord, Problem> {
    serde_json::from_value(parked.record.clone()).map_err(Problem::internal)
}

/// Lists messages whose event has no name of ours yet, oldest first.
#[utoipa::path(tag = "conversions", params(ParkedFilter, PageQuery), responses(
    (status = 200, body = Page<ParkedBody>), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[get("/v1/conversions/parked")]
async fn list_parked(
    app: Data<App>,
    caller: Caller<scope::ConversionsRead>,
    filter: Query<ParkedFilter>,
    page: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let ParkedFilter { program_id, status } = filter.into_inner();
    caller.check_reach(program_id)?;
    let (limit, after) = (page.limit()?, page.after()?);
    let status = status.unwrap_or_else(|| STATUSES[0].to_owned());
    let mut wrong = Mistakes::default();
    wrong.one_of("/status", &status, &STATUSES);
    wrong.end()?;
    let db = app.db.clone();
    let rows = detached(async move {
        let mut db = db.acquire().await?;
        Ok(store::list(&mut db, program_id, &status, after, i64::from(limit) + 1).await?)
    })
    .await?;
    let page = Page::new(rows, limit, |row| row.parked_id);
    let data: Result<Vec<_>, Problem> = page.data.into_iter().map(ParkedBody::try_from).collect();
    let (has_more, next_cursor) = (page.has_more, page.next_cursor);
    Ok(HttpResponse::Ok().json(Page { data: data?, has_more, next_cursor }))
}

/// Names the event of a message and lets it settle.
#[utoipa::path(tag = "conversions", request_body = Release, responses(
    (status = 200, body = ParkedBody), (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody), (status = 422, body = ProblemBody),
    (status = 503, body = ProblemBody)))]
#[post("/v1/conversions/parked/{id}/release")]
async fn release_parked(
    app: Data<App>,
    caller: Caller<scope::ConversionsWrite>,
    id: Path<String>,
    body: StrictJson<Release>,
) -> Result<HttpResponse, Problem> {
    let id: ParkedId = path_id(&id)?;
    let Release { event, remember } = body.0;
    let mut wrong = Mistakes::default();
    wrong.one_of("/event", &event, &EVENTS);
    wrong.end()?;
    let now = app.clock.now();
    let shared = app.clone();
    let mut parked = transact(&app.db, async move |db| {
        let parked = still_parked(&caller, store::lock(db, id).await?)?;
        let record = mapped(&parked, &event)?;
        store::decide(db, &parked, "released", &caller.actor(), &event, now).await?;
        if remember {
            remember_name(db, &parked, &event, now).await?;
        }
        let entry = Entry::by(&caller, "conversion.release_parked", id)
            .program(parked.program_id)
            .details(json!({"event_name": parked.event_name, "event": event, "remember": remember}))
            .request(&caller.request_id);
        audit_store::record(db, entry, now).await?;
        // Last: if this fails nothing is decided, and if the commit fails, releasing again sends
        // the same message, which settles once.
        let mut batch = PackedBatch::new();
        batch.push_conversion(&record);
        append(&shared, &batch, NOT_STORED).await?;
        Ok(parked)
    })
    .await?;
    app.keeper.refresh_soon().await;
    parked.status = "released".to_owned();
    Ok(HttpResponse::Ok().json(ParkedBody::try_from(parked)?))
}

fn still_parked<S>(caller: &Caller<S>, found: Option<Parked>) -> Result<Parked, Problem> {
    let parked = found
        .filter(|parked| caller.reaches(parked.program_id))
        .ok_or_else(|| Problem::new(Code::NotFound))?;
    if parked.status == STATUSES[0] {
        return Ok(parked);
    }
    let detail = format!("It is {} already; nothing is left to decide.", parked.status);
    Err(Problem::new(Code::InvalidTransition).detail(detail).with("allowed", Vec::<Value>::new()))
}

/// Returns the record of a message under an event of ours.
fn mapped(parked: &Parked, event: &str) -> Result<ConversionRecord, Problem> {
    let mut record = record_of(parked)?;
    let mut report = wire::from_wire(&record.report).map_err(Problem::internal)?;
    let needs_amount = ["sale", "renewal"].contains(&event)
        && report.message_type == MessageType::Created
        && report.amount.is_none();
    if needs_amount {
        let detail = format!("cannot be {event}: the message has no amount; choose another event");
        return Err(Problem::new(Code::InvalidField).error("/event", detail));
    }
    report.event = event.to_owned();
    record.report = wire::to_wire(&report);
    Ok(record)
}

async fn remember_name(
    db: &mut DbTx,
    parked: &Parked,
    event: &str,
    now: Timestamp,
) -> Result<(), Problem> {
    let Some(source) = source_store::lock_source(db, parked.source_id).await? else {
        return Ok(());
    };
    let mut terms = postback_store::find_terms(db, &source).await?;
    terms.event_map.insert(parked.event_name.clone(), event.to_owned());
    Ok(postback_store::set_terms(db, &source, &terms, now).await?)
}

/// Puts a message aside for good, with a reason.
#[utoipa::path(tag = "conversions", request_body = Discard, responses(
    (status = 200, body = ParkedBody), (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[post("/v1/conversions/parked/{id}/discard")]
async fn discard_parked(
    app: Data<App>,
    caller: Caller<scope::ConversionsWrite>,
    id: Path<String>,
    body: StrictJson<Discard>,
) -> Result<HttpResponse, Problem> {
    let id: ParkedId = path_id(&id)?;
    let reason = body.0.reason;
    let mut wrong = Mistakes::default();
    wrong.text("/reason", &reason, REASON_MAX);
    wrong.end()?;
    let now = app.clock.now();
    let mut parked = transact(&app.db, async move |db| {
        let parked = still_parked(&caller, store::lock(db, id).await?)?;
        store::decide(db, &parked, "discarded", &caller.actor(), &reason, now).await?;
        let entry = Entry::by(&caller, "conversion.discard_parked", id)
            .program(parked.program_id)
            .details(json!({"event_name": parked.event_name, "reason": reason}))
            .request(&caller.request_id);
        audit_store::record(db, entry, now).await?;
        Ok(parked)
    })
    .await?;
    parked.status = "discarded".to_owned();
    Ok(HttpResponse::Ok().json(ParkedBody::try_from(parked)?))
}
