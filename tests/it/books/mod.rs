//! The books as finance meets them: reports, months that are closed, statements.

mod closing;
mod proof;
mod reading;
mod year;

use std::process::Output;

use crate::harness::{Sale, TestApp};

/// Runs the program as somebody with a key does, away from the service's own thread.
async fn tributary(app: &TestApp, arguments: &[&str], key: &str) -> Output {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_tributary"));
    command.args(arguments).env_clear().env("TRIBUTARY_URL", app.base.as_str());
    command.env("TRIBUTARY_API_KEY", key).output().await.unwrap()
}

#[actix_web::test]
async fn a_report_is_fetched_from_the_command_line() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let click_id = Some(app.click_id(&scene.link).await);
    app.sale(&scene, &Sale { order_id: "A-1", amount: "149.90", click_id }).await;
    let path = format!("/v1/reports/commissions?program_id={}&format=csv", scene.program_id);
    let told = app.get(&app.finance_key, &path).await;

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("october.csv");
    let (key, out) = (app.finance_key.expose(), file.to_str().unwrap());
    let done = tributary(&app, &["report", "commissions", "--out", out], key).await;
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), told.text());
    assert!(told.text().contains(",29.98,"), "{}", told.text());
    let shown = tributary(&app, &["report", "commissions"], key).await;
    assert_eq!(String::from_utf8(shown.stdout).unwrap(), told.text());

    for (arguments, key, reason) in [
        (&["report", "commission"][..], key, "there are payouts"),
        (&["report", "commissions", "--from", "soon"], key, "from \"soon\" is neither a day"),
        (&["report", "commissions", "--program", "shoe"], key, "no program is called \"shoe\""),
        (&["report", "commissions", "--format", "xlsx"], key, "--out"),
        (&["report", "commissions", "--url", "ftp://x"], key, "not an http(s) address"),
        (&["report", "commissions"], "", "TRIBUTARY_API_KEY is not set"),
        (&["report", "commissions"], "trbk_x", "not an API key"),
    ] {
        let refused = tributary(&app, arguments, key).await;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{arguments:?} {said}");
        assert!(said.contains(reason), "{arguments:?}: {said}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left behind");
}

#[actix_web::test]
async fn a_month_is_closed_and_its_statements_fetched_from_the_command_line() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let click_id = Some(app.click_id(&scene.link).await);
    app.sale(&scene, &Sale { order_id: "A-1", amount: "149.90", click_id }).await;
    app.clock.set("2026-12-02T09:00:00Z".parse().unwrap());
    let finance = app.finance_key.expose();
    let said = async |arguments: &[&str], code: i32| {
        let done = tributary(&app, arguments, finance).await;
        let all = [done.stdout, done.stderr].concat();
        let all = String::from_utf8(all).unwrap();
        assert_eq!(done.status.code(), Some(code), "{arguments:?}: {all}");
        all
    };
    assert!(said(&["period", "list"], 0).await.contains("No month is closed yet"));
    assert!(said(&["statement", "list"], 0).await.contains("no such statement"));
    let early = said(&["period", "close", "2026-12"], 1).await;
    assert!(early.contains("period 2026-12 is not over; it ends at"), "{early}");
    assert!(said(&["period", "close", "december"], 2).await.contains("a month like 2026-10"));
    let told = said(&["period", "close", "2026-11"], 0).await;
    assert!(told.contains("statements  1") && told.contains("hash        "), "{told}");
    assert!(said(&["period", "list"], 0).await.contains("2026-11"));
    let listed = said(&["statement", "list", "--period", "2026-11", "--json"], 0).await;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed[0]["number"], "ST-2026-11-000001");
    let id = listed[0]["id"].as_str().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("statement.html");
    let out = file.to_str().unwrap();
    said(&["statement", "show", id, "--format", "html", "--out", out], 0).await;
    let page = std::fs::read_to_string(&file).unwrap();
    assert!(page.contains("ST-2026-11-000001") && page.contains("29.98"), "{page}");

    // All statements as a table, for people and for programs.
    let table = said(&["report", "statements", "--from", "2026-11-01"], 0).await;
    assert!(table.contains("ST-2026-11-000001,2026-11,") && table.contains(",29.98,"), "{table}");
    let book = dir.path().join("statements.xlsx");
    let out = book.to_str().unwrap();
    let wanted = ["report", "statements", "--from", "2026-11-15", "--format", "xlsx", "--out", out];
    said(&wanted, 0).await;
    assert!(std::fs::read(&book).unwrap().starts_with(b"PK"));
    assert_eq!(said(&["report", "statements", "--from", "2026-12-01"], 0).await.lines().count(), 1);
}
