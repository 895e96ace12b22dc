//! Raw clicks have an end; sums, commissions and what they rest on have none.

use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::Executor as _;
use tributary::clock::Timestamp;
use tributary::retention::keeper::drop_due;
use tributary::retention::store::{self, Drop};

use crate::harness::app::{Sale, Scene, TestApp};

/// Long before any day that PostgreSQL, which goes by its own clock, would keep.
const FIRST_DAY: &str = "2025-06-01T10:00:00Z";
/// What stays of clicks.
const SUMS: &str = "select to_jsonb(h)::text from click_hours h order by 1";
const PARTITIONS: &str = "select inhrelid::regclass::text from pg_inherits
                          where inhparent = 'clicks'::regclass order by 1";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A service whose time is the first day, with a click of it on record.
async fn begin() -> (TestApp, Scene, String) {
    let app = TestApp::start().await;
    app.clock.set(at(FIRST_DAY));
    let scene = app.scene().await;
    let click_id = app.click_id(&scene.link).await;
    app.wait_for_count(1, "select count(*) from clicks").await;
    (app, scene, click_id)
}

/// Drops what is due by the setting.
async fn drop_due_days(app: &TestApp) -> usize {
    let retention = app.app().config.click_retention;
    drop_due(&app.app().background_db, retention, app.clock.now()).await.unwrap()
}

async fn report(app: &TestApp, scene: &Scene, name: &str) -> Value {
    let program_id = &scene.program_id;
    let path = format!("/v1/reports/{name}?program_id={program_id}&from=2025-06-01&to=2025-06-03");
    app.get(&app.finance_key, &path).await.expect(200)
}

#[actix_web::test]
async fn a_day_older_than_the_retention_is_dropped_and_its_sums_and_explanations_stay() {
    let (app, scene, click_id) = begin().await;
    app.click_as(&scene.link, "Googlebot/2.1 (+http://www.google.com/bot.html)").await;
    app.clock.advance(TimeDelta::minutes(3));
    let sale = Sale { order_id: "A", amount: "100.00", click_id: Some(click_id.clone()) };
    let receipt = app.sale(&scene, &sale).await;
    for order_id in ["B", "C"] {
        app.sale(&scene, &Sale { order_id, amount: "50.00", click_id: None }).await;
    }
    app.clock.set(at("2025-06-02T10:00:00Z"));
    app.click(&scene.link).await;
    app.wait_for_count(3, "select count(*) from clicks").await;

    app.clock.set(at("2026-07-07T10:00:00Z"));
    let explanation = format!(
        "/v1/conversions/{}/explanation",
        receipt["conversion_id"].as_str().unwrap_or_else(|| panic!("{receipt}"))
    );
    let explained = app.get(&app.admin_key, &explanation).await.expect(200);
    assert_eq!(explained["conversion"]["attribution"], "click", "{explained}");
    assert!(explained["conversion"].to_string().contains("2025-06-01T10:00:00"), "{explained}");
    let traffic = report(&app, &scene, "traffic").await;
    let commissions = report(&app, &scene, "commissions").await;
    assert_eq!(commissions["rows"][0]["sub1"], "sidebar", "{commissions}");
    assert_eq!(commissions["summary"]["clicks_kept_from"], Value::Null);
    let (sums, mut rows) = (app.figures(SUMS).await, app.rows().await);
    assert_eq!(app.figures(PARTITIONS).await, ["clicks_20250601", "clicks_20250602"]);

    // 401 days later the first day is gone; the second one is 400 days old and stays.
    assert_eq!(drop_due_days(&app).await, 1);
    assert_eq!(drop_due_days(&app).await, 0);
    assert_eq!(app.figures(PARTITIONS).await, ["clicks_20250602"]);
    rows.insert("clicks".to_owned(), 1);
    rows.insert("click_retention".to_owned(), 1);
    assert_eq!(app.rows().await, rows, "nothing else is forgotten with the clicks");
    assert_eq!(app.figures(SUMS).await, sums);
    assert_eq!(report(&app, &scene, "traffic").await, traffic);
    assert_eq!(app.get(&app.admin_key, &explanation).await.expect(200), explained);

    // What needs the click itself says that it is not kept.
    let told = report(&app, &scene, "commissions").await;
    assert_eq!(told["rows"][0]["sub1"], Value::Null, "{told}");
    assert_eq!(told["rows"][0]["click_at"], commissions["rows"][0]["click_at"]);
    assert_eq!(told["summary"]["clicks_kept_from"], "2025-06-02");
    for (order, named, reason) in
        [("B", json!(click_id), "click_not_kept"), ("C", Value::Null, "clicks_not_kept")]
    {
        let body = json!({"program_id": scene.program_id, "partner_id": scene.partner_id,
            "order_id": order, "click_id": named});
        let claim = app.post(&app.manager_key, "/v1/claims", body).await.expect(201);
        assert_eq!((&claim["status"], &claim["reason"]), (&json!("open"), &json!(reason)));
        assert_eq!(claim["evidence"]["clicks_kept_from"], "2025-06-02", "{claim}");
    }
}

#[actix_web::test]
async fn the_audit_still_compares_the_days_that_are_kept() {
    let (mut app, scene, _) = begin().await;
    app.clock.set(at("2025-06-02T10:00:00Z"));
    app.click(&scene.link).await;
    app.wait_for_count(2, "select count(*) from clicks").await;
    app.clock.set(at("2026-07-07T10:00:00Z"));
    assert_eq!(drop_due_days(&app).await, 1);
    let spoil = "update click_hours set n_clicks = n_clicks + 1 where hour >= '2025-06-02'";
    app.owner().await.execute(spoil).await.unwrap();
    app.expect_broken(&["click_hours"]);
}

#[actix_web::test]
async fn a_click_that_comes_after_its_day_was_dropped_is_a_dead_letter_and_counts_nowhere() {
    let (mut app, scene, _) = begin().await;
    app.clock.set(at("2026-07-07T10:00:00Z"));
    assert_eq!(drop_due_days(&app).await, 1);
    let sums = app.figures(SUMS).await;
    // A forgotten spool, as it were: whether these were counted nobody can tell any more.
    app.clock.set(at("2025-06-01T23:59:59Z"));
    app.click(&scene.link).await;
    app.clock.set(at("2025-05-01T00:00:00Z"));
    app.click(&scene.link).await;
    app.wait_for_count(2, "select count(*) from dead_letters").await;
    assert_eq!(app.figures(SUMS).await, sums);
    assert_eq!(app.count("select count(*) from clicks").await, 0);
    let reasons = app.figures("select error from dead_letters order by 1").await;
    for (reason, day) in reasons.iter().zip(["2025-05-01", "2025-06-01"]) {
        let said = format!("clicks of {day} are no longer taken: retention has dropped their day");
        assert!(reason.contains(&said), "{reason}");
    }
    // Others go on, also of a day that is old and was never dropped.
    app.clock.set(at("2025-06-02T10:00:00Z"));
    app.click(&scene.link).await;
    app.wait_for_count(1, "select count(*) from clicks").await;
    app.expect_dead_letters(2);
}

#[actix_web::test]
async fn the_database_drops_no_day_that_is_young_or_in_a_window_or_in_use() {
    let (app, scene, _) = begin().await;
    app.clock.set(at("2026-11-22T10:00:00Z"));
    app.keep_time();
    app.click(&scene.link).await;
    app.wait_for_count(2, "select count(*) from clicks").await;
    let mut owner = app.owner().await;
    let mut service = app.app().background_db.acquire().await.unwrap();
    let young = app.clock.now().date_naive() - chrono::Days::new(30 + 31);
    let wanted = at("2100-01-01T00:00:00Z").date_naive();

    let window = "update attribution_policies
                  set document = jsonb_set(document, '{window_days}', to_jsonb($1::integer))";
    sqlx::query(window).bind(3650).execute(&mut owner).await.unwrap();
    assert_eq!(store::drop_oldest_day(&mut service, wanted).await.unwrap(), Drop::Nothing);
    sqlx::query(window).bind(30).execute(&mut owner).await.unwrap();

    owner.execute("begin; select from clicks limit 1").await.unwrap();
    assert_eq!(store::drop_oldest_day(&mut service, wanted).await.unwrap(), Drop::Busy);
    owner.execute("rollback").await.unwrap();
    let gone = Drop::Dropped(at(FIRST_DAY).date_naive());
    assert_eq!(store::drop_oldest_day(&mut service, wanted).await.unwrap(), gone);

    // The next one is of today: whatever the service asks for, it stays.
    for too_early in [wanted, young] {
        let dropped = store::drop_oldest_day(&mut service, too_early).await.unwrap();
        assert_eq!(dropped, Drop::Nothing, "{too_early}");
    }
    for past_it in [
        "drop table clicks",
        "delete from click_retention",
        "update click_retention set kept_from = '2000-01-01'",
    ] {
        let refused = service.execute(past_it).await.unwrap_err().into_database_error().unwrap();
        assert_eq!(refused.code().as_deref(), Some("42501"), "{past_it}: {refused}");
    }
    assert_eq!(app.count("select count(*) from clicks").await, 1);
}
