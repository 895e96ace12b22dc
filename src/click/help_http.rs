//! The page for visitors of a dead link, and what robots may read.

use actix_web::http::header::{CACHE_CONTROL, ContentType};
use actix_web::{HttpResponse, get};
use utoipa_actix_web::service_config::ServiceConfig;

const HELP: &str = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
<meta name=\"viewport\" content=\"width=device-width\">\n<meta name=\"robots\" content=\"noindex\">\n\
<title>This link does not work</title>\n\
<style>body{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto;padding:0 1rem}</style>\n\
<h1>This link does not work</h1>\n\
<p>It is damaged, has expired, or is no longer in use. Often its last characters were cut off.</p>\n\
<p>Please go back to the page where you found it and tell its owner.</p>\n</html>\n";

/// Adds the routes.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(link_help).service(robots);
}

/// Tells a visitor that a link is damaged or no longer valid.
#[utoipa::path(tag = "links", responses((status = 200, content_type = "text/html", body = String)))]
#[get("/link-help")]
async fn link_help() -> HttpResponse {
    HttpResponse::Ok().content_type(ContentType::html()).body(HELP)
}

/// Asks robots not to follow links.
#[utoipa::path(tag = "links", responses((status = 200, content_type = "text/plain", body = String)))]
#[get("/robots.txt")]
async fn robots() -> HttpResponse {
    HttpResponse::Ok()
        .content_type(ContentType::plaintext())
        .insert_header((CACHE_CONTROL, "max-age=86400"))
        .body("User-agent: *\nDisallow: /r/\n")
}
