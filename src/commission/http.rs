//! The routes of commissions: who earned what, and the decisions of people about it.

#![expect(unused_qualifications, reason = "utoipa repeats the types of two queries")]

use actix_web::web::{Bytes, Data, Path, Payload, Query};
use actix_web::{HttpRequest, HttpResponse, get, post};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::account::audit_store::{self, Entry};
use crate::account::http::{Caller, scope};
use crate::account::once_http::{Answer, KeyRule, once};
use crate::app::App;
use crate::clock::Timestamp;
use crate::commission::state::{Action, ActionCode, IllegalTransition, Reason, Standing};
use crate::commission::store::{self, ApplyError, Filter, HistoryRow, OrderFacts};
use crate::commission::{Commission, CommissionKind, CommissionState, Hand, NoStep};
use crate::db::DbTx;
use crate::fraud::http::FlagBody;
use crate::fraud::store::FlagRow;
use crate::fraud::{self, Rule};
use crate::ids::{CommissionId, ConversionId, LedgerTransactionId, PartnerId, PayoutId, ProgramId};
use crate::money::Money;
use crate::partner;
use crate::web::body::{check_json, parse_json, read};
use crate::web::fields::{Mistakes, path_id};
use crate::web::{BODY_MAX_BYTES, Code, Page, PageQuery, Problem, ProblemBody, detached};

const NOTE_MAX: usize = 1000;

/// Adds the routes of commissions.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(list_commissions)
        .service(get_commission)
        .service(approve_commission)
        .service(reject_commission)
        .service(hold_commission)
        .service(release_commission)
        .service(reverse_commission);
}

/// Which commissions to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CommissionFilter {
    /// The program.
    #[param(value_type = String)]
    pub program_id: ProgramId,
    /// Only those of this partner.
    #[param(value_type = Option<String>)]
    pub partner_id: Option<PartnerId>,
    /// Only those that stand here: `pending`, `on_hold`, `approved`, `rejected`, `reversed`, `paid`.
    pub status: Option<String>,
    /// Only those that this rule of the fraud policy has flagged, such as `velocity`; `any` for
    /// every flag.
    pub flag: Option<String>,
}

/// Why a person decides so.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DecisionBody {
    /// `order_canceled`, `fraud`, `terms_violation`, `tracking_error`, `payment_failed`,
    /// `ineligible_partner`, `duplicate` or `other`; not needed to approve or release.
    pub reason: Option<String>,
    /// What to remember about it; kept in the history.
    pub note: Option<String>,
}

/// A commission as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct CommissionBody {
    /// Its id.
    #[schema(value_type = String)]
    pub id: CommissionId,
    /// The program that pays.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// `earned`, `clawback` or `adjustment`.
    pub kind: String,
    /// What it is paid for: `sale`, `lead` and so on.
    pub event: Option<String>,
    /// Where it stands.
    pub status: String,
    /// Who is paid.
    #[schema(value_type = String)]
    pub partner_id: PartnerId,
    /// The conversion.
    #[schema(value_type = String)]
    pub conversion_id: ConversionId,
    /// The shop's own name of the order.
    pub order_id: Option<String>,
    /// The commission that a clawback or an adjustment corrects.
    #[schema(value_type = Option<String>)]
    pub corrects_id: Option<CommissionId>,
    /// What it was reckoned from.
    pub base: Option<AmountBody>,
    /// In major units; below zero for a clawback.
    #[schema(example = "29.98")]
    pub amount: String,
    /// ISO 4217 code.
    pub currency: String,
    /// The arithmetic, as data and as a sentence.
    #[schema(value_type = Object)]
    pub calculation: serde_json::Value,
    /// When the conversion happened.
    #[schema(value_type = String)]
    pub occurred_at: Timestamp,
    /// When its hold is over.
    #[schema(value_type = String)]
    pub hold_until: Timestamp,
    /// `auto` or `manual`.
    pub approval: String,
    /// When it was approved.
    #[schema(value_type = Option<String>)]
    pub approved_at: Option<Timestamp>,
    /// Why it was held, refused or taken back.
    pub reason: Option<String>,
    /// What looked wrong about it, also when it was released since.
    pub flags: Vec<FlagBody>,
    /// The payout that holds it, or paid it.
    #[schema(value_type = Option<String>)]
    pub payout_id: Option<PayoutId>,
    /// When it was made.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
    /// What was taken back of it by clawbacks, in major units; left out of lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clawed_back: Option<String>,
    /// Every step it took; left out of lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<Vec<HistoryBody>>,
    /// The ledger transactions of these steps; left out of lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub ledger: Option<Vec<LedgerTransactionId>>,
}

/// An amount with its currency.
#[derive(Debug, Serialize, ToSchema)]
pub struct AmountBody {
    /// In major units.
    pub amount: String,
    /// ISO 4217 code.
    pub currency: String,
}

/// A step of a commission.
#[derive(Debug, Serialize, ToSchema)]
pub struct HistoryBody {
    /// Where it stood; null for its opening.
    pub from: Option<String>,
    /// Where it stood then.
    pub to: String,
    /// When.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// By which rule; `manual` for a person.
    pub rule: String,
    /// What the actor said.
    pub note: Option<String>,
    /// What the ledger posted.
    #[schema(value_type = Option<String>)]
    pub ledger_transaction_id: Option<LedgerTransactionId>,
}

impl From<HistoryRow> for HistoryBody {
    fn from(row: HistoryRow) -> Self {
        Self {
            from: row.from_state,
            to: row.to_state,
            at: row.at,
            by: row.actor,
            rule: row.rule,
            note: row.reason,
            ledger_transaction_id: row.ledger_transaction_id,
        }
    }
}

impl CommissionBody {
    fn new(
        c: Commission,
        order: Option<&OrderFacts>,
        flags: Option<Vec<FlagRow>>,
    ) -> Result<Self, Problem> {
        let base = order.and_then(|o| o.base.as_ref()).map(|(minor, currency)| {
            let currency = currency.parse().map_err(Problem::internal)?;
            let amount = Money::new(*minor, currency).to_decimal_string();
            Ok::<_, Problem>(AmountBody { amount, currency: currency.code().to_owned() })
        });
        Ok(Self {
            id: c.commission_id,
            program_id: c.program_id,
            kind: c.kind.code().to_owned(),
            event: order.map(|o| o.event.clone()),
            status: c.state.code().to_owned(),
            partner_id: c.partner_id,
            conversion_id: c.conversion_id,
            order_id: order.and_then(|o| o.order_id.clone()),
            corrects_id: c.corrects_id,
            base: base.transpose()?,
            amount: c.amount.to_decimal_string(),
            currency: c.amount.currency.code().to_owned(),
            calculation: c.calculation,
            occurred_at: c.occurred_at,
            hold_until: c.hold_until,
            approval: c.approval.code().to_owned(),
            approved_at: c.approved_at,
            reason: c.reason,
            flags: flags.unwrap_or_default().into_iter().map(FlagBody::from).collect(),
            payout_id: c.payout_id,
            created_at: c.created_at,
            clawed_back: None,
            history: None,
            ledger: None,
        })
    }
}

impl From<ApplyError> for Problem {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Database(e) => e.into(),
            ApplyError::Stale => Self::new(Code::PreconditionFailed)
                .detail("The commission was changed meanwhile. Read it again, then decide."),
        }
    }
}

/// What a person can do with a commission; each is a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Approve,
    Reject,
    Hold,
    Release,
    Reverse,
}

impl Verb {
    /// Returns the action of the state machine; reject, hold and reverse need a reason.
    fn action(self, reason: Option<&str>) -> Result<Action, Problem> {
        let reason = || {
            let codes: Vec<&str> = Reason::ALL.iter().map(|r| r.code()).collect();
            let detail = format!("is needed: one of {}", codes.join(", "));
            reason
                .and_then(Reason::from_code)
                .ok_or_else(|| Problem::new(Code::InvalidField).error("/reason", detail))
        };
        Ok(match self {
            Self::Approve => Action::Approve,
            Self::Release => Action::Release,
            Self::Reject => Action::Reject(reason()?),
            Self::Hold => Action::Hold(reason()?),
            Self::Reverse => Action::Reverse(reason()?),
        })
    }

    fn audited(self) -> &'static str {
        match self {
            Self::Approve => "commission.approve",
            Self::Reject => "commission.reject",
            Self::Hold => "commission.hold",
            Self::Release => "commission.release",
            Self::Reverse => "commission.reverse",
        }
    }
}

/// Tells what else a person could do, in the words of the routes.
fn refused(id: CommissionId, error: IllegalTransition, standing: Standing) -> Problem {
    use ActionCode::{Approve, Hold, Reject, Release, Reverse};
    let routes = [Approve, Hold, Reject, Release, Reverse];
    let allowed: Vec<&str> =
        routes.into_iter().filter(|r| error.allowed.contains(r)).map(ActionCode::code).collect();
    let why = match standing {
        Standing::Good => "",
        Standing::Blocked => " and its partner is blocked or not active in the program",
    };
    let (state, action) = (error.state.code(), error.action.code());
    Problem::new(Code::InvalidTransition)
        .detail(format!("{id} is {state}{why}: {action} is not possible."))
        .with("state", state)
        .with("allowed", allowed)
}

/// Loads everything about one commission.
pub(super) async fn show(
    db: &mut PgConnection,
    commission: Commission,
) -> Result<CommissionBody, Problem> {
    let (program_id, id) = (commission.program_id, commission.commission_id);
    let conversions = [commission.conversion_id];
    let orders = store::load_orders(db, program_id, &conversions).await?;
    let mut clawed_back = Money::zero(commission.amount.currency);
    for row in corrections(db, &commission).await? {
        if row.kind == CommissionKind::Clawback {
            clawed_back = clawed_back.checked_sub(row.amount).map_err(Problem::internal)?;
        }
    }
    let history = store::load_history(db, program_id, id).await?;
    let order = orders.get(&commission.conversion_id);
    let mut flags = fraud::store::load_flags(db, program_id, &[id]).await?;
    let mut body = CommissionBody::new(commission, order, flags.remove(&id))?;
    body.clawed_back = Some(clawed_back.to_decimal_string());
    body.ledger = Some(history.iter().filter_map(|h| h.ledger_transaction_id).collect());
    body.history = Some(history.into_iter().map(HistoryBody::from).collect());
    Ok(body)
}

/// Loads the clawbacks and adjustments of a commission.
async fn corrections(
    db: &mut PgConnection,
    of: &Commission,
) -> Result<Vec<Commission>, sqlx::Error> {
    let (programs, conversions) = ([of.program_id], [of.conversion_id]);
    let filter =
        Filter { programs: Some(&programs), conversions: Some(&conversions), ..Filter::default() };
    let mut rows = store::load(db, filter, i64::MAX).await?;
    rows.retain(|row| row.corrects_id == Some(of.commission_id) && !row.kind.is_earned());
    Ok(rows)
}

/// Lists the commissions of a program.
#[utoipa::path(tag = "commissions", params(CommissionFilter, PageQuery), responses(
    (status = 200, body = Page<CommissionBody>), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[get("/v1/commissions")]
async fn list_commissions(
    app: Data<App>,
    caller: Caller<scope::CommissionsRead>,
    filter: Query<CommissionFilter>,
    page: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let CommissionFilter { program_id, partner_id, status, flag } = filter.into_inner();
    caller.check_reach(program_id)?;
    let (limit, after) = (page.limit()?, page.after()?);
    let mut wrong = Mistakes::default();
    let state = status.as_deref().and_then(CommissionState::from_code);
    wrong.check(status.is_some() == state.is_some(), "/status", "is no state of a commission");
    if let Some(flag) = &flag {
        let rules = Rule::ALL.map(Rule::code);
        wrong.one_of("/flag", flag, &[&["any"], &rules[..]].concat());
    }
    wrong.end()?;
    let db = app.db.clone();
    let page = detached(async move {
        let mut db = db.acquire().await?;
        let programs = [program_id];
        let filter = Filter {
            programs: Some(&programs),
            partner: partner_id,
            state,
            flag: flag.as_deref(),
            after,
            ..Filter::default()
        };
        let rows = store::load(&mut db, filter, i64::from(limit) + 1).await?;
        let page = Page::new(rows, limit, |row| row.commission_id);
        let conversions: Vec<ConversionId> = page.data.iter().map(|c| c.conversion_id).collect();
        let orders = store::load_orders(&mut db, program_id, &conversions).await?;
        let ids: Vec<CommissionId> = page.data.iter().map(|c| c.commission_id).collect();
        let mut flags = fraud::store::load_flags(&mut db, program_id, &ids).await?;
        let show = |c: Commission| {
            let (order, flags) = (orders.get(&c.conversion_id), flags.remove(&c.commission_id));
            CommissionBody::new(c, order, flags)
        };
        let data = page.data.into_iter().map(show).collect::<Result<Vec<_>, Problem>>()?;
        Ok(Page { data, has_more: page.has_more, next_cursor: page.next_cursor })
    })
    .await?;
    Ok(HttpResponse::Ok().json(page))
}

/// Shows a commission with its history and its ledger transactions.
#[utoipa::path(tag = "commissions", responses(
    (status = 200, body = CommissionBody), (status = 404, body = ProblemBody)))]
#[get("/v1/commissions/{id}")]
async fn get_commission(
    app: Data<App>,
    caller: Caller<scope::CommissionsRead>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id: CommissionId = path_id(&id)?;
    let db = app.db.clone();
    let answer = detached(async move {
        let mut db = db.acquire().await?;
        let found = store::find_commission(&mut db, id).await?;
        let commission = found
            .filter(|c| caller.reaches(c.program_id))
            .ok_or_else(|| Problem::new(Code::NotFound))?;
        show(&mut db, commission).await
    })
    .await?;
    Ok(HttpResponse::Ok().json(answer))
}

/// Approves a pending commission before its hold is over.
#[utoipa::path(tag = "commissions", request_body = Option<DecisionBody>, responses(
    (status = 200, body = CommissionBody), (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody), (status = 412, body = ProblemBody)))]
#[post("/v1/commissions/{id}/approve")]
async fn approve_commission(
    app: Data<App>,
    req: HttpRequest,
    caller: Caller<scope::CommissionsWrite>,
    id: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    decide(app, req, caller, path_id(&id)?, (Verb::Approve, payload)).await
}

/// Refuses a commission before its approval.
#[utoipa::path(tag = "commissions", request_body = DecisionBody, responses(
    (status = 200, body = CommissionBody), (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody), (status = 412, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[post("/v1/commissions/{id}/reject")]
async fn reject_commission(
    app: Data<App>,
    req: HttpRequest,
    caller: Caller<scope::CommissionsWrite>,
    id: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    decide(app, req, caller, path_id(&id)?, (Verb::Reject, payload)).await
}

/// Freezes a pending commission for review.
#[utoipa::path(tag = "commissions", request_body = DecisionBody, responses(
    (status = 200, body = CommissionBody), (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody), (status = 412, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[post("/v1/commissions/{id}/hold")]
async fn hold_commission(
    app: Data<App>,
    req: HttpRequest,
    caller: Caller<scope::CommissionsWrite>,
    id: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    decide(app, req, caller, path_id(&id)?, (Verb::Hold, payload)).await
}

/// Ends the review of a commission: it is pending again.
#[utoipa::path(tag = "commissions", request_body = Option<DecisionBody>, responses(
    (status = 200, body = CommissionBody), (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody), (status = 412, body = ProblemBody)))]
#[post("/v1/commissions/{id}/release")]
async fn release_commission(
    app: Data<App>,
    req: HttpRequest,
    caller: Caller<scope::CommissionsWrite>,
    id: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    decide(app, req, caller, path_id(&id)?, (Verb::Release, payload)).await
}

/// Takes an approved commission back wholly, before any payout.
#[utoipa::path(tag = "commissions", request_body = DecisionBody, responses(
    (status = 200, body = CommissionBody), (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody), (status = 412, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[post("/v1/commissions/{id}/reverse")]
async fn reverse_commission(
    app: Data<App>,
    req: HttpRequest,
    caller: Caller<scope::CommissionsWrite>,
    id: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    decide(app, req, caller, path_id(&id)?, (Verb::Reverse, payload)).await
}

/// Reads the body of a decision; approving and releasing may come without one.
fn read_decision(req: &HttpRequest, body: &Bytes) -> Result<DecisionBody, Problem> {
    if body.is_empty() {
        return Ok(DecisionBody::default());
    }
    check_json(req.headers())?;
    let decision: DecisionBody = parse_json(body)?;
    if let Some(note) = &decision.note {
        let mut wrong = Mistakes::default();
        wrong.text("/note", note, NOTE_MAX);
        wrong.end()?;
    }
    Ok(decision)
}

async fn decide(
    app: Data<App>,
    req: HttpRequest,
    caller: Caller<scope::CommissionsWrite>,
    id: CommissionId,
    (verb, payload): (Verb, Payload),
) -> Result<HttpResponse, Problem> {
    let body = read(payload, BODY_MAX_BYTES).await?;
    let decision = read_decision(&req, &body)?;
    let action = verb.action(decision.reason.as_deref())?;
    let hand =
        Hand { actor: caller.actor(), rule: "manual", note: decision.note, at: app.clock.now() };
    let entry = Entry::by(&caller, verb.audited(), id).request(&caller.request_id);
    let reach = caller.programs.clone();
    once(&app, &req, &caller, KeyRule::Required, &body, async move |db| {
        let program_id = store::lock_commission(db, id)
            .await?
            .filter(|p| reach.as_ref().is_none_or(|reached| reached.contains(p)))
            .ok_or_else(|| Problem::new(Code::NotFound))?;
        take(db, id, action, hand, entry.program(program_id)).await
    })
    .await
}

/// Takes a step in the transaction of its answer.
async fn take(
    db: &mut DbTx,
    id: CommissionId,
    action: Action,
    hand: Hand,
    entry: Entry,
) -> Result<Answer, Problem> {
    let found = store::find_commission(db, id).await?;
    let commission = found.ok_or_else(|| Problem::new(Code::NotFound))?;
    let is_good =
        partner::store::is_in_good_standing(db, commission.program_id, commission.partner_id);
    let standing = if is_good.await? { Standing::Good } else { Standing::Blocked };
    let has_corrections = !corrections(db, &commission).await?.is_empty();
    let now = hand.at;
    let entry = entry.details(json!({
        "from": commission.state.code(),
        "reason": action.reason().map(Reason::code),
        "note": hand.note,
    }));
    let by = hand.clone();
    let step = commission.take(action, standing, has_corrections, hand).map_err(|e| match e {
        NoStep::Illegal(e) => refused(id, e, standing),
        NoStep::Posting(e) => Problem::internal(e),
        NoStep::Money(e) => Problem::internal(e),
    })?;
    let after = step.after.clone();
    let mut steps = vec![step];
    // What befalls a partner's commission befalls what its recruiter has of it.
    let following = store::load_following(db, commission.program_id, &[id]).await?;
    for row in following.iter().filter(|row| row.kind == CommissionKind::Recruiter) {
        let is_corrected = following.iter().any(|c| c.corrects_id == Some(row.commission_id));
        steps.extend(row.take(action, Standing::Good, is_corrected, by.clone()).ok());
    }
    store::apply(db, steps, now).await?;
    audit_store::record(db, entry, now).await?;
    Ok(Answer::ok(show(db, after).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_takes_something_away_says_why() {
        for (verb, needs_reason) in [
            (Verb::Approve, false),
            (Verb::Release, false),
            (Verb::Reject, true),
            (Verb::Hold, true),
            (Verb::Reverse, true),
        ] {
            assert_eq!(verb.action(None).is_err(), needs_reason, "{verb:?}");
            assert_eq!(verb.action(Some("because")).is_err(), needs_reason, "{verb:?}");
            let action = verb.action(Some("fraud")).unwrap();
            assert_eq!(action.reason(), needs_reason.then_some(Reason::Fraud));
            assert_eq!(verb.audited(), format!("commission.{}", action.code().code()));
        }
    }

    #[test]
    fn a_refusal_names_only_what_has_a_route() {
        let error = IllegalTransition {
            state: CommissionState::Approved,
            action: ActionCode::Reject,
            allowed: vec![ActionCode::ClawBack, ActionCode::Reserve, ActionCode::Reverse],
        };
        let problem = refused(CommissionId::new(), error, Standing::Good);
        let body = serde_json::to_value(problem.body(None, None)).unwrap();
        assert_eq!(body["allowed"], json!(["reverse"]));
        assert_eq!(body["code"], "invalid-transition");
    }
}
