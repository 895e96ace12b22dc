//! Postbacks that cannot be taken: one line that names the parameter, and nothing of what was sent.

use serde_json::json;

use super::{Before, percent};
use crate::harness::TestApp;
use crate::postbacks::{call, set_up};

#[actix_web::test]
async fn a_refused_postback_names_the_parameter_and_repeats_nothing() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let key = set_up(&app, &scene, json!({"alias_profile": "generic"})).await;
    let before = Before::of(&app).await;
    let good = format!("key={key}&order_id=o&amount=1.00&currency=EUR");
    let swap = |from: &str, to: &str| good.replace(from, to);
    for (query, status, start) in [
        (swap(&key, "HIDDEN"), 401, "key: "),
        (swap(&format!("key={key}&"), ""), 401, "key: "),
        (swap("amount=1.00", "amount=1,00"), 400, "amount: "),
        (swap("amount=1.00", "amount=NaN"), 400, "amount: "),
        (swap("amount=1.00", "amount=9007199254740993000"), 400, "amount: "),
        (swap("amount=1.00", "amount=0"), 400, "amount: "),
        (swap("amount=1.00", "amount=%D9%A3"), 400, "amount: "),
        (swap("currency=EUR", "currency=HIDDEN"), 400, "currency: "),
        (swap("order_id=o&", ""), 400, "order_id: "),
        (swap("order_id=o", "order_id={order_id}"), 400, "order_id: "),
        (swap("order_id=o", "order_id=%00"), 400, "order_id: "),
        (swap("order_id=o", "click_id=HIDDEN"), 400, "click_id: "),
        (format!("{good}&amount=2"), 400, "amount: "),
        (format!("{good}&sig=00&ts=1"), 401, "ts: "),
        (format!("{good}&x={}", percent([0u8])), 400, "metadata: "),
    ] {
        let answer = call(&app, &scene, &query).await;
        let line = answer.text();
        assert_eq!(answer.status, status, "{query}: {line}");
        assert!(line.starts_with(start), "{query}: {line}");
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(!line.contains("HIDDEN") && !line.contains(&key), "{line}");
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    let path = |id: &str| format!("/postback/{id}?{good}");
    assert_eq!(app.send("GET", &path("src_no"), &[], "").await.status, 404);
    for (name, value) in
        [("sec-purpose", "prefetch"), ("purpose", "prefetch"), ("x-moz", "prefetch")]
    {
        let answer = app.send("GET", &path(&scene.source_id), &[(name, value)], "").await;
        assert_eq!(answer.status, 503, "{name}");
    }
    let answer = app
        .send(
            "POST",
            &format!("/postback/{}", scene.source_id),
            &[("content-type", "text/xml")],
            "<a/>",
        )
        .await;
    assert_eq!(answer.status, 400);
    let status = json!({"status": "disabled"});
    before.expect_unchanged(&app).await;
    app.call(&app.admin_key, "PATCH", &format!("/v1/sources/{}", scene.source_id), status)
        .await
        .expect(200);
    assert_eq!(call(&app, &scene, &good).await.status, 410);
}

#[actix_web::test]
async fn settings_of_postbacks_name_what_is_wrong() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let path = format!("/v1/sources/{}/postback", scene.source_id);
    for (body, pointer) in [
        (json!({"alias_profile": "hasoffers"}), "/alias_profile"),
        (json!({"alias_profile": "tune", "status_map": {"ok": "good"}}), "/status_map"),
        (json!({"alias_profile": "tune", "event_map": {"ok": "order"}}), "/event_map"),
        (json!({"alias_profile": "tune", "event_map": {"": "sale"}}), "/event_map"),
        (json!({"alias_profile": "tune", "default_event": "order"}), "/default_event"),
    ] {
        let answer = app.call(&app.manager_key, "PUT", &path, body.clone()).await;
        let problem = answer.expect_problem(422, "invalid-field");
        assert_eq!(super::pointers(&problem), [pointer], "{body}");
    }
    let shown = app.get(&app.manager_key, &path).await.expect(200);
    assert_eq!((&shown["alias_profile"], &shown["has_key"]), (&json!("generic"), &json!(false)));
}
