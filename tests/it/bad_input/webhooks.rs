//! Bad messages: who sends one learns why, and no conversion comes of it.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tributary::click::click_id::ClickId;
use tributary::clock::Timestamp;
use tributary::conversion::signature::{WebhookSecret, sign};
use tributary::ids::{LinkNo, PartnerNo, ProgramNo};
use tributary::signing::KeyRing;

use super::{Before, pointers};
use crate::harness::{Answer, Sale, TestApp};

type Headers = Vec<(&'static str, String)>;

fn headers(secret: &WebhookSecret, id: &str, at: Timestamp, body: &[u8]) -> Headers {
    vec![
        ("content-type", "application/json".to_owned()),
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", at.timestamp().to_string()),
        ("webhook-signature", sign(secret, id, at, body)),
    ]
}

async fn post(app: &TestApp, source_id: &str, headers: &Headers, body: &[u8]) -> Answer {
    let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
    app.send("POST", &format!("/v1/webhooks/{source_id}"), &headers, body).await
}

fn sale(order_id: &str) -> Sale<'_> {
    Sale { order_id, amount: "10.00", click_id: None }
}

fn message(app: &TestApp, data: &Value) -> Vec<u8> {
    let at = app.clock.now().to_rfc3339();
    json!({"type": "conversion.created", "timestamp": at, "data": data}).to_string().into_bytes()
}

async fn settled(app: &TestApp, answer: &Answer) -> Value {
    app.receipt(answer.expect(202)["receipt"].as_str().unwrap()).await
}

#[actix_web::test]
async fn a_message_without_its_three_headers_is_refused() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let body = message(&app, &sale("A").data());
    let good = headers(&scene.secret, "m1", app.clock.now(), &body);
    let before = Before::of(&app).await;
    for n in 1..good.len() {
        let name = good[n].0;
        let mut missing = good.clone();
        missing.remove(n);
        let mut blank = good.clone();
        blank[n].1 = String::new();
        let mut twice = good.clone();
        twice.push(good[n].clone());
        let mut garbled = good.clone();
        garbled[n].1 = "a.b c".to_owned();
        for (what, bent) in
            [("missing", missing), ("blank", blank), ("twice", twice), ("garbled", garbled)]
        {
            let answer = post(&app, &scene.source_id, &bent, &body).await;
            let problem = answer.expect_problem(401, "invalid-signature");
            let detail = problem["detail"].as_str().unwrap();
            assert!(
                detail.contains(name) || n == 3 && what != "missing",
                "{what} {name}: {detail}"
            );
        }
    }
    before.expect_unchanged(&app).await;
    settled(&app, &post(&app, &scene.source_id, &good, &body).await).await;
}

#[actix_web::test]
async fn a_message_that_somebody_else_signed_is_refused() {
    let app = TestApp::start().await;
    let (scene, other) = (app.scene().await, app.scene().await);
    let body = message(&app, &sale("A").data());
    let now = app.clock.now();
    let good = headers(&scene.secret, "m1", now, &body);
    let before = Before::of(&app).await;
    let with = |n: usize, value: String| {
        let mut bent = good.clone();
        bent[n].1 = value;
        bent
    };
    let altered = String::from_utf8(body.clone()).unwrap().replace("10.00", "99.00");
    let signature = &good[3].1;
    let bent = [
        (headers(&other.secret, "m1", now, &body), body.clone()),
        (with(1, "m2".to_owned()), body.clone()),
        (with(2, (now.timestamp() - 1).to_string()), body.clone()),
        (with(3, "v1,".to_owned()), body.clone()),
        (with(3, signature.to_lowercase()), body.clone()),
        (with(3, signature.replacen("v1,", "v2,", 1)), body.clone()),
        (with(3, signature.trim_start_matches("v1,").to_owned()), body.clone()),
        (with(3, signature.trim_end_matches('=').to_owned()), body.clone()),
        (with(3, format!("{} {signature}", "v2,AAAA ".repeat(16))), body.clone()),
        (good.clone(), altered.into_bytes()),
        (good.clone(), [&body[..], b" "].concat()),
        (good.clone(), Vec::new()),
    ];
    for (headers, body) in bent {
        let answer = post(&app, &scene.source_id, &headers, &body).await;
        answer.expect_problem(401, "invalid-signature");
    }
    // Another shop's address does not take it either.
    post(&app, &other.source_id, &good, &body).await.expect_problem(401, "invalid-signature");
    before.expect_unchanged(&app).await;
}

#[actix_web::test]
async fn a_message_counts_as_fresh_for_five_minutes_both_ways() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let body = message(&app, &sale("A").data());
    let now = app.clock.now();
    let before = Before::of(&app).await;
    for off in [-301, 301, -100_000, i64::from(i32::MAX)] {
        let headers = headers(&scene.secret, "m1", now + TimeDelta::seconds(off), &body);
        let answer = post(&app, &scene.source_id, &headers, &body).await;
        let problem = answer.expect_problem(401, "timestamp-out-of-tolerance");
        let told: Timestamp = problem["server_time"].as_str().unwrap().parse().unwrap();
        assert_eq!(told, now, "{off}");
    }
    before.expect_unchanged(&app).await;
    for (n, off) in [-300, -299, 299, 300].into_iter().enumerate() {
        let body = message(&app, &sale(&format!("A-{n}")).data());
        let headers =
            headers(&scene.secret, &format!("fresh{n}"), now + TimeDelta::seconds(off), &body);
        settled(&app, &post(&app, &scene.source_id, &headers, &body).await).await;
    }
    assert_eq!(app.count("select count(*) from conversions").await, 4);
}

#[actix_web::test]
async fn a_replay_is_known_and_a_contradiction_is_refused() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let created = "conversion.created";
    let first = app.webhook(&scene, "m1", created, sale("A").data()).await;
    let receipt = settled(&app, &first).await;
    let before = app.rows().await;

    let again = app.webhook_again(&scene, "m1", created, sale("A").data()).await.expect(200);
    assert_eq!(again["status"], "duplicate");
    assert_eq!(again["receipt"], receipt["receipt"]);
    assert_eq!(again["conversion_id"], receipt["conversion_id"]);

    let other_body = app.webhook_again(&scene, "m1", created, sale("B").data()).await;
    other_body.expect_problem(422, "webhook-id-reused");

    let dearer = Sale { amount: "10.01", ..sale("A") };
    let conflict = app.webhook_anew(&scene, "m2", created, dearer.data()).await;
    let problem = conflict.expect_problem(409, "conversion-conflict");
    assert_eq!(problem["conversion_id"], receipt["conversion_id"]);

    app.settle(&scene).await;
    let mut after = app.rows().await;
    // A busy machine may have let some in; settlement then said the same of them.
    for table in ["webhook_messages", "waiting_messages"] {
        after.insert(table.to_owned(), before[table]);
    }
    assert_eq!(after, before);
}

#[actix_web::test]
async fn a_source_that_is_not_there_or_switched_off_takes_nothing() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let body = message(&app, &sale("A").data());
    let good = headers(&scene.secret, "m1", app.clock.now(), &body);
    let source = format!("/v1/sources/{}", scene.source_id);
    app.call(&app.admin_key, "PATCH", &source, json!({"status": "disabled"})).await.expect(200);
    let before = Before::of(&app).await;
    for unknown in ["src_01234567890123456789012345", &scene.program_id, "x", "%00", "a%2Fb"] {
        let answer = post(&app, unknown, &good, &body).await;
        answer.expect_problem(404, "unknown-source");
    }
    post(&app, &scene.source_id, &good, &body).await.expect_problem(410, "source-disabled");
    before.expect_unchanged(&app).await;
    app.call(&app.admin_key, "PATCH", &source, json!({"status": "active"})).await.expect(200);
    settled(&app, &post(&app, &scene.source_id, &good, &body).await).await;
}

#[actix_web::test]
async fn a_secret_is_changed_without_a_message_lost() {
    let app = TestApp::start().await;
    let mut scene = app.scene().await;
    let path = format!("/v1/sources/{}/secrets", scene.source_id);
    let answer = app.post(&app.admin_key, &path, json!({"overlap_hours": 2})).await.expect(201);
    let old = scene.secret.clone();
    let new = WebhookSecret::parse(answer["secret"].as_str().unwrap()).unwrap();
    for (id, secret) in [("old1", &old), ("new1", &new)] {
        scene.secret = secret.clone();
        app.sale(&scene, &sale(id)).await;
    }
    // A sender in the middle of the change signs with both.
    let body = message(&app, &sale("both").data());
    let now = app.clock.now();
    let mut both = headers(&old, "both", now, &body);
    both[3].1 = format!(
        "{} {}",
        sign(&WebhookSecret::from_bytes(&[7; 32]).unwrap(), "both", now, &body),
        sign(&new, "both", now, &body)
    );
    settled(&app, &post(&app, &scene.source_id, &both, &body).await).await;

    app.clock.advance(TimeDelta::hours(2) - TimeDelta::seconds(1));
    scene.secret = old.clone();
    app.sale(&scene, &sale("last-second")).await;
    app.clock.advance(TimeDelta::seconds(1));
    let before = Before::of(&app).await;
    let late = app.webhook(&scene, "late", "conversion.created", sale("late").data()).await;
    late.expect_problem(401, "invalid-signature");
    before.expect_unchanged(&app).await;
    scene.secret = new;
    app.sale(&scene, &sale("new2")).await;
    assert_eq!(app.count("select count(*) from conversions").await, 5);
}

#[actix_web::test]
async fn a_body_that_is_not_plain_json_is_refused() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let good = message(&app, &sale("A").data());
    let text = String::from_utf8(good.clone()).unwrap();
    let before = Before::of(&app).await;

    let huge = vec![b' '; 64 * 1024 + 1];
    app.webhook_body(&scene, "m", &huge).await.expect_problem(413, "payload-too-large");
    // The length is looked at first: nobody unknown makes us read more.
    post(&app, "x", &Vec::new(), &huge).await.expect_problem(413, "payload-too-large");

    for (name, value, code) in [
        ("content-type", Some("text/plain"), "unsupported-media-type"),
        ("content-type", Some("application/x-www-form-urlencoded"), "unsupported-media-type"),
        ("content-type", Some("application/json-patch+json"), "unsupported-media-type"),
        ("content-type", Some(""), "unsupported-media-type"),
        ("content-type", None, "unsupported-media-type"),
        ("content-encoding", Some("gzip"), "unsupported-encoding"),
        ("content-encoding", Some("br"), "unsupported-encoding"),
        ("content-encoding", Some("identity, gzip"), "unsupported-encoding"),
    ] {
        let mut bent = headers(&scene.secret, "m", app.clock.now(), &good);
        bent.retain(|(n, _)| *n != name);
        bent.extend(value.map(|v| (name, v.to_owned())));
        post(&app, &scene.source_id, &bent, &good).await.expect_problem(415, code);
    }

    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    let malformed: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"{".to_vec(),
        b"null".to_vec()[..3].to_vec(),
        good[..good.len() - 1].to_vec(),
        [&good[..], b"}"].concat(),
        [&good[..], &good[..]].concat(),
        [b"\xef\xbb\xbf", &good[..]].concat(),
        [b"\xff\xfe", &utf16[..]].concat(),
        utf16,
        text.replace("sale", "s\u{0}le").into_bytes(),
        text.replace('"', "'").into_bytes(),
        text.replacen("\"sale\"", "\"\\ud800\"", 1).into_bytes(),
        [&good[..good.len() - 2], b", \"x\": \"\xff\"}}"].concat(),
        text.replacen("\"10.00\"", "NaN", 1).into_bytes(),
        text.replacen("\"10.00\"", "01", 1).into_bytes(),
        deep.into_bytes(),
        // The same name twice: two readers would read two different sales.
        text.replacen("\"data\"", "\"data\":{},\"data\"", 1).into_bytes(),
        text.replacen("\"amount\"", "\"amount\":\"1.00\",\"amount\"", 1).into_bytes(),
        text.replacen("\"amount\"", "\"amoun\\u0074\":\"1.00\",\"amount\"", 1).into_bytes(),
        text.replacen("\"amount\"", "\"x\":1,\"x\":1,\"amount\"", 1).into_bytes(),
        text.replacen("\"amount\"", "\"metadata\":{\"a\":[{\"b\":1,\"b\":2}]},\"amount\"", 1)
            .into_bytes(),
    ];
    for body in malformed {
        let answer = app.webhook_body(&scene, "m", &body).await;
        let shown = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
        assert_eq!(answer.status, 400, "{shown}: {}", answer.text());
        answer.expect_problem(400, "malformed-json");
    }
    for (body, pointer) in [("[]", "/0"), ("7", ""), ("{}", "/type"), ("\"x\"", "")] {
        let answer = app.webhook_body(&scene, "m", body.as_bytes()).await;
        let problem = answer.expect_problem(422, "invalid-field");
        assert_eq!(pointers(&problem), [pointer], "{body}");
    }
    before.expect_unchanged(&app).await;

    // Fields that we do not know are for others to read, and a parameter of the type is no harm.
    let unknown = text.replacen("\"amount\"", "\"shop\":{\"version\":[1,2]},\"amount\"", 1);
    let mut fine = headers(&scene.secret, "m", app.clock.now(), unknown.as_bytes());
    fine[0].1 = "Application/JSON; charset=utf-8".to_owned();
    let answer = post(&app, &scene.source_id, &fine, unknown.as_bytes()).await;
    assert_eq!(settled(&app, &answer).await["status"], "settled");
}

#[actix_web::test]
async fn every_wrong_field_is_named() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let before = Before::of(&app).await;
    let sale = json!({"event": "sale", "order_id": "A", "amount": "1.00", "currency": "EUR"});
    let long = "a".repeat(10_001);
    for (field, value, pointer) in [
        ("event", json!("buy"), "/data/event"),
        ("event", json!(null), "/data/event"),
        ("order_id", json!(7), "/data/order_id"),
        ("order_id", json!(""), "/data/order_id"),
        ("order_id", json!("a".repeat(65)), "/data/order_id"),
        ("order_id", json!("a\u{0}b"), "/data/order_id"),
        ("order_id", json!(null), "/data/order_id"),
        ("click_id", json!("a\nb"), "/data/click_id"),
        ("currency", json!("usd"), "/data/currency"),
        ("currency", json!("US$"), "/data/currency"),
        ("currency", json!("XTS"), "/data/currency"),
        ("currency", json!(null), "/data/currency"),
        ("coupon_code", json!("\u{7f}"), "/data/coupon_code"),
        ("customer_ref", json!("\u{0}"), "/data/customer_ref"),
        ("occurred_at", json!("22.11.2026"), "/data/occurred_at"),
        ("occurred_at", json!("2999-01-01T00:00:00Z"), "/data/occurred_at"),
        ("test", json!("yes"), "/data/test"),
        ("metadata", json!([]), "/data/metadata"),
        ("metadata", json!({"a": long}), "/data/metadata"),
        // What PostgreSQL cannot hold is refused here, not lost behind the acknowledgement.
        ("metadata", json!({"a": ["x\u{0}"]}), "/data/metadata"),
        ("metadata", json!({"\u{0}": 1}), "/data/metadata"),
    ] {
        let mut data = sale.clone();
        data[field] = value;
        let answer = app.webhook(&scene, "m", "conversion.created", data.clone()).await;
        let problem = answer.expect_problem(422, "invalid-field");
        assert_eq!(pointers(&problem), [pointer], "{field} {data}");
    }
    for number in ["1e200000", "-1e-99999"] {
        let text = message(&app, &sale);
        let text = String::from_utf8(text).unwrap();
        let text =
            text.replacen("\"amount\"", &format!("\"metadata\":{{\"n\":{number}}},\"amount\""), 1);
        let answer = app.webhook_body(&scene, "m", text.as_bytes()).await;
        let problem = answer.expect_problem(422, "invalid-field");
        assert_eq!(pointers(&problem), ["/data/metadata"], "{number}");
    }
    before.expect_unchanged(&app).await;
}

#[actix_web::test]
async fn a_click_id_of_others_earns_nothing_and_the_order_is_kept() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let foreign = ClickId::new(app.clock.now(), ProgramNo(1), PartnerNo(1), LinkNo(1), [1; 5])
        .sign(&KeyRing::single([9; 32]))
        .to_string();
    let before = Before::of(&app).await;
    for click_id in [foreign.as_str(), "x", &"A".repeat(44), &"A".repeat(64)] {
        let data = json!({"event": "lead", "click_id": click_id});
        let answer = app.webhook(&scene, "m", "conversion.created", data).await;
        let problem = answer.expect_problem(422, "invalid-field");
        assert_eq!(pointers(&problem), ["/data/click_id"], "{click_id}");
    }
    before.expect_unchanged(&app).await;

    let told = app.sale(&scene, &Sale { click_id: Some(foreign.clone()), ..sale("A") }).await;
    assert_eq!((&told["status"], &told["commission"]), (&json!("settled"), &Value::Null));
    let path = format!("/v1/conversions/{}", told["conversion_id"].as_str().unwrap());
    let shown = app.get(&app.admin_key, &path).await.expect(200);
    assert_eq!(shown["attribution"], "bad_click_id");
    assert_eq!(shown["click_id"], foreign);
    assert_eq!(app.count("select count(*) from commissions").await, 0);
}
