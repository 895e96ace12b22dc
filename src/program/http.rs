//! The routes of programs.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse, get, patch, post};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::account::audit_store::{self, Entry};
use crate::account::http::{Caller, scope};
use crate::account::once_http::{Answer, KeyRule, once};
use crate::app::App;
use crate::clock::Timestamp;
use crate::db::{DbTx, broken_constraint};
use crate::ids::{AttributionPolicyId, ProgramId, UserId};
use crate::link::destination::{BadLanding, CLICK_ID_PARAM, Landing};
use crate::link::template::{Schemes, URL_LEN_MAX};
use crate::money::{Currency, Money};
use crate::program::attribution::http::{Refused, add_edition};
use crate::program::attribution::store::PolicyRow;
use crate::program::attribution::{PolicyDocument, WINDOW_DAYS_MAX};
use crate::program::{Program, attribution, store};
use crate::web::fields::{KeyedJson, Mistakes, NAME_MAX, path_id, present, slug_of};
use crate::web::{
    Code, Page, PageQuery, Problem, ProblemBody, Query, StrictJson, detached, transact,
};

const STATUSES: [&str; 2] = ["active", "paused"];
/// More hosts than this are no shop but a mistake.
const HOSTS_MAX: usize = 100;

/// Adds the routes of programs.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(create_program).service(list_programs).service(get_program).service(update_program);
}

/// A program to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProgramBody {
    /// What people call it.
    #[schema(example = "Coffee shop")]
    pub name: String,
    /// Its name in addresses, unique, `[a-z0-9-]{1,64}`; made of the name where it is not given.
    pub slug: Option<String>,
    /// ISO 4217 code that it pays in; never changes.
    #[schema(example = "EUR")]
    pub currency: String,
    /// Landing URL with macros such as `{click_id}`.
    #[schema(example = "https://shop.example/?click_id={click_id}")]
    pub landing_template: String,
    /// Parameter of the click id where the template has no macro for it; `click_id` by default.
    pub click_id_param: Option<String>,
    /// Hosts that a deep link may name, their subdomains included.
    #[serde(default)]
    pub allowed_hosts: Vec<String>,
    /// Whether addresses may be plain http.
    #[serde(default)]
    pub allow_http: bool,
    /// Where visitors of dead links go.
    pub fallback_url: Option<String>,
    /// IANA name; the program's days begin at its midnight. `UTC` by default.
    #[schema(example = "Europe/Berlin")]
    pub time_zone: Option<String>,
    /// Days from click to conversion within which the click counts; 30 by default.
    pub attribution_window_days: Option<i32>,
    /// Smallest payout, in major units; zero by default.
    #[schema(example = "25.00")]
    pub min_payout: Option<String>,
}

/// What is to change of a program; what is not given stays. Slug and currency never change: links,
/// ledger and statements rest on them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProgramChanges {
    /// What people call it.
    pub name: Option<String>,
    /// `active` or `paused`: a paused program takes no visitors.
    pub status: Option<String>,
    /// Landing URL with macros.
    pub landing_template: Option<String>,
    /// Parameter of the click id where the template has no macro for it.
    pub click_id_param: Option<String>,
    /// Hosts that a deep link may name; replaces the list.
    pub allowed_hosts: Option<Vec<String>>,
    /// Whether addresses may be plain http.
    pub allow_http: Option<bool>,
    /// Where visitors of dead links go; null for nowhere of its own.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub fallback_url: Option<Option<String>>,
    /// IANA name.
    pub time_zone: Option<String>,
    /// Days from click to conversion within which the click counts; publishes an edition of the
    /// attribution policy that holds from now on and differs from the latest in this alone.
    pub attribution_window_days: Option<i32>,
    /// Smallest payout, in major units.
    pub min_payout: Option<String>,
}

/// A program as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProgramBody {
    /// Its id.
    #[schema(value_type = String)]
    pub id: ProgramId,
    /// Its number in link tokens.
    pub number: i32,
    /// What people call it.
    pub name: String,
    /// Its name in addresses.
    pub slug: String,
    /// `active` or `paused`.
    pub status: String,
    /// ISO 4217 code that it pays in.
    pub currency: String,
    /// Landing URL with macros.
    pub landing_template: String,
    /// Parameter of the click id where the template has no macro for it.
    pub click_id_param: String,
    /// Hosts that a deep link may name.
    pub allowed_hosts: Vec<String>,
    /// Whether addresses may be plain http.
    pub allow_http: bool,
    /// Where visitors of dead links go.
    pub fallback_url: Option<String>,
    /// IANA name.
    pub time_zone: String,
    /// Days from click to conversion within which the click counts, by the latest edition of the
    /// attribution policy.
    pub attribution_window_days: i32,
    /// Smallest payout, in major units.
    pub min_payout: String,
    /// When it was made.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[schema(value_type = String)]
    pub updated_at: Timestamp,
}

impl TryFrom<Program> for ProgramBody {
    type Error = Problem;

    fn try_from(p: Program) -> Result<Self, Problem> {
        let min_payout = Money::new(p.min_payout_minor, p.money()?).to_decimal_string();
        Ok(Self {
            id: p.program_id,
            number: p.number,
            name: p.name,
            slug: p.slug,
            status: p.status,
            currency: p.currency,
            landing_template: p.landing_template,
            click_id_param: p.click_id_param,
            allowed_hosts: p.allowed_hosts,
            allow_http: p.allow_http,
            fallback_url: p.fallback_url,
            time_zone: p.time_zone,
            attribution_window_days: p.attribution_window_days,
            min_payout,
            created_at: p.created_at,
            updated_at: p.updated_at,
        })
    }
}

impl Program {
    /// Returns the currency that it pays in.
    pub(crate) fn money(&self) -> Result<Currency, Problem> {
        self.currency.parse().map_err(Problem::internal)
    }
}

impl NewProgramBody {
    fn into_program(self, now: Timestamp) -> Result<Program, Problem> {
        let mut wrong = Mistakes::default();
        let currency = self.currency.parse::<Currency>();
        let mut min_payout = None;
        match (&currency, &self.min_payout) {
            (Ok(currency), Some(text)) => {
                min_payout = wrong.amount("/min_payout", text, *currency);
            }
            (Ok(_), None) => {}
            (Err(e), _) => wrong.add("/currency", e.to_string()),
        }
        let program = Program {
            program_id: ProgramId::new(),
            number: 0,
            slug: self.slug.unwrap_or_else(|| slug_of(&self.name)),
            name: self.name,
            status: "active".to_owned(),
            currency: self.currency,
            landing_template: self.landing_template,
            click_id_param: self.click_id_param.unwrap_or_else(|| CLICK_ID_PARAM.to_owned()),
            allowed_hosts: self.allowed_hosts,
            allow_http: self.allow_http,
            fallback_url: self.fallback_url,
            time_zone: self.time_zone.unwrap_or_else(|| "UTC".to_owned()),
            attribution_window_days: self.attribution_window_days.unwrap_or(30),
            min_payout_minor: min_payout.map_or(0, |m| m.minor),
            created_at: now,
            updated_at: now,
        };
        check(&program, wrong)?;
        Ok(program)
    }
}

impl ProgramChanges {
    fn apply(self, p: &mut Program) -> Result<(), Problem> {
        fn set<T>(field: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *field = value;
            }
        }
        let mut wrong = Mistakes::default();
        if let Some(text) = &self.min_payout {
            let amount = wrong.amount("/min_payout", text, p.money()?);
            set(&mut p.min_payout_minor, amount.map(|m| m.minor));
        }
        set(&mut p.name, self.name);
        set(&mut p.status, self.status);
        set(&mut p.landing_template, self.landing_template);
        set(&mut p.click_id_param, self.click_id_param);
        set(&mut p.allowed_hosts, self.allowed_hosts);
        set(&mut p.allow_http, self.allow_http);
        set(&mut p.fallback_url, self.fallback_url);
        set(&mut p.time_zone, self.time_zone);
        set(&mut p.attribution_window_days, self.attribution_window_days);
        check(p, wrong)
    }
}

/// Checks everything that a program says, and ends with the mistakes found before too.
fn check(p: &Program, mut wrong: Mistakes) -> Result<(), Problem> {
    wrong.text("/name", &p.name, NAME_MAX);
    wrong.slug("/slug", &p.slug);
    wrong.one_of("/status", &p.status, &STATUSES);
    wrong.check(
        p.time_zone.parse::<Tz>().is_ok(),
        "/time_zone",
        "is not an IANA time zone such as Europe/Berlin",
    );
    let window = (1..=WINDOW_DAYS_MAX).contains(&p.attribution_window_days);
    wrong.check(window, "/attribution_window_days", "must be 1 to 3650");
    wrong.check(p.allowed_hosts.len() <= HOSTS_MAX, "/allowed_hosts", "has more than 100 hosts");
    if let Some(url) = &p.fallback_url {
        let is_web = |u: Url| matches!(u.scheme(), "http" | "https") && u.has_host();
        let fits = url.len() <= URL_LEN_MAX && Url::parse(url).is_ok_and(is_web);
        wrong.check(fits, "/fallback_url", "is not an http or https address");
    }
    let schemes = if p.allow_http { Schemes::HttpToo } else { Schemes::HttpsOnly };
    let landing = Landing::compile(
        &p.landing_template,
        &p.click_id_param,
        &p.allowed_hosts,
        schemes,
        &p.slug,
    );
    if let Err(e) = landing {
        let pointer = match e {
            BadLanding::Template(_) => "/landing_template",
            BadLanding::Host(_) => "/allowed_hosts",
            BadLanding::Param(_) => "/click_id_param",
        };
        wrong.add(pointer, e.to_string());
    }
    wrong.end()
}

fn slug_taken(error: sqlx::Error) -> Problem {
    if broken_constraint(&error) == Some("programs_slug_once") {
        return Problem::new(Code::InvalidField)
            .error("/slug", "another program has it already; give another one");
    }
    error.into()
}

/// Makes a program.
#[utoipa::path(tag = "programs", request_body = NewProgramBody, responses(
    (status = 201, body = ProgramBody), (status = 422, body = ProblemBody)))]
#[post("/v1/programs")]
async fn create_program(
    app: Data<App>,
    req: HttpRequest,
    caller: Caller<scope::ProgramsWrite>,
    body: KeyedJson<NewProgramBody>,
) -> Result<HttpResponse, Problem> {
    if caller.programs.is_some() {
        return Err(Problem::new(Code::InsufficientScope)
            .detail("A key that reaches some programs only cannot make another one."));
    }
    let now = app.clock.now();
    let mut program = body.value.into_program(now)?;
    let id = program.program_id;
    let entry = Entry::by(&caller, "program.create", id)
        .program(id)
        .details(json!({"name": program.name, "slug": program.slug}))
        .request(&caller.request_id);
    let answer = once(&app, &req, &caller, KeyRule::Optional, &body.bytes, async move |db| {
        program.number = store::insert_program(db, &program, now).await.map_err(slug_taken)?;
        audit_store::record(db, entry, now).await?;
        Ok(Answer::created(format!("/v1/programs/{id}"), ProgramBody::try_from(program)?))
    })
    .await?;
    app.keeper.refresh_soon().await;
    Ok(answer)
}

/// Lists the programs that the key reaches.
#[utoipa::path(tag = "programs", params(PageQuery),
    responses((status = 200, body = Page<ProgramBody>)))]
#[get("/v1/programs")]
async fn list_programs(
    app: Data<App>,
    caller: Caller<scope::ProgramsRead>,
    page: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let (limit, after) = (page.limit()?, page.after()?);
    let (db, only) = (app.db.clone(), caller.programs.clone());
    let rows = detached(async move {
        let mut db = db.acquire().await?;
        Ok(store::list_programs(&mut db, only.as_deref(), after, i64::from(limit) + 1).await?)
    })
    .await?;
    let page = Page::new(rows, limit, |p| p.program_id);
    let data: Result<Vec<_>, Problem> = page.data.into_iter().map(ProgramBody::try_from).collect();
    let (has_more, next_cursor) = (page.has_more, page.next_cursor);
    Ok(HttpResponse::Ok().json(Page { data: data?, has_more, next_cursor }))
}

/// Shows a program.
#[utoipa::path(tag = "programs", responses(
    (status = 200, body = ProgramBody), (status = 404, body = ProblemBody)))]
#[get("/v1/programs/{id}")]
async fn get_program(
    app: Data<App>,
    caller: Caller<scope::ProgramsRead>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id: ProgramId = path_id(&id)?;
    caller.check_reach(id)?;
    let db = app.db.clone();
    let found = detached(async move {
        let mut db = db.acquire().await?;
        Ok(store::find_program(&mut db, id).await?)
    })
    .await?;
    let program = found.ok_or_else(|| Problem::new(Code::NotFound))?;
    Ok(HttpResponse::Ok().json(ProgramBody::try_from(program)?))
}

/// Changes a program; links already published follow at once.
#[utoipa::path(tag = "programs", request_body = ProgramChanges, responses(
    (status = 200, body = ProgramBody), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[patch("/v1/programs/{id}")]
async fn update_program(
    app: Data<App>,
    caller: Caller<scope::ProgramsWrite>,
    id: Path<String>,
    body: StrictJson<ProgramChanges>,
) -> Result<HttpResponse, Problem> {
    let id: ProgramId = path_id(&id)?;
    caller.check_reach(id)?;
    let now = app.clock.now();
    let entry = Entry::by(&caller, "program.update", id).program(id).request(&caller.request_id);
    let policy_id = AttributionPolicyId::new();
    let published = Entry::by(&caller, "attribution_policy.publish", policy_id)
        .program(id)
        .request(&caller.request_id);
    let user_id = caller.user_id;
    let program = transact(&app.db, async move |db| {
        let found = store::lock_program(db, id).await?;
        let mut program = found.ok_or_else(|| Problem::new(Code::NotFound))?;
        let (before, window_days) = (details(&program), program.attribution_window_days);
        body.0.apply(&mut program)?;
        program.updated_at = now;
        store::update_program(db, &program, now).await?;
        if program.attribution_window_days != window_days {
            let document = publish_window(db, &program, (policy_id, user_id), now).await?;
            let published = published.details(json!({"effective_from": now, "document": document}));
            audit_store::record(db, published, now).await?;
        }
        let entry = entry.details(json!({"before": before, "after": details(&program)}));
        audit_store::record(db, entry, now).await?;
        Ok(program)
    })
    .await?;
    app.keeper.refresh_soon().await;
    Ok(HttpResponse::Ok().json(ProgramBody::try_from(program)?))
}

/// Publishes the latest edition of the attribution policy again, with the program's window.
async fn publish_window(
    db: &mut DbTx,
    program: &Program,
    (policy_id, user_id): (AttributionPolicyId, UserId),
    now: Timestamp,
) -> Result<PolicyDocument, Problem> {
    let latest = attribution::store::latest(db, program.program_id).await?;
    let document = latest.map(|latest| latest.document).unwrap_or_default();
    let row = PolicyRow {
        program_id: program.program_id,
        policy_id,
        effective_from: now,
        document: PolicyDocument { window_days: program.attribution_window_days, ..document },
        created_at: now,
    };
    add_edition(db, &row, user_id, now).await.map_err(|refused| match refused {
        Refused::Date(_) => Problem::new(Code::InvalidField).error(
            "/attribution_window_days",
            "cannot change now: the latest edition of the attribution policy begins now or later; \
             publish another one after it",
        ),
        Refused::Other(problem) => problem,
    })?;
    Ok(row.document)
}

/// Returns what the audit log keeps of a program.
fn details(p: &Program) -> serde_json::Value {
    json!({
        "name": p.name,
        "status": p.status,
        "landing_template": p.landing_template,
        "click_id_param": p.click_id_param,
        "allowed_hosts": p.allowed_hosts,
        "allow_http": p.allow_http,
        "fallback_url": p.fallback_url,
        "time_zone": p.time_zone,
        "attribution_window_days": p.attribution_window_days,
        "min_payout_minor": p.min_payout_minor,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new_program(changes: serde_json::Value) -> Result<Program, Problem> {
        let mut body = json!({
            "name": "Coffee & Tea", "currency": "EUR",
            "landing_template": "https://shop.example/?click_id={click_id}",
        });
        let fields = changes.as_object().cloned().unwrap_or_default();
        body.as_object_mut().unwrap().extend(fields);
        let body: NewProgramBody = serde_json::from_value(body).unwrap();
        body.into_program(Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn what_is_not_given_has_the_documented_default() {
        let p = new_program(json!({"min_payout": "25.00"})).unwrap();
        assert_eq!((p.slug.as_str(), p.click_id_param.as_str()), ("coffee-tea", "click_id"));
        assert_eq!((p.time_zone.as_str(), p.attribution_window_days), ("UTC", 30));
        assert_eq!((p.status.as_str(), p.min_payout_minor), ("active", 2500));
    }

    #[test]
    fn each_wrong_term_is_refused_at_its_place() {
        for (changes, pointer) in [
            (json!({"name": ""}), "/name"),
            (json!({"name": "Магазин"}), "/slug"),
            (json!({"slug": "UPPER"}), "/slug"),
            (json!({"currency": "EURO"}), "/currency"),
            (json!({"landing_template": "http://shop.example/"}), "/landing_template"),
            (json!({"landing_template": "https://shop.example/?a={bad}"}), "/landing_template"),
            (json!({"click_id_param": "a b"}), "/click_id_param"),
            (json!({"allowed_hosts": ["*.example"]}), "/allowed_hosts"),
            (json!({"fallback_url": "javascript:alert(1)"}), "/fallback_url"),
            (json!({"time_zone": "Berlin"}), "/time_zone"),
            (json!({"attribution_window_days": 0}), "/attribution_window_days"),
            (json!({"min_payout": "2.555"}), "/min_payout"),
        ] {
            let problem = new_program(changes.clone()).expect_err(&changes.to_string());
            let at: Vec<&str> = problem.errors().iter().map(|e| e.pointer.as_str()).collect();
            assert!(at.contains(&pointer), "{changes}: {at:?}");
        }
    }

    #[test]
    fn a_change_keeps_what_it_does_not_name() {
        let mut p = new_program(json!({"fallback_url": "https://shop.example/sorry"})).unwrap();
        let changes = json!({"status": "paused", "fallback_url": null, "min_payout": "1"});
        serde_json::from_value::<ProgramChanges>(changes).unwrap().apply(&mut p).unwrap();
        assert_eq!(
            (p.status.as_str(), &p.fallback_url, p.min_payout_minor),
            ("paused", &None, 100)
        );
        assert_eq!(p.name, "Coffee & Tea");
        let bad = serde_json::from_value::<ProgramChanges>(json!({"status": "gone"})).unwrap();
        assert_eq!(bad.apply(&mut p).unwrap_err().errors()[0].pointer, "/status");
    }
}
