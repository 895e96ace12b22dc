//! The door of the public listener, seen from the wire: plain requests for links are answered there,
//! all others by the server behind it, and nobody can tell which was which.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use tributary::conversion::signature::sign;

use crate::harness::{Scene, TestApp};

const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const HUMANS: &str = "select count(*) from clicks where class = 0";

/// A connection on which answers are read one by one.
struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    async fn to(app: &TestApp) -> Self {
        let stream = app.connect().await;
        stream.set_nodelay(true).unwrap();
        Self { stream, read: Vec::new() }
    }

    async fn send(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).await.unwrap();
    }

    /// Returns the head of the next answer; none where the connection has ended.
    async fn head(&mut self) -> Option<String> {
        self.answer().await.map(|(head, _)| head)
    }

    /// Returns the head and the body of the next answer.
    async fn answer(&mut self) -> Option<(String, String)> {
        loop {
            if let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8(self.read.drain(..end + 4).collect()).unwrap();
                let length: usize = header(&head, "content-length").unwrap_or("0").parse().unwrap();
                while self.read.len() < length {
                    assert!(self.more().await, "the body of {head} is cut off");
                }
                let body = String::from_utf8(self.read.drain(..length).collect()).unwrap();
                return Some((head, body));
            }
            if !self.more().await {
                return None;
            }
        }
    }

    async fn more(&mut self) -> bool {
        let reading = self.stream.read_buf(&mut self.read);
        // Whoever leaves while something is on its way to him is heard as an error.
        timeout(Duration::from_secs(20), reading).await.unwrap().unwrap_or(0) > 0
    }
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().filter_map(|line| line.split_once(": ")).find(|(n, _)| *n == name).map(|(_, v)| v)
}

/// What an answer says, without what differs from one to the next.
fn said(head: &str) -> Vec<String> {
    let mut lines: Vec<String> = head
        .lines()
        .filter(|line| !line.starts_with("date: ") && !line.starts_with("x-request-id: "))
        .map(|line| line.split("click_id=").next().unwrap().to_owned())
        .collect();
    lines[1..].sort();
    lines
}

fn path_of(link: &str) -> &str {
    &link[link.find("/r/").unwrap()..]
}

#[actix_web::test]
async fn visitors_and_everybody_else_share_a_connection() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let path = path_of(&scene.link);
    let visit = |method: &str, path: &str| {
        format!("{method} {path} HTTP/1.1\r\nHost: x\r\nUser-Agent: {AGENT}\r\n\r\n")
    };
    let mut connection = Connection::to(&app).await;
    let mut told = Vec::new();
    for request in [
        visit("GET", path),
        visit("HEAD", path),
        visit("GET", "/r/broken"),
        visit("GET", "/robots.txt"),
        visit("GET", path),
        visit("HEAD", path),
        visit("GET", "/r/broken"),
    ] {
        connection.send(&request).await;
        told.push(connection.head().await.unwrap());
    }
    assert!(told[3].starts_with("HTTP/1.1 200"), "{}", told[3]);
    // From there on it is the server behind that answers.
    for n in 0..3 {
        assert!(told[n].starts_with("HTTP/1.1 302 Found\r\n"), "{}", told[n]);
        assert_eq!(said(&told[n]), said(&told[n + 4]));
        assert!(header(&told[n], "date").unwrap().ends_with(" GMT"));
    }
    assert!(header(&told[0], "location").unwrap().contains("click_id="));
    app.wait_for_count(2, HUMANS).await;
    app.wait_for_count(2, "select count(*) from clicks where class = 4").await;
}

#[actix_web::test]
async fn what_is_not_plain_is_understood_in_one_way() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let path = path_of(&scene.link);
    let get = format!("GET {path} HTTP/1.1\r\nHost: x\r\nUser-Agent: {AGENT}\r\n");
    let many: String = (0..80).map(|n| format!("X-Header-{n}: {n}\r\n")).collect();
    let long = format!("{get}X-Long: {}\r\n\r\n", "x".repeat(9000));
    let (found, other) = ("HTTP/1.1 302", "HTTP/1.1 4");
    let mut n_humans = 0;
    for (requests, answers, ends) in [
        // Two at once, and a visitor who speaks of a body or really has one.
        (vec![format!("{get}\r\n{get}\r\n")], vec![found, found], false),
        (vec![format!("{get}Content-Length: 0\r\n\r\n")], vec![found], false),
        (vec![format!("{get}Content-Length: 5\r\n\r\nhello{get}\r\n")], vec![found, found], false),
        (
            vec![format!(
                "{get}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n{get}\r\n"
            )],
            vec![found, found],
            false,
        ),
        // A body that looks like a visitor is none, whether the server reads it or leaves.
        (
            vec![format!("{get}Content-Length: {}\r\n\r\n", get.len() + 2), format!("{get}\r\n")],
            vec![found],
            true,
        ),
        // In pieces, the first of which is no head; the second request is whole.
        (
            vec![get[..9].to_owned(), format!("{}\r\n", &get[9..]), format!("{get}\r\n")],
            vec![found; 2],
            false,
        ),
        (vec![format!("{get}\r\n"), get.clone(), "\r\n".to_owned()], vec![found; 2], false),
        // Headers beyond count and measure.
        (vec![format!("{get}{many}\r\n")], vec![found], false),
        (vec![long], vec![found], false),
        // The connection is to end, or stays as it is.
        (vec![format!("{get}Connection: close\r\n\r\n")], vec![found], true),
        (vec![format!("{get}Connection: keep-alive\r\n\r\n")], vec![found], false),
        (vec![get.replace("HTTP/1.1", "HTTP/1.0") + "\r\n"], vec!["HTTP/1.0 302"], true),
        // What a URL should not have in its query is no reason to send a visitor away.
        (vec![get.replace(" HTTP", "?sub1=<a>\"b\\^`{|} HTTP") + "\r\n"], vec![found], false),
        // Not a visitor at all.
        (vec![get.replace("GET", "POST") + "\r\n"], vec!["HTTP/1.1 405"], false),
        (vec!["\u{16}\u{3}\u{1} no HTTP\r\n\r\n".to_owned()], vec![other], true),
        (vec![format!("GET {path} HTTP/1.1\r\nBad Header: x\r\n\r\n")], vec![other], true),
    ] {
        let mut connection = Connection::to(&app).await;
        for request in &requests {
            connection.send(request).await;
            // Somebody else is served meanwhile, so that pieces come as pieces.
            app.send("GET", "/robots.txt", &[], "").await;
        }
        for answer in &answers {
            let head = connection.head().await.unwrap_or_default();
            assert!(head.starts_with(answer), "{answer} for {requests:?}, not {head:?}");
            n_humans += i64::from(answer.ends_with("302"));
        }
        if ends {
            assert_eq!(connection.head().await, None, "{requests:?}");
        } else {
            connection.send(&format!("{get}\r\n")).await;
            let head = connection.head().await.unwrap_or_default();
            assert!(head.starts_with(found), "{requests:?}, then {head:?}");
            n_humans += 1;
        }
    }
    app.wait_for_count(n_humans, HUMANS).await;
}

#[actix_web::test]
async fn behind_a_trusted_proxy_a_visitor_is_who_the_proxy_says() {
    let app = TestApp::start_with(&[("TRIBUTARY_TRUSTED_PROXIES", "127.0.0.0/8")]).await;
    let scene = app.scene().await;
    let mut connection = Connection::to(&app).await;
    // One connection carries them all, as a proxy that keeps its connections does.
    for forwarded in [
        "X-Forwarded-For: 192.0.2.1",
        "x-forwarded-for: 198.51.100.9, 192.0.2.1",
        "X-FORWARDED-FOR: 192.0.2.2",
        "Forwarded: for=192.0.2.3;proto=https",
        "Forwarded: for=\"[2001:db8::1]:4711\"",
        "X-Forwarded-For: 192.0.2.2\r\nX-Forwarded-For: 192.0.2.1",
    ] {
        let path = path_of(&scene.link);
        let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nUser-Agent: {AGENT}\r\n");
        connection.send(&format!("{head}{forwarded}\r\n\r\n")).await;
        assert!(connection.head().await.unwrap().starts_with("HTTP/1.1 302"), "{forwarded}");
    }
    app.wait_for_count(6, HUMANS).await;
    app.wait_for_count(4, "select count(*) from clicks where is_unique").await;
}

#[actix_web::test]
async fn nobody_waits_on_a_connection_when_the_service_stops() {
    let mut app = TestApp::start().await;
    let scene = app.scene().await;
    let mut used = Connection::to(&app).await;
    used.send(&format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", path_of(&scene.link))).await;
    assert!(used.head().await.unwrap().starts_with("HTTP/1.1 302"));
    let mut fresh = Connection::to(&app).await;
    app.stop().await;
    assert_eq!((used.head().await, fresh.head().await), (None, None));
    app.start_again().await;
}

/// A webhook about a sale of that order, as it comes over the wire: its head and its body.
fn sale(app: &TestApp, scene: &Scene, order_id: &str, more: &str) -> (String, String) {
    let data = json!({"event": "sale", "order_id": order_id, "amount": "10.00", "currency": "EUR",
        "metadata": {"note": "x".repeat(if more == "long" { 9_000 } else { 0 })}});
    let now = app.clock.now();
    let body = json!({"type": "conversion.created", "timestamp": now.to_rfc3339(), "data": data});
    let body = body.to_string();
    let id = format!("msg_{order_id}");
    let signature = sign(&scene.secret, &id, now, body.as_bytes());
    let signature = if more == "forged" { signature.to_uppercase() } else { signature };
    let head = format!(
        "POST /v1/webhooks/{} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         webhook-id: {id}\r\nWebhook-Timestamp: {}\r\nwebhook-signature: {signature}\r\n\
         Content-Length: {}\r\n\r\n",
        scene.source_id,
        now.timestamp(),
        body.len()
    );
    (head, body)
}

#[actix_web::test]
async fn webhooks_at_the_door_and_behind_it_are_answered_alike() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let visit = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", path_of(&scene.link));
    let without_receipt = |body: &str| {
        let mut told: Value = serde_json::from_str(body).unwrap();
        for varies in ["receipt", "request_id", "server_time"] {
            told.as_object_mut().unwrap().remove(varies);
        }
        told
    };
    let mut n_taken = 0;
    for (name, more, status) in [
        ("plain", "", "202 Accepted"),
        ("forged", "forged", "401 Unauthorized"),
        ("disabled", "no such source", "404 Not Found"),
        ("long", "long", "202 Accepted"),
    ] {
        let mut told = Vec::new();
        for way in ["door", "behind"] {
            let (head, body) = sale(&app, &scene, &format!("{name}-{way}"), more);
            let head = match more {
                "no such source" => head.replace(&scene.source_id, "src_unknown"),
                _ => head,
            };
            let mut connection = Connection::to(&app).await;
            match way {
                "door" => connection.send(&format!("{head}{body}")).await,
                _ => {
                    connection.send(&head).await;
                    // Somebody else is served meanwhile, so that pieces come as pieces.
                    app.send("GET", "/robots.txt", &[], "").await;
                    connection.send(&body).await;
                }
            }
            let (head, body) = connection.answer().await.unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{name} {way}: {head}");
            assert!(header(&head, "x-request-id").is_some(), "{head}");
            n_taken += i64::from(status.starts_with("202"));
            told.push((said(&head), without_receipt(&body)));
            // The connection goes on, for a visitor, too.
            connection.send(&visit).await;
            assert!(connection.head().await.unwrap().starts_with("HTTP/1.1 302"), "{name} {way}");
        }
        let [at_door, behind] = &told[..] else { panic!("two ways") };
        // Of the same length but for the names of the orders.
        let of = |told: &(Vec<String>, Value)| {
            let lines = told.0.iter().filter(|line| !line.starts_with("content-length: "));
            let text = told.1.to_string().replace("behind", "door");
            (lines.cloned().collect::<Vec<_>>(), text)
        };
        assert_eq!(of(at_door), of(behind), "{name}");
    }
    app.wait_for_count(n_taken, "select count(*) from conversions").await;
}

#[actix_web::test]
async fn where_a_webhook_ends_is_told_in_one_way() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let (head, body) = sale(&app, &scene, "first", "");
    let (next_head, next_body) = sale(&app, &scene, "next", "");
    let next = format!("{next_head}{next_body}");
    let length = format!("Content-Length: {}", body.len());
    let with = |lines: &str| head.replace(&length, lines);
    let chunked = with("Transfer-Encoding: chunked");
    let refused = "HTTP/1.1 400";
    for (request, answers) in [
        // Two at once: the second is no part of the first. In pieces, the first is known or not yet.
        (format!("{head}{body}{next}"), &["HTTP/1.1 202", "HTTP/1.1 202"][..]),
        (format!("{chunked}{:x}\r\n{body}\r\n0\r\n\r\n", body.len()), &["HTTP/1.1 20"]),
        // The same length told twice, two lengths, and none that is a number.
        (format!("{}{body}", with(&format!("{length}\r\n{length}"))), &[refused]),
        (format!("{}{body}", with(&format!("Content-Length: 5\r\n{length}"))), &[refused]),
        (format!("{}{body}", with("Content-Length: +5")), &[refused]),
        // Without a length there is no body, which nobody has signed; what follows is no request.
        (
            format!("{}{body}", head.replace(&format!("{length}\r\n"), "")),
            &["HTTP/1.1 401", refused],
        ),
    ] {
        let mut connection = Connection::to(&app).await;
        connection.send(&request).await;
        for answer in answers {
            let head = connection.head().await.unwrap_or_default();
            assert!(head.starts_with(answer), "{answer} for {request}, not {head:?}");
        }
    }
    app.wait_for_count(2, "select count(*) from conversions").await;
}
