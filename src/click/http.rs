//! `GET /r/{token}`: the redirect.
//!
//! `server` asks for it before a route is matched or a middleware runs, because the visitor waits; no
//! store is asked. Everything it needs is in the token, in the snapshot and in the keys. The answer
//! leaves when the click is durable, and a visitor always gets one: whatever is wrong with the link,
//! he is sent to a page that helps.

use std::cell::RefCell;
use std::net::IpAddr;

use actix_web::http::header::{HeaderName, REFERER, USER_AGENT};
use actix_web::web::Data;
use metrics::Counter;

use crate::app::App;
use crate::click::answer_http::Answer;
use crate::click::classify::{Class, Classifier, RequestHead, Verdict};
use crate::click::click_id::ClickId;
use crate::click::visitor::{Visitor, referrer_host};
use crate::clock::Timestamp;
use crate::config::{GpcMode, SubIdPii as PiiMode};
use crate::link::destination::{Visit, destination};
use crate::link::paid::AdNetwork;
use crate::link::parameters::SubIdPii;
use crate::link::token::{LinkToken, ProvenLinks, TokenError, claimed};
use crate::metrics as metric;
use crate::signing::{Key, tag};
use crate::snapshot::{ProgramTerms, Snapshot};
use crate::stream::ClickRecord;
use crate::stream::batcher::{Batcher, Durable};
use crate::web::headers::{Headers, client_ip};

/// What the path of every link begins with.
pub const PREFIX: &str = "/r/";

const SEC_PURPOSE: HeaderName = HeaderName::from_static("sec-purpose");
const PURPOSE: HeaderName = HeaderName::from_static("purpose");
const X_PURPOSE: HeaderName = HeaderName::from_static("x-purpose");
const X_MOZ: HeaderName = HeaderName::from_static("x-moz");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const SEC_GPC: HeaderName = HeaderName::from_static("sec-gpc");

/// The visit of a link, as it came.
#[derive(Clone, Copy)]
pub struct Visited<'r, H> {
    /// The method of the request.
    pub method: &'r str,
    /// What follows [`PREFIX`] in its path.
    pub token: &'r str,
    /// Its query without `?`; empty where there is none.
    pub query: &'r str,
    /// Its headers.
    pub headers: &'r H,
    /// Who is at the other end of the connection.
    pub peer: IpAddr,
}

/// An answer that waits until its click, if it has one, is durable.
#[must_use]
pub struct Pending {
    /// When the visitor came.
    pub at: Timestamp,
    answer: Answer,
    durable: Option<Durable>,
}

/// What one worker needs to redirect.
pub struct Redirect {
    app: Data<App>,
    batcher: Batcher,
    classifier: RefCell<Classifier>,
    proven: RefCell<ProvenLinks>,
    /// How many visits there were, by the code of their class.
    visits: Vec<Counter>,
    subid_key: Key,
    help_url: String,
}

/// A link that leads nowhere: why, and whose page the visitor gets.
pub(super) struct DeadLink {
    pub(super) reason: &'static str,
    fallback: Option<String>,
}

impl Redirect {
    /// Returns what redirects the visitors of a worker.
    pub fn new(app: Data<App>) -> Self {
        let config = &app.config;
        let help_url = match &config.fallback_url {
            Some(url) => url.to_string(),
            None => config.public_url.join("link-help").map_or_else(|_| "/".into(), String::from),
        };
        let batcher =
            Batcher::new(app.log.clone(), config.redirect_append_timeout, config.stream_shards);
        let class = |class: &Class| metrics::counter!(metric::CLICKS, "class" => class.as_str());
        let visits = Class::ALL.iter().map(class).collect();
        let classifier = RefCell::default();
        let proven = RefCell::new(ProvenLinks::new(app.link_keys.clone()));
        let subid_key = subid_key(&app);
        Self { batcher, classifier, proven, visits, subid_key, help_url, app }
    }

    /// Decides where a visitor goes and has his click written down.
    pub fn answer(&self, visited: &Visited<'_, impl Headers>) -> Pending {
        let at = self.app.clock.now();
        if !matches!(visited.method, "GET" | "HEAD") {
            return Pending { at, answer: Answer::OnlyGet, durable: None };
        }
        let head = request_head(visited);
        let verdict = self.classifier.borrow_mut().classify(&head);
        self.visits[usize::from(verdict.class.code())].increment(1);
        if verdict.class == Class::Prefetch {
            return Pending { at, answer: Answer::NotYet, durable: None };
        }
        match self.follow(visited, &head, verdict, at) {
            Ok((location, durable)) => {
                Pending { at, answer: Answer::Found(location), durable: Some(durable) }
            }
            Err(dead) => {
                metrics::counter!(metric::LINK_TOKENS_REJECTED, "reason" => dead.reason)
                    .increment(1);
                let url = dead.fallback.unwrap_or_else(|| self.help_url.clone());
                Pending { at, answer: Answer::Found(url), durable: None }
            }
        }
    }

    fn follow(
        &self,
        visited: &Visited<'_, impl Headers>,
        head: &RequestHead<'_>,
        verdict: Verdict,
        now: Timestamp,
    ) -> Result<(String, Durable), DeadLink> {
        let snapshot = self.app.snapshot.load();
        let epochs = |program, partner| snapshot.mint_epochs(program, partner, now);
        let verified = self.proven.borrow_mut().verify(visited.token, now.date_naive(), epochs);
        let (token, program) = check_link(visited.token, verified, &snapshot)?;
        let partner = snapshot.partner(token.partner).ok_or_else(|| dead("partner", program))?;
        let click_id = ClickId::new(now, token.program, token.partner, token.link, rand::random());
        let signed = verdict.class.is_click().then(|| click_id.sign(&self.app.config.click_keys));
        let visit = Visit {
            query: visited.query,
            click_id: signed.as_ref().map(|id| id.as_str()),
            partner: token.partner,
            partner_slug: &partner.slug,
            link: token.link,
            at: now,
        };
        let pii = pii_mode(self.app.config.subid_pii, &self.subid_key);
        let to = destination(&program.landing, &visit, pii);
        if let Some(refusal) = to.deep_link_rejected {
            metrics::counter!(metric::DEEPLINK_REJECTED, "reason" => refusal.as_str()).increment(1);
        }
        let is_gpc = head.is_gpc() && self.app.config.gpc_mode == GpcMode::Minimal;
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
            visitor: self.visitor_tag(visited, token, head, is_gpc, now),
            country: None,
            referrer_host: visited.headers.first(&REFERER).and_then(referrer_host),
            subs: to.subs,
            erid: to.erid,
            landing: to.page,
        };
        Ok((to.location, self.batcher.push(|batch| batch.push_click(&record))))
    }

    fn visitor_tag(
        &self,
        visited: &Visited<'_, impl Headers>,
        token: LinkToken,
        head: &RequestHead<'_>,
        is_gpc: bool,
        now: Timestamp,
    ) -> Option<[u8; 8]> {
        let visitor = Visitor {
            program: token.program,
            ip: client_ip(visited.peer, visited.headers, &self.app.config.trusted_proxies),
            agent: head.user_agent.unwrap_or_default(),
            gpc: is_gpc,
        };
        visitor.tag(&self.app.salts.of(now.date_naive())).map(|tag| tag.0)
    }
}

impl Pending {
    /// Returns the answer once the click is kept; if it cannot be, the visitor goes on nevertheless.
    pub async fn settled(self) -> Answer {
        if let Some(durable) = self.durable
            && !durable.await
        {
            metrics::counter!(metric::EVENTS_DROPPED, "reason" => "not_durable").increment(1);
        }
        self.answer
    }
}

/// Checks what the text of a link was verified to say, and the state of program, partner and link.
pub(super) fn check_link<'s>(
    text: &str,
    verified: Result<LinkToken, TokenError>,
    snapshot: &'s Snapshot,
) -> Result<(LinkToken, &'s ProgramTerms), DeadLink> {
    let token = verified.map_err(|error| DeadLink {
        reason: reason_of(error),
        // An unverified number chooses only between pages of our own programs.
        fallback: claimed(text)
            .program
            .and_then(|n| snapshot.program(n))
            .and_then(|p| p.fallback_url.clone()),
    })?;
    let program =
        snapshot.program(token.program).ok_or(DeadLink { reason: "program", fallback: None })?;
    let is_live = program.is_active
        && snapshot.partner(token.partner).is_some_and(|p| !p.is_blocked)
        && snapshot.enrollment(token.program, token.partner).is_some_and(|e| e.is_active)
        && !snapshot.is_paused(token.program, token.partner, token.link);
    if is_live { Ok((token, program)) } else { Err(dead("blocked", program)) }
}

fn dead(reason: &'static str, program: &ProgramTerms) -> DeadLink {
    DeadLink { reason, fallback: program.fallback_url.clone() }
}

/// Returns the key that hashes sub-ids which look like a person's.
pub(super) fn subid_key(app: &App) -> Key {
    Key::new(tag(&app.config.secrets_key, "tributary/derive/subid", &[]))
}

/// Returns what happens to sub-ids which look like a person's.
pub(super) fn pii_mode(mode: PiiMode, key: &Key) -> SubIdPii<'_> {
    match mode {
        PiiMode::Hash => SubIdPii::Hash(key),
        PiiMode::Reject => SubIdPii::Reject,
        PiiMode::Keep => SubIdPii::Keep,
    }
}

fn reason_of(error: TokenError) -> &'static str {
    match error {
        TokenError::Malformed => "malformed",
        TokenError::UnknownKid(_) => "kid",
        TokenError::BadMac => "mac",
        TokenError::Expired(_) => "expired",
    }
}

fn request_head<'r>(visited: &Visited<'r, impl Headers>) -> RequestHead<'r> {
    let headers = visited.headers;
    RequestHead {
        method: visited.method,
        user_agent: headers.first(&USER_AGENT),
        sec_purpose: headers.first(&SEC_PURPOSE),
        purpose: headers.first(&PURPOSE),
        x_purpose: headers.first(&X_PURPOSE),
        x_moz: headers.first(&X_MOZ),
        sec_fetch_dest: headers.first(&SEC_FETCH_DEST),
        sec_gpc: headers.first(&SEC_GPC),
    }
}
