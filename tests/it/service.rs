//! The service as its operator meets it: alive, ready, measured, described, stopped in order.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::Value;
use sqlx::Executor as _;
use tributary::db::connect_lazily;
use tributary::roles::lag::{Lag, measure};
use tributary::stream::{ClickRecord, PackedBatch, Shard};

use crate::harness::TestApp;
use crate::harness::services::create_database;

async fn admin(app: &TestApp, path: &str) -> (u16, String) {
    let url = app.admin.join(path).unwrap();
    let mut answer = awc::Client::default().get(url.as_str()).send().await.unwrap();
    let body = answer.body().await.unwrap();
    (answer.status().as_u16(), String::from_utf8_lossy(&body).into_owned())
}

#[actix_web::test]
async fn the_edge_stays_ready_while_both_stores_are_down() {
    let app = TestApp::start().await;
    app.scene().await;
    assert_eq!(admin(&app, "/livez").await.0, 200);
    let (status, body) = admin(&app, "/readyz").await;
    let ready: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &ready["ready"]), (200, &Value::Bool(true)), "{body}");
    assert_eq!(ready["role"]["settle"], "ready");
    app.cut_redis();
    app.cut_postgres();
    app.app().log.probe().await;
    let (status, body) = admin(&app, "/readyz").await;
    let ready: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status, 200, "the redirect goes on: {body}");
    assert_eq!(ready["role"]["redirect"], "ready (spooling: redis takes no events)");
    assert_eq!(ready["role"]["settle"], "not_ready: redis");
    assert_eq!(ready["role"]["api"], "not_ready: postgres");
}

#[actix_web::test]
async fn metrics_are_on_the_admin_listener_alone() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    app.click_id(&scene.link).await;
    let (status, text) = admin(&app, "/metrics").await;
    assert_eq!(status, 200);
    assert!(text.contains("tributary_clicks_total{class=\"human\"}"), "{text}");
    app.send("GET", "/metrics", &[], "").await.expect_problem(404, "not-found");
    app.send("GET", "/livez", &[], "").await.expect_problem(404, "not-found");
}

#[actix_web::test]
async fn the_openapi_document_names_every_route_and_the_shape_of_problems() {
    let app = TestApp::start().await;
    let document = app.send("GET", "/openapi.json", &[], "").await.expect(200);
    let paths = document["paths"].as_object().unwrap();
    for path in [
        "/v1/programs",
        "/v1/programs/{id}/plans",
        "/v1/partners/{id}/balance",
        "/v1/links/inspect",
        "/v1/webhooks/{source_id}",
        "/v1/receipts/{id}",
        "/v1/commissions/{id}/approve",
        "/v1/payout-batches/{id}/approve",
        "/v1/reports/{name}",
        "/v1/api-keys",
    ] {
        assert!(paths.contains_key(path), "{path} of {:?}", paths.keys().collect::<Vec<_>>());
    }
    assert!(document["components"]["schemas"]["Problem"].is_object());
    // Every operation has a name of its own and says how it fails or why it cannot.
    let mut names: Vec<&str> = paths
        .values()
        .flat_map(|item| item.as_object().unwrap().values())
        .filter_map(|operation| operation["operationId"].as_str())
        .collect();
    let n = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), n, "two operations share a name");
}

#[actix_web::test]
async fn people_and_robots_get_their_pages() {
    let app = TestApp::start().await;
    let help = app.send("GET", "/link-help", &[], "").await;
    assert_eq!(help.status, 200);
    assert!(help.text().contains("This link does not work"));
    let robots = app.send("GET", "/robots.txt", &[], "").await;
    assert!(robots.text().contains("Disallow: /r/"));
}

#[actix_web::test]
async fn the_pool_keeps_a_connection_unless_a_transaction_is_open_on_it() {
    let database = create_database().await;
    let db = connect_lazily(&database.service_url, 1).unwrap();
    let who = "select pg_backend_pid()";
    let first: i32 = sqlx::query_scalar(who).fetch_one(&db).await.unwrap();
    for _ in 0..20 {
        let again: i32 = sqlx::query_scalar(who).fetch_one(&db).await.unwrap();
        assert_eq!(again, first, "it was thrown away");
    }
    let mut poisoned = db.acquire().await.unwrap();
    poisoned.execute(sqlx::raw_sql("begin")).await.unwrap();
    drop(poisoned);
    let other: i32 = sqlx::query_scalar(who).fetch_one(&db).await.unwrap();
    assert_ne!(other, first, "the next one would work inside a stranger's transaction");
}

#[actix_web::test]
async fn what_waits_to_be_settled_is_measured() {
    let settles = TestApp::start().await;
    let scene = settles.scene().await;
    settles.click(&scene.link).await;
    settles.wait_for_count(1, "select count(*) from clicks").await;
    let lag = measure(settles.app(), Shard(0)).await.unwrap();
    assert_eq!(lag, Lag { n_entries: Some(0), age: Duration::ZERO });

    let waits = TestApp::start_with(&[("TRIBUTARY_ROLES", "redirect,ingest,api")]).await;
    waits.keep_time();
    // Past the redirect, which may lay a click into the spool first.
    let mut batch = PackedBatch::new();
    batch.push_click(&ClickRecord::default());
    let bytes = batch.into_bytes();
    for _ in 0..3 {
        waits.append_bytes(&bytes).await;
    }
    waits.clock.advance(TimeDelta::hours(1));
    let lag = measure(waits.app(), Shard(0)).await.unwrap();
    assert_eq!(lag.n_entries, Some(3));
    assert!(lag.age > Duration::from_secs(1800), "{lag:?} after an hour");
}
