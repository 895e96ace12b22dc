//! The two listeners: the public one, with the redirect in front of the API, and the admin one.
//!
//! Signals are not the servers' business: `roles` stops them, so that Ctrl-C drains.

pub mod admin_http;
pub mod openapi;

use std::net::SocketAddr;

use actix_web::dev::Server;
use actix_web::middleware::from_fn;
use actix_web::web::Data;
use actix_web::{App as Application, HttpServer};
use utoipa_actix_web::AppExt as _;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::app::App;
use crate::click::http::Front;
use crate::config::{Role, Roles};
use crate::stream::batcher::Batcher;
use crate::web::{Routes, configure_extractors, request_id};

/// Connections that one worker serves at once; above that new ones wait in the backlog.
const CONNECTIONS_MAX: usize = 25_000;
/// Pending connections that the kernel keeps.
const BACKLOG: u32 = 2048;
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
    let server = HttpServer::new(move || {
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
        Front::new(shared.clone(), actix_service::IntoServiceFactory::into_factory(application))
    })
    .workers(app.config.workers)
    .max_connections(CONNECTIONS_MAX)
    .backlog(BACKLOG)
    .shutdown_timeout(app.config.shutdown_timeout.as_secs())
    .disable_signals()
    .bind(app.config.bind)?;
    bound(server.addrs(), server.run())
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
