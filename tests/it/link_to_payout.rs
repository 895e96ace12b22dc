//! The whole way in one story: a link is made, clicked, sold through, held, paid and reported.

use chrono::TimeDelta;
use serde_json::json;

use crate::harness::{Sale, TestApp};

#[actix_web::test]
async fn a_click_becomes_a_paid_commission() {
    let app = TestApp::start().await;
    let scene = app.scene().await;

    // A visitor follows the link and lands at the shop with a signed click id.
    let click_id = app.click_id(&scene.link).await;
    assert_eq!(click_id.len(), 44);
    app.wait_for_count(1, "select coalesce(sum(n_unique), 0)::bigint from click_hours").await;

    // The shop reports a sale, signed; the same message again changes nothing.
    let sale = Sale { order_id: "A-10045", amount: "149.90", click_id: Some(click_id) };
    let receipt = app.sale(&scene, &sale).await;
    assert_eq!(receipt["status"], "settled", "{receipt}");
    let created = "conversion.created";
    let again = app.webhook_again(&scene, "msg_A-10045", created, sale.data()).await;
    assert_eq!(again.expect(200)["status"], "duplicate");
    let other_id = app.webhook_anew(&scene, "msg_other", created, sale.data()).await;
    assert_eq!(other_id.expect(200)["status"], "duplicate");

    // Twenty per cent, pending until the hold is over.
    let commission = app.commission(&scene, &receipt).await;
    assert_eq!(commission["amount"], "29.98");
    assert_eq!(commission["status"], "pending");
    assert_eq!(app.advance(TimeDelta::days(29)).await, 0, "a day too early");
    assert_eq!(app.advance(TimeDelta::days(1)).await, 1);
    let commission = app.commission(&scene, &receipt).await;
    assert_eq!(commission["status"], "approved");
    assert_eq!(commission["history"].as_array().unwrap().len(), 2);

    // Finance makes a batch, somebody else approves it, the bank pays.
    let batch = json!({"program_id": scene.program_id, "period": "2026-12", "currency": "EUR"});
    let mut dry = batch.clone();
    dry["dry_run"] = json!(true);
    let preview = app.post(&app.finance_key, "/v1/payout-batches", dry).await.expect(200);
    assert_eq!(preview["total"], "29.98");
    let made = app.post(&app.finance_key, "/v1/payout-batches", batch).await.expect(201);
    let path = format!("/v1/payout-batches/{}", made["batch"]["id"].as_str().unwrap());
    let own = app.post(&app.finance_key, &format!("{path}/approve"), json!({})).await;
    own.expect_problem(403, "insufficient-scope");
    app.post(&app.approver_key, &format!("{path}/approve"), json!({})).await.expect(200);
    let items = app.get(&app.finance_key, &format!("{path}/items")).await.expect(200);
    let payout = items["data"][0]["id"].as_str().unwrap().to_owned();
    app.post(
        &app.finance_key,
        &format!("/v1/payouts/{payout}/mark-paid"),
        json!({"bank_reference": "SEPA-1"}),
    )
    .await
    .expect(200);
    assert_eq!(app.commission(&scene, &receipt).await["status"], "paid");

    // The reports say so, to the cent.
    let query = format!("program_id={}&from=2026-11-01&to=2027-02-01", scene.program_id);
    let report = app.get(&app.finance_key, &format!("/v1/reports/payouts?{query}")).await;
    let report = report.expect(200);
    assert_eq!(report["rows"][0]["paid_amount"], "29.98", "{report}");
    let csv = app.get(&app.finance_key, &format!("/v1/reports/payouts?{query}&format=csv")).await;
    assert_eq!(csv.status, 200);
    assert!(csv.text().contains("29.98"), "{}", csv.text());
    let decline = app.get(&app.manager_key, &format!("/v1/reports/activity-decline?{query}")).await;
    assert!(decline.expect(200)["rows"].is_array());
}

#[actix_web::test]
async fn a_refund_before_the_payout_takes_the_commission_back_and_after_it_becomes_a_clawback() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let click_id = app.click_id(&scene.link).await;
    let order = |id: &'static str| Sale {
        order_id: id,
        amount: "100.00",
        click_id: Some(click_id.clone()),
    };
    let early = app.sale(&scene, &order("early")).await;
    let late = app.sale(&scene, &order("late")).await;

    let refund = |order: &str, id: &str, amount: Option<&str>| {
        json!({"event": "sale", "order_id": order, "refund_id": id, "refund_amount": amount,
            "currency": "EUR"})
    };
    let answer =
        app.webhook(&scene, "r1", "conversion.refunded", refund("early", "R1", None)).await;
    app.receipt(answer.expect(202)["receipt"].as_str().unwrap()).await;
    assert_eq!(app.commission(&scene, &early).await["status"], "rejected");

    app.advance(TimeDelta::days(30)).await;
    let batch = json!({"program_id": scene.program_id, "period": "2026-12", "currency": "EUR"});
    let made = app.post(&app.finance_key, "/v1/payout-batches", batch).await.expect(201);
    let path = format!("/v1/payout-batches/{}", made["batch"]["id"].as_str().unwrap());
    app.post(&app.approver_key, &format!("{path}/approve"), json!({})).await.expect(200);
    let items = app.get(&app.finance_key, &format!("{path}/items")).await.expect(200);
    let payout = items["data"][0]["id"].as_str().unwrap().to_owned();
    let paid = json!({"bank_reference": "SEPA-1"});
    app.post(&app.finance_key, &format!("/v1/payouts/{payout}/mark-paid"), paid).await.expect(200);

    let half = refund("late", "R2", Some("50.00"));
    let answer = app.webhook(&scene, "r2", "conversion.refunded", half).await;
    let told = app.receipt(answer.expect(202)["receipt"].as_str().unwrap()).await;
    assert_eq!(told["status"], "settled", "{told}");
    // What was paid is never edited; the partner owes the difference.
    assert_eq!(app.commission(&scene, &late).await["status"], "paid");
    let path = format!("/v1/partners/{}/balance?program_id={}", scene.partner_id, scene.program_id);
    let balance = app.get(&app.finance_key, &path).await.expect(200);
    assert_eq!(balance["balances"][0]["payable"], "-10.00", "{balance}");
}
