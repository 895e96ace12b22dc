//! Bad links: the visitor gets a page that helps, the partner gets no click.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::Days;
use serde_json::{Value, json};
use tributary::ids::{LinkNo, PartnerNo, ProgramNo};
use tributary::link::token::LinkToken;
use tributary::signing::KeyRing;

use super::token_of;
use crate::harness::app::{BROWSER, click_id_of};
use crate::harness::{Answer, Scene, TestApp};

const HELP: &str = "http://localhost:8080/link-help";
const LOST: &str = "https://shop.example/lost";
const CLICKS: &str = "select count(*) from clicks";

/// Expects the program's page for lost visitors, or ours, and no click id.
#[track_caller]
fn expect_help(answer: &Answer, what: &str) {
    assert_eq!(answer.status, 302, "{what}");
    let to = answer.header("location");
    assert!([HELP, LOST].contains(&to), "{what}: {to}");
}

async fn scene_with_fallback(app: &TestApp) -> Scene {
    let scene = app.scene().await;
    change(app, &format!("/v1/programs/{}", scene.program_id), json!({"fallback_url": LOST})).await;
    scene
}

async fn change(app: &TestApp, path: &str, body: Value) {
    app.call(&app.admin_key, "PATCH", path, body).await.expect(200);
    app.app().keeper.refresh().await.unwrap();
}

/// A good click after all the bad ones: it is the only one that was kept.
async fn expect_only_one_click(app: &TestApp, scene: &Scene) {
    app.click_id(&scene.link).await;
    app.settle(scene).await;
    assert_eq!(app.count(CLICKS).await, 1);
}

async fn visit(app: &TestApp, token: &str) -> Answer {
    app.send("GET", &format!("/r/{token}"), &[("user-agent", BROWSER)], "").await
}

#[actix_web::test]
async fn a_forged_token_is_no_click_whichever_bit_is_bent() {
    let app = TestApp::start().await;
    let scene = scene_with_fallback(&app).await;
    let token = token_of(&scene);
    let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut bent = bytes.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        expect_help(&visit(&app, &URL_SAFE_NO_PAD.encode(bent)).await, &format!("bit {bit}"));
    }
    expect_only_one_click(&app, &scene).await;
}

#[actix_web::test]
async fn a_cut_or_rewritten_token_is_no_click() {
    let app = TestApp::start().await;
    let scene = scene_with_fallback(&app).await;
    let token = token_of(&scene);
    for len in 0..token.len() {
        expect_help(&visit(&app, &token[..len]).await, &format!("{len} characters"));
    }
    let first = format!("%{:02X}", token.as_bytes()[0]);
    for spelling in [
        format!("{token}="),
        format!("{token}%3D"),
        format!("{token}A"),
        format!("A{token}"),
        format!("%20{token}"),
        format!("{token}%20"),
        format!("{token}%0A"),
        format!("{token}%00"),
        format!("{token}/"),
        format!("{first}{}", &token[1..]),
        super::percent(&token),
        token.to_lowercase(),
        token.to_uppercase(),
        token.replace('-', "+").replace('_', "/").replacen('A', "+", 1),
        token.replacen('A', "/", 1),
        "%FF%FE".to_owned(),
        "a".repeat(8000),
    ] {
        expect_help(&visit(&app, &spelling).await, &spelling);
    }
    // The first twelve characters still say whose link it was: that program's page helps best.
    let cut = visit(&app, &token[..20]).await;
    assert_eq!(cut.header("location"), LOST);
    expect_only_one_click(&app, &scene).await;
}

#[actix_web::test]
async fn a_well_signed_token_of_nobody_is_no_click() {
    let app = TestApp::start().await;
    let scene = scene_with_fallback(&app).await;
    let keys = &app.app().link_keys.issued;
    let kept = LinkToken::verify(
        &app.app().link_keys,
        token_of(&scene),
        app.clock.now().date_naive(),
        |_, _| None,
    )
    .unwrap();
    let today = app.clock.now().date_naive();
    let sign = |token: LinkToken| token.sign(keys).unwrap();
    let foreign_kid = KeyRing::parse("7:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
    for (what, token) in [
        ("expired", sign(LinkToken { expires_on: Some(today - Days::new(1)), ..kept })),
        ("unknown program", sign(LinkToken { program: ProgramNo(9_999), ..kept })),
        ("unknown partner", sign(LinkToken { partner: PartnerNo(9_999_999), ..kept })),
        ("unknown kid", kept.sign(&foreign_kid).unwrap()),
        ("foreign key", kept.sign(&KeyRing::single([9; 32])).unwrap()),
    ] {
        expect_help(&visit(&app, &token).await, what);
    }
    // The last day itself is good, and so is a link that was never announced: its number is ours.
    for good in [
        LinkToken { expires_on: Some(today), ..kept },
        LinkToken { link: LinkNo(kept.link.0 + 1), ..kept },
    ] {
        assert!(click_id_of(&visit(&app, &sign(good)).await).is_some());
    }
    app.settle(&scene).await;
    assert_eq!(app.count(CLICKS).await, 2);
}

#[actix_web::test]
async fn what_is_switched_off_earns_no_click_until_it_is_on_again() {
    let app = TestApp::start().await;
    let scene = scene_with_fallback(&app).await;
    let (program, partner) = (&scene.program_id, &scene.partner_id);
    let link = format!("/v1/links/{}", scene.link_id);
    let enrollment = format!("/v1/partners/{partner}/enrollments/{program}");
    let shop = format!("/v1/programs/{program}");
    for (path, off, on) in
        [(&link, "paused", "active"), (&enrollment, "ended", "active"), (&shop, "paused", "active")]
    {
        change(&app, path, json!({"status": off})).await;
        expect_help(&app.click(&scene.link).await, path);
        change(&app, path, json!({"status": on})).await;
        app.click_id(&scene.link).await;
    }
    for (verb, status) in [("block", "blocked"), ("unblock", "active")] {
        let path = format!("/v1/partners/{partner}/{verb}");
        let body = json!({"reason": "fraud"});
        let answer = app.post(&app.admin_key, &path, body).await;
        assert_eq!(answer.expect(200)["status"], status);
        app.app().keeper.refresh().await.unwrap();
        if verb == "block" {
            expect_help(&app.click(&scene.link).await, verb);
        }
    }
    app.click_id(&scene.link).await;
    app.settle(&scene).await;
    assert_eq!(app.count(CLICKS).await, 4);
}

#[actix_web::test]
async fn only_a_person_who_comes_is_given_a_click_id() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let path = format!("/r/{}", token_of(&scene));
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"] {
        let answer = app.send(method, &path, &[("user-agent", BROWSER)], "").await;
        assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD"), "{method}");
    }
    for purpose in [
        ("sec-purpose", "prefetch"),
        ("sec-purpose", "prefetch;prerender"),
        ("purpose", "prefetch"),
        ("x-purpose", "preview"),
        ("x-moz", "prefetch"),
    ] {
        let answer = app.send("GET", &path, &[("user-agent", BROWSER), purpose], "").await;
        assert_eq!(answer.status, 503, "{purpose:?}");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("location"), "");
    }
    app.settle(&scene).await;
    assert_eq!(app.count(CLICKS).await, 0);

    // They are sent on, so that previews of the link work, and never count as a click.
    const GOOGLE: &str = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
    for (method, agent) in [("HEAD", BROWSER), ("GET", GOOGLE), ("GET", "curl/8.5.0")] {
        let answer = app.send(method, &path, &[("user-agent", agent)], "").await;
        assert_eq!(answer.status, 302, "{method} {agent}");
        assert!(answer.header("location").starts_with("https://shop.example/landing"));
        assert_eq!(click_id_of(&answer).unwrap_or_default(), "", "{method} {agent}");
    }
    app.settle(&scene).await;
    assert_eq!(app.count("select coalesce(sum(n_unique), 0)::bigint from click_hours").await, 0);
}
