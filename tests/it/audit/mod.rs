//! The audit: it finds a sound service sound, and names exactly what somebody broke.

mod breakers;
mod kept;
mod log;

use std::collections::BTreeSet;
use std::process::Output;

use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _, PgConnection};
use tributary::audit::run::{self, Ask};
use tributary::audit::{Judged, REGISTRY, Reach};
use tributary::commission::timer;
use tributary::ids::ProgramId;
use tributary::ledger::book::store::load_placed;
use tributary::ledger::proof::{GENESIS, chain};
use tributary::stream::{EventLog as _, Shard};
use uuid::Uuid;

use crate::harness::app::click_id_of;
use crate::harness::process::run_beside;
use crate::harness::{Sale, Scene, TestApp};
use breakers::{BREAKERS, Breaker};

/// A program in which something of everything has happened: commissions in each state, a payout
/// that was paid and one that was called off, a clawback, an adjustment, a closed month.
async fn busy() -> (TestApp, Scene) {
    let mut app = TestApp::start().await;
    // Long ago: the command looks at the clock of the machine.
    app.clock.set("2025-01-22T10:00:00Z".parse().unwrap());
    // Nobody reaches the second step: what counts towards it is counted all the same.
    let tiers = json!({"period": "month", "mode": "progressive", "steps": [
        {"from_amount": "100000.00", "percent_bps": 2500}]});
    let rule = json!({"event": "sale", "kind": "percent", "percent_bps": 2000, "currency": "EUR",
        "tiers": tiers});
    let scene = app.scene_with(json!({"v": 1, "hold_days": 30, "rules": [rule]})).await;
    for (order_id, amount) in [("A", "100.00"), ("B", "50.00")] {
        let click_id = Some(app.click_id(&scene.link).await);
        app.sale(&scene, &Sale { order_id, amount, click_id }).await;
    }
    app.advance(TimeDelta::days(30)).await;
    let body = json!({"program_id": scene.program_id});
    app.post(&app.finance_key, "/v1/periods/2025-01/close", body).await.expect(200);
    for (order_id, amount) in [("C", "80.00"), ("D", "70.00")] {
        let click_id = Some(app.click_id(&scene.link).await);
        app.sale(&scene, &Sale { order_id, amount, click_id }).await;
    }
    let no = json!({"event": "sale", "order_id": "D", "reason": "order_canceled"});
    tell(&app, &scene, "conversion.rejected", no).await;
    let batch = json!({"program_id": scene.program_id, "period": "2025-02", "currency": "EUR"});
    let called_off = make_batch(&app, &batch).await;
    app.post(&app.finance_key, &format!("{called_off}/cancel"), json!({})).await.expect(200);
    pay(&app, &make_batch(&app, &batch).await).await;
    let half = json!({"event": "sale", "order_id": "A", "refund_id": "R", "currency": "EUR",
        "refund_amount": "50.00"});
    tell(&app, &scene, "conversion.refunded", half).await;
    claim(&app, &scene).await;
    let bonus = json!({"program_id": scene.program_id, "partner_id": scene.partner_id,
        "kind": "bonus", "amount": "5.00", "reason": "other", "note": "as agreed"});
    app.post(&app.admin_key, "/v1/adjustments", bonus).await.expect(201);
    by_coupon_and_customer(&app, &scene).await;
    notice_and_dead_letter(&mut app).await;
    timer::revalue_marked(&app.app().background_db, app.clock.now()).await.unwrap();
    (app, scene)
}

/// A sale that a coupon brought, one that binds its customer, a visitor of a deep link.
async fn by_coupon_and_customer(app: &TestApp, scene: &Scene) {
    let mut deep = url::Url::parse(&scene.link).unwrap();
    deep.query_pairs_mut().append_pair("url", "https://shop.example/item/42");
    // Another visitor than the one before: each counts once a day.
    let agent = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like \
        Gecko) Version/18.0 Safari/605.1.15";
    let click_id = click_id_of(&app.click_as(deep.as_str(), agent).await).unwrap();
    let coupon = json!({"program_id": scene.program_id, "partner_id": scene.partner_id,
        "code": "TALK"});
    app.post(&app.admin_key, "/v1/coupons", coupon).await.expect(201);
    let document = json!({"ownership": {"lasts": "days", "days": 30, "bind_on": ["sale"]}});
    let path = format!("/v1/programs/{}/attribution-policies", scene.program_id);
    app.clock.advance(TimeDelta::seconds(1));
    app.post(&app.admin_key, &path, json!({"document": document})).await.expect(201);
    for (order_id, amount, name, value) in
        [("F", "40.00", "coupon_code", "talk"), ("G", "90.00", "click_id", &click_id)]
    {
        let mut data = json!({"event": "sale", "order_id": order_id, "amount": amount,
            "currency": "EUR", name: value});
        if order_id == "G" {
            data["customer_ref"] = json!("C-1");
        }
        tell(app, scene, "conversion.created", data).await;
    }
}

/// An order whose click id was damaged on its way is claimed and paid.
async fn claim(app: &TestApp, scene: &Scene) {
    let click_id = app.click_id(&scene.link).await;
    let lost = Some(click_id.to_lowercase());
    app.sale(scene, &Sale { order_id: "E", amount: "30.00", click_id: lost }).await;
    let body = json!({"program_id": scene.program_id, "partner_id": scene.partner_id,
        "order_id": "E", "click_id": click_id});
    let claim = app.post(&app.manager_key, "/v1/claims", body).await.expect(201);
    assert_eq!(claim["status"], "accepted", "{claim}");
}

/// A notice that was told, and bytes that nobody understands, written by a clock that is fast.
async fn notice_and_dead_letter(app: &mut TestApp) {
    let mut db = app.owner().await;
    db.execute(
        "insert into notices (program_id, notice_id, kind, subject, payload, created_at,
                              dispatched_at)
         select program_id, gen_random_uuid(), 'case.opened', 'x', '{}', created_at, created_at
         from programs",
    )
    .await
    .unwrap();
    let [events, _] = app.stream_keys();
    let last = app.app().log.log().state(Shard(0)).await.unwrap().last;
    let later = format!("{}-0", last.ms + 20 * 60 * 1000);
    let mut command = redis::cmd("XADD");
    command.arg(events).arg(later).arg("b").arg("not a batch");
    let _: String = command.query_async(&mut app.redis().await).await.unwrap();
    app.wait_for_count(1, "select count(*) from dead_letters").await;
    app.expect_dead_letters(1);
}

async fn tell(app: &TestApp, scene: &Scene, kind: &str, data: Value) {
    let answer = app.webhook(scene, &Uuid::now_v7().to_string(), kind, data).await.expect(202);
    let told = app.receipt(answer["receipt"].as_str().unwrap()).await;
    assert_eq!(told["status"], "settled", "{told}");
}

async fn make_batch(app: &TestApp, batch: &Value) -> String {
    let made = app.post(&app.finance_key, "/v1/payout-batches", batch.clone()).await.expect(201);
    format!("/v1/payout-batches/{}", made["batch"]["id"].as_str().unwrap())
}

async fn pay(app: &TestApp, batch: &str) {
    app.post(&app.approver_key, &format!("{batch}/approve"), json!({})).await.expect(200);
    let file = app.get(&app.finance_key, &format!("{batch}/file?format=csv")).await;
    assert_eq!(file.status, 200, "{}", file.text());
    let items = app.get(&app.finance_key, &format!("{batch}/items")).await.expect(200);
    let payout = format!("/v1/payouts/{}", items["data"][0]["id"].as_str().unwrap());
    let paid = json!({"bank_reference": "SEPA-1"});
    app.post(&app.finance_key, &format!("{payout}/mark-paid"), paid).await.expect(200);
}

async fn audit(app: &TestApp, db: &mut PgConnection) -> Vec<Judged> {
    let ask = Ask {
        invariants: REGISTRY.iter().collect(),
        program: None,
        first: 10,
        now: app.clock.now(),
        reach: Reach::All,
    };
    run::run(db, &ask, &app.app().beside_audit(), &mut |_, _| ()).await.unwrap()
}

fn broken(all: &[Judged]) -> BTreeSet<&'static str> {
    all.iter().filter(|judged| judged.n_broken > 0).map(|judged| judged.invariant.name).collect()
}

/// Hashes every book anew, as somebody would who can write to the database and knows the code.
async fn rehash(db: &mut PgConnection) {
    let programs: Vec<ProgramId> = sqlx::query_scalar("select program_id from ledger_heads")
        .fetch_all(&mut *db)
        .await
        .unwrap();
    for program_id in programs {
        let places: Vec<i64> = sqlx::query_scalar(
            "select sequence from ledger_transactions where program_id = $1 order by sequence",
        )
        .bind(program_id)
        .fetch_all(&mut *db)
        .await
        .unwrap();
        let mut head = GENESIS;
        for placed in load_placed(db, program_id, &places).await.unwrap() {
            let placed = placed.unwrap();
            let previous = head;
            head = chain(&previous, &placed.transaction);
            sqlx::query(
                "update ledger_transactions set previous_hash = $3, hash = $4
                 where program_id = $1 and sequence = $2",
            )
            .bind(program_id)
            .bind(placed.sequence)
            .bind(&previous[..])
            .bind(&head[..])
            .execute(&mut *db)
            .await
            .unwrap();
        }
        let sql = "update ledger_heads set hash = $2, sequence = $3 where program_id = $1";
        let last = places.last().copied().unwrap_or(0);
        sqlx::query(sql)
            .bind(program_id)
            .bind(&head[..])
            .bind(last)
            .execute(&mut *db)
            .await
            .unwrap();
    }
    db.execute(
        "update closed_periods c set chain_hash = t.hash from ledger_transactions t
         where t.program_id = c.program_id and t.sequence = c.last_sequence",
    )
    .await
    .unwrap();
}

#[actix_web::test]
async fn each_invariant_that_somebody_breaks_is_named_and_no_other() {
    let (mut app, _) = busy().await;
    let known: BTreeSet<&str> = REGISTRY.iter().map(|one| one.name).collect();
    let breakable: BTreeSet<&str> =
        BREAKERS.iter().map(|one| one.name).chain(["edge", "spool"]).collect();
    assert_eq!(known, breakable, "each invariant needs a way to be broken");
    let mut findings = Vec::new();
    for judged in audit(&app, &mut app.owner().await).await {
        if judged.status() != "ok" {
            findings.push(format!("{judged:?}: broken, or nothing to look at"));
        }
    }
    for one in BREAKERS {
        // A connection of its own: what it prepared must not outlive what is undone.
        let mut db = app.owner().await;
        let mut tx = db.begin().await.unwrap();
        if let Err(finding) = break_one(&app, &mut tx, one).await {
            findings.push(format!("{}: {finding}", one.name));
        }
        tx.rollback().await.unwrap();
    }
    assert!(findings.is_empty(), "{} findings\n{}", findings.len(), findings.join("\n"));
    // What only the process knows.
    app.app().stream_stats.spool_bad_segments.add(1);
    let all = audit(&app, &mut app.owner().await).await;
    assert_eq!(broken(&all), BTreeSet::from(["spool"]));
    app.app().stream_stats.spool_events.add(1);
    let all = audit(&app, &mut app.owner().await).await;
    assert_eq!(broken(&all), BTreeSet::from(["edge", "spool"]));
    app.expect_broken(&["edge", "spool"]);
}

/// Breaks an invariant and says what is wrong with what the audit names then.
async fn break_one(app: &TestApp, db: &mut PgConnection, one: &Breaker) -> Result<(), String> {
    // Triggers and foreign keys sleep, as for somebody who gets past them.
    db.execute("set local session_replication_role = replica").await.unwrap();
    let done = db.execute(sqlx::raw_sql(one.sql)).await.map_err(|e| e.to_string())?;
    if !one.is_ddl && done.rows_affected() == 0 {
        return Err("it changes no row".to_owned());
    }
    if one.is_rehashed {
        rehash(db).await;
    }
    let all = audit(app, db).await;
    let expected: BTreeSet<&str> = one.also.iter().copied().chain([one.name]).collect();
    let broken: Vec<_> = all.iter().filter(|judged| judged.n_broken > 0).collect();
    let names: BTreeSet<&str> = broken.iter().map(|judged| judged.invariant.name).collect();
    if names != expected || broken.iter().any(|judged| judged.first.is_empty()) {
        return Err(format!("expected {expected:?}, found {broken:#?}"));
    }
    Ok(())
}

/// Runs `tributary audit` on the database of an app, as its service.
async fn tributary_audit(app: &TestApp, arguments: &[&str]) -> Output {
    run_beside(app, &[&["audit"], arguments].concat()).await
}

#[track_caller]
fn said(done: &Output, code: i32) -> String {
    let error = String::from_utf8_lossy(&done.stderr);
    let told = String::from_utf8_lossy(&done.stdout);
    assert_eq!(done.status.code(), Some(code), "{told}\n{error}");
    format!("{told}{error}")
}

#[actix_web::test]
async fn the_command_ends_with_0_when_all_holds_1_when_something_does_not_2_when_it_cannot_tell() {
    let (mut app, scene) = busy().await;
    let told = said(&tributary_audit(&app, &[]).await, 0);
    assert!(told.contains("ok          commission_arithmetic        8 commissions"), "{told}");
    assert!(told.contains("not looked  spool                        only a process"), "{told}");
    assert!(told.contains("rows: all hold."), "{told}");

    let mut db = app.owner().await;
    db.execute(
        "begin; set local session_replication_role = replica;
         update ledger_transactions set recorded_at = recorded_at + interval '1 s'
         where sequence = 2; commit",
    )
    .await
    .unwrap();
    app.expect_broken(&["ledger_hashes"]);
    let told = said(&tributary_audit(&app, &[]).await, 1);
    assert!(told.contains("BROKEN      ledger_hashes"), "{told}");
    assert!(told.contains(&format!("{} tx_", scene.program_id)), "{told}");
    assert!(!told.contains("Blog 42"), "nothing personal is told: {told}");
    // What was not asked for is not looked at; of a program of its own nothing is broken.
    let only = ["--only", "ledger_chain,ledger_heads"];
    let told = said(&tributary_audit(&app, &only).await, 0);
    assert!(told.contains("2 of 2 invariants"), "{told}");
    let other = app.scene().await;
    let one = ["--program", &other.program_id, "--only", "ledger_hashes"];
    let told = said(&tributary_audit(&app, &one).await, 0);
    assert!(told.contains("ledger_hashes                nothing to look at"), "{told}");

    let json = ["--format", "json", "--limit", "1", "--program", &scene.program_id];
    let told = tributary_audit(&app, &json).await;
    assert_eq!(told.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    let all = told["invariants"].as_array().unwrap();
    assert_eq!((all.len(), &told["broken"]), (REGISTRY.len(), &json!(1)), "{told}");
    assert!(all.iter().all(|one| one["means"].is_string() && one["remedy"].is_string()));
    let hashes = all.iter().find(|one| one["invariant"] == "ledger_hashes").unwrap();
    assert_eq!(hashes["first"][0]["program_id"], scene.program_id.as_str(), "{hashes}");

    let unknown = said(&tributary_audit(&app, &["--only", "ledger"]).await, 2);
    assert!(unknown.contains("no invariant is called \"ledger\"; there are "), "{unknown}");
    let unknown = said(&tributary_audit(&app, &["--program", "shoe"]).await, 2);
    assert!(unknown.contains("there is no program \"shoe\""), "{unknown}");
    let listed = said(&tributary_audit(&app, &["--list"]).await, 0);
    assert!(REGISTRY.iter().all(|one| listed.contains(one.means)), "{listed}");
}
