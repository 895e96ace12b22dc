//! Posts one message to a stranger's URL, and only there.
//!
//! No redirect is followed, no proxy of the environment is used, no connection is kept: each
//! attempt resolves the name anew, checks every address, and connects to what it has checked.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, retry};
use url::Url;

use crate::address::{Guard, Reach, Refused};
use crate::clock::Timestamp;
use crate::outbound::retry::Answer;
use crate::outbound::sign::Message;

/// From the resolving of the name to the head of the answer.
pub const TIMEOUT: Duration = Duration::from_secs(15);
/// An error is told in so many characters.
const ERROR_CHARS_MAX: usize = 300;

/// Posts messages.
#[derive(Debug)]
pub struct Sender {
    guard: Guard,
    public: Client,
    allowed_only: Client,
}

/// Resolves names to addresses that may be called.
#[derive(Debug)]
struct CheckedDns {
    guard: Guard,
    reach: Reach,
}

impl Resolve for CheckedDns {
    fn resolve(&self, name: Name) -> Resolving {
        let (guard, reach) = (self.guard.clone(), self.reach);
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            // One address inside is reason enough: no honest name has both.
            for address in &found {
                guard.check(address.ip(), reach)?;
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

impl Sender {
    /// Returns a sender that goes where `guard` lets it.
    ///
    /// # Errors
    /// When the machine has no root certificates.
    pub fn new(guard: Guard) -> Result<Self, reqwest::Error> {
        // Fails where the process has chosen already, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = |reach| {
            Client::builder()
                .user_agent(concat!("Tributary/", env!("CARGO_PKG_VERSION")))
                .timeout(TIMEOUT)
                .redirect(Policy::none())
                .referer(false)
                .retry(retry::never())
                .no_proxy()
                .pool_max_idle_per_host(0)
                .dns_resolver(Arc::new(CheckedDns { guard: guard.clone(), reach }))
                .build()
        };
        Ok(Self {
            public: client(Reach::Public)?,
            allowed_only: client(Reach::AllowedOnly)?,
            guard,
        })
    }

    /// Posts a message and tells how it was answered; what cannot be sent is an answer too.
    pub async fn post(&self, url: &str, message: Message, now: Timestamp) -> Answer {
        let failed = |error: String| Answer::Failed { status: None, error, retry_after: None };
        let Ok(url) = Url::parse(url) else { return failed("the URL cannot be read".to_owned()) };
        let client = match self.guard.check_url(&url) {
            Ok(Reach::Public) => &self.public,
            Ok(Reach::AllowedOnly) => &self.allowed_only,
            Err(refused) => return failed(format!("not called: {refused}")),
        };
        let request = client.post(url).header(CONTENT_TYPE, "application/json");
        let request =
            message.headers.into_iter().fold(request, |r, (name, value)| r.header(name, value));
        match request.body(message.body).send().await {
            Ok(response) => {
                let retry_after = response.headers().get(RETRY_AFTER);
                let retry_after = retry_after.and_then(|value| value.to_str().ok());
                Answer::of_status(response.status().as_u16(), retry_after, now)
            }
            Err(error) => failed(told(&error)),
        }
    }
}

/// Tells an error in a line: our own refusal, the time-out, or else the innermost cause.
fn told(error: &reqwest::Error) -> String {
    let causes = || std::iter::successors(Some(error as &(dyn Error + 'static)), |e| (*e).source());
    if let Some(refused) = causes().find_map(|cause| cause.downcast_ref::<Refused>()) {
        return format!("not called: {refused}");
    }
    if error.is_timeout() {
        return format!("no answer within {} s", TIMEOUT.as_secs());
    }
    let innermost = causes().last().map(ToString::to_string).unwrap_or_default();
    format!("no answer: {innermost}").chars().take(ERROR_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn a_name_that_leads_inside_is_not_connected_to() {
        let sender = Sender::new(Guard::default()).unwrap();
        // Past the look at the URL, as a name would be whose answer nobody could foresee.
        let error = sender.public.post("https://localhost/").send().await.unwrap_err();
        let told = told(&error);
        assert!(told.starts_with("not called: the address "), "{told}");
        assert!(told.ends_with(" is not public"), "{told}");
    }
}
