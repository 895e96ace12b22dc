//! Explanations: each figure says why, and each zero, too.

use serde_json::{Value, json};

use crate::harness::{Scene, TestApp};

async fn sale(app: &TestApp, scene: &Scene, id: &str, click_id: Option<&str>) -> Value {
    let data = json!({"event": "sale", "order_id": id, "amount": "100.00", "currency": "EUR",
        "click_id": click_id});
    let answer = app.webhook(scene, &format!("m-{id}"), "conversion.created", data).await;
    app.receipt(answer.expect(202)["receipt"].as_str().unwrap()).await
}

async fn explanation(app: &TestApp, of: &str, id: &Value) -> Value {
    let path = format!("/v1/{of}/{}/explanation", id.as_str().unwrap_or_else(|| panic!("no id")));
    app.get(&app.admin_key, &path).await.expect(200)
}

fn says(explained: &Value, expected: &str) {
    let said = explained["sentences"].to_string();
    assert!(said.contains(expected), "{expected:?} is not in {explained:#}");
}

#[actix_web::test]
async fn a_commission_says_whose_click_which_rule_and_why_and_what_came_after() {
    let app = TestApp::start().await;
    let plan = json!({"v": 1, "hold_days": 0, "approval": "manual", "rules": [
        {"event": "sale", "kind": "percent", "percent_bps": 1000},
        {"event": "sale", "kind": "percent", "percent_bps": 2000, "currency": "EUR"},
        {"event": "lead", "kind": "flat", "flat": "5.00", "currency": "EUR"}],
        "caps": [{"period": "day", "per": "partner", "amount": "30.00", "currency": "EUR"}]});
    let scene = app.scene_with(plan).await;
    let click_id = app.click_id(&scene.link).await;
    let first = sale(&app, &scene, "A", Some(&click_id)).await;
    let told = explanation(&app, "commissions", &first["commission"]["id"]).await;
    assert_eq!(told["conversion"]["attribution"], "click");
    says(&told, "before it happened, within the");
    let one = &told["commissions"][0];
    assert_eq!(one["recomputed"], true);
    assert_eq!(one["nothing_because"], Value::Null);
    assert_eq!(one["plan"]["rule"], 2);
    assert_eq!(one["plan"]["over"][0]["because"], "less_specific");
    assert_eq!(one["plan"]["over"][1]["because"], "not_met");
    says(one, "Rule 1 fits, too, but does not name currency.");
    says(one, "commission 20.00 EUR.");
    says(one, "a person or the shop approves it");

    sale(&app, &scene, "B", Some(&click_id)).await;
    let third = sale(&app, &scene, "C", Some(&click_id)).await;
    let told = explanation(&app, "conversions", &third["conversion_id"]).await;
    let zero = &told["commissions"][0];
    assert_eq!(zero["commission"]["amount"], "0.00");
    assert_eq!(zero["recomputed"], true);
    says(zero, "It is 0: the cap of 30.00 a day (partner) was used up before it.");

    let approved = json!({"event": "sale", "order_id": "A"});
    app.webhook(&scene, "ok", "conversion.approved", approved).await.expect(202);
    let back = json!({"event": "sale", "order_id": "A", "refund_id": "R-7",
        "refund_amount": "50.00", "currency": "EUR"});
    app.webhook(&scene, "back", "conversion.refunded", back).await.expect(202);
    app.settle(&scene).await;
    let told = explanation(&app, "commissions", &first["commission"]["id"]).await;
    let one = &told["commissions"][0];
    assert_eq!(one["followed_by"][0]["kind"], "clawback");
    says(one, "-10.00 EUR taken back");
    assert_eq!(one["recomputed"], true, "20.00 and the clawback are 20 % of what is left");
    let clawback = explanation(&app, "commissions", &one["followed_by"][0]["id"]).await;
    assert_eq!(clawback["commissions"][0]["recomputed"], true);
}

#[actix_web::test]
async fn a_conversion_that_earned_nothing_says_why() {
    let app = TestApp::start().await;
    let plan = json!({"v": 1, "rules": [{"event": "lead", "kind": "flat", "flat": "5.00",
        "currency": "EUR"}]});
    let scene = app.scene_with(plan).await;
    let nobodys = sale(&app, &scene, "A", None).await;
    let told = explanation(&app, "conversions", &nobodys["conversion_id"]).await;
    says(&told, "It is nobody's: it came without a click id, a coupon,");
    assert_eq!(told["commissions"], json!([]));
    let click_id = app.click_id(&scene.link).await;
    let unpaid = sale(&app, &scene, "B", Some(&click_id)).await;
    let told = explanation(&app, "conversions", &unpaid["conversion_id"]).await;
    assert_eq!(told["nothing_because"], "the plan pays nothing for sale");
    says(&told, "Nothing was earned: the plan pays nothing for sale.");
    let absent = "/v1/conversions/cv_nothing/explanation";
    app.get(&app.admin_key, absent).await.expect_problem(404, "not-found");
}
