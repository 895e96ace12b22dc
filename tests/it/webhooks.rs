//! Stories of the signed webhook: batches, waiting for the verdict, trial runs, secrets that end;
//! and of the events that nobody could settle.

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tributary::conversion::signature::{WebhookSecret, sign};
use tributary::stream::{PackedBatch, StreamEvent, unpack};

use crate::harness::{Answer, Sale, Scene, TestApp};

/// Sends a signed body to an address below the source's.
async fn post(app: &TestApp, scene: &Scene, id: &str, tail: &str, body: &Value) -> Answer {
    let (now, body) = (app.clock.now(), body.to_string().into_bytes());
    let signature = sign(&scene.secret, id, now, &body);
    let headers = [
        ("content-type", "application/json"),
        ("webhook-id", id),
        ("webhook-timestamp", &now.timestamp().to_string()),
        ("webhook-signature", &signature),
    ];
    app.send("POST", &format!("/v1/webhooks/{}{tail}", scene.source_id), &headers, body).await
}

fn message(app: &TestApp, kind: &str, data: Value) -> Value {
    json!({"type": kind, "timestamp": app.clock.now().to_rfc3339(), "data": data})
}

fn sale(app: &TestApp, order_id: &str, amount: &str, click_id: &str) -> Value {
    let sale = Sale { order_id, amount, click_id: Some(click_id.to_owned()) };
    message(app, "conversion.created", sale.data())
}

fn batch(items: &[Value]) -> Value {
    json!({"type": "batch", "data": items})
}

fn statuses(answer: &Value) -> Vec<&str> {
    answer["data"].as_array().unwrap().iter().map(|i| i["status"].as_str().unwrap()).collect()
}

#[actix_web::test]
async fn each_message_of_a_batch_has_its_own_verdict() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let click = app.click_id(&scene.link).await;
    let body = batch(&[
        sale(&app, "A", "100.00", &click),
        sale(&app, "B", "1,5", &click),
        sale(&app, "A", "100", &click),
        sale(&app, "A", "900.00", &click),
        json!({"type": "conversion.created"}),
        message(&app, "conversion.approved", json!({"event": "sale", "order_id": "A"})),
    ]);
    let before = app.stream_len().await;
    let answer = post(&app, &scene, "b1", "/batch", &body).await.expect(202);
    assert_eq!(app.stream_len().await, before + 1, "one append for all");
    let expected = ["accepted", "invalid", "duplicate", "conflict", "invalid", "accepted"];
    assert_eq!(statuses(&answer), expected, "{answer}");
    assert_eq!(answer["data"][1]["errors"][0]["pointer"], "/data/1/data/amount");
    assert_eq!(answer["data"][2]["receipt"], answer["data"][0]["receipt"]);
    assert_eq!(answer["data"][3]["errors"][0]["pointer"], "/data/3/data/order_id");
    let receipt = app.receipt(answer["data"][0]["receipt"].as_str().unwrap()).await;
    assert_eq!(receipt["commission"]["amount"], "20.00", "{receipt}");
    app.receipt(answer["data"][5]["receipt"].as_str().unwrap()).await;

    // Sent again it is known message by message; a busy machine takes it in, and settles nothing.
    let again = loop {
        let answer = post(&app, &scene, "b1", "/batch", &body).await;
        if answer.status == 200 {
            break answer.json();
        }
    };
    let expected = ["duplicate", "invalid", "duplicate", "conflict", "invalid", "duplicate"];
    assert_eq!(statuses(&again), expected, "{again}");
    assert_eq!(again["data"][0]["receipt"], answer["data"][0]["receipt"]);
    app.settle(&scene).await;
    assert_eq!(app.count("select count(*) from conversions").await, 1);
    assert_eq!(app.count("select count(*) from commissions where state = 'approved'").await, 1);
}

#[actix_web::test]
async fn a_batch_is_refused_as_a_whole_only_for_what_is_wrong_with_all_of_it() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let one = message(&app, "conversion.created", json!({"event": "lead", "order_id": "L"}));
    let before = (app.rows().await, app.stream_len().await);
    let many = vec![one.clone(); 501];
    for (body, pointer) in [
        (json!({"type": "batch", "data": []}), "/data"),
        (batch(&many), "/data"),
        (json!({"type": "conversion.created", "data": [one.clone()]}), "/type"),
    ] {
        let problem = post(&app, &scene, "b", "/batch", &body).await;
        let problem = problem.expect_problem(422, "invalid-field");
        assert_eq!(problem["errors"][0]["pointer"], pointer);
    }
    let mut other = app.scene().await;
    other.source_id.clone_from(&scene.source_id);
    let forged = post(&app, &other, "b", "/batch", &batch(&many[..1])).await;
    forged.expect_problem(401, "invalid-signature");
    let huge = batch(&[json!({"x": "a".repeat(2 * 1024 * 1024)})]);
    post(&app, &scene, "b", "/batch", &huge).await.expect_problem(413, "payload-too-large");
    assert_eq!(app.stream_len().await, before.1);
    assert_eq!(app.count("select count(*) from conversions").await, 0);

    // Five hundred are taken, larger than a single message may be.
    let full: Vec<Value> = (0..500)
        .map(|n| {
            let data = json!({"event": "lead", "order_id": format!("L-{n}"),
                "metadata": {"note": "a".repeat(500)}});
            message(&app, "conversion.created", data)
        })
        .collect();
    let answer = post(&app, &scene, "full", "/batch", &batch(&full)).await.expect(202);
    assert!(statuses(&answer).iter().all(|s| *s == "accepted"), "{answer}");
    app.settle(&scene).await;
    assert_eq!(app.count("select count(*) from conversions").await, 500);
}

#[actix_web::test]
async fn who_waits_hears_the_verdict_and_who_cannot_be_told_is_not_held() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let click = app.click_id(&scene.link).await;
    let wait = "?wait=1&wait_ms=5000";
    let told = post(&app, &scene, "w1", wait, &sale(&app, "A", "100.00", &click)).await.expect(200);
    assert_eq!(told["status"], "settled", "{told}");
    assert_eq!(told["commission"]["amount"], "20.00", "{told}");
    let body = batch(&[sale(&app, "B", "50.00", &click), sale(&app, "C", "10.00", "x")]);
    let told = post(&app, &scene, "w2", &format!("/batch{wait}"), &body).await.expect(200);
    assert_eq!(told["data"][0]["verdict"]["commission"]["amount"], "10.00", "{told}");
    assert_eq!(told["data"][1]["verdict"]["status"], "settled", "{told}");
    assert_eq!(told["data"][1]["verdict"]["commission"], Value::Null, "{told}");

    for (query, pointer) in [("?wait=yes", "/wait"), ("?wait=1&wait_ms=5001", "/wait_ms")] {
        let refused = post(&app, &scene, "w3", query, &sale(&app, "D", "1.00", &click)).await;
        let problem = refused.expect_problem(422, "invalid-field");
        assert_eq!(problem["errors"][0]["pointer"], pointer);
    }
    // Nobody can say now; the message is durable all the same.
    app.cut_postgres();
    let body = sale(&app, "E", "30.00", &click);
    let taken = post(&app, &scene, "w4", "?wait=1&wait_ms=200", &body).await.expect(202);
    app.restore_all();
    let receipt = app.receipt(taken["receipt"].as_str().unwrap()).await;
    assert_eq!(receipt["commission"]["amount"], "6.00", "{receipt}");
    assert_eq!(app.app().waits.available_permits(), app.app().config.wait_max);
}

#[actix_web::test]
async fn a_trial_run_says_what_would_be_earned_and_why_and_writes_nothing() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let click = app.click_id(&scene.link).await;
    app.sale(&scene, &Sale { order_id: "A", amount: "10.00", click_id: None }).await;
    app.settle(&scene).await;
    let before = (app.rows().await, app.stream_len().await);
    let body = sale(&app, "D", "100.00", &click);
    let told = post(&app, &scene, "d1", "?dry_run=1", &body).await.expect(200);
    assert_eq!(told["status"], "dry_run");
    let (settlement, commission) = (&told["settlement"], &told["settlement"]["commissions"][0]);
    assert_eq!(
        (&settlement["verdict"], &settlement["attribution"]),
        (&json!("settled"), &json!("click"))
    );
    assert_eq!(
        (&commission["amount"], &commission["status"]),
        (&json!("20.00"), &json!("pending"))
    );
    assert!(commission["plan_version_id"].is_string(), "{told}");
    assert!(commission["hold_until"].is_string(), "{told}");
    assert!(commission["calculation"].is_object(), "{told}");

    let body =
        batch(&[sale(&app, "D", "100.00", &click), sale(&app, "A", "99.00", &click), json!(7)]);
    let told = post(&app, &scene, "d2", "/batch?dry_run=1", &body).await.expect(200);
    assert_eq!(statuses(&told), ["dry_run", "dry_run", "invalid"], "{told}");
    assert_eq!(told["data"][0]["settlement"]["commissions"][0]["amount"], "20.00", "{told}");
    assert_eq!(told["data"][1]["settlement"]["verdict"], "conflict", "{told}");
    // It needs the signature as any message does.
    let mut other = app.scene().await;
    other.source_id.clone_from(&scene.source_id);
    let after = (app.rows().await, app.stream_len().await);
    let forged = post(&app, &other, "d3", "?dry_run=1", &body).await;
    forged.expect_problem(401, "invalid-signature");
    assert_eq!(after.1, before.1);
    for table in ["conversions", "commissions", "webhook_messages"] {
        assert_eq!(after.0[table], before.0[table], "{table}");
    }
}

#[actix_web::test]
async fn a_secret_ends_at_once_and_the_last_one_stays() {
    let app = TestApp::start().await;
    let mut scene = app.scene().await;
    let path = format!("/v1/sources/{}/secrets", scene.source_id);
    let first = app.get(&app.admin_key, &path).await.expect(200);
    let old = first["data"][0]["id"].as_str().unwrap().to_owned();
    let end = |id: &str| format!("{path}/{id}");
    let only = app.call(&app.admin_key, "DELETE", &end(&old), Value::Null).await;
    only.expect_problem(409, "invalid-transition");

    let made = app.post(&app.admin_key, &path, json!({})).await.expect(201);
    let live = app.get(&app.admin_key, &path).await.expect(200);
    let ids: Vec<&Value> = live["data"].as_array().unwrap().iter().map(|s| &s["id"]).collect();
    assert_eq!(ids, [&made["id"], &json!(old)]);
    assert!(!live.to_string().contains("whsec_"), "a secret is shown once");
    app.sale(&scene, &Sale { order_id: "old", amount: "1.00", click_id: None }).await;

    app.call(&app.finance_key, "DELETE", &end(&old), Value::Null).await.expect(403);
    assert_eq!(app.call(&app.admin_key, "DELETE", &end(&old), Value::Null).await.status, 204);
    app.app().keeper.refresh().await.unwrap();
    let late = message(&app, "conversion.created", json!({"event": "lead", "order_id": "late"}));
    post(&app, &scene, "late", "", &late).await.expect_problem(401, "invalid-signature");
    let again = app.call(&app.admin_key, "DELETE", &end(&old), Value::Null).await;
    again.expect_problem(404, "not-found");
    scene.secret = WebhookSecret::parse(made["secret"].as_str().unwrap()).unwrap();
    app.sale(&scene, &Sale { order_id: "new", amount: "1.00", click_id: None }).await;

    // A third one leaves two in force; the older ends by itself.
    app.post(&app.admin_key, &path, json!({"overlap_hours": 1})).await.expect(201);
    app.post(&app.admin_key, &path, json!({"overlap_hours": 1})).await.expect(201);
    let live = app.get(&app.admin_key, &path).await.expect(200);
    assert_eq!(live["data"].as_array().unwrap().len(), 2, "{live}");
    app.clock.advance(TimeDelta::hours(1));
    let live = app.get(&app.admin_key, &path).await.expect(200);
    assert_eq!(live["data"].as_array().unwrap().len(), 1, "{live}");
}

/// An entry as `XRANGE` answers: its id, and its fields with their bytes.
type StreamEntry = (String, Vec<(String, Vec<u8>)>);

/// The bytes of a sale of another order, made from the first in the stream.
async fn another_sale(app: &TestApp, order_id: &str) -> Vec<u8> {
    let [events, _] = app.stream_keys();
    let mut command = redis::cmd("XRANGE");
    command.arg(events).arg("-").arg("+");
    let entries: Vec<StreamEntry> = command.query_async(&mut app.redis().await).await.unwrap();
    let events = entries.iter().flat_map(|(_, fields)| unpack(&fields[0].1).collect::<Vec<_>>());
    let known = events.filter_map(Result::ok).find_map(|event| match event {
        StreamEvent::Conversion(record) => Some(record),
        StreamEvent::Click(_) | StreamEvent::Parked(_) => None,
    });
    let mut record = known.unwrap();
    record.receipt = uuid::Uuid::now_v7();
    record.message_id = format!("of-{order_id}");
    record.report["order_id"] = json!(order_id);
    let mut batch = PackedBatch::new();
    batch.push_conversion(&record);
    batch.into_bytes()
}

#[actix_web::test]
async fn a_dead_letter_is_shown_and_replayed_once() {
    let mut app = TestApp::start().await;
    let scene = app.scene().await;
    app.append_bytes(b"garbage").await;
    app.sale(&scene, &Sale { order_id: "A", amount: "10.00", click_id: None }).await;
    let listed = app.get(&app.admin_key, "/v1/dead-letters").await.expect(200);
    let letter = &listed["data"][0];
    assert_eq!((&letter["kind"], &letter["status"]), (&json!("unknown"), &json!("waiting")));
    let path = format!("/v1/dead-letters/{}", letter["id"].as_str().unwrap());
    let shown = app.get(&app.admin_key, &path).await.expect(200);
    assert_eq!(shown["bytes"], "Z2FyYmFnZQ==", "{shown}");
    app.get(&app.manager_key, &path).await.expect(403);
    let (_, of_one) = app
        .new_key(json!({"name": "one", "role": "admin",
        "programs": [scene.program_id]}))
        .await;
    app.get(&of_one, "/v1/dead-letters").await.expect(403);

    // What is still wrong comes back as a letter of its own, and stops nothing.
    let replay = format!("{path}/replay");
    for _ in 0..3 {
        let told = app.post(&app.admin_key, &replay, json!({})).await.expect(200);
        assert_eq!(told["status"], "replayed", "{told}");
    }
    app.settle(&scene).await;
    assert_eq!(app.count("select count(*) from dead_letters").await, 2);
    let audited = "select count(*) from audit_log where action = 'dead_letter.replay'";
    assert_eq!(app.count(audited).await, 1);

    // What was mended meanwhile settles: here the bytes themselves.
    let bytes = another_sale(&app, "B").await;
    sqlx::query("update dead_letters set bytes = $1 where replayed_at is null")
        .bind(&bytes)
        .execute(&mut app.owner().await)
        .await
        .unwrap();
    let listed = app.get(&app.admin_key, "/v1/dead-letters").await.expect(200);
    assert_eq!(listed["data"][0]["kind"], "conversion", "{listed}");
    let path = format!("/v1/dead-letters/{}", listed["data"][0]["id"].as_str().unwrap());
    let told = app.post(&app.admin_key, &format!("{path}/replay"), json!({})).await.expect(200);
    assert_eq!(app.receipt(&receipt_of(&told)).await["status"], "settled");
    assert_eq!(app.count("select count(*) from conversions").await, 2);
    assert_eq!(app.get(&app.admin_key, "/v1/dead-letters").await.expect(200)["data"], json!([]));
    app.get(&app.admin_key, "/v1/dead-letters?status=odd").await.expect(422);
    app.get(&app.admin_key, "/v1/dead-letters/dl_01234567890123456789012345").await.expect(404);
    app.expect_dead_letters(2);
}

fn receipt_of(letter: &Value) -> String {
    let id: uuid::Uuid = letter["record"]["receipt"].as_str().unwrap().parse().unwrap();
    tributary::ids::ReceiptId(id).to_string()
}

#[actix_web::test]
async fn fifty_clients_at_once_hear_what_the_row_says() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let click = app.click_id(&scene.link).await;
    let body = sale(&app, "A", "100.00", &click);
    let ids: Vec<String> = (0..50).map(|n| format!("at-once-{n}")).collect();
    let tail = "?wait=1&wait_ms=5000";
    let answers = join_all(ids.iter().map(|id| post(&app, &scene, id, tail, &body))).await;
    let mut settled = 0;
    for answer in answers {
        assert!([200, 202].contains(&answer.status), "{}", answer.text());
        let told = answer.json();
        let receipt = app.receipt(told["receipt"].as_str().unwrap()).await;
        assert!(receipt["conversion_id"].is_string(), "{receipt}");
        if told["conversion_id"].is_string() {
            assert_eq!(told["conversion_id"], receipt["conversion_id"], "{told}");
        }
        settled += i32::from(told["status"] == "settled");
    }
    assert!(settled <= 1, "one message made the conversion");
    app.settle(&scene).await;
    assert_eq!(app.count("select count(*) from conversions").await, 1);
    assert_eq!(app.count("select count(*) from commissions").await, 1);

    // The same id and the same order in another program are another message and another order.
    let other = app.scene().await;
    let lead = sale(&app, "A", "100.00", "x");
    let told = post(&app, &other, "at-once-0", tail, &lead).await.expect(200);
    assert_eq!(told["status"], "settled", "{told}");
    assert_eq!(app.count("select count(*) from conversions").await, 2);
}

#[actix_web::test]
async fn a_changed_batch_under_a_used_id_is_told_message_by_message() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let lead = |order_id: &str| {
        message(&app, "conversion.created", json!({"event": "lead", "order_id": order_id}))
    };
    let tail = "/batch?wait=1&wait_ms=5000";
    let first = batch(&[lead("A"), lead("B")]);
    post(&app, &scene, "b1", tail, &first).await.expect(200);
    let changed = batch(&[lead("A"), lead("C")]);
    let told = loop {
        let answer = post(&app, &scene, "b1", tail, &changed).await.expect(200);
        if answer["data"][1]["status"] != "accepted" {
            break answer;
        }
    };
    assert_eq!(statuses(&told), ["duplicate", "invalid"], "{told}");
    assert_eq!(told["data"][1]["errors"][0]["pointer"], "/data/1");
    app.settle(&scene).await;
    assert_eq!(app.count("select count(*) from conversions").await, 2);
}
