//! Handlers of adjustments.

#![expect(unused_qualifications, reason = "utoipa repeats the types of a query")]

use actix_web::web::{Bytes as RawBody, Data};
use actix_web::{HttpRequest, HttpResponse, get, post};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use super::store::{self, AdjustmentRow};
use super::{Adjustment, AdjustmentKind, NoAdjustment};
use crate::account::http::{Caller, scope};
use crate::account::once_http::{Answer, KeyRule, once};
use crate::app::App;
use crate::clock::Timestamp;
use crate::commission::state::Reason;
use crate::ids::{AdjustmentId, LedgerTransactionId, PartnerId, PayoutId, ProgramId, UserId};
use crate::ledger::store as ledger_store;
use crate::money::{AmountRule, Currency, Money};
use crate::partner::store::find_enrollment;
use crate::payout::http::{Who, check_text, read_json};
use crate::payout::store::owed::lock_ledger;
use crate::program::store::find_program;
use crate::web::{Code, Page, PageQuery, Problem, ProblemBody, Query, detached};

const NOTE_MAX_CHARS: usize = 1000;

/// Adds the routes.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(adjust).service(list_adjustments);
}

/// A bonus, a clawback or a write-off.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAdjustmentBody {
    /// The program whose book it is.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// Whose balance changes.
    #[schema(value_type = String)]
    pub partner_id: PartnerId,
    /// `bonus`, `clawback`, or `write_off` of a negative balance.
    #[schema(example = "bonus")]
    pub kind: String,
    /// In major units, with its sign: below zero for a clawback.
    #[schema(example = "25.00")]
    pub amount: String,
    /// ISO 4217 code; the program's currency where it is not given.
    pub currency: Option<String>,
    /// `order_canceled`, `fraud`, `terms_violation`, `tracking_error`, `payment_failed`,
    /// `ineligible_partner`, `duplicate` or `other`.
    #[schema(example = "other")]
    pub reason: String,
    /// What to remember about it; needed for `other`, 1 to 1000 characters.
    pub note: Option<String>,
}

/// An adjustment as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct AdjustmentBody {
    /// Its id.
    #[schema(value_type = String)]
    pub id: AdjustmentId,
    /// The program whose book it is.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// Whose balance changed.
    #[schema(value_type = String)]
    pub partner_id: PartnerId,
    /// `bonus`, `clawback` or `write_off`.
    pub kind: String,
    /// In major units; below zero for a clawback.
    #[schema(example = "25.00")]
    pub amount: String,
    /// ISO 4217 code.
    pub currency: String,
    /// Why.
    pub reason: String,
    /// What to remember about it.
    pub note: Option<String>,
    /// What the ledger posted.
    #[schema(value_type = String)]
    pub ledger_transaction_id: LedgerTransactionId,
    /// The payout that holds it, or paid it.
    #[schema(value_type = Option<String>)]
    pub payout_id: Option<PayoutId>,
    /// Who made it.
    #[schema(value_type = String)]
    pub created_by: UserId,
    /// When.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
}

impl AdjustmentBody {
    fn new(row: AdjustmentRow) -> Result<Self, Problem> {
        let currency: Currency = row.currency.parse().map_err(Problem::internal)?;
        Ok(Self {
            id: row.adjustment_id,
            program_id: row.program_id,
            partner_id: row.partner_id,
            kind: row.kind,
            amount: Money::new(row.amount_minor, currency).to_decimal_string(),
            currency: row.currency,
            reason: row.reason,
            note: row.note,
            ledger_transaction_id: row.ledger_transaction_id,
            payout_id: row.payout_id,
            created_by: row.created_by,
            created_at: row.created_at,
        })
    }
}

/// Reads an amount that may have a sign.
fn read_signed(text: &str, currency: Currency) -> Result<Money, Problem> {
    let (is_negative, plain) = match text.strip_prefix('-') {
        Some(plain) => (true, plain),
        None => (false, text),
    };
    let wrong = |why: String| Problem::new(Code::InvalidField).error("/amount", why);
    let amount = Money::parse_amount(plain, currency, AmountRule::Positive)
        .map_err(|e| wrong(e.to_string()))?;
    if is_negative { amount.checked_neg().map_err(Problem::internal) } else { Ok(amount) }
}

impl From<NoAdjustment> for Problem {
    fn from(error: NoAdjustment) -> Self {
        match &error {
            NoAdjustment::WrongSign { .. } => {
                Self::new(Code::InvalidField).error("/amount", error.to_string())
            }
            NoAdjustment::NoSuchDebt { owed } => Self::new(Code::InvalidTransition)
                .detail(format!("{error}."))
                .with("owed", owed.to_decimal_string()),
            NoAdjustment::Posting(_) => Self::internal(error),
        }
    }
}

/// Gives a partner a bonus, takes something back, or writes a negative balance off.
#[utoipa::path(tag = "payouts", request_body = NewAdjustmentBody, responses(
    (status = 201, body = AdjustmentBody), (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[post("/v1/adjustments")]
async fn adjust(
    app: Data<App>,
    caller: Caller<scope::CommissionsWrite>,
    req: HttpRequest,
    bytes: RawBody,
) -> Result<HttpResponse, Problem> {
    let body: NewAdjustmentBody = read_json(&req, &bytes)?;
    caller.check_reach(body.program_id)?;
    let kind = AdjustmentKind::from_code(&body.kind).ok_or_else(|| {
        let known = AdjustmentKind::ALL.map(AdjustmentKind::code).join(", ");
        Problem::new(Code::InvalidField).error("/kind", format!("must be one of {known}"))
    })?;
    let reason = Reason::from_code(&body.reason).ok_or_else(|| {
        let known = Reason::ALL.iter().map(|r| r.code()).collect::<Vec<_>>().join(", ");
        Problem::new(Code::InvalidField).error("/reason", format!("must be one of {known}"))
    })?;
    match &body.note {
        Some(note) => check_text("/note", note, NOTE_MAX_CHARS)?,
        None if reason == Reason::Other => {
            return Err(Problem::new(Code::InvalidField)
                .error("/note", "is needed where the reason is other: say why"));
        }
        None => {}
    }
    let who = Who::new(&caller, app.clock.now());
    once(&app, &req, &caller, KeyRule::Required, &bytes, async move |db| {
        let missing = || Problem::new(Code::NotFound);
        let program = find_program(db, body.program_id).await?.ok_or_else(missing)?;
        find_enrollment(db, body.program_id, body.partner_id).await?.ok_or_else(missing)?;
        let code = body.currency.as_ref().unwrap_or(&program.currency);
        let currency: Currency = code
            .parse()
            .map_err(|e| Problem::new(Code::InvalidField).error("/currency", format!("{e}")))?;
        let adjustment = Adjustment {
            program_id: body.program_id,
            adjustment_id: AdjustmentId::new(),
            partner_id: body.partner_id,
            kind,
            amount: read_signed(&body.amount, currency)?,
        };
        // A write-off rests on the balance, so nobody may change it meanwhile.
        lock_ledger(db, body.program_id).await?;
        let balance =
            ledger_store::partner_balance(db, body.program_id, body.partner_id, currency).await?;
        let posting = adjustment.decide(balance.1, who.actor.at)?;
        let posted = ledger_store::post(db, who.actor.at, vec![posting]).await?;
        let row = AdjustmentRow {
            program_id: body.program_id,
            adjustment_id: adjustment.adjustment_id,
            partner_id: body.partner_id,
            kind: kind.code().to_owned(),
            amount_minor: adjustment.amount.minor,
            currency: currency.code().to_owned(),
            reason: reason.code().to_owned(),
            note: body.note.clone(),
            ledger_transaction_id: posted.first().ok_or_else(missing)?.id,
            payout_id: None,
            created_by: who.actor.user_id,
            created_at: who.actor.at,
        };
        store::insert_adjustment(db, &row).await?;
        let details = json!({
            "kind": row.kind, "partner_id": row.partner_id, "reason": row.reason,
            "note": row.note, "amount": adjustment.amount.to_decimal_string(),
            "currency": row.currency, "payable_before": balance.1.to_decimal_string(),
        });
        let id = row.adjustment_id;
        who.record(db, "adjustment.create", id, body.program_id, details).await?;
        Ok(Answer::created(
            format!("/v1/adjustments?partner_id={}", row.partner_id),
            AdjustmentBody::new(row)?,
        ))
    })
    .await
}

/// Which adjustments to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AdjustmentFilter {
    /// Of this program.
    #[param(value_type = String)]
    pub program_id: ProgramId,
    /// Of this partner alone.
    #[param(value_type = Option<String>)]
    pub partner_id: Option<PartnerId>,
}

/// Lists adjustments of a program, the newest first.
#[utoipa::path(tag = "payouts", params(AdjustmentFilter, PageQuery), responses(
    (status = 200, body = Page<AdjustmentBody>), (status = 404, body = ProblemBody)))]
#[get("/v1/adjustments")]
async fn list_adjustments(
    app: Data<App>,
    caller: Caller<scope::CommissionsRead>,
    filter: Query<AdjustmentFilter>,
    page: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let (program_id, partner_id) = (filter.program_id, filter.partner_id);
    caller.check_reach(program_id)?;
    let (limit, before) = (page.limit()?, page.after()?);
    let db = app.db.clone();
    let rows = detached(async move {
        let mut db = db.acquire().await?;
        let n = i64::from(limit) + 1;
        let rows = store::list_adjustments(&mut db, program_id, partner_id, before, n).await?;
        rows.into_iter().map(AdjustmentBody::new).collect::<Result<Vec<_>, _>>()
    })
    .await?;
    Ok(HttpResponse::Ok().json(Page::new(rows, limit, |a: &AdjustmentBody| a.id)))
}
