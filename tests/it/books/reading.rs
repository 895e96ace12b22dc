//! The book and the reports as they are read: filters, cursors, any time, any length.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tributary::report::REGISTRY;

use crate::harness::{Sale, Scene, TestApp};

async fn three_sales(app: &TestApp) -> Scene {
    let scene = app.scene().await;
    let click_id = app.click_id(&scene.link).await;
    for order_id in ["A-1", "A-2", "A-3"] {
        let click_id = Some(click_id.clone());
        app.sale(&scene, &Sale { order_id, amount: "50.00", click_id }).await;
    }
    scene
}

#[actix_web::test]
async fn the_book_is_read_by_account_by_transaction_and_as_it_was() {
    let app = TestApp::start().await;
    let scene = three_sales(&app).await;
    let before = app.clock.now() + TimeDelta::days(1);
    app.advance(TimeDelta::days(30)).await;
    let get = async |path: String| app.get(&app.finance_key, &path).await;
    let of = format!("program_id={}", scene.program_id);

    let balance = format!("/v1/partners/{}/balance?{of}", scene.partner_id);
    let now = get(balance.clone()).await.expect(200);
    assert_eq!(
        (&now["balances"][0]["pending"], &now["balances"][0]["payable"]),
        (&json!("0.00"), &json!("30.00"))
    );
    let as_of = before.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let then = get(format!("{balance}&as_of={as_of}")).await.expect(200);
    assert_eq!(
        (&then["balances"][0]["pending"], &then["balances"][0]["payable"]),
        (&json!("30.00"), &json!("0.00"))
    );
    let refused = get(format!("{balance}&as_of=yesterday")).await;
    let said = refused.expect_problem(422, "invalid-field").to_string();
    assert!(said.contains("yesterday") && said.contains("RFC 3339"), "{said}");

    let accounts = get(format!("/v1/ledger/accounts?{of}")).await.expect(200);
    let shown: Vec<_> = accounts["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| {
            let kind = a["path"].as_str().unwrap().split(':').next().unwrap().to_owned();
            (
                kind,
                a["normal_side"].as_str().unwrap().to_owned(),
                a["balance"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    let row = |kind: &str, side: &str, balance: &str| {
        (kind.to_owned(), side.to_owned(), balance.to_owned())
    };
    assert_eq!(
        shown,
        [
            row("expense", "debit", "30.00"),
            row("liability", "credit", "30.00"),
            row("liability", "credit", "0.00")
        ]
    );
    let of_partner =
        get(format!("/v1/ledger/accounts?{of}&partner_id={}&as_of={as_of}", scene.partner_id))
            .await
            .expect(200);
    let balances: Vec<_> =
        of_partner["data"].as_array().unwrap().iter().map(|a| &a["balance"]).collect();
    assert_eq!(balances, [&json!("0.00"), &json!("30.00")], "payable, pending");

    // Every transaction once, in the order of the chain, each hashed onto the one before it.
    let list = format!("/v1/ledger/transactions?{of}&limit=4");
    let first = get(list.clone()).await.expect(200);
    let next =
        get(format!("{list}&cursor={}", first["next_cursor"].as_str().unwrap())).await.expect(200);
    let all: Vec<&Value> =
        [&first, &next].iter().flat_map(|p| p["data"].as_array().unwrap()).collect();
    assert_eq!((all.len(), &next["has_more"]), (6, &json!(false)));
    assert!(all.windows(2).all(|pair| pair[0]["hash"] == pair[1]["previous_hash"]));
    assert_eq!(all[0]["entries"][0]["debit"], "10.00");
    assert_eq!(all[0]["entries"][1]["credit"], "10.00");

    let filtered =
        get(format!("/v1/ledger/transactions?{of}&code=approve&partner_id={}", scene.partner_id))
            .await;
    assert_eq!(filtered.expect(200)["data"].as_array().unwrap().len(), 3);
    let reference = all[5]["reference"].as_str().unwrap();
    let named =
        get(format!("/v1/ledger/transactions?{of}&reference={reference}")).await.expect(200);
    assert_eq!(named["data"][0]["id"], all[5]["id"]);
    let one = get(format!("/v1/ledger/transactions/{}", all[5]["id"].as_str().unwrap())).await;
    assert_eq!(one.expect(200), *all[5]);
    get(format!("/v1/ledger/transactions?{of}&code=gift"))
        .await
        .expect_problem(422, "invalid-field");
    get("/v1/ledger/transactions/tx_01jd3v5e8n9q4r7t2w6x1y3z5b".to_owned())
        .await
        .expect_problem(404, "not-found");
}

#[actix_web::test]
async fn a_short_report_tells_its_rows_and_digest_and_its_summary_tells_the_same() {
    let app = TestApp::start().await;
    let scene = three_sales(&app).await;
    for report in REGISTRY.iter().filter(|r| !r.name().starts_with("activity")) {
        let name = report.name();
        let query = format!(
            "program_id={}&from=2026-11-01&tz=Europe/Berlin&format=csv&dialect=excel-eu",
            scene.program_id
        );
        let file = app.get(&app.finance_key, &format!("/v1/reports/{name}?{query}")).await;
        assert_eq!(file.status, 200, "{name} {}", file.text());
        let summary =
            app.get(&app.finance_key, &format!("/v1/reports/{name}/summary?{query}")).await;
        let summary = summary.expect(200);
        let n_lines = file.text().lines().count() - 1;
        assert_eq!(file.header("x-tributary-time-zone"), "Europe/Berlin");
        // The audit takes longer, and looks at the sessions of the moment, too.
        if name == "audit" {
            assert_eq!(summary["rows"], n_lines, "{summary}");
            continue;
        }
        assert_eq!(file.header("x-row-count"), n_lines.to_string(), "{name}");
        assert_eq!(
            (&summary["rows"], &summary["bytes"]),
            (&json!(n_lines), &json!(file.body.len()))
        );
        let digest = <sha2::Sha256 as sha2::Digest>::digest(&file.body);
        let hex: String = digest.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(summary["sha256"], hex.as_str(), "{name}");
        assert_eq!(summary["time_zone"], "Europe/Berlin");
    }
}

#[actix_web::test]
async fn an_order_that_nobody_earned_is_told_with_its_reason() {
    let app = TestApp::start().await;
    let scene = three_sales(&app).await;
    for (order_id, click_id) in [("B-1", None), ("B-2", Some("forged".to_owned()))] {
        app.sale(&scene, &Sale { order_id, amount: "70.00", click_id }).await;
    }
    let lead = json!({"event": "lead", "order_id": "B-3"});
    let answer = app.webhook(&scene, "lead", "conversion.created", lead).await.expect(202);
    app.receipt(answer["receipt"].as_str().unwrap()).await;
    let path = |name: &str, more: &str| {
        format!("/v1/reports/{name}?program_id={}&from=2026-11-01{more}", scene.program_id)
    };
    let told = app.get(&app.finance_key, &path("unattributed", "")).await.expect(200);
    let rows: Vec<_> = told["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| format!("{} {} {}", r["order_id"], r["reason"], r["amount"]))
        .collect();
    let expected = [
        r#""B-1" "no_click" "70.00""#,
        r#""B-2" "bad_click_id" "70.00""#,
        r#""B-3" "no_click" null"#,
    ];
    assert_eq!(rows, expected, "{told}");
    let summary = &told["summary"];
    assert_eq!((&summary["conversions"], &summary["lost_value"]), (&json!(3), &json!("140.00")));
    // What has no amount is in the report of every currency, what has one in its own.
    let dollars = app.get(&app.finance_key, &path("unattributed", "&currency=USD")).await;
    assert_eq!(dollars.expect(200)["summary"]["conversions"], 1);
    let books = app.get(&app.finance_key, &path("reconciliation", "")).await.expect(200);
    assert_eq!(books["summary"]["unattributed_conversions"], 3);
}

/// More than a page, more than what is held back: the answer comes in pieces.
#[actix_web::test]
async fn a_long_report_comes_in_pieces_every_row_once_in_every_form() {
    let mut app = TestApp::start().await;
    let scene = three_sales(&app).await;
    multiply(&app).await;
    // Rows that nobody has earned: there is no message and no money behind them.
    app.expect_broken(&["commission_ledger", "partner_balances", "conversion_receipts"]);
    let path = format!("/v1/reports/commissions?program_id={}&from=2026-11-01", scene.program_id);
    let get =
        async |format: &str| app.get(&app.finance_key, &format!("{path}&format={format}")).await;

    let csv = get("csv").await;
    assert_eq!((csv.status, csv.header("x-row-count")), (200, ""), "it was sent as it came");
    let mut reader = csv::Reader::from_reader(&csv.body[..]);
    let ids: Vec<String> = reader.records().map(|r| r.unwrap()[0].to_owned()).collect();
    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!((ids.len(), distinct.len()), (3_003, 3_003));

    let ndjson = get("ndjson").await;
    let of_line =
        |line: &str| serde_json::from_str::<Value>(line).unwrap()["commission_id"].clone();
    let lines: Vec<Value> = ndjson.text().lines().map(of_line).collect();
    assert_eq!(lines, ids);
    let json = get("json").await.expect(200);
    assert_eq!(json["rows"].as_array().unwrap().len(), 3_003);
    assert_eq!(json["summary"], json!({"commissions": 3_003, "amount": "30030.00"}));
    let xlsx = get("xlsx").await;
    let mut book = zip::ZipArchive::new(std::io::Cursor::new(&xlsx.body)).unwrap();
    let mut sheet = String::new();
    std::io::Read::read_to_string(
        &mut book.by_name("xl/worksheets/sheet1.xml").unwrap(),
        &mut sheet,
    )
    .unwrap();
    assert_eq!(sheet.matches("<row ").count(), 3_004);

    let summary = path.replace("/commissions?", "/commissions/summary?");
    let summary = app.get(&app.finance_key, &summary).await.expect(200);
    assert_eq!(
        (&summary["rows"], &summary["summary"]["amount"]),
        (&json!(3_003), &json!("30030.00"))
    );
}

/// Copies each commission a thousand times past the ledger, each with an id, a conversion and a time
/// of its own.
async fn multiply(app: &TestApp) {
    let mut owner = app.owner().await;
    for sql in [
        "create temporary table copies as
             select c.commission_id as old, gen_random_uuid() as commission_id,
                    gen_random_uuid() as conversion_id, n
             from commissions c, generate_series(1, 1000) n",
        "insert into conversions
             (program_id, conversion_id, order_namespace, event, dedup_ref, source_id, channel,
              trust, order_id, partner_id, link_number, click_at, attribution, amount_minor,
              base_minor, currency, occurred_at, received_at, settled_at, receipt_id, content_hash,
              details)
         select v.program_id, k.conversion_id, v.order_namespace, v.event,
                v.dedup_ref || '-' || k.n, v.source_id, v.channel, v.trust, v.order_id,
                v.partner_id, v.link_number, v.click_at, v.attribution, v.amount_minor,
                v.base_minor, v.currency, v.occurred_at, v.received_at, v.settled_at, v.receipt_id,
                v.content_hash, v.details
         from copies k
         join commissions c on c.commission_id = k.old
         join conversions v on v.conversion_id = c.conversion_id",
        "insert into commissions
             (program_id, commission_id, kind, state, partner_id, conversion_id, amount_minor,
              currency, plan_version_id, calculation, occurred_at, hold_until, approval, created_at,
              opened_state, opened_by, opened_rule)
         select c.program_id, k.commission_id, c.kind, c.state, c.partner_id, k.conversion_id,
                c.amount_minor, c.currency, c.plan_version_id, c.calculation, c.occurred_at,
                c.hold_until, c.approval, c.created_at + k.n / 7 * interval '1 second', c.state,
                c.opened_by, c.opened_rule
         from copies k
         join commissions c on c.commission_id = k.old",
    ] {
        sqlx::query(sql).execute(&mut owner).await.unwrap();
    }
}
