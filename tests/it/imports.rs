//! Stories of entries by hand and of files: tried first, brought once, told line by line.

use serde_json::{Value, json};
use tributary::account::key::ApiKey;

use crate::bad_input::Before;
use crate::harness::{Answer, Sale, Scene, TestApp};

const FILE: &str = "event,order_id,amount,currency,click_id,note\n\
    sale,F-1,100.00,EUR,CLICK,first\n\
    sale,F-2,\"1,5\",EUR,CLICK,\n\
    sale,KNOWN,100.00,EUR,CLICK,\n\
    sale,F-1,100.00,EUR,CLICK,again\n\
    sale,F-3,1.00\n\
    lead,F-4,,,,\n";

async fn bring(app: &TestApp, key: &ApiKey, scene: &Scene, more: &str, file: &str) -> Answer {
    let path = format!(
        "/v1/conversions/imports?program_id={}&source_id={}&{more}",
        scene.program_id, scene.source_id
    );
    let bearer = format!("Bearer {}", key.expose());
    app.send("POST", &path, &[("authorization", &bearer), ("content-type", "text/csv")], file).await
}

/// Waits until every line is settled or refused.
async fn finished(app: &TestApp, id: &str) -> Value {
    app.wait_for_count(0, "select count(*) from conversion_imports where status <> 'done'").await;
    app.wait_for_count(
        0,
        "select count(*) from conversion_import_rows r join conversion_imports i using (import_id)
         where r.verdict = 'sent' and not exists (
             select from webhook_messages m where m.webhook_id = 'import:'
                 || encode(substr(i.file_hash, 1, 16), 'hex') || ':' || r.line)",
    )
    .await;
    app.get(&app.manager_key, &format!("/v1/conversions/imports/{id}")).await.expect(200)
}

#[actix_web::test]
async fn a_file_is_tried_then_brought_and_told_line_by_line() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let click = app.click_id(&scene.link).await;
    let known = Sale { order_id: "KNOWN", amount: "100.00", click_id: Some(click.clone()) };
    app.sale(&scene, &known).await;
    let file = FILE.replace("CLICK", &click);
    let before = Before::of(&app).await;
    let trial = bring(&app, &app.manager_key, &scene, "dry_run=true", &file).await.expect(200);
    let counts = json!({"settled": 2, "refused": 3, "duplicate": 1});
    assert_eq!((&trial["n_rows"], &trial["rows"]), (&json!(6), &counts), "{trial}");
    let wrong = &trial["lines"][1];
    assert_eq!((&wrong["line"], &wrong["field"]), (&json!(3), &json!("amount")), "{wrong}");
    assert!(wrong["reason"].is_string() && wrong["fix"].is_string(), "{wrong}");
    before.expect_unchanged(&app).await;

    let first = bring(&app, &app.manager_key, &scene, "reason=outage", &file).await.expect(202);
    let id = first["id"].as_str().unwrap();
    let done = finished(&app, id).await;
    assert_eq!(done["rows"], counts, "the trial told the truth: {done}");
    // The same bytes are the same import; one order in another file is still one order.
    let again = bring(&app, &app.manager_key, &scene, "reason=outage", &file).await.expect(200);
    assert_eq!(again["id"], done["id"]);
    let other = bring(&app, &app.manager_key, &scene, "reason=outage", &format!("{file}\n")).await;
    let other = finished(&app, other.expect(202)["id"].as_str().unwrap()).await;
    assert_eq!(other["rows"], json!({"duplicate": 3, "refused": 3}));

    let rows = format!("/v1/conversions/imports/{id}/rows");
    let page = app.get(&app.manager_key, &format!("{rows}?verdict=settled&limit=1")).await;
    let page = page.expect(200);
    let row = &page["data"][0];
    assert_eq!((&row["line"], &row["order_id"]), (&json!(2), &json!("F-1")));
    let receipt = app.receipt(row["receipt"].as_str().unwrap()).await;
    assert_eq!(receipt["commission"]["amount"], "20.00");
    assert_eq!(page["has_more"], true);
    let csv = app.get(&app.manager_key, &format!("{rows}?format=csv")).await;
    assert_eq!((csv.status, csv.text().lines().count()), (200, 7));
    assert!(csv.text().contains("\r\n3,refused,F-2,amount,"), "{}", csv.text());
    let paid = app.get(&app.manager_key, &format!("{rows}?verdict=paid")).await;
    paid.expect_problem(422, "invalid-field");
}

#[actix_web::test]
async fn an_import_goes_on_where_it_stopped() {
    let mut app = TestApp::start().await;
    let scene = app.scene().await;
    let lines: String = (0..1_200).map(|n| format!("lead,L-{n}\n")).collect();
    let file = format!("event,order_id\n{lines}");
    let made = bring(&app, &app.manager_key, &scene, "reason=move", &file).await.expect(202);
    let id = made["id"].as_str().unwrap().to_owned();
    app.stop().await;
    app.start_again().await;
    let done = finished(&app, &id).await;
    assert_eq!((&done["n_rows"], &done["rows"]), (&json!(1_200), &json!({"settled": 1_200})));
}

#[actix_web::test]
async fn a_file_that_is_none_leaves_nothing() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let before = Before::of(&app).await;
    let because = "reason=move";
    for (more, file, pointer) in [
        (because, "", "/header"),
        (because, "order_id,amount\n", "/header"),
        ("", "event,order_id\n", "/reason"),
        ("reason=move&file_name=%20", "event,order_id\n", "/file_name"),
    ] {
        let answer = bring(&app, &app.manager_key, &scene, more, file).await;
        let problem = answer.expect_problem(422, "invalid-field");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    bring(&app, &app.finance_key, &scene, because, FILE)
        .await
        .expect_problem(403, "insufficient-scope");
    let other =
        Scene { source_id: tributary::ids::SourceId::new().to_string(), ..app.scene().await };
    bring(&app, &app.manager_key, &other, because, FILE).await.expect_problem(422, "invalid-field");
    // Cut in the middle: the promised bytes never come.
    let request = format!(
        "POST /v1/conversions/imports?program_id={}&source_id={}&reason=x HTTP/1.1\r\nHost: x\r\n\
         Authorization: Bearer {}\r\nContent-Type: text/csv\r\nContent-Length: 60000000\r\n\
         Connection: close\r\n\r\n",
        scene.program_id,
        scene.source_id,
        app.manager_key.expose()
    );
    assert!(app.send_bytes(&request).await.starts_with("HTTP/1.1 413"));
    let imports = "select count(*) from conversion_imports";
    app.wait_for_count(0, imports).await;
    assert_eq!(app.stream_len().await, before.stream_len());
}

#[actix_web::test]
async fn an_entry_by_hand_says_who_and_why_and_counts_once() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let click = app.click_id(&scene.link).await;
    let sale = Sale { order_id: "H-1", amount: "100.00", click_id: Some(click) };
    let body = json!({"source_id": scene.source_id, "reason": "lost in an outage",
        "data": sale.data()});
    let path = "/v1/conversions";
    let trial = app.post(&app.manager_key, &format!("{path}?dry_run=true"), body.clone()).await;
    let trial = trial.expect(200);
    assert_eq!(trial["settlement"]["commissions"][0]["amount"], "20.00", "{trial}");
    let bearer = format!("Bearer {}", app.manager_key.expose());
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("idempotency-key", "once"),
    ];
    let first = app.send("POST", path, &headers, body.to_string()).await.expect(202);
    let again = app.send("POST", path, &headers, body.to_string()).await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.expect(202), first);
    app.send("POST", path, &headers[..2], body.to_string())
        .await
        .expect_problem(400, "idempotency-key-required");
    let receipt = app.receipt(first["receipt"].as_str().unwrap()).await;
    assert_eq!(receipt["status"], "settled", "{receipt}");
    let id = receipt["conversion_id"].as_str().unwrap();
    let shown = app.get(&app.manager_key, &format!("{path}/{id}")).await.expect(200);
    assert_eq!((&shown["channel"], &shown["order_id"]), (&json!("manual"), &json!("H-1")));
    let audited: i64 = sqlx::query_scalar(
        "select count(*) from audit_log where action = 'conversion.enter'
         and details ->> 'reason' = 'lost in an outage' and actor like 'user:us\\_%'",
    )
    .fetch_one(&mut app.owner().await)
    .await
    .unwrap();
    assert_eq!(audited, 1);
    let mut silent = body.clone();
    silent["reason"] = json!(" ");
    app.post(&app.manager_key, path, silent).await.expect_problem(422, "invalid-field");
    app.post(&app.finance_key, path, body).await.expect_problem(403, "insufficient-scope");
}
