//! What a visitor is told, as a response of the server and as the bytes of one.

use actix_http::{Response, StatusCode};
use actix_web::body::BoxBody;
use actix_web::http::header::{ALLOW, HeaderName, HeaderValue, LOCATION};

use crate::clock::Timestamp;

/// What every answer to the visitor of a link says.
const SAID: [(HeaderName, &str); 3] = [
    (HeaderName::from_static("cache-control"), "no-store"),
    (HeaderName::from_static("referrer-policy"), "strict-origin-when-cross-origin"),
    (HeaderName::from_static("x-robots-tag"), "noindex, nofollow"),
];

/// The same as bytes, from the end of the line before to the date.
const SAID_AS_BYTES: &[u8] = b"\r\ncache-control: no-store\
    \r\nreferrer-policy: strict-origin-when-cross-origin\
    \r\nx-robots-tag: noindex, nofollow\
    \r\ncontent-length: 0\
    \r\ndate: ";

/// The methods of a link.
const ALLOWED: &str = "GET, HEAD";

/// What the visitor of a link is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To go on there: a serialized URL.
    Found(String),
    /// To ask again when a person wants to go there. With a 302 the browser would keep the landing
    /// page and the true click would never come; what is not 2xx is not kept.
    NotYet,
    /// To ask with GET.
    OnlyGet,
}

impl Answer {
    fn status(&self) -> StatusCode {
        match self {
            Self::Found(_) => StatusCode::FOUND,
            Self::NotYet => StatusCode::SERVICE_UNAVAILABLE,
            Self::OnlyGet => StatusCode::METHOD_NOT_ALLOWED,
        }
    }

    /// Returns the header that only this answer has.
    fn own(&self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::Found(url) if is_value(url) => Some((LOCATION, HeaderValue::from_str(url).ok()?)),
            Self::Found(_) => None,
            Self::NotYet => None,
            Self::OnlyGet => Some((ALLOW, HeaderValue::from_static(ALLOWED))),
        }
    }

    /// Returns the response of an HTTP server.
    pub fn into_response(self) -> Response<BoxBody> {
        let mut response = Response::new(self.status());
        let said = SAID.map(|(name, value)| (name, HeaderValue::from_static(value)));
        for (name, value) in said.into_iter().chain(self.own()) {
            response.headers_mut().insert(name, value);
        }
        response
    }

    /// Appends the same as the bytes of HTTP/1.1 (RFC 9112), with the date and, where no request may
    /// follow, the end of the connection.
    pub fn write(&self, date: &HttpDate, is_last: bool, out: &mut Vec<u8>) {
        let [status, own]: [&[u8]; 2] = match self {
            Self::Found(url) if is_value(url) => {
                [b"HTTP/1.1 302 Found\r\nlocation: ", url.as_bytes()]
            }
            Self::Found(_) => [b"HTTP/1.1 302 Found", b""],
            Self::NotYet => [b"HTTP/1.1 503 Service Unavailable", b""],
            Self::OnlyGet => [b"HTTP/1.1 405 Method Not Allowed\r\nallow: ", ALLOWED.as_bytes()],
        };
        let end: &[u8] = if is_last { b"\r\nconnection: close\r\n\r\n" } else { b"\r\n\r\n" };
        for part in [status, own, SAID_AS_BYTES, date.as_bytes(), end] {
            out.extend_from_slice(part);
        }
    }
}

/// Tells whether a text can stand behind the name of a header, as everything serialized as a URL can.
fn is_value(text: &str) -> bool {
    text.bytes().all(|c| matches!(c, b' '..=b'~'))
}

/// The value of a `Date` header (RFC 9110, 5.6.7), written once a second.
#[derive(Debug, Default)]
pub struct HttpDate {
    second: i64,
    text: String,
}

impl HttpDate {
    /// Returns it for that time.
    pub fn at(&mut self, now: Timestamp) -> &Self {
        if self.second != now.timestamp() || self.text.is_empty() {
            self.second = now.timestamp();
            self.text = now.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        }
        self
    }

    /// Returns the text of it.
    pub fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_response_say_the_same() {
        let mut date = HttpDate::default();
        let date = date.at("2026-11-02T08:09:10.9Z".parse().unwrap());
        let url = "https://shop.example/?click_id=1".to_owned();
        for answer in [Answer::Found(url), Answer::NotYet, Answer::OnlyGet] {
            let mut bytes = Vec::new();
            answer.write(date, false, &mut bytes);
            let mut headers = [httparse::EMPTY_HEADER; 8];
            let mut read = httparse::Response::new(&mut headers);
            assert_eq!(read.parse(&bytes), Ok(httparse::Status::Complete(bytes.len())));
            let response = answer.clone().into_response();
            assert_eq!(read.code, Some(response.status().as_u16()));
            let mut told: Vec<_> = read.headers.iter().map(|h| (h.name, h.value)).collect();
            told.retain(|(name, _)| !["date", "content-length"].contains(name));
            assert_eq!(told.len(), response.headers().len());
            for (name, value) in told {
                assert_eq!(response.headers().get(name).unwrap().as_bytes(), value, "{name}");
            }
        }
    }

    #[test]
    fn the_date_is_that_of_http_and_the_last_answer_says_so() {
        let mut date = HttpDate::default();
        for (at, text) in [
            ("2026-11-02T08:09:10.9Z", "Mon, 02 Nov 2026 08:09:10 GMT"),
            ("2026-11-02T08:09:11Z", "Mon, 02 Nov 2026 08:09:11 GMT"),
        ] {
            let mut bytes = Vec::new();
            Answer::NotYet.write(date.at(at.parse().unwrap()), true, &mut bytes);
            let told = String::from_utf8(bytes).unwrap();
            assert!(told.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{told}");
            let end = format!("content-length: 0\r\ndate: {text}\r\nconnection: close\r\n\r\n");
            assert!(told.ends_with(&end), "{told}");
        }
    }

    #[test]
    fn what_is_no_header_value_is_not_written() {
        let mut bytes = Vec::new();
        let split = Answer::Found("https://shop.example/\r\nset-cookie: a=b".to_owned());
        split.write(&HttpDate::default(), false, &mut bytes);
        assert!(!String::from_utf8(bytes).unwrap().contains("cookie"));
        assert!(!split.into_response().headers().contains_key(LOCATION));
    }
}
