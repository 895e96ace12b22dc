//! Attribution: the ladder of a program's policy, coupons, customers; what counts and why.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::{Scene, TestApp};

/// Whose each conversion is, why, and what it earned.
const BROUGHT: &str = "select c.event || ' ' || c.dedup_ref || ': ' || c.attribution || ' '
        || coalesce((select p.name from partners p where p.partner_id = m.partner_id), 'nobody')
    from conversions c
    left join commissions m on m.conversion_id = c.conversion_id and m.kind = 'earned'
    order by c.dedup_ref, c.event desc";

/// Another partner of the program, with a link.
async fn rival(app: &TestApp, scene: &Scene) -> (String, String) {
    let admin = &app.admin_key;
    let partner = json!({"name": "Rival", "kind": "webmaster", "country": "AT",
        "program_id": scene.program_id});
    let partner = app.post(admin, "/v1/partners", partner).await.expect(201);
    let id = partner["id"].as_str().unwrap().to_owned();
    let link = json!({"program_id": scene.program_id, "partner_id": id, "label": "home"});
    let link = app.post(admin, "/v1/links", link).await.expect(201);
    app.app().keeper.refresh().await.unwrap();
    (id, link["url"].as_str().unwrap().to_owned())
}

fn order(id: &str, more: &Value) -> Value {
    let mut data = json!({"event": "sale", "order_id": id, "amount": "100.00", "currency": "EUR"});
    for (name, value) in more.as_object().unwrap() {
        data[name] = value.clone();
    }
    data
}

async fn report(app: &TestApp, scene: &Scene, id: &str, more: Value) -> Value {
    let message = format!("m-{}", uuid::Uuid::now_v7());
    let sent = app.webhook(scene, &message, "conversion.created", order(id, &more)).await;
    app.receipt(sent.expect(202)["receipt"].as_str().unwrap()).await
}

async fn publish(app: &TestApp, scene: &Scene, document: Value) -> Value {
    app.clock.advance(TimeDelta::seconds(1));
    let path = format!("/v1/programs/{}/attribution-policies", scene.program_id);
    app.post(&app.admin_key, &path, json!({"document": document})).await.expect(201)
}

async fn coupon(app: &TestApp, scene: &Scene, partner: &str, more: Value) -> Value {
    let mut body = json!({"program_id": scene.program_id, "partner_id": partner});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    app.post(&app.admin_key, "/v1/coupons", body).await.expect(201)
}

async fn explanation(app: &TestApp, receipt: &Value) -> Value {
    let id = receipt["conversion_id"].as_str().unwrap_or_else(|| panic!("{receipt}"));
    app.get(&app.admin_key, &format!("/v1/conversions/{id}/explanation")).await.expect(200)
}

fn findings(conversion: &Value) -> Vec<String> {
    let told =
        |c: &Value| format!("{} {}", c["step"].as_str().unwrap(), c["finding"].as_str().unwrap());
    conversion["candidates"].as_array().unwrap().iter().map(told).collect()
}

#[actix_web::test]
async fn the_policy_of_the_time_judges_and_no_edition_is_changed() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let (admin, program) = (&app.admin_key, format!("/v1/programs/{}", scene.program_id));
    let policies = format!("{program}/attribution-policies");
    let click_id = app.click_id(&scene.link).await;
    app.clock.advance(TimeDelta::seconds(5));
    let happened = app.clock.now().to_rfc3339();
    // A minimum from now on: what happened before is judged as it was.
    let made = publish(&app, &scene, json!({"min_seconds": 60})).await;
    report(&app, &scene, "A", json!({"click_id": click_id, "occurred_at": happened})).await;
    let soon = report(&app, &scene, "B", json!({"click_id": click_id})).await;
    assert_eq!(soon["reason"], "it is attributed to nobody: too_soon");
    let said = explanation(&app, &soon).await["sentences"].to_string();
    assert!(said.contains("less than 60 seconds before it happened"), "{said}");
    app.clock.advance(TimeDelta::seconds(60));
    report(&app, &scene, "C", json!({"click_id": click_id})).await;
    assert_eq!(
        app.figures(BROUGHT).await,
        ["sale A: click Blog 42", "sale B: too_soon nobody", "sale C: click Blog 42"]
    );

    // The window of the program is the policy's.
    let window = json!({"attribution_window_days": 7});
    app.call(admin, "PATCH", &program, window).await.expect(200);
    let listed = app.get(admin, &policies).await.expect(200);
    let documents: Vec<_> = listed["data"].as_array().unwrap().iter().collect();
    assert_eq!(documents.len(), 3, "{listed}");
    assert_eq!(documents[0]["effective_from"], "1970-01-01T00:00:00Z");
    assert_eq!(documents[1]["id"], made["id"]);
    assert_eq!(documents[2]["document"]["window_days"], 7);
    assert_eq!(documents[2]["document"]["min_seconds"], 60, "the rest stays");
    let page = app.get(admin, &format!("{policies}?limit=2")).await.expect(200);
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = app.get(admin, &format!("{policies}?limit=2&cursor={cursor}")).await.expect(200);
    assert_eq!(rest["data"][0]["id"], documents[2]["id"]);
    let path = format!("/v1/attribution-policies/{}", made["id"].as_str().unwrap());
    assert_eq!(app.get(admin, &path).await.expect(200)["document"]["min_seconds"], 60);
    // The program's window is an edition, too.
    let published = "select count(*) from audit_log where action = 'attribution_policy.publish'";
    assert_eq!(app.count(published).await, 2);

    for (body, pointer) in [
        (json!({"document": {"ladder": ["klick"]}}), "/document/ladder"),
        (json!({"document": {"window_days": 0}}), "/document/window_days"),
        (json!({"document": {"model": "best"}}), "/document/model"),
        (json!({"document": {}, "effective_from": "2026-11-22T10:00:00Z"}), "/effective_from"),
    ] {
        let refused = app.post(admin, &policies, body).await;
        let problem = refused.expect_problem(422, "invalid-field");
        assert_eq!(problem["errors"][0]["pointer"], pointer);
    }
    app.get(admin, "/v1/attribution-policies/ap_nothing").await.expect_problem(404, "not-found");
}

#[actix_web::test]
async fn a_coupon_says_whose_an_order_is_where_no_link_was_clicked() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let (rival, _) = rival(&app, &scene).await;
    let admin = &app.admin_key;
    let summer = coupon(&app, &scene, &scene.partner_id, json!({"code": "Sömmer-10"})).await;
    for (id, code) in [("A", "SÖMMER-10"), ("B", " so\u{308}mmer-10 "), ("C", "WINTER")] {
        report(&app, &scene, id, json!({"coupon_code": code})).await;
    }
    // The same code in any form is not given twice, and stays whose it is.
    for code in ["Sömmer-10", "sÖMMER-10", "So\u{308}mmer-10"] {
        let body = json!({"program_id": scene.program_id, "partner_id": rival, "code": code});
        let refused = app.post(admin, "/v1/coupons", body).await;
        refused.expect_problem(409, "invalid-transition");
    }
    for (body, pointer) in [
        (json!({"code": "two words"}), "/code"),
        (json!({"code": "X", "ends_at": "2026-11-22T09:00:00Z"}), "/ends_at"),
    ] {
        let mut whole = json!({"program_id": scene.program_id, "partner_id": rival});
        whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        let problem = app.post(admin, "/v1/coupons", whole).await;
        assert_eq!(problem.expect_problem(422, "invalid-field")["errors"][0]["pointer"], pointer);
    }

    // Ended, it is another's from then on; when an order happened decides, not when it came.
    app.clock.advance(TimeDelta::hours(1));
    let before = (app.clock.now() - TimeDelta::minutes(1)).to_rfc3339();
    let end = format!("/v1/coupons/{}/end", summer["id"].as_str().unwrap());
    let ended = app.post(admin, &end, json!({})).await.expect(200);
    assert_eq!(ended["ends_at"], json!(app.clock.now()));
    app.post(admin, &end, json!({})).await.expect_problem(409, "invalid-transition");
    report(&app, &scene, "D", json!({"coupon_code": "sömmer-10"})).await;
    app.clock.advance(TimeDelta::seconds(1));
    coupon(&app, &scene, &rival, json!({"code": "SÖMMER-10"})).await;
    report(&app, &scene, "E", json!({"coupon_code": "sömmer-10"})).await;
    report(&app, &scene, "F", json!({"coupon_code": "sömmer-10", "occurred_at": before})).await;
    assert_eq!(
        app.figures(BROUGHT).await,
        [
            "sale A: coupon Blog 42",
            "sale B: coupon Blog 42",
            "sale C: unknown_coupon nobody",
            "sale D: coupon_ended nobody",
            "sale E: coupon Rival",
            "sale F: coupon Blog 42"
        ]
    );
    let list = format!("/v1/coupons?program_id={}", scene.program_id);
    let first = app.get(admin, &format!("{list}&code=SO%CC%88MMER-10&limit=1")).await.expect(200);
    assert_eq!((&first["data"][0]["id"], &first["has_more"]), (&summer["id"], &json!(true)));
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = app.get(admin, &format!("{list}&limit=1&cursor={cursor}")).await.expect(200);
    assert_eq!((&rest["data"][0]["partner_id"], &rest["has_more"]), (&json!(rival), &json!(false)));
    let of_partner = app.get(admin, &format!("{list}&partner_id={rival}")).await.expect(200);
    assert_eq!(of_partner["data"].as_array().unwrap().len(), 1);
}

#[actix_web::test]
async fn two_who_give_one_code_at_once_do_not_both_get_it() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let give = |code: &'static str| {
        let body = json!({"program_id": scene.program_id, "partner_id": scene.partner_id,
            "code": code});
        app.post(&app.admin_key, "/v1/coupons", body)
    };
    let (a, b, c) = tokio::join!(give("ONCE"), give("once"), give("Once"));
    let mut statuses = [a.status, b.status, c.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409]);
}

#[actix_web::test]
async fn the_ladder_decides_and_the_answer_tells_what_stood_behind() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let (rival, rival_link) = rival(&app, &scene).await;
    let admin = &app.admin_key;
    coupon(&app, &scene, &scene.partner_id, json!({"code": "TALK"})).await;
    let click_id = app.click_id(&rival_link).await;
    let both = json!({"click_id": click_id, "coupon_code": "talk"});
    let first = report(&app, &scene, "A", both.clone()).await;
    let told = explanation(&app, &first).await;
    assert_eq!(findings(&told["conversion"]), ["click counts", "coupon outranked"]);

    publish(&app, &scene, json!({"ladder": ["coupon", "click"]})).await;
    let second = report(&app, &scene, "B", both.clone()).await;
    let told = explanation(&app, &second).await;
    assert_eq!(findings(&told["conversion"]), ["coupon counts", "click outranked"]);
    assert_eq!(told["conversion"]["click_at"], Value::Null, "the click brought nothing");
    assert_eq!(told["conversion"]["candidates"][1]["partner_id"], json!(rival));
    let said = told["sentences"].to_string();
    assert!(said.contains("brought it: the customer used its coupon talk."), "{said}");
    assert!(said.contains("a click counts after what decided"), "{said}");

    // A trial run tells the same and writes nothing.
    let body = json!({"type": "conversion.created", "timestamp": app.clock.now().to_rfc3339(),
        "data": order("C", &both)})
    .to_string();
    let (now, id) = (app.clock.now(), "dry");
    let signature = tributary::conversion::signature::sign(&scene.secret, id, now, body.as_bytes());
    let headers = [
        ("content-type", "application/json"),
        ("webhook-id", id),
        ("webhook-timestamp", &now.timestamp().to_string()),
        ("webhook-signature", &signature),
    ];
    let path = format!("/v1/webhooks/{}?dry_run=1", scene.source_id);
    let trial = app.send("POST", &path, &headers, body).await.expect(200);
    assert_eq!(findings(&trial["settlement"]), ["coupon counts", "click outranked"], "{trial}");

    // A step that the policy does not name is told and does not count.
    publish(&app, &scene, json!({"ladder": ["customer"]})).await;
    report(&app, &scene, "D", both).await;
    assert_eq!(
        app.figures(BROUGHT).await,
        ["sale A: click Rival", "sale B: coupon Blog 42", "sale D: not_in_ladder nobody"]
    );
    let query = format!("/v1/conversions?program_id={}&attribution=coupon", scene.program_id);
    let listed = app.get(admin, &query).await.expect(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
}

#[actix_web::test]
async fn a_protected_customer_is_its_partners_without_a_click() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let (_, rival_link) = rival(&app, &scene).await;
    let admin = &app.admin_key;
    let policy = json!({"customer_protection_days": 30});
    let network = format!("/v1/programs/{}/network-policy", scene.program_id);
    app.call(admin, "PUT", &network, policy).await.expect(200);
    let customer = json!({"program_id": scene.program_id, "customer_ref": "C-1"});
    let protect = format!("/v1/partners/{}/protected-customers", scene.partner_id);
    app.post(admin, &protect, customer.clone()).await.expect(201);
    let since = app.clock.now();
    let earlier = (since - TimeDelta::minutes(1)).to_rfc3339();
    report(&app, &scene, "A", json!({"customer_ref": "C-1"})).await;
    report(&app, &scene, "B", json!({"customer_ref": "C-1", "occurred_at": earlier})).await;
    report(&app, &scene, "C", json!({"customer_ref": "C-2"})).await;
    // Protected again, it has been the partner's all the time.
    app.clock.advance(TimeDelta::hours(1));
    app.post(admin, &protect, customer).await.expect(201);
    let at = (since + TimeDelta::minutes(1)).to_rfc3339();
    report(&app, &scene, "D", json!({"customer_ref": "C-1", "occurred_at": at})).await;
    // A later click of another takes the order where the ladder puts clicks first.
    let click_id = app.click_id(&rival_link).await;
    let both = json!({"customer_ref": "C-1", "click_id": click_id});
    report(&app, &scene, "E", both.clone()).await;
    publish(&app, &scene, json!({"ladder": ["customer", "click"]})).await;
    let kept = report(&app, &scene, "F", both).await;
    let told = explanation(&app, &kept).await;
    assert_eq!(findings(&told["conversion"]), ["customer counts", "click outranked"]);
    assert_eq!(
        app.figures(BROUGHT).await,
        [
            "sale A: customer Blog 42",
            "sale B: no_click nobody",
            "sale C: no_click nobody",
            "sale D: customer Blog 42",
            "sale E: click Rival",
            "sale F: customer Blog 42"
        ]
    );
}

/// Twenty per cent of each sale and renewal, five euros for a lead; a lead binds.
async fn owning(app: &TestApp, ownership: Value) -> Scene {
    let scene = app
        .scene_with(json!({"v": 1, "hold_days": 0, "rules": [
            {"event": "sale", "kind": "percent", "percent_bps": 2000},
            {"event": "renewal", "kind": "percent", "percent_bps": 1000},
            {"event": "lead", "kind": "flat", "flat": "5.00", "currency": "EUR"}]}))
        .await;
    publish(app, &scene, json!({"ownership": ownership})).await;
    scene
}

fn lead(customer: &str, click_id: &str) -> Value {
    json!({"event": "lead", "customer_ref": customer, "click_id": click_id, "amount": null,
        "currency": null})
}

#[actix_web::test]
async fn a_lead_binds_its_customer_through_sale_and_renewals() {
    let app = TestApp::start().await;
    let scene = owning(&app, json!({"lasts": "lifetime"})).await;
    let (_, rival_link) = rival(&app, &scene).await;
    let click_id = app.click_id(&scene.link).await;
    report(&app, &scene, "A", lead("C-1", &click_id)).await;
    app.clock.advance(TimeDelta::days(60));
    let sale = report(&app, &scene, "B", json!({"customer_ref": "C-1"})).await;
    app.clock.advance(TimeDelta::days(365));
    let renewal = json!({"customer_ref": "C-1", "event": "renewal"});
    report(&app, &scene, "C", renewal.clone()).await;
    // Another brings the customer once more: that order is the other's, the next one is not.
    let click_of_rival = app.click_id(&rival_link).await;
    report(&app, &scene, "D", json!({"customer_ref": "C-1", "click_id": click_of_rival})).await;
    report(&app, &scene, "E", lead("C-1", &click_of_rival)).await;
    report(&app, &scene, "F", renewal).await;
    report(&app, &scene, "G", json!({"customer_ref": "C-2"})).await;
    assert_eq!(
        app.figures(BROUGHT).await,
        [
            "lead A: click Blog 42",
            "sale B: customer Blog 42",
            "renewal C: customer Blog 42",
            "sale D: click Rival",
            "lead E: click Rival",
            "renewal F: customer Blog 42",
            "sale G: no_click nobody"
        ]
    );
    let said = explanation(&app, &sale).await["sentences"].to_string();
    assert!(said.contains("brought it: the customer has been its own since 2026-11-22"), "{said}");
    let owner = format!("/v1/programs/{}/customers/owner", scene.program_id);
    let asked = json!({"customer_ref": "C-1"});
    let found = app.post(&app.admin_key, &owner, asked).await.expect(200);
    assert_eq!(found["owner"]["partner_id"], scene.partner_id.as_str());
    assert_eq!(found["owner"]["until"], Value::Null);
    let nobody = json!({"customer_ref": "C-2"});
    assert_eq!(app.post(&app.admin_key, &owner, nobody).await.expect(200)["owner"], Value::Null);
    let blank = app.post(&app.admin_key, &owner, json!({"customer_ref": " "})).await;
    blank.expect_problem(422, "invalid-field");
}

#[actix_web::test]
async fn ownership_ends_with_its_days_and_the_ladder_may_guard_it() {
    let app = TestApp::start().await;
    let scene = owning(&app, json!({"lasts": "days", "days": 30, "bind_on": ["sale"]})).await;
    let (_, rival_link) = rival(&app, &scene).await;
    coupon(&app, &scene, &scene.partner_id, json!({"code": "TALK"})).await;
    report(&app, &scene, "A", json!({"customer_ref": "C-1", "coupon_code": "talk"})).await;
    let guarded = json!({"ladder": ["customer", "click", "coupon"],
        "ownership": {"lasts": "days", "days": 30, "bind_on": ["sale"]}});
    publish(&app, &scene, guarded).await;
    let click_id = app.click_id(&rival_link).await;
    report(&app, &scene, "B", json!({"customer_ref": "C-1", "click_id": click_id})).await;
    app.clock.advance(TimeDelta::days(30));
    // What was the partner's by ownership alone has not made it longer.
    report(&app, &scene, "C", json!({"customer_ref": "C-1"})).await;
    app.clock.advance(TimeDelta::seconds(1));
    let click_id = app.click_id(&rival_link).await;
    report(&app, &scene, "D", json!({"customer_ref": "C-1", "click_id": click_id})).await;
    report(&app, &scene, "E", json!({"customer_ref": "C-1"})).await;
    // Switched off, nobody owns anybody.
    publish(&app, &scene, json!({})).await;
    report(&app, &scene, "F", json!({"customer_ref": "C-1"})).await;
    assert_eq!(
        app.figures(BROUGHT).await,
        [
            "sale A: coupon Blog 42",
            "sale B: customer Blog 42",
            "sale C: no_click nobody",
            "sale D: click Rival",
            "sale E: customer Rival",
            "sale F: no_click nobody"
        ]
    );
}

#[actix_web::test]
async fn a_lead_that_comes_late_makes_its_partners_what_was_nobodys() {
    let app = TestApp::start().await;
    let scene = owning(&app, json!({"lasts": "lifetime"})).await;
    let click_id = app.click_id(&scene.link).await;
    let happened = app.clock.now();
    app.clock.advance(TimeDelta::hours(1));
    let before = (happened - TimeDelta::minutes(1)).to_rfc3339();
    let customer = json!({"customer_ref": "C-1"});
    let sale = report(&app, &scene, "B", customer.clone()).await;
    assert_eq!(sale["reason"], "it is attributed to nobody: no_click");
    report(&app, &scene, "C", json!({"customer_ref": "C-1", "occurred_at": before})).await;
    report(&app, &scene, "D", customer.clone()).await;
    report(&app, &scene, "E", customer).await;
    let back = json!({"event": "sale", "order_id": "D", "refund_id": "R", "currency": "EUR",
        "refund_amount": "50.00"});
    app.webhook(&scene, "back", "conversion.refunded", back).await.expect(202);
    let canceled = json!({"event": "sale", "order_id": "E", "reason": "order_canceled"});
    app.webhook(&scene, "canceled", "conversion.rejected", canceled).await.expect(202);
    let mut late = lead("C-1", &click_id);
    late["occurred_at"] = json!(happened.to_rfc3339());
    report(&app, &scene, "A", late).await;
    app.settle(&scene).await;
    assert_eq!(
        app.figures(BROUGHT).await,
        [
            "lead A: click Blog 42",
            "sale B: customer Blog 42",
            "sale C: no_click nobody",
            "sale D: customer Blog 42",
            "sale E: no_click nobody"
        ]
    );
    let receipt = app.receipt(sale["receipt"].as_str().unwrap()).await;
    assert_eq!(
        (&receipt["reason"], &receipt["commission"]["amount"]),
        (&Value::Null, &json!("20.00"))
    );
    let told = explanation(&app, &receipt).await;
    assert_eq!(told["commissions"][0]["recomputed"], true);
    assert_eq!(
        app.figures(
            "select c.dedup_ref || ' ' || m.amount_minor from commissions m
                     join conversions c using (program_id, conversion_id)
                     where c.event = 'sale' order by 1"
        )
        .await,
        ["B 2000", "D 1000"]
    );
    // A lead that the shop rejects binds nobody any more.
    let fake = json!({"event": "lead", "order_id": "A", "reason": "fraud"});
    app.webhook(&scene, "fake", "conversion.rejected", fake).await.expect(202);
    app.settle(&scene).await;
    let next = report(&app, &scene, "F", json!({"customer_ref": "C-1"})).await;
    assert_eq!(next["reason"], "it is attributed to nobody: no_click");
}
