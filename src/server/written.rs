//! A response as the bytes of HTTP/1.1 (RFC 9112), for whom the door answers.

use actix_http::Response;
use actix_web::body::{BoxBody, MessageBody as _};
use actix_web::http::{StatusCode, header};

use crate::click::answer_http::HttpDate;
use crate::intake::webhook::plain_http::Reply;
use crate::web::request_id::X_REQUEST_ID;

/// Appends the answer to a webhook.
pub(super) fn reply(reply: Reply, date: &HttpDate, is_last: bool, out: &mut Vec<u8>) {
    match reply {
        Reply::Accepted { request, body } => {
            let request_id = X_REQUEST_ID;
            let headers = [
                (header::CONTENT_TYPE.as_str(), &b"application/json"[..]),
                (request_id.as_str(), request.0.as_bytes()),
            ];
            write(StatusCode::ACCEPTED, headers.into_iter(), body.as_bytes(), date, is_last, out);
        }
        Reply::More(answer) => response(answer, date, is_last, out),
    }
}

/// Appends a response. A body has to be there as a whole, as those of the API are.
fn response(response: Response<BoxBody>, date: &HttpDate, is_last: bool, out: &mut Vec<u8>) {
    let (head, body) = response.into_parts();
    let body = body.try_into_bytes().unwrap_or_default();
    let headers = head.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    write(head.status(), headers, &body, date, is_last, out);
}

/// Appends a status, headers, the length, the date and, where no request may follow, the end of the
/// connection, and then the body.
fn write<'h>(
    status: StatusCode,
    headers: impl Iterator<Item = (&'h str, &'h [u8])>,
    body: &[u8],
    date: &HttpDate,
    is_last: bool,
    out: &mut Vec<u8>,
) {
    let mut line = |parts: [&[u8]; 4]| {
        parts.into_iter().for_each(|part| out.extend_from_slice(part));
        out.extend_from_slice(b"\r\n");
    };
    let reason = status.canonical_reason().unwrap_or_default();
    line([b"HTTP/1.1 ", status.as_str().as_bytes(), b" ", reason.as_bytes()]);
    for (name, value) in headers {
        line([name.as_bytes(), b": ", value, b""]);
    }
    line([b"content-length: ", body.len().to_string().as_bytes(), b"\r\ndate: ", date.as_bytes()]);
    if is_last {
        line([b"connection: close", b"", b"", b""]);
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
}

#[cfg(test)]
mod tests {
    use actix_web::HttpResponse;

    use super::*;

    fn written(response: HttpResponse, is_last: bool) -> String {
        let mut bytes = Vec::new();
        let mut date = HttpDate::default();
        let date = date.at("2026-11-02T08:09:10.9Z".parse().unwrap());
        reply(Reply::More(response.into()), date, is_last, &mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn an_answer_has_its_headers_and_its_length() {
        let answer = HttpResponse::Accepted().insert_header(("x-a", "1")).json(["é"]);
        let told = written(answer, false);
        let mut headers = [httparse::EMPTY_HEADER; 8];
        let mut read = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(head) = read.parse(told.as_bytes()).unwrap() else {
            panic!("{told}")
        };
        assert_eq!((read.code, read.reason), (Some(202), Some("Accepted")));
        assert_eq!(&told[head..], "[\"é\"]");
        let mut told: Vec<_> =
            read.headers.iter().map(|h| (h.name, std::str::from_utf8(h.value).unwrap())).collect();
        told.sort_unstable();
        assert_eq!(
            told,
            [
                ("content-length", "6"),
                ("content-type", "application/json"),
                ("date", "Mon, 02 Nov 2026 08:09:10 GMT"),
                ("x-a", "1"),
            ]
        );
    }

    #[test]
    fn the_last_answer_says_so() {
        let told = written(HttpResponse::NotFound().finish(), true);
        assert!(told.starts_with("HTTP/1.1 404 Not Found\r\n"), "{told}");
        assert!(told.ends_with("GMT\r\nconnection: close\r\n\r\n"), "{told}");
        assert!(told.contains("content-length: 0\r\n"), "{told}");
    }
}
