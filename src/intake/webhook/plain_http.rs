//! Plain webhooks, answered in front of the router: `POST /v1/webhooks/{source_id}` without a query.
//!
//! Whoever waits for a verdict or tries a message out comes by the route of the same address; what
//! is checked and said is the same, because both ask `receive` and `take_in`.

use std::rc::Rc;

use actix_http::{Method, Request, Response};
use actix_web::body::BoxBody;
use actix_web::http::header::ContentType;
use actix_web::web::Data;
use actix_web::{HttpMessage as _, HttpResponse};
use metrics::Counter;

use crate::app::App;
use crate::clock::Timestamp;
use crate::intake::webhook::http::{
    ACCEPTED, HowToAnswer, Received, Said, counter, outcome, receive, take_in,
};
use crate::stream::batcher::Batcher;
use crate::web::Problem;
use crate::web::body::read_stream;
use crate::web::headers::Headers;
use crate::web::request_id::{Asked, Fronted, RequestTag, X_REQUEST_ID};

/// What the path of a webhook begins with.
const PREFIX: &str = "/v1/webhooks/";
/// The route that these requests would match, for the metrics.
const ROUTE: &str = "/v1/webhooks/{source_id}";

/// Takes the webhooks of one worker.
pub struct Webhooks {
    app: Data<App>,
    batcher: Batcher,
    route: Fronted,
    accepted: Counter,
}

/// A webhook that has been read, and is not answered yet.
pub struct Webhook {
    /// When it came.
    pub at: Timestamp,
    webhooks: Rc<Webhooks>,
    asked: Asked,
    source_id: String,
    received: Result<Box<Received>, Problem>,
}

impl Webhooks {
    /// Returns what takes webhooks.
    pub fn new(app: Data<App>) -> Self {
        let config = &app.config;
        let batcher = Batcher::new(app.log.clone(), config.redis_timeout, config.stream_shards);
        let route = Fronted::new(ROUTE, &Method::POST);
        Self { batcher, route, accepted: counter(ACCEPTED), app }
    }

    /// Returns the source of a plain webhook, told by the method and the path.
    pub fn source_of<'p>(method: &str, path: &'p str) -> Option<&'p str> {
        let source_id = path.strip_prefix(PREFIX).filter(|_| method == "POST")?;
        let is_plain = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
        (!source_id.is_empty() && source_id.bytes().all(is_plain)).then_some(source_id)
    }

    /// Tells whether a request is a plain webhook.
    pub fn takes(req: &Request) -> bool {
        Self::source_of(req.method().as_str(), req.path()).is_some() && req.uri().query().is_none()
    }

    /// Returns how long a body may be.
    pub fn bytes_max(&self) -> usize {
        self.app.config.webhook_max_bytes
    }

    /// Reads a plain webhook whose body is there.
    pub fn read(self: Rc<Self>, source_id: &str, headers: &impl Headers, body: &[u8]) -> Webhook {
        let asked = self.route.begin(headers);
        let received = receive(&self.app, headers, source_id, HowToAnswer::AT_ONCE, body);
        let (at, source_id) = (self.app.clock.now(), source_id.to_owned());
        Webhook { at, webhooks: self, asked, source_id, received }
    }

    /// Reads a plain webhook whose body is still to come.
    pub async fn read_on(self: Rc<Self>, mut req: Request) -> Webhook {
        let asked = self.route.begin(req.headers());
        let source_id = req.path()[PREFIX.len()..].to_owned();
        let body = read_stream(req.take_payload(), self.bytes_max()).await;
        let received = body.and_then(|body| {
            receive(&self.app, req.headers(), &source_id, HowToAnswer::AT_ONCE, &body)
        });
        Webhook { at: self.app.clock.now(), webhooks: self, asked, source_id, received }
    }
}

/// What a webhook is answered.
pub enum Reply {
    /// 202, the usual one, of which whoever writes it needs to know no more.
    Accepted {
        /// For the header [`X_REQUEST_ID`].
        request: RequestTag,
        /// JSON.
        body: String,
    },
    /// Any other.
    More(Response<BoxBody>),
}

impl Webhook {
    /// Returns the answer, once the message is durable.
    pub async fn answer(self) -> Reply {
        let Self { at: _, webhooks, asked, source_id, received } = self;
        let Webhooks { app, batcher, route, accepted } = &*webhooks;
        let answer = route.within(&asked, take_in(app, batcher, received)).await;
        match outcome(&answer) {
            ACCEPTED => accepted.increment(1),
            other => counter(other).increment(1),
        }
        let answer = match answer.map(|taken| taken.said) {
            Ok(Said::Accepted(said)) => match serde_json::to_string(&said) {
                Ok(body) => return Reply::Accepted { request: route.accept(asked), body },
                Err(error) => Err(Problem::internal(error)),
            },
            Ok(Said::More(response)) => Ok(response),
            Err(problem) => Err(problem),
        };
        Reply::More(route.end(asked, answer, || format!("{PREFIX}{source_id}")))
    }
}

impl From<Reply> for Response<BoxBody> {
    fn from(reply: Reply) -> Self {
        match reply {
            Reply::Accepted { request, body } => HttpResponse::Accepted()
                .content_type(ContentType::json())
                .insert_header((X_REQUEST_ID, &*request.0))
                .body(body)
                .into(),
            Reply::More(response) => response,
        }
    }
}
