//! A key of one program: of any other it sees and moves nothing.

use serde_json::{Value, json};

use super::Before;
use crate::harness::{Sale, TestApp};

#[actix_web::test]
async fn a_key_of_one_program_finds_nothing_of_another() {
    let app = TestApp::start().await;
    let (own, foreign) = (app.scene().await, app.scene().await);
    let mut told = Vec::new();
    for (scene, order_id) in [(&own, "own"), (&foreign, "foreign")] {
        let click_id = Some(app.click_id(&scene.link).await);
        told.push(app.sale(scene, &Sale { order_id, amount: "10.00", click_id }).await);
    }
    let plans = async |program: &str| {
        let path = format!("/v1/programs/{program}/plans");
        app.get(&app.admin_key, &path).await.expect(200)["data"][0]["id"].clone()
    };
    let plan = plans(&foreign.program_id).await;
    let plan = plan.as_str().unwrap();
    let told = &told[1];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (receipt, conversion) = (text(&told["receipt"]), text(&told["conversion_id"]));
    let commission = text(&told["commission"]["id"]);
    let (program, partner) = (&foreign.program_id, &foreign.partner_id);

    let reads = [
        format!("/v1/programs/{program}"),
        format!("/v1/programs/{program}/plans"),
        format!("/v1/plans/{plan}"),
        format!("/v1/partners/{partner}"),
        format!("/v1/partners?program_id={program}"),
        format!("/v1/links/{}", foreign.link_id),
        format!("/v1/links?program_id={program}"),
        format!("/v1/sources/{}", foreign.source_id),
        format!("/v1/sources?program_id={program}"),
        format!("/v1/conversions/{conversion}"),
        format!("/v1/conversions?program_id={program}"),
        format!("/v1/receipts/{receipt}"),
        format!("/v1/commissions/{commission}"),
        format!("/v1/commissions/{commission}/explanation"),
        format!("/v1/conversions/{conversion}/explanation"),
        format!("/v1/commissions?program_id={program}"),
        format!("/v1/partners/{partner}/balance?program_id={program}"),
        format!("/v1/partners/{partner}/balance?program_id={}", own.program_id),
        format!("/v1/partners/{partner}/payout-method"),
        format!("/v1/partners/{partner}/tax-profile"),
        format!("/v1/programs/{program}/payer-accounts"),
        format!("/v1/programs/{program}/payout-terms"),
        format!("/v1/programs/{program}/payout-minimums"),
        format!("/v1/payout-batches?program_id={program}"),
        format!("/v1/adjustments?program_id={program}"),
    ];
    let paypal = json!({"kind": "paypal", "holder": "T", "email": "thief@mail.example"});
    let sepa = json!({"kind": "sepa", "holder": "T", "iban": "NL91ABNA0417164300"});
    let untaxed = json!({"legal_type": "person", "tax_country": "DE", "vat_treatment": "none"});
    let plan_body =
        json!({"v": 1, "rules": [{"event": "sale", "kind": "percent", "percent_bps": 1}]});
    let because = json!({"reason": "fraud"});
    let mut writes = vec![
        ("PATCH", format!("/v1/programs/{program}"), json!({"name": "Mine"})),
        ("POST", format!("/v1/programs/{program}/plans"), plan_body),
        (
            "POST",
            "/v1/partners".to_owned(),
            json!({"name": "N", "kind": "webmaster", "program_id": program}),
        ),
        ("POST", format!("/v1/partners/{partner}/block"), Value::Null),
        ("POST", format!("/v1/partners/{partner}/unblock"), Value::Null),
        ("POST", format!("/v1/partners/{partner}/enrollments"), json!({"program_id": program})),
        (
            "POST",
            format!("/v1/partners/{partner}/enrollments"),
            json!({"program_id": own.program_id}),
        ),
        ("PATCH", format!("/v1/partners/{partner}/enrollments/{program}"), json!({"rank": "A"})),
        (
            "PATCH",
            format!("/v1/partners/{partner}/enrollments/{}", own.program_id),
            json!({"rank": "A"}),
        ),
        (
            "POST",
            "/v1/links".to_owned(),
            json!({"program_id": program, "partner_id": partner, "label": "x"}),
        ),
        ("PATCH", format!("/v1/links/{}", foreign.link_id), json!({"status": "paused"})),
        ("POST", "/v1/links/inspect".to_owned(), json!({"url": foreign.link})),
        ("POST", "/v1/sources".to_owned(), json!({"program_id": program, "name": "x"})),
        ("PATCH", format!("/v1/sources/{}", foreign.source_id), json!({"status": "disabled"})),
        ("POST", format!("/v1/sources/{}/secrets", foreign.source_id), json!({})),
        ("PUT", format!("/v1/partners/{partner}/payout-method"), paypal),
        ("PUT", format!("/v1/partners/{partner}/tax-profile"), untaxed),
        ("PUT", format!("/v1/programs/{program}/payer-accounts/main"), sepa),
        (
            "PUT",
            format!("/v1/programs/{program}/payout-terms"),
            json!({"cycle": "weekly", "net_days": 0}),
        ),
        (
            "POST",
            format!("/v1/programs/{program}/payout-minimums"),
            json!({"currency": "EUR", "minimum": "0", "effective_from": "2026-11-01"}),
        ),
        (
            "POST",
            "/v1/payout-batches".to_owned(),
            json!({"program_id": program, "period": "2026-11"}),
        ),
        (
            "POST",
            "/v1/adjustments".to_owned(),
            json!({"program_id": program, "partner_id": partner, "kind": "bonus",
                "amount": "1.00", "reason": "fraud"}),
        ),
    ];
    for verb in ["approve", "reject", "hold", "release", "reverse"] {
        writes.push(("POST", format!("/v1/commissions/{commission}/{verb}"), because.clone()));
    }

    let (_, limited) =
        app.new_key(json!({"name": "p", "role": "admin", "programs": [own.program_id]})).await;
    let before = Before::of(&app).await;
    for path in &reads {
        app.get(&app.admin_key, path).await;
        let answer = app.get(&limited, path).await;
        assert_eq!(answer.status, 404, "GET {path}: {}", answer.text());
        answer.expect_problem(404, "not-found");
    }
    for (method, path, body) in &writes {
        let answer = app.call(&limited, method, path, body.clone()).await;
        assert_eq!(answer.status, 404, "{method} {path} {body}: {}", answer.text());
        answer.expect_problem(404, "not-found");
    }
    // A foreign partner and one that is not there are told alike.
    let nobody = tributary::ids::PartnerId::new().to_string();
    for partner in [partner, &nobody] {
        let body = json!({"program_id": own.program_id, "partner_id": partner, "label": "x"});
        let answer = app.post(&limited, "/v1/links", body).await;
        let problem = answer.expect_problem(422, "invalid-field");
        assert_eq!(super::pointers(&problem), ["/partner_id"]);
        assert!(problem["errors"][0]["detail"].as_str().unwrap().starts_with("has no active"));
    }
    before.expect_unchanged(&app).await;

    // Its own is there, so that nothing above was refused for another reason.
    for path in ["/v1/programs".to_owned(), "/v1/partners".to_owned()] {
        let list = app.get(&limited, &path).await.expect(200);
        assert_eq!(list["data"].as_array().unwrap().len(), 1, "{path}: {list}");
    }
    app.get(&limited, &format!("/v1/commissions?program_id={}", own.program_id)).await.expect(200);
}

#[actix_web::test]
async fn a_key_of_one_program_gives_and_takes_no_key_beyond_it() {
    let app = TestApp::start().await;
    let (own, foreign) = (app.scene().await, app.scene().await);
    let (_, limited) =
        app.new_key(json!({"name": "p", "role": "admin", "programs": [own.program_id]})).await;
    let (theirs, _) = app
        .new_key(json!({"name": "q", "role": "finance", "programs": [foreign.program_id]}))
        .await;
    let before = Before::of(&app).await;
    for programs in
        [json!(null), json!([foreign.program_id]), json!([own.program_id, foreign.program_id])]
    {
        let body = json!({"name": "more", "role": "admin", "programs": programs});
        let answer = app.post(&limited, "/v1/api-keys", body).await;
        assert!([404, 422].contains(&answer.status), "{programs}: {}", answer.text());
    }
    let path = format!("/v1/api-keys/{theirs}");
    let answer = app.call(&limited, "DELETE", &path, Value::Null).await;
    answer.expect_problem(404, "not-found");
    before.expect_unchanged(&app).await;

    let (listed, all) =
        (app.get(&limited, "/v1/api-keys").await, app.get(&app.admin_key, "/v1/api-keys").await);
    assert_eq!(listed.expect(200)["data"].as_array().unwrap().len(), 1);
    assert_eq!(all.expect(200)["data"].as_array().unwrap().len(), 6);
    let body = json!({"name": "own", "role": "finance", "programs": [own.program_id]});
    let made = app.post(&limited, "/v1/api-keys", body).await.expect(201);
    let path = format!("/v1/api-keys/{}", made["id"].as_str().unwrap());
    app.call(&limited, "DELETE", &path, Value::Null).await.expect(204);
}
