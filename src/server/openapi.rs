//! `/openapi.json`: the contract, generated from the handlers themselves.

use actix_web::http::header::ContentType;
use actix_web::web::{Bytes, Data};
use actix_web::{App as Application, HttpResponse, get};
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_actix_web::AppExt as _;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::config::Roles;
use crate::web::problem::FieldError;
use crate::web::{Code, ProblemBody};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Tributary",
        description = "Signed referral links, durable clicks, exactly-once commissions, a ledger \
            that ties out. Amounts are decimal strings in major units, times RFC 3339 in UTC. \
            Errors are RFC 9457 problems with a stable `code`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    components(schemas(ProblemBody, Code, FieldError)),
    security(("api_key" = []))
)]
struct Frame;

/// The document as it is served.
pub struct Document(Bytes);

impl Document {
    /// Renders the document once.
    pub fn new(document: OpenApi) -> Self {
        Self(document.to_json().unwrap_or_default().into())
    }
}

/// Returns the document of the routes that the roles of this process serve.
pub fn document(roles: &Roles) -> OpenApi {
    let (_, mut document) = Application::new()
        .into_utoipa_app()
        .openapi(Frame::openapi())
        .configure(super::configure(roles))
        .split_for_parts();
    let components = document.components.get_or_insert_with(Default::default);
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("An API key: `trbk_`, or `trbp_` of a partner, and 36 characters."));
    components.add_security_scheme("api_key", SecurityScheme::Http(bearer.build()));
    document
}

/// Adds the route.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(get_openapi);
}

/// Returns this document.
#[utoipa::path(tag = "service", responses((status = 200, content_type = "application/json",
    body = Object)), security(()))]
#[get("/openapi.json")]
async fn get_openapi(document: Data<Document>) -> HttpResponse {
    HttpResponse::Ok().content_type(ContentType::json()).body(document.0.clone())
}
