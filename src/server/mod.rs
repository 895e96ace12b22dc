//! The two listeners: the public one, with the redirect in front of the API, and the admin one.
//!
//! Signals are not the servers' business: `roles` stops them, so that Ctrl-C drains.

pub mod admin_http;
mod begun;
mod door;
mod front;
pub mod openapi;
mod written;

use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::Duration;

use actix_http::HttpService;
use actix_service::{IntoServiceFactory as _, ServiceFactoryExt as _, map_config};
use actix_web::dev::{AppConfig, Server};
use actix_web::middleware::from_fn;
use actix_web::web::Data;
use actix_web::{App as Application, HttpServer};
use tokio::net::TcpSocket;
use utoipa_actix_web::AppExt as _;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::app::App;
use crate::click::http::Redirect;
use crate::config::{Role, Roles};
use crate::intake::webhook::plain_http::Webhooks;
use crate::server::door::{Answering, Door, KEEP_ALIVE};
use crate::server::front::Front;
use crate::stream::batcher::Batcher;
use crate::web::{Routes, configure_extractors, request_id};

/// Connections that one worker serves at once; above that new ones wait in the backlog.
const CONNECTIONS_MAX: usize = 25_000;
/// Pending connections that the kernel keeps.
const BACKLOG: u32 = 2048;
/// How long the head of a request may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client may take to receive the end of a connection.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Threads of the admin listener.
const ADMIN_WORKERS: usize = 1;

/// A server that is bound and not yet running.
pub struct Bound {
    /// Runs when it is awaited or spawned.
    pub server: Server,
    /// Where it is bound: with port 0 in the settings, the port that was given.
    pub address: SocketAddr,
}

/// Adds every route of the public API for the roles of this process.
fn configure(roles: &Roles) -> impl FnOnce(&mut ServiceConfig) + use<> {
    let (has_api, has_ingest) = (roles.has(Role::Api), roles.has(Role::Ingest));
    move |cfg: &mut ServiceConfig| {
        crate::click::help_http::configure(cfg);
        openapi::configure(cfg);
        if has_ingest {
            crate::intake::webhook::http::configure(cfg);
            crate::intake::webhook::batch_http::configure(cfg);
            crate::intake::postback_http::configure(cfg);
        }
        if has_api {
            configure_api(cfg);
        }
    }
}

fn configure_api(cfg: &mut ServiceConfig) {
    crate::program::http::configure(cfg);
    crate::program::attribution::http::configure(cfg);
    crate::program::coupon::http::configure(cfg);
    crate::settlement::attribution::owner_http::configure(cfg);
    crate::commission::plan_http::configure(cfg);
    crate::commission::terms_http::configure(cfg);
    crate::commission::simulate::http::configure(cfg);
    crate::commission::simulate::wish_http::configure(cfg);
    crate::partner::http::configure(cfg);
    crate::click::told_http::configure(cfg);
    crate::link::http::configure(cfg);
    crate::link::inspect_http::configure(cfg);
    crate::link::mint_http::configure(cfg);
    crate::program::source_http::configure(cfg);
    crate::program::secret_http::configure(cfg);
    crate::program::postback_http::configure(cfg);
    crate::intake::tester_http::configure(cfg);
    crate::intake::parked_http::configure(cfg);
    crate::intake::letters::http::configure(cfg);
    crate::intake::imports::http::configure(cfg);
    crate::intake::manual_http::configure(cfg);
    crate::conversion::http::configure(cfg);
    crate::commission::decision::bulk_http::configure(cfg);
    crate::commission::decision::http::configure(cfg);
    crate::commission::http::configure(cfg);
    crate::commission::explain::http::configure(cfg);
    crate::fraud::http::configure(cfg);
    crate::settlement::rederive::http::configure(cfg);
    crate::claim::http::configure(cfg);
    crate::ledger::http::configure(cfg);
    crate::payout::http::configure(cfg);
    crate::report::http::configure(cfg);
    crate::account::http::configure(cfg);
    crate::outbound::http::configure(cfg);
    crate::outbound::digest_http::configure(cfg);
    crate::incident::http::configure(cfg);
}

/// Binds the public listener.
pub fn bind_public(app: &Data<App>) -> std::io::Result<Bound> {
    let shared = app.clone();
    let document = openapi::document(&app.config.roles);
    let routes = Data::new(Routes::of(&document));
    let document = Data::new(openapi::Document::new(document));
    let listener = listen(app.config.bind)?;
    let address = listener.local_addr()?;
    let builder = Server::build();
    let stopping = builder.graceful_shutdown_signal();
    let door = move || {
        let (application, _) = Application::new()
            .into_utoipa_app()
            .configure(configure(&shared.config.roles))
            .split_for_parts();
        let application = application
            .app_data(shared.clone())
            .app_data(Data::new(conversion_batcher(&shared)))
            .app_data(document.clone())
            .app_data(routes.clone())
            .configure(configure_extractors)
            .wrap(from_fn(request_id::middleware));
        let answering = answering(&shared);
        let front = Front { answering: answering.clone(), behind: application.into_factory() };
        let signal = stopping.clone();
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let signal = signal.clone();
                async move { signal.notified().await }
            })
            .keep_alive(KEEP_ALIVE)
            .client_request_timeout(HEAD_TIMEOUT)
            .client_disconnect_timeout(DISCONNECT_TIMEOUT)
            .local_addr(address)
            .finish(map_config(front.map_err(|error| error.error_response()), |()| {
                AppConfig::default()
            }));
        Door { answering, stopping: stopping.clone(), behind: http }
    };
    let server = builder
        .workers(app.config.workers)
        .max_concurrent_connections(CONNECTIONS_MAX)
        .shutdown_timeout(app.config.shutdown_timeout.as_secs())
        .disable_signals()
        .listen("public", listener, door)?
        .run();
    Ok(Bound { server, address })
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

/// Returns what one worker answers at its door, and begins its connection to the log.
fn answering(app: &Data<App>) -> Answering {
    let has = |role| app.config.roles.has(role);
    let log = app.log.clone();
    actix_web::rt::spawn(async move { log.connect().await });
    Answering {
        redirect: has(Role::Redirect).then(|| Rc::new(Redirect::new(app.clone()))),
        webhooks: has(Role::Ingest).then(|| Rc::new(Webhooks::new(app.clone()))),
    }
}

/// Returns what makes the conversions of one worker durable.
fn conversion_batcher(app: &App) -> Batcher {
    let config = &app.config;
    Batcher::new(app.log.clone(), config.redis_timeout, config.stream_shards)
}

/// Binds the admin listener.
pub fn bind_admin(app: &Data<App>, state: &Data<admin_http::State>) -> std::io::Result<Bound> {
    let (shared, state) = (app.clone(), state.clone());
    let server = HttpServer::new(move || {
        Application::new()
            .app_data(shared.clone())
            .app_data(state.clone())
            .configure(admin_http::configure)
            .configure(configure_extractors)
            .wrap(from_fn(request_id::middleware))
    })
    .workers(ADMIN_WORKERS)
    .shutdown_timeout(1)
    .disable_signals()
    .bind(app.config.admin_bind)?;
    bound(server.addrs(), server.run())
}

fn bound(addresses: Vec<SocketAddr>, server: Server) -> std::io::Result<Bound> {
    let address = addresses.first().copied().ok_or(std::io::ErrorKind::AddrNotAvailable)?;
    Ok(Bound { server, address })
}
