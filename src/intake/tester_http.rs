//! `POST /v1/sources/{id}/test`: what a pasted postback URL would do. It never writes.

use std::collections::BTreeMap;

use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, post};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::account::http::{Caller, scope};
use crate::app::App;
use crate::clock::Timestamp;
use crate::conversion::postback::profile::Meaning;
use crate::conversion::postback::{
    Belief, EventName, Planned, Postback, Refusal, plan, read as read_parameters,
};
use crate::ids::SourceId;
use crate::intake::postback_http::{Refused, believe, check_attributable, parameters, sending};
use crate::intake::trial::{Foreseen, foresee};
use crate::settlement::record;
use crate::snapshot::SourceTerms;
use crate::web::fields::path_id;
use crate::web::{Code, Problem, ProblemBody, StrictJson, detached};

/// Adds the route.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(test_postback);
}

/// A postback to be tried.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PostbackToTest {
    /// The URL as the tracker would call it, or its query alone.
    #[schema(example = "https://go.example/postback/src_…?key=…&subid=…&tid=A-1&payout=9.90")]
    pub url: String,
}

/// What a postback would do.
#[derive(Debug, Serialize, ToSchema)]
pub struct PostbackTest {
    /// The alias profile of the source.
    pub profile: String,
    /// `accepted`, `parked` (its event has no name of ours yet) or `refused`.
    #[schema(value_type = String)]
    pub verdict: &'static str,
    /// The status and the line that the tracker would get.
    pub answer: TestAnswer,
    /// What means something, sorted by name.
    pub interpreted: Vec<TestField>,
    /// What is only kept as metadata.
    pub ignored: BTreeMap<String, String>,
    /// The event; null for one that nobody has mapped.
    pub event: Option<String>,
    /// The status as it is understood; null where nothing could be read.
    pub status: Option<String>,
    /// The status's word if nobody knows what it means: it does as `pending`.
    pub unknown_status: Option<String>,
    /// `key`, `signature` or `none`.
    #[schema(value_type = String)]
    pub believed_by: &'static str,
    /// What settlement would do now, message by message.
    pub settlement: Vec<Foreseen>,
}

/// The answer that the tracker would get.
#[derive(Debug, Serialize, ToSchema)]
pub struct TestAnswer {
    /// HTTP status.
    pub status: u16,
    /// The line.
    pub line: String,
}

/// A parameter that means something.
#[derive(Debug, Serialize, ToSchema)]
pub struct TestField {
    /// Its name as it was sent.
    pub parameter: String,
    /// Our name of what it means.
    #[schema(value_type = String)]
    pub means: &'static str,
    /// Its value.
    pub value: String,
}

/// Shows what a postback would do: what is understood, what is believed, what settlement would say.
#[utoipa::path(tag = "sources", request_body = PostbackToTest, responses(
    (status = 200, body = PostbackTest), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[post("/v1/sources/{id}/test")]
async fn test_postback(
    app: Data<App>,
    caller: Caller<scope::WebhooksRead>,
    id: Path<String>,
    body: StrictJson<PostbackToTest>,
) -> Result<HttpResponse, Problem> {
    let id: SourceId = path_id(&id)?;
    let found = app.snapshot.load().source(id).cloned();
    let source = found
        .filter(|source| caller.reaches(source.program_id))
        .ok_or_else(|| Problem::new(Code::NotFound))?;
    let query = query_of(&body.0.url, id)?;
    let now = app.clock.now();
    let mut told = PostbackTest {
        profile: source.postback.alias_profile.clone(),
        verdict: "refused",
        answer: TestAnswer { status: 200, line: "OK".to_owned() },
        interpreted: Vec::new(),
        ignored: BTreeMap::new(),
        event: None,
        status: None,
        unknown_status: None,
        believed_by: "none",
        settlement: Vec::new(),
    };
    match read_parameters(parameters(query, ""), &source.postback) {
        Ok(postback) => {
            show(&mut told, &postback);
            try_out(&app, &source, &postback, &mut told, now).await?;
        }
        Err(refusal) => refuse(&mut told, refusal.into()),
    }
    Ok(HttpResponse::Ok().json(told))
}

/// Returns the query of a URL, or the text itself if it is no URL.
fn query_of(text: &str, id: SourceId) -> Result<&str, Problem> {
    let invalid = |detail: &str| Err(Problem::new(Code::InvalidField).error("/url", detail));
    let (address, query) = match text.split_once('?') {
        Some((address, query)) => (address, query.split('#').next().unwrap_or_default()),
        None if text.contains("://") => {
            return invalid("has no query; paste it with its parameters");
        }
        None if !text.contains('=') => {
            return invalid(
                "has no parameters; paste the URL as the tracker calls it, or its query",
            );
        }
        None => ("", text),
    };
    let is_other =
        address.contains("/postback/") && !address.trim_end_matches('/').ends_with(&id.to_string());
    if is_other {
        return invalid("is the address of another source; test it there");
    }
    Ok(query)
}

fn show(told: &mut PostbackTest, postback: &Postback) {
    told.interpreted = postback
        .fields
        .iter()
        .map(|f| TestField {
            parameter: f.name.clone(),
            means: meaning_name(f.meaning),
            value: f.value.clone(),
        })
        .collect();
    told.ignored = postback.ignored.clone();
    told.event = match &postback.event {
        EventName::Known(event) => Some(event.clone()),
        EventName::Unmapped(_) => None,
    };
    told.status = Some(postback.status.as_str().to_owned());
    told.unknown_status = postback.unknown_status.clone();
}

fn meaning_name(meaning: Meaning) -> &'static str {
    match meaning {
        Meaning::ClickId => "click_id",
        Meaning::ClickIds => "click_ids",
        Meaning::OrderId => "order_id",
        Meaning::Amount => "amount",
        Meaning::Currency => "currency",
        Meaning::Event => "event",
        Meaning::Status => "status",
        Meaning::Coupon => "coupon_code",
        Meaning::Customer => "customer_ref",
        Meaning::OccurredAt => "occurred_at",
        Meaning::Test => "test",
        Meaning::Parts => "event and amounts of groups",
        Meaning::ItemAmount => "amount of an item",
        Meaning::ItemQuantity => "pieces of an item",
        Meaning::Key => "key",
        Meaning::SentAt => "time of the signature",
        Meaning::Signature => "signature",
    }
}

fn refuse(told: &mut PostbackTest, refused: Refused) {
    told.verdict = "refused";
    told.answer = TestAnswer { status: refused.status.as_u16(), line: refused.line };
}

async fn try_out(
    app: &Data<App>,
    source: &SourceTerms,
    postback: &Postback,
    told: &mut PostbackTest,
    now: Timestamp,
) -> Result<(), Problem> {
    if !source.is_active {
        let problem = Problem::new(Code::SourceDisabled);
        let (status, line) = (problem.code().status(), problem.code().title().to_owned());
        refuse(told, Refused::new(status, line));
        return Ok(());
    }
    let belief = match believe(app, source, postback, now) {
        Ok(belief) => belief,
        Err(refused) => {
            refuse(told, refused);
            return Ok(());
        }
    };
    told.believed_by = match belief {
        Belief::Key => "key",
        Belief::Signed(_) => "signature",
    };
    let planned: Result<Vec<Planned>, Refusal> =
        plan(postback, &source.postback, belief, &app.customer_key, now);
    let checked = planned
        .map_err(Refused::from)
        .and_then(|planned| check_attributable(app, &planned).map(|()| planned));
    let planned = match checked {
        Ok(planned) => planned,
        Err(refused) => {
            refuse(told, refused);
            return Ok(());
        }
    };
    if told.event.is_none() {
        told.verdict = "parked";
        return Ok(());
    }
    told.verdict = "accepted";
    told.settlement = foresee_all(app, source, belief, planned, now).await?;
    let conflicts = told.settlement.len() == 1 && told.settlement[0].verdict == "conflict";
    if conflicts {
        let line = "order: is known with other content, which stays; nothing was changed";
        let status = Code::ConversionConflict.status();
        refuse(told, Refused::new(status, line));
    }
    Ok(())
}

async fn foresee_all(
    app: &Data<App>,
    source: &SourceTerms,
    belief: Belief,
    planned: Vec<Planned>,
    now: Timestamp,
) -> Result<Vec<Foreseen>, Problem> {
    let sending = sending(source, belief, now);
    let messages = planned
        .into_iter()
        .map(|one| sending.record(one.message_id, one.body_hash, &one.report))
        .map(|record| record::message(&record).map_err(Problem::internal))
        .collect::<Result<Vec<_>, _>>()?;
    let app = app.clone();
    detached(async move {
        let mut db = app.db.begin().await?;
        let foreseen = foresee(&app, &mut db, messages).await;
        db.rollback().await?;
        Ok(foreseen?)
    })
    .await
}
