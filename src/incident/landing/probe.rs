//! Visits a landing page as a browser would, without letting it lead us into our own network.
//!
//! The name is resolved by us, every address it has is asked of the [`Guard`], and the connection
//! goes to just these addresses; so again at every redirect, which are followed by hand.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use reqwest::header::{LOCATION, SET_COOKIE, USER_AGENT};
use reqwest::redirect::Policy;
use tokio::time::{Instant, timeout_at};
use url::{Host, Url};

use super::{Check, Seen, address, decide, is_reserved};
use crate::address::Guard;
use crate::clock::Timestamp;
use crate::program::Program;

/// All of a visit, redirects included.
const TIMEOUT: Duration = Duration::from_secs(10);
const REDIRECTS_MAX: usize = 5;
/// What is read of a page: enough to know that it is sent at all.
const BODY_MAX_BYTES: usize = 256 * 1024;
/// Who we say we are; a shop must be able to tell the check from a visitor.
const AGENT: &str = "Tributary-Landing-Check/1 (Mozilla/5.0 compatible)";

/// Checks the landing page of a program.
pub async fn check(program: &Program, guard: &Guard, now: Timestamp) -> Check {
    let click_id = probe_id(program, now);
    let url = address(program, &click_id, now).ok().and_then(|url| Url::parse(&url).ok());
    let Some(url) = url else {
        return Check::not_checked("the program's landing address cannot be used");
    };
    if is_reserved(&url) {
        return Check::not_checked("its name is reserved for documents and tests");
    }
    let seen = visit(url, program.allow_http, guard, TIMEOUT).await;
    decide(&seen, &click_id, &program.click_id_param)
}

/// Returns an id that has the form of a click's and that no key has signed.
fn probe_id(program: &Program, now: Timestamp) -> String {
    let digits = format!("probe{}x{}", program.number, now.timestamp_micros());
    format!("{digits:_<44}")
}

/// Visits an address and follows its redirects; at most so long in all.
pub async fn visit(url: Url, allow_http: bool, guard: &Guard, time: Duration) -> Seen {
    let until = Instant::now() + time;
    let walk = walk(url, allow_http, guard);
    timeout_at(until, walk).await.unwrap_or(Seen::TimedOut)
}

async fn walk(mut url: Url, allow_http: bool, guard: &Guard) -> Seen {
    let mut cookies = Vec::new();
    for _ in 0..=REDIRECTS_MAX {
        if url.scheme() != "https" && !(allow_http && url.scheme() == "http") {
            return Seen::Refused(format!("{} is no https address", url.scheme()));
        }
        let client = match client(&url, guard).await {
            Ok(client) => client,
            Err(seen) => return seen,
        };
        let mut response = match client.get(url.clone()).header(USER_AGENT, AGENT).send().await {
            Ok(response) => response,
            Err(error) => return Seen::Failed(last_cause(&error)),
        };
        let set = response.headers().get_all(SET_COOKIE).iter();
        cookies.extend(set.filter_map(|v| v.to_str().ok()).map(first_part));
        let status = response.status();
        let next = response.headers().get(LOCATION).and_then(|v| v.to_str().ok());
        let next = next.filter(|_| status.is_redirection()).and_then(|to| url.join(to).ok());
        let Some(next) = next else {
            let mut n_read = 0;
            while n_read < BODY_MAX_BYTES {
                match response.chunk().await {
                    Ok(Some(chunk)) => n_read += chunk.len(),
                    Ok(None) => break,
                    Err(error) => return Seen::Failed(last_cause(&error)),
                }
            }
            return Seen::Answered { status: status.as_u16(), url, cookies };
        };
        url = next;
    }
    Seen::TooManyRedirects
}

/// Returns a client that can reach only the addresses that the guard has seen.
async fn client(url: &Url, guard: &Guard) -> Result<reqwest::Client, Seen> {
    let refused = |ip: IpAddr| Seen::Refused(format!("{ip} is no address of the public internet"));
    let port = url.port_or_known_default().unwrap_or(443);
    let mut builder = reqwest::Client::builder().redirect(Policy::none()).no_proxy();
    match url.host() {
        Some(Host::Domain(name)) => {
            let found = tokio::net::lookup_host((name, port)).await;
            let addresses: Vec<SocketAddr> =
                found.map_err(|_| Seen::NoAddress(name.to_owned()))?.collect();
            if let Some(private) = addresses.iter().find(|a| !guard.allows(a.ip())) {
                return Err(refused(private.ip()));
            }
            if addresses.is_empty() {
                return Err(Seen::NoAddress(name.to_owned()));
            }
            builder = builder.resolve_to_addrs(name, &addresses);
        }
        Some(Host::Ipv4(ip)) if !guard.allows(ip.into()) => return Err(refused(ip.into())),
        Some(Host::Ipv6(ip)) if !guard.allows(ip.into()) => return Err(refused(ip.into())),
        Some(Host::Ipv4(_) | Host::Ipv6(_)) => {}
        None => return Err(Seen::Refused("the address names no host".to_owned())),
    }
    // Whoever came first has installed it.
    drop(rustls::crypto::ring::default_provider().install_default());
    builder.build().map_err(|error| Seen::Failed(last_cause(&error)))
}

fn first_part(cookie: &str) -> String {
    cookie.split(';').next().unwrap_or_default().to_owned()
}

/// The end of the chain says what happened; its beginning repeats the address with the click id.
fn last_cause(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.last().map_or_else(|| "no answer".to_owned(), ToString::to_string)
}
