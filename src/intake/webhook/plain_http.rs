//! Plain webhooks, answered in front of the router: `POST /v1/webhooks/{source_id}` without a query.
//!
//! Whoever waits for a verdict or tries a message out comes by the route of the same address; what
//! is checked and said is the same, because both ask `receive`.

use actix_http::{Method, Request, Response};
use actix_web::HttpMessage as _;
use actix_web::body::BoxBody;
use actix_web::web::Data;

use crate::app::App;
use crate::intake::webhook::http::{HowToAnswer, receive};
use crate::stream::batcher::Batcher;
use crate::web::body::read_stream;
use crate::web::request_id::around;

const PREFIX: &str = "/v1/webhooks/";
/// The route that these requests would match, for the metrics.
const ROUTE: &str = "/v1/webhooks/{source_id}";

/// Takes the webhooks of one worker.
pub struct Webhooks {
    app: Data<App>,
    batcher: Batcher,
}

impl Webhooks {
    /// Returns what takes webhooks.
    pub fn new(app: Data<App>) -> Self {
        let config = &app.config;
        let batcher = Batcher::new(app.log.clone(), config.redis_timeout, config.stream_shards);
        Self { app, batcher }
    }

    /// Tells whether a request is a plain webhook.
    pub fn takes(req: &Request) -> bool {
        let source_id = req.path().strip_prefix(PREFIX).unwrap_or_default();
        let is_plain = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
        *req.method() == Method::POST
            && !source_id.is_empty()
            && source_id.bytes().all(is_plain)
            && req.uri().query().is_none()
    }

    /// Answers a plain webhook.
    pub async fn answer(&self, mut req: Request) -> Response<BoxBody> {
        let payload = req.take_payload();
        let req = &req;
        around(req, ROUTE, async move {
            let source_id = &req.path()[PREFIX.len()..];
            let body = read_stream(payload, self.app.config.webhook_max_bytes);
            receive(&self.app, &self.batcher, req.headers(), source_id, HowToAnswer::AT_ONCE, body)
                .await
        })
        .await
    }
}
