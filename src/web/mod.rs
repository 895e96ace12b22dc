//! What every HTTP handler shares: problems, request ids, paging, strict bodies.
//!
//! [`configure_extractors`] goes into every application and [`request_id::middleware`] around it;
//! then whatever goes wrong, an unknown route included, leaves as `application/problem+json`.

pub mod admission;
pub mod body;
pub mod fields;
pub mod headers;
pub mod page;
pub mod problem;
pub mod query;
pub mod request_id;
pub mod routes;
pub mod work;

use actix_web::web::{PathConfig, PayloadConfig, ServiceConfig};
use actix_web::{HttpRequest, web};

pub use body::StrictJson;
pub use page::{Page, PageQuery};
pub use problem::{Code, Problem, ProblemBody};
pub use query::Query;
pub use routes::Routes;
pub use work::{detached, transact};

/// Longest body of a management request, in bytes; ways in that allow more set their own.
pub const BODY_MAX_BYTES: usize = 65_536;

/// Makes extractors and unknown routes of this application answer with problems.
pub fn configure_extractors(cfg: &mut ServiceConfig) {
    // A path that cannot be parsed names nothing that exists.
    cfg.app_data(PathConfig::default().error_handler(|_, _| Problem::new(Code::NotFound).into()))
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

#[cfg(test)]
mod tests;
