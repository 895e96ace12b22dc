//! Handlers of payouts.
//!
//! Everything that moves money needs an `Idempotency-Key`, and is written to the audit log in its
//! own transaction.

use actix_web::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION};
// Renamed, because utoipa takes whatever is called `Bytes` for a body that it could describe.
use actix_web::web::{Bytes as RawBody, Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse, get, post};
use serde::de::DeserializeOwned;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::account::http::{Caller, scope};
use crate::account::once_http::{Answer, KeyRule, once};
use crate::account::{Caller as Identity, audit_store};
use crate::app::App;
use crate::clock::Timestamp;
use crate::commission::store::ApplyError;
use crate::db::DbTx;
use crate::ids::{PayoutBatchId, PayoutId, ProgramId};
use crate::ledger::account::BankLabel;
use crate::money::Currency;
use crate::payout::action::{self, Actor, BankResult, NewBatch, PayoutError};
use crate::payout::batch::Period;
use crate::payout::store::{self, BatchFilter, PayoutFilter};
use crate::payout::wire::{
    BatchBody, BatchQuery, FileQuery, MarkFailedBody, MarkPaidBody, NewBatchBody, PayoutBody,
    PlanBody,
};
use crate::program::store as program_store;
use crate::web::body::{check_json, parse_json};
use crate::web::{Code, Page, PageQuery, Problem, ProblemBody, detached, transact};

const BANK_REFERENCE_MAX_CHARS: usize = 140;
const REASON_MAX_CHARS: usize = 500;
const BANK_ACCOUNT_DEFAULT: &str = "main";

/// Adds the routes of payouts.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(create_batch)
        .service(list_batches)
        .service(show_batch)
        .service(list_items)
        .service(approve_batch)
        .service(cancel_batch)
        .service(download_file)
        .service(mark_paid)
        .service(mark_failed)
        .service(mark_returned);
}

impl From<PayoutError> for Problem {
    fn from(error: PayoutError) -> Self {
        match error {
            PayoutError::NotFound => Self::new(Code::NotFound),
            PayoutError::SameActor => Self::new(Code::SameActor)
                .detail("You made this batch; let another user approve it."),
            PayoutError::PeriodTaken(id) => Self::new(Code::BatchLocked)
                .detail(format!("The period has the batch {id}; cancel it to make another."))
                .with("batch_id", id.to_string()),
            PayoutError::NothingToPay { .. } => {
                Self::new(Code::InvalidField).error("/period", error.to_string())
            }
            PayoutError::TooMany => Self::new(Code::InvalidField)
                .error("/cutoff", format!("{error}; choose an earlier cut-off")),
            PayoutError::OtherFormat(_) => Self::new(Code::BatchLocked)
                .detail(format!("{error}; a second one could pay twice.")),
            PayoutError::Illegal(e) => Self::new(Code::InvalidTransition)
                .detail(format!("{e}."))
                .with("allowed", e.allowed),
            PayoutError::Apply(ApplyError::Stale) => Self::new(Code::InvalidTransition)
                .detail("A commission changed meanwhile; nothing was written, repeat the request."),
            PayoutError::Apply(ApplyError::Database(e)) | PayoutError::Database(e) => e.into(),
            PayoutError::Step(_) | PayoutError::Posting(_) | PayoutError::Money(_) => {
                Self::internal(error)
            }
        }
    }
}

/// Who calls, as the work of a transaction needs it.
struct Who {
    identity: Identity,
    request_id: String,
    actor: Actor,
}

impl Who {
    fn new<S>(caller: &Caller<S>, at: Timestamp) -> Self {
        let identity: Identity = (**caller).clone();
        let actor = Actor { user_id: identity.user_id, name: identity.actor(), at };
        Self { identity, request_id: caller.request_id.clone(), actor }
    }

    /// Refuses a batch of a program that the key does not reach, as if it were not there.
    async fn check_batch(&self, db: &mut DbTx, id: PayoutBatchId) -> Result<(), Problem> {
        let batch = store::find_batch(db, id).await?;
        self.check(batch.map(|b| b.program_id))
    }

    async fn check_payout(&self, db: &mut DbTx, id: PayoutId) -> Result<(), Problem> {
        let payout = store::find_payout(db, id).await?;
        self.check(payout.map(|p| p.program_id))
    }

    fn check(&self, program_id: Option<ProgramId>) -> Result<(), Problem> {
        let reached = program_id.filter(|p| self.identity.reaches(*p));
        reached.map(drop).ok_or_else(|| Problem::new(Code::NotFound))
    }

    async fn record(
        &self,
        db: &mut DbTx,
        action: &'static str,
        object: impl std::fmt::Display,
        program_id: ProgramId,
        details: serde_json::Value,
    ) -> Result<(), Problem> {
        let entry = audit_store::Entry::by(&self.identity, action, object)
            .program(program_id)
            .details(details)
            .request(&self.request_id);
        Ok(audit_store::record(db, entry, self.actor.at).await?)
    }
}

fn parse_id<T: std::str::FromStr>(text: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| Problem::new(Code::NotFound))
}

fn read_json<T: DeserializeOwned>(req: &HttpRequest, body: &RawBody) -> Result<T, Problem> {
    check_json(req.headers())?;
    parse_json(body)
}

/// Makes a payout batch: reserves what is owed. With `dry_run` it only tells what would be paid.
#[utoipa::path(tag = "payouts", request_body = NewBatchBody, responses(
    (status = 200, body = PlanBody, description = "What would be paid"),
    (status = 201, body = PlanBody),
    (status = 409, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[post("/v1/payout-batches")]
async fn create_batch(
    app: Data<App>,
    caller: Caller<scope::PayoutsWrite>,
    req: HttpRequest,
    bytes: RawBody,
) -> Result<HttpResponse, Problem> {
    let body: NewBatchBody = read_json(&req, &bytes)?;
    caller.check_reach(body.program_id)?;
    let who = Who::new(&caller, app.clock.now());
    if body.dry_run {
        let told = transact(&app.db, async move |db| {
            let new = read_new_batch(db, &body, who.actor.at).await?;
            let (plan, _) = action::survey(db, &new).await?;
            PlanBody::new(&plan, None).map_err(Problem::internal)
        })
        .await?;
        return Ok(HttpResponse::Ok().json(told));
    }
    once(&app, &req, &caller, KeyRule::Required, &bytes, async move |db| {
        let new = read_new_batch(db, &body, who.actor.at).await?;
        let (batch, plan) = action::create(db, new, &who.actor).await?;
        let (id, program_id) = (batch.payout_batch_id, batch.program_id);
        let details = serde_json::json!({
            "period": batch.period, "currency": batch.total.currency.code(),
            "items": batch.n_payouts, "total": batch.total.to_decimal_string(),
        });
        who.record(db, "payout_batch.create", id, program_id, details).await?;
        let told = PlanBody::new(&plan, Some(batch)).map_err(Problem::internal)?;
        Ok(Answer::created(format!("/v1/payout-batches/{id}"), told))
    })
    .await
}

async fn read_new_batch(
    db: &mut DbTx,
    body: &NewBatchBody,
    now: Timestamp,
) -> Result<NewBatch, Problem> {
    let wrong = |field: &str, why: String| Problem::new(Code::InvalidField).error(field, why);
    let program = program_store::find_program(db, body.program_id).await?;
    let program = program.ok_or_else(|| Problem::new(Code::NotFound))?;
    let period: Period = body.period.parse().map_err(|e| wrong("/period", format!("{e}")))?;
    let code = body.currency.as_ref().unwrap_or(&program.currency);
    let currency: Currency = code.parse().map_err(|e| wrong("/currency", format!("{e}")))?;
    let cutoff_at = body.cutoff.unwrap_or(now);
    if cutoff_at > now {
        return Err(wrong("/cutoff", "must not be later than now".to_owned()));
    }
    Ok(NewBatch { program, period, currency, cutoff_at })
}

/// Lists payout batches, the newest first.
#[utoipa::path(tag = "payouts", params(BatchQuery, PageQuery),
    responses((status = 200, body = Page<BatchBody>)))]
#[get("/v1/payout-batches")]
async fn list_batches(
    app: Data<App>,
    caller: Caller<scope::PayoutsRead>,
    query: Query<BatchQuery>,
    page: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let (limit, before) = (page.limit()?, page.after()?);
    let programs = match query.program_id {
        Some(id) => {
            caller.check_reach(id)?;
            Some(vec![id])
        }
        None => caller.programs.clone(),
    };
    let db = app.db.clone();
    let rows = detached(async move {
        let mut db = db.acquire().await?;
        let filter = BatchFilter { programs: programs.as_deref(), before, id: None };
        Ok(store::load_batches(&mut db, filter, i64::from(limit) + 1).await?)
    })
    .await?;
    let page = Page::new(rows, limit, |b| b.payout_batch_id).map(BatchBody::from);
    Ok(HttpResponse::Ok().json(page))
}

/// Shows a payout batch.
#[utoipa::path(tag = "payouts",
    responses((status = 200, body = BatchBody), (status = 404, body = ProblemBody)))]
#[get("/v1/payout-batches/{id}")]
async fn show_batch(
    app: Data<App>,
    caller: Caller<scope::PayoutsRead>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id: PayoutBatchId = parse_id(&id)?;
    let db = app.db.clone();
    let batch = detached(async move {
        let mut db = db.acquire().await?;
        Ok(store::find_batch(&mut db, id).await?)
    })
    .await?;
    let batch = batch.ok_or_else(|| Problem::new(Code::NotFound))?;
    caller.check_reach(batch.program_id)?;
    Ok(HttpResponse::Ok().json(BatchBody::from(batch)))
}

/// Lists the payouts of a batch.
#[utoipa::path(tag = "payouts", params(PageQuery),
    responses((status = 200, body = Page<PayoutBody>), (status = 404, body = ProblemBody)))]
#[get("/v1/payout-batches/{id}/items")]
async fn list_items(
    app: Data<App>,
    caller: Caller<scope::PayoutsRead>,
    id: Path<String>,
    page: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let id: PayoutBatchId = parse_id(&id)?;
    let (limit, after) = (page.limit()?, page.after()?);
    let who = Who::new(&caller, app.clock.now());
    let rows = transact(&app.db, async move |db| {
        who.check_batch(db, id).await?;
        let filter = PayoutFilter { batch: Some(id), after, id: None };
        Ok(store::load_payouts(db, filter, i64::from(limit) + 1).await?)
    })
    .await?;
    let page = Page::new(rows, limit, |p| p.payout_id).map(PayoutBody::from);
    Ok(HttpResponse::Ok().json(page))
}

/// Approves a payout batch, as another user than its maker.
#[utoipa::path(tag = "payouts", responses(
    (status = 200, body = BatchBody), (status = 403, body = ProblemBody),
    (status = 404, body = ProblemBody), (status = 409, body = ProblemBody)))]
#[post("/v1/payout-batches/{id}/approve")]
async fn approve_batch(
    app: Data<App>,
    caller: Caller<scope::PayoutsApprove>,
    req: HttpRequest,
    id: Path<String>,
    bytes: RawBody,
) -> Result<HttpResponse, Problem> {
    let id: PayoutBatchId = parse_id(&id)?;
    let who = Who::new(&caller, app.clock.now());
    once(&app, &req, &caller, KeyRule::Required, &bytes, async move |db| {
        who.check_batch(db, id).await?;
        let batch = action::approve(db, id, &who.actor).await?;
        let details = serde_json::json!({
            "total": batch.total.to_decimal_string(), "currency": batch.total.currency.code(),
        });
        who.record(db, "payout_batch.approve", id, batch.program_id, details).await?;
        Ok(Answer::ok(BatchBody::from(batch)))
    })
    .await
}

/// Calls a payout batch off before its file was made; everything in it is owed again.
#[utoipa::path(tag = "payouts", responses(
    (status = 200, body = BatchBody), (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody)))]
#[post("/v1/payout-batches/{id}/cancel")]
async fn cancel_batch(
    app: Data<App>,
    caller: Caller<scope::PayoutsWrite>,
    req: HttpRequest,
    id: Path<String>,
    bytes: RawBody,
) -> Result<HttpResponse, Problem> {
    let id: PayoutBatchId = parse_id(&id)?;
    let who = Who::new(&caller, app.clock.now());
    once(&app, &req, &caller, KeyRule::Required, &bytes, async move |db| {
        who.check_batch(db, id).await?;
        let batch = action::cancel(db, id, &who.actor).await?;
        let details = serde_json::json!({"period": batch.period});
        who.record(db, "payout_batch.cancel", id, batch.program_id, details).await?;
        Ok(Answer::ok(BatchBody::from(batch)))
    })
    .await
}

/// Downloads the payment file of a batch; the first download takes the batch to the bank, every
/// later one gives the same bytes.
#[utoipa::path(tag = "payouts", params(FileQuery), responses(
    (status = 200, content_type = "text/csv", body = String), (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody)))]
#[get("/v1/payout-batches/{id}/file")]
async fn download_file(
    app: Data<App>,
    caller: Caller<scope::PayoutsRead>,
    id: Path<String>,
    query: Query<FileQuery>,
) -> Result<HttpResponse, Problem> {
    let id: PayoutBatchId = parse_id(&id)?;
    let format = query.format.as_deref().unwrap_or("csv");
    if format != "csv" {
        return Err(Problem::new(Code::InvalidField).error("/format", "must be csv"));
    }
    let who = Who::new(&caller, app.clock.now());
    let (file, batch, sha256) = transact(&app.db, async move |db| {
        who.check_batch(db, id).await?;
        let (file, batch, is_first) = action::export(db, id, "csv", &who.actor).await?;
        let sha256 = hex(&file.sha256);
        let action = if is_first { "payout_batch.export" } else { "payout_batch.download" };
        let details = serde_json::json!({"format": file.format, "sha256": sha256});
        who.record(db, action, id, batch.program_id, details).await?;
        Ok((file, batch, sha256))
    })
    .await?;
    let name = format!("tributary_payout_{}_{}.csv", batch.period, batch.total.currency);
    Ok(HttpResponse::Ok()
        .content_type("text/csv; charset=utf-8; header=present")
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")))
        .insert_header(("X-Content-Sha256", sha256))
        .insert_header(("X-Tributary-Csv-Safe", "0"))
        .body(file.bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Takes in that the bank has paid a payout.
#[utoipa::path(tag = "payouts", request_body = MarkPaidBody, responses(
    (status = 200, body = PayoutBody), (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[post("/v1/payouts/{id}/mark-paid")]
async fn mark_paid(
    app: Data<App>,
    caller: Caller<scope::PayoutsWrite>,
    req: HttpRequest,
    id: Path<String>,
    bytes: RawBody,
) -> Result<HttpResponse, Problem> {
    let body: MarkPaidBody = read_json(&req, &bytes)?;
    let now = app.clock.now();
    check_text("/bank_reference", &body.bank_reference, BANK_REFERENCE_MAX_CHARS)?;
    let label = body.bank_account.as_deref().unwrap_or(BANK_ACCOUNT_DEFAULT);
    let bank: BankLabel = label
        .parse()
        .map_err(|e| Problem::new(Code::InvalidField).error("/bank_account", format!("{e}")))?;
    let paid_at = body.paid_at.unwrap_or(now);
    if paid_at > now {
        return Err(
            Problem::new(Code::InvalidField).error("/paid_at", "must not be later than now")
        );
    }
    let result = BankResult::Paid { bank_reference: body.bank_reference, paid_at, bank };
    settle(&app, &req, &caller, &id, &bytes, ("payout.mark_paid", result)).await
}

/// Takes in that the bank refused a payout; its commissions are owed again.
#[utoipa::path(tag = "payouts", request_body = MarkFailedBody, responses(
    (status = 200, body = PayoutBody), (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[post("/v1/payouts/{id}/mark-failed")]
async fn mark_failed(
    app: Data<App>,
    caller: Caller<scope::PayoutsWrite>,
    req: HttpRequest,
    id: Path<String>,
    bytes: RawBody,
) -> Result<HttpResponse, Problem> {
    let body: MarkFailedBody = read_json(&req, &bytes)?;
    check_text("/reason", &body.reason, REASON_MAX_CHARS)?;
    let result = BankResult::Failed { reason: body.reason };
    settle(&app, &req, &caller, &id, &bytes, ("payout.mark_failed", result)).await
}

/// Takes in that the bank sent a paid payout back; its commissions are owed again.
#[utoipa::path(tag = "payouts", request_body = MarkFailedBody, responses(
    (status = 200, body = PayoutBody), (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[post("/v1/payouts/{id}/mark-returned")]
async fn mark_returned(
    app: Data<App>,
    caller: Caller<scope::PayoutsWrite>,
    req: HttpRequest,
    id: Path<String>,
    bytes: RawBody,
) -> Result<HttpResponse, Problem> {
    let body: MarkFailedBody = read_json(&req, &bytes)?;
    check_text("/reason", &body.reason, REASON_MAX_CHARS)?;
    let result = BankResult::Returned { reason: body.reason };
    settle(&app, &req, &caller, &id, &bytes, ("payout.mark_returned", result)).await
}

async fn settle(
    app: &Data<App>,
    req: &HttpRequest,
    caller: &Caller<scope::PayoutsWrite>,
    id: &str,
    bytes: &RawBody,
    (audited_as, result): (&'static str, BankResult),
) -> Result<HttpResponse, Problem> {
    let id: PayoutId = parse_id(id)?;
    let who = Who::new(caller, app.clock.now());
    once(app, req, caller, KeyRule::Required, bytes, async move |db| {
        who.check_payout(db, id).await?;
        let payout = action::settle(db, id, result, &who.actor).await?;
        let details = serde_json::json!({
            "amount": payout.amount.to_decimal_string(),
            "currency": payout.amount.currency.code(),
            "bank_reference": payout.bank_reference, "reason": payout.failure_reason,
        });
        who.record(db, audited_as, id, payout.program_id, details).await?;
        Ok(Answer::ok(PayoutBody::from(payout)))
    })
    .await
}

fn check_text(pointer: &str, text: &str, chars_max: usize) -> Result<(), Problem> {
    let is_good = (1..=chars_max).contains(&text.trim().chars().count())
        && !text.chars().any(char::is_control);
    if is_good {
        Ok(())
    } else {
        let why = format!("must have 1 to {chars_max} characters, none of them control characters");
        Err(Problem::new(Code::InvalidField).error(pointer, why))
    }
}
