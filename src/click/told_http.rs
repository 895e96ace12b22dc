//! `POST /v1/clicks`: clicks that an app, a bot or a site tells of, because it cannot redirect.
//!
//! The caller says what our redirect would have seen, and gets the signed click id and the address
//! to open. What the link says is checked as for a visitor; the click goes the same way to the
//! stream and is settled once. With an `id` and a time the same call again names the same click.

use std::net::{IpAddr, Ipv4Addr};

use actix_web::web::Data;
use actix_web::{HttpResponse, post};
use chrono::Duration;
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::http::{PREFIX, check_link, pii_mode, subid_key};
use crate::account::http::{Caller, scope};
use crate::app::App;
use crate::click::classify::{RequestHead, classify};
use crate::click::click_id::ClickId;
use crate::click::visitor::{Visitor, referrer_host};
use crate::clock::Timestamp;
use crate::config::GpcMode;
use crate::link::destination::{Visit, destination};
use crate::link::paid::AdNetwork;
use crate::link::token::LinkToken;
use crate::metrics as metric;
use crate::snapshot::Snapshot;
use crate::stream::{ClickRecord, PackedBatch};
use crate::telemetry;
use crate::web::problem::FieldError;
use crate::web::{Code, Problem, ProblemBody, StrictJson};

/// Clicks in one call.
const BATCH_MAX: usize = 100;
/// A click that was not told of for so long is none any more.
const BACK_MAX: Duration = Duration::hours(24);
/// Clocks differ a little.
const AHEAD_MAX: Duration = Duration::minutes(5);
const ID_LEN_MAX: usize = 64;
const VISITOR_LEN_MAX: usize = 256;
const RETRY_AFTER_S: u32 = 5;

/// Adds the routes.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(tell_click).service(tell_clicks);
}

/// A click as its teller saw it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ToldClick {
    /// The link, with its parameters (`url`, `sub1` …), or its token alone.
    #[schema(example = "https://go.example/r/AbC…?sub1=banner")]
    pub link: String,
    /// The teller's own name of the click, 1 to 64 characters. With `at`, the same click told again
    /// is the same click.
    pub id: Option<String>,
    /// When the person clicked; now, if absent. At most 24 hours ago.
    #[schema(value_type = Option<String>)]
    pub at: Option<Timestamp>,
    /// The person's `User-Agent`.
    pub user_agent: Option<String>,
    /// The person's address; used for the day's visitor tag and not kept.
    #[schema(value_type = Option<String>)]
    pub ip: Option<IpAddr>,
    /// A device or session of the teller in place of an address; not kept either.
    pub visitor: Option<String>,
    /// The page that the link stood on; its host is kept.
    pub referrer: Option<String>,
    /// The person's country, ISO 3166-1 alpha-2.
    #[schema(example = "DE")]
    pub country: Option<String>,
    /// The person asked not to be recognized (`Sec-GPC: 1`).
    #[serde(default)]
    pub gpc: bool,
}

/// Clicks, up to 100.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ToldClicks {
    /// The clicks.
    pub clicks: Vec<ToldClick>,
}

/// What a told click came to.
#[derive(Debug, Serialize, ToSchema)]
pub struct NamedClick {
    /// The signed id that a conversion brings back; null where no person clicked.
    pub click_id: Option<String>,
    /// The address to open.
    pub location: String,
    /// `human`, `suspect`, `bot` or `preview`.
    #[schema(value_type = String)]
    pub class: &'static str,
    /// Why.
    #[schema(value_type = String)]
    pub reason: &'static str,
}

/// What one click of a batch came to: a click, or what is wrong with it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum ToldAnswer {
    /// Durable.
    Kept(NamedClick),
    /// Nothing was kept.
    Refused {
        /// What is wrong.
        errors: Vec<FieldError>,
    },
}

/// The answers of a batch, in the order of its clicks.
#[derive(Debug, Serialize, ToSchema)]
pub struct ToldAnswers {
    /// One for each click.
    pub data: Vec<ToldAnswer>,
    /// How many were kept.
    pub n_kept: usize,
}

/// Tells of one click; it is durable when the answer comes.
#[utoipa::path(tag = "clicks", request_body = ToldClick, responses(
    (status = 201, body = NamedClick), (status = 422, body = ProblemBody),
    (status = 503, body = ProblemBody)))]
#[post("/v1/clicks")]
async fn tell_click(
    app: Data<App>,
    caller: Caller<scope::ClicksWrite>,
    body: StrictJson<ToldClick>,
) -> Result<HttpResponse, Problem> {
    let teller = Teller::new(&app, &caller);
    let (record, answer) = teller.read(&body.0).map_err(|errors| {
        let problem = Problem::new(Code::InvalidField);
        errors.into_iter().fold(problem, |problem, e| problem.error(e.pointer, e.detail))
    })?;
    keep(&app, &[record]).await?;
    Ok(HttpResponse::Created().json(answer))
}

/// Tells of up to 100 clicks; each is judged by itself, and those kept are durable when the answer
/// comes.
#[utoipa::path(tag = "clicks", request_body = ToldClicks, responses(
    (status = 200, body = ToldAnswers), (status = 422, body = ProblemBody),
    (status = 503, body = ProblemBody)))]
#[post("/v1/clicks/batch")]
async fn tell_clicks(
    app: Data<App>,
    caller: Caller<scope::ClicksWrite>,
    body: StrictJson<ToldClicks>,
) -> Result<HttpResponse, Problem> {
    if !(1..=BATCH_MAX).contains(&body.0.clicks.len()) {
        return Err(Problem::new(Code::InvalidField).error("/clicks", "must have 1 to 100 clicks"));
    }
    let teller = Teller::new(&app, &caller);
    let mut records = Vec::with_capacity(body.0.clicks.len());
    let mut data = Vec::with_capacity(body.0.clicks.len());
    for click in &body.0.clicks {
        data.push(match teller.read(click) {
            Ok((record, answer)) => {
                records.push(record);
                ToldAnswer::Kept(answer)
            }
            Err(errors) => ToldAnswer::Refused { errors },
        });
    }
    keep(&app, &records).await?;
    Ok(HttpResponse::Ok().json(ToldAnswers { data, n_kept: records.len() }))
}

async fn keep(app: &App, records: &[ClickRecord]) -> Result<(), Problem> {
    let mut batch = PackedBatch::new();
    for record in records {
        batch.push_click(record);
    }
    if batch.is_empty() {
        return Ok(());
    }
    app.append(&batch).await.map(drop).map_err(|error| {
        let causes = telemetry::with_causes(&error);
        tracing::error!("{} told clicks could not be kept: {causes}", records.len());
        Problem::new(Code::Unavailable)
            .detail("The clicks could not be stored; tell of them again.")
            .retry_after(RETRY_AFTER_S)
    })
}

/// What told clicks are read with.
struct Teller<'a> {
    app: &'a App,
    caller: &'a crate::account::Caller,
    snapshot: std::sync::Arc<Snapshot>,
    subid_key: crate::signing::Key,
    now: Timestamp,
}

impl<'a> Teller<'a> {
    fn new(app: &'a App, caller: &'a crate::account::Caller) -> Self {
        let snapshot = arc_swap::Guard::into_inner(app.snapshot.load());
        Self { app, caller, snapshot, subid_key: subid_key(app), now: app.clock.now() }
    }

    /// Reads a click, or says what is wrong with each field.
    fn read(&self, told: &ToldClick) -> Result<(ClickRecord, NamedClick), Vec<FieldError>> {
        let mut errors = self.check_fields(told);
        let (text, query) = split_link(&told.link);
        let today = self.now.date_naive();
        let epochs = |program, partner| self.snapshot.mint_epochs(program, partner, self.now);
        let verified = LinkToken::verify(&self.app.link_keys, text, today, epochs);
        let link = check_link(text, verified, &self.snapshot);
        let reached = link.as_ref().is_ok_and(|(_, p)| self.caller.reaches(p.program_id));
        let wrong = match &link {
            Err(dead) => Some(format!("is not a live link of ours ({})", dead.reason)),
            Ok(_) if !reached => Some("is a link of a program that the key does not reach".into()),
            Ok(_) => None,
        };
        errors.extend(wrong.map(|detail| FieldError { pointer: "/link".into(), detail }));
        let (Ok((token, program)), true) = (link, errors.is_empty()) else { return Err(errors) };
        let Some(partner) = self.snapshot.partner(token.partner) else { return Err(errors) };
        let head = RequestHead {
            method: "GET",
            user_agent: told.user_agent.as_deref(),
            sec_gpc: told.gpc.then_some("1"),
            ..RequestHead::default()
        };
        let verdict = classify(&head);
        metrics::counter!(metric::CLICKS, "class" => verdict.class.as_str()).increment(1);
        let at = told.at.unwrap_or(self.now);
        let random = told.id.as_deref().map_or_else(rand::random, |id| self.name(id));
        let click_id = ClickId::new(at, token.program, token.partner, token.link, random);
        let config = &self.app.config;
        let signed = verdict.class.is_click().then(|| click_id.sign(&config.click_keys));
        let visit = Visit {
            query,
            click_id: signed.as_ref().map(|id| id.as_str()),
            partner: token.partner,
            partner_slug: &partner.slug,
            link: token.link,
            at,
        };
        let to = destination(&program.landing, &visit, pii_mode(config.subid_pii, &self.subid_key));
        let is_gpc = told.gpc && config.gpc_mode == GpcMode::Minimal;
        let country = told.country.as_ref().and_then(|c| c.as_bytes().first_chunk().copied());
        let record = ClickRecord {
            payload: click_id.payload(),
            class: verdict.class.code(),
            reason: verdict.reason.code(),
            device: verdict.device.code(),
            browser: verdict.browser.code(),
            is_unique_candidate: true,
            is_qr: to.qr,
            is_gpc,
            paid: to.paid.map_or(0, AdNetwork::code),
            visitor: self.visitor_tag(told, token.program, is_gpc, at),
            country,
            referrer_host: told.referrer.as_deref().and_then(referrer_host),
            subs: to.subs,
            erid: to.erid,
            landing: to.page,
        };
        let answer = NamedClick {
            click_id: signed.map(|id| id.as_str().to_owned()),
            location: to.location,
            class: verdict.class.as_str(),
            reason: verdict.reason.as_str(),
        };
        Ok((record, answer))
    }

    fn check_fields(&self, told: &ToldClick) -> Vec<FieldError> {
        let is_name = |text: &str, max: usize| !text.is_empty() && text.len() <= max;
        let span = self.now - BACK_MAX..=self.now + AHEAD_MAX;
        let checks = [
            (
                told.id.as_deref().is_none_or(|id| is_name(id, ID_LEN_MAX)),
                "/id",
                "must have 1 to 64 bytes",
            ),
            (
                told.id.is_none() || told.at.is_some(),
                "/at",
                "is required with an id: the same click told again has the same time",
            ),
            (
                told.at.is_none_or(|at| span.contains(&at)),
                "/at",
                "must be at most 24 hours ago and not in the future",
            ),
            (
                told.visitor.as_deref().is_none_or(|v| is_name(v, VISITOR_LEN_MAX)),
                "/visitor",
                "must have 1 to 256 bytes",
            ),
            (
                told.country.as_deref().is_none_or(is_country),
                "/country",
                "must be two capital letters, such as DE",
            ),
        ];
        let wrong = checks.into_iter().filter(|(fits, ..)| !fits);
        wrong
            .map(|(_, pointer, detail)| FieldError {
                pointer: pointer.into(),
                detail: detail.into(),
            })
            .collect()
    }

    /// Derives what tells this click from others of the same link and millisecond.
    fn name(&self, id: &str) -> [u8; 5] {
        let parts: [&[u8]; 3] = [b"told", self.caller.user_id.0.as_bytes(), id.as_bytes()];
        let hash = self.subid_key.hmac(&parts);
        [hash[0], hash[1], hash[2], hash[3], hash[4]]
    }

    /// Without an address or a visitor nobody is recognized, and each click counts.
    fn visitor_tag(
        &self,
        told: &ToldClick,
        program: crate::ids::ProgramNo,
        gpc: bool,
        at: Timestamp,
    ) -> Option<[u8; 8]> {
        let agent = match (&told.visitor, told.ip) {
            (Some(visitor), _) => visitor.as_str(),
            (None, Some(_)) => told.user_agent.as_deref().unwrap_or_default(),
            (None, None) => return None,
        };
        let ip = told.ip.filter(|_| told.visitor.is_none());
        let ip = ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let visitor = Visitor { program, ip, agent, gpc };
        visitor.tag(&self.app.salts.of(at.date_naive())).map(|tag| tag.0)
    }
}

fn is_country(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|b| b.is_ascii_uppercase())
}

/// Splits a link, or a token, from its parameters.
fn split_link(link: &str) -> (&str, &str) {
    let link = link.split('#').next().unwrap_or_default();
    let (path, query) = link.split_once('?').unwrap_or((link, ""));
    let is_address = Url::parse(path).is_ok();
    let token = if is_address { path.split_once(PREFIX).map_or("", |(_, t)| t) } else { path };
    (token, query)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_read_as_address_or_token() {
        for (link, parts) in [
            ("https://go.example/r/AbC?sub1=x#top", ("AbC", "sub1=x")),
            ("http://localhost:8080/r/AbC", ("AbC", "")),
            ("AbC?url=https%3A%2F%2Fshop.example", ("AbC", "url=https%3A%2F%2Fshop.example")),
            ("AbC", ("AbC", "")),
            ("https://go.example/elsewhere", ("", "")),
        ] {
            assert_eq!(split_link(link), parts, "{link}");
        }
    }
}
