//! Handlers of payouts.
//!
//! Everything that moves money needs an `Idempotency-Key`, and is written to the audit log in its
//! own transaction.

// Renamed, because utoipa takes whatever is called `Bytes` for a body that it could describe.
use actix_web::web::{Bytes as RawBody, Data, Path};
use actix_web::{HttpRequest, HttpResponse, get, post};
use chrono::{Days, TimeDelta};
use chrono_tz::Tz;
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
use crate::money::{Currency, Money};
use crate::payout::action::{self, Actor, BankResult, NewBatch, PayoutError};
use crate::payout::cycle::{Period, day_begins};
use crate::payout::store::payouts::put_receipt;
use crate::payout::store::{self, BatchFilter, CarriedRow, PayoutFilter};
use crate::payout::tax::LegalType;
use crate::payout::terms::store::find_terms;
use crate::payout::wire::{
    BatchBody, BatchQuery, CarriedBody, MarkFailedBody, MarkPaidBody, NewBatchBody, PayoutBody,
    PlanBody, PlanFacts, ReceiptBody, moved,
};
use crate::program::store as program_store;
use crate::web::body::{check_json, parse_json};
use crate::web::{Code, Page, PageQuery, Problem, ProblemBody, Query, detached, transact};

const BANK_REFERENCE_MAX_CHARS: usize = 140;
const REASON_MAX_CHARS: usize = 500;
const BANK_ACCOUNT_DEFAULT: &str = "main";
/// Banks take orders for the future, but not for any future.
const EXECUTION_DAYS_MAX: u64 = 120;
/// Who gets hold of a partner's mailbox changes the account and waits for the next payment: a
/// change in the last two weeks is told to whoever approves.
const ACCOUNT_IS_NEW: TimeDelta = TimeDelta::days(14);
const RECEIPT_NO_MAX_CHARS: usize = 40;

/// Adds the routes of payouts.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(create_batch)
        .service(list_batches)
        .service(show_batch)
        .service(list_items)
        .service(list_carried)
        .service(approve_batch)
        .service(cancel_batch)
        .service(mark_paid)
        .service(mark_failed)
        .service(mark_returned)
        .service(record_receipt);
    super::file::http::configure(cfg);
    super::result::http::configure(cfg);
    super::method::http::configure(cfg);
    super::terms::http::configure(cfg);
    super::adjustment::http::configure(cfg);
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
            PayoutError::NothingForFormat(_) => Self::new(Code::InvalidTransition).detail(format!(
                "{error}; /items shows by which method each goes, and which file has it."
            )),
            PayoutError::NoPayer { .. } => Self::new(Code::InvalidField).error(
                "/payer",
                format!("{error}; set it with PUT /v1/programs/{{id}}/payer-accounts/{{label}}"),
            ),
            PayoutError::Illegal(e) => {
                let possible = match e.allowed.is_empty() {
                    true => "nothing is possible any more".to_owned(),
                    false => format!("possible: {}", e.allowed.join(", ")),
                };
                let detail = format!("{e}; {possible}.");
                Self::new(Code::InvalidTransition).detail(detail).with("allowed", e.allowed)
            }
            PayoutError::Apply(ApplyError::Stale) => Self::new(Code::InvalidTransition)
                .detail("A commission changed meanwhile; nothing was written, repeat the request."),
            PayoutError::Apply(ApplyError::Database(e)) | PayoutError::Database(e) => e.into(),
            PayoutError::File(e) => Self::internal(e),
            PayoutError::Results(e) => e.into(),
            PayoutError::Step(_)
            | PayoutError::Posting(_)
            | PayoutError::Money(_)
            | PayoutError::Unreadable(_) => Self::internal(error),
        }
    }
}

/// Who calls, as the work of a transaction needs it.
pub(super) struct Who {
    pub(super) identity: Identity,
    request_id: String,
    pub(super) actor: Actor,
}

impl Who {
    pub(super) fn new<S>(caller: &Caller<S>, at: Timestamp) -> Self {
        let identity: Identity = (**caller).clone();
        let actor = Actor { user_id: identity.user_id, name: identity.actor(), at };
        Self { identity, request_id: caller.request_id.clone(), actor }
    }

    /// Refuses a batch of a program that the key does not reach, as if it were not there.
    pub(super) async fn check_batch(
        &self,
        db: &mut DbTx,
        id: PayoutBatchId,
    ) -> Result<(), Problem> {
        let batch = store::find_batch(db, id).await?;
        self.check(batch.map(|b| b.program_id))
    }

    async fn check_payout(&self, db: &mut DbTx, id: PayoutId) -> Result<(), Problem> {
        let payout = store::find_payout(db, id).await?;
        self.check(payout.map(|p| p.program_id))
    }

    pub(super) fn check(&self, program_id: Option<ProgramId>) -> Result<(), Problem> {
        let reached = program_id.filter(|p| self.identity.reaches(*p));
        reached.map(drop).ok_or_else(|| Problem::new(Code::NotFound))
    }

    pub(super) async fn record(
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

pub(super) fn parse_id<T: std::str::FromStr>(text: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| Problem::new(Code::NotFound))
}

pub(super) fn read_json<T: DeserializeOwned>(
    req: &HttpRequest,
    body: &RawBody,
) -> Result<T, Problem> {
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
            let (new, facts) = read_new_batch(db, &body, who.actor.at).await?;
            let (plan, _) = action::survey(db, &new).await?;
            PlanBody::new(&plan, facts, None).map_err(Problem::internal)
        })
        .await?;
        return Ok(HttpResponse::Ok().json(told));
    }
    once(&app, &req, &caller, KeyRule::Required, &bytes, async move |db| {
        let (new, facts) = read_new_batch(db, &body, who.actor.at).await?;
        let (batch, plan) = action::create(db, new, &who.actor).await?;
        let (id, program_id) = (batch.payout_batch_id, batch.program_id);
        let details = serde_json::json!({
            "period": batch.period, "currency": batch.totals.net.currency.code(),
            "items": batch.n_payouts, "total": moved(&batch.totals),
            "net": batch.totals.net.to_decimal_string(),
        });
        who.record(db, "payout_batch.create", id, program_id, details).await?;
        let told = PlanBody::new(&plan, facts, Some(batch)).map_err(Problem::internal)?;
        Ok(Answer::created(format!("/v1/payout-batches/{id}"), told))
    })
    .await
}

async fn read_new_batch(
    db: &mut DbTx,
    body: &NewBatchBody,
    now: Timestamp,
) -> Result<(NewBatch, PlanFacts), Problem> {
    let wrong = |field: &str, why: String| Problem::new(Code::InvalidField).error(field, why);
    let program = program_store::find_program(db, body.program_id).await?;
    let program = program.ok_or_else(|| Problem::new(Code::NotFound))?;
    let terms = find_terms(db, body.program_id).await?;
    let zone: Tz = program.time_zone.parse().unwrap_or(Tz::UTC);
    let today = now.with_timezone(&zone).date_naive();
    let period: Period = match &body.period {
        Some(text) => text.parse().map_err(|e| wrong("/period", format!("{e}")))?,
        None => terms.cycle.last_before(today).ok_or_else(|| Problem::new(Code::NotFound))?,
    };
    let end = terms.cycle.end_of(&period).map_err(|e| wrong("/period", format!("{e}")))?;
    let due_on = terms.due_on(&period).map_err(|e| wrong("/period", format!("{e}")))?;
    let code = body.currency.as_ref().unwrap_or(&program.currency);
    let currency: Currency = code.parse().map_err(|e| wrong("/currency", format!("{e}")))?;
    let cutoff_at = body.cutoff.unwrap_or_else(|| day_begins(end, zone).min(now));
    if cutoff_at > now {
        return Err(wrong("/cutoff", "must not be later than now".to_owned()));
    }
    let execution_on = body.execution_date.unwrap_or_else(|| due_on.max(today));
    if execution_on < today || execution_on > today + Days::new(EXECUTION_DAYS_MAX) {
        let why = format!("must be from today, {today}, to {EXECUTION_DAYS_MAX} days ahead");
        return Err(wrong("/execution_date", why));
    }
    let facts = PlanFacts {
        period: period.to_string(),
        due_on,
        today,
        accounts_new_since: now - ACCOUNT_IS_NEW,
    };
    Ok((NewBatch { program, period, currency, cutoff_at, execution_on, today }, facts))
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

/// Lists who is owed something and is not in a batch, and why.
#[utoipa::path(tag = "payouts", params(PageQuery),
    responses((status = 200, body = Page<CarriedBody>), (status = 404, body = ProblemBody)))]
#[get("/v1/payout-batches/{id}/carried-forward")]
async fn list_carried(
    app: Data<App>,
    caller: Caller<scope::PayoutsRead>,
    id: Path<String>,
    page: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let id: PayoutBatchId = parse_id(&id)?;
    let (limit, after) = (page.limit()?, page.after()?);
    let who = Who::new(&caller, app.clock.now());
    let (rows, like) = transact(&app.db, async move |db| {
        let batch = store::find_batch(db, id).await?;
        who.check(batch.as_ref().map(|b| b.program_id))?;
        let batch = batch.ok_or_else(|| Problem::new(Code::NotFound))?;
        let rows = store::load_carried_forward(db, &batch, after, i64::from(limit) + 1).await?;
        Ok((rows, batch.totals.net))
    })
    .await?;
    let page = Page::new(rows, limit, |r| r.partner_id).map(|r| carried_body(r, like));
    Ok(HttpResponse::Ok().json(page))
}

fn carried_body(row: CarriedRow, like: Money) -> CarriedBody {
    CarriedBody {
        partner_id: row.partner_id,
        partner_name: Some(row.partner_name),
        amount: Money::new(row.amount_minor, like.currency).to_decimal_string(),
        reason: row.reason,
    }
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
            "total": moved(&batch.totals), "currency": batch.totals.net.currency.code(),
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

/// Reads the short name of an account that pays.
pub(super) fn read_label(pointer: &str, label: Option<&str>) -> Result<BankLabel, Problem> {
    let label = label.unwrap_or(BANK_ACCOUNT_DEFAULT);
    label.parse().map_err(|e| Problem::new(Code::InvalidField).error(pointer, format!("{e}")))
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
    let bank = read_label("/bank_account", body.bank_account.as_deref())?;
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

/// Keeps the receipt that a self-employed person in Russia sent for a payment.
#[utoipa::path(tag = "payouts", request_body = ReceiptBody, responses(
    (status = 200, body = PayoutBody), (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[post("/v1/payouts/{id}/receipt")]
async fn record_receipt(
    app: Data<App>,
    caller: Caller<scope::PayoutsWrite>,
    req: HttpRequest,
    id: Path<String>,
    bytes: RawBody,
) -> Result<HttpResponse, Problem> {
    let body: ReceiptBody = read_json(&req, &bytes)?;
    check_text("/receipt_no", &body.receipt_no, RECEIPT_NO_MAX_CHARS)?;
    let id: PayoutId = parse_id(&id)?;
    let who = Who::new(&caller, app.clock.now());
    once(&app, &req, &caller, KeyRule::Required, &bytes, async move |db| {
        who.check_payout(db, id).await?;
        let mut payout = store::find_payout(db, id).await?.ok_or(PayoutError::NotFound)?;
        if payout.legal_type != Some(LegalType::Npd) || payout.paid_at.is_none() {
            return Err(Problem::new(Code::InvalidTransition).detail(
                "Only a payment to a self-employed person (legal type npd) has a receipt.",
            ));
        }
        put_receipt(db, &payout, &body.receipt_no, body.receipt_date).await?;
        let details = serde_json::json!({
            "receipt_no": body.receipt_no, "receipt_date": body.receipt_date,
        });
        who.record(db, "payout.receipt", id, payout.program_id, details).await?;
        payout.receipt_no = Some(body.receipt_no);
        Ok(Answer::ok(PayoutBody::from(payout)))
    })
    .await
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
            "amount": moved(&payout.amounts), "currency": payout.amounts.net.currency.code(),
            "bank_reference": payout.bank_reference, "reason": payout.failure_reason,
        });
        who.record(db, audited_as, id, payout.program_id, details).await?;
        Ok(Answer::ok(PayoutBody::from(payout)))
    })
    .await
}

pub(super) fn check_text(pointer: &str, text: &str, chars_max: usize) -> Result<(), Problem> {
    let is_good = (1..=chars_max).contains(&text.trim().chars().count())
        && !text.chars().any(char::is_control);
    if is_good {
        Ok(())
    } else {
        let why = format!("must have 1 to {chars_max} characters, none of them control characters");
        Err(Problem::new(Code::InvalidField).error(pointer, why))
    }
}
