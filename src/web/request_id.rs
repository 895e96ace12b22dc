//! The middleware around every request: its id, its span, its duration, its problem.

use std::rc::Rc;
use std::time::Instant;

use actix_http::Response;
use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode, header};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, HttpResponse};
use metrics::{Gauge, Histogram, SharedString};
use tracing::Instrument as _;

use super::headers::Headers;
use super::problem::{Code, Problem};
use crate::ids::RequestId;
use crate::metrics::{HTTP_REQUEST_DURATION, HTTP_REQUESTS_IN_FLIGHT};

/// The header that carries the id both ways.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Stands for the route of a request that matched none: a path there would be a label that
/// anybody can invent.
const UNMATCHED: &str = "unmatched";

/// The id of the request at hand, in its extensions: the caller's own where it is well-formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestTag(pub Rc<str>);

impl RequestTag {
    fn header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("a tag holds letters, digits, _ and -")
    }
}

/// Gives a request its id and a span, measures it, and completes the problem it may end in.
/// Neither the query nor the path is logged: a path can hold a token.
///
/// # Errors
/// None of its own: what the application fails with leaves as an answer.
pub async fn middleware<B: MessageBody + 'static>(
    req: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, BoxBody>>, Error> {
    let started = Instant::now();
    let _in_flight = InFlight::enter(metrics::gauge!(HTTP_REQUESTS_IN_FLIGHT));
    let tag = tag(req.headers());
    let method = method_label(req.method());
    let span = tracing::info_span!("request", request_id = %tag.0, method);
    req.extensions_mut().insert(tag.clone());

    let result = next.call(req).instrument(span.clone()).await;
    let (route, status) = match &result {
        Ok(res) => (res.request().match_pattern(), res.status()),
        Err(e) => (None, e.as_response_error().status_code()),
    };
    let route = route.map_or_else(|| UNMATCHED.into(), SharedString::from);
    duration(route, method, status).record(started.elapsed());

    let res = result?;
    let mut res = span.in_scope(|| complete(res, &tag));
    res.headers_mut().insert(X_REQUEST_ID, tag.header());
    Ok(res)
}

/// A route whose requests are answered in front of the router. What is measured of them is looked up
/// once.
pub struct Fronted {
    route: &'static str,
    method: &'static str,
    in_flight: Gauge,
    accepted: Histogram,
}

/// A request of such a route.
pub struct Asked {
    started: Instant,
    _in_flight: InFlight,
    tag: RequestTag,
}

impl Fronted {
    /// Returns the route that these requests would match.
    pub fn new(route: &'static str, method: &Method) -> Self {
        let (method, in_flight) = (method_label(method), metrics::gauge!(HTTP_REQUESTS_IN_FLIGHT));
        let accepted = duration(route.into(), method, StatusCode::ACCEPTED);
        Self { route, method, in_flight, accepted }
    }

    /// Begins with the head of a request.
    pub fn begin(&self, headers: &impl Headers) -> Asked {
        let _in_flight = InFlight::enter(self.in_flight.clone());
        Asked { started: Instant::now(), _in_flight, tag: tag(headers) }
    }

    /// Answers a request within its span.
    pub async fn within<T>(&self, asked: &Asked, answer: impl Future<Output = T>) -> T {
        // To make a span costs as much as to parse the body, and nothing is told within it.
        let id = &asked.tag.0;
        let span = tracing::debug_span!("request", request_id = %id, method = self.method);
        answer.instrument(span).await
    }

    /// Measures a request that is answered 202; returns its id, which the answer has to carry.
    pub fn accept(&self, asked: Asked) -> RequestTag {
        self.accepted.record(asked.started.elapsed());
        asked.tag
    }

    /// Measures a request and completes its answer; a problem tells its path.
    pub fn end(
        &self,
        asked: Asked,
        answer: Result<HttpResponse, Problem>,
        path: impl FnOnce() -> String,
    ) -> Response<BoxBody> {
        let Asked { started, _in_flight, tag } = asked;
        let mut res =
            answer.unwrap_or_else(|problem| problem.response(Some(&path()), Some(&tag.0)));
        duration(self.route.into(), self.method, res.status()).record(started.elapsed());
        res.headers_mut().insert(X_REQUEST_ID, tag.header());
        res.into()
    }
}

fn duration(route: SharedString, method: &'static str, code: StatusCode) -> Histogram {
    let code = code.as_str().to_owned();
    metrics::histogram!(HTTP_REQUEST_DURATION, "route" => route, "method" => method, "code" => code)
}

/// Puts the id and the path into the problem, if the answer is one.
fn complete<B: MessageBody + 'static>(
    res: ServiceResponse<B>,
    tag: &RequestTag,
) -> ServiceResponse<EitherBody<B, BoxBody>> {
    let Some(problem) = problem(res.response()) else { return res.map_into_left_body() };
    let answer = problem.response(Some(res.request().path()), Some(&tag.0));
    res.into_response(answer.map_into_right_body())
}

/// Returns the problem in an answer: ours, or one made of what the framework failed with.
fn problem<B>(res: &HttpResponse<B>) -> Option<Problem> {
    let Some(error) = res.error() else {
        // The router's own 405 has `Allow` and nothing else.
        let bare = res.status() == StatusCode::METHOD_NOT_ALLOWED
            && !res.headers().contains_key(header::CONTENT_TYPE);
        let allow = res.headers().get(header::ALLOW).and_then(|allow| allow.to_str().ok());
        return bare.then(|| Problem::new(Code::MethodNotAllowed).allow(allow.unwrap_or_default()));
    };
    match (error.as_error::<Problem>(), res.status()) {
        (Some(ours), _) => Some(ours.clone()),
        (None, StatusCode::PAYLOAD_TOO_LARGE) => Some(Problem::new(Code::PayloadTooLarge)),
        (None, status) if status.is_server_error() => {
            tracing::error!("request failed: {error}");
            Some(Problem::new(Code::Internal))
        }
        (None, _) => None,
    }
}

/// Takes the caller's id where it is short and plain, so that it cannot forge a log line.
fn tag(headers: &impl Headers) -> RequestTag {
    let theirs = headers.first(&X_REQUEST_ID).filter(|id| {
        (8..=64).contains(&id.len())
            && id.bytes().all(|c| c.is_ascii_alphanumeric() || b"_-".contains(&c))
    });
    RequestTag(theirs.map_or_else(|| RequestId::new().to_string().into(), Rc::from))
}

/// A method may be any word; as a label only the known ones are kept apart.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Counts a request until it ends, also when the caller goes away in the middle.
struct InFlight(Gauge);

impl InFlight {
    fn enter(gauge: Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
