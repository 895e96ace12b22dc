//! A response as the bytes of HTTP/1.1 (RFC 9112), for whom the door answers.

use actix_http::Response;
use actix_web::body::{BoxBody, MessageBody as _};

use crate::click::answer_http::HttpDate;

/// Appends a response with its length, the date and, where no request may follow, the end of the
/// connection. A body has to be there as a whole, as those of the API are.
pub(super) fn write(
    response: Response<BoxBody>,
    date: &HttpDate,
    is_last: bool,
    out: &mut Vec<u8>,
) {
    let (head, body) = response.into_parts();
    let body = body.try_into_bytes().unwrap_or_default();
    let mut line = |parts: [&[u8]; 4]| {
        parts.into_iter().for_each(|part| out.extend_from_slice(part));
        out.extend_from_slice(b"\r\n");
    };
    let status = head.status();
    let reason = status.canonical_reason().unwrap_or_default();
    line([b"HTTP/1.1 ", status.as_str().as_bytes(), b" ", reason.as_bytes()]);
    for (name, value) in head.headers() {
        line([name.as_str().as_bytes(), b": ", value.as_bytes(), b""]);
    }
    line([b"content-length: ", body.len().to_string().as_bytes(), b"\r\ndate: ", date.as_bytes()]);
    if is_last {
        line([b"connection: close", b"", b"", b""]);
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&body);
}

#[cfg(test)]
mod tests {
    use actix_web::HttpResponse;

    use super::*;

    fn written(response: HttpResponse, is_last: bool) -> String {
        let mut bytes = Vec::new();
        let mut date = HttpDate::default();
        let date = date.at("2026-11-02T08:09:10.9Z".parse().unwrap());
        write(response.into(), date, is_last, &mut bytes);
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
