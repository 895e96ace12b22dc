//! What overtakes its order waits, with a deadline and a bound, and is never lost.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde_json::{Value, json};
use tributary::conversion::signature::sign;
use tributary::settlement::waiting;

use crate::harness::{Sale, Scene, TestApp};

const WAITING: &str = "select count(*) from waiting_messages";

/// Sends a refund of an order and waits for what its receipt says first.
async fn refund(app: &TestApp, scene: &Scene, id: &str, order_id: &str) -> Value {
    let data = json!({"event": "sale", "order_id": order_id, "refund_id": id,
        "refund_amount": "30.00", "currency": "EUR"});
    let answer = app.webhook(scene, id, "conversion.refunded", data).await.expect(202);
    app.receipt(answer["receipt"].as_str().unwrap()).await
}

async fn sale(app: &TestApp, scene: &Scene, order_id: &str) -> Value {
    let click_id = Some(app.click_id(&scene.link).await);
    app.sale(scene, &Sale { order_id, amount: "100.00", click_id }).await
}

async fn give_up_due(app: &TestApp) -> u64 {
    let shared = app.app();
    let (bounds, now) = (shared.waiting_room(), app.clock.now());
    waiting::give_up_due(&shared.background_db, bounds, now).await.unwrap()
}

/// Counts the rows of every table but that of receipts: on a busy machine the repeated message may
/// have been taken in, and then has a receipt of its own.
async fn rows(app: &TestApp) -> BTreeMap<String, i64> {
    let mut rows = app.rows().await;
    rows.remove("webhook_messages");
    rows
}

async fn letters(app: &TestApp) -> Vec<Value> {
    let page = app.get(&app.admin_key, "/v1/dead-letters").await.expect(200);
    page["data"].as_array().unwrap().clone()
}

/// Replays the only letter and returns what the receipt says then.
async fn replay(app: &TestApp, receipt: &Value) -> Value {
    let id = letters(app).await[0]["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/dead-letters/{id}/replay");
    app.post(&app.admin_key, &path, Value::Null).await.expect(200);
    app.receipt(receipt["receipt"].as_str().unwrap()).await
}

#[actix_web::test]
async fn what_waited_too_long_is_a_dead_letter_and_its_replay_takes_effect() {
    let mut app = TestApp::start().await;
    let scene = app.scene().await;
    let early = refund(&app, &scene, "R1", "A").await;
    app.clock.advance(TimeDelta::hours(1));
    let late = refund(&app, &scene, "R2", "B").await;
    assert_eq!((&early["status"], &late["status"]), (&json!("waiting"), &json!("waiting")));

    app.clock.advance(TimeDelta::hours(47) - TimeDelta::seconds(1));
    assert_eq!(give_up_due(&app).await, 0, "48 hours are not over");
    app.clock.advance(TimeDelta::seconds(1));
    assert_eq!((give_up_due(&app).await, give_up_due(&app).await), (1, 0));
    assert_eq!(app.count(WAITING).await, 1, "the other one waits on");

    let told = app.receipt(early["receipt"].as_str().unwrap()).await;
    assert_eq!(told["status"], "dead_letter", "{told}");
    assert!(told["reason"].as_str().unwrap().contains("waited 48 hours"), "{told}");
    let found = letters(&app).await;
    assert_eq!(found.len(), 1);
    assert_eq!(
        (&found[0]["kind"], &found[0]["position"]),
        (&json!("conversion"), &json!("waiting room"))
    );
    assert_eq!(found[0]["error"], told["reason"]);

    // The order comes after all; the refund is replayed, and the partner earns on what is left.
    let receipt = sale(&app, &scene, "A").await;
    assert_eq!(app.commission(&scene, &receipt).await["amount"], "20.00");
    let told = replay(&app, &early).await;
    assert_eq!(told["status"], "settled", "{told}");
    assert_eq!(app.commission(&scene, &receipt).await["amount"], "14.00");
    assert!(letters(&app).await.is_empty());
    app.expect_dead_letters(1);
}

#[actix_web::test]
async fn a_replay_without_its_order_waits_anew() {
    let mut app = TestApp::start().await;
    let scene = app.scene().await;
    let waiting = refund(&app, &scene, "R1", "A").await;
    app.clock.advance(TimeDelta::hours(48));
    assert_eq!(give_up_due(&app).await, 1);
    assert_eq!(replay(&app, &waiting).await["status"], "waiting");
    // Its time begins anew, too.
    app.clock.advance(TimeDelta::hours(47));
    assert_eq!(give_up_due(&app).await, 0);
    let receipt = sale(&app, &scene, "A").await;
    assert_eq!(app.commission(&scene, &receipt).await["amount"], "14.00");
    assert_eq!(app.receipt(waiting["receipt"].as_str().unwrap()).await["status"], "settled");
    assert_eq!(app.count(WAITING).await, 0);
    app.expect_dead_letters(1);
}

#[actix_web::test]
async fn a_full_room_turns_the_newest_away() {
    let mut app = TestApp::start_with(&[("TRIBUTARY_WAITING_ROOM_MAX", "2")]).await;
    let scene = app.scene().await;
    for id in ["R1", "R2"] {
        assert_eq!(refund(&app, &scene, id, id).await["status"], "waiting");
    }
    let turned_away = refund(&app, &scene, "R3", "A").await;
    assert_eq!(turned_away["status"], "dead_letter", "{turned_away}");
    assert!(turned_away["reason"].as_str().unwrap().contains("2 messages"), "{turned_away}");
    assert_eq!(app.count(WAITING).await, 2);
    // A sender that repeats itself is told the same.
    let data = json!({"event": "sale", "order_id": "A", "refund_id": "R3",
        "refund_amount": "30.00", "currency": "EUR"});
    let again = app.webhook_again(&scene, "R3", "conversion.refunded", data).await.expect(200);
    assert_eq!(again["receipt"], turned_away["receipt"]);

    // Reading the stream again changes nothing: it was answered.
    let rows = rows(&app).await;
    let settled = app.count("select sum(n_settled)::bigint from stream_offsets").await;
    sqlx::query("update stream_offsets set ms = 0, seq = 0")
        .execute(&mut app.owner().await)
        .await
        .unwrap();
    let again = "select count(*) from stream_offsets where n_duplicates > 0 and ms > 0";
    app.wait_for_count(1, again).await;
    assert!(app.count("select sum(n_settled)::bigint from stream_offsets").await > settled);
    assert_eq!(self::rows(&app).await, rows);

    // One that is let in leaves its place to the next.
    sale(&app, &scene, "R1").await;
    assert_eq!(refund(&app, &scene, "R4", "C").await["status"], "waiting");
    let receipt = sale(&app, &scene, "A").await;
    assert_eq!(replay(&app, &turned_away).await["status"], "settled");
    assert_eq!(app.commission(&scene, &receipt).await["amount"], "14.00");
    app.expect_dead_letters(1);
}

#[actix_web::test]
async fn a_batch_may_wait_as_a_whole() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let kinds = ["conversion.approved", "conversion.refunded"];
    let items: Vec<Value> = (0..60)
        .map(|n| {
            let kind = kinds[n % 2];
            let mut data = json!({"event": "sale", "order_id": format!("W{}", n / 2)});
            if n % 2 == 1 {
                data["refund_id"] = json!("R1");
            }
            json!({"type": kind, "timestamp": app.clock.now().to_rfc3339(), "data": data})
        })
        .collect();
    let body = json!({"type": "batch", "data": items}).to_string().into_bytes();
    let (now, path) = (app.clock.now(), format!("/v1/webhooks/{}/batch", scene.source_id));
    let signature = sign(&scene.secret, "batch-1", now, &body);
    let headers = [
        ("content-type", "application/json"),
        ("webhook-id", "batch-1"),
        ("webhook-timestamp", &now.timestamp().to_string()),
        ("webhook-signature", &signature),
    ];
    app.send("POST", &path, &headers, body).await.expect(202);
    app.settle(&scene).await;
    assert_eq!(
        app.count("select count(*) from waiting_messages where dedup_ref like 'W%'").await,
        60
    );
}
