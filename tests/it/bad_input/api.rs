//! The management API: strict about what it is told, by whom, and how often.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{Before, pointers};
use crate::harness::{Sale, TestApp};

#[actix_web::test]
async fn a_field_that_is_unknown_or_wrong_is_pointed_at() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let (program, partner) = (&scene.program_id, &scene.partner_id);
    let before = Before::of(&app).await;
    let at = |path: &str, id: &str| format!("{path}/{id}");
    for (method, path) in [
        ("POST", "/v1/programs".to_owned()),
        ("PATCH", at("/v1/programs", program)),
        ("POST", format!("/v1/programs/{program}/plans")),
        ("POST", "/v1/partners".to_owned()),
        ("POST", format!("/v1/partners/{partner}/enrollments")),
        ("PATCH", format!("/v1/partners/{partner}/enrollments/{program}")),
        ("POST", "/v1/links".to_owned()),
        ("PATCH", at("/v1/links", &scene.link_id)),
        ("POST", "/v1/links/inspect".to_owned()),
        ("POST", "/v1/sources".to_owned()),
        ("PATCH", at("/v1/sources", &scene.source_id)),
        ("POST", format!("/v1/sources/{}/secrets", scene.source_id)),
        ("POST", "/v1/api-keys".to_owned()),
        ("POST", "/v1/commissions/cm_01234567890123456789012345/approve".to_owned()),
    ] {
        let answer = app.call(&app.admin_key, method, &path, json!({"nonsense": 1})).await;
        let problem = answer.expect_problem(422, "invalid-field");
        assert_eq!(pointers(&problem), ["/nonsense"], "{method} {path}");
        for (body, content_type, status, code) in [
            ("{", "application/json", 400, "malformed-json"),
            (r#"{"name":"a","name":"b"}"#, "application/json", 400, "malformed-json"),
            ("{}", "text/plain", 415, "unsupported-media-type"),
        ] {
            let bearer = format!("Bearer {}", app.admin_key.expose());
            let headers = [
                ("authorization", bearer.as_str()),
                ("content-type", content_type),
                ("idempotency-key", "k"),
            ];
            let answer = app.send(method, &path, &headers, body).await;
            assert_eq!(answer.status, status, "{method} {path} {body}: {}", answer.text());
            answer.expect_problem(status, code);
        }
    }
    before.expect_unchanged(&app).await;
}

#[actix_web::test]
async fn a_key_that_is_none_opens_nothing() {
    let app = TestApp::start().await;
    app.scene().await;
    let new = json!({"name": "short", "role": "admin",
        "expires_at": (app.clock.now() + TimeDelta::hours(1)).to_rfc3339()});
    let (_, expiring) = app.new_key(new).await;
    let (id, revoked) = app.new_key(json!({"name": "lost", "role": "admin"})).await;
    for key in [&expiring, &revoked] {
        app.get(key, "/v1/programs").await.expect(200);
    }
    let path = format!("/v1/api-keys/{id}");
    app.call(&app.admin_key, "DELETE", &path, Value::Null).await.expect(204);
    app.clock.advance(TimeDelta::hours(1));

    let good = app.admin_key.expose();
    let mut garbled = good.to_owned();
    garbled.replace_range(10..11, if &good[10..11] == "a" { "b" } else { "a" });
    let stranger = tributary::account::key::ApiKey::generate();
    let before = Before::of(&app).await;
    for header in [
        None,
        Some(String::new()),
        Some("Bearer".to_owned()),
        Some("Bearer ".to_owned()),
        Some(good.to_owned()),
        Some(format!("Basic {good}")),
        Some(format!("Bearer {garbled}")),
        Some(format!("Bearer {}", &good[..good.len() - 1])),
        Some(format!("Bearer {good}x")),
        Some(format!("Bearer {}", good.to_lowercase())),
        Some(format!("Bearer {}", stranger.expose())),
        Some(format!("Bearer {}", expiring.expose())),
        Some(format!("Bearer {}", revoked.expose())),
    ] {
        for (method, path) in
            [("GET", "/v1/programs"), ("POST", "/v1/programs"), ("DELETE", path.as_str())]
        {
            let headers: Vec<(&str, &str)> =
                header.iter().map(|h| ("authorization", h.as_str())).collect();
            let answer = app.send(method, path, &headers, "").await;
            answer.expect_problem(401, "unauthenticated");
            assert_eq!(answer.header("www-authenticate"), "Bearer", "{header:?}");
        }
    }
    before.expect_unchanged(&app).await;
}

#[actix_web::test]
async fn a_role_does_what_is_its_own_and_nothing_else() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let (_, source_key) = app.new_key(json!({"name": "shop", "role": "source"})).await;
    let keys = [&app.manager_key, &app.finance_key, &app.approver_key, &source_key];
    let before = Before::of(&app).await;
    let program = &scene.program_id;
    let commission = "/v1/commissions/cm_01234567890123456789012345";
    // Which of manager, finance, approver and source may not.
    for (method, path, refused) in [
        ("POST", "/v1/programs".to_owned(), [false, true, true, true]),
        ("PATCH", format!("/v1/programs/{program}"), [false, true, true, true]),
        ("POST", format!("/v1/programs/{program}/plans"), [false, true, true, true]),
        ("POST", "/v1/partners".to_owned(), [false, true, true, true]),
        ("POST", "/v1/links".to_owned(), [false, true, true, true]),
        ("POST", "/v1/links/inspect".to_owned(), [false, true, true, true]),
        ("POST", "/v1/sources".to_owned(), [false, true, true, true]),
        ("POST", format!("{commission}/approve"), [false, true, true, true]),
        ("GET", format!("/v1/sources?program_id={program}"), [false, true, true, false]),
        ("GET", format!("/v1/conversions?program_id={program}"), [false, false, true, false]),
        ("GET", format!("/v1/commissions?program_id={program}"), [false, false, false, true]),
        ("GET", "/v1/api-keys".to_owned(), [true; 4]),
        ("POST", "/v1/api-keys".to_owned(), [true; 4]),
        ("DELETE", "/v1/api-keys/ak_01234567890123456789012345".to_owned(), [true; 4]),
    ] {
        for (key, is_refused) in keys.iter().zip(refused) {
            let body = if method == "GET" { Value::Null } else { json!({"nonsense": 1}) };
            let answer = app.call(key, method, &path, body).await;
            assert_eq!(answer.status == 403, is_refused, "{method} {path}: {}", answer.text());
            if is_refused {
                let problem = answer.expect_problem(403, "insufficient-scope");
                assert!(problem["scope"].is_string(), "{problem}");
            }
        }
    }
    before.expect_unchanged(&app).await;
}

#[actix_web::test]
async fn the_same_request_twice_has_one_effect_and_one_answer() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let click_id = app.click_id(&scene.link).await;
    let sale = Sale { order_id: "A", amount: "10.00", click_id: Some(click_id) };
    let told = app.sale(&scene, &sale).await;
    let commission = told["commission"]["id"].as_str().unwrap();
    let bearer = format!("Bearer {}", app.admin_key.expose());
    let send = async |path: &str, key: Option<&str>, body: Value| {
        let mut headers =
            vec![("authorization", bearer.as_str()), ("content-type", "application/json")];
        headers.extend(key.map(|k| ("idempotency-key", k)));
        app.send("POST", path, &headers, body.to_string()).await
    };
    let approve = format!("/v1/commissions/{commission}/approve");
    let before = app.rows().await;
    let long = "k".repeat(256);
    for key in [None, Some(""), Some("\"\""), Some("a b"), Some(long.as_str())] {
        let answer = send(&approve, key, json!({})).await;
        answer.expect_problem(400, "idempotency-key-required");
    }
    assert_eq!(app.rows().await, before);

    let partner = json!({"name": "New", "kind": "webmaster"});
    for (path, key, body, other, table) in [
        (
            approve.as_str(),
            "k1",
            json!({"note": "ok"}),
            json!({"note": "no"}),
            "ledger_transactions",
        ),
        ("/v1/partners", "k2", partner, json!({"name": "Other", "kind": "webmaster"}), "partners"),
    ] {
        let first = send(path, Some(key), body.clone()).await;
        assert!([200, 201].contains(&first.status), "{}", first.text());
        assert_eq!(first.header("idempotent-replayed"), "");
        let rows = app.rows().await;
        for spelling in [key.to_owned(), format!("\"{key}\"")] {
            let again = send(path, Some(&spelling), body.clone()).await;
            assert_eq!(again.header("idempotent-replayed"), "true", "{path}");
            assert_eq!((again.status, again.json()), (first.status, first.json()));
            assert_eq!(again.header("location"), first.header("location"));
        }
        let reused = send(path, Some(key), other).await;
        reused.expect_problem(422, "idempotency-key-reused");
        assert_eq!(app.rows().await, rows);
        assert!(rows[table] > before[table]);
    }
}

#[actix_web::test]
async fn a_page_that_cannot_be_is_pointed_at() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let program = &scene.program_id;
    let lists = [
        "/v1/programs?".to_owned(),
        format!("/v1/programs/{program}/plans?"),
        "/v1/partners?".to_owned(),
        format!("/v1/links?program_id={program}&"),
        format!("/v1/sources?program_id={program}&"),
        format!("/v1/conversions?program_id={program}&"),
        format!("/v1/commissions?program_id={program}&"),
        "/v1/api-keys?".to_owned(),
    ];
    for list in &lists {
        app.get(&app.admin_key, &format!("{list}limit=1")).await.expect(200);
        for (query, pointer) in [
            ("limit=0", "/limit"),
            ("limit=201", "/limit"),
            ("limit=-1", "/limit"),
            ("limit=x", "/limit"),
            ("limit=99999999999", "/limit"),
            ("cursor=x", "/cursor"),
            ("cursor=", "/cursor"),
            ("cursor=eyJ2IjoxLCJhZnRlciI6IngifQ", "/cursor"),
            ("cursor=eyJ2IjoyLCJhZnRlciI6bnVsbH0", "/cursor"),
            ("cursor=%00%27%20or%201%3D1", "/cursor"),
        ] {
            let answer = app.get(&app.admin_key, &format!("{list}{query}")).await;
            assert_eq!(answer.status, 422, "{list}{query}: {}", answer.text());
            let problem = answer.expect_problem(422, "invalid-field");
            assert_eq!(pointers(&problem), [pointer], "{list}{query}");
        }
    }
    let answer = app.get(&app.admin_key, "/v1/links?program_id=x").await;
    answer.expect_problem(422, "invalid-field");
    let answer = app.get(&app.admin_key, "/v1/links").await;
    assert_eq!(pointers(&answer.expect_problem(422, "invalid-field")), ["/program_id"]);
}

fn is_address_of(path: &str, template: &str) -> bool {
    path.split('/').count() == template.split('/').count()
        && path.split('/').zip(template.split('/')).all(|(a, b)| a == b || b.starts_with('{'))
}

#[actix_web::test]
async fn an_address_answers_for_its_methods_and_no_other() {
    let app = TestApp::start().await;
    let document = app.send("GET", "/openapi.json", &[], "").await.expect(200);
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() > 20, "{} paths", paths.len());
    let methods = ["get", "post", "put", "patch", "delete"];
    for (template, item) in paths {
        let path = template.replace(['{', '}'], "");
        let allowed: Vec<String> =
            methods.iter().filter(|m| item[**m].is_object()).map(|m| m.to_uppercase()).collect();
        // `/v1/links/inspect` is also an address of `/v1/links/{id}`, with an id that names nothing.
        let is_id = |m: &str| {
            paths.iter().any(|(other, item)| {
                other != template && item[m].is_object() && is_address_of(&path, other)
            })
        };
        for method in methods.iter().filter(|m| !item[**m].is_object() && !is_id(m)) {
            let answer = app.send(&method.to_uppercase(), &path, &[], "").await;
            assert_eq!(answer.status, 405, "{method} {path}: {}", answer.text());
            answer.expect_problem(405, "method-not-allowed");
            assert_eq!(answer.header("allow"), allowed.join(", "), "{method} {path}");
        }
    }
    for path in ["/", "/v1", "/v2/programs", "/v1/programs/a/b/c", "/r", "/.env", "/metrics"] {
        app.send("GET", path, &[], "").await.expect_problem(404, "not-found");
    }
}

#[actix_web::test]
async fn every_answer_names_its_request() {
    let app = TestApp::start().await;
    for path in ["/v1/programs", "/nowhere", "/openapi.json"] {
        let named = app.send("GET", path, &[("x-request-id", "my-own_id-123")], "").await;
        assert_eq!(named.header("x-request-id"), "my-own_id-123", "{path}");
        if named.status >= 400 {
            assert_eq!(named.json()["request_id"], "my-own_id-123");
        }
        let long = "a".repeat(65);
        for bad in ["", "short", "has space in it", "semi;colon;s", long.as_str()] {
            let answer = app.send("GET", path, &[("x-request-id", bad)], "").await;
            let given = answer.header("x-request-id");
            assert!(given.len() >= 8 && given != bad, "{path} {bad:?}: {given:?}");
        }
    }
}
