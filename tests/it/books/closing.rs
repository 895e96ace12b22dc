//! Months that are closed: statements stay as they are, what comes late is in the next month.

use serde_json::{Value, json};
use tributary::commission::timer;

use crate::harness::{Scene, TestApp};

/// A scene in October, where the books of the month after can be closed.
async fn october() -> (TestApp, Scene) {
    let app = TestApp::start().await;
    app.clock.set("2026-10-05T08:00:00Z".parse().unwrap());
    let scene = app.scene().await;
    (app, scene)
}

/// Reports a sale that happened at a time, and waits until it is settled.
async fn sale_at(app: &TestApp, scene: &Scene, order: &str, click_id: &str, at: &str) {
    let data = json!({"event": "sale", "order_id": order, "amount": "100.00", "currency": "EUR",
        "click_id": click_id, "occurred_at": at});
    let answer = app.webhook(scene, &format!("msg_{order}"), "conversion.created", data).await;
    let receipt = answer.expect(202)["receipt"].as_str().unwrap().to_owned();
    assert_eq!(app.receipt(&receipt).await["status"], "settled");
}

async fn close(app: &TestApp, scene: &Scene, period: &str) -> crate::harness::Answer {
    let body = json!({"program_id": scene.program_id});
    app.post(&app.finance_key, &format!("/v1/periods/{period}/close"), body).await
}

async fn statement(app: &TestApp, scene: &Scene, period: &str) -> Value {
    let path = format!("/v1/statements?program_id={}&period={period}", scene.program_id);
    let list = app.get(&app.finance_key, &path).await.expect(200);
    assert_eq!(list["data"].as_array().unwrap().len(), 1, "{list}");
    let id = list["data"][0]["id"].as_str().unwrap();
    app.get(&app.finance_key, &format!("/v1/statements/{id}")).await.expect(200)
}

#[actix_web::test]
async fn a_late_item_lands_in_the_next_month_and_says_where_it_comes_from() {
    let (app, scene) = october().await;
    let click_id = app.click_id(&scene.link).await;
    sale_at(&app, &scene, "A-1", &click_id, "2026-10-05T08:00:00Z").await;
    app.clock.set("2026-11-02T09:00:00Z".parse().unwrap());
    // October is still open: what is told now and happened then is October's.
    sale_at(&app, &scene, "A-2", &click_id, "2026-10-31T23:59:00Z").await;
    let closed = close(&app, &scene, "2026-10").await.expect(200);
    assert_eq!((&closed["statements"], &closed["to"]), (&json!(1), &json!("2026-11-01T00:00:00Z")));
    sale_at(&app, &scene, "A-3", &click_id, "2026-10-31T23:58:00Z").await;
    sale_at(&app, &scene, "A-4", &click_id, "2026-11-02T08:00:00Z").await;
    app.clock.set("2026-12-01T07:00:00Z".parse().unwrap());
    close(&app, &scene, "2026-11").await.expect(200);

    let october = statement(&app, &scene, "2026-10").await;
    let orders = |s: &Value| -> Vec<String> {
        let entries = s["entries"].as_array().unwrap().iter();
        entries.map(|e| format!("{} {}", e["order_id"].as_str().unwrap(), e["late"])).collect()
    };
    assert_eq!(orders(&october), ["A-1 false", "A-2 false"]);
    assert_eq!(
        (&october["accrued"], &october["pending_closing"]),
        (&json!("40.00"), &json!("40.00"))
    );
    let november = statement(&app, &scene, "2026-11").await;
    assert_eq!(orders(&november), ["A-3 true", "A-4 false"]);
    assert_eq!(november["entries"][0]["effective_at"], "2026-10-31T23:58:00.000000Z");
    assert_eq!(
        (&november["pending_opening"], &november["pending_closing"]),
        (&json!("40.00"), &json!("80.00"))
    );

    // The month that a cost belongs to is told apart from the statement that it is in.
    let path = format!("/v1/reports/accrual?program_id={}&from=2026-10-01", scene.program_id);
    let accrual = app.get(&app.finance_key, &path).await.expect(200);
    let line = |n: usize| {
        [
            &accrual["rows"][n]["month"],
            &accrual["rows"][n]["cost"],
            &accrual["rows"][n]["recorded_late"],
        ]
    };
    assert_eq!(line(0), [&json!("2026-10"), &json!("60.00"), &json!("20.00")]);
    assert_eq!(line(1), [&json!("2026-11"), &json!("20.00"), &json!("0.00")]);
}

/// What each order has come to, by its name.
const NET: &str = "select c.dedup_ref || ' ' || sum(m.amount_minor)
    from commissions m join conversions c using (program_id, conversion_id)
    group by c.dedup_ref order by c.dedup_ref";

#[actix_web::test]
async fn a_late_sale_changes_no_tier_and_no_cap_of_a_closed_month() {
    let app = TestApp::start().await;
    app.clock.set("2026-10-01T08:00:00Z".parse().unwrap());
    // Fifteen per cent of all from the third sale on, twenty from the fourth, sixty euros at most.
    let plan = json!({"v": 1, "hold_days": 90, "rules": [{"event": "sale", "kind": "percent",
        "percent_bps": 1000, "currency": "EUR", "tiers": {"period": "month", "mode": "retroactive",
        "steps": [{"from_count": 3, "percent_bps": 1500}, {"from_count": 4, "percent_bps": 2000}]}}],
        "caps": [{"period": "month", "per": "partner", "amount": "60.00", "currency": "EUR"}]});
    let scene = app.scene_with(plan).await;
    let click_id = app.click_id(&scene.link).await;
    app.clock.set("2026-11-02T09:00:00Z".parse().unwrap());
    for (order, at) in [("A", "2026-10-10"), ("B", "2026-10-11"), ("C", "2026-10-12")] {
        sale_at(&app, &scene, order, &click_id, &format!("{at}T12:00:00Z")).await;
    }
    // The third raises the first two; nobody has reckoned that yet, so the close does.
    assert_eq!(app.figures(NET).await, ["A 1000", "B 1000", "C 1500"]);
    close(&app, &scene, "2026-10").await.expect(200);
    assert_eq!(app.figures(NET).await, ["A 1500", "B 1500", "C 1500"]);
    let october = statement(&app, &scene, "2026-10").await;
    assert_eq!(october["accrued"], "45.00", "{october}");

    // By the order of time this one would be paid in full, the others more, and the last nothing.
    sale_at(&app, &scene, "D", &click_id, "2026-10-02T12:00:00Z").await;
    timer::revalue_marked(&app.app().background_db, app.clock.now()).await.unwrap();
    assert_eq!(app.figures(NET).await, ["A 1500", "B 1500", "C 1500", "D 1500"]);
    // A refund takes its own back and moves no other.
    let back = json!({"event": "sale", "order_id": "C", "refund_id": "R"});
    let answer = app.webhook(&scene, "back", "conversion.refunded", back).await.expect(202);
    app.receipt(answer["receipt"].as_str().unwrap()).await;
    timer::revalue_marked(&app.app().background_db, app.clock.now()).await.unwrap();
    let kept = "select c.dedup_ref || ' ' || m.amount_minor
        from commissions m join conversions c using (program_id, conversion_id)
        where m.state = 'pending' order by c.dedup_ref";
    assert_eq!(app.figures(kept).await, ["A 1500", "B 1500", "D 1500"]);

    app.clock.set("2026-12-01T07:00:00Z".parse().unwrap());
    close(&app, &scene, "2026-11").await.expect(200);
    assert_eq!(statement(&app, &scene, "2026-10").await, october, "what was told stays told");
    let november = statement(&app, &scene, "2026-11").await;
    let told: Vec<String> = november["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| format!("{} {} {}", e["order_id"].as_str().unwrap(), e["code"], e["late"]))
        .collect();
    assert_eq!(told, ["D \"accrue\" true", "C \"reject\" false"], "{november}");
    assert_eq!(november["pending_closing"], "45.00");
}

#[actix_web::test]
async fn a_statement_is_the_same_bytes_each_time_and_nobody_can_change_it() {
    let (app, scene) = october().await;
    let click_id = app.click_id(&scene.link).await;
    sale_at(&app, &scene, "A-1", &click_id, "2026-10-05T08:00:00Z").await;
    app.clock.set("2026-11-02T09:00:00Z".parse().unwrap());
    close(&app, &scene, "2026-10").await.expect(200);
    let path = format!("/v1/statements?program_id={}", scene.program_id);
    let listed = app.get(&app.finance_key, &path).await.expect(200);
    let listed = &listed["data"][0];
    assert_eq!(listed["number"], "ST-2026-10-000001");

    let show = |format: &'static str| {
        let path = format!("/v1/statements/{}?format={format}", listed["id"].as_str().unwrap());
        let app = &app;
        async move { app.get(&app.finance_key, &path).await }
    };
    for format in ["ndjson", "json", "html"] {
        let first = show(format).await;
        assert_eq!(first.status, 200, "{}", first.text());
        assert_eq!(first.header("x-document-sha-256"), listed["sha256"].as_str().unwrap());
        // The partner is called otherwise by now; the statement says what it said.
        sqlx::query("update partners set name = name || '!'")
            .execute(&mut app.owner().await)
            .await
            .unwrap();
        assert_eq!(show(format).await.body, first.body, "{format}");
    }
    let document = show("ndjson").await;
    let digest = <sha2::Sha256 as sha2::Digest>::digest(&document.body);
    let hex: String = digest.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(listed["sha256"], hex.as_str());
    show("pdf").await.expect_problem(422, "invalid-field");

    for sql in [
        "update statements set document = ''",
        "delete from statements",
        "update closed_periods set last_sequence = 0",
        "delete from closed_periods",
    ] {
        // Not even as the owner of the tables.
        let refused = sqlx::query(sql).execute(&mut app.owner().await).await.unwrap_err();
        assert!(refused.to_string().contains("append-only"), "{sql}: {refused}");
    }
}

#[actix_web::test]
async fn months_are_closed_once_and_in_their_order() {
    let (app, scene) = october().await;
    let refused = close(&app, &scene, "2026-10").await.expect_problem(422, "invalid-field");
    assert!(refused["errors"][0]["detail"].as_str().unwrap().contains("not over"), "{refused}");
    close(&app, &scene, "october").await.expect_problem(422, "invalid-field");
    app.clock.set("2027-01-02T09:00:00Z".parse().unwrap());
    // No partner has anything yet: no statement, but the month is closed.
    assert_eq!(close(&app, &scene, "2026-10").await.expect(200)["statements"], 0);
    close(&app, &scene, "2026-10").await.expect_problem(409, "period-closed");
    let refused = close(&app, &scene, "2026-12").await.expect_problem(422, "invalid-field");
    assert!(refused["errors"][0]["detail"].as_str().unwrap().contains("2026-11"), "{refused}");
    close(&app, &scene, "2026-11").await.expect(200);
    let path = format!("/v1/periods?program_id={}&limit=1", scene.program_id);
    let first = app.get(&app.finance_key, &path).await.expect(200);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = app.get(&app.finance_key, &format!("{path}&cursor={cursor}")).await.expect(200);
    let months = [&first["data"][0]["period"], &second["data"][0]["period"]];
    assert_eq!(months, [&json!("2026-11"), &json!("2026-10")]);
    let body = json!({"program_id": scene.program_id});
    let by_manager = app.post(&app.manager_key, "/v1/periods/2026-12/close", body).await;
    by_manager.expect_problem(403, "insufficient-scope");
}
