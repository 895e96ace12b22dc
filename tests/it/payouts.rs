//! Payouts as finance meets them: who is paid and who is carried forward, four eyes, files, results.

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{Answer, Sale, Scene, TestApp};

const PERIOD: &str = "2026-12";

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value}")).to_owned()
}

/// Sells once through each partner and lets every hold end.
async fn earn(app: &TestApp, scene: &Scene, orders: &[(&str, &str, &str)]) {
    for (order_id, link, amount) in orders {
        let click_id = Some(app.click_id(link).await);
        app.sale(scene, &Sale { order_id, amount, click_id }).await;
    }
    app.advance(TimeDelta::days(30)).await;
}

/// Adds a partner with a link to a program; it cannot be paid yet.
async fn add_partner(app: &TestApp, scene: &Scene, name: &str) -> (String, String) {
    let body = json!({"name": name, "kind": "webmaster", "program_id": scene.program_id});
    let partner = app.post(&app.admin_key, "/v1/partners", body).await.expect(201);
    let id = text(&partner["id"]);
    let body = json!({"program_id": scene.program_id, "partner_id": id, "label": "x"});
    let link = app.post(&app.admin_key, "/v1/links", body).await.expect(201);
    app.app().keeper.refresh().await.unwrap();
    (id, text(&link["url"]))
}

async fn put(app: &TestApp, path: &str, body: Value) -> Answer {
    app.call(&app.admin_key, "PUT", path, body).await
}

async fn set_tax(app: &TestApp, partner_id: &str, body: Value) {
    put(app, &format!("/v1/partners/{partner_id}/tax-profile"), body).await.expect(200);
}

async fn set_method(app: &TestApp, partner_id: &str, body: Value) {
    put(app, &format!("/v1/partners/{partner_id}/payout-method"), body).await.expect(200);
}

fn batch_body(scene: &Scene) -> Value {
    json!({"program_id": scene.program_id, "period": PERIOD, "currency": "EUR"})
}

async fn dry_run(app: &TestApp, scene: &Scene) -> Value {
    let mut body = batch_body(scene);
    body["dry_run"] = json!(true);
    app.post(&app.finance_key, "/v1/payout-batches", body).await.expect(200)
}

async fn create(app: &TestApp, scene: &Scene) -> String {
    let made = app.post(&app.finance_key, "/v1/payout-batches", batch_body(scene)).await;
    format!("/v1/payout-batches/{}", text(&made.expect(201)["batch"]["id"]))
}

async fn approve(app: &TestApp, batch: &str) {
    app.post(&app.approver_key, &format!("{batch}/approve"), json!({})).await.expect(200);
}

async fn items(app: &TestApp, batch: &str) -> Vec<Value> {
    let answer = app.get(&app.finance_key, &format!("{batch}/items")).await.expect(200);
    answer["data"].as_array().unwrap().clone()
}

async fn balance(app: &TestApp, scene: &Scene, partner_id: &str) -> String {
    let path = format!("/v1/partners/{partner_id}/balance?program_id={}", scene.program_id);
    text(&app.get(&app.finance_key, &path).await.expect(200)["balances"][0]["payable"])
}

/// The residue of the clearing account and the partners that differ: both must be nothing.
async fn check_books(app: &TestApp, scene: &Scene) {
    let query = format!("program_id={}&from=2026-11-01&to=2027-06-01", scene.program_id);
    let path = format!("/v1/reports/reconciliation?{query}");
    let told = app.get(&app.finance_key, &path).await.expect(200);
    assert_eq!(told["summary"]["in_transit_residue"], "0.00", "{told}");
    assert_eq!(told["summary"]["partners_with_difference"], 0, "{told}");
    let path = format!("/v1/reports/payouts?{query}");
    let told = app.get(&app.finance_key, &path).await.expect(200);
    assert_eq!(told["summary"]["untied_payouts"], 0, "{told}");
}

#[actix_web::test]
async fn a_dry_run_tells_who_is_paid_and_why_others_are_not() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let (small, small_link) = add_partner(&app, &scene, "Small").await;
    let (untaxed, untaxed_link) = add_partner(&app, &scene, "Untaxed").await;
    let (homeless, homeless_link) = add_partner(&app, &scene, "No account").await;
    app.make_payable(&small).await;
    let none = json!({"legal_type": "person", "tax_country": "DE", "vat_treatment": "none"});
    set_tax(&app, &homeless, none).await;
    earn(
        &app,
        &scene,
        &[
            ("A", &scene.link, "100.00"),
            ("B", &small_link, "10.00"),
            ("C", &untaxed_link, "100.00"),
            ("D", &homeless_link, "100.00"),
        ],
    )
    .await;

    let told = dry_run(&app, &scene).await;
    assert_eq!((&told["items"], &told["total"]), (&json!(1), &json!("20.00")), "{told}");
    let reasons = [
        ("below_minimum", &small, 1),
        ("missing_tax_profile", &untaxed, 1),
        ("no_payout_method", &homeless, 1),
    ];
    for (reason, partner, n) in reasons {
        assert_eq!(told["carried_forward"][reason], n, "{told}");
        let lines = told["carried"].as_array().unwrap();
        let line = lines.iter().find(|l| l["partner_id"] == partner.as_str()).unwrap();
        assert_eq!(line["reason"], reason);
    }
    // The small one shares the account of the other, and both were set a month ago.
    assert_eq!(told["warnings"][0]["code"], "before_due", "{told}");
    assert_eq!(told["warnings"][1]["code"], "account_shared", "{told}");
    assert_eq!(app.count("select count(*) from payouts").await, 0, "a dry run writes nothing");

    // A smaller minimum for that partner, from today on; the made batch says the same as the plan.
    let minimum = json!({"partner_id": small, "currency": "EUR", "minimum": "2.00",
        "effective_from": "2026-12-01"});
    let path = format!("/v1/programs/{}/payout-minimums", scene.program_id);
    app.post(&app.admin_key, &path, minimum.clone()).await.expect(201);
    app.post(&app.admin_key, &path, minimum).await.expect_problem(422, "invalid-field");
    assert_eq!(dry_run(&app, &scene).await["total"], "22.00");
    let batch = create(&app, &scene).await;
    let carried = app.get(&app.finance_key, &format!("{batch}/carried-forward")).await.expect(200);
    let names: Vec<&str> = carried["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["partner_name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["Untaxed", "No account"]);
    check_books(&app, &scene).await;
}

#[actix_web::test]
async fn a_hundred_approvals_at_once_make_one() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    earn(&app, &scene, &[("A", &scene.link, "100.00")]).await;
    let batch = create(&app, &scene).await;
    let path = format!("{batch}/approve");
    let answers = join_all((0..100).map(|_| app.post(&app.approver_key, &path, json!({})))).await;
    let approved = answers.iter().filter(|a| a.status == 200).count();
    let refused = answers.iter().filter(|a| a.status == 409).count();
    assert_eq!((approved, refused), (1, 99));
    let n = app.count("select count(*) from audit_log where action = 'payout_batch.approve'").await;
    assert_eq!(n, 1);

    // Two who make the batch at once make one, too; and one key repeated is one act.
    let again = join_all((0..10).map(|_| {
        let body = json!({"program_id": scene.program_id, "period": "2026-12-22",
            "currency": "EUR"});
        app.post(&app.finance_key, "/v1/payout-batches", body)
    }))
    .await;
    assert!(again.iter().all(|a| a.status == 422), "nothing is owed any more");
    check_books(&app, &scene).await;
}

#[actix_web::test]
async fn nobody_approves_what_the_same_user_made() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    earn(&app, &scene, &[("A", &scene.link, "100.00")]).await;
    let batch = create(&app, &scene).await;
    // Another key of the same user is the same pair of eyes.
    let keys = app.get(&app.admin_key, "/v1/api-keys").await.expect(200);
    let finance = keys["data"].as_array().unwrap().iter().find(|k| k["role"] == "finance").unwrap();
    let second = json!({"name": "second", "role": "approver", "user_id": finance["user_id"]});
    let (_, key) = app.new_key(second).await;
    let own = app.post(&key, &format!("{batch}/approve"), json!({})).await;
    own.expect_problem(403, "same-actor");
    let admin = app.post(&app.admin_key, &format!("{batch}/approve"), json!({})).await;
    admin.expect_problem(403, "insufficient-scope");
    approve(&app, &batch).await;
}

async fn set_payer(app: &TestApp, scene: &Scene) {
    let body = json!({"kind": "sepa", "holder": "Laden GmbH", "iban": "DE44500105175407324931",
        "bic": "INGDDEFFXXX"});
    let path = format!("/v1/programs/{}/payer-accounts/main", scene.program_id);
    let told = put(app, &path, body).await.expect(200);
    assert_eq!(told["account_masked"], "DE••••4931");
}

#[actix_web::test]
async fn a_file_is_made_once_and_downloaded_again_to_the_byte() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let (other, other_link) = add_partner(&app, &scene, "By PayPal").await;
    app.make_payable(&other).await;
    let paypal = json!({"kind": "paypal", "holder": "P", "email": "pay@blog.example"});
    set_method(&app, &other, paypal).await;
    earn(&app, &scene, &[("A", &scene.link, "100.00"), ("B", &other_link, "200.00")]).await;
    let batch = create(&app, &scene).await;
    let sepa = format!("{batch}/file?format=pain.001");
    app.get(&app.finance_key, &sepa).await.expect_problem(409, "invalid-transition");
    approve(&app, &batch).await;
    app.get(&app.approver_key, &format!("{batch}/file"))
        .await
        .expect_problem(403, "insufficient-scope");
    let no_payer = app.get(&app.finance_key, &sepa).await.expect_problem(422, "invalid-field");
    assert_eq!(no_payer["errors"][0]["pointer"], "/payer", "{no_payer}");
    set_payer(&app, &scene).await;

    // Ten at once, and a cancel among them: one file, and no cancel.
    let downloads = join_all((0..10).map(|_| app.get(&app.finance_key, &sepa)));
    let cancel = format!("{batch}/cancel");
    let (files, canceled) = tokio::join!(downloads, app.post(&app.finance_key, &cancel, json!({})));
    if canceled.status == 200 {
        // The cancel came first: then there is no file at all.
        assert!(files.iter().all(|f| f.status == 409), "{files:?}");
        assert_eq!(app.count("select count(*) from payout_files").await, 0);
        return;
    }
    canceled.expect_problem(409, "invalid-transition");
    let first = &files[0];
    for file in &files {
        assert_eq!((file.status, &file.body), (200, &first.body));
        assert_eq!(file.header("x-content-sha256"), first.header("x-content-sha256"));
    }
    assert!(first.text().contains("<IBAN>DE89370400440532013000</IBAN>"), "{}", first.text());
    assert!(!first.text().contains("pay@blog.example"));
    // Later, and after the account was changed, it is the same.
    app.advance(TimeDelta::days(3)).await;
    let iban = json!({"kind": "sepa", "holder": "Thief", "iban": "NL91ABNA0417164300"});
    set_method(&app, &scene.partner_id, iban).await;
    assert_eq!(app.get(&app.finance_key, &sepa).await.body, first.body);

    // The other goes by its own file; each payout is in one file and in no second one.
    let by_paypal = app.get(&app.finance_key, &format!("{batch}/file?format=paypal")).await;
    assert!(by_paypal.text().starts_with("pay@blog.example,40.00,EUR,po_"), "{}", by_paypal.text());
    let rest = app.get(&app.finance_key, &format!("{batch}/file?format=csv")).await;
    rest.expect_problem(409, "invalid-transition");
    let listed = app.get(&app.finance_key, &format!("{batch}/files")).await.expect(200);
    let listed: Vec<_> = listed["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| (text(&f["format"]), f["items"].clone(), text(&f["total"])))
        .collect();
    let one = json!(1);
    assert_eq!(
        listed,
        [
            ("pain.001".to_owned(), one.clone(), "20.00".to_owned()),
            ("paypal".to_owned(), one, "40.00".to_owned()),
        ]
    );
    let logged = app.figures(
        "select details->>'sha256' from audit_log where action = 'payout_batch.export' order by at",
    ).await;
    assert_eq!(logged[0], first.header("x-content-sha256"));
    // At rest there is no account number, neither in files nor in methods.
    let plain = app.count(
        "select (select count(*) from payout_files where position('DE8937'::bytea in bytes) > 0)
              + (select count(*) from payout_methods where position('DE8937'::bytea in sealed) > 0)",
    ).await;
    assert_eq!(plain, 0);
}

#[actix_web::test]
async fn vat_and_withholding_tie_out_to_the_cent() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let taxed = json!({"legal_type": "company", "tax_country": "DE", "vat_id": "DE123456789",
        "vat_treatment": "S", "vat_rate_bps": 1900, "withholding_bps": 1500});
    set_tax(&app, &scene.partner_id, taxed.clone()).await;
    earn(&app, &scene, &[("A", &scene.link, "149.90")]).await;
    let told = dry_run(&app, &scene).await;
    assert_eq!(told["carried_forward"]["missing_self_billing_consent"], 1, "{told}");
    let mut agreed = taxed;
    agreed["self_billing_agreed_at"] = json!("2026-11-01T00:00:00Z");
    set_tax(&app, &scene.partner_id, agreed).await;

    // 29.98 net, 5.70 VAT, 4.50 withheld: the bank moves 31.18.
    let batch = create(&app, &scene).await;
    let item = &items(&app, &batch).await[0];
    let figures = ["net", "vat", "gross", "withheld", "amount"].map(|name| text(&item[name]));
    assert_eq!(figures, ["29.98", "5.70", "35.68", "4.50", "31.18"]);
    assert_eq!(item["document_no"], Value::Null);
    approve(&app, &batch).await;
    let item = &items(&app, &batch).await[0];
    assert_eq!(item["document_no"], "SB-2026-000001");
    check_books(&app, &scene).await;
    let pay = format!("/v1/payouts/{}", text(&item["id"]));
    let paid = json!({"bank_reference": "SEPA-1"});
    app.post(&app.finance_key, &format!("{pay}/mark-paid"), paid).await.expect(200);
    check_books(&app, &scene).await;
    let path = format!("/v1/reports/payouts?program_id={}&from=2026-12-01", scene.program_id);
    let told = app.get(&app.finance_key, &path).await.expect(200);
    let row = &told["rows"][0];
    let columns = [
        ("legal_type", "company"),
        ("vat_id", "DE123456789"),
        ("net_payable", "29.98"),
        ("vat_treatment", "S"),
        ("vat_rate", "19.00"),
        ("vat_amount", "5.70"),
        ("withholding_amount", "4.50"),
        ("gross_payable", "35.68"),
        ("transfer_amount", "31.18"),
        ("paid_amount", "31.18"),
        ("method", "sepa"),
        ("account_masked", "DE••••3000"),
        ("document_no", "SB-2026-000001"),
        ("bank_reference", "SEPA-1"),
    ];
    for (column, expected) in columns {
        assert_eq!(row[column], expected, "{column}: {row}");
    }
    assert_eq!(told["summary"]["withholding_amount"], "4.50");
    let accounts = "select a.path || ' ' || sum(e.amount_minor)
        from ledger_entries e
        join ledger_accounts a on a.program_id = e.program_id and a.account_id = e.account_id
        where a.path not like '%partner%' and a.path not like 'expense%'
        group by a.path order by a.path";
    let shown = |all: Vec<String>| -> Vec<String> {
        all.iter().map(|line| line.replace(&scene.program_id, "PG")).collect()
    };
    assert_eq!(
        shown(app.figures(accounts).await),
        [
            "asset:bank:PG:main -3118",
            "asset:tax:PG:vat_input 570",
            "liability:payout:PG:in_transit 0",
            "liability:tax:PG:withheld -450",
        ]
    );
    assert_eq!(balance(&app, &scene, &scene.partner_id).await, "0.00");

    // It comes back: taxes are undone, the net is owed again, and nothing goes there blindly.
    let back = json!({"reason": "account closed"});
    app.post(&app.finance_key, &format!("{pay}/mark-returned"), back).await.expect(200);
    assert_eq!(balance(&app, &scene, &scene.partner_id).await, "29.98");
    assert_eq!(shown(app.figures(accounts).await).iter().filter(|l| !l.ends_with(" 0")).count(), 0);
    let mut next = batch_body(&scene);
    next["period"] = json!("2026-12-22");
    next["dry_run"] = json!(true);
    let told = app.post(&app.finance_key, "/v1/payout-batches", next.clone()).await.expect(200);
    assert_eq!(told["carried_forward"]["method_returned"], 1, "{told}");
    let iban = json!({"kind": "sepa", "holder": "Blog 42", "iban": "NL91ABNA0417164300"});
    set_method(&app, &scene.partner_id, iban).await;
    next["dry_run"] = json!(false);
    let made = app.post(&app.finance_key, "/v1/payout-batches", next).await.expect(201);
    assert_eq!(made["net"], "29.98", "what came back is payable again");
    check_books(&app, &scene).await;
}

#[actix_web::test]
async fn bonuses_clawbacks_and_write_offs_are_paid_netted_and_forgiven() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    earn(&app, &scene, &[("A", &scene.link, "100.00")]).await;
    let act = async |kind: &str, amount: &str| {
        let body = json!({"program_id": scene.program_id, "partner_id": scene.partner_id,
            "kind": kind, "amount": amount, "reason": "other", "note": "as agreed"});
        app.post(&app.admin_key, "/v1/adjustments", body).await
    };
    act("bonus", "5.00").await.expect(201);
    act("clawback", "-2.50").await.expect(201);
    act("clawback", "2.50").await.expect_problem(422, "invalid-field");
    act("write_off", "1.00").await.expect_problem(409, "invalid-transition");
    assert_eq!(balance(&app, &scene, &scene.partner_id).await, "22.50");
    let finance = json!({"program_id": scene.program_id, "partner_id": scene.partner_id,
        "kind": "bonus", "amount": "1.00", "reason": "fraud"});
    let refused = app.post(&app.finance_key, "/v1/adjustments", finance).await;
    refused.expect_problem(403, "insufficient-scope");

    let batch = create(&app, &scene).await;
    let item = items(&app, &batch).await[0].clone();
    assert_eq!(item["net"], "22.50");
    check_books(&app, &scene).await;
    app.post(&app.finance_key, &format!("{batch}/cancel"), json!({})).await.expect(200);
    assert_eq!(balance(&app, &scene, &scene.partner_id).await, "22.50");
    let batch = create(&app, &scene).await;
    approve(&app, &batch).await;
    let pay = format!("/v1/payouts/{}/mark-paid", text(&items(&app, &batch).await[0]["id"]));
    app.post(&app.finance_key, &pay, json!({"bank_reference": "S"})).await.expect(200);
    assert_eq!(balance(&app, &scene, &scene.partner_id).await, "0.00");

    // After the payout the partner owes; forgiven is the debt, to the cent and no more.
    act("clawback", "-7.00").await.expect(201);
    assert_eq!(balance(&app, &scene, &scene.partner_id).await, "-7.00");
    let too_much = act("write_off", "7.01").await.expect_problem(409, "invalid-transition");
    assert_eq!(too_much["owed"], "7.00");
    let answers = join_all((0..5).map(|_| act("write_off", "7.00"))).await;
    assert_eq!(answers.iter().filter(|a| a.status == 201).count(), 1);
    assert_eq!(balance(&app, &scene, &scene.partner_id).await, "0.00");
    let path = format!("/v1/adjustments?program_id={}", scene.program_id);
    let listed = app.get(&app.finance_key, &path).await.expect(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 4);
    check_books(&app, &scene).await;
}

#[actix_web::test]
async fn a_self_employed_person_owes_a_receipt_before_the_next_payment() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let npd = json!({"legal_type": "npd", "tax_country": "RU", "tax_id": "500100732259",
        "vat_treatment": "none"});
    set_tax(&app, &scene.partner_id, npd).await;
    earn(&app, &scene, &[("A", &scene.link, "100.00")]).await;
    let batch = create(&app, &scene).await;
    approve(&app, &batch).await;
    let payout = text(&items(&app, &batch).await[0]["id"]);
    let receipt = json!({"receipt_no": "200abc", "receipt_date": "2026-12-23"});
    let path = format!("/v1/payouts/{payout}");
    let early = app.post(&app.finance_key, &format!("{path}/receipt"), receipt.clone()).await;
    early.expect_problem(409, "invalid-transition");
    let paid = json!({"bank_reference": "S"});
    app.post(&app.finance_key, &format!("{path}/mark-paid"), paid).await.expect(200);

    // Paid on 22 December: due on 9 January.
    earn(&app, &scene, &[("B", &scene.link, "100.00")]).await;
    let mut next = batch_body(&scene);
    next["period"] = json!("2027-01");
    next["dry_run"] = json!(true);
    let told = app.post(&app.finance_key, "/v1/payout-batches", next.clone()).await.expect(200);
    assert_eq!(told["carried_forward"]["missing_receipt"], 1, "{told}");
    let owed = async || {
        let path = format!("/v1/reports/receipts?program_id={}", scene.program_id);
        app.get(&app.finance_key, &path).await.expect(200)
    };
    let told = owed().await;
    assert_eq!((&told["summary"]["missing"], &told["summary"]["overdue"]), (&json!(1), &json!(1)));
    let row = &told["rows"][0];
    assert_eq!(row["payout_id"], payout.as_str());
    assert_eq!(
        (&row["tax_id"], &row["receipt_due_on"]),
        (&json!("500100732259"), &json!("2027-01-09"))
    );
    // Today is 21 January.
    assert_eq!((&row["is_overdue"], &row["days_overdue"]), (&json!(true), &json!(12)), "{row}");
    let kept = app.post(&app.finance_key, &format!("{path}/receipt"), receipt).await.expect(200);
    assert_eq!(kept["receipt_no"], "200abc");
    assert_eq!(owed().await["summary"]["missing"], 0);
    let told = app.post(&app.finance_key, "/v1/payout-batches", next).await.expect(200);
    assert_eq!(told["items"], 1, "{told}");
}

#[actix_web::test]
async fn periods_follow_the_cycle_of_the_program() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    earn(&app, &scene, &[("A", &scene.link, "100.00")]).await;
    let path = format!("/v1/programs/{}/payout-terms", scene.program_id);
    let usual = app.get(&app.finance_key, &path).await.expect(200);
    assert_eq!((&usual["cycle"], &usual["last_period"]), (&json!("monthly"), &json!("2026-11")));
    let wrong = put(&app, &path, json!({"cycle": "daily", "net_days": 91})).await;
    let wrong = wrong.expect_problem(422, "invalid-field");
    assert_eq!(wrong["errors"].as_array().unwrap().len(), 2, "{wrong}");
    let set = put(&app, &path, json!({"cycle": "semi_monthly", "net_days": 10})).await.expect(200);
    assert_eq!(set["last_period"], "2026-12-01", "{set}");
    assert_eq!(set["due_date"], "2026-12-26");

    // The commission was approved on the 22nd: in the second half, not in the first.
    let mut body = batch_body(&scene);
    body["dry_run"] = json!(true);
    body["period"] = json!("2026-12-05");
    let bad = app.post(&app.finance_key, "/v1/payout-batches", body.clone()).await;
    bad.expect_problem(422, "invalid-field");
    for (period, n) in [("2026-12-01", 0), ("2026-12-16", 1)] {
        body["period"] = json!(period);
        let told = app.post(&app.finance_key, "/v1/payout-batches", body.clone()).await.expect(200);
        assert_eq!(told["items"], n, "{told}");
    }
    body["execution_date"] = json!("2026-12-21");
    let past = app.post(&app.finance_key, "/v1/payout-batches", body).await;
    past.expect_problem(422, "invalid-field");
}

#[actix_web::test]
async fn results_are_taken_in_once_and_an_open_one_is_never_tried_again() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let mut orders = vec![("A0".to_owned(), scene.link.clone())];
    for n in 1..4 {
        let (id, link) = add_partner(&app, &scene, &format!("Partner {n}")).await;
        app.make_payable(&id).await;
        orders.push((format!("A{n}"), link));
    }
    let orders: Vec<(&str, &str, &str)> =
        orders.iter().map(|(id, link)| (id.as_str(), link.as_str(), "100.00")).collect();
    earn(&app, &scene, &orders).await;
    let batch = create(&app, &scene).await;
    approve(&app, &batch).await;
    let file = app.get(&app.finance_key, &format!("{batch}/file")).await;
    assert_eq!(file.status, 200, "{}", file.text());
    let ids: Vec<String> = items(&app, &batch).await.iter().map(|i| text(&i["id"])).collect();
    let results = format!(
        "payout_id,status,reference,reason,amount\r\n{},paid,R-1,,20.00\r\n\
         {},failed,,account closed,\r\n{},sent,,,\r\n{},paid,R-4,,99.00\r\npo_x,paid,,,\r\n\
         {},paid,R-1,,20.00\r\n",
        ids[0], ids[1], ids[2], ids[3], ids[0]
    );
    let bearer = format!("Bearer {}", app.finance_key.expose());
    let path = format!("{batch}/import-results");
    let send = async |body: &str| {
        let once = uuid::Uuid::now_v7().to_string();
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", once.as_str())];
        app.send("POST", &path, &headers, body).await
    };

    // Two users bring the same file at the same time.
    let (one, two) = tokio::join!(send(&results), send(&results));
    let (one, two) = (one.expect(200), two.expect(200));
    let verdicts = |told: &Value| -> Vec<String> {
        told["rows"].as_array().unwrap().iter().map(|r| text(&r["verdict"])).collect()
    };
    let expected = ["paid", "failed", "open", "amount_differs", "not_in_batch", "twice"];
    assert_eq!(verdicts(&one), expected, "{one}");
    assert_eq!(verdicts(&two), expected);
    let known = [&one, &two].map(|told| told["already_imported"].as_bool().unwrap());
    assert_eq!(known.iter().filter(|k| **k).count(), 1);
    let paid = "select count(*) from ledger_transactions where code = 'payout_pay'";
    assert_eq!(app.count(paid).await, 1);
    let states: Vec<String> =
        items(&app, &batch).await.iter().map(|i| text(&i["status"])).collect();
    assert_eq!(states, ["paid", "failed", "processing", "processing"]);
    check_books(&app, &scene).await;
    // What matched nothing is told to whoever reconciles.
    let query = format!("program_id={}&from=2026-12-01", scene.program_id);
    let books = format!("/v1/reports/reconciliation?{query}");
    let books = app.get(&app.finance_key, &books).await.expect(200);
    assert_eq!(books["summary"]["bank_answers_not_matched"], 3);
    let answers = format!("/v1/reports/bank-answers?{query}");
    let answers = app.get(&app.finance_key, &answers).await.expect(200);
    let told: Vec<String> = answers["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| format!("{} {} {}", r["line"], r["verdict"], r["bank_reference"]))
        .collect();
    let expected =
        [r#"5 "amount_differs" "R-4""#, r#"6 "not_in_batch" null"#, r#"7 "twice" "R-1""#];
    assert_eq!(told, expected, "{answers}");

    // Another file about the same: what is done is unchanged, the bank's decision is taken in.
    let later = format!("payout_id,status,reference\n{},paid,R-1\n{},paid,R-3\n", ids[0], ids[2]);
    assert_eq!(verdicts(&send(&later).await.expect(200)), ["unchanged", "paid"]);
    let wrong = send("id;state\n1;2\n").await.expect_problem(422, "invalid-field");
    assert!(wrong["errors"][0]["detail"].as_str().unwrap().contains("no column payout_id"));
    let last = format!("payout_id,status,reason\n{},failed,refused\n", ids[3]);
    let told = send(&last).await.expect(200);
    assert_eq!(told["batch_status"], "partially_completed", "{told}");

    // What failed is owed again: it is in the next batch.
    let mut next = batch_body(&scene);
    next["period"] = json!("2026-12-22");
    let made = app.post(&app.finance_key, "/v1/payout-batches", next).await.expect(201);
    assert_eq!((&made["items"], &made["net"]), (&json!(2), &json!("40.00")));
    check_books(&app, &scene).await;
}

#[actix_web::test]
async fn who_is_blocked_after_the_approval_is_in_no_file() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let (other, other_link) = add_partner(&app, &scene, "Other").await;
    app.make_payable(&other).await;
    earn(&app, &scene, &[("A", &scene.link, "100.00"), ("B", &other_link, "100.00")]).await;
    let batch = create(&app, &scene).await;
    approve(&app, &batch).await;
    let path = format!("/v1/partners/{other}/block");
    app.post(&app.admin_key, &path, Value::Null).await.expect(200);
    let file = app.get(&app.finance_key, &format!("{batch}/file?format=csv")).await;
    assert_eq!((file.status, file.text().lines().count()), (200, 2), "{}", file.text());
    let all = items(&app, &batch).await;
    let blocked = all.iter().find(|i| i["partner_id"] == other.as_str()).unwrap();
    assert_eq!((&blocked["status"], &blocked["file"]), (&json!("approved"), &Value::Null));
    let path = format!("/v1/payouts/{}/mark-failed", text(&blocked["id"]));
    app.post(&app.finance_key, &path, json!({"reason": "blocked"})).await.expect(200);
    assert_eq!(balance(&app, &scene, &other).await, "20.00");
    check_books(&app, &scene).await;
}
