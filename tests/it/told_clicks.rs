//! Clicks that an app tells of, because it cannot redirect.

use chrono::{SubsecRound as _, TimeDelta};
use serde_json::{Value, json};

use crate::harness::TestApp;

const AGENT: &str = "Mozilla/5.0 (Linux; Android 14; K) AppleWebKit/537.36 (KHTML, like Gecko) \
                     Chrome/124.0.0.0 Mobile Safari/537.36";

#[actix_web::test]
async fn a_told_click_is_named_settled_once_and_attributes() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let key = &app.admin_key;
    let at = (app.clock.now() - TimeDelta::minutes(3)).trunc_subsecs(3);
    let click = json!({"link": format!("{}&sub2=push", scene.link), "id": "app-1", "at": at,
        "user_agent": AGENT, "ip": "203.0.113.7", "country": "DE",
        "referrer": "https://app.example/news"});
    let named = app.post(key, "/v1/clicks", click.clone()).await.expect(201);
    assert_eq!((&named["class"], &named["reason"]), (&json!("human"), &json!("navigation")));
    let click_id = named["click_id"].as_str().unwrap();
    assert!(named["location"].as_str().unwrap().contains(click_id), "{named}");

    // Told again it is the same click; another one of the same visitor counts and is not unique.
    let again = app.post(key, "/v1/clicks", click.clone()).await.expect(201);
    assert_eq!(again, named);
    let mut other = click.clone();
    other["id"] = json!("app-2");
    let answer = app
        .post(key, "/v1/clicks/batch", json!({"clicks": [click, other, {"link": "nonsense"},
            {"link": scene.link, "id": "", "country": "de"},
            {"link": scene.link, "user_agent": "Googlebot/2.1 (+http://www.google.com/bot.html)"}]}))
        .await
        .expect(200);
    assert_eq!(answer["n_kept"], 3, "{answer}");
    assert_eq!(answer["data"][0], named);
    assert_ne!(answer["data"][1]["click_id"], named["click_id"]);
    assert_eq!(answer["data"][2]["errors"][0]["detail"], "is not a live link of ours (malformed)");
    let pointers: Vec<&Value> =
        answer["data"][3]["errors"].as_array().unwrap().iter().map(|e| &e["pointer"]).collect();
    assert_eq!(pointers, ["/id", "/at", "/country"]);
    assert_eq!(
        (&answer["data"][4]["class"], &answer["data"][4]["click_id"]),
        (&json!("bot"), &Value::Null)
    );
    app.wait_for_count(3, "select count(*) from clicks").await;
    app.wait_for_count(1, "select count(*) from clicks where is_unique").await;
    let told = "select concat_ws(' ', sub2, country, referrer_host, device, class) from clicks
                order by class, click_id";
    assert_eq!(
        app.figures(told).await,
        ["push DE app.example 1 0", "push DE app.example 1 0", "0 2"]
    );

    // An old click, too many at once and a key without the right are refused.
    let old = json!({"link": scene.link, "id": "x", "at": at - TimeDelta::hours(25)});
    let problem = app.post(key, "/v1/clicks", old).await.expect_problem(422, "invalid-field");
    assert_eq!(problem["errors"][0]["pointer"], "/at");
    let many = json!({"clicks": vec![json!({"link": "x"}); 101]});
    app.post(key, "/v1/clicks/batch", many).await.expect_problem(422, "invalid-field");
    app.post(&app.finance_key, "/v1/clicks", json!({"link": scene.link}))
        .await
        .expect_problem(403, "insufficient-scope");
}
