//! Strict JSON bodies: right media type, bounded, and an error that points at the field.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::header;
use actix_web::{FromRequest, HttpRequest, web};
use futures_util::{Stream, StreamExt as _};
use serde::de::{DeserializeOwned, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;

use super::admission::Admission;
use super::headers::Headers;
use super::{BODY_MAX_BYTES, Code, Problem};

/// Names of an object that are compared one by one; further ones are hashed, so that an object of
/// thousands does not take the square of its time.
const FEW_NAMES: usize = 16;

/// A JSON body of at most [`BODY_MAX_BYTES`]. Whether unknown fields are refused is the type's
/// choice (`deny_unknown_fields`).
#[derive(Debug, Clone)]
pub struct StrictJson<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for StrictJson<T> {
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
            parse_json(&bytes).map(Self)
        })
    }
}

/// Reads a whole body of at most `limit_bytes`.
///
/// # Errors
/// `payload-too-large`; `malformed-json` when the caller stops in the middle.
pub async fn read(payload: web::Payload, limit_bytes: usize) -> Result<web::Bytes, Problem> {
    read_stream(payload, limit_bytes).await
}

/// Reads the bytes of a body, at most so many. One that came in one piece is not copied.
///
/// # Errors
/// As [`read`].
pub async fn read_stream(
    mut body: impl Stream<Item = Result<web::Bytes, PayloadError>> + Unpin,
    limit_bytes: usize,
) -> Result<web::Bytes, Problem> {
    let (mut first, mut all) = (web::Bytes::new(), web::BytesMut::new());
    while let Some(piece) = body.next().await {
        let piece = piece
            .map_err(|_| Problem::new(Code::MalformedJson).detail("The body ended too early."))?;
        if first.len().max(all.len()) + piece.len() > limit_bytes {
            return Err(Problem::new(Code::PayloadTooLarge)
                .detail(format!("A body may have {limit_bytes} bytes here."))
                .with("limit_bytes", limit_bytes));
        }
        if first.is_empty() {
            first = piece;
            continue;
        }
        if all.is_empty() {
            all.extend_from_slice(&first);
        }
        all.extend_from_slice(&piece);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

/// Checks that a body is plain, uncompressed JSON.
pub fn check_json(headers: &impl Headers) -> Result<(), Problem> {
    let text = |name| headers.has(name).then(|| headers.first(name).unwrap_or_default().trim());
    let encoding = text(&header::CONTENT_ENCODING).unwrap_or("identity");
    if !encoding.eq_ignore_ascii_case("identity") {
        return Err(Problem::new(Code::UnsupportedEncoding));
    }
    let media_type = text(&header::CONTENT_TYPE).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/json") {
        Ok(())
    } else {
        Err(Problem::new(Code::UnsupportedMediaType))
    }
}

/// Parses a JSON body. A name that stands twice in one object is no JSON here: what it means would
/// depend on who reads it (RFC 8259 section 4).
///
/// # Errors
/// `malformed-json` if it is no JSON, `invalid-field` with a pointer if it does not fit `T`.
pub fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let malformed = |e: serde_json::Error| {
        Problem::new(Code::MalformedJson).detail(format!("The body cannot be read: {e}."))
    };
    serde_json::from_slice::<Unambiguous>(body).map_err(malformed)?;
    serde_json::from_slice(body).map_err(|e| {
        let text = e.to_string();
        match e.classify() {
            Category::Syntax | Category::Eof | Category::Io => malformed(e),
            Category::Data => {
                let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
                let mut open = open_at(body, e.line(), e.column());
                if let Some(field) = what.strip_prefix("missing field `")
                    && let Some(Open::Object(key)) = open.last_mut()
                {
                    *key = Some(field.trim_end_matches('`').to_owned());
                }
                Problem::new(Code::InvalidField).error(pointer(&open), what)
            }
        }
    })
}

/// Any JSON in which no object has a name twice; only read, never kept.
struct Unambiguous;

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Unambiguous {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Self, A::Error> {
        while values.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self, A::Error> {
        let mut seen = Names::default();
        while let Some(Name(name)) = fields.next_key()? {
            fields.next_value::<Self>()?;
            if let Some(name) = seen.add(name) {
                return Err(A::Error::custom(format!("the name {name:?} stands twice")));
            }
        }
        Ok(self)
    }
}

/// The names of an object. Most have few, and looking through those costs less than hashing them.
#[derive(Default)]
struct Names<'de> {
    few: Vec<Cow<'de, str>>,
    many: HashSet<Cow<'de, str>>,
}

impl<'de> Names<'de> {
    /// Takes a name; gives it back if it is there already.
    fn add(&mut self, name: Cow<'de, str>) -> Option<Cow<'de, str>> {
        if self.few.contains(&name) || self.many.contains(&name) {
            return Some(name);
        }
        if self.few.len() < FEW_NAMES {
            self.few.push(name);
        } else {
            self.many.insert(name);
        }
        None
    }
}

/// A name, borrowed from the text where nothing in it is escaped.
struct Name<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameVisitor)
    }
}

struct NameVisitor;

impl<'de> Visitor<'de> for NameVisitor {
    type Value = Name<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
        Ok(Name(Cow::Borrowed(name)))
    }

    fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
        Ok(Name(Cow::Owned(name.to_owned())))
    }
}

/// A container that is open where reading stopped.
enum Open {
    Array(usize),
    /// Holds the key whose value comes next or has just been read.
    Object(Option<String>),
}

/// Returns what is open where reading stopped, outermost first. Serde says only line and column;
/// up to there the text is known to be valid JSON, so keys and commas tell the path.
fn open_at(body: &[u8], line: usize, column: usize) -> Vec<Open> {
    let start: usize = body.split_inclusive(|&c| c == b'\n').take(line - 1).map(<[u8]>::len).sum();
    let read = &body[..body.len().min(start + column)];
    // The last byte read may have opened or closed the very value that is wrong.
    let read = match read {
        [before @ .., b'{' | b'[' | b'}' | b']' | b','] => before,
        all => all,
    };
    let mut open: Vec<Open> = Vec::new();
    let mut at = 0;
    while let Some(&c) = read.get(at) {
        match (c, open.last_mut()) {
            (b'{', _) => open.push(Open::Object(None)),
            (b'[', _) => open.push(Open::Array(0)),
            (b'}' | b']', _) => drop(open.pop()),
            (b',', Some(Open::Array(index))) => *index += 1,
            (b',', Some(Open::Object(key))) => *key = None,
            (b'"', inside) => {
                let end = at + string_len(&read[at..]);
                if let Some(Open::Object(key @ None)) = inside {
                    *key = serde_json::from_slice(&read[at..end]).ok();
                }
                at = end - 1;
            }
            _ => {}
        }
        at += 1;
    }
    open
}

/// Writes a path as a JSON pointer (RFC 6901).
fn pointer(open: &[Open]) -> String {
    open.iter()
        .map(|step| match step {
            Open::Array(index) => format!("/{index}"),
            Open::Object(Some(key)) => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
            Open::Object(None) => String::new(),
        })
        .collect()
}

/// Returns the length of the string at the start of `text`, quotes included.
fn string_len(text: &[u8]) -> usize {
    let mut escaped = false;
    let end = text.iter().skip(1).position(|&c| {
        let closes = c == b'"' && !escaped;
        escaped = c == b'\\' && !escaped;
        closes
    });
    end.map_or(text.len(), |end| end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only parsed")]
    struct Order {
        id: String,
        items: Vec<Item>,
        #[serde(default, rename = "a/b~c")]
        odd: Option<u8>,
    }

    #[derive(Deserialize, Debug)]
    #[expect(dead_code, reason = "only parsed")]
    struct Item {
        sku: String,
        quantity: u8,
    }

    #[test]
    fn an_error_points_at_its_field() {
        for (body, pointer, detail) in [
            (r#"{"id":1,"items":[]}"#, "/id", "invalid type: integer `1`, expected a string"),
            (r#"{"id":{"x":[1,2]},"items":[]}"#, "/id", "invalid type: map, expected a string"),
            (r#"{"id":["x"],"items":[]}"#, "/id", "invalid type: sequence, expected a string"),
            (r#"{"id":"a"}"#, "/items", "missing field `items`"),
            (
                "{\n \"id\": \"}]\\\"{\",\n \"items\": [\n {\"sku\":\"s\",\"quantity\":1},\n {\"sku\":\"t\"}\n ]\n}",
                "/items/1/quantity",
                "missing field `quantity`",
            ),
            (
                r#"{"items":[{"sku":"s","quantity":300}],"id":"a"}"#,
                "/items/0/quantity",
                "invalid value: integer `300`, expected u8",
            ),
            (
                r#"{"items":[{"sku":"s","quantity":"1"}],"id":"a"}"#,
                "/items/0/quantity",
                "invalid type: string \"1\", expected u8",
            ),
            (
                r#"{"items":[],"id":"a","iten":0}"#,
                "/iten",
                "unknown field `iten`, expected one of `id`, `items`, `a/b~c`",
            ),
            (
                r#"{"items":[],"id":"a","a/b~c":true}"#,
                "/a~1b~0c",
                "invalid type: boolean `true`, expected u8",
            ),
            (r#"[1]"#, "/0", "invalid type: integer `1`, expected a string"),
            ("7", "", "invalid type: integer `7`, expected struct Order"),
        ] {
            let problem = parse_json::<Order>(body.as_bytes()).unwrap_err();
            assert_eq!(problem.code(), Code::InvalidField, "{body}");
            let found = &problem.errors()[0];
            assert_eq!(
                (found.pointer.as_str(), found.detail.as_str()),
                (pointer, detail),
                "{body}"
            );
        }
    }

    #[test]
    fn equal_names_in_different_objects_are_fine() {
        let body = br#"[{"a":{"a":-1.5e2},"b":[null,true,"a",18446744073709551616]},{"a":1}]"#;
        assert!(parse_json::<serde_json::Value>(body).is_ok());
    }

    #[test]
    fn what_is_no_json_is_malformed() {
        for body in [
            "{\"a\":1,\"a\":1}",
            "[{\"b\":{\"a\":1.5e9,\"\\u0061\":[]}}]",
            "",
            "{",
            "{\"id\":}",
            "{} {}",
            "\u{feff}{}",
            "{\"id\":\"\\ud800\"}",
        ] {
            let problem = parse_json::<serde_json::Value>(body.as_bytes()).unwrap_err();
            assert_eq!(problem.code(), Code::MalformedJson, "{body}");
        }
        assert!(parse_json::<serde_json::Value>(b"\"\xff\"").is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_body_makes_the_pointer_panic(body in "[\\[\\]{}\",:\\\\0-9a-z \n]{0,60}") {
            drop(parse_json::<Order>(body.as_bytes()));
        }
    }
}
