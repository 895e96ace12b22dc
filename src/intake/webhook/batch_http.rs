//! `POST /v1/webhooks/{source_id}/batch`: many conversions under one signature.
//!
//! Each message has its own verdict, and all that are accepted become durable by one append: the
//! answer holds for all of them or, if that fails, for none.

use std::time::Duration;

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse, post};
use futures_util::future::join_all;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::app::App;
use crate::conversion::http::ReceiptBody;
use crate::ids::{ConversionId, ReceiptId};
use crate::intake::append_http::append;
use crate::intake::known::Known;
use crate::intake::trial::Foreseen;
use crate::intake::webhook::batch::{Echo, ITEMS_MAX, Item, Reported, WebhookBatch, read_item};
use crate::intake::webhook::http::{
    Believed, HowToAnswer, believe, check_attributable, foresee_all, question, sending,
};
use crate::intake::webhook::wait_http::verdicts;
use crate::metrics as metric;
use crate::stream::PackedBatch;
use crate::web::Problem;
use crate::web::Query;
use crate::web::body::{parse_json, read};
use crate::web::fields::Mistakes;

/// Body of a batch, at most.
const BATCH_MAX_BYTES: usize = 2 * 1024 * 1024;

const NOT_STORED: &str =
    "No message could be stored; send the batch again with the same webhook-id.";

/// Adds the route.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(receive_batch);
}

/// What became of the messages of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchAnswer {
    /// One for each message, in their order.
    pub data: Vec<ItemAnswer>,
}

/// What became of one message so far.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct ItemAnswer {
    /// Its place in the batch, from 0.
    pub index: usize,
    /// `accepted`, `duplicate`, `conflict` (the order is known with other content), `invalid`, or
    /// `dry_run`.
    #[schema(value_type = String)]
    pub status: &'static str,
    /// Asks `GET /v1/receipts/{receipt}` what became of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub receipt: Option<ReceiptId>,
    /// The conversion, where it is known already.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub conversion_id: Option<ConversionId>,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ItemError>,
    /// The verdict, with wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<ReceiptBody>,
    /// What settlement would say, with dry_run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settlement: Option<Foreseen>,
}

/// What is wrong with a message.
#[derive(Debug, Serialize, ToSchema)]
pub struct ItemError {
    /// Where, from the root of the body.
    #[schema(example = "/data/3/data/amount")]
    pub pointer: String,
    /// What.
    pub detail: String,
}

impl ItemAnswer {
    fn new(index: usize, status: &'static str) -> Self {
        Self { index, status, ..Self::default() }
    }

    fn wrong(index: usize, status: &'static str, pointer: &str, detail: &str) -> Self {
        let pointer = format!("/data/{index}{pointer}");
        let errors = vec![ItemError { pointer, detail: detail.to_owned() }];
        Self { errors, ..Self::new(index, status) }
    }
}

/// Takes up to 500 conversion messages under one signature; each has its own verdict.
#[utoipa::path(tag = "conversions", request_body = WebhookBatch,
    params(("source_id" = String, Path, description = "The source; chooses the secrets."),
        ("webhook-id" = String, Header, description = "Your id of the batch; the same for each try."),
        ("webhook-timestamp" = i64, Header, description = "Seconds since 1970, within 5 minutes."),
        ("webhook-signature" = String, Header, description = "`v1,` and base64 of HMAC-SHA256 over `id.timestamp.body`."),
        HowToAnswer),
    responses((status = 202, body = BatchAnswer, description = "What is accepted is durable; do not send again."),
        (status = 200, body = BatchAnswer, description = "Nothing is left to do; or the verdicts of wait or dry_run."),
        Problem))]
#[post("/v1/webhooks/{source_id}/batch")]
async fn receive_batch(
    app: Data<App>,
    req: HttpRequest,
    source_id: Path<String>,
    how: Query<HowToAnswer>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let body = read(payload, BATCH_MAX_BYTES).await?;
    let believed = believe(&app, req.headers(), &source_id, &body)?;
    let wish = how.read()?;
    let batch: WebhookBatch = parse_json(&body)?;
    check_shape(&batch)?;
    let mut answers = Vec::with_capacity(batch.data.len());
    let mut items = Vec::with_capacity(batch.data.len());
    for (index, value) in batch.data.iter().enumerate() {
        match read_one(&app, &believed, index, value) {
            Ok(item) => {
                answers.push(ItemAnswer::new(index, "accepted"));
                items.push((index, item));
            }
            Err(errors) => {
                answers.push(ItemAnswer { errors, ..ItemAnswer::new(index, "invalid") });
            }
        }
    }
    if wish.is_dry_run {
        try_out(&app, &believed, items, &mut answers).await?;
        return Ok(HttpResponse::Ok().json(BatchAnswer { data: answers }));
    }
    let receipts = take_in(&app, &believed, items, &mut answers).await?;
    count(&answers);
    if receipts.is_empty() {
        return Ok(HttpResponse::Ok().json(BatchAnswer { data: answers }));
    }
    let is_told = match wish.wait {
        Some(limit) => tell(&app, &receipts, limit, &mut answers).await?,
        None => false,
    };
    let mut response = if is_told { HttpResponse::Ok() } else { HttpResponse::Accepted() };
    Ok(response.json(BatchAnswer { data: answers }))
}

fn check_shape(batch: &WebhookBatch) -> Result<(), Problem> {
    let mut wrong = Mistakes::default();
    wrong.check(batch.r#type == "batch", "/type", "must be \"batch\"");
    let fits = (1..=ITEMS_MAX).contains(&batch.data.len());
    wrong.check(fits, "/data", "must have 1 to 500 messages");
    wrong.end()
}

fn read_one(
    app: &App,
    believed: &Believed,
    index: usize,
    value: &Value,
) -> Result<Item, Vec<ItemError>> {
    let id = &believed.signed.id;
    let item =
        read_item(id, index, value, &app.customer_key, believed.now).map_err(|problems| {
            let told = |(pointer, detail)| ItemError { pointer, detail };
            problems.into_iter().map(told).collect::<Vec<_>>()
        })?;
    match check_attributable(app, &item.report) {
        Ok(()) => Ok(item),
        Err(problem) => Err(problem
            .errors()
            .iter()
            .map(|e| ItemError {
                pointer: format!("/data/{index}{}", e.pointer),
                detail: e.detail.clone(),
            })
            .collect()),
    }
}

/// Asks what settlement would say of the messages, and keeps none.
async fn try_out(
    app: &Data<App>,
    believed: &Believed,
    items: Vec<(usize, Item)>,
    answers: &mut [ItemAnswer],
) -> Result<(), Problem> {
    let sending = sending(&believed.source, &believed.signed, believed.now);
    let (places, records): (Vec<_>, Vec<_>) = items
        .into_iter()
        .map(|(n, item)| (n, sending.record(item.message_id, item.body_hash, &item.report)))
        .unzip();
    for (index, told) in places.into_iter().zip(foresee_all(app, records).await?) {
        answers[index] = ItemAnswer { settlement: Some(told), ..ItemAnswer::new(index, "dry_run") };
    }
    Ok(())
}

/// Makes what is new durable, all of it at once; returns the receipts with their places.
async fn take_in(
    app: &App,
    believed: &Believed,
    items: Vec<(usize, Item)>,
    answers: &mut [ItemAnswer],
) -> Result<Vec<(usize, ReceiptId)>, Problem> {
    let sending = sending(&believed.source, &believed.signed, believed.now);
    let mut reported = Reported::default();
    let (mut firsts, mut echoes) = (Vec::new(), Vec::new());
    for (index, item) in items {
        match reported.add(index, &item.report) {
            Echo::No => firsts.push((index, item)),
            echo @ (Echo::SameAs(_) | Echo::Against(_)) => echoes.push((index, echo)),
        }
    }
    let known = join_all(firsts.iter().map(|(_, item)| {
        app.known.ask(question(&believed.source, &item.message_id, item.body_hash, &item.report))
    }));
    let (mut batch, mut receipts) = (PackedBatch::new(), Vec::new());
    for (known, (index, item)) in known.await.into_iter().zip(firsts) {
        if let Some(answer) = answer_to_known(known, index) {
            answers[index] = answer;
            continue;
        }
        let record = sending.to_write(item.message_id, item.body_hash, &item.report);
        answers[index].receipt = Some(ReceiptId(record.receipt));
        receipts.push((index, ReceiptId(record.receipt)));
        batch.push_conversion(&record);
    }
    for (index, echo) in echoes {
        answers[index] = answer_to_echo(echo, index, answers);
    }
    append(app, &batch, NOT_STORED).await?;
    Ok(receipts)
}

fn answer_to_known(known: Known, index: usize) -> Option<ItemAnswer> {
    match known {
        Known::No => None,
        Known::Duplicate { receipt_id, conversion_id } => Some(ItemAnswer {
            receipt: Some(receipt_id),
            conversion_id,
            ..ItemAnswer::new(index, "duplicate")
        }),
        Known::IdReused => {
            let detail = "another message stood at this place under this webhook-id; send changed \
                          batches with a new one";
            Some(ItemAnswer::wrong(index, "invalid", "", detail))
        }
        Known::Conflict { conversion_id } => {
            let detail = "is known with other content, which stays; nothing was changed";
            let answer = ItemAnswer::wrong(index, "conflict", "/data/order_id", detail);
            Some(ItemAnswer { conversion_id: Some(conversion_id), ..answer })
        }
    }
}

fn answer_to_echo(echo: Echo, index: usize, answers: &[ItemAnswer]) -> ItemAnswer {
    match echo {
        Echo::No => ItemAnswer::new(index, "accepted"),
        Echo::SameAs(first) if answers[first].receipt.is_some() => ItemAnswer {
            receipt: answers[first].receipt,
            conversion_id: answers[first].conversion_id,
            ..ItemAnswer::new(index, "duplicate")
        },
        Echo::SameAs(first) => {
            let detail = format!("is that of message {first}, which is not taken either");
            ItemAnswer::wrong(index, answers[first].status, "/data/order_id", &detail)
        }
        Echo::Against(first) => {
            let detail = format!("is reported by message {first} of this batch with other content");
            ItemAnswer::wrong(index, "conflict", "/data/order_id", &detail)
        }
    }
}

/// Waits for the verdicts; says whether all have come.
async fn tell(
    app: &Data<App>,
    receipts: &[(usize, ReceiptId)],
    limit: Duration,
    answers: &mut [ItemAnswer],
) -> Result<bool, Problem> {
    let asked: Vec<ReceiptId> = receipts.iter().map(|(_, receipt)| *receipt).collect();
    let mut told = verdicts(app, &asked, limit).await;
    let is_told = told.len() == asked.len();
    for (index, receipt) in receipts {
        if let Some(row) = told.remove(receipt) {
            answers[*index].verdict = Some(ReceiptBody::new(*receipt, row)?);
        }
    }
    Ok(is_told)
}

fn count(answers: &[ItemAnswer]) {
    for answer in answers {
        let result = if answer.status == "invalid" { "rejected" } else { answer.status };
        metrics::counter!(metric::CONVERSIONS, "channel" => "batch", "result" => result)
            .increment(1);
    }
}
