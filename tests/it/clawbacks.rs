//! What a person takes back of a commission stays taken back; a hold is extended once.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tributary::commission::timer;

use crate::harness::{Sale, Scene, TestApp};

const OWED: &str = "select coalesce(-sum(b.balance_minor), 0)::text
    from ledger_balances b join ledger_accounts a on a.account_id = b.account_id
    where a.path like 'liability%'";

/// Sells for 100.00, of which 20.00 are earned; returns the path of the commission.
async fn earn(app: &TestApp, scene: &Scene, order_id: &str) -> String {
    let click_id = Some(app.click_id(&scene.link).await);
    let receipt = app.sale(scene, &Sale { order_id, amount: "100.00", click_id }).await;
    format!("/v1/commissions/{}", receipt["commission"]["id"].as_str().unwrap())
}

async fn told(app: &TestApp, scene: &Scene, id: &str, kind: &str, data: Value) {
    app.webhook(scene, id, kind, data).await.expect(202);
    app.settle(scene).await;
}

#[actix_web::test]
async fn what_a_person_takes_back_no_refund_and_no_change_of_the_order_gives_back() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let path = earn(&app, &scene, "A").await;
    let clawback = format!("{path}/clawback");
    let fraud =
        |amount: &str| json!({"reason": "fraud", "amount": amount, "note": "half was ours"});
    let key = &app.manager_key;
    let early = app.post(key, &clawback, fraud("5.00")).await;
    let early = early.expect_problem(409, "invalid-transition");
    assert_eq!(early["allowed"], json!(["approve", "hold", "reject", "extend"]));
    app.post(key, &format!("{path}/approve"), json!({})).await.expect(200);

    for (body, pointer) in [
        (json!({"amount": "5.00"}), "/reason"),
        (fraud("0.00"), "/amount"),
        (fraud("20.01"), "/amount"),
        (fraud("5,00"), "/amount"),
        (json!({"reason": "fraud", "days": 3}), "/days"),
    ] {
        let problem = app.post(key, &clawback, body).await.expect_problem(422, "invalid-field");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    let read = app.get(key, &path).await.expect(200);
    let mut asked = fraud("5.00");
    asked["version"] = read["version"].clone();
    let answer = app.post(key, &clawback, asked.clone()).await;
    let row = answer.expect(201);
    assert_eq!((&row["kind"], &row["amount"]), (&json!("clawback"), &json!("-5.00")));
    assert_eq!(
        answer.header("location"),
        format!("/v1/commissions/{}", row["id"].as_str().unwrap())
    );
    // Whoever read it before decides on something else now.
    app.post(key, &clawback, asked).await.expect_problem(412, "precondition-failed");
    let after = app.get(key, &path).await.expect(200);
    assert_eq!((&after["amount"], &after["clawed_back"]), (&json!("20.00"), &json!("5.00")));
    assert_eq!(after["history"].as_array().unwrap().last().unwrap()["note"], "half was ours");
    assert_eq!(app.figures(OWED).await, ["1500"]);

    let back = json!({"event": "sale", "order_id": "A", "refund_id": "R-1",
        "refund_amount": "50.00", "currency": "EUR"});
    told(&app, &scene, "back", "conversion.refunded", back).await;
    assert_eq!(app.figures(OWED).await, ["500"], "half of 20.00, less 5.00");
    let dearer = json!({"event": "sale", "order_id": "A", "amount": "150.00", "currency": "EUR"});
    told(&app, &scene, "dearer", "conversion.updated", dearer).await;
    assert_eq!(app.figures(OWED).await, ["1500"], "20 % of 100.00, less 5.00");
    let explained = app.get(key, &format!("{path}/explanation?lang=ru")).await.expect(200);
    assert_eq!(explained["commissions"][0]["recomputed"], true, "{explained:#}");
    let said = explained["commissions"][0]["sentences"].to_string();
    assert!(said.contains("забрано (fraud), решением человека"), "{said}");
    app.get(key, &format!("{path}/explanation?lang=de")).await.expect_problem(422, "invalid-field");

    // All that is left, and then there is nothing more.
    let rest = app.post(key, &clawback, json!({"reason": "fraud"})).await.expect(201);
    assert_eq!(rest["amount"], "-15.00");
    app.post(key, &clawback, json!({"reason": "fraud"}))
        .await
        .expect_problem(409, "invalid-transition");
    assert_eq!(app.figures(OWED).await, ["0"]);
    let audited = app
        .figures(
            "select (l.details->>'amount') || ' ' || (l.details->>'reason')
             from audit_log l where l.action = 'commission.clawback' order by l.at, l.audit_id",
        )
        .await;
    assert_eq!(audited, ["-5.00 fraud", "-15.00 fraud"]);
}

#[actix_web::test]
async fn many_are_clawed_back_each_by_its_own_amount() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let mut ids = Vec::new();
    for order_id in ["A", "B", "C"] {
        let path = earn(&app, &scene, order_id).await;
        app.post(&app.manager_key, &format!("{path}/approve"), json!({})).await.expect(200);
        ids.push(path.rsplit('/').next().unwrap().to_owned());
    }
    let body = json!({"action": "clawback", "reason": "terms_violation", "items": [
        {"id": ids[0], "amount": "7.50"}, {"id": ids[1]}, {"id": ids[2], "amount": "99.00"}]});
    let answer = app.post(&app.manager_key, "/v1/commissions/bulk", body).await.expect(200);
    let codes: Vec<&Value> =
        answer["results"].as_array().unwrap().iter().map(|one| &one["code"]).collect();
    assert_eq!(codes, ["done", "done", "invalid-field"]);
    let detail = answer["results"][2]["detail"].as_str().unwrap();
    assert_eq!(detail, "/amount: is more than the 20.00 EUR that are left of it");
    assert_eq!(app.figures(OWED).await, ["3250"]);
    let body = json!({"action": "approve", "items": [{"id": ids[0], "amount": "1.00"}]});
    let answer = app.post(&app.manager_key, "/v1/commissions/bulk", body).await.expect(200);
    assert_eq!(answer["results"][0]["detail"], "/amount: is for clawback alone");
}

#[actix_web::test]
async fn a_hold_is_extended_once_and_time_approves_it_after_that() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let path = earn(&app, &scene, "A").await;
    let before = app.get(&app.manager_key, &path).await.expect(200);
    let extend = format!("{path}/extend");
    let ask = json!({"reason": "payment_failed", "days": 10});
    let missing = app.post(&app.manager_key, &extend, json!({"reason": "other"})).await;
    let missing = missing.expect_problem(422, "invalid-field");
    assert_eq!(missing["errors"][0]["pointer"], "/days");
    let after = app.post(&app.manager_key, &extend, ask.clone()).await.expect(200);
    let time = |of: &Value| {
        let text = of["hold_until"].as_str().unwrap();
        chrono::DateTime::parse_from_rfc3339(text).unwrap()
    };
    assert_eq!(time(&after) - time(&before), TimeDelta::days(10));
    assert_eq!((&after["status"], &after["reason"]), (&json!("pending"), &Value::Null));
    let again = app.post(&app.manager_key, &extend, ask).await;
    again.expect_problem(409, "invalid-transition");
    assert_eq!(app.advance(TimeDelta::days(31)).await, 0, "its first hold is over, not this one");
    app.clock.advance(TimeDelta::days(10));
    let n = timer::approve_due(&app.app().background_db, app.clock.now()).await.unwrap();
    assert_eq!(n, 1);
    let late = app.post(&app.manager_key, &extend, json!({"reason": "other", "days": 1})).await;
    late.expect_problem(409, "invalid-transition");
}

#[actix_web::test]
async fn a_hold_is_counted_from_the_delivery_that_the_shop_tells() {
    let app = TestApp::start().await;
    let plan = json!({"v": 1, "hold_days": 14, "hold_basis": "delivery",
        "rules": [{"event": "sale", "kind": "percent", "percent_bps": 2000}]});
    let scene = app.scene_with(plan).await;
    let path = earn(&app, &scene, "A").await;
    assert_eq!(app.advance(TimeDelta::days(20)).await, 0, "nobody has told of a delivery");
    let told_at = |days| (app.clock.now() + TimeDelta::days(days)).to_rfc3339();
    for (n, days) in [-2, 1].into_iter().enumerate() {
        let data = json!({"event": "sale", "order_id": "A", "amount": "100.00", "currency": "EUR",
            "metadata": {"delivered_at": told_at(days)}});
        told(&app, &scene, &format!("delivered-{n}"), "conversion.updated", data).await;
    }
    let row = app.get(&app.manager_key, &path).await.expect(200);
    let rules: Vec<_> =
        row["history"].as_array().unwrap().iter().map(|step| &step["rule"]).collect();
    assert_eq!(rules[1..], ["delivered"], "told twice, it counts once: {row}");
    assert_eq!(app.advance(TimeDelta::days(11)).await, 0);
    assert_eq!(app.advance(TimeDelta::days(1)).await, 1, "14 days after the delivery");
}
