//! `GET /r/{token}`: the redirect.
//!
//! It stands in front of the router, because the visitor waits for it: no route is matched, no
//! middleware runs, and no store is asked. Everything it needs is in the token, in the snapshot
//! and in the keys. The answer leaves when the click is durable, and a visitor always gets one:
//! whatever is wrong with the link, he is sent to a page that helps.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use actix_http::{Method, Request, Response, StatusCode};
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{AppConfig, Service, ServiceFactory, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::web::Data;
use actix_web::{Error, HttpMessage as _};
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;

use crate::app::App;
use crate::click::classify::{Class, Classifier, RequestHead, Verdict};
use crate::click::click_id::ClickId;
use crate::click::visitor::{Visitor, referrer_host};
use crate::clock::Timestamp;
use crate::config::{GpcMode, Role, SubIdPii as PiiMode};
use crate::link::destination::{Visit, destination};
use crate::link::paid::AdNetwork;
use crate::link::parameters::SubIdPii;
use crate::link::token::{LinkKeys, LinkToken, TokenError, claimed};
use crate::metrics as metric;
use crate::signing::{Key, tag};
use crate::snapshot::{ProgramTerms, Snapshot};
use crate::stream::ClickRecord;
use crate::stream::batcher::{Batcher, Durable};
use crate::web::headers::client_ip;

/// What the path of every link begins with.
pub const PREFIX: &str = "/r/";

/// Answers links itself and hands everything else to the application behind it.
pub struct Front<F> {
    app: Data<App>,
    behind: F,
}

impl<F> Front<F> {
    /// Puts the redirect in front of an application.
    pub fn new(app: Data<App>, behind: F) -> Self {
        Self { app, behind }
    }
}

impl<F, B> ServiceFactory<Request> for Front<F>
where
    F: ServiceFactory<
            Request,
            Config = AppConfig,
            Response = ServiceResponse<B>,
            Error = Error,
            InitError = (),
        >,
    F::Service: 'static,
    F::Future: 'static,
    B: MessageBody + 'static,
{
    type Response = Response<BoxBody>;
    type Error = Error;
    type Config = AppConfig;
    type Service = FrontService<F::Service>;
    type InitError = ();
    type Future = LocalBoxFuture<'static, Result<Self::Service, ()>>;

    fn new_service(&self, config: AppConfig) -> Self::Future {
        let behind = self.behind.new_service(config);
        let redirect = Rc::new(Redirect::new(self.app.clone()));
        async move { Ok(FrontService { redirect, behind: behind.await? }) }.boxed_local()
    }
}

/// The service of one worker.
pub struct FrontService<S> {
    redirect: Rc<Redirect>,
    behind: S,
}

impl<S, B> Service<Request> for FrontService<S>
where
    S: Service<Request, Response = ServiceResponse<B>, Error = Error>,
    S::Future: 'static,
    B: MessageBody + 'static,
{
    type Response = Response<BoxBody>;
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Response<BoxBody>, Error>>;

    actix_service::forward_ready!(behind);

    fn call(&self, req: Request) -> Self::Future {
        if self.redirect.is_on && req.path().starts_with(PREFIX) {
            let redirect = Rc::clone(&self.redirect);
            async move { Ok(redirect.answer(&req).await) }.boxed_local()
        } else {
            let behind = self.behind.call(req);
            async move { Ok(Response::from(behind.await?).map_into_boxed_body()) }.boxed_local()
        }
    }
}

/// What one worker needs to redirect.
struct Redirect {
    /// Whether this process has the role at all.
    is_on: bool,
    app: Data<App>,
    batcher: Batcher,
    classifier: RefCell<Classifier>,
    subid_key: Key,
    help_url: String,
}

/// A link that leads nowhere: why, and whose page the visitor gets.
pub(super) struct DeadLink {
    pub(super) reason: &'static str,
    fallback: Option<String>,
}

impl Redirect {
    fn new(app: Data<App>) -> Self {
        let config = &app.config;
        let help_url = match &config.fallback_url {
            Some(url) => url.to_string(),
            None => config.public_url.join("link-help").map_or_else(|_| "/".into(), String::from),
        };
        let batcher =
            Batcher::new(app.log.clone(), config.redirect_append_timeout, config.stream_shards);
        Self {
            is_on: config.roles.has(Role::Redirect),
            batcher,
            classifier: RefCell::default(),
            subid_key: subid_key(&app),
            help_url,
            app,
        }
    }

    async fn answer(&self, req: &Request) -> Response<BoxBody> {
        if *req.method() != Method::GET && *req.method() != Method::HEAD {
            let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
            let allow = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(header::ALLOW, allow);
            return response;
        }
        let head = request_head(req);
        let verdict = self.classifier.borrow_mut().classify(&head);
        metrics::counter!(metric::CLICKS, "class" => verdict.class.as_str()).increment(1);
        if verdict.class == Class::Prefetch {
            // With a 302 the browser would keep the landing page and the true click would never
            // come; what is not 2xx is not kept.
            return empty(StatusCode::SERVICE_UNAVAILABLE);
        }
        let (location, durable) = match self.follow(req, &head, verdict) {
            Ok(found) => found,
            Err(dead) => {
                metrics::counter!(metric::LINK_TOKENS_REJECTED, "reason" => dead.reason)
                    .increment(1);
                return found(dead.fallback.as_deref().unwrap_or(&self.help_url));
            }
        };
        // Kept or not, the visitor goes on.
        if durable.await != Ok(true) {
            metrics::counter!(metric::EVENTS_DROPPED, "reason" => "not_durable").increment(1);
        }
        found(&location)
    }

    fn follow(
        &self,
        req: &Request,
        head: &RequestHead<'_>,
        verdict: Verdict,
    ) -> Result<(String, Durable), DeadLink> {
        let now = self.app.clock.now();
        let snapshot = self.app.snapshot.load();
        let token = &req.path()[PREFIX.len()..];
        let (token, program) = check_link(&self.app.link_keys, token, &snapshot, now)?;
        let partner = snapshot.partner(token.partner).ok_or_else(|| dead("partner", program))?;
        let click_id = ClickId::new(now, token.program, token.partner, token.link, rand::random());
        let signed = verdict.class.is_click().then(|| click_id.sign(&self.app.config.click_keys));
        let visit = Visit {
            query: req.uri().query().unwrap_or_default(),
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
            visitor: self.visitor_tag(req, token, head, is_gpc, now),
            country: None,
            referrer_host: text(req.headers(), &header::REFERER).and_then(referrer_host),
            subs: to.subs,
            erid: to.erid,
            landing: to.page,
        };
        Ok((to.location, self.batcher.push(|batch| batch.push_click(&record))))
    }

    fn visitor_tag(
        &self,
        req: &Request,
        token: LinkToken,
        head: &RequestHead<'_>,
        is_gpc: bool,
        now: Timestamp,
    ) -> Option<[u8; 8]> {
        let peer = req.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |a| a.ip());
        let visitor = Visitor {
            program: token.program,
            ip: client_ip(peer, req.headers(), &self.app.config.trusted_proxies),
            agent: head.user_agent.unwrap_or_default(),
            gpc: is_gpc,
        };
        visitor.tag(&self.app.salts.of(now.date_naive())).map(|tag| tag.0)
    }
}

/// Verifies the token and the state of program, partner and link.
pub(super) fn check_link<'s>(
    keys: &LinkKeys,
    text: &str,
    snapshot: &'s Snapshot,
    now: Timestamp,
) -> Result<(LinkToken, &'s ProgramTerms), DeadLink> {
    let epochs = |program, partner| Some(snapshot.enrollment(program, partner)?.mint_epochs(now));
    let token =
        LinkToken::verify(keys, text, now.date_naive(), epochs).map_err(|error| DeadLink {
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
    Key(tag(&app.config.secrets_key, "tributary/derive/subid", &[]))
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

fn request_head(req: &Request) -> RequestHead<'_> {
    let headers = req.headers();
    RequestHead {
        method: req.method().as_str(),
        user_agent: text(headers, &header::USER_AGENT),
        sec_purpose: text(headers, &HeaderName::from_static("sec-purpose")),
        purpose: text(headers, &HeaderName::from_static("purpose")),
        x_purpose: text(headers, &HeaderName::from_static("x-purpose")),
        x_moz: text(headers, &HeaderName::from_static("x-moz")),
        sec_fetch_dest: text(headers, &HeaderName::from_static("sec-fetch-dest")),
        sec_gpc: text(headers, &HeaderName::from_static("sec-gpc")),
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

fn found(location: &str) -> Response<BoxBody> {
    let mut response = empty(StatusCode::FOUND);
    // Locations are serialized URLs, so they are ASCII without control characters.
    if let Ok(value) = HeaderValue::from_str(location) {
        response.headers_mut().insert(header::LOCATION, value);
    }
    response
}

fn empty(status: StatusCode) -> Response<BoxBody> {
    let mut response = Response::new(status);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("strict-origin-when-cross-origin"),
    );
    headers.insert(
        HeaderName::from_static("x-robots-tag"),
        HeaderValue::from_static("noindex, nofollow"),
    );
    response
}
