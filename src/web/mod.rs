//! What every HTTP handler shares: problems, request ids, paging, strict bodies.
//!
//! [`configure_extractors`] goes into every application and [`request_id::middleware`] around it;
//! then whatever goes wrong, an unknown route included, leaves as `application/problem+json`.

pub mod body;
pub mod headers;
pub mod page;
pub mod problem;
pub mod request_id;
pub mod routes;

use actix_web::http::header;
use actix_web::web::{PathConfig, PayloadConfig, QueryConfig, ServiceConfig};
use actix_web::{HttpRequest, web};

pub use body::StrictJson;
pub use page::{Page, PageQuery};
pub use problem::{Code, Problem, ProblemBody};
pub use routes::Routes;

/// Longest body of a management request, in bytes; ways in that allow more set their own.
pub const BODY_MAX_BYTES: usize = 65_536;

/// Makes extractors and unknown routes of this application answer with problems.
pub fn configure_extractors(cfg: &mut ServiceConfig) {
    cfg.app_data(
        QueryConfig::default()
            .error_handler(|e, _| Problem::new(Code::InvalidField).error("", e.to_string()).into()),
    )
    // A path that cannot be parsed names nothing that exists.
    .app_data(PathConfig::default().error_handler(|_, _| Problem::new(Code::NotFound).into()))
    .app_data(PayloadConfig::new(BODY_MAX_BYTES))
    .default_service(web::to(unknown_route));
}

/// Answers what no route took: with 405 if the address exists for other methods, else with 404.
async fn unknown_route(req: HttpRequest) -> Problem {
    let routes = req.app_data::<web::Data<Routes>>();
    match routes.and_then(|routes| routes.allowed(req.path())) {
        Some(allow) => Problem::new(Code::MethodNotAllowed).allow(allow),
        None => Problem::new(Code::NotFound).detail("No route has this address."),
    }
}

/// Turns a bare 405 of the router, which has `Allow` but no body, into a problem.
fn method_not_allowed(allow: Option<&header::HeaderValue>) -> Problem {
    let problem = Problem::new(Code::MethodNotAllowed);
    match allow.and_then(|allow| allow.to_str().ok()) {
        Some(allow) => problem.allow(allow),
        None => problem,
    }
}

#[cfg(test)]
mod tests;
