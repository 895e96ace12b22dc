//! The routes of decisions about commissions: of one, and of many at once.

use actix_web::web::{Bytes, Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse, post};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::deed_http::{Around, Deed, Verb, check_version};
use crate::account::audit_store::{self, Entry};
use crate::account::http::{Caller, scope};
use crate::account::once_http::{Answer, KeyRule, once};
use crate::app::App;
use crate::commission::http::{CommissionBody, show};
use crate::commission::state::Standing;
use crate::commission::{Hand, store};
use crate::db::DbTx;
use crate::ids::CommissionId;
use crate::partner;
use crate::web::body::{check_json, parse_json, read};
use crate::web::fields::{Mistakes, path_id};
use crate::web::{BODY_MAX_BYTES, Code, Problem, ProblemBody};

/// Longest note of a decision.
pub(super) const NOTE_MAX: usize = 1000;

/// Adds the routes of decisions.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(approve_commission)
        .service(reject_commission)
        .service(hold_commission)
        .service(release_commission)
        .service(extend_commission)
        .service(claw_back_commission)
        .service(reverse_commission);
}

/// Why a person decides so.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DecisionBody {
    /// `order_canceled`, `fraud`, `terms_violation`, `tracking_error`, `payment_failed`,
    /// `ineligible_partner`, `duplicate` or `other`; not needed to approve or release.
    pub reason: Option<String>,
    /// To claw back: how much, in major units; all that is left of it where it is not given.
    #[schema(example = "5.00")]
    pub amount: Option<String>,
    /// To extend: by how many days the hold lasts longer, 1 to 365.
    pub days: Option<u16>,
    /// What to remember about it; kept in the history.
    pub note: Option<String>,
    /// Decide only if it still has this `version`; as it stands if left out.
    pub version: Option<i32>,
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

/// Lets the hold of a pending commission last longer, once.
#[utoipa::path(tag = "commissions", request_body = DecisionBody, responses(
    (status = 200, body = CommissionBody), (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody), (status = 412, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[post("/v1/commissions/{id}/extend")]
async fn extend_commission(
    app: Data<App>,
    req: HttpRequest,
    caller: Caller<scope::CommissionsWrite>,
    id: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    decide(app, req, caller, path_id(&id)?, (Verb::Extend, payload)).await
}

/// Takes a part of an approved or paid commission back, or all that is left: a clawback of its own,
/// which is the answer.
#[utoipa::path(tag = "commissions", request_body = DecisionBody, responses(
    (status = 201, body = CommissionBody), (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody), (status = 412, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[post("/v1/commissions/{id}/clawback")]
async fn claw_back_commission(
    app: Data<App>,
    req: HttpRequest,
    caller: Caller<scope::CommissionsWrite>,
    id: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    decide(app, req, caller, path_id(&id)?, (Verb::Clawback, payload)).await
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
    let deed = Deed::read(verb, decision.reason.as_deref(), decision.days)?;
    let (version, amount) = (decision.version, decision.amount);
    let hand =
        Hand { actor: caller.actor(), rule: "manual", note: decision.note, at: app.clock.now() };
    let entry = Entry::by(&caller, verb.audited(), id).request(&caller.request_id);
    let reach = caller.programs.clone();
    once(&app, &req, &caller, KeyRule::Required, &body, async move |db| {
        let program_id = store::lock_commission(db, id)
            .await?
            .filter(|p| reach.as_ref().is_none_or(|reached| reached.contains(p)))
            .ok_or_else(|| Problem::new(Code::NotFound))?;
        take(db, id, (deed, amount, version), hand, entry.program(program_id)).await
    })
    .await
}

/// Takes a step in the transaction of its answer.
async fn take(
    db: &mut DbTx,
    id: CommissionId,
    (deed, amount, version): (Deed, Option<String>, Option<i32>),
    hand: Hand,
    entry: Entry,
) -> Result<Answer, Problem> {
    let found = store::find_commission(db, id).await?;
    let commission = found.ok_or_else(|| Problem::new(Code::NotFound))?;
    check_version(&commission, version)?;
    let program_id = commission.program_id;
    let is_good = partner::store::is_in_good_standing(db, program_id, commission.partner_id);
    let standing = if is_good.await? { Standing::Good } else { Standing::Blocked };
    let now = hand.at;
    let following = store::load_following(db, program_id, &[id]).await?;
    let extended = super::store::load_extended(db, program_id, &[id]).await?;
    let around = Around { following: &following, standing, extended: &extended };
    let steps = deed.decide(&commission, amount.as_deref(), &around, &hand)?;
    let entry = entry.details(deed.details(&commission, &steps, &hand));
    let after = steps[0].after.clone();
    store::apply(db, steps, now).await?;
    audit_store::record(db, entry, now).await?;
    let place = format!("/v1/commissions/{}", after.commission_id);
    let is_new = after.commission_id != id;
    let body = show(db, after).await?;
    Ok(if is_new { Answer::created(place, body) } else { Answer::ok(body) })
}
