//! What bodies have in common: their bytes for idempotency, their checks, and null beside absent.

use std::future::Future;
use std::pin::Pin;
use std::str::FromStr;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use super::admission::Admission;
use super::body::{check_json, parse_json, read};
use super::{BODY_MAX_BYTES, Code, Problem};
use crate::clock::Timestamp;
use crate::money::{AmountRule, Currency, Money};

/// Longest name of anything, in characters.
pub const NAME_MAX: usize = 200;

const SLUG_MAX: usize = 64;

/// A strict JSON body together with its bytes, which an idempotency key is bound to.
#[derive(Debug, Clone)]
pub struct KeyedJson<T> {
    /// The body.
    pub value: T,
    /// The bytes it was read from.
    pub bytes: web::Bytes,
}

impl<T: DeserializeOwned + 'static> FromRequest for KeyedJson<T> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let admitted = Admission::wait(req);
        let json = check_json(req.headers());
        let payload = web::Payload::from_request(req, payload);
        Box::pin(async move {
            admitted.await;
            json?;
            let payload = payload.await.expect("taking the payload over cannot fail");
            let bytes = read(payload, BODY_MAX_BYTES).await?;
            Ok(Self { value: parse_json(&bytes)?, bytes })
        })
    }
}

/// Reads a field that may be absent (keep it), null (clear it) or given; for
/// `#[serde(default, deserialize_with = "present")]`.
pub fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Reads a time of a query; for `#[serde(default, deserialize_with = "time")]`. What is none is told
/// with how to write one, where the usual error says only that it contains invalid characters.
pub fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    // A plus of an offset that was not percent-encoded is a space by now.
    let time = text.replace(' ', "+").parse();
    time.map(Some).map_err(|_| {
        let shown: String = text.chars().take(40).collect();
        serde::de::Error::custom(format!(
            "{shown:?} is no time; write it as RFC 3339, like 2026-11-22T10:15:04Z"
        ))
    })
}

/// Reads an id of a path; what is none names nothing that exists.
pub fn path_id<T: FromStr>(text: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| Problem::new(Code::NotFound))
}

/// The mistakes of a body, collected so that one answer names them all.
#[derive(Debug, Default)]
pub struct Mistakes(Vec<(&'static str, String)>);

impl Mistakes {
    /// Adds a mistake at a JSON pointer.
    pub fn add(&mut self, pointer: &'static str, detail: impl Into<String>) {
        self.0.push((pointer, detail.into()));
    }

    /// Adds a mistake unless it `fits`.
    pub fn check(&mut self, fits: bool, pointer: &'static str, detail: &str) {
        if !fits {
            self.add(pointer, detail);
        }
    }

    /// Checks a text that people read: not blank, not too long, no control characters (which
    /// PostgreSQL refuses or pages garble).
    pub fn text(&mut self, pointer: &'static str, text: &str, chars_max: usize) {
        let fits = !text.trim().is_empty()
            && text.chars().count() <= chars_max
            && !text.chars().any(char::is_control);
        let detail = format!("must have 1 to {chars_max} characters, no control characters");
        self.check(fits, pointer, &detail);
    }

    /// Checks a word of a closed list.
    pub fn one_of(&mut self, pointer: &'static str, value: &str, allowed: &[&str]) {
        let detail = format!("must be one of {}", allowed.join(", "));
        self.check(allowed.contains(&value), pointer, &detail);
    }

    /// Checks a name in addresses.
    pub fn slug(&mut self, pointer: &'static str, slug: &str) {
        let is_letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let fits = (1..=SLUG_MAX).contains(&slug.len()) && slug.bytes().all(is_letter);
        self.check(fits, pointer, "must have 1 to 64 characters of a-z, 0-9 and -; give one");
    }

    /// Reads an amount of zero or more, `None` for what is wrong.
    pub fn amount(
        &mut self,
        pointer: &'static str,
        text: &str,
        currency: Currency,
    ) -> Option<Money> {
        match Money::parse_amount(text, currency, AmountRule::ZeroOrMore) {
            Ok(money) => Some(money),
            Err(e) => {
                self.add(pointer, e.to_string());
                None
            }
        }
    }

    /// Ends with all mistakes, if there are any.
    pub fn end(self) -> Result<(), Problem> {
        if self.0.is_empty() {
            return Ok(());
        }
        let problem = Problem::new(Code::InvalidField);
        Err(self.0.into_iter().fold(problem, |p, (pointer, detail)| p.error(pointer, detail)))
    }
}

/// Makes a name for addresses out of a name for people: `Müller & Co` becomes `m-ller-co`; a name
/// in another script becomes empty, and its owner must give one.
pub fn slug_of(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut slug = words.collect::<Vec<_>>().join("-").to_ascii_lowercase();
    slug.truncate(SLUG_MAX);
    slug.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_mistake_is_told_at_its_place() {
        let mut wrong = Mistakes::default();
        wrong.text("/name", " ", NAME_MAX);
        wrong.text("/label", "two\nlines", NAME_MAX);
        wrong.text("/note", "good", NAME_MAX);
        wrong.one_of("/status", "gone", &["active", "paused"]);
        wrong.slug("/slug", "Shop");
        let eur = "EUR".parse().unwrap();
        assert_eq!(wrong.amount("/min", "1,5", eur), None);
        assert_eq!(wrong.amount("/max", "1.50", eur), Some(Money::new(150, eur)));
        let problem = wrong.end().unwrap_err();
        let at: Vec<&str> = problem.errors().iter().map(|e| e.pointer.as_str()).collect();
        assert_eq!(at, ["/name", "/label", "/status", "/slug", "/min"]);
        assert!(Mistakes::default().end().is_ok());
    }

    #[test]
    fn absent_null_and_given_are_three_things() {
        #[derive(Deserialize)]
        struct Body {
            #[serde(default, deserialize_with = "present")]
            owner: Option<Option<String>>,
        }
        for (json, expected) in [
            ("{}", None),
            (r#"{"owner":null}"#, Some(None)),
            (r#"{"owner":"Anna"}"#, Some(Some("Anna".to_owned()))),
        ] {
            assert_eq!(parse_json::<Body>(json.as_bytes()).unwrap().owner, expected, "{json}");
        }
    }

    proptest! {
        #[test]
        fn a_made_slug_is_empty_or_good(name in "\\PC{0,100}") {
            let slug = slug_of(&name);
            let mut wrong = Mistakes::default();
            wrong.slug("/slug", &slug);
            prop_assert_eq!(wrong.end().is_err(), slug.is_empty(), "{:?}", slug);
        }
    }

    #[test]
    fn slugs_keep_the_words() {
        assert_eq!(slug_of("Coffee & Tea, 2nd shop!"), "coffee-tea-2nd-shop");
        assert_eq!(slug_of("Магазин"), "");
    }
}
