//! The routes of decisions about commissions: of one, and of many at once.

use actix_web::web::{Bytes, Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse, post};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::account::audit_store::{self, Entry};
use crate::account::http::{Caller, scope};
use crate::account::once_http::{Answer, KeyRule, once};
use crate::app::App;
use crate::commission::http::{CommissionBody, show};
use crate::commission::state::{Action, ActionCode, IllegalTransition, Reason, Standing};
use crate::commission::{Commission, Hand, NoStep, store};
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
        .service(reverse_commission);
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
    /// Decide only if it still has this `version`; as it stands if left out.
    pub version: Option<i32>,
}

/// What a person can do with a commission; each is a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Approve,
    Reject,
    Hold,
    Release,
    Reverse,
}

impl Verb {
    /// All of them.
    pub(super) const ALL: [Self; 5] =
        [Self::Approve, Self::Reject, Self::Hold, Self::Release, Self::Reverse];

    /// Returns the word in requests: the last part of its route.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Reverse => "reverse",
        }
    }

    /// Reads the word.
    pub(super) fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.code() == code)
    }

    /// Returns the action of the state machine; reject, hold and reverse need a reason.
    pub(super) fn action(self, reason: Option<&str>) -> Result<Action, Problem> {
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

    pub(super) fn audited(self) -> &'static str {
        match self {
            Self::Approve => "commission.approve",
            Self::Reject => "commission.reject",
            Self::Hold => "commission.hold",
            Self::Release => "commission.release",
            Self::Reverse => "commission.reverse",
        }
    }
}

/// Refuses a decision about a commission that was changed since it was read.
pub(super) fn check_version(of: &Commission, version: Option<i32>) -> Result<(), Problem> {
    if version.is_none_or(|version| version == of.revision) {
        return Ok(());
    }
    Err(Problem::new(Code::PreconditionFailed)
        .detail("The commission was changed meanwhile. Read it again, then decide.")
        .with("version", of.revision))
}

/// Says why a step cannot be taken.
pub(super) fn no_step(id: CommissionId, error: NoStep, standing: Standing) -> Problem {
    match error {
        NoStep::Illegal(error) => refused(id, error, standing),
        NoStep::Posting(error) => Problem::internal(error),
        NoStep::Money(error) => Problem::internal(error),
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
        take(db, id, (action, decision.version), hand, entry.program(program_id)).await
    })
    .await
}

/// Takes a step in the transaction of its answer.
async fn take(
    db: &mut DbTx,
    id: CommissionId,
    (action, version): (Action, Option<i32>),
    hand: Hand,
    entry: Entry,
) -> Result<Answer, Problem> {
    let found = store::find_commission(db, id).await?;
    let commission = found.ok_or_else(|| Problem::new(Code::NotFound))?;
    check_version(&commission, version)?;
    let is_good =
        partner::store::is_in_good_standing(db, commission.program_id, commission.partner_id);
    let standing = if is_good.await? { Standing::Good } else { Standing::Blocked };
    let now = hand.at;
    let entry = entry.details(json!({
        "from": commission.state.code(),
        "reason": action.reason().map(Reason::code),
        "note": hand.note,
    }));
    let following = store::load_following(db, commission.program_id, &[id]).await?;
    let steps = super::decide(&commission, &following, action, standing, &hand)
        .map_err(|e| no_step(id, e, standing))?;
    let after = steps[0].after.clone();
    store::apply(db, steps, now).await?;
    audit_store::record(db, entry, now).await?;
    Ok(Answer::ok(show(db, after).await?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commission::CommissionState;

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
