//! Pay per click: each click of a person once, whatever is repeated, late or at the same time.

use chrono::TimeDelta;
use futures_util::future::join;
use serde_json::{Value, json};
use tributary::commission::{clicks::accrual, timer};
use tributary::ids::{LinkNo, PartnerNo, ProgramNo};
use tributary::settlement::click::Click;
use uuid::Uuid;

use crate::harness::{Scene, TestApp};

const ROWS: &str = "select m.kind || ' ' || m.state || ' ' || m.amount_minor || ' '
        || (m.calculation->'inputs'->'clicks'->>'n') from commissions m order by m.commission_id";
const OWED: &str = "select (-sum(b.balance_minor))::text
    from ledger_balances b join ledger_accounts a on a.account_id = b.account_id
    where a.path like 'liability%'";
const ROBOT: &str = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";

fn person(version: u32) -> String {
    format!("Mozilla/5.0 (X11; Linux x86_64; rv:{version}.0) Gecko/20100101 Firefox/{version}.0")
}

async fn pay(app: &TestApp) -> u64 {
    accrual::accrue_due(&app.app().background_db, app.clock.now()).await.unwrap()
}

/// Clicks that lay in a spool and come now.
async fn late(app: &TestApp, n: usize, minutes_ago: i64) {
    let numbers = "select (g.number || ' ' || p.number || ' ' || l.number) from links l
        join programs g using (program_id) join partners p using (partner_id)";
    let numbers = app.figures(numbers).await.remove(0);
    let mut numbers = numbers.split(' ').map(|n| n.parse::<u32>().unwrap());
    let mut next = || numbers.next().unwrap();
    let (program, partner, link) = (ProgramNo(next()), PartnerNo(next()), LinkNo(next()));
    let at = app.clock.now() - TimeDelta::minutes(minutes_ago);
    let stamp =
        uuid::Timestamp::from_unix(uuid::NoContext, u64::try_from(at.timestamp()).unwrap(), 0);
    let click = || Click {
        program,
        partner,
        link,
        click_id: Uuid::new_v7(stamp),
        at,
        day: at.date_naive(),
        class: 0,
        reason: 0,
        device: 0,
        browser: 0,
        flags: 0,
        visitor: None,
        country: None,
        referrer_host: None,
        subs: Default::default(),
        erid: None,
        landing: None,
    };
    let clicks: Vec<Click> = (0..n).map(|_| click()).collect();
    app.app().settler().settle_clicks(&clicks).await.unwrap();
}

fn plan(cap: &str) -> Value {
    json!({"v": 1, "hold_days": 0, "rules": [
        {"event": "sale", "kind": "percent", "percent_bps": 2000},
        {"event": "click", "kind": "clicks", "flat": "10.00", "currency": "EUR",
         "caps": [{"period": "day", "amount": cap}]}]})
}

/// Three people click, one of them twice, and a robot; then the day is over.
async fn a_day(app: &TestApp, scene: &Scene) {
    for agent in [person(140), person(141), person(142), person(142), ROBOT.to_owned()] {
        app.click_as(&scene.link, &agent).await;
    }
    app.settle(scene).await;
    app.wait_for_count(3, "select coalesce(sum(n_unique), 0)::bigint from click_hours").await;
    assert_eq!(pay(app).await, 0, "the day is not over");
    app.clock.advance(TimeDelta::hours(15));
}

#[actix_web::test]
async fn the_clicks_of_a_day_are_paid_once_and_late_ones_by_a_row_of_their_own() {
    let app = TestApp::start().await;
    let scene = app.scene_with(plan("45.00")).await;
    a_day(&app, &scene).await;
    // Two timers at once, beside the one of the service itself; and once more.
    join(pay(&app), pay(&app)).await;
    assert_eq!(pay(&app).await, 0);
    assert_eq!(app.figures(ROWS).await[0].split(' ').nth(2), Some("3000"));
    late(&app, 2, 180).await;
    app.clock.advance(TimeDelta::minutes(20));
    pay(&app).await;
    app.clock.advance(TimeDelta::minutes(20));
    assert_eq!(pay(&app).await, 0, "nothing came since");
    timer::approve_due(&app.app().background_db, app.clock.now()).await.unwrap();
    assert_eq!(app.figures(ROWS).await, ["clicks approved 3000 3", "clicks approved 1500 2"]);
    assert_eq!(app.figures(OWED).await, ["4500"]);

    let path = format!("/v1/commissions?program_id={}", scene.program_id);
    let listed = app.get(&app.manager_key, &path).await.expect(200);
    let second = &listed["data"][1];
    assert_eq!((&second["event"], &second["conversion_id"]), (&json!("click"), &Value::Null));
    let path = format!("/v1/commissions/{}/explanation", second["id"].as_str().unwrap());
    let told = app.get(&app.manager_key, &path).await.expect(200);
    assert_eq!(told["conversion"], Value::Null);
    let one = &told["commissions"][0];
    assert_eq!(one["recomputed"], true);
    let said = one["sentences"].to_string();
    for expected in [
        "2 clicks of 2026-11-22 more, after 3 that were paid before, 10.00 EUR each, is 20.00 EUR",
        "15.00 EUR of it within the cap of 45.00 EUR a day (30.00 EUR earned before)",
        "Rule 1 did not apply: event does not fit.",
        "It is approved",
    ] {
        assert!(said.contains(expected), "{expected:?} is not in {said}");
    }

    let batch = json!({"program_id": scene.program_id, "period": "2026-11", "currency": "EUR"});
    let batch = app.post(&app.finance_key, "/v1/payout-batches", batch).await.expect(201);
    let items = format!("/v1/payout-batches/{}/items", batch["batch"]["id"].as_str().unwrap());
    let items = app.get(&app.finance_key, &items).await.expect(200);
    assert_eq!(items["data"][0]["amount"], "45.00", "{items:#}");
    let report = format!(
        "/v1/reports/commissions?program_id={}&from=2026-11-22&to=2026-11-24&format=csv",
        scene.program_id
    );
    let report = app.get(&app.finance_key, &report).await.text();
    assert!(report.contains("clicks") && report.contains(",15.00,"), "{report}");
}

#[actix_web::test]
async fn what_was_refused_of_a_day_holds_its_late_clicks_and_a_sale_shares_the_budget() {
    let app = TestApp::start().await;
    let mut plan = plan("45.00");
    plan["hold_days"] = json!(30);
    plan["rules"][1]["caps"] = json!([]);
    plan["caps"] = json!([{"period": "month", "amount": "45.00", "currency": "EUR"}]);
    let scene = app.scene_with(plan).await;
    let click_id = app.click_id(&scene.link).await;
    app.wait_for_count(1, "select coalesce(sum(n_unique), 0)::bigint from click_hours").await;
    app.clock.advance(TimeDelta::hours(15));
    pay(&app).await;
    app.wait_for_count(1, "select count(*) from commissions where kind = 'clicks'").await;
    let sale = |id: &str| {
        json!({"event": "sale", "order_id": id, "amount": "200.00", "currency": "EUR",
            "click_id": click_id})
    };
    app.webhook(&scene, "a", "conversion.created", sale("A")).await.expect(202);
    app.settle(&scene).await;
    let sums = "select kind || ' ' || amount_minor from commissions order by kind, amount_minor";
    assert_eq!(app.figures(sums).await, ["clicks 1000", "earned 3500"]);

    // Reckoned again, the clicks still count, until somebody refuses them.
    let back = json!({"event": "sale", "order_id": "A", "refund_id": "R", "currency": "EUR",
        "refund_amount": "150.00"});
    app.webhook(&scene, "back", "conversion.refunded", back).await.expect(202);
    app.settle(&scene).await;
    timer::revalue_marked(&app.app().background_db, app.clock.now()).await.unwrap();
    app.webhook(&scene, "b", "conversion.created", sale("B")).await.expect(202);
    app.settle(&scene).await;
    assert_eq!(app.figures(sums).await, ["clicks 1000", "earned 1000", "earned 2500"]);

    let listed = format!("/v1/commissions?program_id={}", scene.program_id);
    let listed = app.get(&app.manager_key, &listed).await.expect(200);
    let clicks = listed["data"].as_array().unwrap().iter().find(|row| row["kind"] == "clicks");
    let path = format!("/v1/commissions/{}/reject", clicks.unwrap()["id"].as_str().unwrap());
    app.post(&app.manager_key, &path, json!({"reason": "fraud"})).await.expect(200);
    timer::revalue_marked(&app.app().background_db, app.clock.now()).await.unwrap();
    let left = "select sum(amount_minor)::text from commissions
        where state not in ('rejected', 'reversed')";
    let left = app.figures(left).await;
    assert_eq!(left, ["4500"], "what the clicks leave is free for the sales again");
}
