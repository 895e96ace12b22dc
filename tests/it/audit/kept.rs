//! The audit by itself: once an hour, kept, told by metrics and as a report.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use serde_json::Value;
use sqlx::{Connection as _, Executor as _};
use tributary::audit::run::{self, Ask};
use tributary::audit::{CheckError, REGISTRY, Reach, hourly};
use tributary::report::period::Window;
use tributary::report::{Params, ReportError, find, rows};

use super::busy;
use crate::harness::{Scene, TestApp};

async fn run_due(app: &TestApp) -> bool {
    let (service, clock) = (app.app(), &app.clock);
    hourly::run_due(&service.background_db, &service.beside_audit(), clock).await.unwrap()
}

async fn report(app: &TestApp, scene: &Scene) -> Value {
    let path = format!("/v1/reports/audit?program_id={}", scene.program_id);
    app.get(&app.finance_key, &path).await.expect(200)
}

fn row<'a>(report: &'a Value, name: &str) -> &'a Value {
    let rows = report["rows"].as_array().unwrap();
    rows.iter().find(|row| row["invariant"] == name).unwrap()
}

async fn metrics(app: &TestApp) -> String {
    let url = app.admin.join("/metrics").unwrap();
    let mut answer = awc::Client::default().get(url.as_str()).send().await.unwrap();
    String::from_utf8(answer.body().limit(1 << 20).await.unwrap().to_vec()).unwrap()
}

#[actix_web::test]
async fn one_process_audits_each_hour_and_all_of_them_tell_what_it_found() {
    let (mut app, scene) = busy().await;
    let told = report(&app, &scene).await;
    assert_eq!(told["rows"].as_array().unwrap().len(), REGISTRY.len());
    assert_eq!(told["summary"]["broken"], 0, "{told}");
    assert_eq!(row(&told, "commission_arithmetic")["status"], "ok");
    // Nobody has looked at the stream yet, and this is not hidden.
    assert_eq!(row(&told, "stream_position")["status"], "not_looked");
    assert_eq!(row(&told, "payout_files")["looked_at"], Value::Null);

    let both = tokio::join!(run_due(&app), run_due(&app));
    assert!(both == (true, false) || both == (false, true), "{both:?}");
    assert!(!run_due(&app).await, "once an hour");
    let told = report(&app, &scene).await;
    for name in ["stream_position", "stream_waiting", "spool", "payout_files"] {
        assert_eq!(
            (&row(&told, name)["status"], &row(&told, name)["looked"]),
            (&"ok".into(), &1.into())
        );
    }

    let mut db = app.owner().await;
    db.execute("update payout_files set sha256 = sha256('x')").await.unwrap();
    db.execute("update click_hours set n_clicks = n_clicks + 1").await.unwrap();
    app.expect_broken(&["payout_files", "click_hours"]);
    assert_eq!(row(&report(&app, &scene).await, "click_hours")["status"], "broken");
    app.clock.advance(TimeDelta::hours(1));
    assert!(run_due(&app).await);
    let told = report(&app, &scene).await;
    assert_eq!(row(&told, "payout_files")["broken"], 1, "{told}");
    assert!(row(&told, "click_hours")["first"].as_str().unwrap().contains("pt_"), "{told}");
    let csv = format!("/v1/reports/audit?program_id={}&format=csv", scene.program_id);
    let csv = app.get(&app.finance_key, &csv).await;
    assert!(csv.text().contains("\nclick_hours,broken,1,1,"), "{}", csv.text());
    let other = app.scene().await;
    assert_eq!(row(&report(&app, &other).await, "click_hours")["status"], "empty");

    // Told by whoever is asked, whichever process ran it.
    let until = Instant::now() + Duration::from_secs(30);
    let broken = "tributary_audit_violations{invariant=\"click_hours\"} 1";
    while !metrics(&app).await.contains(broken) {
        assert!(Instant::now() < until, "{}", metrics(&app).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let told = metrics(&app).await;
    assert!(told.contains("tributary_audit_violations{invariant=\"ledger_hashes\"} 0"), "{told}");
    assert!(told.contains("tributary_audit_last_run_timestamp_seconds"), "{told}");

    // A month later only what is new is kept.
    app.clock.advance(TimeDelta::days(31));
    assert!(run_due(&app).await);
    assert_eq!(app.count("select count(*) from audit_runs").await, 1);
    let findings = app.count("select count(*) from audit_findings").await;
    assert_eq!(findings, i64::try_from(REGISTRY.len()).unwrap());
}

#[actix_web::test]
async fn sums_of_an_earlier_day_have_their_turn_and_the_command_looks_at_all_of_them() {
    let mut app = TestApp::start().await;
    let scene = app.scene().await;
    // Each click on a day of its own.
    let today = app.clock.now();
    for n_days_ago in (0..6).rev() {
        app.clock.set(today - TimeDelta::days(n_days_ago));
        app.click(&scene.link).await;
    }
    app.wait_for_count(6, "select count(*) from clicks").await;
    let spoil = "update click_hours set n_clicks = n_clicks + 1
                 where hour = (select min(hour) from click_hours)";
    app.owner().await.execute(spoil).await.unwrap();
    app.expect_broken(&["click_hours"]);

    let n_broken =
        "select n_broken::text from audit_findings where invariant = 'click_hours' order by hour";
    for _ in 0..4 {
        assert!(run_due(&app).await);
        app.clock.advance(TimeDelta::hours(1));
    }
    let mut found = app.figures(n_broken).await;
    found.sort_unstable();
    assert_eq!(found, ["0", "0", "0", "1"], "of four earlier days each has one of four hours");
    // Whoever asks hears of it at once.
    assert_eq!(row(&report(&app, &scene).await, "click_hours")["status"], "broken");
    // Who has no time left looks at nothing, and does not say that all is well.
    let invariants = run::choose(&["click_hours".to_owned()]).unwrap();
    let ask = Ask {
        invariants,
        program: None,
        first: 3,
        now: app.clock.now(),
        reach: Reach::Until(Instant::now()),
    };
    let mut owner = app.owner().await;
    let beside = app.app().beside_audit();
    let judged = run::judge(&mut owner, ask.invariants[0], &ask, &beside, &mut |_, _| ()).await;
    assert!(matches!(judged, Err(CheckError::TooLong)), "{judged:?}");
}

#[actix_web::test]
async fn an_invariant_that_takes_too_long_is_told_as_such_beside_the_others() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let params = Params {
        program_id: scene.program_id.parse().unwrap(),
        partner_id: None,
        window: Window::parse("2026-11-01", "2026-12-01", chrono_tz::Tz::UTC).unwrap(),
        currency: "EUR".parse().unwrap(),
        now: app.clock.now(),
    };
    let mut db = app.owner().await;
    let mut tx = db.begin().await.unwrap();
    // A view in front of PostgreSQL's own, which takes its time.
    tx.execute(
        "create temp view pg_stat_activity as
         select 4711 as pid, 'idle'::text as state, current_database() as datname,
                'client backend'::text as backend_type, now() as state_change
         from pg_sleep(600);
         set local statement_timeout = '5s'",
    )
    .await
    .unwrap();
    let audit = find("audit").unwrap();
    let told: Result<_, ReportError> = rows::collect(audit, &mut tx, &params).await;
    let told = told.unwrap();
    assert_eq!(told.rows.len(), REGISTRY.len());
    let of = |name: &str| {
        let place = REGISTRY.iter().position(|one| one.name == name).unwrap();
        format!("{:?}", told.rows[place])
    };
    assert!(of("sessions").contains("it takes longer than a report may"), "{}", of("sessions"));
    assert!(of("guards").contains("\"ok\""), "{}", of("guards"));
    tx.rollback().await.unwrap();
}

#[actix_web::test]
async fn a_second_reader_hears_at_once_what_the_run_of_the_hour_found() {
    let (app, scene) = busy().await;
    assert!(run_due(&app).await);
    app.clock.advance(TimeDelta::minutes(1));
    let path = format!("/v1/reports/audit?program_id={}", scene.program_id);
    let mut owner = app.owner().await;
    let mut held = owner.begin().await.unwrap();
    held.execute("lock table commissions in access exclusive mode").await.unwrap();
    let first = app.get(&app.finance_key, &path);
    let second = async {
        let waiting = "select count(*) from pg_stat_activity
                       where wait_event_type = 'Lock' and datname = current_database()";
        app.wait_for_count(1, waiting).await;
        let told = report(&app, &scene).await;
        held.rollback().await.unwrap();
        told
    };
    let (first, second) = futures_util::future::join(first, second).await;
    let first: Value = serde_json::from_slice(&first.body).unwrap();
    let (now, then) = (row(&first, "ledger_balances"), row(&second, "ledger_balances"));
    assert_eq!((&now["status"], &then["status"]), (&"ok".into(), &"ok".into()), "{second}");
    // The second reader looked at nothing, also not at what nobody holds.
    assert!(now["looked_at"].as_str() > then["looked_at"].as_str(), "{now} {then}");
    assert_eq!(row(&second, "commission_arithmetic")["status"], "ok");
}
