//! The least that a redirect can cost here: actix-web's default service answers 302 and does
//! nothing else. With `--route` it stands behind a dynamic route, as a service is usually written.
//!
//! `redirect-reference [--route] PORT`

use std::net::Ipv4Addr;

use actix_web::http::header;
use actix_web::{App, HttpResponse, HttpServer, web};

// The service has the same one: the ratio is not to measure allocators.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LOCATION: &str = "https://shop.example/landing?click_id=none";

async fn found() -> HttpResponse {
    HttpResponse::Found().insert_header((header::LOCATION, LOCATION)).finish()
}

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_routed = arguments.iter().any(|a| a == "--route");
    let port = arguments.last().ok_or_else(|| anyhow::anyhow!("a port is missing"))?.parse()?;
    let server = HttpServer::new(move || {
        let app = App::new();
        if is_routed {
            app.route("/r/{token}", web::get().to(found))
        } else {
            app.default_service(web::to(found))
        }
    });
    server.workers(1).bind((Ipv4Addr::LOCALHOST, port))?.run().await?;
    Ok(())
}
