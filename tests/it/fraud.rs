//! Suspicion: each flag holds, is told with its figures, and ends in a release or a rejection.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::app::{BROWSER, Sale, Scene, TestApp, click_id_of};

/// Sets what the program holds for review.
async fn hold_for_review(app: &TestApp, scene: &Scene, policy: Value) {
    let path = format!("/v1/programs/{}/fraud-policy", scene.program_id);
    app.call(&app.manager_key, "PUT", &path, policy).await.expect(200);
}

/// Follows the link as somebody who comes from a page, with parameters of an advertisement.
async fn click_from(app: &TestApp, scene: &Scene, page: &str, query: &str) -> String {
    let path = url::Url::parse(&scene.link).unwrap();
    let path = format!("{}?{query}", path.path());
    let headers = [("user-agent", BROWSER), ("referer", page)];
    let answer = app.send("GET", &path, &headers, "").await;
    click_id_of(&answer).unwrap_or_else(|| panic!("no click id in {answer:?}"))
}

async fn sell(app: &TestApp, scene: &Scene, order_id: &str, click_id: Option<String>) -> Value {
    let sale = Sale { order_id, amount: "100.00", click_id };
    let receipt = app.sale(scene, &sale).await;
    app.commission(scene, &receipt).await
}

/// Sells to a customer whom the shop names.
async fn sell_to(app: &TestApp, scene: &Scene, order_id: &str, customer: &str) -> Value {
    let click_id = app.click_id(&scene.link).await;
    let data = json!({"event": "sale", "order_id": order_id, "amount": "100.00",
        "currency": "EUR", "click_id": click_id, "customer_ref": customer});
    let answer = app.webhook(scene, order_id, "conversion.created", data).await.expect(202);
    let receipt = app.receipt(answer["receipt"].as_str().unwrap()).await;
    app.commission(scene, &receipt).await
}

async fn again(app: &TestApp, commission: &Value) -> Value {
    let path = format!("/v1/commissions/{}", commission["id"].as_str().unwrap());
    app.get(&app.admin_key, &path).await.expect(200)
}

async fn decide(app: &TestApp, commission: &Value, verb: &str, body: Value) -> Value {
    let path = format!("/v1/commissions/{}/{verb}", commission["id"].as_str().unwrap());
    app.post(&app.manager_key, &path, body).await.expect(200)
}

fn rules(commission: &Value) -> Vec<&str> {
    let flags = commission["flags"].as_array().unwrap();
    flags.iter().map(|f| f["rule"].as_str().unwrap()).collect()
}

#[track_caller]
fn assert_held(commission: &Value, expected: &[&str]) {
    assert_eq!(commission["status"], "on_hold", "{commission}");
    assert_eq!(rules(commission), expected, "{commission}");
    assert_eq!(commission["reason"], expected.join(", "), "{commission}");
}

#[actix_web::test]
async fn a_partner_who_buys_from_itself_is_held_and_what_is_released_pays_as_ever() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let own = format!("/v1/partners/{}/own-customers", scene.partner_id);
    let body = json!({"program_id": scene.program_id, "customer_ref": "customer 7"});
    let known = app.post(&app.manager_key, &own, body).await.expect(201);

    let plain = sell_to(&app, &scene, "A-1", "customer 8").await;
    let held = sell_to(&app, &scene, "A-2", "customer 7").await;
    assert_eq!((&plain["status"], &plain["flags"]), (&json!("pending"), &json!([])));
    assert_held(&held, &["self_referral"]);
    let sentence = "The shop's name of the customer is a customer registered as the partner's own.";
    assert_eq!(held["flags"][0]["sentence"], sentence);
    assert_eq!(held["history"][0]["note"], sentence);

    // The order changes while it is looked at; the release pays what the order says now.
    for (order, id) in [("A-1", "u1"), ("A-2", "u2")] {
        let data = json!({"event": "sale", "order_id": order, "amount": "150.00",
            "currency": "EUR"});
        let answer = app.webhook(&scene, id, "conversion.updated", data).await.expect(202);
        let receipt = app.receipt(answer["receipt"].as_str().unwrap()).await;
        assert_eq!(receipt["status"], "settled", "{receipt}");
    }
    assert_eq!(app.advance(TimeDelta::days(31)).await, 1, "a review stops the clock");
    assert_held(&again(&app, &held).await, &["self_referral"]);
    let released = decide(&app, &held, "release", json!({"note": "A gift for his mother."})).await;
    assert_eq!((&released["status"], &released["reason"]), (&json!("pending"), &Value::Null));
    assert_eq!(app.advance(TimeDelta::seconds(1)).await, 1);
    let (plain, held) = (again(&app, &plain).await, again(&app, &held).await);
    for field in ["status", "amount", "currency", "kind", "partner_id", "reason"] {
        assert_eq!(held[field], plain[field], "{field}");
    }
    assert_eq!((&held["status"], &held["amount"]), (&json!("approved"), &json!("30.00")));
    assert_eq!(rules(&held), ["self_referral"], "what looked wrong is still told");

    // What is known can be listed and forgotten; then nothing is held.
    let list = app.get(&app.manager_key, &format!("{own}?program_id={}", scene.program_id)).await;
    assert_eq!(list.expect(200)["data"], json!([known]));
    let hash = known["customer_hash"].as_str().unwrap();
    let path = format!("{own}/{hash}?program_id={}", scene.program_id);
    app.call(&app.manager_key, "DELETE", &path, Value::Null).await.expect(204);
    app.call(&app.manager_key, "DELETE", &path, Value::Null).await.expect_problem(404, "not-found");
    assert_eq!(sell_to(&app, &scene, "A-3", "customer 7").await["status"], "pending");
}

#[actix_web::test]
async fn a_customer_with_the_partners_own_address_is_held_until_somebody_rejects_with_a_reason() {
    let app = TestApp::start().await;
    let mut scene = app.scene().await;
    let body = json!({"name": "Anna", "kind": "webmaster", "email": "Anna@Blog.example",
        "program_id": scene.program_id});
    let partner = app.post(&app.admin_key, "/v1/partners", body).await.expect(201);
    scene.partner_id = partner["id"].as_str().unwrap().to_owned();
    let body = json!({"program_id": scene.program_id, "partner_id": scene.partner_id});
    let link = app.post(&app.admin_key, "/v1/links", body).await.expect(201);
    scene.link = link["url"].as_str().unwrap().to_owned();
    app.app().keeper.refresh().await.unwrap();

    let held = sell_to(&app, &scene, "A-1", "anna@blog.example").await;
    assert_held(&held, &["self_referral"]);
    let path = format!("/v1/commissions/{}/reject", held["id"].as_str().unwrap());
    let refused = app.post(&app.manager_key, &path, json!({"note": "Own order."})).await;
    let problem = refused.expect_problem(422, "invalid-field");
    assert_eq!(problem["errors"][0]["pointer"], "/reason");
    let rejected = decide(&app, &held, "reject", json!({"reason": "fraud"})).await;
    assert_eq!((&rejected["status"], &rejected["reason"]), (&json!("rejected"), &json!("fraud")));
    assert_eq!(app.advance(TimeDelta::days(60)).await, 0);
    let audited = "select action from audit_log where object like 'cm_%' order by audit_id";
    assert_eq!(app.figures(audited).await, ["commission.flag", "commission.reject"]);
}

#[actix_web::test]
async fn orders_too_soon_too_late_or_too_many_are_held_as_they_come() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let policy = json!({"too_fast_seconds": 10, "too_slow_hours": 24, "velocity_per_hour": 2});
    hold_for_review(&app, &scene, policy).await;

    let click_id = app.click_id(&scene.link).await;
    app.clock.advance(TimeDelta::seconds(9));
    let fast = sell(&app, &scene, "fast", Some(click_id.clone())).await;
    assert_held(&fast, &["too_fast"]);
    let figures = json!({"seconds": 9, "limit_seconds": 10});
    assert_eq!(fast["flags"][0]["figures"], figures);
    app.clock.advance(TimeDelta::seconds(1));
    let usual = sell(&app, &scene, "usual", Some(click_id.clone())).await;
    assert_eq!(usual["status"], "pending", "{usual}");
    let third = sell(&app, &scene, "third", Some(click_id.clone())).await;
    assert_held(&third, &["velocity"]);
    app.clock.advance(TimeDelta::hours(24));
    let slow = sell(&app, &scene, "slow", Some(click_id)).await;
    assert_held(&slow, &["too_slow"]);

    // When its hold is over, the pace of the hour is known whole: what came first is held, too.
    assert_eq!(app.advance(TimeDelta::days(31)).await, 0);
    let usual = again(&app, &usual).await;
    assert_held(&usual, &["velocity"]);
    assert_eq!(usual["history"][1]["rule"], "flags");

    let list = |flag: &str| format!("/v1/commissions?program_id={}&flag={flag}", scene.program_id);
    for (flag, expected) in [("any", 4), ("velocity", 2), ("too_slow", 1), ("paid_traffic", 0)] {
        let page = app.get(&app.finance_key, &list(flag)).await.expect(200);
        assert_eq!(page["data"].as_array().unwrap().len(), expected, "{flag}");
    }
    let refused = app.get(&app.finance_key, &list("speed")).await;
    let problem = refused.expect_problem(422, "invalid-field");
    assert_eq!(problem["errors"][0]["pointer"], "/flag");
}

#[actix_web::test]
async fn clicks_from_banned_pages_and_paid_advertisements_are_held_whenever_it_is_found() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let banned = click_from(&app, &scene, "https://www.spam.example/page?x=1", "").await;
    let paid = click_from(&app, &scene, "https://blog.example/", "gbraid=0AAAA&sub2=x").await;
    let social = click_from(&app, &scene, "https://blog.example/", "fbclid=IwAR0").await;
    let before = sell(&app, &scene, "before", Some(banned.clone())).await;
    assert_eq!(before["status"], "pending");

    let policy = json!({"banned_referrers": ["Spam.example"], "paid_traffic": ["gclid"]});
    hold_for_review(&app, &scene, policy).await;
    assert_held(&sell(&app, &scene, "banned", Some(banned)).await, &["banned_referrer"]);
    let held = sell(&app, &scene, "paid", Some(paid)).await;
    assert_held(&held, &["paid_traffic"]);
    assert_eq!(held["flags"][0]["figures"], json!({"network": "Google"}));
    let social = sell(&app, &scene, "social", Some(social)).await;
    assert_eq!(social["status"], "pending", "the program does not mind");

    // What was not known when it settled is found before time approves it; a release is the last
    // word about this rule.
    assert_eq!(app.advance(TimeDelta::days(31)).await, 1);
    let before = again(&app, &before).await;
    assert_held(&before, &["banned_referrer"]);
    decide(&app, &before, "release", json!({})).await;
    assert_eq!(app.advance(TimeDelta::seconds(1)).await, 1);
    assert_eq!(again(&app, &before).await["status"], "approved");
}

#[actix_web::test]
async fn a_partner_whose_orders_go_back_or_come_from_one_page_is_looked_at_before_it_is_paid() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let rate = |percent: u8| json!({"percent": percent, "conversions_min": 4, "days": 60});
    let policy = json!({"refund_rate": rate(25), "source_share": rate(75)});
    hold_for_review(&app, &scene, policy).await;
    let mut last = Value::Null;
    for (n, page) in ["a", "a", "a", "b"].into_iter().enumerate() {
        let click = click_from(&app, &scene, &format!("https://{page}.example/"), "").await;
        last = sell(&app, &scene, &format!("A-{n}"), Some(click)).await;
        assert_eq!(last["status"], "pending");
    }
    for order in ["A-0", "A-1"] {
        let data = json!({"event": "sale", "order_id": order, "refund_id": "R", "currency": "EUR",
            "refund_amount": "10.00"});
        app.webhook(&scene, &format!("r-{order}"), "conversion.refunded", data).await.expect(202);
    }
    app.settle(&scene).await;
    assert_eq!(app.advance(TimeDelta::days(31)).await, 0);
    let held = again(&app, &last).await;
    assert_held(&held, &["refund_rate"]);
    assert_eq!(
        held["flags"][0]["sentence"],
        "Of the partner's 4 conversions of 60 days 2 (50.0 %) were refunded; 25 % are allowed."
    );

    // Another rule may still speak about what was released.
    let policy = json!({"refund_rate": rate(25), "source_share": rate(74)});
    hold_for_review(&app, &scene, policy).await;
    decide(&app, &held, "release", json!({})).await;
    assert_eq!(app.advance(TimeDelta::seconds(1)).await, 0);
    let held = again(&app, &last).await;
    assert_eq!(held["reason"], "source_share");
    let figures = json!({"host": "a.example", "conversions_of_host": 3, "conversions": 4,
        "days": 60, "limit_percent": 74});
    assert_eq!(held["flags"][1]["figures"], figures);
    decide(&app, &held, "release", json!({})).await;
    assert_eq!(app.advance(TimeDelta::seconds(1)).await, 1);
}

#[actix_web::test]
async fn a_policy_is_read_back_and_every_mistake_is_named() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let path = format!("/v1/programs/{}/fraud-policy", scene.program_id);
    let usual = app.get(&app.finance_key, &path).await.expect(200);
    assert_eq!((&usual["self_referral"], &usual["too_fast_seconds"]), (&json!(true), &Value::Null));
    let wrong = json!({"too_fast_seconds": 0, "paid_traffic": ["glcid"],
        "refund_rate": {"percent": 120}, "banned_referrers": ["com"]});
    let refused = app.call(&app.manager_key, "PUT", &path, wrong).await;
    let problem = refused.expect_problem(422, "invalid-field");
    let errors = problem["errors"].as_array().unwrap();
    let at: Vec<&str> = errors.iter().map(|e| e["pointer"].as_str().unwrap()).collect();
    let expected =
        ["/too_fast_seconds", "/refund_rate/percent", "/paid_traffic", "/banned_referrers"];
    assert_eq!(at, expected, "{problem}");
    hold_for_review(&app, &scene, json!({"velocity_per_hour": 5})).await;
    let policy = app.get(&app.finance_key, &path).await.expect(200);
    assert_eq!(policy["velocity_per_hour"], 5);
    let read_only = app.call(&app.finance_key, "PUT", &path, json!({})).await;
    read_only.expect_problem(403, "insufficient-scope");
}
