//! Several processes share the shards: each is settled by one, whoever dies is replaced, and who
//! wakes too late writes nothing.

use std::time::Duration;

use nix::sys::signal::Signal;
use sqlx::Executor as _;
use tributary::click::click_id::ClickId;
use tributary::lease::Lease;
use tributary::lease::keeper::LeaseKeeper;
use tributary::settlement::settler::{Cursor, SettleError};
use tributary::stream::{EventLog as _, Shard};

use crate::harness::{Process, Sale, Scene, TestApp};

/// Processes of the settings below that hold four shards each.
const HALVES: &str = "select count(*) from (
    select owner from leases where owner is not null and pool like 'stream:%'
    group by owner having count(*) = 4) o";
/// Processes that hold all eight.
const WHOLES: &str = "select count(*) from (
    select owner from leases where owner is not null and pool like 'stream:%'
    group by owner having count(*) = 8) o";
const CLICKS: &str = "select count(*) from clicks";
const SALES: &str = "select count(*) from conversions";

/// Small batches, so that a process dies in the middle of its work.
const SETTLER: &[(&str, &str)] =
    &[("TRIBUTARY_STREAM_SHARDS", "8"), ("TRIBUTARY_SETTLE_BATCH_MAX", "3")];

/// An app that takes everything in and settles nothing.
async fn entrance() -> (TestApp, Scene) {
    let app = TestApp::start_with(&[
        ("TRIBUTARY_ROLES", "redirect,ingest,api"),
        ("TRIBUTARY_STREAM_SHARDS", "8"),
    ])
    .await;
    app.keep_time();
    let scene = app.scene().await;
    (app, scene)
}

/// Clicks and buys, and returns the ids that the shop was given.
async fn load(app: &TestApp, scene: &Scene, name: &str, n: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for n in 0..n {
        let click_id = app.click_id(&scene.link).await;
        let order_id = format!("{name}-{n}");
        let sale = Sale { order_id: &order_id, amount: "100.00", click_id: Some(click_id.clone()) };
        let answer = app.webhook(scene, &order_id, "conversion.created", sale.data()).await;
        answer.expect(202);
        ids.push(click_id);
    }
    ids
}

/// Compares what visitors and the shop were told with what is in PostgreSQL: each thing once.
async fn expect_all(app: &TestApp, told: &[String]) {
    let n = i64::try_from(told.len()).unwrap();
    app.wait_for_count(n, CLICKS).await;
    app.wait_for_count(n, SALES).await;
    let mut told: Vec<String> =
        told.iter().map(|id| ClickId::unverified(id).unwrap().to_uuid().to_string()).collect();
    told.sort_unstable();
    assert_eq!(app.figures("select click_id::text from clicks order by 1").await, told);
    let earned = "select count(*) from commissions where kind = 'earned' and amount_minor = 2000";
    assert_eq!(app.count(earned).await, n);
    assert_eq!(app.count("select count(*) from commissions").await, n);
    app.keep_time();
}

#[actix_web::test]
async fn a_settler_killed_in_the_middle_of_a_batch_is_replaced_and_nothing_counts_twice() {
    let (app, scene) = entrance().await;
    let mut one = Process::beside(&app, "settle", SETTLER);
    let _other = Process::beside(&app, "settle", SETTLER);
    app.wait_for_count(2, HALVES).await;
    // Both begin two batches and hang in them, holding what they have locked so far.
    let mut owner = app.owner().await;
    owner.execute("begin; lock table clicks in exclusive mode").await.unwrap();
    let told = load(&app, &scene, "A", 40).await;
    let hanging = "select count(*) from (select from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock' limit 4) a";
    app.wait_for_count(4, hanging).await;
    one.kill();
    owner.execute("rollback").await.unwrap();
    app.wait_for_count(1, WHOLES).await;
    expect_all(&app, &told).await;
}

#[actix_web::test]
async fn a_paused_settler_loses_its_shards_and_gets_its_share_again_when_it_wakes() {
    let (app, scene) = entrance().await;
    let one = Process::beside(&app, "settle", SETTLER);
    let _other = Process::beside(&app, "settle", SETTLER);
    app.wait_for_count(2, HALVES).await;
    one.signal(Signal::SIGSTOP);
    let mut told = load(&app, &scene, "A", 20).await;
    app.wait_for_count(1, WHOLES).await;
    expect_all(&app, &told).await;
    one.signal(Signal::SIGCONT);
    app.wait_for_count(2, HALVES).await;
    told.extend(load(&app, &scene, "B", 20).await);
    expect_all(&app, &told).await;
}

/// On a busy machine a click may come into the stream through the spool.
async fn wait_for_entry(app: &TestApp) {
    let log = app.app().log.log();
    let coming = async { while log.state(Shard(0)).await.unwrap().length == 0 {} };
    tokio::time::timeout(Duration::from_secs(10), coming).await.expect("nothing came");
}

#[actix_web::test]
async fn who_wakes_with_an_old_lease_writes_nothing() {
    let app = TestApp::start_with(&[("TRIBUTARY_ROLES", "redirect,ingest,api")]).await;
    let scene = app.scene().await;
    app.click_id(&scene.link).await;
    wait_for_entry(&app).await;
    let keeper = || LeaseKeeper::new(app.app().background_db.clone(), "stream:x".into(), 1, "same");
    let (old, new) = (keeper(), keeper());
    old.renew().await.unwrap();
    let old_lease = old.lease(0, old.epochs()[&0]);
    new.renew().await.unwrap();
    assert!(!new.holds_any(), "it is held");
    app.owner().await.execute("update leases set expires_at = '-infinity'").await.unwrap();
    new.renew().await.unwrap();
    let new_lease = new.lease(0, new.epochs()[&0]);
    assert_eq!(new_lease.epoch, old_lease.epoch + 1);

    let settler = app.app().settler();
    let settle = async |lease: &Lease| {
        let (log, mut cursor) = (&**app.app().log.log(), Cursor::default());
        settler.settle_shard(log, Shard(0), lease, &mut cursor).await
    };
    assert!(matches!(settle(&old_lease).await, Err(SettleError::LeaseLost)));
    assert_eq!(app.count(CLICKS).await, 0);
    assert_eq!(app.count("select count(*) from stream_offsets").await, 0);
    assert_eq!(settle(&new_lease).await.unwrap(), 1);
    assert_eq!(app.count(CLICKS).await, 1);
    old.renew().await.unwrap();
    assert!(!old.holds_any(), "what it thought it held is gone");
    new.leave().await.unwrap();
    old.renew().await.unwrap();
    assert!(old.holds_any(), "what was given up is free at once");
}

#[actix_web::test]
async fn readiness_names_the_shards_and_the_timers_of_a_process() {
    let app = TestApp::start_with(&[
        ("TRIBUTARY_ROLES", "redirect,ingest,settle,api,timers"),
        ("TRIBUTARY_STREAM_SHARDS", "3"),
    ])
    .await;
    app.wait_for_count(4, "select count(*) from leases where owner is not null").await;
    let mut told = serde_json::Value::Null;
    for _ in 0..1000 {
        let url = app.admin.join("/readyz").unwrap();
        let mut answer = awc::Client::default().get(url.as_str()).send().await.unwrap();
        told = answer.json().await.unwrap();
        if told["runs_timers"] == true && told["settles_shards"] == serde_json::json!([0, 1, 2]) {
            return;
        }
    }
    panic!("{told}");
}
