//! What-if: a plan is played over what really happened, and a partner asks what it would earn.

use chrono::TimeDelta;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use tributary::account::key::ApiKey;
use tributary::commission::clicks::accrual;
use tributary::commission::timer;

use crate::harness::{BROWSER, Scene, TestApp};

const OWED: &str = "select coalesce(-sum(b.balance_minor), 0)::text
    from ledger_balances b join ledger_accounts a on a.account_id = b.account_id
    where a.path like 'liability%'";

/// Asks for a replay and returns its lines; progress is looked at and left out.
async fn replay(app: &TestApp, key: &ApiKey, body: Value) -> Vec<Value> {
    let answer = app.post(key, "/v1/plans/simulate", body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    let lines: Vec<Value> =
        answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["type"], "progress", "{lines:?}");
    assert_eq!(lines.last().unwrap()["type"], "result", "{lines:?}");
    lines.into_iter().filter(|line| line["type"] != "progress").collect()
}

/// Adds a partner with a link of its own.
async fn partner(app: &TestApp, scene: &Scene, name: &str) -> (String, String) {
    let admin = &app.admin_key;
    let body = json!({"name": name, "kind": "webmaster", "country": "DE",
        "program_id": scene.program_id});
    let partner = app.post(admin, "/v1/partners", body).await.expect(201);
    let id = partner["id"].as_str().unwrap().to_owned();
    let body = json!({"program_id": scene.program_id, "partner_id": id, "label": "top"});
    let link = app.post(admin, "/v1/links", body).await.expect(201);
    app.app().keeper.refresh().await.unwrap();
    (id, link["url"].as_str().unwrap().to_owned())
}

async fn revalue(app: &TestApp) {
    while timer::revalue_marked(&app.app().background_db, app.clock.now()).await.unwrap() > 0 {}
}

/// A plan with everything in it that makes figures depend on others.
fn rich_plan() -> Value {
    json!({"v": 1, "hold_days": 3, "rules": [
        {"event": "sale", "kind": "percent", "percent_bps": 1000, "currency": "EUR",
         "tiers": {"period": "month", "mode": "retroactive",
            "steps": [{"from_count": 4, "percent_bps": 1500}, {"from_count": 9, "percent_bps": 2000}]},
         "caps": [{"period": "week", "amount": "150.00"}]},
        {"event": "sale", "kind": "percent", "percent_bps": 800},
        {"event": "sale", "kind": "percent", "percent_bps": 2500, "customer": "new"},
        {"event": "lead", "kind": "flat", "flat": "2.50", "currency": "EUR"},
        {"event": "click", "kind": "clicks", "flat": "0.35", "currency": "EUR"}],
        "caps": [{"period": "day", "per": "program", "amount": "60.00", "currency": "EUR"}],
        "pay_in": {"currency": "EUR"}, "recruiter": {"percent_bps": 700, "mode": "out_of"}})
}

/// Sends a history of two partners in any order: sales, shared ones, leads, refunds, updates,
/// approvals, rejections, and sales that nobody's click led to.
async fn live(app: &TestApp, scene: &Scene, clicks: &[String], seed: u64) {
    let mut dice = StdRng::seed_from_u64(seed);
    let now = app.clock.now();
    for n in 0..40 {
        let id = format!("A-{n}");
        let minutes = dice.random_range(0..20 * 24 * 60);
        let at = (now - TimeDelta::minutes(minutes)).to_rfc3339();
        let cents = dice.random_range(100..40_000);
        let mut data = json!({"event": "sale", "order_id": id, "occurred_at": at,
            "amount": format!("{}.{:02}", cents / 100, cents % 100),
            "currency": if dice.random_bool(0.2) { "USD" } else { "EUR" },
            "click_id": clicks[dice.random_range(0..clicks.len())]});
        match dice.random_range(0..8) {
            0 | 1 => data["click_ids"] = json!(clicks),
            2 => data["click_id"] = Value::Null,
            _ => {}
        }
        if dice.random_bool(0.3) {
            data["customer_ref"] = json!(format!("C-{}", dice.random_range(0..6)));
        }
        if dice.random_bool(0.1) {
            data = json!({"event": "lead", "order_id": id, "occurred_at": at,
                "click_id": clicks[0]});
        }
        app.webhook(scene, &format!("m-{id}"), "conversion.created", data.clone())
            .await
            .expect(202);
        let mut then = data.clone();
        let kind = match dice.random_range(0..10) {
            0 => "conversion.approved",
            1 => {
                then["reason"] = json!("order_canceled");
                "conversion.rejected"
            }
            2 | 3 => {
                then["refund_id"] = json!("R-1");
                if then["event"] == "sale" {
                    then["refund_amount"] = json!(format!("{}.00", dice.random_range(1..100)));
                }
                "conversion.refunded"
            }
            4 if then["event"] == "sale" => {
                then["amount"] = json!(format!("{}.50", dice.random_range(1..300)));
                "conversion.updated"
            }
            _ => continue,
        };
        app.webhook(scene, &format!("then-{id}"), kind, then).await.expect(202);
    }
    app.settle(scene).await;
    revalue(app).await;
}

/// What people do: they hold, release, reject, and accept what is claimed of the sales of nobody.
async fn decide(app: &TestApp, scene: &Scene, seed: u64) {
    let mut dice = StdRng::seed_from_u64(seed);
    let manager = &app.manager_key;
    let list = format!("/v1/commissions?program_id={}&limit=200&status=pending", scene.program_id);
    let pending = app.get(manager, &list).await.expect(200);
    for row in pending["data"].as_array().unwrap() {
        let path = format!("/v1/commissions/{}", row["id"].as_str().unwrap());
        let verbs: &[&str] = match dice.random_range(0..10) {
            0 => &["hold"],
            1 => &["hold", "release"],
            2 => &["reject"],
            _ => continue,
        };
        for verb in verbs {
            let because = json!({"reason": "fraud"});
            // What befalls a commission befalls what its recruiter has of it, perhaps before its turn.
            app.post(manager, &format!("{path}/{verb}"), because).await;
        }
    }
    let list =
        format!("/v1/conversions?program_id={}&attribution=no_click&limit=200", scene.program_id);
    let nobodys = app.get(manager, &list).await.expect(200);
    for row in nobodys["data"].as_array().unwrap() {
        let claim = json!({"program_id": scene.program_id, "partner_id": scene.partner_id,
            "event": row["event"], "order_id": row["order_id"]});
        let made = app.post(manager, "/v1/claims", claim).await.expect(201);
        let accept = format!("/v1/claims/{}/accept", made["id"].as_str().unwrap());
        // What went back wholly, and what the shop rejected, earns nothing for anybody.
        app.post(manager, &accept, json!({"note": "their reader"})).await;
    }
    revalue(app).await;
}

/// Makes a program with all of that, in Berlin, and two partners of whom one brought the other;
/// returns the clicks of both.
async fn rich_scene(app: &TestApp) -> (Scene, [String; 2]) {
    let scene = app.scene_with(rich_plan()).await;
    let mut owner = app.owner().await;
    let rate = json!({"from": "USD", "to": "EUR", "rate": "0.9213", "source": "ecb"});
    let rates = format!("/v1/programs/{}/fx-rates", scene.program_id);
    app.post(&app.admin_key, &rates, rate).await.expect(201);
    let (_, link) = partner(app, &scene, "Second").await;
    for sql in [
        // The first edition begins before the history does.
        "update plan_versions set effective_from = effective_from - interval '60 days'",
        "update programs set time_zone = 'Europe/Berlin'",
        "update enrollments e
         set parent_partner_id = (select partner_id from partners where name = 'Second')
         from partners p
         where p.partner_id = e.partner_id and p.name = 'Blog 42'",
    ] {
        sqlx::query(sql).execute(&mut owner).await.unwrap();
    }
    let path = format!("/v1/programs/{}/attribution-policies", scene.program_id);
    let policy = json!({"document": {"v": 1, "model": "linear"}});
    app.post(&app.manager_key, &path, policy).await.expect(201);
    app.clock.advance(TimeDelta::minutes(1));
    let clicks = [app.click_id(&scene.link).await, app.click_id(&link).await];
    // Three days of clicks before the first sale.
    for day in 0..3 {
        for n in 0..=day * 2 {
            let agent = format!("{BROWSER} v{n}");
            app.click_as(if n % 2 == 0 { &scene.link } else { &link }, &agent).await;
        }
        app.clock.advance(TimeDelta::days(1));
    }
    app.clock.advance(TimeDelta::days(21));
    app.settle(&scene).await;
    accrual::accrue_due(&app.app().background_db, app.clock.now()).await.unwrap();
    (scene, clicks)
}

fn assert_no_difference<'a>(lines: impl IntoIterator<Item = &'a Value>, seed: u64) {
    for line in lines.into_iter().filter(|line| line["currency"].is_string()) {
        assert_eq!(line["difference"], "0.00", "seed {seed}: {line}");
        assert_eq!((&line["changed"], &line["by_hand"]), (&json!(0), &json!("0.00")));
    }
}

#[actix_web::test]
async fn a_replay_of_the_plan_as_it_is_comes_to_the_ledger_of_any_history() {
    for seed in [1, 2, 3] {
        let app = TestApp::start().await;
        let (scene, clicks) = rich_scene(&app).await;
        live(&app, &scene, &clicks, seed).await;
        decide(&app, &scene, seed).await;
        // Some are approved by time, and refunds of those are clawbacks.
        app.clock.advance(TimeDelta::days(1));
        timer::approve_due(&app.app().background_db, app.clock.now()).await.unwrap();
        for n in [3, 7, 11, 19] {
            let data = json!({"event": "sale", "order_id": format!("A-{n}"), "refund_id": "R-2",
                "refund_amount": "9.99", "currency": "EUR"});
            let id = format!("late-{n}");
            app.webhook(&scene, &id, "conversion.refunded", data).await.expect(202);
        }
        app.settle(&scene).await;
        revalue(&app).await;

        let before = app.rows().await;
        let all = json!({"program_id": scene.program_id, "from": "2026-09-01"});
        let lines = replay(&app, &app.manager_key, all.clone()).await;
        assert_eq!(app.rows().await, before, "nothing is written");
        let result = lines.last().unwrap();
        assert_eq!(result["provisional_partners"], 0);
        if result["examples"][0].is_object() {
            eprintln!("EXAMPLES {seed} {:#}", result["examples"]);
            for e in result["examples"].as_array().unwrap() {
                let path =
                    format!("/v1/conversions/{}/explanation", e["conversion_id"].as_str().unwrap());
                eprintln!("{:#}", app.get(&app.admin_key, &path).await.json());
            }
        }
        assert_no_difference(lines.iter().chain(result["totals"].as_array().unwrap()), seed);
        assert!(result["examples"].as_array().unwrap().is_empty(), "{result}");
        assert_eq!(result["clicks"][0]["conversions"], 6, "partners' days: {result}");
        assert_ne!(result["clicks"][0]["now"], "0.00");
        let total = result["totals"][0]["now"].as_str().unwrap().replace('.', "");
        assert_eq!(app.figures(OWED).await, [total], "the ledger says the same");
        assert_eq!(lines.iter().filter(|line| line["name"] == "Second").count(), 1);
        // A part of it alone comes to the ledger, too: weeks and months count from before.
        let part = json!({"program_id": scene.program_id, "from": "2026-11-28T13:00:00Z",
            "to": "2026-12-09"});
        assert_no_difference(&replay(&app, &app.finance_key, part).await, seed);
        // The same terms as a draft come to the same.
        let mut same = all;
        same["plan"] = rich_plan();
        assert_no_difference(&replay(&app, &app.admin_key, same).await, seed);
        // November is closed, and what comes late changes no tier and no cap of it.
        let body = json!({"program_id": scene.program_id});
        app.post(&app.finance_key, "/v1/periods/2026-11/close", body).await.expect(200);
        for n in [2, 5, 13] {
            let at = format!("2026-11-{}T12:00:00Z", 25 + n % 5);
            let data = json!({"event": "sale", "order_id": format!("L-{n}"), "occurred_at": at,
                "amount": "77.77", "currency": "EUR", "click_id": clicks[n % 2]});
            let id = format!("L-{n}");
            app.webhook(&scene, &id, "conversion.created", data).await.expect(202);
            let data = json!({"event": "sale", "order_id": format!("A-{n}"), "refund_id": "R-3",
                "refund_amount": "5.55", "currency": "EUR"});
            let id = format!("later-{n}");
            app.webhook(&scene, &id, "conversion.refunded", data).await.expect(202);
        }
        app.settle(&scene).await;
        revalue(&app).await;
        let all = json!({"program_id": scene.program_id, "from": "2026-09-01"});
        assert_no_difference(&replay(&app, &app.manager_key, all).await, seed);
    }
}

async fn sale(app: &TestApp, scene: &Scene, click_id: &str, id: &str) -> Value {
    let data = json!({"event": "sale", "order_id": id, "amount": "100.00", "currency": "EUR",
        "click_id": click_id});
    let answer = app.webhook(scene, &format!("m-{id}"), "conversion.created", data).await;
    app.receipt(answer.expect(202)["receipt"].as_str().unwrap()).await
}

#[actix_web::test]
async fn a_draft_is_tried_before_it_is_published_and_its_mistakes_are_told() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let (second, link) = partner(&app, &scene, "Second").await;
    let clicks = [app.click_id(&scene.link).await, app.click_id(&link).await];
    for (n, click_id) in [&clicks[0], &clicks[0], &clicks[0], &clicks[1]].into_iter().enumerate() {
        sale(&app, &scene, click_id, &format!("A-{n}")).await;
    }
    app.clock.advance(TimeDelta::minutes(1));
    // 20 % now; a draft of 10 %, from the third sale 25 % for all, and nothing for the second.
    let draft = json!({"v": 1, "rules": [
        {"event": "sale", "kind": "percent", "percent_bps": 1000, "currency": "EUR",
         "partners": [scene.partner_id], "tiers": {"period": "month", "mode": "retroactive",
            "steps": [{"from_count": 3, "percent_bps": 2500}]}}]});
    let body =
        |plan: Value| json!({"program_id": scene.program_id, "from": "2026-11-01", "plan": plan});
    let lines = replay(&app, &app.manager_key, body(draft.clone())).await;
    let told: Vec<(&str, &str, &str)> = lines[..2]
        .iter()
        .map(|l| {
            (l["name"].as_str().unwrap(), l["now"].as_str().unwrap(), l["then"].as_str().unwrap())
        })
        .collect();
    assert_eq!(told, [("Second", "20.00", "0.00"), ("Blog 42", "60.00", "75.00")]);
    assert_eq!(lines[0]["partner_id"], second.as_str());
    let result = &lines[2];
    assert_eq!(result["totals"][0]["difference"], "-5.00");
    assert_eq!((&result["conversions"], &result["partners_to_zero"]), (&json!(4), &json!(1)));
    assert_eq!(result["nothing_because"], json!({"no_rule_for_this_one": 1}));
    assert!(result["sentences"][0].as_str().unwrap().contains("25 % for all of the period"));
    assert_eq!(result["examples"][0]["then"], "0.00");
    let sentence = result["examples"][1]["sentence"].as_str().unwrap();
    assert!(sentence.starts_with("Rule 1: 25 % of 100.00 EUR is 25.00 EUR"), "{sentence}");
    // What was published afterwards prices what comes then as the replay said.
    let plans = format!("/v1/programs/{}/plans", scene.program_id);
    let mut wrong = draft.clone();
    wrong["rules"][0]["percent_bps"] = json!(20_000);
    let refused = app.post(&app.admin_key, &plans, wrong.clone()).await;
    let refused = refused.expect_problem(422, "invalid-field");
    let tried = app.post(&app.manager_key, "/v1/plans/simulate", body(wrong)).await;
    let tried = tried.expect_problem(422, "invalid-field");
    let pointer = refused["errors"][0]["pointer"].as_str().unwrap();
    assert_eq!(tried["errors"][0]["pointer"], format!("/plan{pointer}"));
    assert_eq!(tried["errors"][0]["detail"], refused["errors"][0]["detail"]);

    for (change, status, code, pointer) in [
        (json!({"from": "yesterday"}), 422, "invalid-field", "/from"),
        (json!({"from": "2026-11-01", "to": "2026-10-01"}), 422, "invalid-field", "/to"),
        (json!({"plan": {"v": 1, "rulez": []}}), 422, "invalid-field", ""),
    ] {
        let mut asked = body(draft.clone());
        for (name, value) in change.as_object().unwrap() {
            asked[name] = value.clone();
        }
        let problem = app.post(&app.admin_key, "/v1/plans/simulate", asked).await;
        let problem = problem.expect_problem(status, code);
        let found = problem["errors"][0]["pointer"].as_str().unwrap();
        assert!(found.starts_with(pointer), "{problem}");
    }
    let mut other = body(draft);
    other["program_id"] = json!(tributary::ids::ProgramId::new());
    let answer = app.post(&app.admin_key, "/v1/plans/simulate", other).await;
    answer.expect_problem(404, "not-found");
    let (_, source) = app.new_key(json!({"name": "shop", "role": "source"})).await;
    let answer = app.post(&source, "/v1/plans/simulate", json!({})).await;
    answer.expect_problem(403, "insufficient-scope");
}

#[actix_web::test]
async fn a_draft_is_tried_from_the_command_line() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let click_id = app.click_id(&scene.link).await;
    sale(&app, &scene, &click_id, "A").await;
    app.clock.advance(TimeDelta::minutes(1));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("draft.json");
    let run = async |arguments: &[&str]| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_tributary"));
        command.args(["plan", "simulate"]).args(arguments).env_clear();
        command.env("TRIBUTARY_URL", app.base.as_str());
        command.env("TRIBUTARY_API_KEY", app.manager_key.expose());
        let out = command.output().await.unwrap();
        let said = if out.status.success() { out.stdout } else { out.stderr };
        (out.status.success(), String::from_utf8(said).unwrap())
    };
    let draft = r#"{"v":1,"rules":[{"event":"sale","kind":"percent","percent_bps":2500}]}"#;
    std::fs::write(&file, draft).unwrap();
    let path = file.to_str().unwrap();
    let (is_good, said) = run(&[path, "--from", "2026-11-01"]).await;
    assert!(is_good, "{said}");
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let row = said.lines().find(|line| line.starts_with("all partners")).unwrap();
    assert_eq!(words(row)[2..], ["EUR", "20.00", "25.00", "5.00", "1", "1", "0"]);
    let (is_good, said) = run(&["--from", "2026-11-01", "--json"]).await;
    assert!(is_good && said.contains(r#""difference":"0.00""#), "{said}");
    std::fs::write(&file, draft.replace("2500", "25000")).unwrap();
    let (is_good, said) = run(&[path, "--from", "2026-11-01"]).await;
    assert!(!is_good && said.contains("plan/rules/0/percent_bps 25000 is not from 1"), "{said}");
}

#[actix_web::test]
async fn what_a_partner_is_told_it_would_earn_is_what_it_earns() {
    let app = TestApp::start().await;
    let scene = app
        .scene_with(json!({"v": 1, "rules": [{"event": "sale", "kind": "percent",
            "percent_bps": 1000, "currency": "EUR", "tiers": {"period": "month",
            "mode": "retroactive", "steps": [{"from_count": 3, "percent_bps": 1500}]},
            "caps": [{"period": "month", "amount": "60.00"}]}]}))
        .await;
    let click_id = app.click_id(&scene.link).await;
    sale(&app, &scene, &click_id, "A").await;
    app.clock.advance(TimeDelta::minutes(1));
    let path = format!("/v1/partners/{}/simulate", scene.partner_id);
    let ask = |lang: &str| {
        json!({"program_id": scene.program_id, "lang": lang,
            "lines": [{"amount": "100.00", "currency": "EUR", "count": 4}]})
    };
    let before = app.rows().await;
    let told = app.post(&app.manager_key, &path, ask("en")).await.expect(200);
    assert_eq!(app.rows().await, before, "nothing is written");
    assert_eq!(told["totals"], json!([{"amount": "45.00", "currency": "EUR"}]));
    assert_eq!(told["raised"], json!([{"amount": "5.00", "currency": "EUR"}]));
    let steps: Vec<(i64, i64, &str)> = told["lines"][0]["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| {
            let n = |name: &str| s[name].as_i64().unwrap();
            (n("first"), n("last"), s["each"]["amount"].as_str().unwrap())
        })
        .collect();
    assert_eq!(steps, [(1, 3, "15.00"), (4, 4, "0.00")]);
    let sentences = told["sentences"].to_string();
    assert!(sentences.contains("Numbers 1 to 3: 15.00 EUR each. Rule 1: 15 %"), "{sentences}");
    assert!(sentences.contains("earlier in the period is raised by 5.00 EUR"), "{sentences}");
    let told = app.post(&app.manager_key, &path, ask("ru")).await.expect(200);
    let sentences = told["sentences"].to_string();
    assert!(sentences.contains("4 × продажа 100.00 EUR: 45.00 EUR."), "{sentences}");
    assert!(sentences.contains("Правило 1: 15 % от 100.00 EUR"), "{sentences}");
    // So it comes.
    for id in ["B", "C", "D", "E"] {
        sale(&app, &scene, &click_id, id).await;
    }
    revalue(&app).await;
    let owed = app.figures(OWED).await;
    assert_eq!(owed, ["6000"], "10.00 were there, 5.00 are raised, 45.00 came");

    let wrong = json!({"program_id": scene.program_id, "lines": [
        {"amount": "1,50", "currency": "EUR"}, {"event": "gift"}, {"count": 0, "event": "lead"},
        {"amount": "1.00"}, {"amount": "1.00", "currency": "EUR", "count": 20_000}]});
    let problem = app.post(&app.admin_key, &path, wrong).await;
    let problem = problem.expect_problem(422, "invalid-field");
    let at: Vec<&str> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["pointer"].as_str().unwrap())
        .collect();
    assert_eq!(
        at,
        ["/lines/0/amount", "/lines/1/event", "/lines/2/count", "/lines/3/currency", "/lines"]
    );
    let nobody = format!("/v1/partners/{}/simulate", tributary::ids::PartnerId::new());
    app.post(&app.admin_key, &nobody, ask("en")).await.expect_problem(404, "not-found");
}
