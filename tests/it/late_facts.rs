//! Facts that come late: who bought first, and who had recruited a partner when it sold.

use chrono::{Months, TimeDelta};
use serde_json::{Value, json};
use tributary::commission::timer;

use crate::harness::{Scene, TestApp};

/// What each order came to, corrections and all.
const NET: &str = "select c.dedup_ref || ': '
        || coalesce((select sum(m.amount_minor) from commissions m
                     where m.conversion_id = c.conversion_id and m.kind <> 'recruiter'
                       and m.state not in ('rejected', 'reversed')), 0)::text
    from conversions c
    order by c.dedup_ref";
const OWED: &str = "select (-sum(b.balance_minor))::text
    from ledger_balances b join ledger_accounts a on a.account_id = b.account_id
    where a.path like 'liability%'";

async fn revalue(app: &TestApp) {
    timer::revalue_marked(&app.app().background_db, app.clock.now()).await.unwrap();
}

async fn tell(app: &TestApp, scene: &Scene, id: &str, data: Value) -> Value {
    let mut all = json!({"order_id": id, "amount": "100.00", "currency": "EUR",
        "customer_ref": "C-1"});
    all.as_object_mut().unwrap().extend(data.as_object().unwrap().clone());
    let answer = app.webhook(scene, &format!("m-{id}"), "conversion.created", all).await;
    app.receipt(answer.expect(202)["receipt"].as_str().unwrap()).await
}

/// Tells four events of a customer in an order; one is approved as soon as it is known.
async fn told_in(order: &[&str], approved: Option<&str>) -> (TestApp, Scene) {
    let app = TestApp::start().await;
    let plan = json!({"v": 1, "approval": "manual", "rules": [
        {"event": "sale", "kind": "percent", "percent_bps": 1500},
        {"event": "sale", "kind": "percent", "percent_bps": 2500, "customer": "new"},
        {"event": "renewal", "kind": "percent", "percent_bps": 500},
        {"event": "renewal", "kind": "percent", "percent_bps": 1000, "within_months": 12},
        {"event": "signup", "kind": "flat", "flat": "5.00", "currency": "EUR",
         "customer": "returning"}]});
    let scene = app.scene_with(plan).await;
    let click_id = app.click_id(&scene.link).await;
    app.clock.advance(TimeDelta::hours(1));
    let now = app.clock.now();
    let minutes = |n| (now - TimeDelta::minutes(n)).to_rfc3339();
    for id in order {
        let data = match *id {
            // Long before there was a click of anybody.
            "P" => json!({"event": "sale", "occurred_at": now - Months::new(13)}),
            "R" => json!({"event": "renewal", "occurred_at": minutes(4), "click_id": click_id}),
            "S" => json!({"event": "sale", "occurred_at": minutes(3), "click_id": click_id}),
            _ => json!({"event": "signup", "occurred_at": minutes(2), "click_id": click_id}),
        };
        tell(&app, &scene, id, data).await;
        if approved == Some(*id) {
            let data = json!({"event": "sale", "order_id": id});
            app.webhook(&scene, "ok", "conversion.approved", data).await.expect(202);
            app.settle(&scene).await;
        }
        revalue(&app).await;
    }
    revalue(&app).await;
    (app, scene)
}

#[actix_web::test]
async fn who_bought_first_and_since_when_is_the_same_in_any_order_of_arrival() {
    for (order, approved) in [
        (["P", "R", "S", "U"], None),
        (["U", "S", "R", "P"], None),
        (["S", "U", "P", "R"], Some("S")),
        (["R", "U", "S", "P"], Some("S")),
    ] {
        let (app, scene) = told_in(&order, approved).await;
        assert_eq!(app.figures(NET).await, ["P: 0", "R: 500", "S: 1500", "U: 500"], "{order:?}");
        assert_eq!(app.figures(OWED).await, ["2500"], "{order:?}");
        let path = format!("/v1/commissions?program_id={}", scene.program_id);
        let listed = app.get(&app.admin_key, &path).await.expect(200);
        for row in listed["data"].as_array().unwrap() {
            let path = format!("/v1/commissions/{}/explanation", row["id"].as_str().unwrap());
            let told = app.get(&app.admin_key, &path).await.expect(200);
            assert_eq!(told["commissions"][0]["recomputed"], true, "{order:?}: {told:#}");
        }
    }
}

#[actix_web::test]
async fn what_only_new_customers_earn_ends_when_an_earlier_purchase_arrives() {
    let app = TestApp::start().await;
    let plan = json!({"v": 1, "hold_days": 0, "approval": "manual", "rules": [
        {"event": "sale", "kind": "percent", "percent_bps": 2500, "customer": "new"}]});
    let scene = app.scene_with(plan).await;
    let click_id = app.click_id(&scene.link).await;
    app.clock.advance(TimeDelta::hours(1));
    let sale = |n| {
        let at = (app.clock.now() - TimeDelta::minutes(n)).to_rfc3339();
        json!({"event": "sale", "occurred_at": at, "click_id": click_id})
    };
    tell(&app, &scene, "C", sale(1)).await;
    let approved = json!({"event": "sale", "order_id": "C"});
    app.webhook(&scene, "ok", "conversion.approved", approved).await.expect(202);
    tell(&app, &scene, "B", sale(2)).await;
    revalue(&app).await;
    assert_eq!(app.figures(NET).await, ["B: 2500", "C: 0"], "what was approved is adjusted");
    tell(&app, &scene, "A", sale(3)).await;
    revalue(&app).await;
    assert_eq!(app.figures(NET).await, ["A: 2500", "B: 0", "C: 0"], "what was pending ends");
    let states = "select c.dedup_ref || ' ' || m.kind || ' ' || m.state || ' ' || m.amount_minor
        from commissions m join conversions c using (program_id, conversion_id)
        order by c.dedup_ref, m.kind";
    let expected = [
        "A earned pending 2500",
        "B earned rejected 2500",
        "C adjustment approved -2500",
        "C earned approved 2500",
    ];
    assert_eq!(app.figures(states).await, expected);
    assert_eq!(app.figures(OWED).await, ["2500"]);
}

#[actix_web::test]
async fn whoever_had_recruited_the_partner_when_it_sold_is_paid() {
    let app = TestApp::start().await;
    let plan = json!({"v": 1, "recruiter": {"percent_bps": 1000}, "rules": [
        {"event": "sale", "kind": "percent", "percent_bps": 2000}]});
    let scene = app.scene_with(plan).await;
    let click_id = app.click_id(&scene.link).await;
    let mut recruiters = Vec::new();
    for name in ["First", "Second"] {
        let body = json!({"name": name, "kind": "dealer", "program_id": scene.program_id});
        let made = app.post(&app.admin_key, "/v1/partners", body).await.expect(201);
        recruiters.push(made["id"].clone());
    }
    let path = format!("/v1/partners/{}/network", scene.partner_id);
    let mut times = vec![app.clock.now()];
    for recruiter in [recruiters[0].clone(), recruiters[1].clone(), Value::Null] {
        app.clock.advance(TimeDelta::hours(1));
        let body = json!({"program_id": scene.program_id, "parent_partner_id": recruiter});
        app.call(&app.admin_key, "PATCH", &path, body).await.expect(200);
        times.push(app.clock.now());
    }
    app.clock.advance(TimeDelta::hours(1));
    // Told when nobody is its recruiter any more, the last first.
    for (n, at) in times.iter().enumerate().rev() {
        let at = (*at + TimeDelta::minutes(30)).to_rfc3339();
        let data = json!({"event": "sale", "occurred_at": at, "click_id": click_id});
        tell(&app, &scene, &format!("S-{n}"), data).await;
    }
    let paid = "select c.dedup_ref || ' ' || p.name || ' ' || m.amount_minor
        from commissions m join conversions c using (program_id, conversion_id)
        join partners p on p.partner_id = m.partner_id where m.kind = 'recruiter' order by c.dedup_ref";
    assert_eq!(app.figures(paid).await, ["S-1 First 200", "S-2 Second 200"]);
}

#[actix_web::test]
async fn what_a_partner_was_when_it_sold_prices_the_sale() {
    let app = TestApp::start().await;
    let plan = json!({"v": 1, "rules": [
        {"event": "sale", "kind": "percent", "percent_bps": 2000},
        {"event": "sale", "kind": "percent", "percent_bps": 2500, "groups": ["gold"]}]});
    let scene = app.scene_with(plan).await;
    let click_id = app.click_id(&scene.link).await;
    let path =
        format!("/v1/programs/{}/partners/{}/terms-group", scene.program_id, scene.partner_id);
    let mut times = vec![app.clock.now()];
    for group in [json!("gold"), Value::Null] {
        app.clock.advance(TimeDelta::hours(1));
        app.call(&app.admin_key, "PUT", &path, json!({"group": group})).await.expect(200);
        times.push(app.clock.now());
    }
    app.clock.advance(TimeDelta::hours(1));
    for (n, at) in times.iter().enumerate().rev() {
        let at = (*at + TimeDelta::minutes(30)).to_rfc3339();
        let data = json!({"event": "sale", "occurred_at": at, "click_id": click_id});
        tell(&app, &scene, &format!("S-{n}"), data).await;
    }
    assert_eq!(app.figures(NET).await, ["S-0: 2000", "S-1: 2500", "S-2: 2000"]);
}
