//! Plans: tiers, caps, conditions, currencies and recruiters, from the API to the ledger.

use chrono::TimeDelta;
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
/// Every row, by kind.
const ROWS: &str = "select m.kind || ' ' || m.state || ' ' || m.amount_minor
    from commissions m join conversions c using (program_id, conversion_id)
    order by c.dedup_ref, m.kind, m.amount_minor";
const OWED: &str = "select (-sum(b.balance_minor))::text
    from ledger_balances b join ledger_accounts a on a.account_id = b.account_id
    where a.path like 'liability%'";

async fn sale(app: &TestApp, scene: &Scene, click_id: &str, id: &str, data: Value) -> Value {
    let mut all = json!({"event": "sale", "order_id": id, "amount": "100.00", "currency": "EUR",
        "click_id": click_id});
    for (name, value) in data.as_object().unwrap() {
        all[name] = value.clone();
    }
    let answer = app.webhook(scene, &format!("m-{id}"), "conversion.created", all).await;
    app.receipt(answer.expect(202)["receipt"].as_str().unwrap()).await
}

async fn revalue(app: &TestApp) -> u64 {
    timer::revalue_marked(&app.app().background_db, app.clock.now()).await.unwrap()
}

fn tiered(mode: &str) -> Value {
    json!({"v": 1, "hold_days": 0, "approval": "manual", "rules": [{"event": "sale",
        "kind": "percent", "percent_bps": 1000, "currency": "EUR", "tiers": {"period": "month",
        "mode": mode, "steps": [{"from_count": 3, "percent_bps": 1500}]}}]})
}

#[actix_web::test]
async fn a_tier_that_is_reached_late_raises_what_was_approved() {
    let app = TestApp::start().await;
    let scene = app.scene_with(tiered("retroactive")).await;
    let click_id = app.click_id(&scene.link).await;
    for id in ["A", "B"] {
        sale(&app, &scene, &click_id, id, json!({})).await;
    }
    let approved = json!({"event": "sale", "order_id": "A"});
    app.webhook(&scene, "ok", "conversion.approved", approved).await.expect(202);
    app.settle(&scene).await;
    assert_eq!(app.figures(NET).await, ["A: 1000", "B: 1000"]);
    sale(&app, &scene, &click_id, "C", json!({})).await;
    assert_eq!(revalue(&app).await, 1);
    assert_eq!(app.figures(NET).await, ["A: 1500", "B: 1500", "C: 1500"]);
    assert_eq!(
        app.figures(ROWS).await,
        [
            "earned approved 1000",
            "true_up approved 500",
            "earned pending 1500",
            "earned pending 1500"
        ]
    );
    assert_eq!(app.figures(OWED).await, ["4500"]);
    // A later edition changes nothing of what happened before it, corrections included.
    let later =
        json!({"v": 1, "rules": [{"event": "sale", "kind": "percent", "percent_bps": 5000}]});
    let plans = format!("/v1/programs/{}/plans", scene.program_id);
    app.post(&app.admin_key, &plans, later).await.expect(201);
    // One goes back: the tier is no longer reached, and the raise is taken back.
    let back = json!({"event": "sale", "order_id": "C", "refund_id": "R"});
    app.webhook(&scene, "back", "conversion.refunded", back).await.expect(202);
    app.settle(&scene).await;
    assert_eq!(revalue(&app).await, 1);
    assert_eq!(app.figures(NET).await, ["A: 1000", "B: 1000", "C: 0"]);
    assert_eq!(app.figures(OWED).await, ["2000"]);
    assert_eq!(revalue(&app).await, 0, "nothing is marked any more");
}

#[actix_web::test]
async fn the_order_of_arrival_changes_no_figure_of_a_tier() {
    let app = TestApp::start().await;
    let scene = app.scene_with(tiered("progressive")).await;
    let click_id = app.click_id(&scene.link).await;
    app.clock.advance(TimeDelta::hours(1));
    let now = app.clock.now();
    for (id, minutes) in [("C", 3), ("A", 1), ("D", 4), ("B", 2)] {
        let at = (now - TimeDelta::minutes(10 - minutes)).to_rfc3339();
        sale(&app, &scene, &click_id, id, json!({"occurred_at": at})).await;
    }
    revalue(&app).await;
    assert_eq!(app.figures(NET).await, ["A: 1000", "B: 1000", "C: 1500", "D: 1500"]);
    assert_eq!(app.figures(OWED).await, ["5000"]);
}

#[actix_web::test]
async fn a_budget_is_shared_and_what_it_leaves_nothing_of_is_explained() {
    let app = TestApp::start().await;
    let plan = json!({"v": 1, "rules": [{"event": "sale", "kind": "percent", "percent_bps": 2000}],
        "caps": [{"period": "day", "per": "program", "amount": "30.00", "currency": "EUR"}]});
    let scene = app.scene_with(plan).await;
    let click_id = app.click_id(&scene.link).await;
    for id in ["A", "B"] {
        sale(&app, &scene, &click_id, id, json!({})).await;
    }
    let receipt = sale(&app, &scene, &click_id, "C", json!({})).await;
    revalue(&app).await;
    assert_eq!(app.figures(NET).await, ["A: 2000", "B: 1000", "C: 0"]);
    let commission = app.commission(&scene, &receipt).await;
    let sentence = commission["calculation"]["sentence"].as_str().unwrap();
    assert!(sentence.contains("0.00 EUR of it within the cap of 30.00 EUR a day"), "{sentence}");
    // The first goes back, and its part of the budget is free again.
    let back = json!({"event": "sale", "order_id": "A", "refund_id": "R"});
    app.webhook(&scene, "back", "conversion.refunded", back).await.expect(202);
    app.settle(&scene).await;
    revalue(&app).await;
    assert_eq!(app.figures(NET).await, ["A: 0", "B: 2000", "C: 1000"]);
    assert_eq!(app.figures(OWED).await, ["3000"]);
}

#[actix_web::test]
async fn groups_customers_and_rates_decide_and_a_recruiter_follows() {
    let app = TestApp::start().await;
    let plan = json!({"v": 1, "hold_days": 0, "rules": [
        {"event": "sale", "kind": "percent", "percent_bps": 1500},
        {"event": "sale", "kind": "percent", "percent_bps": 2500, "customer": "new"},
        {"event": "sale", "kind": "percent", "percent_bps": 3000, "groups": ["gold"]}],
        "pay_in": {"currency": "EUR"}, "recruiter": {"percent_bps": 1000}});
    let scene = app.scene_with(plan).await;
    let (admin, program) = (&app.admin_key, format!("/v1/programs/{}", scene.program_id));
    let click_id = app.click_id(&scene.link).await;
    let customer = json!({"customer_ref": "C-1"});
    sale(&app, &scene, &click_id, "A", customer.clone()).await;
    app.clock.advance(TimeDelta::minutes(1));
    sale(&app, &scene, &click_id, "B", customer).await;
    assert_eq!(app.figures(NET).await, ["A: 2500", "B: 1500"]);

    let group = format!("{program}/partners/{}/terms-group", scene.partner_id);
    app.call(admin, "PUT", &group, json!({"group": "gold"})).await.expect(200);
    let rate = json!({"from": "USD", "to": "EUR", "rate": "0.9213", "source": "ecb"});
    app.post(admin, &format!("{program}/fx-rates"), rate.clone()).await.expect(201);
    let wrong = json!({"from": "USD", "to": "EUR", "rate": "0,92", "source": "ecb"});
    let problem = app.post(admin, &format!("{program}/fx-rates"), wrong).await;
    assert_eq!(problem.expect_problem(422, "invalid-field")["errors"][0]["pointer"], "/rate");

    let recruiter = app
        .post(
            admin,
            "/v1/partners",
            json!({"name": "Recruiter", "kind": "dealer",
            "country": "DE", "program_id": scene.program_id}),
        )
        .await
        .expect(201);
    let mut owner = app.owner().await;
    sqlx::query(
        "update enrollments set parent_partner_id = (select partner_id from partners
                 where name = 'Recruiter') where partner_id <> (select partner_id from partners
                 where name = 'Recruiter')",
    )
    .execute(&mut owner)
    .await
    .unwrap();
    app.clock.advance(TimeDelta::minutes(1));
    let receipt = sale(&app, &scene, &click_id, "C", json!({"currency": "USD"})).await;
    let commission = app.commission(&scene, &receipt).await;
    assert_eq!(commission["amount"], "27.64", "30.00 USD at 0.9213");
    assert_eq!(commission["calculation"]["inputs"]["fx"]["source"], "ecb");
    let rows = app.figures(ROWS).await;
    assert_eq!(rows[2..], ["earned pending 2764", "recruiter pending 276"]);
    // Approved by time, the recruiter's after the partner's, and taken back with it.
    app.advance(TimeDelta::seconds(1)).await;
    app.advance(TimeDelta::seconds(1)).await;
    let rows = app.figures(ROWS).await;
    assert_eq!(rows[2..], ["earned approved 2764", "recruiter approved 276"]);
    let back = json!({"event": "sale", "order_id": "C", "currency": "USD", "refund_id": "R",
        "refund_amount": "50.00"});
    app.webhook(&scene, "back", "conversion.refunded", back).await.expect(202);
    app.settle(&scene).await;
    let rows = app.figures(ROWS).await;
    assert_eq!(
        rows[2..],
        [
            "clawback approved -1382",
            "clawback approved -138",
            "earned approved 2764",
            "recruiter approved 276"
        ]
    );
    assert_eq!(recruiter["name"], "Recruiter");
}

#[actix_web::test]
async fn a_plan_is_linted_said_in_two_languages_and_described_by_a_schema() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let admin = &app.admin_key;
    let plans = format!("/v1/programs/{}/plans", scene.program_id);
    let rule = json!({"event": "sale", "kind": "percent", "percent_bps": 3000, "currency": "EUR",
        "less": ["shipping"], "caps": [{"period": "month", "amount": "500.00",
        "then_percent_bps": 1500}]});
    let made = app.post(admin, &plans, json!({"v": 1, "rules": [rule]})).await.expect(201);
    assert_eq!(made["warnings"][0]["code"], "unusual_rate");
    let path = format!("/v1/plans/{}", made["id"].as_str().unwrap());
    let said = app.get(admin, &format!("{path}/words?lang=ru")).await.expect(200);
    assert_eq!(
        said["sentences"][0],
        "Правило 1: продажа в EUR: 30 % от продажи без доставки, до 500.00 в месяц; затем 15 %."
    );
    app.get(admin, &format!("{path}/words?lang=fr")).await.expect_problem(422, "invalid-field");
    let schema = app.get(admin, "/v1/plans/schema").await.expect(200);
    assert_eq!(schema["title"], "Commission plan");
    let twice = json!({"v": 1, "rules": [
        {"event": "sale", "kind": "percent", "percent_bps": 2000, "countries": ["DE", "AT"]},
        {"event": "sale", "kind": "percent", "percent_bps": 2500, "countries": ["DE"]}]});
    let refused = app.post(admin, &plans, twice).await.expect_problem(422, "invalid-field");
    assert_eq!(refused["errors"][0]["pointer"], "/rules/1");
}
