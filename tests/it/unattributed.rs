//! The report of what is nobody's: the reason, and what came closest.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::{Scene, TestApp};

async fn sell(app: &TestApp, scene: &Scene, order_id: &str, more: Value) {
    let mut data = json!({"event": "sale", "order_id": order_id, "amount": "100.00",
        "currency": "EUR"});
    data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = app.webhook(scene, order_id, "conversion.created", data).await.expect(202);
    app.receipt(answer["receipt"].as_str().unwrap()).await;
}

/// The last character of the signature is another one.
fn damaged(click_id: &str) -> String {
    let (head, last) = click_id.split_at(click_id.len() - 1);
    format!("{head}{}", if last == "A" { "B" } else { "A" })
}

async fn report(app: &TestApp, scene: &Scene, rest: &str) -> Value {
    let program_id = &scene.program_id;
    let path = format!(
        "/v1/reports/unattributed?program_id={program_id}&from=2026-11-01&to=2027-01-01{rest}"
    );
    app.get(&app.finance_key, &path).await.expect(200)
}

#[actix_web::test]
async fn what_is_nobodys_is_told_with_what_came_closest() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let click_id = app.click_id(&scene.link).await;
    let clicked_at = app.clock.now();
    app.wait_for_count(1, "select count(*) from clicks").await;
    let customer = json!({"click_id": click_id, "customer_ref": "anna@shop"});
    sell(&app, &scene, "mine", customer).await;
    sell(&app, &scene, "test", json!({"test": true})).await;
    app.clock.advance(TimeDelta::minutes(1));
    sell(&app, &scene, "customer", json!({"customer_ref": "anna@shop"})).await;
    app.clock.advance(TimeDelta::minutes(1));
    sell(&app, &scene, "damaged", json!({"click_id": damaged(&click_id)})).await;
    sell(&app, &scene, "garbage", json!({"click_id": "x".repeat(44)})).await;
    let refund = json!({"event": "sale", "order_id": "damaged", "refund_id": "R1",
        "refund_amount": "40.00", "currency": "EUR"});
    app.webhook(&scene, "r", "conversion.refunded", refund).await.expect(202);
    app.clock.advance(TimeDelta::days(33));
    sell(&app, &scene, "late", json!({"click_id": click_id})).await;
    let waits = json!({"event": "sale", "order_id": "never", "reason": "canceled"});
    app.webhook(&scene, "w", "conversion.rejected", waits).await.expect(202);
    app.settle(&scene).await;

    let told = report(&app, &scene, "").await;
    let rows = told["rows"].as_array().unwrap();
    let orders: Vec<&str> = rows.iter().map(|r| r["order_id"].as_str().unwrap()).collect();
    assert_eq!(orders.len(), 4, "{told}");
    let row = |order: &str| rows.iter().find(|r| r["order_id"] == order).unwrap();
    for (order, reason, nearest, explanation) in [
        (
            "customer",
            "no_click",
            json!("customer"),
            "no click id came with it; the same customer was brought by this partner on 2026-11-22",
        ),
        (
            "damaged",
            "bad_click_id",
            json!("click"),
            "the click id is damaged, but exactly this click of the partner is on record",
        ),
        ("garbage", "bad_click_id", Value::Null, "what came as click id is none"),
        (
            "late",
            "outside_window",
            json!("click"),
            "the click was 33 days before, 4 too many for a window of 30",
        ),
    ] {
        let row = row(order);
        assert_eq!((&row["reason"], &row["nearest"]), (&json!(reason), &nearest), "{row}");
        assert_eq!(row["explanation"], explanation, "{row}");
        if !nearest.is_null() {
            assert_eq!(row["nearest_partner_id"], scene.partner_id.as_str(), "{row}");
            assert_eq!(row["nearest_partner_name"], "Blog 42", "{row}");
        }
    }
    assert_eq!(row("late")["days_too_late"], 4);
    let shown = row("damaged")["clicked_at"].as_str().unwrap().to_owned();
    assert_eq!(shown.parse::<tributary::clock::Timestamp>().unwrap(), clicked_at);
    assert_eq!(row("damaged")["lost_value"], "60.00");

    let sums = &told["summary"];
    for (name, expected) in [
        ("conversions", json!(4)),
        ("lost_value", json!("360.00")),
        ("bad_click_id", json!(2)),
        ("bad_click_id_value", json!("160.00")),
        ("outside_window", json!(1)),
        ("no_click_value", json!("100.00")),
        ("other_reason", json!(0)),
    ] {
        assert_eq!(sums[name], expected, "{name} in {sums}");
    }
    // The message that waits for its order, and the mark that `settle` set.
    assert_eq!(sums["messages_waiting"], 2, "{sums}");

    let url = app.admin.join("/metrics").unwrap();
    let body = awc::Client::default().get(url.as_str()).send().await.unwrap().body().await.unwrap();
    let metrics = String::from_utf8_lossy(&body);
    assert!(metrics.contains("result=\"unattributed\""), "{metrics}");
}

#[actix_web::test]
async fn what_a_claim_gave_to_somebody_leaves_the_report() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let click_id = app.click_id(&scene.link).await;
    app.wait_for_count(1, "select count(*) from clicks").await;
    sell(&app, &scene, "A", json!({"click_id": damaged(&click_id)})).await;
    assert_eq!(report(&app, &scene, "").await["rows"].as_array().unwrap().len(), 1);
    let claim = json!({"program_id": scene.program_id, "partner_id": scene.partner_id,
        "order_id": "A", "click_id": click_id});
    let claim = app.post(&app.manager_key, "/v1/claims", claim).await.expect(201);
    assert_eq!(claim["status"], "accepted", "{claim}");
    assert!(report(&app, &scene, "").await["rows"].as_array().unwrap().is_empty());
}

#[actix_web::test]
async fn a_coupon_that_is_misspelt_names_whose_it_probably_is() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let coupon = json!({"program_id": scene.program_id, "partner_id": scene.partner_id,
        "code": "Summer10"});
    app.post(&app.admin_key, "/v1/coupons", coupon).await.expect(201);
    for code in ["SUMMER1O", "SUMER10", "SUMMER20", "Summer10"] {
        sell(&app, &scene, code, json!({"coupon_code": code})).await;
    }
    let told = report(&app, &scene, "").await;
    let rows = told["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 3, "the right one brought its partner a commission: {told}");
    for (order, code, partner, text) in [
        (
            "SUMMER1O",
            json!("Summer10"),
            json!("Blog 42"),
            "the program has no coupon SUMMER1O; it has Summer10, which is written almost so",
        ),
        (
            "SUMER10",
            json!("Summer10"),
            json!("Blog 42"),
            "the program has no coupon SUMER10; it has Summer10, which is written almost so",
        ),
        ("SUMMER20", Value::Null, Value::Null, "the program has no coupon SUMMER20"),
    ] {
        let row = rows.iter().find(|r| r["order_id"] == order).unwrap();
        assert_eq!(row["nearest_coupon_code"], code, "{row}");
        assert_eq!(row["nearest_partner_name"], partner, "{row}");
        assert_eq!(row["nearest"], if code.is_null() { Value::Null } else { json!("coupon") });
        assert_eq!(row["explanation"], text, "{row}");
    }
}

#[actix_web::test]
async fn a_mistake_in_the_query_of_a_report_is_named() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let id = &scene.program_id;
    for (query, pointer) in [
        ("program_id=pg_x".to_owned(), "/program_id"),
        (String::new(), "/program_id"),
        (format!("program_id={id}&partner_id={id}"), "/partner_id"),
        (format!("program_id={id}&partner_id={}", scene.partner_id), "/partner_id"),
        (format!("program_id={id}&program_id={id}"), "/program_id"),
        (format!("program_id={id}&from=yesterday"), "/from"),
        (format!("program_id={id}&to=2020-01-01"), "/to"),
        (format!("program_id={id}&tz=Berlin"), "/tz"),
        (format!("program_id={id}&currency=Euro"), "/currency"),
        (format!("program_id={id}&format=pdf"), "/format"),
        (format!("program_id={id}&format=json&dialect=excel"), "/dialect"),
        (format!("program_id={id}&format=csv&dialect=word"), "/dialect"),
    ] {
        for tail in ["", "/summary"] {
            let path = format!("/v1/reports/unattributed{tail}?{query}");
            let problem =
                app.get(&app.finance_key, &path).await.expect_problem(422, "invalid-field");
            assert_eq!(problem["errors"][0]["pointer"], pointer, "{path}: {problem}");
        }
    }
    for (path, pointer) in [
        (
            format!("/v1/partners/{}/activity.svg?program_id={id}&days=many", scene.partner_id),
            "/days",
        ),
        (format!("/v1/conversions?program_id={id}&limit=ten"), "/limit"),
    ] {
        let problem = app.get(&app.finance_key, &path).await.expect_problem(422, "invalid-field");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{path}: {problem}");
    }
}
