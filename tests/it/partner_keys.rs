//! A partner's own key: it reads what is that partner's in one program, and finds nothing of others.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tributary::account::key::ApiKey;

use crate::bad_input::{Before, pointers};
use crate::harness::{Scene, TestApp};

/// A program with two partners, each with a link and a click.
struct Two {
    scene: Scene,
    other: String,
    other_link: String,
    clicks: [String; 2],
}

async fn two(app: &TestApp) -> Two {
    let scene = app.scene().await;
    let body = json!({"name": "Magazine", "kind": "webmaster", "program_id": scene.program_id});
    let partner = app.post(&app.admin_key, "/v1/partners", body).await.expect(201);
    let other = partner["id"].as_str().unwrap().to_owned();
    let body = json!({"program_id": scene.program_id, "partner_id": other, "label": "theirs"});
    let link = app.post(&app.admin_key, "/v1/links", body).await.expect(201);
    app.app().keeper.refresh().await.unwrap();
    let other_link = link["url"].as_str().unwrap().to_owned();
    let first = app.click_id(&scene.link).await;
    app.clock.advance(TimeDelta::hours(1));
    let clicks = [first, app.click_id(&other_link).await];
    app.clock.advance(TimeDelta::hours(1));
    Two { scene, other, other_link, clicks }
}

async fn key_of(app: &TestApp, program_id: &str, partner_id: &str) -> ApiKey {
    let body = json!({"name": "their own", "role": "partner", "programs": [program_id],
        "partner_id": partner_id});
    app.new_key(body).await.1
}

async fn sell(app: &TestApp, scene: &Scene, order_id: &str, clicks: &[&String]) -> Value {
    let data = json!({"event": "sale", "order_id": order_id, "amount": "100.00",
        "currency": "EUR", "click_ids": clicks});
    let id = format!("msg_{order_id}");
    let answer = app.webhook(scene, &id, "conversion.created", data).await.expect(202);
    app.receipt(answer["receipt"].as_str().unwrap()).await
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value}"))
}

#[actix_web::test]
async fn a_partners_key_reads_and_makes_what_is_its_own() {
    let app = TestApp::start().await;
    let two = two(&app).await;
    let (program, partner) = (&two.scene.program_id, &two.scene.partner_id);
    let own = sell(&app, &two.scene, "own", &[&two.clicks[0]]).await;
    sell(&app, &two.scene, "theirs", &[&two.clicks[1]]).await;
    let key = key_of(&app, program, partner).await;
    assert!(key.expose().starts_with("trbp_"));
    let get = async |path: String| app.get(&key, &path).await.expect(200);

    let told = get("/v1/api-keys/self".to_owned()).await;
    assert_eq!((&told["role"], &told["partner_id"]), (&json!("partner"), &json!(partner)));
    assert_eq!(told["programs"], json!([program]));
    // Lists show its own, asked for or not.
    for asked in ["", &format!("&partner_id={partner}")] {
        for (path, n) in [("/v1/commissions", 1), ("/v1/links", 1), ("/v1/claims", 0)] {
            let list = get(format!("{path}?program_id={program}{asked}")).await;
            assert_eq!(list["data"].as_array().unwrap().len(), n, "{path}{asked}: {list}");
        }
    }
    let commission = text(&own["commission"]["id"]);
    let shown = get(format!("/v1/commissions/{commission}")).await;
    assert_eq!((&shown["amount"], &shown["ledger"]), (&json!("20.00"), &Value::Null));
    assert_eq!(shown["history"][0]["by"], "shop");
    let because = json!({"reason": "fraud", "note": "who told us stays here"});
    let hold = format!("/v1/commissions/{commission}/hold");
    app.post(&app.manager_key, &hold, because).await.expect(200);
    let shown = get(format!("/v1/commissions/{commission}")).await;
    assert_eq!((&shown["status"], &shown["reason"]), (&json!("on_hold"), &json!("fraud")));
    assert_eq!(shown["history"][1]["by"], "program");
    assert_eq!(shown["history"][1]["note"], Value::Null, "a note is the house's");
    let told = get(format!("/v1/commissions/{commission}/explanation")).await;
    assert_eq!(told["commissions"][0]["recomputed"], true);
    get(format!("/v1/conversions/{}/explanation", text(&own["conversion_id"]))).await;
    let balance = get(format!("/v1/partners/{partner}/balance?program_id={program}")).await;
    assert_eq!(balance["balances"][0]["pending"], "20.00");
    let statements = get("/v1/statements".to_owned()).await;
    assert_eq!(statements["data"], json!([]));

    let reports = get("/v1/reports".to_owned()).await;
    let names: Vec<_> = reports.as_array().unwrap().iter().map(|r| &r["name"]).collect();
    assert_eq!(names, ["traffic"]);
    let traffic = get(format!("/v1/reports/traffic?program_id={program}")).await;
    let rows = traffic["rows"].as_array().unwrap();
    assert!(!rows.is_empty() && rows.iter().all(|row| row["partner_id"] == partner.as_str()));
    let summary = get(format!("/v1/reports/traffic/summary?program_id={program}")).await;
    assert_eq!(summary["summary"]["clicks"], 1, "{summary}");

    let wish = json!({"program_id": program, "lines": [
        {"amount": "100.00", "currency": "EUR", "count": 3}]});
    let path = format!("/v1/partners/{partner}/simulate");
    let earned = app.post(&key, &path, wish).await.expect(200);
    assert_eq!(earned["totals"][0]["amount"], "60.00");
    let link = json!({"program_id": program, "partner_id": partner, "label": "footer"});
    let made = app.post(&key, "/v1/links", link).await.expect(201);
    let path = format!("/v1/links/{}", text(&made["id"]));
    app.call(&key, "PATCH", &path, json!({"status": "paused"})).await.expect(200);
    assert_eq!(get(path).await["status"], "paused");
    let claim = json!({"program_id": program, "partner_id": partner, "order_id": "own"});
    let made = app.post(&key, "/v1/claims", claim).await.expect(201);
    let shown = get(format!("/v1/claims/{}", text(&made["id"]))).await;
    assert_eq!((&shown["reason"], &shown["evidence"]), (&json!("already_counted"), &Value::Null));
}

#[actix_web::test]
async fn a_partners_key_finds_nothing_of_another_and_enters_no_other_route() {
    let app = TestApp::start().await;
    let two = two(&app).await;
    let (program, partner, other) = (&two.scene.program_id, &two.scene.partner_id, &two.other);
    let elsewhere = app.scene().await;
    let theirs = sell(&app, &two.scene, "theirs", &[&two.clicks[1]]).await;
    let (commission, conversion) = (text(&theirs["commission"]["id"]), &theirs["conversion_id"]);
    let conversion = text(conversion);
    let claim = json!({"program_id": program, "partner_id": other, "order_id": "theirs"});
    let claim = app.post(&app.admin_key, "/v1/claims", claim).await.expect(201);
    let list = format!("/v1/links?program_id={program}&partner_id={other}");
    let link = app.get(&app.admin_key, &list).await.expect(200)["data"][0]["id"].clone();
    // A month is closed, so that both have a statement.
    app.clock.advance(TimeDelta::days(40));
    let body = json!({"program_id": program});
    app.post(&app.finance_key, "/v1/periods/2026-11/close", body).await.expect(200);
    let list = format!("/v1/statements?program_id={program}&partner_id={other}");
    let statements = app.get(&app.finance_key, &list).await.expect(200);
    let statement = text(&statements["data"][0]["id"]).to_owned();
    let key = key_of(&app, program, partner).await;

    let wish = json!({"program_id": program, "lines": [{"amount": "1.00", "currency": "EUR"}]});
    let new_link = json!({"program_id": program, "partner_id": other, "label": "x"});
    let new_claim = json!({"program_id": program, "partner_id": other, "order_id": "x"});
    let mut calls = vec![
        ("GET", format!("/v1/commissions?program_id={program}&partner_id={other}"), Value::Null),
        ("GET", format!("/v1/commissions/{commission}"), Value::Null),
        ("GET", format!("/v1/commissions/{commission}/explanation"), Value::Null),
        ("GET", format!("/v1/conversions/{conversion}/explanation"), Value::Null),
        ("GET", format!("/v1/partners/{other}/balance?program_id={program}"), Value::Null),
        ("GET", list, Value::Null),
        ("GET", format!("/v1/statements/{statement}"), Value::Null),
        ("GET", format!("/v1/links?program_id={program}&partner_id={other}"), Value::Null),
        ("GET", format!("/v1/links/{}", text(&link)), Value::Null),
        ("PATCH", format!("/v1/links/{}", text(&link)), json!({"status": "paused"})),
        ("POST", "/v1/links".to_owned(), new_link),
        ("GET", format!("/v1/claims?program_id={program}&partner_id={other}"), Value::Null),
        ("GET", format!("/v1/claims/{}", text(&claim["id"])), Value::Null),
        ("POST", "/v1/claims".to_owned(), new_claim),
        ("POST", format!("/v1/partners/{other}/simulate"), wish),
    ];
    for report in ["traffic", "traffic/summary"] {
        let path = format!("/v1/reports/{report}?program_id={program}&partner_id={other}");
        calls.push(("GET", path, Value::Null));
    }
    // Reports that tell of others are not there, whoever is asked for.
    for report in ["payouts", "commissions", "activity-decline", "audit"] {
        calls.push(("GET", format!("/v1/reports/{report}?program_id={program}"), Value::Null));
    }
    // Of the same partner in another program nothing is there either.
    let program = &elsewhere.program_id;
    for path in ["/v1/commissions", "/v1/links", "/v1/claims", "/v1/statements"] {
        calls.push(("GET", format!("{path}?program_id={program}"), Value::Null));
    }
    calls.push(("GET", format!("/v1/reports/traffic?program_id={program}"), Value::Null));
    let before = Before::of(&app).await;
    for (method, path, body) in &calls {
        let answer = app.call(&key, method, path, body.clone()).await;
        assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text());
        answer.expect_problem(404, "not-found");
    }
    before.expect_unchanged(&app).await;
    // All of it is there, so that nothing above was refused for another reason.
    for (_, path, _) in calls.iter().filter(|(method, _, _)| *method == "GET") {
        app.get(&app.admin_key, path).await.expect(200);
    }
    every_other_route_is_closed(&app, &key, &two.scene).await;
}

/// Calls each route of the contract; those that partners may enter are the ones told in the story.
async fn every_other_route_is_closed(app: &TestApp, key: &ApiKey, scene: &Scene) {
    const OPEN: [&str; 19] = [
        "GET /v1/api-keys/self",
        "GET /v1/claims",
        "POST /v1/claims",
        "GET /v1/claims/{id}",
        "GET /v1/commissions",
        "GET /v1/commissions/{id}",
        "GET /v1/commissions/{id}/explanation",
        "GET /v1/conversions/{id}/explanation",
        "GET /v1/links",
        "POST /v1/links",
        "GET /v1/links/{id}",
        "PATCH /v1/links/{id}",
        "GET /v1/partners/{id}/balance",
        "POST /v1/partners/{id}/simulate",
        "GET /v1/statements",
        "GET /v1/statements/{id}",
        "GET /v1/reports",
        "GET /v1/reports/{name}",
        "GET /v1/reports/{name}/summary",
    ];
    let document = app.send("GET", "/openapi.json", &[], "").await.expect(200);
    let (mut n_closed, mut n_open) = (0, 0);
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, route) in methods.as_object().unwrap() {
            // Shops sign their messages, and public routes say that they need no key.
            let is_signed = path.starts_with("/v1/webhooks/") || !path.starts_with("/v1/");
            if is_signed || route.get("security").is_some() {
                continue;
            }
            let method = method.to_uppercase();
            let name = format!("{method} {path}");
            if OPEN.contains(&name.as_str()) {
                n_open += 1;
                continue;
            }
            let path = path.replace(['{', '}'], "");
            let (program, partner) = (&scene.program_id, &scene.partner_id);
            let source = &scene.source_id;
            let filled =
                format!("{path}?program_id={program}&partner_id={partner}&source_id={source}");
            let mut answer = app.call(key, &method, &filled, json!({})).await;
            if answer.status == 422 {
                // This one takes no such questions.
                answer = app.call(key, &method, &path, json!({})).await;
            }
            assert_eq!(answer.status, 403, "{name}: {}", answer.text());
            answer.expect_problem(403, "insufficient-scope");
            n_closed += 1;
        }
    }
    assert_eq!(n_open, OPEN.len());
    assert!(n_closed > 80, "{n_closed} routes were tried");
}

#[actix_web::test]
async fn of_a_shared_conversion_a_partner_learns_its_own_part() {
    let app = TestApp::start().await;
    let two = two(&app).await;
    let (program, partner, other) = (&two.scene.program_id, &two.scene.partner_id, &two.other);
    let path = format!("/v1/programs/{program}/attribution-policies");
    let body = json!({"document": {"v": 1, "model": "linear"}});
    app.post(&app.manager_key, &path, body).await.expect(201);
    app.clock.advance(TimeDelta::minutes(1));
    let sold = sell(&app, &two.scene, "shared", &[&two.clicks[0], &two.clicks[1]]).await;
    for (own, foreign) in [(partner, other), (other, partner)] {
        let key = key_of(&app, program, own).await;
        let path = format!("/v1/conversions/{}/explanation", text(&sold["conversion_id"]));
        let told = app.get(&key, &path).await.expect(200);
        let said = told.to_string();
        assert!(!said.contains(foreign.as_str()), "{told:#}");
        let (own_click, foreign_click) = match own == partner {
            true => (&two.clicks[0], &two.clicks[1]),
            false => (&two.clicks[1], &two.clicks[0]),
        };
        assert!(said.contains(own_click.as_str()) && !said.contains(foreign_click.as_str()));
        assert!(said.contains("another partner"), "{told:#}");
        assert_eq!(told["commissions"].as_array().unwrap().len(), 1);
        assert_eq!(told["commissions"][0]["commission"]["amount"], "10.00");
    }
    assert!(two.other_link.contains("/r/"));
}

#[actix_web::test]
async fn a_partners_key_is_made_for_one_partner_of_one_program() {
    let app = TestApp::start().await;
    let two = two(&app).await;
    let (program, partner) = (&two.scene.program_id, &two.scene.partner_id);
    let elsewhere = app.scene().await;
    let body = |role: &str, programs: Value, partner: Value| json!({"name": "k", "role": role, "programs": programs, "partner_id": partner});
    for (body, pointer) in [
        (body("partner", json!([program]), Value::Null), "/partner_id"),
        (body("partner", Value::Null, json!(partner)), "/programs"),
        (body("partner", json!([]), json!(partner)), "/programs"),
        (body("partner", json!([program, elsewhere.program_id]), json!(partner)), "/programs"),
        (body("partner", json!([elsewhere.program_id]), json!(partner)), "/partner_id"),
        (body("manager", json!([program]), json!(partner)), "/partner_id"),
        (body("webmaster", json!([program]), json!(partner)), "/role"),
    ] {
        let answer = app.post(&app.admin_key, "/v1/api-keys", body.clone()).await;
        assert_eq!(pointers(&answer.expect_problem(422, "invalid-field")), [pointer], "{body}");
    }
    // Whoever manages one program gives keys to the partners of that one.
    let (_, limited) =
        app.new_key(json!({"name": "p", "role": "admin", "programs": [program]})).await;
    let foreign = body("partner", json!([elsewhere.program_id]), json!(elsewhere.partner_id));
    app.post(&limited, "/v1/api-keys", foreign).await.expect_problem(404, "not-found");
    let own = body("partner", json!([program]), json!(partner));
    let made = app.post(&limited, "/v1/api-keys", own).await.expect(201);
    assert_eq!(made["partner_id"], partner.as_str());
    let key = ApiKey::parse(text(&made["key"])).unwrap();
    app.get(&key, "/v1/api-keys/self").await.expect(200);
    let path = format!("/v1/api-keys/{}", text(&made["id"]));
    app.call(&limited, "DELETE", &path, Value::Null).await.expect(204);
    app.get(&key, "/v1/api-keys/self").await.expect_problem(401, "unauthenticated");
}
