//! Bulk decisions: many commissions at once, each with its own result.

use serde_json::{Value, json};

use crate::harness::{Scene, TestApp};

const STATES: &str = "select m.kind || ' ' || m.state from commissions m
    join conversions c using (program_id, conversion_id) order by c.dedup_ref, m.kind";
const OWED: &str = "select (-sum(b.balance_minor))::text
    from ledger_balances b join ledger_accounts a on a.account_id = b.account_id
    where a.path like 'liability%'";

async fn sales(app: &TestApp, scene: &Scene, ids: &[&str]) -> Vec<Value> {
    let click_id = app.click_id(&scene.link).await;
    let mut commissions = Vec::new();
    for id in ids {
        let data = json!({"event": "sale", "order_id": id, "amount": "100.00", "currency": "EUR",
            "click_id": click_id});
        let answer = app.webhook(scene, &format!("m-{id}"), "conversion.created", data).await;
        let receipt = app.receipt(answer.expect(202)["receipt"].as_str().unwrap()).await;
        commissions.push(app.commission(scene, &receipt).await);
    }
    commissions
}

fn bulk(action: &str, items: &[Value]) -> Value {
    let reason = (!["approve", "release"].contains(&action)).then_some("fraud");
    json!({"action": action, "reason": reason, "note": "as agreed", "items": items})
}

#[actix_web::test]
async fn each_of_many_is_changed_or_says_why_not() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let made = sales(&app, &scene, &["A", "B", "C"]).await;
    let id = |n: usize| made[n]["id"].clone();
    let item = |n: usize| json!({"id": made[n]["id"], "version": made[n]["version"]});
    let path = "/v1/commissions/bulk";

    let held = bulk("hold", &[item(2)]);
    app.post(&app.manager_key, path, held).await.expect(200);
    // One that is fine, one that somebody changed, one that is none, one as it stands.
    let asked =
        bulk("approve", &[item(0), item(2), json!({"id": "cm_nothing"}), json!({"id": id(1)})]);
    let answer = app.post(&app.manager_key, path, asked).await.expect(200);
    assert_eq!((&answer["n_done"], &answer["n_failed"]), (&json!(2), &json!(2)));
    let results = answer["results"].as_array().unwrap();
    let codes: Vec<&str> = results.iter().map(|r| r["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["done", "precondition-failed", "not-found", "done"]);
    assert_eq!((&results[0]["status"], &results[0]["version"]), (&json!("approved"), &json!(2)));
    assert_eq!((&results[1]["status"], &results[1]["version"]), (&json!("on_hold"), &json!(2)));
    let states = ["earned approved", "earned approved", "earned on_hold"];
    assert_eq!(app.figures(STATES).await, states);

    // The same for one alone.
    let alone = format!("/v1/commissions/{}/reject", id(2).as_str().unwrap());
    let stale = json!({"reason": "fraud", "version": 1});
    let problem = app.post(&app.manager_key, &alone, stale).await;
    assert_eq!(problem.expect_problem(412, "precondition-failed")["version"], 2);
    let asked = bulk("reject", &[json!({"id": id(0)}), json!({"id": id(2)})]);
    let answer = app.post(&app.manager_key, path, asked).await.expect(200);
    assert_eq!(answer["results"][0]["code"], "invalid-transition");
    assert_eq!(answer["results"][0]["allowed"], json!(["reverse", "clawback"]));
    assert_eq!(answer["results"][1]["status"], "rejected");
    assert_eq!(app.figures(OWED).await, ["4000"], "two of three are owed");
    let audited = app
        .figures(
            "select l.action || ' ' || count(*)::text || ' ' || count(distinct l.object)::text
                || ' ' || bool_and(l.actor like 'user:us_%' and l.details->>'note' = 'as agreed')
             from audit_log l where l.action like 'commission.%' group by l.action order by 1",
        )
        .await;
    let expected =
        ["commission.approve 2 2 true", "commission.hold 1 1 true", "commission.reject 1 1 true"];
    assert_eq!(audited, expected);
}

#[actix_web::test]
async fn a_bulk_is_done_once_and_a_mistake_in_it_changes_nothing() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let made = sales(&app, &scene, &["A", "B"]).await;
    let items: Vec<Value> = made.iter().map(|c| json!({"id": c["id"]})).collect();
    let (path, key) = ("/v1/commissions/bulk", format!("Bearer {}", app.manager_key.expose()));
    let headers = [
        ("authorization", key.as_str()),
        ("content-type", "application/json"),
        ("idempotency-key", "once"),
    ];
    let body = bulk("reject", &items).to_string();
    let first = app.send("POST", path, &headers, body.as_str()).await;
    let again = app.send("POST", path, &headers, body.as_str()).await;
    assert_eq!(first.expect(200), again.expect(200));
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(app.figures(STATES).await, ["earned rejected", "earned rejected"]);
    app.send("POST", path, &headers[..2], body.as_str())
        .await
        .expect_problem(400, "idempotency-key-required");

    let many: Vec<Value> = (0..101).map(|n| json!({"id": format!("cm_{n}")})).collect();
    let twice = [items[0].clone(), items[0].clone()];
    for (body, pointer) in [
        (bulk("approve", &[]), "/items"),
        (bulk("approve", &many), "/items"),
        (bulk("approve", &twice), "/items"),
        (bulk("pay", &items), "/action"),
        (json!({"action": "hold", "items": items}), "/reason"),
    ] {
        let problem = app.post(&app.manager_key, path, body).await;
        let problem = problem.expect_problem(422, "invalid-field");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    // Who may read only may not decide.
    let (_, key) = app.new_key(json!({"role": "finance", "name": "reader"})).await;
    let refused = app.post(&key, path, bulk("approve", &items)).await;
    assert_eq!(refused.status, 403);
}

#[actix_web::test]
async fn bulks_of_the_same_commissions_in_any_order_wait_for_each_other() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let made = sales(&app, &scene, &["A", "B", "C", "D", "E", "F"]).await;
    let items: Vec<Value> = made.iter().map(|c| json!({"id": c["id"]})).collect();
    let backwards: Vec<Value> = items.iter().rev().cloned().collect();
    let path = "/v1/commissions/bulk";
    let (one, other) = futures_util::future::join(
        app.post(&app.manager_key, path, bulk("approve", &items)),
        app.post(&app.admin_key, path, bulk("reject", &backwards)),
    )
    .await;
    let (one, other) = (one.expect(200), other.expect(200));
    let done = [one["n_done"].as_u64().unwrap(), other["n_done"].as_u64().unwrap()];
    assert!(done == [6, 0] || done == [0, 6], "one of them came first: {done:?}");
}
