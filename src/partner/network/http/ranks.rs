//! Ranks, and whom to be in touch with.

#![expect(unused_qualifications, reason = "utoipa repeats the types of two queries")]

use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, get, post};
use chrono::{Days, NaiveDate};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use super::find_books;
use crate::account::audit_store::{self, Entry};
use crate::account::http::{Caller, scope};
use crate::app::App;
use crate::clock::Timestamp;
use crate::ids::{PartnerId, ProgramId};
use crate::partner::network::Member;
use crate::partner::network::nightly::{Effect, rank_program, read_contacts};
use crate::partner::network::rank::Ranking;
use crate::web::fields::path_id;
use crate::web::{
    Code, Page, PageQuery, Problem, ProblemBody, Query, StrictJson, detached, transact,
};

/// Days ahead that the list of contacts looks by itself.
const AHEAD_DAYS: u64 = 7;
/// Sleeping partners in one answer; their number is always told.
const DIGEST_MAX: usize = 200;

pub(super) fn configure(cfg: &mut ServiceConfig) {
    cfg.service(compute_ranks).service(list_contacts_due);
}

/// How to compute ranks.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RankingBody {
    /// Only show what would change.
    #[serde(default)]
    pub dry_run: bool,
}

/// A rank with its reasons.
#[derive(Debug, Serialize, ToSchema)]
pub struct RankBody {
    /// The partner.
    #[schema(value_type = String)]
    pub partner_id: PartnerId,
    /// Its name.
    pub name: String,
    /// 0 to 1000.
    pub points: i64,
    /// The rank that it had.
    pub from: &'static str,
    /// The rank that it has.
    pub to: &'static str,
    /// The arithmetic.
    pub why: Vec<String>,
}

impl RankBody {
    fn new((member, r): (Member, Ranking)) -> Self {
        Self {
            partner_id: r.partner_id,
            name: member.name,
            points: r.points,
            from: r.from.as_str(),
            to: r.to.as_str(),
            why: r.why,
        }
    }
}

/// Ranks as they were computed.
#[derive(Debug, Serialize, ToSchema)]
pub struct RanksBody {
    /// Whether nothing was written.
    pub dry_run: bool,
    /// Partners that were looked at.
    pub n_partners: usize,
    /// Those whose rank changes.
    pub changes: Vec<RankBody>,
}

/// Computes the ranks of a program, as every night does; `dry_run` only shows what would change.
#[utoipa::path(tag = "network", request_body = RankingBody, responses(
    (status = 200, body = RanksBody), (status = 404, body = ProblemBody)))]
#[post("/v1/programs/{id}/ranks")]
async fn compute_ranks(
    app: Data<App>,
    caller: Caller<scope::PartnersWrite>,
    id: Path<String>,
    body: StrictJson<RankingBody>,
) -> Result<HttpResponse, Problem> {
    let program_id: ProgramId = path_id(&id)?;
    caller.check_reach(program_id)?;
    let (now, dry_run) = (app.clock.now(), body.0.dry_run);
    let answer = transact(&app.db, async move |db| {
        let books = find_books(db, program_id).await?;
        let effect = if dry_run { Effect::Shown } else { Effect::Written };
        let ranked = rank_program(db, &books, now, effect).await?;
        let n_partners = ranked.len();
        let changed = ranked.into_iter().filter(|(_, r)| r.from != r.to);
        let changes: Vec<RankBody> = changed.map(RankBody::new).collect();
        if !dry_run {
            let entry = Entry::by(&caller, "ranks.compute", program_id)
                .program(program_id)
                .details(json!({"n_partners": n_partners, "n_changes": changes.len()}))
                .request(&caller.request_id);
            audit_store::record(db, entry, now).await?;
        }
        Ok(RanksBody { dry_run, n_partners, changes })
    })
    .await?;
    Ok(HttpResponse::Ok().json(answer))
}

/// Which contacts to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ContactsQuery {
    /// The program.
    #[param(value_type = String)]
    pub program_id: ProgramId,
    /// The last day of the list; a week ahead where it is not given.
    #[param(value_type = Option<String>)]
    pub until: Option<NaiveDate>,
}

/// Somebody to be in touch with.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NextContactBody)]
pub struct ContactBody {
    /// The partner.
    #[schema(value_type = String)]
    pub partner_id: PartnerId,
    /// Its name.
    pub name: String,
    /// A to D.
    pub rank: String,
    /// Who looks after it.
    pub owner: Option<String>,
    /// Who speaks for us there.
    pub champion: Option<String>,
    /// The day; none for those who get the digest.
    #[schema(value_type = Option<String>)]
    pub due: Option<NaiveDate>,
    /// Days since the day; negative while it is ahead.
    pub overdue_days: Option<i64>,
    /// When somebody was last in touch.
    #[schema(value_type = Option<String>)]
    pub last_contact_at: Option<Timestamp>,
    /// The hour in which it last brought a visitor.
    #[schema(value_type = Option<String>)]
    pub last_click_at: Option<Timestamp>,
}

impl ContactBody {
    pub(crate) fn new(m: Member, due: Option<NaiveDate>, today: NaiveDate) -> Self {
        Self {
            partner_id: m.partner_id,
            name: m.name,
            rank: m.rank,
            owner: m.owner,
            champion: m.champion,
            due,
            overdue_days: due.map(|due| (today - due).num_days()),
            last_contact_at: m.last_contact_at,
            last_click_at: m.last_click_at,
        }
    }
}

/// Whom to be in touch with.
#[derive(Debug, Serialize, ToSchema)]
pub struct ContactsBody {
    /// Calls, the longest overdue first.
    #[serde(flatten)]
    pub calls: Page<ContactBody>,
    /// Who sleeps or has rank D, and gets the digest instead of a call; 200 at most.
    pub digest_only: Vec<ContactBody>,
    /// How many those are.
    pub n_digest_only: usize,
}

/// Lists whom to be in touch with: calls that are due, and apart from them who gets the digest.
#[utoipa::path(tag = "network", params(ContactsQuery, PageQuery), responses(
    (status = 200, body = ContactsBody), (status = 404, body = ProblemBody)))]
#[get("/v1/partners/contacts-due")]
async fn list_contacts_due(
    app: Data<App>,
    caller: Caller<scope::PartnersRead>,
    query: Query<ContactsQuery>,
    page: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let ContactsQuery { program_id, until } = query.into_inner();
    caller.check_reach(program_id)?;
    let (limit, after): (_, Option<(NaiveDate, PartnerId)>) = (page.limit()?, page.after()?);
    let (db, now) = (app.db.clone(), app.clock.now());
    let answer = detached(async move {
        let mut db = db.acquire().await?;
        let books = find_books(&mut db, program_id).await?;
        let today = books.day(now);
        let last = until.or_else(|| today.checked_add_days(Days::new(AHEAD_DAYS)));
        let last = last.ok_or_else(|| Problem::new(Code::InvalidField))?;
        let (mut due, digest) = read_contacts(&mut db, &books, last, now).await?;
        due.retain(|(day, m)| after.is_none_or(|after| (*day, m.partner_id) > after));
        let calls = Page::new(due, limit, |(day, m)| (*day, m.partner_id));
        let n_digest_only = digest.len();
        let sleepers = digest.into_iter().take(DIGEST_MAX);
        Ok(ContactsBody {
            calls: calls.map(|(day, m)| ContactBody::new(m, Some(day), today)),
            digest_only: sleepers.map(|m| ContactBody::new(m, None, today)).collect(),
            n_digest_only,
        })
    })
    .await?;
    Ok(HttpResponse::Ok().json(answer))
}
