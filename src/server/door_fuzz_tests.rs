//! Whatever comes over a connection: what the door takes is one plain request for a link, told by a
//! rule of another making. `./x fuzz` tries a million.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::intake::fuzz_tests::{Made, changes, damage, fuzz};

const LINES: [&str; 18] = [
    "Host: x",
    "User-Agent: Mozilla/5.0",
    "Cookie: a=b; c=d",
    "Connection: keep-alive",
    "connection: Keep-Alive",
    "Connection: close",
    "Connection: keep-alive, te",
    "Content-Length: 0",
    "content-length:5",
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

fn head() -> impl Strategy<Value = Vec<u8>> {
    let start = select(vec![
        "GET /r/abc?sub1=x HTTP/1.1",
        "HEAD /r/abc HTTP/1.1",
        "GET /r/ HTTP/1.1",
        "GET /r HTTP/1.1",
        "GET /r/abc#x HTTP/1.1",
        "GET /r/abc HTTP/1.0",
        "POST /r/abc HTTP/1.1",
        "GET http://x/r/abc HTTP/1.1",
        "GET /v1/links HTTP/1.1",
    ]);
    let end = select(vec!["\r\n\r\n", "\n\n", "\r\n", "", "\r\n\r\nGET /r/abc HTTP/1.1\r\n\r\n"]);
    let line = prop_oneof![3 => Just(LINES[0]), 3 => Just(LINES[1]), 2 => select(LINES.to_vec())];
    let changes = prop_oneof![Just(Vec::new()), changes()];
    (start, vec(line, 0..6), end, changes).prop_map(|(start, lines, end, changes)| {
        let lines: String = lines.iter().map(|line| format!("\r\n{line}")).collect();
        damage(format!("{start}{lines}{end}").into_bytes(), &changes)
    })
}

/// Tells by lines what a plain request is, if line ends are those of the standard.
fn is_plain_by_lines(read: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(read) else { return false };
    let Some(head) = text.strip_suffix("\r\n\r\n") else { return false };
    let mut lines = head.split("\r\n");
    let start: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let ["GET" | "HEAD", path, "HTTP/1.1"] = start[..] else { return false };
    let is_path = path.starts_with("/r/") && path.bytes().all(|c| (33..127).contains(&c));
    let is_header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        let is_name =
            !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
        let is_value = value.bytes().all(|c| (32..127).contains(&c) || c == b'\t');
        let keeps = match name.to_ascii_lowercase().as_str() {
            "connection" => value.trim().eq_ignore_ascii_case("keep-alive"),
            "content-length" | "transfer-encoding" | "expect" | "upgrade" => false,
            _ => true,
        };
        Some(is_name && is_value && keeps)
    };
    is_path && !path.contains('#') && lines.all(|line| is_header(line) == Some(true))
}

/// Tells whether anything but a head is there, or what makes one long, however lines end.
fn is_more(read: &[u8]) -> bool {
    let text = String::from_utf8_lossy(read).to_ascii_lowercase().replace('\r', "");
    // Empty lines before a request are nothing (RFC 9112, 2.2).
    let lines: Vec<&str> = text.trim_start_matches('\n').split('\n').collect();
    let names =
        lines.iter().skip(1).filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim());
    let more = ["content-length", "transfer-encoding", "expect", "upgrade"];
    let (end, before) =
        (lines.iter().rev().take_while(|line| line.is_empty()).count(), lines.len());
    names.into_iter().any(|name| more.contains(&name))
        || end != 2
        || lines[..before - end].iter().any(|line| line.is_empty())
}

#[test]
fn fuzz_heads() {
    let inputs = prop_oneof![3 => head(), 1 => vec(any::<u8>(), 0..80)];
    fuzz("heads at the door", inputs, |read| {
        let mut headers = [MaybeUninit::uninit(); HEADERS_MAX];
        let taken = plain(&read, &mut headers);
        let text = String::from_utf8_lossy(&read);
        if is_plain_by_lines(&read) {
            prop_assert!(taken.is_some(), "{:?}", text);
        }
        let Some(taken) = taken else { return Ok(Made::Refused) };
        prop_assert!(!is_more(&read), "{:?}", text);
        prop_assert!(matches!(taken.method, "GET" | "HEAD"));
        let mark = if taken.query.is_empty() { "" } else { "?" };
        let path = format!(" /r/{}{mark}", taken.token);
        prop_assert!(text.contains(&path));
        Ok(Made::Read)
    });
}
