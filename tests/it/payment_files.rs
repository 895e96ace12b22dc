//! Payment files before judges that are not ours: the official schema, a decoder, the API of parts.

use std::process::Command;

use serde_json::json;
use tributary::account::key::ApiKey;
use tributary::db::DbTx;
use tributary::ids::{AdjustmentId, PartnerId, PayoutBatchId, PayoutId, ProgramId, UserId};
use tributary::ledger;
use tributary::money::{Bps, Money};
use tributary::partner::{Enrollment, Partner, store as partners};
use tributary::payout::adjustment::store::{AdjustmentRow, insert_adjustment};
use tributary::payout::adjustment::{Adjustment, AdjustmentKind};
use tributary::payout::file::{FileFormat, FileHead, FileItem, write};
use tributary::payout::method::http::sealed_method;
use tributary::payout::method::{MethodDocument, PayoutMethod, store as methods};
use tributary::payout::tax::{LegalType, TaxProfile, VatTreatment};

use crate::harness::{Answer, Sale, Scene, TestApp};

const NAMES: [&str; 12] = [
    "Müller & Söhne <GmbH>",
    "Иван Щербаков",
    "\"Quoted\" 'Name' ]]>",
    "//Slash//",
    "日本 株式会社",
    "Ελληνική ΑΕ",
    "a&amp;b",
    "\u{202e}right to left",
    "x",
    "O'Brien-Ångström + Co. (Ltd.), Nr. 1",
    "🦀🦀🦀",
    "................................................................................",
];

fn method(holder: &str) -> PayoutMethod {
    let document = MethodDocument {
        kind: "sepa".to_owned(),
        holder: holder.chars().take(70).collect(),
        iban: Some("NL91ABNA0417164300".to_owned()),
        town: Some(holder.chars().take(35).collect()),
        country: Some("NL".to_owned()),
        ..MethodDocument::default()
    };
    PayoutMethod::read(&document).unwrap()
}

/// Transfers with names that a file may not hold as they are.
fn hostile() -> Vec<u8> {
    let currency = "EUR".parse().unwrap();
    let items: Vec<FileItem> = NAMES
        .iter()
        .zip(1..)
        .map(|(name, minor)| FileItem {
            payout_id: PayoutId::new(),
            partner: (*name).to_owned(),
            tax_id: None,
            method: Some(method(name)),
            amount: Money::new(minor * 99_999, currency),
            net: Money::new(minor, currency),
            vat: Money::zero(currency),
            withheld: Money::zero(currency),
            document_no: None,
        })
        .collect();
    let head = FileHead {
        batch_id: PayoutBatchId::new(),
        part: 12,
        period: "2026-10".to_owned(),
        program: NAMES.concat(),
        payer: Some(method("Payer")),
        execution_on: "2026-11-16".parse().unwrap(),
        made_at: "2026-11-10T09:30:00".parse().unwrap(),
        currency,
    };
    write(FileFormat::Pain001, &head, &items).unwrap()
}

#[test]
fn transfers_are_valid_by_the_official_schema() {
    let dir = tempfile::tempdir().unwrap();
    let made = dir.path().join("hostile.xml");
    std::fs::write(&made, hostile()).unwrap();
    // What the judge must refuse, else it judges nothing.
    let broken = dir.path().join("broken.xml");
    let text = String::from_utf8(hostile()).unwrap();
    std::fs::write(&broken, text.replace("<ChrgBr>SLEV</ChrgBr>", "<ChrgBr>NONE</ChrgBr>"))
        .unwrap();
    let root = env!("CARGO_MANIFEST_DIR");
    let judge = |files: &[&std::path::Path]| {
        let mut run = Command::new("bash");
        run.arg("tests/oracles/pain001.sh").args(files).current_dir(root);
        let out = run.output().unwrap();
        let said = [out.stdout, out.stderr].concat();
        (out.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    let golden = std::path::Path::new("tests/golden/pain001.xml");
    let (code, said) = judge(&[golden, &made]);
    if code == Some(3) {
        eprintln!("skipped: {said}");
        return;
    }
    assert_eq!((code, said.matches(": valid").count()), (Some(0), 2), "{said}");
    let (code, said) = judge(&[&broken]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("ChrgBr"), "{said}");
}

/// Adds a partner that Wise pays.
async fn add_payable(
    app: &TestApp,
    db: &mut DbTx,
    program_id: ProgramId,
    number: i64,
) -> PartnerId {
    let (at, by, partner_id) = (app.clock.now(), UserId::new(), PartnerId::new());
    let partner = Partner {
        partner_id,
        number: 0,
        name: format!("Partner {number}"),
        slug: format!("many-{number}"),
        kind: "webmaster".to_owned(),
        status: "active".to_owned(),
        country: None,
        email: None,
        created_at: at,
    };
    partners::insert_partner(db, &partner, at).await.unwrap();
    let enrollment = Enrollment {
        program_id,
        partner_id,
        status: "active".to_owned(),
        rank: "C".to_owned(),
        owner: None,
        next_contact_due: None,
        min_payout_minor: None,
        created_at: at,
    };
    partners::insert_enrollment(db, &enrollment).await.unwrap();
    let document = MethodDocument {
        kind: "wise".to_owned(),
        holder: partner.name,
        recipient_id: Some(number.to_string()),
        ..MethodDocument::default()
    };
    let method = PayoutMethod::read(&document).unwrap();
    let sealed = sealed_method(app.app(), partner_id, &document, &method);
    methods::put_method(db, partner_id, &sealed, by, at).await.unwrap();
    let profile = TaxProfile {
        legal_type: LegalType::Person,
        tax_country: "DE".to_owned(),
        tax_id: None,
        vat_id: None,
        vat_treatment: VatTreatment::Unregistered,
        vat_rate: Bps(0),
        withholding: Bps(0),
        self_billing_agreed_at: None,
    };
    methods::put_tax_profile(db, partner_id, &profile, by, at).await.unwrap();
    partner_id
}

/// Adds partners, each with a bonus: more than one file of Wise holds.
async fn add_many(app: &TestApp, scene: &Scene, n: i64) {
    let (at, by) = (app.clock.now(), UserId::new());
    let program_id = scene.program_id.parse().unwrap();
    let currency = "EUR".parse().unwrap();
    let mut db = app.app().background_db.begin().await.unwrap();
    let (mut postings, mut adjustments) = (Vec::new(), Vec::new());
    for number in 1..=n {
        let partner_id = add_payable(app, &mut db, program_id, number).await;
        let adjustment = Adjustment {
            program_id,
            adjustment_id: AdjustmentId::new(),
            partner_id,
            kind: AdjustmentKind::Bonus,
            amount: Money::new(1_000 + number, currency),
        };
        postings.push(adjustment.decide(Money::zero(currency), at).unwrap());
        adjustments.push(adjustment);
    }
    let posted = ledger::store::post(&mut db, at, postings).await.unwrap();
    for (a, transaction) in adjustments.iter().zip(posted) {
        let row = AdjustmentRow {
            program_id,
            adjustment_id: a.adjustment_id,
            partner_id: a.partner_id,
            kind: a.kind.code().to_owned(),
            amount_minor: a.amount.minor,
            currency: "EUR".to_owned(),
            reason: "other".to_owned(),
            note: None,
            ledger_transaction_id: transaction.id,
            payout_id: None,
            created_by: by,
            created_at: at,
        };
        insert_adjustment(&mut db, &row).await.unwrap();
    }
    db.commit().await.unwrap();
}

#[actix_web::test]
async fn what_is_too_large_for_one_file_is_in_numbered_parts_that_add_up() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    add_many(&app, &scene, 1_001).await;
    let body = json!({"program_id": scene.program_id, "period": "2026-11-22", "currency": "EUR"});
    let made = app.post(&app.finance_key, "/v1/payout-batches", body).await.expect(201);
    assert_eq!(made["items"], 1_001);
    let batch = format!("/v1/payout-batches/{}", made["batch"]["id"].as_str().unwrap());
    app.post(&app.approver_key, &format!("{batch}/approve"), json!({})).await.expect(200);

    let part = async |n: u32| {
        app.get(&app.finance_key, &format!("{batch}/file?format=wise&part={n}")).await
    };
    let (first, second) = (part(1).await, part(2).await);
    assert_eq!(first.header("x-tributary-parts"), "2");
    let rows = |answer: &Answer| answer.text().lines().count() - 1;
    assert_eq!((rows(&first), rows(&second)), (1_000, 1));
    let head = |answer: &Answer| answer.text().lines().next().unwrap().to_owned();
    assert_eq!(head(&first), head(&second), "each part has its header");
    assert_eq!(part(2).await.body, second.body);
    part(3).await.expect_problem(422, "invalid-field");

    // The parts add up to the batch, and no payout is in two.
    let amounts = [&first, &second].into_iter().flat_map(|answer| {
        let text = answer.text();
        let cents = |line: &str| line.rsplit(',').nth(2).unwrap().replace('.', "").parse().unwrap();
        text.lines().skip(1).map(cents).collect::<Vec<i64>>()
    });
    let sum: i64 = amounts.sum();
    assert_eq!(sum, 1_001 * 1_000 + 1_001 * 1_002 / 2);
    assert_eq!(made["total"].as_str().unwrap().replace('.', ""), sum.to_string());
    let ids: std::collections::BTreeSet<String> = [&first, &second]
        .iter()
        .flat_map(|a| {
            a.text()
                .lines()
                .skip(1)
                .map(|l| l.rsplit(',').next().unwrap().to_owned())
                .collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(ids.len(), 1_001);
    let logged = app
        .figures(
            "select details->>'sha256' from audit_log where action = 'payout_batch.export'
             order by (details->>'part')::int",
        )
        .await;
    assert_eq!(logged, [&first, &second].map(|a| a.header("x-content-sha256")));
    let off = app
        .count(
            "select count(*) from payout_files f
             where (n_payouts, total_minor) <> (
                 select count(*), sum(p.amount_minor + p.vat_minor - p.withheld_minor)
                 from payouts p
                 where p.program_id = f.program_id and p.payout_batch_id = f.payout_batch_id
                   and p.file_format = f.format and p.file_part = f.part)",
        )
        .await;
    assert_eq!(off, 0, "a file carries what its payouts say");
}

/// Runs the program as somebody with a key does.
async fn tributary(app: &TestApp, key: &ApiKey, arguments: &[&str]) -> (bool, String) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_tributary"));
    command.args(["payout"]).args(arguments).env_clear();
    command.env("TRIBUTARY_URL", app.base.as_str()).env("TRIBUTARY_API_KEY", key.expose());
    let out = command.output().await.unwrap();
    let said = if out.status.success() { out.stdout } else { out.stderr };
    (out.status.success(), String::from_utf8(said).unwrap())
}

#[actix_web::test]
async fn a_run_is_made_from_the_command_line() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let click_id = Some(app.click_id(&scene.link).await);
    app.sale(&scene, &Sale { order_id: "A-1", amount: "149.90", click_id }).await;
    app.advance(chrono::TimeDelta::days(30)).await;
    let (finance, approver) = (&app.finance_key, &app.approver_key);
    let good = async |key: &ApiKey, arguments: &[&str]| {
        let (is_good, said) = tributary(&app, key, arguments).await;
        assert!(is_good, "{arguments:?}: {said}");
        said
    };
    assert!(good(finance, &["list"]).await.contains("no payout batch yet"));
    let told = good(finance, &["dry-run", "--period", "2026-12"]).await;
    assert!(told.contains("total       29.98 EUR (net 29.98, VAT 0.00, withheld 0.00)"), "{told}");
    let told = good(finance, &["create", "--period", "2026-12"]).await;
    let batch = told.lines().find_map(|l| l.strip_prefix("batch")).unwrap().trim().to_owned();
    let batch = batch.as_str();
    assert!(good(approver, &["approve", batch]).await.contains("approved"));
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().to_str().unwrap();
    let told = good(finance, &["export", batch, "--format", "xlsx", "--out", out]).await;
    let file = dir.path().join("tributary_payout_2026-12_EUR_xlsx.xlsx");
    assert!(told.contains(file.to_str().unwrap()) && told.contains("sha256"), "{told}");
    assert!(std::fs::read(&file).unwrap().starts_with(b"PK"));
    let shown = good(finance, &["show", batch, "--json"]).await;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let payout = shown["payouts"][0]["id"].as_str().unwrap();
    let answer = dir.path().join("answer.csv");
    std::fs::write(&answer, format!("payout_id;status;reference\n{payout};paid;R-1\n")).unwrap();
    let answer = answer.to_str().unwrap();
    let told = good(finance, &["import-results", batch, answer]).await;
    assert!(told.contains("1 paid; the batch is completed"), "{told}");
    let told = good(finance, &["mark-returned", payout, "--reason", "closed"]).await;
    assert!(told.contains("returned"), "{told}");
    assert!(good(finance, &["list", "--program", &scene.program_id]).await.contains(batch));

    let other = dir.path().join("no.xml");
    std::fs::write(&other, "<Document><CstmrPmtStsRpt>").unwrap();
    let other = other.to_str().unwrap();
    for (key, arguments, reason) in [
        (finance, &["approve", batch][..], "payouts:approve"),
        (
            finance,
            &["cancel", batch],
            "cancel is not possible while the batch is partially_completed",
        ),
        (finance, &["show", "pb_x"], "pb_01jd3v5e8n9q4r7t2w6x1y3z5b"),
        (finance, &["dry-run", "--period", "2026-13"], "period a period is a month like 2026-10"),
        (finance, &["export", batch, "--format", "mt101"], "must be one of pain.001, paypal"),
        (finance, &["import-results", batch, "/nowhere.csv"], "cannot be read"),
        (finance, &["import-results", batch, other, "--format", "pain.002"], "nothing was done"),
        (finance, &["mark-paid", payout, "--reference", "R-2"], "while the payout is returned"),
    ] {
        let (is_good, said) = tributary(&app, key, arguments).await;
        assert!(!is_good && said.contains(reason), "{arguments:?}: {said}");
    }
}
