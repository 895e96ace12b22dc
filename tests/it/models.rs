//! Stories of attribution models: who led to a sale shares it, to the cent, and what another model
//! would have paid is told without changing anything.

use std::process::Command;

use chrono::TimeDelta;
use serde_json::{Value, json};
use tributary::commission::timer;

use crate::bad_input::Before;
use crate::harness::app::{BROWSER, click_id_of};
use crate::harness::{Scene, TestApp};
use crate::postbacks;

/// Three partners of one program and a click of each, a day apart.
struct Path {
    scene: Scene,
    partners: Vec<String>,
    clicks: Vec<String>,
}

/// A further partner of the program; returns its id and its link.
async fn join(app: &TestApp, scene: &Scene, name: &str) -> (String, String) {
    let body = json!({"name": name, "kind": "webmaster", "program_id": scene.program_id});
    let partner = app.post(&app.admin_key, "/v1/partners", body).await.expect(201);
    let partner_id = partner["id"].as_str().unwrap().to_owned();
    let body = json!({"program_id": scene.program_id, "partner_id": partner_id});
    let link = app.post(&app.admin_key, "/v1/links", body).await.expect(201);
    app.app().keeper.refresh().await.unwrap();
    (partner_id, link["url"].as_str().unwrap().to_owned())
}

async fn path_with(app: &TestApp, plan: Value) -> Path {
    let scene = app.scene_with(plan).await;
    let mut partners = vec![(scene.partner_id.clone(), scene.link.clone())];
    partners.push(join(app, &scene, "Magazine").await);
    partners.push(join(app, &scene, "Coupons").await);
    let mut clicks = Vec::new();
    for (_, link) in &partners {
        clicks.push(app.click_id(link).await);
        app.clock.advance(TimeDelta::days(1));
    }
    Path { scene, partners: partners.into_iter().map(|(id, _)| id).collect(), clicks }
}

/// Twenty per cent of each sale, thirty days of hold.
async fn path(app: &TestApp) -> Path {
    let rules = json!([{"event": "sale", "kind": "percent", "percent_bps": 2000}]);
    path_with(app, json!({"v": 1, "hold_days": 30, "rules": rules})).await
}

/// Publishes an edition of the policy with this model, from now on.
async fn share_by(app: &TestApp, scene: &Scene, document: Value) {
    let path = format!("/v1/programs/{}/attribution-policies", scene.program_id);
    app.clock.advance(TimeDelta::minutes(1));
    app.post(&app.manager_key, &path, json!({"document": document})).await.expect(201);
}

fn sale(order_id: &str, amount: &str, clicks: &[String]) -> Value {
    json!({"event": "sale", "order_id": order_id, "amount": amount, "currency": "EUR",
        "click_ids": clicks})
}

async fn sell(app: &TestApp, scene: &Scene, data: Value) -> Value {
    let id = format!("msg_{}", data["order_id"].as_str().unwrap());
    let answer = app.webhook(scene, &id, "conversion.created", data).await.expect(202);
    app.receipt(answer["receipt"].as_str().unwrap()).await
}

impl Path {
    /// What each of the partners has of a conversion, corrections in it.
    async fn parts(&self, app: &TestApp, conversion_id: &Value) -> Vec<String> {
        let list = format!("/v1/commissions?program_id={}&limit=200", self.scene.program_id);
        let all = app.get(&app.admin_key, &list).await.expect(200);
        let of = |partner: &String| {
            let rows = all["data"].as_array().unwrap().iter().filter(|row| {
                row["conversion_id"] == *conversion_id && row["partner_id"] == partner.as_str()
            });
            let live =
                rows.filter(|row| row["status"] != "rejected" && row["status"] != "reversed");
            let cents: Vec<i64> = live
                .map(|row| row["amount"].as_str().unwrap().replace('.', "").parse().unwrap())
                .collect();
            match cents.as_slice() {
                [] => "-".to_owned(),
                cents => format!("{}", cents.iter().sum::<i64>()),
            }
        };
        self.partners.iter().map(of).collect()
    }

    async fn explained(&self, app: &TestApp, conversion_id: &Value) -> Value {
        let path = format!("/v1/conversions/{}/explanation", conversion_id.as_str().unwrap());
        app.get(&app.admin_key, &path).await.expect(200)
    }

    /// Asks what a model would have paid; returns the result, with the lines of partners.
    async fn rederive(&self, app: &TestApp, more: Value) -> Value {
        let from = (app.clock.now() - TimeDelta::days(40)).to_rfc3339();
        let to = (app.clock.now() + TimeDelta::days(1)).to_rfc3339();
        let mut body = json!({"program_id": self.scene.program_id, "from": from, "to": to});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = app.post(&app.finance_key, "/v1/attribution/rederive", body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let text = answer.text();
        let mut lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["type"], "progress", "{text}");
        let mut result = lines.pop().unwrap();
        assert_eq!(result["type"], "result", "{text}");
        lines.retain(|line| line["type"] == "partner");
        result["partners"] = Value::from(lines);
        result
    }
}

#[actix_web::test]
async fn a_path_is_shared_by_each_model_to_the_cent_and_told_click_by_click() {
    let app = TestApp::start().await;
    let path = path(&app).await;
    let scene = &path.scene;
    // 20 % of 100.03 are 20.01.
    for (n, (document, expected, leading)) in [
        (json!({}), ["-", "-", "2001"], 2),
        (json!({"model": "first_click"}), ["2001", "-", "-"], 0),
        (json!({"model": "linear"}), ["667", "667", "667"], 2),
        (json!({"model": "position"}), ["801", "400", "800"], 2),
        // A day apart: 1 : 2 : 4.
        (json!({"model": "time_decay", "half_life_days": 1}), ["286", "572", "1143"], 2),
    ]
    .into_iter()
    .enumerate()
    {
        share_by(&app, scene, document.clone()).await;
        let receipt = sell(&app, scene, sale(&format!("A-{n}"), "100.03", &path.clicks)).await;
        let found = path.parts(&app, &receipt["conversion_id"]).await;
        assert_eq!(found, expected, "{document}");
        let n_parts = expected.iter().filter(|part| **part != "-").count();
        assert_eq!(receipt["commissions"].as_array().unwrap().len(), n_parts, "{receipt}");
        let told = path.explained(&app, &receipt["conversion_id"]).await;
        assert_eq!(told["conversion"]["partner_id"], path.partners[leading].as_str());
        assert_eq!(told["commissions"].as_array().unwrap().len(), n_parts);
        assert!(told["commissions"].as_array().unwrap().iter().all(|c| c["recomputed"] == true));
    }
    let told = app.count("select count(*) from conversions where path is not null").await;
    assert_eq!(told, 5);

    // The listed order is the shop's; the signed times decide.
    let mut mixed = path.clicks.clone();
    mixed.rotate_left(1);
    let receipt = sell(&app, scene, sale("A-9", "100.03", &mixed)).await;
    assert_eq!(path.parts(&app, &receipt["conversion_id"]).await, ["286", "572", "1143"]);
    let told = path.explained(&app, &receipt["conversion_id"]).await;
    assert_eq!(
        (&told["path"]["model"], &told["path"]["half_life_days"]),
        (&json!("time_decay"), &json!(1))
    );
    let percent: Vec<&str> = told["path"]["clicks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|click| click["percent"].as_str().unwrap())
        .collect();
    assert_eq!(percent, ["14.29", "28.57", "57.14"]);
    let sentences = told["sentences"].to_string();
    assert!(
        sentences.contains("each of them weighs half of one that is 1 days younger"),
        "{sentences}"
    );
    assert!(
        told["commissions"][0]["sentences"].to_string().contains("parts of 20.01 EUR"),
        "{told}"
    );
}

#[actix_web::test]
async fn what_does_not_count_on_a_path_is_kept_with_its_reason_and_has_nothing() {
    let app = TestApp::start().await;
    let path = path(&app).await;
    let scene = &path.scene;
    share_by(&app, scene, json!({"model": "linear", "window_days": 3})).await;
    let other = app.scene().await;
    let foreign = app.click_id(&other.link).await;
    let [old, second, third] = path.clicks.clone().try_into().unwrap();
    let forged = format!("{}AAAA", &third[..40]);
    let clicks = [
        old.clone(),
        second.clone(),
        forged.clone(),
        third.clone(),
        second.clone(),
        foreign.clone(),
    ];
    let data = sale("B-1", "100.00", &clicks);

    app.wait_for_count(4, "select count(*) from clicks").await;
    let before = Before::of(&app).await;
    let body = json!({"source_id": scene.source_id, "data": data, "reason": "phone"});
    let trial = app.post(&app.manager_key, "/v1/conversions?dry_run=true", body).await.expect(200);
    before.expect_unchanged(&app).await;
    let trial = &trial["settlement"];
    assert_eq!(trial["commissions"].as_array().unwrap().len(), 2, "{trial}");

    let receipt = sell(&app, scene, data).await;
    assert_eq!(path.parts(&app, &receipt["conversion_id"]).await, ["-", "1000", "1000"]);
    let told = path.explained(&app, &receipt["conversion_id"]).await;
    assert_eq!(told["path"], trial["path"], "the trial says what settlement does");
    let found: Vec<(String, String, u64)> = told["path"]["clicks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|click| {
            let text = |name: &str| click[name].as_str().unwrap_or_default().to_owned();
            (text("click_id"), text("finding"), click["weight"].as_u64().unwrap())
        })
        .collect();
    let click = |id: &String, finding: &str, weight| (id.clone(), finding.to_owned(), weight);
    assert_eq!(
        found,
        [
            click(&old, "outside_window", 0),
            click(&second, "counts", 1),
            click(&second, "duplicate", 0),
            click(&third, "counts", 1),
            click(&foreign, "other_program", 0),
            click(&forged, "bad_click_id", 0),
        ]
    );
    let sentences = told["sentences"].to_string();
    assert!(sentences.contains("Its path has 6 clicks; 2 count"), "{sentences}");
    assert!(sentences.contains("its id is none that this service signed"), "{sentences}");

    // Where nothing counts the nearest miss says why.
    let nobodys = sell(&app, scene, sale("B-2", "100.00", &[forged, old])).await;
    assert_eq!(nobodys["commission"], Value::Null);
    let told = path.explained(&app, &nobodys["conversion_id"]).await;
    assert_eq!(told["conversion"]["attribution"], "outside_window");
    // A retry is known; another path is another content.
    let again = app.webhook(scene, "again", "conversion.created", sale("B-1", "100.00", &clicks));
    assert_eq!(again.await.expect(200)["status"], "duplicate");
    let other =
        app.webhook(scene, "other", "conversion.created", sale("B-1", "100.00", &clicks[1..]));
    other.await.expect_problem(409, "conversion-conflict");
    let long: Vec<String> = (0..21).map(|n| format!("c{n}")).collect();
    let refused =
        app.webhook(scene, "long", "conversion.created", sale("B-3", "1.00", &long)).await;
    let problem = refused.expect_problem(422, "invalid-field");
    assert_eq!(problem["errors"][0]["pointer"], "/data/click_ids");
}

#[actix_web::test]
async fn refunds_return_each_partners_part_and_approval_reaches_all() {
    let app = TestApp::start().await;
    let path = path(&app).await;
    let scene = &path.scene;
    share_by(&app, scene, json!({"model": "position"})).await;
    let key = postbacks::set_up(&app, scene, json!({"alias_profile": "generic"})).await;
    let query = format!(
        "key={key}&click_ids={}&order_id=C-1&amount=100.03&currency=EUR",
        path.clicks.join(",")
    );
    let answer = postbacks::call(&app, scene, &query).await;
    let receipt = app.receipt(answer.header("tributary-receipt")).await;
    let id = receipt["conversion_id"].clone();
    assert_eq!(path.parts(&app, &id).await, ["801", "400", "800"]);
    let data = json!({"event": "sale", "order_id": "C-1"});
    app.webhook(scene, "ok", "conversion.approved", data).await.expect(202);
    app.settle(scene).await;
    // 20 % of what is left, 50.03, are 10.01.
    let back = json!({"event": "sale", "order_id": "C-1", "refund_id": "R-1",
        "refund_amount": "50.00", "currency": "EUR"});
    app.webhook(scene, "r1", "conversion.refunded", back).await.expect(202);
    app.settle(scene).await;
    assert_eq!(path.parts(&app, &id).await, ["401", "200", "400"]);
    let rest = json!({"event": "sale", "order_id": "C-1", "refund_id": "R-2"});
    app.webhook(scene, "r2", "conversion.refunded", rest).await.expect(202);
    app.settle(scene).await;
    assert_eq!(path.parts(&app, &id).await, ["0", "0", "0"]);
    assert_eq!(app.count("select count(*) from commissions where kind = 'earned'").await, 3);
}

#[actix_web::test]
async fn rederiving_the_model_in_force_comes_to_the_ledger_and_another_to_what_it_would_have_paid()
{
    let app = TestApp::start().await;
    // Tiers and a cap make each commission depend on those before it.
    let path = path_with(
        &app,
        json!({"v": 1, "hold_days": 30,
        "rules": [{"event": "sale", "kind": "percent", "percent_bps": 1000, "currency": "EUR",
            "tiers": {"period": "month", "mode": "progressive", "steps": [
                {"from_amount": "150.00", "percent_bps": 1500}]}}],
        "caps": [{"period": "month", "per": "partner", "amount": "60.00", "currency": "EUR"}]}),
    )
    .await;
    let scene = &path.scene;
    share_by(&app, scene, json!({"model": "linear"})).await;
    for (n, amount) in ["100.01", "250.07", "99.99", "812.35", "3.33"].into_iter().enumerate() {
        sell(&app, scene, sale(&format!("D-{n}"), amount, &path.clicks[n % 3..])).await;
        app.clock.advance(TimeDelta::minutes(7));
    }
    let back = json!({"event": "sale", "order_id": "D-1", "refund_id": "R-1",
        "refund_amount": "50.00", "currency": "EUR"});
    app.webhook(scene, "r1", "conversion.refunded", back).await.expect(202);
    let data = json!({"event": "sale", "order_id": "D-2", "reason": "order_canceled"});
    app.webhook(scene, "no", "conversion.rejected", data).await.expect(202);
    app.settle(scene).await;
    // Periods that a refund unsettled are reckoned again by the timer.
    timer::revalue_marked(&app.app().background_db, app.clock.now()).await.unwrap();

    let before = Before::of(&app).await;
    let same = path.rederive(&app, json!({"model": "linear"})).await;
    let ledger: i64 = app.count(
        "select sum(amount_minor)::bigint from commissions where state not in ('rejected', 'reversed')",
    ).await;
    let total = &same["totals"][0];
    let cents = |of: &Value| of.as_str().unwrap().replace('.', "").parse::<i64>().unwrap();
    assert_eq!((cents(&total["now"]), cents(&total["then"])), (ledger, ledger), "{same:#}");
    assert!(same["partners"].as_array().unwrap().len() == 3, "{same:#}");
    for row in same["partners"].as_array().unwrap() {
        assert_eq!((&row["now"], &row["difference"]), (&row["then"], &json!("0.00")), "{same:#}");
    }
    let last = path.rederive(&app, json!({"model": "last_click"})).await;
    assert_eq!(last["totals"][0]["now"], total["now"]);
    let coupons = path.partners[2].as_str();
    for row in last["partners"].as_array().unwrap() {
        let has_all = row["partner_id"] == coupons;
        assert_eq!(row["then"] != "0.00", has_all, "{last:#}");
        assert_eq!(cents(&row["difference"]), cents(&row["then"]) - cents(&row["now"]));
    }
    before.expect_unchanged(&app).await;

    // The same by the command line, and mistakes told.
    let run = async |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tributary"));
        command.args(["attribution", "rederive", "--program", &scene.program_id]).args(arguments);
        command.env_clear().env("TRIBUTARY_URL", app.base.as_str());
        command.env("TRIBUTARY_API_KEY", app.finance_key.expose());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let days = ["--from", "2026-11-01", "--to", "2026-12-01"];
    let (ok, table, said) = run(&[&days[..], &["--model", "linear"]].concat()).await;
    assert!(ok, "{said}");
    assert!(table.contains("Magazine") && table.contains("all partners"), "{table}");
    let (ok, _, said) = run(&[&days[..], &["--model", "middle"]].concat()).await;
    assert!(!ok && said.contains("model must be one of last_click"), "{said}");
    for (more, pointer) in [
        (json!({"from": "2026-12-01", "to": "2026-11-01"}), "/to"),
        (json!({"from": "yesterday"}), "/from"),
        (json!({"half_life_days": 3}), "/half_life_days"),
    ] {
        let mut body =
            json!({"program_id": scene.program_id, "from": "2026-11-01", "model": "linear"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let refused = app.post(&app.finance_key, "/v1/attribution/rederive", body).await;
        let problem = refused.expect_problem(422, "invalid-field");
        assert_eq!(problem["errors"][0]["pointer"], pointer);
    }
}

/// Follows a link as somebody who comes from a page; returns the click id.
async fn click_from(app: &TestApp, link: &str, page: &str) -> String {
    let url = url::Url::parse(link).unwrap();
    let path = format!("{}?{}", url.path(), url.query().unwrap_or_default());
    let answer = app.send("GET", &path, &[("user-agent", BROWSER), ("referer", page)], "").await;
    click_id_of(&answer).unwrap_or_else(|| panic!("no click id in {answer:?}"))
}

#[actix_web::test]
async fn each_partner_of_a_shared_conversion_answers_for_its_own_click_and_counts_its_part() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let mut clicks = vec![click_from(&app, &scene.link, "https://www.spam.example/page").await];
    let mut partners = vec![scene.partner_id.clone()];
    for name in ["Magazine", "Coupons"] {
        app.clock.advance(TimeDelta::hours(1));
        let (partner_id, link) = join(&app, &scene, name).await;
        clicks.push(app.click_id(&link).await);
        partners.push(partner_id);
    }
    let path = Path { scene, partners, clicks };
    let scene = &path.scene;
    share_by(&app, scene, json!({"model": "linear"})).await;
    let receipt = sell(&app, scene, sale("E-1", "100.03", &path.clicks)).await;
    assert_eq!(path.parts(&app, &receipt["conversion_id"]).await, ["667", "667", "667"]);

    let (from, to) = ("2026-11-20", "2026-12-20");
    let read = async |name: &str| {
        let path =
            format!("/v1/reports/{name}?program_id={}&from={from}&to={to}", scene.program_id);
        app.get(&app.finance_key, &path).await.expect(200)
    };
    let traffic = read("traffic").await;
    let sold: Vec<&Value> = traffic["rows"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["conversions"] != 0 || row["commission"] != "0.00")
        .collect();
    let mut cells: Vec<(&str, &Value, &str, &str)> = sold
        .iter()
        .map(|row| {
            assert_eq!(row["link_number"], 1, "{row}");
            let text = |name: &str| row[name].as_str().unwrap();
            (text("partner_id"), &row["conversions"], text("sale_amount"), text("commission"))
        })
        .collect();
    cells.sort_by_key(|cell| path.partners.iter().position(|id| id == cell.0));
    let told: Vec<_> = cells.iter().map(|cell| (cell.1, cell.3)).collect();
    assert_eq!(told, [(&json!(1), "6.67"), (&json!(1), "6.67"), (&json!(1), "6.67")], "{traffic}");
    let cents = |text: &str| text.replace('.', "").parse::<i64>().unwrap();
    assert_eq!(cells.iter().map(|cell| cents(cell.2)).sum::<i64>(), 10_003, "{traffic}");
    assert_eq!(traffic["summary"]["conversions"], 1, "{traffic}");

    // Each line tells of the partner's own click, and stands on its own link.
    let lines = read("commissions").await;
    let lines = lines["rows"].as_array().unwrap();
    let times: std::collections::BTreeSet<&str> =
        lines.iter().map(|line| line["click_at"].as_str().unwrap()).collect();
    let links: std::collections::BTreeSet<&str> =
        lines.iter().map(|line| line["link_id"].as_str().unwrap()).collect();
    assert_eq!((lines.len(), times.len(), links.len()), (3, 3, 3), "{lines:#?}");

    // The page that one of them came from holds that one's commission alone, though the conversion
    // shows another's click.
    let policy = json!({"banned_referrers": ["spam.example"]});
    let at = format!("/v1/programs/{}/fraud-policy", scene.program_id);
    app.call(&app.manager_key, "PUT", &at, policy).await.expect(200);
    let shown = path.explained(&app, &receipt["conversion_id"]).await;
    assert_eq!(shown["conversion"]["partner_id"], path.partners[2].as_str());
    assert_eq!(app.advance(TimeDelta::days(31)).await, 2);
    let list = format!("/v1/commissions?program_id={}&status=on_hold", scene.program_id);
    let held = app.get(&app.manager_key, &list).await.expect(200);
    let held: Vec<(&str, &str)> = held["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["partner_id"].as_str().unwrap(), row["reason"].as_str().unwrap()))
        .collect();
    assert_eq!(held, [(path.partners[0].as_str(), "banned_referrer")]);
}
