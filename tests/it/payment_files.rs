//! Payment files before judges that are not ours: the official schema, a decoder, the API of parts.

use std::process::Command;

use serde_json::json;
use tributary::account::key::ApiKey;
use tributary::ids::{AdjustmentId, PartnerId, PayoutBatchId, PayoutId, ProgramId, UserId};
use tributary::ledger;
use tributary::money::Money;
use tributary::payout::adjustment::{Adjustment, AdjustmentKind};
use tributary::payout::file::{FileFormat, FileHead, FileItem, write};
use tributary::payout::method::http::sealed_method;
use tributary::payout::method::{MethodDocument, PayoutMethod, store as methods};

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

/// Adds partners who are all paid one way, each with a bonus: more than one file holds.
async fn add_many(app: &TestApp, scene: &Scene, kind: &str, n: usize) {
    let (at, by) = (app.clock.now(), UserId::new());
    let program_id: ProgramId = scene.program_id.parse().unwrap();
    let mut db = app.app().background_db.begin().await.unwrap();
    let ids: Vec<PartnerId> = (0..n).map(|_| PartnerId::new()).collect();
    let raw: Vec<uuid::Uuid> = ids.iter().map(|id| id.0).collect();
    for sql in [
        "insert into partners (partner_id, name, slug, kind, created_at, updated_at)
         select p.id, 'Partner ' || p.n, 'many-' || p.n, 'webmaster', $3, $3
         from unnest($2::uuid[]) with ordinality p (id, n)
         where $1::uuid is not null",
        "insert into enrollments (program_id, partner_id, status, created_at, updated_at)
         select $1, p.id, 'active', $3, $3 from unnest($2::uuid[]) p (id)",
        "insert into tax_profiles
             (partner_id, legal_type, tax_country, vat_treatment, vat_rate_bps, withholding_bps,
              updated_by, updated_at)
         select p.id, 'person', 'DE', 'none', 0, 0, $1, $3 from unnest($2::uuid[]) p (id)",
    ] {
        let query = sqlx::query(sql).bind(program_id.0).bind(&raw).bind(at);
        query.execute(&mut *db).await.unwrap();
    }
    let (mut postings, mut adjustments) = (Vec::new(), Vec::new());
    for (number, partner_id) in (1..).zip(ids) {
        let document = MethodDocument {
            kind: kind.to_owned(),
            holder: format!("Partner {number}"),
            recipient_id: (kind == "wise").then(|| number.to_string()),
            email: (kind == "paypal").then(|| format!("p{number}@blog.example")),
            ..MethodDocument::default()
        };
        let method = PayoutMethod::read(&document).unwrap();
        let sealed = sealed_method(app.app(), partner_id, &document, &method);
        methods::put_method(&mut db, partner_id, &sealed, by, at).await.unwrap();
        let adjustment = Adjustment {
            program_id,
            adjustment_id: AdjustmentId::new(),
            partner_id,
            kind: AdjustmentKind::Bonus,
            amount: Money::new(1_000 + number, "EUR".parse().unwrap()),
        };
        postings.push(adjustment.decide(Money::zero("EUR".parse().unwrap()), at).unwrap());
        adjustments.push(adjustment);
    }
    let posted = ledger::store::post(&mut db, at, postings).await.unwrap();
    let of = |id: fn(&Adjustment) -> uuid::Uuid| adjustments.iter().map(id).collect::<Vec<_>>();
    sqlx::query(
        "insert into adjustments
             (program_id, adjustment_id, partner_id, kind, amount_minor, currency, reason,
              ledger_transaction_id, created_by, created_at)
         select $1, a.id, a.partner_id, 'bonus', a.minor, 'EUR', 'other', a.posted, $6, $7
         from unnest($2::uuid[], $3::uuid[], $4::bigint[], $5::uuid[])
             a (id, partner_id, minor, posted)",
    )
    .bind(program_id.0)
    .bind(of(|a| a.adjustment_id.0))
    .bind(of(|a| a.partner_id.0))
    .bind(adjustments.iter().map(|a| a.amount.minor).collect::<Vec<_>>())
    .bind(posted.iter().map(|t| t.id.0).collect::<Vec<_>>())
    .bind(by.0)
    .bind(at)
    .execute(&mut *db)
    .await
    .unwrap();
    db.commit().await.unwrap();
}

/// A format with a limit: how many payments a part holds, and where its lines say the amount.
struct Limited {
    format: &'static str,
    max: usize,
    n_head_lines: usize,
    amount_column: usize,
}

async fn check_parts(limited: &Limited) {
    let mut app = TestApp::start().await;
    // Thousands of adjustments are written past the service, which would have logged each.
    app.expect_broken(&["audit_log"]);
    let scene = app.scene().await;
    let n = limited.max + 1;
    add_many(&app, &scene, limited.format, n).await;
    let body = json!({"program_id": scene.program_id, "period": "2026-11-22", "currency": "EUR"});
    let made = app.post(&app.finance_key, "/v1/payout-batches", body).await.expect(201);
    assert_eq!(made["items"], n);
    let batch = format!("/v1/payout-batches/{}", made["batch"]["id"].as_str().unwrap());
    app.post(&app.approver_key, &format!("{batch}/approve"), json!({})).await.expect(200);

    let part = async |n: u32| {
        let path = format!("{batch}/file?format={}&part={n}", limited.format);
        app.get(&app.finance_key, &path).await
    };
    let (first, second) = (part(1).await, part(2).await);
    assert_eq!(first.header("x-tributary-parts"), "2");
    let lines = |answer: &Answer| -> Vec<String> {
        answer.text().lines().skip(limited.n_head_lines).map(str::to_owned).collect()
    };
    assert_eq!((lines(&first).len(), lines(&second).len()), (limited.max, 1));
    if limited.n_head_lines > 0 {
        let head = |answer: &Answer| answer.text().lines().next().unwrap().to_owned();
        assert_eq!(head(&first), head(&second), "each part has its header");
    }
    assert_eq!(part(2).await.body, second.body);
    part(3).await.expect_problem(422, "invalid-field");

    // The parts add up to the batch, and no payout is in two.
    let all = [lines(&first), lines(&second)].concat();
    let cents = |line: &String| -> i64 {
        line.split(',').nth(limited.amount_column).unwrap().replace('.', "").parse().unwrap()
    };
    let sum: i64 = all.iter().map(cents).sum();
    let n = i64::try_from(n).unwrap();
    assert_eq!(sum, n * 1_000 + n * (n + 1) / 2);
    assert_eq!(made["total"].as_str().unwrap().replace('.', ""), sum.to_string());
    let id = |line: &String| -> PayoutId {
        line.split(',').find_map(|field| field.parse().ok()).unwrap()
    };
    let ids: std::collections::BTreeSet<PayoutId> = all.iter().map(id).collect();
    assert_eq!(ids.len(), all.len());
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

#[actix_web::test]
async fn what_is_too_large_for_one_file_of_wise_is_in_numbered_parts_that_add_up() {
    check_parts(&Limited { format: "wise", max: 1_000, n_head_lines: 1, amount_column: 7 }).await;
}

#[actix_web::test]
async fn what_is_too_large_for_one_file_of_paypal_is_in_numbered_parts_that_add_up() {
    check_parts(&Limited { format: "paypal", max: 5_000, n_head_lines: 0, amount_column: 1 }).await;
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
