//! Whatever comes over a connection: what the door takes is one plain request, told by a rule of
//! another making. `./x fuzz` tries a million.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::intake::fuzz_tests::{Made, changes, damage, fuzz};

const LINES: [&str; 21] = [
    "Host: x",
    "User-Agent: Mozilla/5.0",
    "Cookie: a=b; c=d",
    "Connection: keep-alive",
    "connection: Keep-Alive",
    "Connection: close",
    "Connection: keep-alive, te",
    "Content-Length: 0",
    "content-length:5",
    "Content-Length: 05",
    "Content-Length: +5",
    "Content-Length: 5, 5",
    "Transfer-Encoding: chunked",
    "Expect: 100-continue",
    "Upgrade: h2c",
    "X-Forwarded-For: 192.0.2.1",
    "Referer: https://blog.example/",
    "Sec-GPC: 1",
    "X-Empty:",
    "Content-Length : 5",
    " folded",
];

fn request() -> impl Strategy<Value = Vec<u8>> {
    let start = select(vec![
        "GET /r/abc?sub1=x HTTP/1.1",
        "HEAD /r/abc HTTP/1.1",
        "GET /r/ HTTP/1.1",
        "GET /r/abc#x HTTP/1.1",
        "GET /r/abc HTTP/1.0",
        "POST /r/abc HTTP/1.1",
        "GET http://x/r/abc HTTP/1.1",
        "GET /v1/links HTTP/1.1",
        "POST /v1/webhooks/src_1 HTTP/1.1",
        "POST /v1/webhooks/src_1?wait=1 HTTP/1.1",
        "PUT /v1/webhooks/src_1 HTTP/1.1",
    ]);
    let next = "\r\n\r\nGET /r/abc HTTP/1.1\r\n\r\n";
    let end = select(vec!["\r\n\r\n", "\r\n\r\n{\"a\"", "\n\n", "\n\n12345", "\r\n", "", next]);
    let length = "Content-Length: 5";
    let line = prop_oneof![
        3 => Just(LINES[0]), 3 => Just(LINES[1]), 1 => Just(length), 2 => select(LINES.to_vec())
    ];
    let changes = prop_oneof![Just(Vec::new()), changes()];
    (start, vec(line, 0..6), end, changes).prop_map(|(start, lines, end, changes)| {
        let lines: String = lines.iter().map(|line| format!("\r\n{line}")).collect();
        damage(format!("{start}{lines}{end}").into_bytes(), &changes)
    })
}

/// Tells by lines what a plain request is, if line ends are those of the standard.
fn is_plain_by_lines(read: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(read) else { return false };
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let mut lines = head.split("\r\n");
    let start: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let ["GET" | "HEAD" | "POST" | "PUT", path, "HTTP/1.1"] = start[..] else { return false };
    let is_path = !path.is_empty() && path.bytes().all(|c| (33..127).contains(&c) && c != b'#');
    let mut lengths = Vec::new();
    let mut is_header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        let is_name =
            !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
        let is_value = value.bytes().all(|c| (32..127).contains(&c) || c == b'\t');
        let keeps = match name.to_ascii_lowercase().as_str() {
            "connection" => value.trim().eq_ignore_ascii_case("keep-alive"),
            "transfer-encoding" | "expect" | "upgrade" => false,
            "content-length" => {
                lengths.push(value.trim().to_owned());
                true
            }
            _ => true,
        };
        Some(is_name && is_value && keeps)
    };
    is_path
        && lines.all(|line| is_header(line) == Some(true))
        && match &lengths[..] {
            [] => body.is_empty(),
            [length] => *length == body.len().to_string(),
            [_, _, ..] => false,
        }
}

/// Tells whether less or more is there than one request, however lines end.
fn is_another(read: &[u8]) -> bool {
    // Empty lines before a request are nothing (RFC 9112, 2.2).
    let begin = read.iter().position(|c| !b"\r\n".contains(c)).unwrap_or(read.len());
    let lines: Vec<&[u8]> = read[begin..].split_inclusive(|&c| c == b'\n').collect();
    let Some(end) = lines.iter().position(|line| [&b"\n"[..], b"\r\n"].contains(line)) else {
        return true;
    };
    let body_bytes: usize = lines[end + 1..].iter().map(|line| line.len()).sum();
    let head: Vec<String> = lines[..end]
        .iter()
        .map(|line| String::from_utf8_lossy(line).to_ascii_lowercase())
        .collect();
    let named = |wanted: &str| {
        let fields = head.iter().skip(1).filter_map(|line| line.split_once(':'));
        let values = fields.filter(|(name, _)| name.trim() == wanted);
        values.map(|(_, value)| value.trim().to_owned()).collect::<Vec<_>>()
    };
    let is_long = ["transfer-encoding", "expect", "upgrade"].iter().any(|n| !named(n).is_empty());
    is_long
        || match &named("content-length")[..] {
            [] => body_bytes != 0,
            [length] => length.parse() != Ok(body_bytes),
            [_, _, ..] => true,
        }
}

#[test]
fn fuzz_requests() {
    let inputs = prop_oneof![3 => request(), 1 => vec(any::<u8>(), 0..80)];
    fuzz("requests at the door", inputs, |read| {
        let mut headers = [MaybeUninit::uninit(); HEADERS_MAX];
        let taken = plain(&read, &mut headers);
        let text = String::from_utf8_lossy(&read);
        if is_plain_by_lines(&read) {
            prop_assert!(taken.is_some(), "{:?}", text);
        }
        let Some(taken) = taken else { return Ok(Made::Refused) };
        prop_assert!(!is_another(&read), "{:?}", text);
        let query = taken.query.map(|query| format!("?{query}")).unwrap_or_default();
        let start = format!("{} {}{query} HTTP/1.1", taken.method, taken.path);
        prop_assert!(text.contains(&start), "{:?}", text);
        prop_assert!(read.ends_with(taken.body.unwrap_or_default()));
        Ok(Made::Read)
    });
}
