//! What a partner is in the network of a program, and what the program has chosen for all.

use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, get, patch, put};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgConnection;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::{ProgramQuery, find_books, lock_enrolled};
use crate::account::audit_store::{self, Entry};
use crate::account::http::{Caller, scope};
use crate::app::App;
use crate::clock::Timestamp;
use crate::db::broken_constraint;
use crate::ids::{PartnerId, ProgramId};
use crate::partner::KINDS;
use crate::partner::network::recruiter::{BadRecruiter, check};
use crate::partner::network::scorecard::{check_weights, weights};
use crate::partner::network::{Policy, Relation, store};
use crate::web::fields::{Mistakes, NAME_MAX, path_id, present};
use crate::web::{Code, Problem, ProblemBody, Query, StrictJson, detached, transact};

const NOTE_MAX: usize = 2000;
const PROTECTION_DAYS_MAX: i32 = 3650;

pub(super) fn configure(cfg: &mut ServiceConfig) {
    cfg.service(get_policy).service(put_policy).service(get_relation).service(update_relation);
}

impl From<BadRecruiter> for Problem {
    fn from(e: BadRecruiter) -> Self {
        Self::new(Code::InvalidField).error("/parent_partner_id", e.to_string())
    }
}

/// What a program has chosen for its network.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NetworkPolicyBody)]
pub struct PolicyBody {
    /// Kinds of applicants that are approved at once; none: a person decides on everybody.
    #[serde(default)]
    pub auto_approve_kinds: Vec<String>,
    /// Countries of those; none: every country.
    #[serde(default)]
    pub auto_approve_countries: Vec<String>,
    /// Days for which a customer stays the partner's who brought it.
    #[serde(default)]
    pub customer_protection_days: i32,
    /// Weights of the ten groups of the scorecard; the usual ones where they are not given.
    pub score_weights: Option<Vec<i16>>,
}

impl PolicyBody {
    fn into_policy(self) -> Result<Policy, Problem> {
        let mut wrong = Mistakes::default();
        for kind in &self.auto_approve_kinds {
            wrong.one_of("/auto_approve_kinds", kind, &KINDS);
        }
        let is_country = |c: &String| c.len() == 2 && c.bytes().all(|b| b.is_ascii_uppercase());
        let fits = self.auto_approve_countries.len() <= 250
            && self.auto_approve_countries.iter().all(is_country);
        wrong.check(fits, "/auto_approve_countries", "must be countries such as DE");
        let fits = (0..=PROTECTION_DAYS_MAX).contains(&self.customer_protection_days);
        wrong.check(fits, "/customer_protection_days", "must be 0 to 3650");
        if let Some(Err(e)) = self.score_weights.as_deref().map(check_weights) {
            wrong.add("/score_weights", e.to_string());
        }
        wrong.end()?;
        Ok(Policy {
            auto_approve_kinds: self.auto_approve_kinds,
            auto_approve_countries: self.auto_approve_countries,
            customer_protection_days: self.customer_protection_days,
            score_weights: self.score_weights,
        })
    }
}

impl From<Policy> for PolicyBody {
    fn from(p: Policy) -> Self {
        Self {
            score_weights: Some(weights(p.score_weights.as_deref()).to_vec()),
            auto_approve_kinds: p.auto_approve_kinds,
            auto_approve_countries: p.auto_approve_countries,
            customer_protection_days: p.customer_protection_days,
        }
    }
}

/// Shows what a program has chosen for its network.
#[utoipa::path(tag = "network", responses(
    (status = 200, body = PolicyBody), (status = 404, body = ProblemBody)))]
#[get("/v1/programs/{id}/network-policy")]
async fn get_policy(
    app: Data<App>,
    caller: Caller<scope::PartnersRead>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let program_id: ProgramId = path_id(&id)?;
    caller.check_reach(program_id)?;
    let db = app.db.clone();
    let policy = detached(async move {
        let mut db = db.acquire().await?;
        find_books(&mut db, program_id).await?;
        Ok(store::read_policy(&mut db, program_id).await?)
    })
    .await?;
    Ok(HttpResponse::Ok().json(PolicyBody::from(policy)))
}

/// Writes what a program has chosen for its network; what is not given goes back to the usual.
#[utoipa::path(tag = "network", request_body = PolicyBody, responses(
    (status = 200, body = PolicyBody), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[put("/v1/programs/{id}/network-policy")]
async fn put_policy(
    app: Data<App>,
    caller: Caller<scope::ProgramsWrite>,
    id: Path<String>,
    body: StrictJson<PolicyBody>,
) -> Result<HttpResponse, Problem> {
    let program_id: ProgramId = path_id(&id)?;
    caller.check_reach(program_id)?;
    let (policy, now) = (body.0.into_policy()?, app.clock.now());
    let policy = transact(&app.db, async move |db| {
        find_books(db, program_id).await?;
        store::write_policy(db, program_id, &policy).await?;
        let entry = Entry::by(&caller, "network_policy.write", program_id)
            .program(program_id)
            .details(json!({
                "auto_approve_kinds": policy.auto_approve_kinds,
                "auto_approve_countries": policy.auto_approve_countries,
                "customer_protection_days": policy.customer_protection_days,
                "score_weights": policy.score_weights,
            }))
            .request(&caller.request_id);
        audit_store::record(db, entry, now).await?;
        Ok(policy)
    })
    .await?;
    Ok(HttpResponse::Ok().json(PolicyBody::from(policy)))
}

/// A partner in the network of a program.
#[derive(Debug, Serialize, ToSchema)]
pub struct RelationBody {
    /// The program.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// Who brought it into the program.
    #[schema(value_type = Option<String>)]
    pub parent_partner_id: Option<PartnerId>,
    /// How many it has brought.
    pub n_recruits: i64,
    /// Whether the rank stays as a person has set it.
    pub is_rank_pinned: bool,
    /// Its name on boards of contests; none: it wants no name there.
    pub public_name: Option<String>,
    /// Who speaks for us there.
    pub champion: Option<ChampionBody>,
}

/// Somebody who speaks for us at a partner's.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChampionBody {
    /// The person.
    pub name: String,
    /// What is worth knowing.
    pub note: Option<String>,
}

impl From<Relation> for RelationBody {
    fn from(r: Relation) -> Self {
        let note = r.champion_note;
        Self {
            program_id: r.program_id,
            parent_partner_id: r.parent_partner_id,
            n_recruits: r.n_recruits,
            is_rank_pinned: r.is_rank_pinned,
            public_name: r.public_name,
            champion: r.champion_name.map(|name| ChampionBody { name, note }),
        }
    }
}

/// What is to change; what is not given stays, null clears.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RelationChanges {
    /// The program.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// Who brought the partner; a partner of the program that nobody has brought.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub parent_partner_id: Option<Option<PartnerId>>,
    /// Whether the rank stays as it is.
    pub is_rank_pinned: Option<bool>,
    /// Its name on boards of contests.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub public_name: Option<Option<String>>,
    /// Who speaks for us there.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<ChampionBody>)]
    pub champion: Option<Option<ChampionBody>>,
}

impl RelationChanges {
    fn apply(self, r: &mut Relation) -> Result<(), Problem> {
        let mut wrong = Mistakes::default();
        if let Some(parent) = self.parent_partner_id {
            r.parent_partner_id = parent;
        }
        if let Some(is_pinned) = self.is_rank_pinned {
            r.is_rank_pinned = is_pinned;
        }
        if let Some(name) = self.public_name {
            r.public_name = name;
        }
        if let Some(champion) = self.champion {
            let (name, note) = champion.map_or((None, None), |c| (Some(c.name), c.note));
            (r.champion_name, r.champion_note) = (name, note);
        }
        for (pointer, text, max) in [
            ("/public_name", &r.public_name, NAME_MAX),
            ("/champion/name", &r.champion_name, NAME_MAX),
            ("/champion/note", &r.champion_note, NOTE_MAX),
        ] {
            if let Some(text) = text {
                wrong.text(pointer, text, max);
            }
        }
        wrong.end()
    }
}

/// Gives a partner of a program a recruiter.
pub async fn set_parent(
    db: &mut PgConnection,
    (program_id, partner_id): (ProgramId, PartnerId),
    parent: PartnerId,
    now: Timestamp,
) -> Result<(), Problem> {
    let mut relation = find_relation(db, program_id, partner_id).await?;
    relation.parent_partner_id = Some(parent);
    write_relation(db, partner_id, &relation, now).await
}

async fn find_relation(
    db: &mut PgConnection,
    program_id: ProgramId,
    partner_id: PartnerId,
) -> Result<Relation, Problem> {
    let all = store::list_relations(db, partner_id).await?;
    let found = all.into_iter().find(|r| r.program_id == program_id);
    found.ok_or_else(|| Problem::new(Code::NotFound))
}

async fn write_relation(
    db: &mut PgConnection,
    partner_id: PartnerId,
    r: &Relation,
    now: Timestamp,
) -> Result<(), Problem> {
    let wrong = |why| Problem::new(Code::InvalidField).error("/parent_partner_id", why);
    if let Some(parent) = r.parent_partner_id {
        let wish = store::find_wish(db, r.program_id, partner_id, parent).await?;
        check(&wish.ok_or_else(|| wrong("is not enrolled in the program"))?)?;
    }
    store::update_relation(db, partner_id, r, now).await.map_err(|e| match broken_constraint(&e) {
        Some("enrollments_two_levels") => wrong("somebody else has just become a recruiter here"),
        Some(_) | None => e.into(),
    })
}

/// Shows what a partner is in the network of a program.
#[utoipa::path(tag = "network", params(ProgramQuery), responses(
    (status = 200, body = RelationBody), (status = 404, body = ProblemBody)))]
#[get("/v1/partners/{id}/network")]
async fn get_relation(
    app: Data<App>,
    caller: Caller<scope::PartnersRead>,
    id: Path<String>,
    query: Query<ProgramQuery>,
) -> Result<HttpResponse, Problem> {
    let (partner_id, program_id) = (path_id(&id)?, query.program_id);
    caller.check_reach(program_id)?;
    let db = app.db.clone();
    let relation = detached(async move {
        let mut db = db.acquire().await?;
        find_relation(&mut db, program_id, partner_id).await
    })
    .await?;
    Ok(HttpResponse::Ok().json(RelationBody::from(relation)))
}

/// Changes what a partner is in the network of a program.
#[utoipa::path(tag = "network", request_body = RelationChanges, responses(
    (status = 200, body = RelationBody), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[patch("/v1/partners/{id}/network")]
async fn update_relation(
    app: Data<App>,
    caller: Caller<scope::PartnersWrite>,
    id: Path<String>,
    body: StrictJson<RelationChanges>,
) -> Result<HttpResponse, Problem> {
    let (partner_id, program_id): (PartnerId, _) = (path_id(&id)?, body.0.program_id);
    caller.check_reach(program_id)?;
    let now = app.clock.now();
    let answer = transact(&app.db, async move |db| {
        lock_enrolled(db, (program_id, partner_id)).await?;
        let mut relation = find_relation(db, program_id, partner_id).await?;
        body.0.apply(&mut relation)?;
        write_relation(db, partner_id, &relation, now).await?;
        let answer = RelationBody::from(relation);
        let entry = Entry::by(&caller, "network.update", partner_id)
            .program(program_id)
            .details(json!(answer))
            .request(&caller.request_id);
        audit_store::record(db, entry, now).await?;
        Ok(answer)
    })
    .await?;
    Ok(HttpResponse::Ok().json(answer))
}
