//! The routes of links.

#![expect(unused_qualifications, reason = "utoipa repeats the types of two queries")]

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse, get, patch, post};
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::{Url, form_urlencoded};
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::account::audit_store::{self, Entry};
use crate::account::http::scope::Own;
use crate::account::http::{Caller, scope};
use crate::account::once_http::{Answer, KeyRule, once};
use crate::app::App;
use crate::clock::Timestamp;
use crate::ids::{LinkId, LinkNo, PartnerId, PartnerNo, ProgramId, ProgramNo};
use crate::link::destination::{Landing, Visit, destination};
use crate::link::parameters::{SUB_LEN_MAX, SubIdPii};
use crate::link::store::{self, Link, PartnerTerms, ProgramTerms};
use crate::link::template::Schemes;
use crate::link::token::LinkToken;
use crate::web::fields::{KeyedJson, Mistakes, NAME_MAX, path_id};
use crate::web::{
    Code, Page, PageQuery, Problem, ProblemBody, Query, StrictJson, detached, transact,
};

const STATUSES: [&str; 2] = ["active", "paused"];
const ERID_MAX: usize = 128;

/// Adds the routes of links.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(create_link).service(list_links).service(get_link).service(update_link);
}

/// A link to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewLinkBody {
    /// The program that it leads to.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// Who promotes with it.
    #[schema(value_type = String)]
    pub partner_id: PartnerId,
    /// What the partner calls it.
    #[serde(default)]
    #[schema(example = "sidebar banner")]
    pub label: String,
    /// The partner's own label, at most 128 bytes.
    pub sub1: Option<String>,
    /// The partner's own label, at most 128 bytes.
    pub sub2: Option<String>,
    /// The partner's own label, at most 128 bytes.
    pub sub3: Option<String>,
    /// The partner's own label, at most 128 bytes.
    pub sub4: Option<String>,
    /// The partner's own label, at most 128 bytes.
    pub sub5: Option<String>,
    /// Token of a marked advertisement.
    pub erid: Option<String>,
    /// Last day (UTC) on which it leads to the landing page; for ever where it is not given.
    #[schema(value_type = Option<String>)]
    pub expires_on: Option<NaiveDate>,
}

/// What is to change of a link; what is not given stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkChanges {
    /// What the partner calls it.
    pub label: Option<String>,
    /// `active` or `paused`: visitors of a paused link go to the fallback.
    pub status: Option<String>,
}

/// Which links to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LinkFilter {
    /// The program.
    #[param(value_type = String)]
    pub program_id: ProgramId,
    /// Only those of this partner.
    #[param(value_type = Option<String>)]
    pub partner_id: Option<PartnerId>,
}

/// A link as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct LinkBody {
    /// Its id.
    #[schema(value_type = String)]
    pub id: LinkId,
    /// Its number in the token.
    pub number: i64,
    /// The program that it leads to.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// Who promotes with it.
    #[schema(value_type = String)]
    pub partner_id: PartnerId,
    /// What the partner calls it.
    pub label: String,
    /// The address to publish.
    pub url: String,
    /// Where it leads, without a click id.
    pub destination: String,
    /// The link as HTML.
    pub snippet: String,
    /// The partner's own label.
    pub sub1: Option<String>,
    /// The partner's own label.
    pub sub2: Option<String>,
    /// The partner's own label.
    pub sub3: Option<String>,
    /// The partner's own label.
    pub sub4: Option<String>,
    /// The partner's own label.
    pub sub5: Option<String>,
    /// Token of a marked advertisement.
    pub erid: Option<String>,
    /// Last day on which it leads to the landing page.
    #[schema(value_type = Option<String>)]
    pub expires_on: Option<NaiveDate>,
    /// `active` or `paused`.
    pub status: String,
    /// When it was made.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
}

impl NewLinkBody {
    fn into_link(self, now: Timestamp) -> Result<Link, Problem> {
        let mut wrong = Mistakes::default();
        if !self.label.is_empty() {
            wrong.text("/label", &self.label, NAME_MAX);
        }
        let subs = [self.sub1, self.sub2, self.sub3, self.sub4, self.sub5];
        for (pointer, sub) in ["/sub1", "/sub2", "/sub3", "/sub4", "/sub5"].into_iter().zip(&subs) {
            let is_good = |sub: &String| {
                (1..=SUB_LEN_MAX).contains(&sub.len()) && !sub.chars().any(char::is_control)
            };
            let fits = sub.as_ref().is_none_or(is_good);
            wrong.check(fits, pointer, "must have 1 to 128 bytes, no control characters");
        }
        let is_erid = |erid: &String| {
            let is_letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
            (1..=ERID_MAX).contains(&erid.len()) && erid.bytes().all(is_letter)
        };
        let fits = self.erid.as_ref().is_none_or(is_erid);
        wrong.check(fits, "/erid", "must have 1 to 128 characters of a-z, A-Z, 0-9, - and _");
        let is_future = self.expires_on.is_none_or(|day| day >= now.date_naive());
        wrong.check(is_future, "/expires_on", "is in the past");
        wrong.end()?;
        Ok(Link {
            program_id: self.program_id,
            link_id: LinkId::new(),
            partner_id: self.partner_id,
            number: 0,
            label: self.label,
            subs,
            erid: self.erid,
            expires_on: self.expires_on,
            status: "active".to_owned(),
            created_at: now,
        })
    }
}

/// Returns the parameters that a link carries, without `?`.
fn query_of(link: &Link) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, sub) in ["sub1", "sub2", "sub3", "sub4", "sub5"].into_iter().zip(&link.subs) {
        if let Some(sub) = sub {
            query.append_pair(name, sub);
        }
    }
    if let Some(erid) = &link.erid {
        query.append_pair("erid", erid);
    }
    query.finish()
}

fn address(public_url: &Url, token: &str, query: &str) -> String {
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{}/r/{token}{mark}{query}", public_url.as_str().trim_end_matches('/'))
}

/// Writes a link as HTML. `sponsored` is what search engines ask paid links to say.
fn snippet(url: &str, text: &str) -> String {
    format!(r#"<a rel="sponsored noopener" href="{}">{}</a>"#, escape(url), escape(text))
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// Compiles a program's terms of landing, which were checked when it was saved.
fn landing_of(program: &ProgramTerms) -> Result<Landing, Problem> {
    let schemes = if program.allow_http { Schemes::HttpToo } else { Schemes::HttpsOnly };
    Landing::compile(
        &program.landing_template,
        &program.click_id_param,
        &program.allowed_hosts,
        schemes,
        &program.slug,
    )
    .map_err(Problem::internal)
}

/// Shows links of one program and one partner.
struct Signer<'a> {
    app: &'a App,
    program: &'a ProgramTerms,
    landing: Landing,
}

impl<'a> Signer<'a> {
    fn new(app: &'a App, program: &'a ProgramTerms) -> Result<Self, Problem> {
        Ok(Self { app, program, landing: landing_of(program)? })
    }

    fn show(&self, link: Link, partner: &PartnerTerms) -> Result<LinkBody, Problem> {
        let number = |n: i64| u32::try_from(n).map_err(Problem::internal);
        let token = LinkToken {
            program: ProgramNo(number(self.program.number.into())?),
            partner: PartnerNo(number(partner.number)?),
            link: LinkNo(number(link.number)?),
            expires_on: link.expires_on,
        };
        let text = token
            .sign(&self.app.link_keys.issued)
            .map_err(|e| Problem::new(Code::InvalidField).error("/expires_on", e.to_string()))?;
        let query = query_of(&link);
        let url = address(&self.app.config.public_url, &text, &query);
        let visit = Visit {
            query: &query,
            click_id: None,
            partner: token.partner,
            partner_slug: &partner.slug,
            link: token.link,
            at: self.app.clock.now(),
        };
        let destination = destination(&self.landing, &visit, SubIdPii::Reject).location;
        let name = if link.label.is_empty() { &self.program.name } else { &link.label };
        let [sub1, sub2, sub3, sub4, sub5] = link.subs;
        Ok(LinkBody {
            id: link.link_id,
            number: link.number,
            program_id: link.program_id,
            partner_id: link.partner_id,
            snippet: snippet(&url, name),
            url,
            destination,
            label: link.label,
            sub1,
            sub2,
            sub3,
            sub4,
            sub5,
            erid: link.erid,
            expires_on: link.expires_on,
            status: link.status,
            created_at: link.created_at,
        })
    }
}

/// Loads what is needed to show links, and shows them.
async fn show_all(
    app: &App,
    db: &mut sqlx::PgConnection,
    program_id: ProgramId,
    links: Vec<Link>,
) -> Result<Vec<LinkBody>, Problem> {
    let program = store::find_program_terms(db, program_id).await?;
    let program = program.ok_or_else(|| Problem::new(Code::NotFound))?;
    let ids: Vec<PartnerId> = links.iter().map(|l| l.partner_id).collect();
    let partners = store::load_partner_terms(db, &ids).await?;
    let signer = Signer::new(app, &program)?;
    links
        .into_iter()
        .map(|link| {
            let partner = partners.get(&link.partner_id);
            signer.show(link, partner.ok_or_else(|| Problem::new(Code::NotFound))?)
        })
        .collect()
}

async fn show_one(app: &App, db: &mut sqlx::PgConnection, link: Link) -> Result<LinkBody, Problem> {
    let mut shown = show_all(app, db, link.program_id, vec![link]).await?;
    shown.pop().ok_or_else(|| Problem::new(Code::NotFound))
}

fn reached<S>(caller: &Caller<Own<S>>, found: Option<Link>) -> Result<Link, Problem> {
    let link = found.ok_or_else(|| Problem::new(Code::NotFound))?;
    caller.check_own(link.program_id, link.partner_id)?;
    Ok(link)
}

/// Makes a link.
#[utoipa::path(tag = "links", request_body = NewLinkBody, responses(
    (status = 201, body = LinkBody), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[post("/v1/links")]
async fn create_link(
    app: Data<App>,
    req: HttpRequest,
    caller: Caller<Own<scope::LinksWrite>>,
    body: KeyedJson<NewLinkBody>,
) -> Result<HttpResponse, Problem> {
    caller.check_own(body.value.program_id, body.value.partner_id)?;
    let now = app.clock.now();
    let mut link = body.value.into_link(now)?;
    let id = link.link_id;
    let entry = Entry::by(&caller, "link.create", id)
        .program(link.program_id)
        .details(json!({"partner_id": link.partner_id, "label": link.label}))
        .request(&caller.request_id);
    let shared = app.clone();
    once(&app, &req, &caller, KeyRule::Optional, &body.bytes, async move |db| {
        let number = store::take_number(db, link.program_id, link.partner_id).await?;
        link.number = number.ok_or_else(|| {
            Problem::new(Code::InvalidField)
                .error("/partner_id", "has no active enrollment in this program")
        })?;
        store::insert_link(db, &link).await?;
        audit_store::record(db, entry, now).await?;
        Ok(Answer::created(format!("/v1/links/{id}"), show_one(&shared, db, link).await?))
    })
    .await
}

/// Lists the links of a program.
#[utoipa::path(tag = "links", params(LinkFilter, PageQuery), responses(
    (status = 200, body = Page<LinkBody>), (status = 404, body = ProblemBody)))]
#[get("/v1/links")]
async fn list_links(
    app: Data<App>,
    caller: Caller<Own<scope::LinksRead>>,
    filter: Query<LinkFilter>,
    page: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let LinkFilter { program_id, partner_id } = filter.into_inner();
    caller.check_reach(program_id)?;
    let partner_id = caller.whose(partner_id)?;
    let (limit, after) = (page.limit()?, page.after()?);
    let page = detached(async move {
        let mut db = app.db.acquire().await?;
        let rows =
            store::list_links(&mut db, program_id, partner_id, after, i64::from(limit) + 1).await?;
        let page = Page::new(rows, limit, |link| link.link_id);
        let data = show_all(&app, &mut db, program_id, page.data).await?;
        Ok(Page { data, has_more: page.has_more, next_cursor: page.next_cursor })
    })
    .await?;
    Ok(HttpResponse::Ok().json(page))
}

/// Shows a link.
#[utoipa::path(tag = "links", responses(
    (status = 200, body = LinkBody), (status = 404, body = ProblemBody)))]
#[get("/v1/links/{id}")]
async fn get_link(
    app: Data<App>,
    caller: Caller<Own<scope::LinksRead>>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id: LinkId = path_id(&id)?;
    let answer = detached(async move {
        let mut db = app.db.acquire().await?;
        let link = reached(&caller, store::find_link(&mut db, id).await?)?;
        show_one(&app, &mut db, link).await
    })
    .await?;
    Ok(HttpResponse::Ok().json(answer))
}

/// Renames, pauses or resumes a link.
#[utoipa::path(tag = "links", request_body = LinkChanges, responses(
    (status = 200, body = LinkBody), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[patch("/v1/links/{id}")]
async fn update_link(
    app: Data<App>,
    caller: Caller<Own<scope::LinksWrite>>,
    id: Path<String>,
    body: StrictJson<LinkChanges>,
) -> Result<HttpResponse, Problem> {
    let id: LinkId = path_id(&id)?;
    let LinkChanges { label, status } = body.0;
    let mut wrong = Mistakes::default();
    if let Some(label) = label.as_ref().filter(|label| !label.is_empty()) {
        wrong.text("/label", label, NAME_MAX);
    }
    if let Some(status) = &status {
        wrong.one_of("/status", status, &STATUSES);
    }
    wrong.end()?;
    let now = app.clock.now();
    let shared = app.clone();
    let answer = transact(&app.db, async move |db| {
        let mut link = reached(&caller, store::lock_link(db, id).await?)?;
        let details = json!({"from": [link.label, link.status], "to": [label, status]});
        link.label = label.unwrap_or(link.label);
        link.status = status.unwrap_or(link.status);
        store::update_link(db, &link, now).await?;
        let entry = Entry::by(&caller, "link.update", id)
            .program(link.program_id)
            .details(details)
            .request(&caller.request_id);
        audit_store::record(db, entry, now).await?;
        show_one(&shared, db, link).await
    })
    .await?;
    app.keeper.refresh_soon().await;
    Ok(HttpResponse::Ok().json(answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(changes: serde_json::Value) -> Result<Link, Problem> {
        let mut body = json!({"program_id": ProgramId::new(), "partner_id": PartnerId::new()});
        body.as_object_mut().unwrap().extend(changes.as_object().cloned().unwrap_or_default());
        let body: NewLinkBody = serde_json::from_value(body).unwrap();
        body.into_link("2026-11-22T10:00:00Z".parse().unwrap())
    }

    #[test]
    fn the_address_carries_what_the_row_says() {
        let base = Url::parse("https://go.example/x/").unwrap();
        let plain = link(json!({})).unwrap();
        assert_eq!(address(&base, "TOKEN", &query_of(&plain)), "https://go.example/x/r/TOKEN");
        let full = link(json!({"sub1": "a b&c", "sub3": "ä", "erid": "2Vtz"})).unwrap();
        assert_eq!(
            address(&base, "TOKEN", &query_of(&full)),
            "https://go.example/x/r/TOKEN?sub1=a+b%26c&sub3=%C3%A4&erid=2Vtz"
        );
    }

    #[test]
    fn a_snippet_cannot_be_broken_out_of() {
        assert_eq!(
            snippet("https://go.example/r/T?a=1&b=2", r#""><script>x</script>'"#),
            "<a rel=\"sponsored noopener\" href=\"https://go.example/r/T?a=1&amp;b=2\">\
             &quot;&gt;&lt;script&gt;x&lt;/script&gt;&#39;</a>"
        );
    }

    #[test]
    fn what_a_link_cannot_carry_is_refused_at_its_place() {
        assert!(link(json!({"sub1": "x".repeat(128), "expires_on": "2026-11-22"})).is_ok());
        for (changes, pointer) in [
            (json!({"sub2": "x".repeat(129)}), "/sub2"),
            (json!({"sub3": ""}), "/sub3"),
            (json!({"sub4": "a\nb"}), "/sub4"),
            (json!({"erid": "a b"}), "/erid"),
            (json!({"expires_on": "2026-11-21"}), "/expires_on"),
            (json!({"label": "\u{0}"}), "/label"),
        ] {
            let problem = link(changes.clone()).expect_err(&changes.to_string());
            assert_eq!(problem.errors()[0].pointer, pointer);
        }
    }
}
