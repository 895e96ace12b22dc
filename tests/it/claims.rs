//! Claims: a verdict with its evidence in seconds, and a person for the rest.

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tributary::claim::due;

use crate::harness::app::{Sale, Scene, TestApp};

/// Reports a sale with the click id given, however it looks; returns its receipt.
async fn sell(app: &TestApp, scene: &Scene, order_id: &str, click_id: Option<String>) -> Value {
    app.sale(scene, &Sale { order_id, amount: "100.00", click_id }).await
}

async fn claim(app: &TestApp, scene: &Scene, order_id: &str, more: Value) -> Value {
    let mut body = json!({"program_id": scene.program_id, "partner_id": scene.partner_id,
        "order_id": order_id});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = app.post(&app.manager_key, "/v1/claims", body).await;
    answer.expect(201)
}

async fn again(app: &TestApp, claim: &Value) -> Value {
    let path = format!("/v1/claims/{}", claim["id"].as_str().unwrap());
    app.get(&app.finance_key, &path).await.expect(200)
}

/// Moves the clock and lets the deadlines pass.
async fn pass(app: &TestApp, by: TimeDelta) -> u64 {
    app.clock.advance(by);
    let keys = (&app.app().config.click_keys, &app.app().customer_key);
    due::close_due(&app.app().background_db, keys, app.clock.now()).await.unwrap()
}

async fn commission(app: &TestApp, id: &Value) -> Value {
    let path = format!("/v1/commissions/{}", id.as_str().unwrap_or_else(|| panic!("no id")));
    app.get(&app.finance_key, &path).await.expect(200)
}

#[track_caller]
fn assert_stands(claim: &Value, status: &str, reason: &str) {
    assert_eq!((&claim["status"], &claim["reason"]), (&json!(status), &json!(reason)), "{claim}");
}

/// A second partner of the program, with its link.
async fn another_partner(app: &TestApp, scene: &Scene) -> Scene {
    let body = json!({"name": "Rival", "kind": "webmaster", "program_id": scene.program_id});
    let partner = app.post(&app.admin_key, "/v1/partners", body).await.expect(201);
    let partner_id = partner["id"].as_str().unwrap().to_owned();
    let body = json!({"program_id": scene.program_id, "partner_id": partner_id});
    let link = app.post(&app.admin_key, "/v1/links", body).await.expect(201);
    app.app().keeper.refresh().await.unwrap();
    Scene {
        program_id: scene.program_id.clone(),
        partner_id,
        link_id: link["id"].as_str().unwrap().to_owned(),
        link: link["url"].as_str().unwrap().to_owned(),
        source_id: scene.source_id.clone(),
        secret: scene.secret.clone(),
    }
}

#[actix_web::test]
async fn a_damaged_click_id_proves_a_claim_and_earns_what_the_order_would_have_earned() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let click_id = app.click_id(&scene.link).await;
    let plain = sell(&app, &scene, "A-1", Some(click_id.clone())).await;
    let lost = sell(&app, &scene, "A-2", Some(click_id.to_lowercase())).await;
    assert_eq!(lost["commission"], Value::Null, "{lost}");
    // Part of it went back before anybody claimed it.
    for order in ["A-1", "A-2"] {
        let data = json!({"event": "sale", "order_id": order, "refund_id": "R",
            "refund_amount": "40.00", "currency": "EUR"});
        app.webhook(&scene, &format!("r-{order}"), "conversion.refunded", data).await.expect(202);
    }
    app.settle(&scene).await;

    let claim = claim(&app, &scene, "A-2", json!({"click_id": click_id})).await;
    assert_stands(&claim, "accepted", "damaged_click_id");
    assert_eq!(claim["decided_by"], "system");
    assert_eq!(claim["evidence"]["named_click"]["is_damaged_in_order"], true);
    assert_eq!(claim["conversion_id"], lost["conversion_id"]);
    let found = commission(&app, &claim["commission_id"]).await;
    let expected = commission(&app, &plain["commission"]["id"]).await;
    let same = ["amount", "currency", "status", "hold_until", "approval", "partner_id", "base"];
    for field in same {
        assert_eq!(found[field], expected[field], "{field}");
    }
    assert_eq!(found["amount"], "12.00");
    let explained = format!("claim {}", claim["id"].as_str().unwrap());
    assert_eq!(found["calculation"]["claim"], explained);
    assert_eq!(found["history"][0]["rule"], "claim");
    assert_eq!(found["history"][0]["note"], explained);
    let audited = "select action from audit_log where action like 'claim.%' order by audit_id";
    assert_eq!(app.figures(audited).await, ["claim.accept", "claim.make"]);

    // What comes later finds it like any other.
    let data = json!({"event": "sale", "order_id": "A-2", "refund_id": "R2", "currency": "EUR"});
    app.webhook(&scene, "r2", "conversion.refunded", data).await.expect(202);
    app.settle(&scene).await;
    assert_eq!(commission(&app, &claim["commission_id"]).await["status"], "rejected");
}

#[actix_web::test]
async fn a_hundred_claims_of_one_order_are_one_claim_and_one_commission() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let click_id = app.click_id(&scene.link).await;
    sell(&app, &scene, "A-1", Some(click_id[..40].to_owned())).await;
    let body = json!({"program_id": scene.program_id, "partner_id": scene.partner_id,
        "order_id": "A-1", "click_id": click_id});
    let answers =
        join_all((0..100).map(|_| app.post(&app.manager_key, "/v1/claims", body.clone()))).await;
    let statuses = |status| answers.iter().filter(|a| a.status == status).count();
    // A busy machine may ask some to come again; that makes no second claim.
    assert_eq!((statuses(201), statuses(200) + statuses(503)), (1, 99));
    let first = answers.iter().find(|a| a.status == 201).unwrap().json();
    assert_stands(&first, "accepted", "damaged_click_id");
    assert!(answers.iter().all(|a| a.status == 503 || a.json() == first));
    assert_eq!(app.count("select count(*) from claims").await, 1);
    assert_eq!(app.count("select count(*) from commissions").await, 1);
}

#[actix_web::test]
async fn what_the_evidence_contradicts_is_refused_at_once_and_a_person_may_still_accept_it() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    sell(&app, &scene, "A-1", None).await;
    let none = claim(&app, &scene, "A-1", json!({})).await;
    assert_stands(&none, "refused", "no_click_in_window");
    assert_eq!(
        none["sentence"],
        "No person clicked the partner's link within 30 days before the order."
    );
    let rival = another_partner(&app, &scene).await;
    let foreign = app.click_id(&rival.link).await;
    sell(&app, &scene, "A-2", None).await;
    let of_others = claim(&app, &scene, "A-2", json!({"click_id": foreign})).await;
    assert_stands(&of_others, "refused", "click_of_others");
    let old = app.click_id(&scene.link).await;
    app.clock.advance(TimeDelta::days(31));
    sell(&app, &scene, "A-3", Some(old)).await;
    let late = claim(&app, &scene, "A-3", json!({})).await;
    assert_stands(&late, "refused", "outside_window");
    assert_eq!(late["evidence"]["order"]["attribution"], "outside_window");
    assert_eq!(app.count("select count(*) from commissions").await, 0);

    let accept = format!("/v1/claims/{}/accept", late["id"].as_str().unwrap());
    let body = json!({"note": "Our campaign said 60 days."});
    let accepted = app.post(&app.manager_key, &accept, body).await.expect(200);
    assert_eq!(accepted["status"], "accepted");
    let found = commission(&app, &accepted["commission_id"]).await;
    assert_eq!((&found["amount"], &found["status"]), (&json!("20.00"), &json!("pending")));
    let twice = app.post(&app.manager_key, &accept, json!({})).await;
    twice.expect_problem(409, "invalid-transition");
    let list =
        format!("/v1/conversions?program_id={}&partner_id={}", scene.program_id, scene.partner_id);
    assert_eq!(
        app.get(&app.finance_key, &list).await.expect(200)["data"].as_array().unwrap().len(),
        1
    );
}

#[actix_web::test]
async fn a_deadline_accepts_what_is_supported_and_escalates_the_rest() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let click_id = app.click_id(&scene.link).await;
    app.clock.advance(TimeDelta::hours(3));
    sell(&app, &scene, "A-1", None).await;
    sell(&app, &scene, "A-2", None).await;
    let supported = claim(&app, &scene, "A-1", json!({"click_id": click_id})).await;
    assert_stands(&supported, "open", "click_in_window");
    let near = claim(&app, &scene, "A-2", json!({})).await;
    assert_stands(&near, "open", "clicks_near");
    assert_eq!(near["evidence"]["clicks_within_a_day"], 1);
    app.clock.advance(TimeDelta::minutes(1));
    let unknown = claim(&app, &scene, "A-3", json!({"note": "The shop was slow."})).await;
    assert_stands(&unknown, "open", "order_unknown");
    assert_eq!(unknown["evidence"]["orders_within_an_hour"], 2);

    // The queue, by deadline.
    let path = format!("/v1/claims?program_id={}&status=open&limit=2", scene.program_id);
    let page = app.get(&app.finance_key, &path).await.expect(200);
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = app.get(&app.finance_key, &format!("{path}&cursor={cursor}")).await.expect(200);
    assert_eq!(page["data"], json!([supported, near]));
    assert_eq!(rest["data"], json!([unknown]));

    assert_eq!(pass(&app, TimeDelta::days(14) - TimeDelta::minutes(2)).await, 0);
    assert_eq!(app.count("select count(*) from commissions").await, 0);
    assert_eq!(pass(&app, TimeDelta::minutes(1)).await, 2);
    assert_eq!(pass(&app, TimeDelta::minutes(1)).await, 1);
    let accepted = again(&app, &supported).await;
    assert_stands(&accepted, "accepted", "click_in_window");
    assert_eq!(commission(&app, &accepted["commission_id"]).await["amount"], "20.00");
    assert_stands(&again(&app, &near).await, "escalated", "clicks_near");
    assert_stands(&again(&app, &unknown).await, "escalated", "order_unknown");
    assert_eq!(pass(&app, TimeDelta::days(99)).await, 0, "a person must, time does not");

    // A person decides what was escalated: what is unknown cannot earn, and is refused with a reason.
    let path =
        |claim: &Value, verb: &str| format!("/v1/claims/{}/{verb}", claim["id"].as_str().unwrap());
    let refused = app.post(&app.manager_key, &path(&unknown, "accept"), json!({})).await;
    let problem = refused.expect_problem(409, "invalid-transition");
    assert!(problem["detail"].as_str().unwrap().contains("has not reported the order"));
    let wrong = app.post(&app.manager_key, &path(&unknown, "refuse"), json!({})).await;
    assert_eq!(wrong.expect_problem(422, "invalid-field")["errors"][0]["pointer"], "/reason");
    let body = json!({"reason": "order_unknown", "note": "Asked the shop."});
    let refused = app.post(&app.manager_key, &path(&unknown, "refuse"), body).await.expect(200);
    assert_stands(&refused, "refused", "order_unknown");
}

#[actix_web::test]
async fn an_order_of_another_partner_is_never_taken_without_a_person() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let rival = another_partner(&app, &scene).await;
    let (mine, theirs) = (app.click_id(&scene.link).await, app.click_id(&rival.link).await);
    let sold = sell(&app, &scene, "A-1", Some(theirs)).await;
    let claim = claim(&app, &scene, "A-1", json!({"click_id": mine})).await;
    assert_stands(&claim, "open", "other_partner");
    assert_eq!(claim["evidence"]["order"]["earned_by"], "another_partner");
    assert!(!claim.to_string().contains(&rival.partner_id), "partners do not learn of each other");
    assert_eq!(pass(&app, TimeDelta::days(15)).await, 1);
    assert_stands(&again(&app, &claim).await, "escalated", "other_partner");

    let accept = format!("/v1/claims/{}/accept", claim["id"].as_str().unwrap());
    let refused = app.post(&app.manager_key, &accept, json!({})).await;
    let problem = refused.expect_problem(409, "invalid-transition");
    assert!(problem["detail"].as_str().unwrap().contains("a partner has earned by it"));
    let theirs = sold["commission"]["id"].as_str().unwrap();
    assert_eq!(commission(&app, &json!(theirs)).await["status"], "pending");
    // Two decisions, each in the open: first what the other has, then the claim.
    let body = json!({"reason": "tracking_error"});
    app.post(&app.manager_key, &format!("/v1/commissions/{theirs}/reject"), body).await.expect(200);
    let accepted = app.post(&app.manager_key, &accept, json!({})).await.expect(200);
    let found = commission(&app, &accepted["commission_id"]).await;
    assert_eq!(
        (&found["amount"], &found["partner_id"]),
        (&json!("20.00"), &json!(scene.partner_id))
    );
}

#[actix_web::test]
async fn a_claim_of_what_counts_already_names_its_commission_and_bad_fields_are_named() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let click_id = app.click_id(&scene.link).await;
    let sold = sell(&app, &scene, "A-1", Some(click_id)).await;
    let counted = claim(&app, &scene, "A-1", json!({})).await;
    assert_stands(&counted, "accepted", "already_counted");
    assert_eq!(counted["commission_id"], sold["commission"]["id"]);
    let body = json!({"program_id": scene.program_id, "partner_id": scene.partner_id,
        "order_id": " ", "event": "buy", "occurred_at": "2030-01-01T00:00:00Z"});
    let refused = app.post(&app.manager_key, "/v1/claims", body).await;
    let problem = refused.expect_problem(422, "invalid-field");
    let errors = problem["errors"].as_array().unwrap();
    let at: Vec<&str> = errors.iter().map(|e| e["pointer"].as_str().unwrap()).collect();
    assert_eq!(at, ["/event", "/order_id", "/occurred_at"]);
    let body = json!({"program_id": scene.program_id, "order_id": "A-1",
        "partner_id": tributary::ids::PartnerId::new()});
    app.post(&app.manager_key, "/v1/claims", body).await.expect_problem(404, "not-found");
    let listed = app.get(&app.finance_key, "/v1/claims?status=waiting").await;
    listed.expect_problem(422, "invalid-field");
}

#[actix_web::test]
async fn a_claim_is_priced_by_what_the_period_has_come_to() {
    let app = TestApp::start().await;
    let plan = json!({"v": 1, "rules": [{"event": "sale", "kind": "percent", "percent_bps": 2000,
        "currency": "EUR", "caps": [{"period": "month", "amount": "30.00"}]}]});
    let scene = app.scene_with(plan).await;
    let click_id = app.click_id(&scene.link).await;
    sell(&app, &scene, "A-1", Some(click_id.clone())).await;
    app.clock.advance(TimeDelta::minutes(1));
    sell(&app, &scene, "A-2", Some(click_id.to_lowercase())).await;
    let claim = claim(&app, &scene, "A-2", json!({"click_id": click_id})).await;
    let found = commission(&app, &claim["commission_id"]).await;
    assert_eq!((&found["amount"], &found["version"]), (&json!("10.00"), &json!(1)), "{found}");
    let path = format!("/v1/commissions/{}/explanation", found["id"].as_str().unwrap());
    let told = app.get(&app.finance_key, &path).await.expect(200);
    assert_eq!(told["commissions"][0]["recomputed"], true);
}
