//! The routes of claims: make one, read the queue, decide.

#![expect(unused_qualifications, reason = "utoipa repeats the types of two queries")]

use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse, get, post};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::account::audit_store::{self, Entry};
use crate::account::http::scope::Own;
use crate::account::http::{Caller, scope};
use crate::account::once_http::{Answer, KeyRule, once};
use crate::app::App;
use crate::claim::store::{self, Filter};
use crate::claim::{Claim, NewClaim, REFUSALS, Status, judgment};
use crate::clock::Timestamp;
use crate::commission::Hand;
use crate::conversion::EVENTS;
use crate::ids::{ClaimId, CommissionId, ConversionId, PartnerId, ProgramId};
use crate::settlement::grant::GrantError;
use crate::web::body::{check_json, parse_json, read};
use crate::web::fields::{KeyedJson, Mistakes, path_id};
use crate::web::{BODY_MAX_BYTES, Code, Page, PageQuery, Problem, ProblemBody, Query, detached};

const ORDER_ID_MAX: usize = 64;
const CLICK_ID_MAX: usize = 64;
const TEXT_MAX: usize = 200;
const NOTE_MAX: usize = 1000;

/// Adds the routes of claims.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(make_claim)
        .service(list_claims)
        .service(get_claim)
        .service(accept_claim)
        .service(refuse_claim);
}

/// A claim to be made: "this order was mine".
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewClaimBody {
    /// The program.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// Who claims.
    #[schema(value_type = String)]
    pub partner_id: PartnerId,
    /// `sale` (if left out), `lead`, `signup`, `install` or `renewal`.
    pub event: Option<String>,
    /// The shop's name of the order.
    #[schema(example = "A-10045")]
    pub order_id: String,
    /// When it happened, as far as the partner knows.
    #[schema(value_type = Option<String>)]
    pub occurred_at: Option<Timestamp>,
    /// The click id that led to it, exactly as the shop got it.
    pub click_id: Option<String>,
    /// The coupon that the customer used.
    pub coupon_code: Option<String>,
    /// What else there is to say, at most 1,000 characters.
    pub note: Option<String>,
}

/// Which claims to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ClaimFilter {
    /// Only those of this program.
    #[param(value_type = Option<String>)]
    pub program_id: Option<ProgramId>,
    /// Only those of this partner.
    #[param(value_type = Option<String>)]
    pub partner_id: Option<PartnerId>,
    /// Only those that stand here: `open`, `escalated`, `accepted`, `refused`.
    pub status: Option<String>,
}

/// Why a person decides so.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimDecisionBody {
    /// To refuse: `not_theirs`, `outside_window`, `order_unknown`, `order_canceled`, `fraud` or
    /// `other`.
    pub reason: Option<String>,
    /// What to remember about it.
    pub note: Option<String>,
}

/// A claim as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClaimBody {
    /// Its id.
    #[schema(value_type = String)]
    pub id: ClaimId,
    /// The program.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// Who claims.
    #[schema(value_type = String)]
    pub partner_id: PartnerId,
    /// What is claimed.
    pub event: String,
    /// The shop's name of the order.
    pub order_id: String,
    /// When it happened, as the partner says.
    #[schema(value_type = Option<String>)]
    pub occurred_at: Option<Timestamp>,
    /// The click that the partner names.
    pub click_id: Option<String>,
    /// The coupon that the partner names.
    pub coupon_code: Option<String>,
    /// What the partner says.
    pub note: Option<String>,
    /// `open` (a person decides until the deadline), `escalated` (a person must), `accepted` or
    /// `refused`.
    pub status: String,
    /// Why, as a code.
    pub reason: String,
    /// Why, in a sentence.
    pub sentence: String,
    /// What the machine found when it judged last.
    #[schema(value_type = Object)]
    pub evidence: serde_json::Value,
    /// Until when a person may decide before the machine does.
    #[schema(value_type = String)]
    pub deadline_at: Timestamp,
    /// The order, once it is known.
    #[schema(value_type = Option<String>)]
    pub conversion_id: Option<ConversionId>,
    /// What it earned, once the claim is accepted.
    #[schema(value_type = Option<String>)]
    pub commission_id: Option<CommissionId>,
    /// When it was made.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
    /// When it was decided.
    #[schema(value_type = Option<String>)]
    pub decided_at: Option<Timestamp>,
    /// By whom: `system` or a user.
    pub decided_by: Option<String>,
    /// What was said about the decision.
    pub decision_note: Option<String>,
}

impl From<Claim> for ClaimBody {
    fn from(c: Claim) -> Self {
        let (decided_at, decided_by) = c.decided.unzip();
        Self {
            id: c.claim_id,
            program_id: c.said.program_id,
            partner_id: c.said.partner_id,
            event: c.said.event,
            order_id: c.said.order_id,
            occurred_at: c.said.occurred_at,
            click_id: c.said.click_id,
            coupon_code: c.said.coupon_code,
            note: c.said.note,
            status: c.status.code().to_owned(),
            reason: c.reason,
            sentence: c.sentence,
            evidence: c.evidence,
            deadline_at: c.deadline_at,
            conversion_id: c.conversion_id,
            commission_id: c.commission_id,
            created_at: c.created_at,
            decided_at,
            decided_by,
            decision_note: c.decision_note,
        }
    }
}

impl ClaimBody {
    /// Returns what a partner sees of it: neither the evidence, which tells of others, nor who of
    /// the house decided and with which note. The decision and its sentence stay.
    fn seen_by(mut self, partner: Option<PartnerId>) -> Self {
        if partner.is_none() {
            return self;
        }
        self.evidence = serde_json::Value::Null;
        self.decision_note = None;
        self.conversion_id = self.conversion_id.filter(|_| self.commission_id.is_some());
        let by = |by| if by == "system" { by } else { "program".to_owned() };
        self.decided_by = self.decided_by.map(by);
        self
    }
}

impl NewClaimBody {
    fn into_claim(self, now: Timestamp) -> Result<NewClaim, Problem> {
        let event = self.event.unwrap_or_else(|| "sale".to_owned());
        let mut wrong = Mistakes::default();
        wrong.one_of("/event", &event, &EVENTS);
        wrong.text("/order_id", &self.order_id, ORDER_ID_MAX);
        let texts = [
            ("/click_id", &self.click_id, CLICK_ID_MAX),
            ("/coupon_code", &self.coupon_code, TEXT_MAX),
            ("/note", &self.note, NOTE_MAX),
        ];
        for (pointer, text, max) in texts {
            text.iter().for_each(|text| wrong.text(pointer, text, max));
        }
        let is_past = self.occurred_at.is_none_or(|at| at <= now);
        wrong.check(is_past, "/occurred_at", &format!("lies in the future; it is {now} here"));
        wrong.end()?;
        Ok(NewClaim {
            program_id: self.program_id,
            partner_id: self.partner_id,
            event,
            order_id: self.order_id,
            occurred_at: self.occurred_at,
            click_id: self.click_id,
            coupon_code: self.coupon_code,
            note: self.note,
        })
    }
}

/// Claims an order for a partner, and answers with what the machine makes of it. A claim that was
/// made before is shown as it stands (200).
#[utoipa::path(tag = "claims", request_body = NewClaimBody, responses(
    (status = 201, body = ClaimBody), (status = 200, body = ClaimBody),
    (status = 404, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[post("/v1/claims")]
async fn make_claim(
    app: Data<App>,
    req: HttpRequest,
    caller: Caller<Own<scope::ClaimsWrite>>,
    body: KeyedJson<NewClaimBody>,
) -> Result<HttpResponse, Problem> {
    let KeyedJson { value, bytes } = body;
    caller.check_own(value.program_id, value.partner_id)?;
    let viewer = caller.partner_id;
    let now = app.clock.now();
    let said = value.into_claim(now)?;
    let (click_keys, customer_key) = (app.config.click_keys.clone(), app.customer_key.clone());
    let (actor, program_id) = (caller.actor(), said.program_id);
    let entry = Entry::by(&caller, "claim.make", said.partner_id).request(&caller.request_id);
    once(&app, &req, &caller, KeyRule::Optional, &bytes, async move |db| {
        let made = judgment::make(db, (&click_keys, &customer_key), said, actor, now).await?;
        let (claim, is_new) = made.ok_or_else(|| Problem::new(Code::NotFound))?;
        if is_new {
            let details = json!({"claim_id": claim.claim_id, "order_id": claim.said.order_id});
            audit_store::record(db, entry.program(program_id).details(details), now).await?;
        }
        let place = format!("/v1/claims/{}", claim.claim_id);
        let answer = Answer::created(place, ClaimBody::from(claim).seen_by(viewer));
        Ok(if is_new { answer } else { Answer { status: StatusCode::OK, ..answer } })
    })
    .await
}

/// Lists claims by their deadlines, the nearest first: with `status=open`, the queue.
#[utoipa::path(tag = "claims", params(ClaimFilter, PageQuery), responses(
    (status = 200, body = Page<ClaimBody>), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[get("/v1/claims")]
async fn list_claims(
    app: Data<App>,
    caller: Caller<Own<scope::CommissionsRead>>,
    filter: Query<ClaimFilter>,
    page: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let ClaimFilter { program_id, partner_id, status } = filter.into_inner();
    let programs = match program_id {
        Some(program_id) => {
            caller.check_reach(program_id)?;
            Some(vec![program_id.0])
        }
        None => caller.programs.as_ref().map(|all| all.iter().map(|p| p.0).collect()),
    };
    let (partner_id, viewer) = (caller.whose(partner_id)?, caller.partner_id);
    let (limit, after) = (page.limit()?, page.after()?);
    if let Some(status) = &status {
        let mut wrong = Mistakes::default();
        wrong.one_of("/status", status, &Status::ALL.map(Status::code));
        wrong.end()?;
    }
    let status = status.as_deref().and_then(Status::from_code);
    let filter = Filter { programs, partner_id, status, after, ..Filter::default() };
    let db = app.db.clone();
    let rows = detached(async move {
        let mut db = db.acquire().await?;
        Ok(store::list(&mut db, &filter, i64::from(limit) + 1).await?)
    })
    .await?;
    let page = Page::new(rows, limit, |c| (c.deadline_at, c.claim_id));
    let page = page.map(|claim| ClaimBody::from(claim).seen_by(viewer));
    Ok(HttpResponse::Ok().json(page))
}

/// Shows a claim with its evidence.
#[utoipa::path(tag = "claims", responses(
    (status = 200, body = ClaimBody), (status = 404, body = ProblemBody)))]
#[get("/v1/claims/{id}")]
async fn get_claim(
    app: Data<App>,
    caller: Caller<Own<scope::CommissionsRead>>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id: ClaimId = path_id(&id)?;
    let programs = caller.programs.as_ref().map(|all| all.iter().map(|p| p.0).collect());
    let db = app.db.clone();
    let claim = detached(async move {
        let mut db = db.acquire().await?;
        find(&mut db, id, programs).await
    })
    .await?;
    caller.check_own(claim.said.program_id, claim.said.partner_id)?;
    Ok(HttpResponse::Ok().json(ClaimBody::from(claim).seen_by(caller.partner_id)))
}

async fn find(
    db: &mut PgConnection,
    claim_id: ClaimId,
    programs: Option<Vec<uuid::Uuid>>,
) -> Result<Claim, Problem> {
    let filter = Filter { programs, claim_id: Some(claim_id), ..Filter::default() };
    store::list(db, &filter, 1).await?.pop().ok_or_else(|| Problem::new(Code::NotFound))
}

/// Accepts a claim: the order earns for the partner what it would have earned.
#[utoipa::path(tag = "claims", request_body = Option<ClaimDecisionBody>, responses(
    (status = 200, body = ClaimBody), (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[post("/v1/claims/{id}/accept")]
async fn accept_claim(
    app: Data<App>,
    req: HttpRequest,
    caller: Caller<scope::CommissionsWrite>,
    id: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let id: ClaimId = path_id(&id)?;
    let bytes = read(payload, BODY_MAX_BYTES).await?;
    let decision = read_decision(&req, &bytes)?;
    let now = app.clock.now();
    let by = Hand { actor: caller.actor(), rule: "claim", note: decision.note, at: now };
    let (click_keys, customer_key) = (app.config.click_keys.clone(), app.customer_key.clone());
    let entry = Entry::by(&caller, "claim.accept", id).request(&caller.request_id);
    let reach = caller.programs.clone();
    once(&app, &req, &caller, KeyRule::Required, &bytes, async move |db| {
        let mut claim = lock(db, id, reach.as_deref()).await?;
        if claim.status == Status::Accepted {
            return Err(over(&claim));
        }
        judgment::accept(db, (&click_keys, &customer_key), &mut claim, by, now)
            .await
            .map_err(|error| refusal(&claim, error))?;
        let details = json!({"commission_id": claim.commission_id, "note": claim.decision_note});
        let entry = entry.program(claim.said.program_id).details(details);
        audit_store::record(db, entry, now).await?;
        Ok(Answer::ok(ClaimBody::from(claim)))
    })
    .await
}

/// Refuses a claim, with a reason.
#[utoipa::path(tag = "claims", request_body = ClaimDecisionBody, responses(
    (status = 200, body = ClaimBody), (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[post("/v1/claims/{id}/refuse")]
async fn refuse_claim(
    app: Data<App>,
    req: HttpRequest,
    caller: Caller<scope::CommissionsWrite>,
    id: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let id: ClaimId = path_id(&id)?;
    let bytes = read(payload, BODY_MAX_BYTES).await?;
    let decision = read_decision(&req, &bytes)?;
    let mut wrong = Mistakes::default();
    wrong.one_of("/reason", decision.reason.as_deref().unwrap_or_default(), &REFUSALS);
    wrong.end()?;
    let (now, actor) = (app.clock.now(), caller.actor());
    let entry = Entry::by(&caller, "claim.refuse", id).request(&caller.request_id);
    let reach = caller.programs.clone();
    once(&app, &req, &caller, KeyRule::Required, &bytes, async move |db| {
        let mut claim = lock(db, id, reach.as_deref()).await?;
        if matches!(claim.status, Status::Accepted | Status::Refused) {
            return Err(over(&claim));
        }
        claim.status = Status::Refused;
        claim.reason = decision.reason.unwrap_or_default();
        claim.decision_note = decision.note;
        claim.decided = Some((now, actor));
        store::update(db, &claim).await?;
        let details = json!({"reason": claim.reason, "note": claim.decision_note});
        let entry = entry.program(claim.said.program_id).details(details);
        audit_store::record(db, entry, now).await?;
        Ok(Answer::ok(ClaimBody::from(claim)))
    })
    .await
}

/// Reads the body of a decision; accepting may come without one.
fn read_decision(req: &HttpRequest, body: &Bytes) -> Result<ClaimDecisionBody, Problem> {
    if body.is_empty() {
        return Ok(ClaimDecisionBody::default());
    }
    check_json(req.headers())?;
    let decision: ClaimDecisionBody = parse_json(body)?;
    let mut wrong = Mistakes::default();
    decision.note.iter().for_each(|note| wrong.text("/note", note, NOTE_MAX));
    wrong.end()?;
    Ok(decision)
}

async fn lock(
    db: &mut PgConnection,
    id: ClaimId,
    reach: Option<&[ProgramId]>,
) -> Result<Claim, Problem> {
    let program_id = store::lock(db, id)
        .await?
        .filter(|p| reach.is_none_or(|reached| reached.contains(p)))
        .ok_or_else(|| Problem::new(Code::NotFound))?;
    find(db, id, Some(vec![program_id.0])).await
}

/// Says that a claim is decided. What was refused may still be accepted, never the other way round.
fn over(claim: &Claim) -> Problem {
    let allowed: &[&str] = if claim.status == Status::Refused { &["accept"] } else { &[] };
    Problem::new(Code::InvalidTransition)
        .detail(format!("{} is {} already.", claim.claim_id, claim.status.code()))
        .with("state", claim.status.code())
        .with("allowed", allowed)
}

fn refusal(claim: &Claim, error: GrantError) -> Problem {
    match error {
        GrantError::EarnsNothing(why) => Problem::new(Code::InvalidTransition)
            .detail(format!(
                "Order {} earns nothing for the partner: {why}. What another has earned is \
                 rejected or reversed first; what the shop has not reported, it reports first.",
                claim.said.order_id
            ))
            .with("state", claim.status.code())
            .with("allowed", ["refuse"]),
        GrantError::Apply(error) => error.into(),
    }
}
