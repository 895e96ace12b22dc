//! The routes of partners and enrollments.
//!
//! A partner is deployment-wide, a key may not be: a key that reaches some programs sees the
//! partners enrolled there, and of them only what they are there.

#![expect(unused_qualifications, reason = "utoipa repeats the types of two queries")]

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse, get, patch, post};
use chrono::NaiveDate;
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
use crate::db::broken_constraint;
use crate::ids::{PartnerId, ProgramId};
use crate::money::{Currency, Money};
use crate::partner::network::http::relations::{RelationBody, set_parent};
use crate::partner::{Enrollment, KINDS, Partner, RANKS, network, store};
use crate::program;
use crate::web::fields::{KeyedJson, Mistakes, NAME_MAX, path_id, present, slug_of};
use crate::web::{
    Code, Page, PageQuery, Problem, ProblemBody, Query, StrictJson, detached, transact,
};

const ENROLLMENT_STATUSES: [&str; 5] = ["applied", "active", "paused", "ended", "declined"];
const EMAIL_MAX: usize = 254;

/// Adds the routes of partners.
pub fn configure(cfg: &mut ServiceConfig) {
    super::network::http::configure(cfg);
    cfg.service(create_partner)
        .service(list_partners)
        .service(get_partner)
        .service(block_partner)
        .service(unblock_partner)
        .service(enroll_partner)
        .service(update_enrollment);
}

/// A partner to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPartnerBody {
    /// What people call it.
    #[schema(example = "Coffee blog")]
    pub name: String,
    /// Its name in addresses, unique, `[a-z0-9-]{1,64}`; made of the name where it is not given.
    pub slug: Option<String>,
    /// `webmaster`, `dealer`, `integrator` or `other`.
    #[schema(example = "webmaster")]
    pub kind: String,
    /// ISO 3166-1 alpha-2.
    #[schema(example = "DE")]
    pub country: Option<String>,
    /// Where to write to.
    pub email: Option<String>,
    /// The program to enroll it in at once.
    #[schema(value_type = Option<String>)]
    pub program_id: Option<ProgramId>,
}

/// An enrollment to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEnrollmentBody {
    /// The program.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// `active` by default.
    pub status: Option<String>,
    /// `A`, `B`, `C` (by default) or `D`.
    pub rank: Option<String>,
    /// Who looks after the partner.
    pub owner: Option<String>,
    /// When to be in touch next.
    #[schema(value_type = Option<String>)]
    pub next_contact_due: Option<NaiveDate>,
    /// Smallest payout of this partner, in major units of the program's currency.
    pub min_payout: Option<String>,
    /// Who brought the partner; can be changed at `/v1/partners/{id}/network`.
    #[schema(value_type = Option<String>)]
    pub parent_partner_id: Option<PartnerId>,
}

/// What is to change of an enrollment; what is not given stays, null clears.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnrollmentChanges {
    /// `applied`, `active`, `paused`, `ended` or `declined`.
    pub status: Option<String>,
    /// `A`, `B`, `C` or `D`.
    pub rank: Option<String>,
    /// Who looks after the partner.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub owner: Option<Option<String>>,
    /// When to be in touch next.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub next_contact_due: Option<Option<NaiveDate>>,
    /// Smallest payout of this partner; null for the program's.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub min_payout: Option<Option<String>>,
}

/// Which partners to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PartnerFilter {
    /// Only those enrolled in this program.
    #[param(value_type = Option<String>)]
    pub program_id: Option<ProgramId>,
}

/// A partner as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct PartnerBody {
    /// Its id.
    #[schema(value_type = String)]
    pub id: PartnerId,
    /// Its number in link tokens.
    pub number: i64,
    /// What people call it.
    pub name: String,
    /// Its name in addresses.
    pub slug: String,
    /// `webmaster`, `dealer`, `integrator` or `other`.
    pub kind: String,
    /// `active` or `blocked`.
    pub status: String,
    /// ISO 3166-1 alpha-2.
    pub country: Option<String>,
    /// Where to write to.
    pub email: Option<String>,
    /// What it is in the programs that the key reaches; left out of lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enrollments: Option<Vec<EnrollmentBody>>,
    /// What it is in their networks: who brought it, who speaks for us; left out of lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub networks: Option<Vec<RelationBody>>,
    /// When it was made.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
}

/// An enrollment as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct EnrollmentBody {
    /// The program.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// The partner.
    #[schema(value_type = String)]
    pub partner_id: PartnerId,
    /// `applied`, `active`, `paused`, `ended` or `declined`.
    pub status: String,
    /// `A`, `B`, `C` or `D`.
    pub rank: String,
    /// Who looks after the partner.
    pub owner: Option<String>,
    /// When to be in touch next.
    #[schema(value_type = Option<String>)]
    pub next_contact_due: Option<NaiveDate>,
    /// Smallest payout of this partner, in major units; null for the program's.
    pub min_payout: Option<String>,
    /// When it began.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
}

impl From<Partner> for PartnerBody {
    fn from(p: Partner) -> Self {
        Self {
            id: p.partner_id,
            number: p.number,
            name: p.name,
            slug: p.slug,
            kind: p.kind,
            status: p.status,
            country: p.country,
            email: p.email,
            enrollments: None,
            networks: None,
            created_at: p.created_at,
        }
    }
}

impl EnrollmentBody {
    fn new(e: Enrollment, currency: Currency) -> Self {
        let money = |minor| Money::new(minor, currency).to_decimal_string();
        Self {
            program_id: e.program_id,
            partner_id: e.partner_id,
            status: e.status,
            rank: e.rank,
            owner: e.owner,
            next_contact_due: e.next_contact_due,
            min_payout: e.min_payout_minor.map(money),
            created_at: e.created_at,
        }
    }
}

impl NewPartnerBody {
    fn into_partner(self, now: Timestamp) -> Result<Partner, Problem> {
        let partner = Partner {
            partner_id: PartnerId::new(),
            number: 0,
            slug: self.slug.unwrap_or_else(|| made_slug(&self.name)),
            name: self.name,
            kind: self.kind,
            status: "active".to_owned(),
            country: self.country,
            email: self.email,
            created_at: now,
        };
        let mut wrong = Mistakes::default();
        wrong.text("/name", &partner.name, NAME_MAX);
        wrong.slug("/slug", &partner.slug);
        wrong.one_of("/kind", &partner.kind, &KINDS);
        if let Some(country) = &partner.country {
            let fits = country.len() == 2 && country.bytes().all(|b| b.is_ascii_uppercase());
            wrong.check(fits, "/country", "is not a country of two capital letters such as DE");
        }
        if let Some(email) = &partner.email {
            wrong.text("/email", email, EMAIL_MAX);
            wrong.check(email.contains('@'), "/email", "is not an e-mail address");
        }
        wrong.end()?;
        Ok(partner)
    }
}

/// Makes a name in addresses; one in a script without Latin letters becomes `partner`.
fn made_slug(name: &str) -> String {
    let slug = slug_of(name);
    if slug.is_empty() { "partner".to_owned() } else { slug }
}

/// Checks what an enrollment says, and ends with the mistakes found before too.
fn check(e: &Enrollment, mut wrong: Mistakes) -> Result<(), Problem> {
    wrong.one_of("/status", &e.status, &ENROLLMENT_STATUSES);
    wrong.one_of("/rank", &e.rank, &RANKS);
    if let Some(owner) = &e.owner {
        wrong.text("/owner", owner, NAME_MAX);
    }
    wrong.end()
}

impl NewEnrollmentBody {
    fn into_enrollment(
        self,
        partner_id: PartnerId,
        currency: Currency,
        now: Timestamp,
    ) -> Result<Enrollment, Problem> {
        let mut wrong = Mistakes::default();
        let min_payout =
            self.min_payout.and_then(|text| wrong.amount("/min_payout", &text, currency));
        let enrollment = Enrollment {
            program_id: self.program_id,
            partner_id,
            status: self.status.unwrap_or_else(|| "active".to_owned()),
            rank: self.rank.unwrap_or_else(|| "C".to_owned()),
            owner: self.owner,
            next_contact_due: self.next_contact_due,
            min_payout_minor: min_payout.map(|m| m.minor),
            created_at: now,
        };
        check(&enrollment, wrong)?;
        Ok(enrollment)
    }
}

impl EnrollmentChanges {
    fn apply(self, e: &mut Enrollment, currency: Currency) -> Result<(), Problem> {
        let mut wrong = Mistakes::default();
        match self.min_payout {
            None => {}
            Some(None) => e.min_payout_minor = None,
            Some(Some(text)) => {
                e.min_payout_minor = wrong.amount("/min_payout", &text, currency).map(|m| m.minor);
            }
        }
        if let Some(status) = self.status {
            e.status = status;
        }
        if let Some(rank) = self.rank {
            e.rank = rank;
        }
        if let Some(owner) = self.owner {
            e.owner = owner;
        }
        if let Some(due) = self.next_contact_due {
            e.next_contact_due = due;
        }
        check(e, wrong)
    }
}

/// Returns the currency of a program that is there.
async fn currency_of(db: &mut PgConnection, program_id: ProgramId) -> Result<Currency, Problem> {
    let missing = || Problem::new(Code::NotFound).detail("No such program; check program_id.");
    program::store::find_program(db, program_id).await?.ok_or_else(missing)?.money()
}

/// Returns the enrollments of a partner that the caller may see; not-found if the partner is not
/// there for the caller.
async fn visible_enrollments<S>(
    db: &mut PgConnection,
    caller: &Caller<S>,
    partner_id: PartnerId,
) -> Result<Vec<Enrollment>, Problem> {
    let mut all = store::list_enrollments(db, partner_id).await?;
    all.retain(|e| caller.reaches(e.program_id));
    if all.is_empty() && caller.programs.is_some() {
        return Err(Problem::new(Code::NotFound));
    }
    Ok(all)
}

/// Makes a partner, and enrolls it where a program is given.
#[utoipa::path(tag = "partners", request_body = NewPartnerBody, responses(
    (status = 201, body = PartnerBody), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[post("/v1/partners")]
async fn create_partner(
    app: Data<App>,
    req: HttpRequest,
    caller: Caller<scope::PartnersWrite>,
    body: KeyedJson<NewPartnerBody>,
) -> Result<HttpResponse, Problem> {
    let (program_id, has_own_slug) = (body.value.program_id, body.value.slug.is_some());
    match program_id {
        Some(program_id) => caller.check_reach(program_id)?,
        None if caller.programs.is_some() => {
            return Err(Problem::new(Code::InvalidField)
                .error("/program_id", "is needed: this key reaches some programs only"));
        }
        None => {}
    }
    let now = app.clock.now();
    let mut partner = body.value.into_partner(now)?;
    let id = partner.partner_id;
    let entry = Entry::by(&caller, "partner.create", id).request(&caller.request_id);
    let answer = once(&app, &req, &caller, KeyRule::Optional, &body.bytes, async move |db| {
        if !has_own_slug && store::has_slug(db, &partner.slug).await? {
            // Two partners may have one name; the end of the id tells them apart.
            let id = id.to_string();
            partner.slug = format!("{:.57}-{}", partner.slug, &id[id.len() - 6..]);
        }
        partner.number = store::insert_partner(db, &partner, now).await.map_err(slug_taken)?;
        let mut answer = PartnerBody::from(partner);
        let mut entry = entry.details(json!({"slug": answer.slug, "kind": answer.kind}));
        if let Some(program_id) = program_id {
            let currency = currency_of(db, program_id).await?;
            let enrollment = Enrollment {
                program_id,
                partner_id: id,
                status: "active".to_owned(),
                rank: "C".to_owned(),
                owner: None,
                next_contact_due: None,
                min_payout_minor: None,
                created_at: now,
            };
            store::insert_enrollment(db, &enrollment).await?;
            answer.enrollments = Some(vec![EnrollmentBody::new(enrollment, currency)]);
            entry = entry.program(program_id);
        }
        audit_store::record(db, entry, now).await?;
        Ok(Answer::created(format!("/v1/partners/{id}"), answer))
    })
    .await?;
    app.keeper.refresh_soon().await;
    Ok(answer)
}

fn slug_taken(error: sqlx::Error) -> Problem {
    if broken_constraint(&error) == Some("partners_slug_once") {
        return Problem::new(Code::InvalidField)
            .error("/slug", "another partner has it already; give another one");
    }
    error.into()
}

/// Lists partners.
#[utoipa::path(tag = "partners", params(PartnerFilter, PageQuery), responses(
    (status = 200, body = Page<PartnerBody>), (status = 404, body = ProblemBody)))]
#[get("/v1/partners")]
async fn list_partners(
    app: Data<App>,
    caller: Caller<scope::PartnersRead>,
    filter: Query<PartnerFilter>,
    page: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let programs = match filter.program_id {
        Some(program_id) => {
            caller.check_reach(program_id)?;
            Some(vec![program_id])
        }
        None => caller.programs.clone(),
    };
    let (limit, after) = (page.limit()?, page.after()?);
    let db = app.db.clone();
    let rows = detached(async move {
        let mut db = db.acquire().await?;
        Ok(store::list_partners(&mut db, programs.as_deref(), after, i64::from(limit) + 1).await?)
    })
    .await?;
    let page = Page::new(rows, limit, |p| p.partner_id).map(PartnerBody::from);
    Ok(HttpResponse::Ok().json(page))
}

/// Shows a partner and what it is in the programs that the key reaches.
#[utoipa::path(tag = "partners", responses(
    (status = 200, body = PartnerBody), (status = 404, body = ProblemBody)))]
#[get("/v1/partners/{id}")]
async fn get_partner(
    app: Data<App>,
    caller: Caller<scope::PartnersRead>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id: PartnerId = path_id(&id)?;
    let db = app.db.clone();
    let answer = detached(async move {
        let mut db = db.acquire().await?;
        let found = store::find_partner(&mut db, id).await?;
        let mut answer = PartnerBody::from(found.ok_or_else(|| Problem::new(Code::NotFound))?);
        let mut enrollments = Vec::new();
        for enrollment in visible_enrollments(&mut db, &caller, id).await? {
            let currency = currency_of(&mut db, enrollment.program_id).await?;
            enrollments.push(EnrollmentBody::new(enrollment, currency));
        }
        answer.enrollments = Some(enrollments);
        let networks = network::store::list_relations(&mut db, id).await?.into_iter();
        let networks = networks.filter(|r| caller.reaches(r.program_id)).map(RelationBody::from);
        answer.networks = Some(networks.collect());
        Ok(answer)
    })
    .await?;
    Ok(HttpResponse::Ok().json(answer))
}

/// Blocks a partner everywhere: links lead to the fallback, nothing is approved or paid.
#[utoipa::path(tag = "partners", responses(
    (status = 200, body = PartnerBody), (status = 403, body = ProblemBody),
    (status = 404, body = ProblemBody)))]
#[post("/v1/partners/{id}/block")]
async fn block_partner(
    app: Data<App>,
    caller: Caller<scope::PartnersWrite>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    set_status(app, caller, path_id(&id)?, "blocked", "partner.block").await
}

/// Ends the block of a partner.
#[utoipa::path(tag = "partners", responses(
    (status = 200, body = PartnerBody), (status = 403, body = ProblemBody),
    (status = 404, body = ProblemBody)))]
#[post("/v1/partners/{id}/unblock")]
async fn unblock_partner(
    app: Data<App>,
    caller: Caller<scope::PartnersWrite>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    set_status(app, caller, path_id(&id)?, "active", "partner.unblock").await
}

async fn set_status(
    app: Data<App>,
    caller: Caller<scope::PartnersWrite>,
    id: PartnerId,
    status: &'static str,
    action: &'static str,
) -> Result<HttpResponse, Problem> {
    let now = app.clock.now();
    let partner = transact(&app.db, async move |db| {
        let visible = visible_enrollments(db, &caller, id).await?;
        if visible.len() < store::list_enrollments(db, id).await?.len() {
            return Err(Problem::new(Code::InsufficientScope).detail(
                "The partner is also in programs that this key does not reach. Pause its \
                 enrollment in yours instead.",
            ));
        }
        if !store::set_partner_status(db, id, status, now).await? {
            return Err(Problem::new(Code::NotFound));
        }
        let entry = Entry::by(&caller, action, id).request(&caller.request_id);
        audit_store::record(db, entry, now).await?;
        Ok(store::find_partner(db, id).await?)
    })
    .await?;
    app.keeper.refresh_soon().await;
    Ok(HttpResponse::Ok().json(partner.map(PartnerBody::from)))
}

/// Enrolls a partner in a program.
#[utoipa::path(tag = "partners", request_body = NewEnrollmentBody, responses(
    (status = 201, body = EnrollmentBody), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[post("/v1/partners/{id}/enrollments")]
async fn enroll_partner(
    app: Data<App>,
    req: HttpRequest,
    caller: Caller<scope::PartnersWrite>,
    id: Path<String>,
    body: KeyedJson<NewEnrollmentBody>,
) -> Result<HttpResponse, Problem> {
    let id: PartnerId = path_id(&id)?;
    let new = body.value;
    let (program_id, parent) = (new.program_id, new.parent_partner_id);
    caller.check_reach(program_id)?;
    let now = app.clock.now();
    let entry =
        Entry::by(&caller, "enrollment.create", id).program(program_id).request(&caller.request_id);
    let reach = caller.programs.clone();
    let answer = once(&app, &req, &caller, KeyRule::Optional, &body.bytes, async move |db| {
        let all = store::list_enrollments(db, id).await?;
        let sees = |e: &Enrollment| reach.as_ref().is_none_or(|r| r.contains(&e.program_id));
        let is_there = store::find_partner(db, id).await?.is_some();
        if !is_there || (reach.is_some() && !all.iter().any(sees)) {
            return Err(Problem::new(Code::NotFound));
        }
        let currency = currency_of(db, program_id).await?;
        let enrollment = new.into_enrollment(id, currency, now)?;
        store::insert_enrollment(db, &enrollment).await.map_err(|e| {
            match broken_constraint(&e) {
                Some("enrollments_pkey") => Problem::new(Code::InvalidField)
                    .error("/program_id", "the partner is enrolled there already; change that"),
                Some(_) | None => e.into(),
            }
        })?;
        if let Some(parent) = parent {
            set_parent(db, (program_id, id), parent, now).await?;
        }
        let entry = entry.details(json!({"status": enrollment.status, "rank": enrollment.rank}));
        audit_store::record(db, entry, now).await?;
        let location = format!("/v1/partners/{id}");
        Ok(Answer::created(location, EnrollmentBody::new(enrollment, currency)))
    })
    .await?;
    app.keeper.refresh_soon().await;
    Ok(answer)
}

/// Changes what a partner is in a program.
#[utoipa::path(tag = "partners", request_body = EnrollmentChanges, responses(
    (status = 200, body = EnrollmentBody), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[patch("/v1/partners/{id}/enrollments/{program_id}")]
async fn update_enrollment(
    app: Data<App>,
    caller: Caller<scope::PartnersWrite>,
    path: Path<(String, String)>,
    body: StrictJson<EnrollmentChanges>,
) -> Result<HttpResponse, Problem> {
    let (id, program_id): (PartnerId, ProgramId) = (path_id(&path.0)?, path_id(&path.1)?);
    caller.check_reach(program_id)?;
    let now = app.clock.now();
    let answer = transact(&app.db, async move |db| {
        let found = store::lock_enrollment(db, program_id, id).await?;
        let mut enrollment = found.ok_or_else(|| Problem::new(Code::NotFound))?;
        let currency = currency_of(db, program_id).await?;
        let before = details(&enrollment);
        body.0.apply(&mut enrollment, currency)?;
        store::update_enrollment(db, &enrollment, now).await?;
        let entry = Entry::by(&caller, "enrollment.update", id)
            .program(program_id)
            .details(json!({"before": before, "after": details(&enrollment)}))
            .request(&caller.request_id);
        audit_store::record(db, entry, now).await?;
        Ok(EnrollmentBody::new(enrollment, currency))
    })
    .await?;
    app.keeper.refresh_soon().await;
    Ok(HttpResponse::Ok().json(answer))
}

/// Returns what the audit log keeps of an enrollment.
fn details(e: &Enrollment) -> serde_json::Value {
    json!({
        "status": e.status, "rank": e.rank, "owner": e.owner,
        "next_contact_due": e.next_contact_due,
        "min_payout_minor": e.min_payout_minor,
    })
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
