//! Calls that nobody signed: counted in memory, written by the hour, seen in `unattributed`.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tributary::clock::Timestamp;
use tributary::conversion::signature::{WebhookSecret, sign};
use tributary::intake::refused::store;
use tributary::roles::refusals;

use crate::harness::{Answer, Scene, TestApp};

/// A sale of an order, signed with a secret at a time.
async fn send(
    app: &TestApp,
    source_id: &str,
    secret: &WebhookSecret,
    at: Timestamp,
    order_id: &str,
) -> Answer {
    let id = format!("msg_{order_id}");
    let body = json!({"type": "conversion.created", "timestamp": at.to_rfc3339(),
        "data": {"event": "sale", "order_id": order_id, "amount": "100.00", "currency": "EUR"}});
    let (body, seconds) = (body.to_string().into_bytes(), at.timestamp().to_string());
    let signature = sign(secret, &id, at, &body);
    let headers = [
        ("content-type", "application/json"),
        ("webhook-id", id.as_str()),
        ("webhook-timestamp", seconds.as_str()),
        ("webhook-signature", signature.as_str()),
    ];
    app.send("POST", &format!("/v1/webhooks/{source_id}"), &headers, body).await
}

async fn report(app: &TestApp, scene: &Scene, rest: &str) -> Answer {
    let program_id = &scene.program_id;
    let path = format!(
        "/v1/reports/unattributed?program_id={program_id}&from=2026-11-01&to=2027-01-01{rest}"
    );
    app.get(&app.finance_key, &path).await
}

async fn write(app: &TestApp) {
    refusals::write(app.app()).await.unwrap();
}

fn row<'a>(told: &'a Value, channel: &str, reason: &str) -> &'a Value {
    let rows = told["rows"].as_array().unwrap();
    let mut found = rows.iter().filter(|r| r["reason"] == reason && r["channel"] == channel);
    let row = found.next().unwrap_or_else(|| panic!("no {reason} in {told}"));
    assert!(found.next().is_none(), "{reason} twice in {told}");
    row
}

#[actix_web::test]
async fn a_shop_that_nobody_believes_is_seen_with_what_to_mend() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let (source, now) = (scene.source_id.clone(), app.clock.now());
    let forged = WebhookSecret::from_bytes(&[7; 32]).unwrap();
    for n in 0..7 {
        let order = format!("A-{n}");
        send(&app, &source, &forged, now, &order).await.expect_problem(401, "invalid-signature");
    }
    let late = now - TimeDelta::seconds(431);
    let refused = send(&app, &source, &scene.secret, late, "L").await;
    refused.expect_problem(401, "timestamp-out-of-tolerance");
    let unsigned = [("content-type", "application/json")];
    let path = format!("/v1/webhooks/{source}/batch");
    let batch = br#"{"type":"batch","data":[{"data":{"order_id":"B-1"}}]}"#;
    app.send("POST", &path, &unsigned, batch).await.expect_problem(401, "invalid-signature");
    let path = format!("/postback/{source}?key=wrong&order_id=P-1&amount=1&currency=EUR");
    assert_eq!(app.send("GET", &path, &[], "").await.status, 401);
    let path =
        format!("/postback/{source}?sig={}&ts={}&order_id=S-1", "a".repeat(64), now.timestamp());
    assert_eq!(app.send("GET", &path, &[], "").await.status, 401);
    // What nobody knows is not counted.
    let nobodys = tributary::ids::SourceId::new().to_string();
    send(&app, &nobodys, &forged, now, "X").await.expect_problem(404, "unknown-source");
    assert_eq!(app.count("select count(*) from calls_refused").await, 0, "nothing call by call");
    write(&app).await;

    // One of the orders comes after all, signed as it should be.
    let answer = send(&app, &source, &scene.secret, now, "A-1").await.expect(202);
    app.receipt(answer["receipt"].as_str().unwrap()).await;
    let told = report(&app, &scene, "").await.expect(200);
    let forged_row = row(&told, "webhook", "signature_unknown");
    assert_eq!(forged_row["calls"], 7, "{told}");
    assert_eq!(forged_row["source_id"], source.as_str());
    assert_eq!(forged_row["said_order_ids"], "A-0, A-1, A-2, A-3, A-4");
    assert_eq!(forged_row["said_message_ids"], "msg_A-0, msg_A-1, msg_A-2, msg_A-3, msg_A-4");
    assert_eq!((&forged_row["conversion_id"], &forged_row["amount"]), (&Value::Null, &Value::Null));
    let secrets =
        app.get(&app.admin_key, &format!("/v1/sources/{source}/secrets")).await.expect(200);
    let text = forged_row["explanation"].as_str().unwrap();
    let secret_id = secrets["data"][0]["id"].as_str().unwrap();
    assert!(text.contains(secret_id), "{text}");
    assert!(text.ends_with("named: A-0, A-1 (since reported), A-2, A-3, A-4"), "{text}");
    let text = row(&told, "webhook", "timestamp_outside")["explanation"].as_str().unwrap();
    assert!(text.contains("431 seconds behind"), "{text}");
    assert_eq!(row(&told, "webhook", "signature_missing")["said_order_ids"], "B-1");
    assert_eq!(row(&told, "postback", "key_unknown")["said_order_ids"], "P-1");
    assert_eq!(row(&told, "postback", "signature_unknown")["said_order_ids"], "S-1");
    let sums = &told["summary"];
    assert_eq!(
        (&sums["calls_refused"], &sums["calls_out_of_time"]),
        (&json!(11), &json!(1)),
        "{sums}"
    );
    assert_eq!(sums["conversions"], 1, "A-1 alone, which nobody brought: {sums}");
}

#[actix_web::test]
async fn a_secret_that_has_ended_and_a_source_that_is_off_are_told_as_such() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let (source, before) = (scene.source_id.clone(), app.clock.now());
    let path = format!("/v1/sources/{source}/secrets");
    let made = app.post(&app.admin_key, &path, json!({"overlap_hours": 1})).await.expect(201);
    app.clock.advance(TimeDelta::hours(2));
    app.app().keeper.refresh().await.unwrap();
    let now = app.clock.now();
    send(&app, &source, &scene.secret, now, "E").await.expect_problem(401, "invalid-signature");
    // Signed with the old secret, and two hours old: what is wrong first is told.
    let stale = send(&app, &source, &scene.secret, before, "E2").await;
    stale.expect_problem(401, "timestamp-out-of-tolerance");
    let new = WebhookSecret::parse(made["secret"].as_str().unwrap()).unwrap();
    send(&app, &source, &new, now, "N").await.expect(202);
    let path = format!("/v1/sources/{source}");
    let off = json!({"status": "disabled"});
    app.call(&app.admin_key, "PATCH", &path, off).await.expect(200);
    app.app().keeper.refresh().await.unwrap();
    send(&app, &source, &new, now, "D").await.expect_problem(410, "source-disabled");
    let postback = format!("/postback/{source}?key=x&order_id=P");
    assert_eq!(app.send("GET", &postback, &[], "").await.status, 410);
    // Who tries a URL out is no shop.
    let tried = json!({"url": "key=wrong&order_id=T&amount=1&currency=EUR"});
    app.post(&app.admin_key, &format!("/v1/sources/{source}/test"), tried).await.expect(200);
    write(&app).await;
    let told = report(&app, &scene, "").await.expect(200);
    let ended = row(&told, "webhook", "secret_ended");
    assert_eq!(ended["said_order_ids"], "E", "{told}");
    let text = ended["explanation"].as_str().unwrap();
    assert!(text.contains("a secret that ended on 2026-11-22"), "{text}");
    assert_eq!(row(&told, "webhook", "source_disabled")["said_order_ids"], "D");
    assert_eq!(row(&told, "postback", "source_disabled")["said_order_ids"], "P");
    let sums = &told["summary"];
    let counts = ["refused", "badly_signed", "out_of_time", "while_disabled"]
        .map(|name| sums[format!("calls_{name}")].as_i64().unwrap());
    assert_eq!(counts, [4, 1, 1, 2], "{sums}");
}

#[actix_web::test]
async fn what_was_counted_is_written_once_whatever_happens_to_process_and_database() {
    let mut app = TestApp::start().await;
    let scene = app.scene().await;
    let source = scene.source_id.clone();
    let forged = WebhookSecret::from_bytes(&[7; 32]).unwrap();
    let send_two = async |app: &TestApp, names: [&str; 2]| {
        for name in names {
            send(app, &source, &forged, app.clock.now(), name).await.expect(401);
        }
    };
    send_two(&app, ["A", "B"]).await;
    app.cut_postgres();
    assert!(refusals::write(app.app()).await.is_err());
    app.restore_all();
    send_two(&app, ["B", "C"]).await;
    write(&app).await;
    // In the same hour and in the next one.
    send_two(&app, ["D", "E"]).await;
    write(&app).await;
    app.clock.advance(TimeDelta::hours(1));
    send_two(&app, ["F", "G"]).await;
    app.stop().await;
    app.start_again().await;
    let told = report(&app, &scene, "").await.expect(200);
    let rows = told["rows"].as_array().unwrap();
    let shown = rows.iter().map(|r| (r["calls"].as_i64().unwrap(), &r["said_order_ids"]));
    let expected = [(6, &json!("A, B, C, D, E")), (2, &json!("F, G"))];
    assert_eq!(shown.collect::<Vec<_>>(), expected, "{told}");

    // The same rows in every form; days of others and other programs see none of it.
    let csv = report(&app, &scene, "&format=csv").await;
    assert!(csv.text().contains(",signature_unknown,\"6 calls were refused: "), "{}", csv.text());
    for form in ["csv", "ndjson", "xlsx"] {
        let answer = report(&app, &scene, &format!("&format={form}")).await;
        assert_eq!((answer.status, answer.header("x-row-count")), (200, "2"), "{form}");
    }
    let other = app.scene().await;
    let none = report(&app, &other, "").await.expect(200);
    assert_eq!((&none["rows"], &none["summary"]["calls_refused"]), (&json!([]), &json!(0)));
    let path = format!(
        "/v1/reports/unattributed?program_id={}&from=2026-11-22T11:00:00Z&to=2026-11-23",
        scene.program_id
    );
    let hour = app.get(&app.finance_key, &path).await.expect(200);
    assert_eq!(hour["rows"][0]["calls"], 2, "{hour}");
    assert_eq!(hour["summary"]["calls_refused"], 2);

    let mut db = app.owner().await;
    store::forget(&mut db, app.clock.now() - TimeDelta::minutes(30)).await.unwrap();
    assert_eq!(app.count("select sum(n_calls)::bigint from calls_refused").await, 2);
}
