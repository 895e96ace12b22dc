//! Applications: a stranger writes, a person or the program's rule decides.
//!
//! The form needs no key, so it tells nothing: whoever applies twice gets the same answer as the
//! first time, and nobody learns by it whose address is known here.

#![expect(unused_qualifications, reason = "utoipa repeats the types of two queries")]

use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, get, post};
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use super::lock_enrolled;
use crate::account::audit_store::{self, Entry};
use crate::account::http::{Caller, scope};
use crate::app::App;
use crate::clock::Timestamp;
use crate::ids::{PartnerId, ProgramId};
use crate::partner::network::application::{A_DAY_MAX, Admission, admit};
use crate::partner::network::store::applications::{self as rows, Application};
use crate::partner::network::store::read_policy;
use crate::partner::{Enrollment, KINDS, Partner, store as partners};
use crate::web::fields::{Mistakes, NAME_MAX, path_id, slug_of};
use crate::web::{
    Code, Page, PageQuery, Problem, ProblemBody, Query, StrictJson, detached, transact,
};

const EMAIL_MAX: usize = 254;
const SITE_MAX: usize = 500;
const MESSAGE_MAX: usize = 2000;
/// More visitors a month than the whole web has are no promise.
const REACH_MAX: i64 = 10_000_000_000;
/// What stands in the log for who decided by the program's rule.
const BY_RULE: &str = "rule:auto-approve";

pub(super) fn configure(cfg: &mut ServiceConfig) {
    cfg.service(apply).service(list_applications).service(approve).service(decline);
}

/// An application.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewApplicationBody {
    /// What people call the applicant.
    #[schema(example = "Coffee blog")]
    pub name: String,
    /// `webmaster`, `dealer`, `integrator` or `other`.
    pub kind: String,
    /// Where to write to.
    pub email: String,
    /// ISO 3166-1 alpha-2.
    pub country: Option<String>,
    /// Where it promotes: an http or https address.
    pub site: Option<String>,
    /// Visitors a month that it promises.
    pub promised_reach: Option<i64>,
    /// What else there is to say.
    #[serde(default)]
    pub message: String,
}

/// What an applicant is told.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReceivedBody {
    /// Always `received`; the decision comes from the program.
    #[schema(example = "received")]
    pub status: &'static str,
}

/// A decision on an application.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ApplicationDecisionBody)]
pub struct DecisionBody {
    /// The program.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// Why, for those who ask later.
    pub reason: String,
}

/// Which applications to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ApplicationFilter {
    /// `applied` for open ones, `active`, `paused`, `ended` or `declined`; all where not given.
    pub status: Option<String>,
}

/// An application as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct ApplicationBody {
    /// The partner that it made.
    #[schema(value_type = String)]
    pub partner_id: PartnerId,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// ISO 3166-1 alpha-2.
    pub country: Option<String>,
    /// State of the enrollment: `applied` while open.
    pub status: String,
    /// Where to write to.
    pub email: String,
    /// Where it promotes.
    pub site: Option<String>,
    /// Visitors a month that it promises.
    pub promised_reach: Option<i64>,
    /// What it wrote.
    pub message: String,
    /// When it came.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
    /// When it was decided.
    #[schema(value_type = Option<String>)]
    pub decided_at: Option<Timestamp>,
    /// By whom.
    pub decided_by: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

impl From<Application> for ApplicationBody {
    fn from(a: Application) -> Self {
        Self {
            partner_id: a.partner_id,
            name: a.name,
            kind: a.kind,
            country: a.country,
            status: a.status,
            email: a.email,
            site: a.site,
            promised_reach: a.reach,
            message: a.message,
            created_at: a.created_at,
            decided_at: a.decided_at,
            decided_by: a.decided_by,
            reason: a.reason,
        }
    }
}

impl NewApplicationBody {
    fn check(&self) -> Result<(), Problem> {
        let mut wrong = Mistakes::default();
        wrong.text("/name", &self.name, NAME_MAX);
        wrong.one_of("/kind", &self.kind, &KINDS);
        wrong.text("/email", &self.email, EMAIL_MAX);
        wrong.check(self.email.contains('@'), "/email", "is not an e-mail address");
        if let Some(country) = &self.country {
            let fits = country.len() == 2 && country.bytes().all(|b| b.is_ascii_uppercase());
            wrong.check(fits, "/country", "is not a country of two capital letters such as DE");
        }
        if let Some(site) = &self.site {
            wrong.text("/site", site, SITE_MAX);
            let is_web = Url::parse(site).is_ok_and(|u| ["http", "https"].contains(&u.scheme()));
            wrong.check(is_web, "/site", "is not an http or https address");
        }
        let fits = self.promised_reach.is_none_or(|n| (0..=REACH_MAX).contains(&n));
        wrong.check(fits, "/promised_reach", "must be 0 to 10,000,000,000 visitors a month");
        let is_text = |c: char| c == '\n' || !c.is_control();
        let fits = self.message.chars().count() <= MESSAGE_MAX && self.message.chars().all(is_text);
        wrong.check(fits, "/message", "must have 2000 characters at most, no control characters");
        wrong.end()
    }

    /// Makes the partner; the end of its id keeps its name in addresses apart from all others.
    fn partner(&self, now: Timestamp) -> Partner {
        let partner_id = PartnerId::new();
        let (id, slug) = (partner_id.to_string(), slug_of(&self.name));
        let slug = if slug.is_empty() { "partner".to_owned() } else { slug };
        Partner {
            partner_id,
            number: 0,
            name: self.name.clone(),
            slug: format!("{slug:.57}-{}", &id[id.len() - 6..]),
            kind: self.kind.clone(),
            status: "active".to_owned(),
            country: self.country.clone(),
            email: Some(self.email.clone()),
            created_at: now,
        }
    }
}

/// Takes an application; no key is needed. The answer is the same for everybody.
#[utoipa::path(tag = "network", request_body = NewApplicationBody, security(()), responses(
    (status = 202, body = ReceivedBody), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody), (status = 429, body = ProblemBody)))]
#[post("/v1/programs/{id}/applications")]
async fn apply(
    app: Data<App>,
    id: Path<String>,
    body: StrictJson<NewApplicationBody>,
) -> Result<HttpResponse, Problem> {
    let program_id: ProgramId = path_id(&id)?;
    let (body, now) = (body.0, app.clock.now());
    body.check()?;
    let admission = transact(&app.db, async move |db| {
        if !rows::lock_open_program(db, program_id).await? {
            return Err(Problem::new(Code::NotFound));
        }
        if rows::count_since(db, program_id, now - TimeDelta::days(1)).await? >= A_DAY_MAX {
            return Err(Problem::new(Code::QuotaExceeded)
                .detail("The program takes no more applications today; come back tomorrow.")
                .retry_after(3600));
        }
        if rows::is_known(db, program_id, &body.email).await? {
            return Ok(Admission::ByHand);
        }
        let policy = read_policy(db, program_id).await?;
        let admission = admit(&policy, &body.kind, body.country.as_deref());
        let partner = body.partner(now);
        partners::insert_partner(db, &partner, now).await?;
        let is_approved = admission == Admission::AtOnce;
        let status = if is_approved { "active" } else { "applied" }.to_owned();
        partners::insert_enrollment(
            db,
            &Enrollment {
                program_id,
                partner_id: partner.partner_id,
                status: status.clone(),
                rank: "C".to_owned(),
                owner: None,
                next_contact_due: None,
                min_payout_minor: None,
                created_at: now,
            },
        )
        .await?;
        let application = Application {
            partner_id: partner.partner_id,
            name: body.name,
            kind: body.kind,
            country: body.country,
            status,
            email: body.email,
            site: body.site,
            reach: body.promised_reach,
            message: body.message,
            created_at: now,
            decided_at: is_approved.then_some(now),
            decided_by: is_approved.then(|| BY_RULE.to_owned()),
            reason: is_approved.then(|| "kind and country fit the program's rule".to_owned()),
        };
        rows::insert(db, program_id, &application).await?;
        Ok(admission)
    })
    .await?;
    if admission == Admission::AtOnce {
        app.keeper.refresh_soon().await;
    }
    Ok(HttpResponse::Accepted().json(ReceivedBody { status: "received" }))
}

/// Lists the applications to a program, oldest first.
#[utoipa::path(tag = "network", params(ApplicationFilter, PageQuery), responses(
    (status = 200, body = Page<ApplicationBody>), (status = 404, body = ProblemBody)))]
#[get("/v1/programs/{id}/applications")]
async fn list_applications(
    app: Data<App>,
    caller: Caller<scope::PartnersRead>,
    id: Path<String>,
    filter: Query<ApplicationFilter>,
    page: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let program_id: ProgramId = path_id(&id)?;
    caller.check_reach(program_id)?;
    let (limit, after, db) = (page.limit()?, page.after()?, app.db.clone());
    let found = detached(async move {
        let mut db = db.acquire().await?;
        super::find_books(&mut db, program_id).await?;
        let (status, most) = (filter.status.as_deref(), i64::from(limit) + 1);
        Ok(rows::list(&mut db, program_id, status, after, most).await?)
    })
    .await?;
    let page = Page::new(found, limit, |a| a.partner_id).map(ApplicationBody::from);
    Ok(HttpResponse::Ok().json(page))
}

/// Approves an application: the partner's links work from now on.
#[utoipa::path(tag = "network", request_body = DecisionBody, responses(
    (status = 204), (status = 404, body = ProblemBody), (status = 409, body = ProblemBody)))]
#[post("/v1/applications/{partner_id}/approve")]
async fn approve(
    app: Data<App>,
    caller: Caller<scope::PartnersWrite>,
    id: Path<String>,
    body: StrictJson<DecisionBody>,
) -> Result<HttpResponse, Problem> {
    decide(app, caller, path_id(&id)?, body.0, ("active", "application.approve")).await
}

/// Declines an application; the applicant may apply again.
#[utoipa::path(tag = "network", request_body = DecisionBody, responses(
    (status = 204), (status = 404, body = ProblemBody), (status = 409, body = ProblemBody)))]
#[post("/v1/applications/{partner_id}/decline")]
async fn decline(
    app: Data<App>,
    caller: Caller<scope::PartnersWrite>,
    id: Path<String>,
    body: StrictJson<DecisionBody>,
) -> Result<HttpResponse, Problem> {
    decide(app, caller, path_id(&id)?, body.0, ("declined", "application.decline")).await
}

async fn decide(
    app: Data<App>,
    caller: Caller<scope::PartnersWrite>,
    partner_id: PartnerId,
    body: DecisionBody,
    (status, action): (&'static str, &'static str),
) -> Result<HttpResponse, Problem> {
    let place = (body.program_id, partner_id);
    caller.check_reach(body.program_id)?;
    let mut wrong = Mistakes::default();
    wrong.text("/reason", &body.reason, NAME_MAX);
    wrong.end()?;
    let now = app.clock.now();
    transact(&app.db, async move |db| {
        let mut enrollment = lock_enrolled(db, place).await?;
        if enrollment.status != "applied" {
            return Err(Problem::new(Code::InvalidTransition)
                .detail(format!("The enrollment is {} already.", enrollment.status)));
        }
        if !rows::decide(db, place, &caller.actor(), &body.reason, now).await? {
            return Err(Problem::new(Code::NotFound));
        }
        status.clone_into(&mut enrollment.status);
        partners::update_enrollment(db, &enrollment, now).await?;
        let entry = Entry::by(&caller, action, partner_id)
            .program(body.program_id)
            .details(json!({"reason": body.reason}))
            .request(&caller.request_id);
        Ok(audit_store::record(db, entry, now).await?)
    })
    .await?;
    app.keeper.refresh_soon().await;
    Ok(HttpResponse::NoContent().finish())
}
