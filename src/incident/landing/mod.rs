//! Whether a program's landing page is there and keeps the click id: the first suspect when many
//! partners fall at once. Pure; [`probe`] fetches.

pub mod http;
pub mod probe;
pub mod store;

use url::Url;

use crate::clock::Timestamp;
use crate::ids::{LinkNo, PartnerNo};
use crate::link::destination::{BadLanding, Landing, Visit, destination};
use crate::link::parameters::SubIdPii;
use crate::link::template::Schemes;
use crate::program::Program;

/// Top-level names that are nobody's (RFC 2606): documents and demos live there.
const RESERVED: [&str; 4] = ["example", "invalid", "localhost", "test"];

/// What became of a visit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The last page of the redirects answered.
    Answered {
        /// HTTP status.
        status: u16,
        /// Where it was.
        url: Url,
        /// Cookies set on the way, `name=value`.
        cookies: Vec<String>,
    },
    /// The name has no address.
    NoAddress(String),
    /// No answer within the time.
    TimedOut,
    /// More redirects than a browser's user would wait for.
    TooManyRedirects,
    /// It cannot be connected to, or speaks no HTTP.
    Failed(String),
    /// We do not call this address: private, or not https.
    Refused(String),
}

/// What is said about a landing page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It answers and has the click id.
    Ok,
    /// It does not answer, or with an error.
    Dead,
    /// The click id is lost on the way: no sale can be attributed.
    DropsClickId,
    /// It was not called.
    NotChecked,
}

impl Verdict {
    /// Returns the text kept in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Dead => "dead",
            Self::DropsClickId => "drops_click_id",
            Self::NotChecked => "not_checked",
        }
    }
}

/// A checked landing page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What is said.
    pub verdict: Verdict,
    /// Why, as a part of a sentence: "the landing page answers 404".
    pub text: String,
    /// The last status.
    pub http_status: Option<u16>,
    /// Where the visit ended.
    pub final_url: Option<String>,
}

impl Check {
    fn not_checked(why: &str) -> Self {
        let text = format!("the landing page was not checked: {why}");
        Self { verdict: Verdict::NotChecked, text, http_status: None, final_url: None }
    }
}

/// Returns where a visitor with this click id lands.
pub fn address(program: &Program, click_id: &str, at: Timestamp) -> Result<String, BadLanding> {
    let schemes = if program.allow_http { Schemes::HttpToo } else { Schemes::HttpsOnly };
    let landing = Landing::compile(
        &program.landing_template,
        &program.click_id_param,
        &program.allowed_hosts,
        schemes,
        &program.slug,
    )?;
    let visit = Visit {
        query: "",
        click_id: Some(click_id),
        partner: PartnerNo(0),
        partner_slug: "landing-check",
        link: LinkNo(0),
        at,
    };
    Ok(destination(&landing, &visit, SubIdPii::Reject).location)
}

/// Tells whether nobody can be at this address.
pub fn is_reserved(url: &Url) -> bool {
    let last = url.domain().and_then(|name| name.trim_end_matches('.').rsplit('.').next());
    last.is_some_and(|last| RESERVED.contains(&last))
}

/// Decides what a visit with this click id says about the page.
pub fn decide(seen: &Seen, click_id: &str, param: &str) -> Check {
    let dead = |text: String| Check {
        verdict: Verdict::Dead,
        text: format!("the landing page {text}"),
        http_status: None,
        final_url: None,
    };
    match seen {
        Seen::Answered { status, url, cookies } => {
            let keeps = url.as_str().contains(click_id)
                || cookies.iter().any(|cookie| keeps_click_id(cookie, click_id, param));
            let (verdict, text) = if *status >= 400 {
                (Verdict::Dead, format!("the landing page answers {status}"))
            } else if keeps {
                (Verdict::Ok, format!("the landing page answers {status} and keeps the click id"))
            } else {
                (Verdict::DropsClickId, "the landing page drops the click id".to_owned())
            };
            let final_url = Some(without_query(url));
            Check { verdict, text, http_status: Some(*status), final_url }
        }
        Seen::NoAddress(host) => dead(format!("has no address: {host} is unknown")),
        Seen::TimedOut => dead("does not answer in time".to_owned()),
        Seen::TooManyRedirects => dead("redirects without end".to_owned()),
        Seen::Failed(why) => dead(format!("cannot be reached: {why}")),
        Seen::Refused(why) => Check::not_checked(why),
    }
}

fn keeps_click_id(cookie: &str, click_id: &str, param: &str) -> bool {
    let (name, value) = cookie.split_once('=').unwrap_or((cookie, ""));
    name.trim().eq_ignore_ascii_case(param) || value.contains(click_id)
}

/// What a shop adds to its address may be somebody's; where it was is enough to know.
fn without_query(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, url: &str, cookies: &[&str]) -> Seen {
        let cookies = cookies.iter().map(|&c| c.to_owned()).collect();
        Seen::Answered { status, url: url.parse().unwrap(), cookies }
    }

    #[test]
    fn a_page_is_alive_only_with_the_click_id() {
        let shop = "https://shop.example/welcome";
        let with_id = "https://shop.example/welcome?cid=PROBE";
        for (seen, verdict, text) in [
            (answered(200, with_id, &[]), Verdict::Ok, "keeps the click id"),
            (answered(200, shop, &["click_id=x"]), Verdict::Ok, "keeps"),
            (answered(200, shop, &["Click_ID=x"]), Verdict::Ok, "keeps"),
            (answered(200, shop, &["ref=a-PROBE-b"]), Verdict::Ok, "keeps"),
            (answered(200, shop, &["session=1"]), Verdict::DropsClickId, "drops the click id"),
            (answered(404, with_id, &[]), Verdict::Dead, "answers 404"),
            (answered(500, shop, &["click_id=x"]), Verdict::Dead, "answers 500"),
            (Seen::NoAddress("shop.example".to_owned()), Verdict::Dead, "shop.example is unknown"),
            (Seen::TimedOut, Verdict::Dead, "in time"),
            (Seen::TooManyRedirects, Verdict::Dead, "without end"),
            (Seen::Failed("refused".to_owned()), Verdict::Dead, "refused"),
            (Seen::Refused("private".to_owned()), Verdict::NotChecked, "private"),
        ] {
            let check = decide(&seen, "PROBE", "click_id");
            assert_eq!(check.verdict, verdict, "{seen:?}");
            assert!(check.text.contains(text), "{seen:?}: {}", check.text);
        }
    }

    #[test]
    fn what_is_kept_of_an_address_is_where_it_was() {
        let seen = answered(200, "https://shop.example/a?mail=anna@shop.example&c=PROBE#x", &[]);
        let check = decide(&seen, "PROBE", "click_id");
        assert_eq!(check.final_url.as_deref(), Some("https://shop.example/a"));
    }

    #[test]
    fn reserved_names_are_nobodys() {
        for (url, reserved) in [
            ("https://shop.example/", true),
            ("https://a.b.test./", true),
            ("https://localhost/", true),
            ("https://example.com/", false),
            ("https://93.184.215.14/", false),
        ] {
            assert_eq!(is_reserved(&url.parse().unwrap()), reserved, "{url}");
        }
    }
}
