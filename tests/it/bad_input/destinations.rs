//! Deep links: a visitor lands at the program's own shop, whatever the link asks for.

use url::Url;

use super::{header_names, percent, token_of};
use crate::harness::TestApp;
use crate::harness::app::{BROWSER, click_id_of};

#[actix_web::test]
async fn no_link_leads_to_a_foreign_host() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let token = token_of(&scene);
    let long = format!("https://shop.example/{}", "a".repeat(8 * 1024));
    let texts = [
        "//evil.example/",
        "\\\\evil.example",
        "/\\evil.example",
        "https:\\\\evil.example",
        "https://shop.example@evil.example/",
        "https://shop.example:pass@evil.example/",
        "https://shop.example%40evil.example/",
        "https://shop.example.evil.example/",
        "https://evil.example/shop.example",
        "https://evil.example#shop.example",
        "https://evil.example?shop.example",
        "https://evilshop.example/",
        "javascript:alert(1)//shop.example",
        "data:text/html,<script>alert(1)</script>",
        "vbscript:x",
        "file:///etc/passwd",
        "ftp://shop.example/",
        "http://shop.example/",
        "ht\ttps://evil.example/",
        "https://shop.example\t.evil.example/",
        "https://shop.example\n.evil.example/",
        "https://shop.example/\r\nLocation: https://evil.example",
        " https://evil.example/",
        "https://ѕhop.example/",
        "https://shop.example。evil.example/",
        "https://shop\u{ff0e}example\u{ff0f}.evil.example/",
        "https://xn--hop-bjd.example/",
        "https:evil.example",
        "https:///evil.example",
        "%2f%2fevil.example",
        "%252f%252fevil.example",
        "https://shop.example:8443/",
        "https://93.184.216.34/",
        "https://[2001:db8::1]/",
        "https://0x5db8d822/",
        "https://",
        "?",
        "",
        long.as_str(),
    ];
    for text in texts {
        for query in [
            format!("url={}", percent(text)),
            format!("url={}&url={}", percent(text), percent("https://evil.example")),
        ] {
            let answer = app
                .send("GET", &format!("/r/{token}?{query}"), &[("user-agent", BROWSER)], "")
                .await;
            assert_eq!(answer.status, 302, "{text:?}");
            let to = Url::parse(answer.header("location")).unwrap();
            assert_eq!(
                (to.scheme(), to.host_str()),
                ("https", Some("shop.example")),
                "{text:?}: {to}"
            );
            assert_eq!((to.port(), to.username()), (None, ""), "{text:?}: {to}");
            assert!(click_id_of(&answer).is_some(), "{text:?}: the click counts all the same");
        }
    }
    // A page of the shop is taken, so the table above is not refused for another reason.
    let good = format!("/r/{token}?url={}", percent("https://www.shop.example/shoes?a=1"));
    let answer = app.send("GET", &good, &[("user-agent", BROWSER)], "").await;
    assert!(answer.header("location").starts_with("https://www.shop.example/shoes?a=1&"));
    app.settle(&scene).await;
    let n = i64::try_from(texts.len()).unwrap();
    assert_eq!(app.count("select count(*) from clicks").await, 2 * n + 1);
}

#[actix_web::test]
async fn line_ends_in_parameters_make_no_header() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let token = token_of(&scene);
    let plain = header_names(&app.click(&scene.link).await);
    let evil = "a\r\nSet-Cookie: x=1\r\n\r\n<script>";
    for name in ["url", "sub1", "sub5", "erid", "utm_source", "click_id", "anything"] {
        for value in [percent(evil), percent("a\nX-Evil: 1"), percent("\u{010d}\u{010a}X: 1")] {
            let path = format!("/r/{token}?{name}={value}");
            let answer = app.send("GET", &path, &[("user-agent", BROWSER)], "").await;
            assert_eq!(answer.status, 302, "{path}");
            assert_eq!(header_names(&answer), plain, "{path}");
            assert!(answer.body.is_empty());
            let location = answer.header("location");
            assert!(location.bytes().all(|b| b.is_ascii_graphic()), "{location}");
        }
    }
    // Line ends that are not encoded end the request line: the server refuses or reads no more.
    let raw = format!("GET /r/{token}?sub1=a\r\nX-Evil: 1 HTTP/1.1\r\nHost: x\r\n\r\n");
    let answer = app.send_bytes(&raw).await;
    assert!(answer.starts_with("HTTP/1.1 400") || answer.starts_with("HTTP/1.0 400"), "{answer}");
    assert!(!answer.to_lowercase().contains("x-evil"));
}
