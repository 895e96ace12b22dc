//! Stories of postbacks: simple trackers report by URL, are believed less, and are paid once.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tributary::conversion::postback::signature::sign;

use crate::harness::{Answer, Sale, Scene, TestApp};

/// Gives the source a profile and a key; returns the key.
pub async fn set_up(app: &TestApp, scene: &Scene, settings: Value) -> String {
    let path = format!("/v1/sources/{}/postback", scene.source_id);
    app.call(&app.manager_key, "PUT", &path, settings).await.expect(200);
    let path = format!("/v1/sources/{}/rotate-postback-key", scene.source_id);
    let made = app.post(&app.manager_key, &path, json!({})).await.expect(201);
    made["key"].as_str().unwrap().to_owned()
}

pub async fn call(app: &TestApp, scene: &Scene, query: &str) -> Answer {
    app.send("GET", &format!("/postback/{}?{query}", scene.source_id), &[], "").await
}

#[track_caller]
fn expect_ok(answer: &Answer) -> String {
    assert_eq!((answer.status, answer.text().as_str()), (200, "OK\n"));
    assert_eq!(answer.header("cache-control"), "no-store");
    answer.header("tributary-receipt").to_owned()
}

fn with_signature(scene: &Scene, names: &[(&str, &str)], ts: i64) -> String {
    let (ts, source_id) = (ts.to_string(), scene.source_id.as_str());
    let mut signed = names.to_vec();
    signed.extend([("ts", ts.as_str()), ("source_id", source_id)]);
    signed.sort_unstable();
    let lines: Vec<String> = signed.iter().map(|(n, v)| format!("{n}={v}")).collect();
    let sig = sign(&scene.secret, &lines.join("\n"));
    let query: Vec<String> = names.iter().map(|(n, v)| format!("{n}={v}")).collect();
    format!("{}&ts={ts}&sig={sig}", query.join("&"))
}

async fn count(app: &TestApp, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(&mut app.owner().await).await.unwrap()
}

#[actix_web::test]
async fn a_tracker_reports_by_key_and_time_alone_approves_nothing() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let key = set_up(&app, &scene, json!({"alias_profile": "keitaro"})).await;
    let click = app.click_id(&scene.link).await;
    let query = format!("key={key}&subid={click}&tid=K-1&payout=100.00&currency=EUR&status=sale");
    let receipt = app.receipt(&expect_ok(&call(&app, &scene, &query).await)).await;
    assert_eq!(receipt["status"], "settled", "{receipt}");
    let commission = app.commission(&scene, &receipt).await;
    assert_eq!(
        (&commission["status"], &commission["amount"]),
        (&json!("pending"), &json!("20.00"))
    );
    assert_eq!(app.advance(TimeDelta::days(31)).await, 0, "a key in an address approves nothing");

    // The tracker moves it, by form this time; the same call again changes nothing.
    let path = format!("/postback/{}", scene.source_id);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    for _ in 0..2 {
        let body = format!("key={key}&tid=K-1&status=rejected");
        let answer = app.send("POST", &path, &form, body).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "OK\n"));
    }
    app.settle(&scene).await;
    assert_eq!(app.commission(&scene, &receipt).await["status"], "rejected");
}

#[actix_web::test]
async fn one_order_by_webhook_and_by_postback_pays_once_also_days_later() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let key = set_up(&app, &scene, json!({"alias_profile": "generic"})).await;
    let click = app.click_id(&scene.link).await;
    let sale = Sale { order_id: "A-1", amount: "100.00", click_id: Some(click.clone()) };
    app.sale(&scene, &sale).await;
    let same = format!("key={key}&order_id=A-1&amount=100&currency=EUR&click_id={click}");
    for _ in 0..3 {
        expect_ok(&call(&app, &scene, &same).await);
        app.clock.advance(TimeDelta::days(3));
    }
    // Other money about the same order: a conflict, whether the look-up or settlement tells it.
    let other = format!("key={key}&order_id=A-1&amount=900.00&currency=EUR&click_id={click}");
    let answer = call(&app, &scene, &other).await;
    assert!([200, 409].contains(&answer.status), "{}", answer.text());
    app.settle(&scene).await;
    assert_eq!(count(&app, "select count(*) from conversions").await, 1);
    assert_eq!(count(&app, "select sum(amount_minor)::bigint from commissions").await, 2_000);

    // And the other way round.
    expect_ok(&call(&app, &scene, &same.replace("A-1", "B-1")).await);
    app.settle(&scene).await;
    app.sale(&scene, &Sale { order_id: "B-1", ..sale }).await;
    assert_eq!(count(&app, "select count(*) from conversions").await, 2);
    assert_eq!(count(&app, "select count(*) from commissions").await, 2);
}

#[actix_web::test]
async fn a_source_with_orders_of_its_own_shares_none() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let own = app
        .post(
            &app.admin_key,
            "/v1/sources",
            json!({"program_id": scene.program_id, "name": "tracker", "order_namespace": "tracker"}),
        )
        .await
        .expect(201);
    let mut tracker = app.scene().await;
    tracker.program_id = scene.program_id.clone();
    tracker.source_id = own["id"].as_str().unwrap().to_owned();
    let key = set_up(&app, &tracker, json!({"alias_profile": "generic"})).await;
    let click_id = Some(app.click_id(&scene.link).await);
    app.sale(&scene, &Sale { order_id: "A-1", amount: "100.00", click_id }).await;
    let click = app.click_id(&scene.link).await;
    let query = format!("key={key}&order_id=A-1&amount=100&currency=EUR&click_id={click}");
    expect_ok(&call(&app, &tracker, &query).await);
    app.settle(&scene).await;
    assert_eq!(count(&app, "select count(*) from conversions").await, 2);
}

#[actix_web::test]
async fn a_signed_postback_approves_and_a_changed_one_is_refused() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let click = app.click_id(&scene.link).await;
    let now = app.clock.now().timestamp();
    let names = [
        ("click_id", click.as_str()),
        ("order_id", "S-1"),
        ("amount", "50.00"),
        ("currency", "EUR"),
        ("status", "approved"),
    ];
    let query = with_signature(&scene, &names, now);
    for (changed, parameter) in [
        (query.replace("amount=50.00", "amount=5000.00"), "sig"),
        (query.replace("order_id=S-1", "order_id=S-2"), "sig"),
        (query.replace(&format!("ts={now}"), &format!("ts={}", now + 1)), "sig"),
        (format!("{query}&coupon_code=MORE"), "sig"),
        (query.replace("&sig=", "&sig=0"), "sig"),
        (with_signature(&scene, &names, now - 301), "ts"),
    ] {
        let answer = call(&app, &scene, &changed).await;
        assert_eq!(answer.status, 401, "{changed}: {}", answer.text());
        assert!(answer.text().starts_with(parameter), "{}", answer.text());
    }
    assert_eq!(app.stream_len().await, 1, "the click alone");
    expect_ok(&call(&app, &scene, &query).await);
    app.settle(&scene).await;
    assert_eq!(count(&app, "select count(*) from commissions where state = 'approved'").await, 1);

    // All the money went back, twice told: taken back once.
    for shift in [0, 60] {
        let refund = [("order_id", "S-1"), ("status", "refunded")];
        expect_ok(&call(&app, &scene, &with_signature(&scene, &refund, now + shift)).await);
    }
    app.settle(&scene).await;
    assert_eq!(count(&app, "select count(*) from conversion_refunds").await, 1);
    assert_eq!(count(&app, "select count(*) from commissions where state = 'reversed'").await, 1);
}

#[actix_web::test]
async fn an_event_without_a_name_of_ours_is_parked_and_released_by_a_person() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let key = set_up(&app, &scene, json!({"alias_profile": "voluum"})).await;
    let click = app.click_id(&scene.link).await;
    let query = format!("key={key}&cid={click}&txid=P-1&payout=10.00&currency=EUR&et=upsell");
    // Parking needs no PostgreSQL: what was answered OK is durable.
    app.cut_postgres();
    let receipt = expect_ok(&call(&app, &scene, &query).await);
    app.restore_all();
    expect_ok(&call(&app, &scene, &query).await);
    app.wait_for_count(1, "select count(*) from parked_messages").await;
    app.settle(&scene).await;
    assert_eq!(count(&app, "select count(*) from conversions").await, 0, "nothing is guessed");

    let path = format!("/v1/conversions/parked?program_id={}", scene.program_id);
    let listed = app.get(&app.manager_key, &path).await.expect(200);
    let parked = &listed["data"][0];
    assert_eq!((&parked["event_name"], &parked["amount"]), (&json!("upsell"), &json!("10.00")));
    let path = format!("/v1/conversions/parked/{}", parked["id"].as_str().unwrap());
    let release = format!("{path}/release");
    let wrong = app.post(&app.manager_key, &release, json!({"event": "upsell"})).await;
    wrong.expect_problem(422, "invalid-field");
    app.post(&app.finance_key, &release, json!({"event": "sale"})).await.expect(403);
    let body = json!({"event": "sale", "remember": true});
    app.post(&app.manager_key, &release, body.clone()).await.expect(200);
    let settled = app.receipt(&receipt).await;
    assert_eq!(
        (&settled["status"], &settled["commission"]["amount"]),
        (&json!("settled"), &json!("2.00"))
    );
    app.post(&app.manager_key, &release, body).await.expect_problem(409, "invalid-transition");

    // The name is known now; the next one is not parked, and another can be discarded.
    expect_ok(&call(&app, &scene, &query.replace("P-1", "P-2")).await);
    expect_ok(&call(&app, &scene, &query.replace("upsell", "noise")).await);
    app.wait_for_count(2, "select count(*) from conversions").await;
    app.wait_for_count(1, "select count(*) from parked_messages where status = 'parked'").await;
    let path = format!("/v1/conversions/parked?program_id={}", scene.program_id);
    let listed = app.get(&app.manager_key, &path).await.expect(200);
    let path =
        format!("/v1/conversions/parked/{}/discard", listed["data"][0]["id"].as_str().unwrap());
    app.post(&app.manager_key, &path, json!({"reason": "a heartbeat"})).await.expect(200);
    assert_eq!(count(&app, "select count(*) from conversions").await, 2);
}

#[actix_web::test]
async fn the_tester_shows_everything_and_writes_nothing() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let key = set_up(&app, &scene, json!({"alias_profile": "keitaro"})).await;
    let click = app.click_id(&scene.link).await;
    app.wait_for_count(1, "select count(*) from clicks").await;
    let (rows, stream_len) = (app.rows().await, app.stream_len().await);
    let path = format!("/v1/sources/{}/test", scene.source_id);
    let test = async |query: String| {
        let url = format!("https://go.example/postback/{}?{query}", scene.source_id);
        app.post(&app.manager_key, &path, json!({"url": url})).await.expect(200)
    };
    let good = test(format!(
        "key={key}&subid={click}&tid=T-1&payout=100.00&currency=EUR&status=wow&geo=DE"
    ))
    .await;
    assert_eq!(good["verdict"], "accepted", "{good}");
    assert_eq!(good["answer"], json!({"status": 200, "line": "OK"}));
    assert_eq!((&good["profile"], &good["believed_by"]), (&json!("keitaro"), &json!("key")));
    assert_eq!(good["ignored"], json!({"geo": "DE"}));
    assert_eq!((&good["status"], &good["unknown_status"]), (&json!("pending"), &json!("wow")));
    let tid = json!({"parameter": "tid", "means": "order_id", "value": "T-1"});
    assert!(good["interpreted"].as_array().unwrap().contains(&tid), "{good}");
    assert_eq!(good["settlement"][0]["commissions"][0]["amount"], "20.00", "{good}");
    assert!(!good.to_string().contains(&key), "a key is not shown");

    let refused = test("key=no&tid=T-1&payout=1&currency=EUR".to_owned()).await;
    assert_eq!(
        (&refused["verdict"], &refused["answer"]["status"]),
        (&json!("refused"), &json!(401))
    );
    let refused = test(format!("key={key}&tid=T-1&payout=1,5&currency=EUR")).await;
    assert_eq!(refused["answer"]["status"], 400);
    assert!(refused["answer"]["line"].as_str().unwrap().starts_with("payout: "), "{refused}");
    let parked = test(format!("key={key}&tid=T-1&payout=1&currency=EUR&event=upsell")).await;
    assert_eq!(parked["verdict"], "parked");
    for url in ["", "not a url", "https://go.example/postback"] {
        let refused = app.post(&app.manager_key, &path, json!({"url": url})).await;
        let problem = refused.expect_problem(422, "invalid-field");
        assert_eq!(problem["errors"][0]["pointer"], "/url", "{problem}");
    }
    assert_eq!((app.rows().await, app.stream_len().await), (rows, stream_len));
}

#[actix_web::test]
async fn a_key_is_rotated_with_an_overlap_and_works_without_postgres() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let first = set_up(&app, &scene, json!({"alias_profile": "generic"})).await;
    let second = set_up(&app, &scene, json!({"alias_profile": "generic"})).await;
    let query = |key: &str| format!("key={key}&order_id=R-1&amount=1.00&currency=EUR");
    app.cut_postgres();
    for key in [&first, &second] {
        expect_ok(&call(&app, &scene, &query(key)).await);
    }
    app.restore_all();
    app.clock.advance(TimeDelta::hours(73));
    assert_eq!(call(&app, &scene, &query(&first)).await.status, 401);
    expect_ok(&call(&app, &scene, &query(&second)).await);
    app.settle(&scene).await;
    assert_eq!(count(&app, "select count(*) from conversions").await, 1);
}

#[actix_web::test]
async fn a_tracker_that_waits_hears_what_became_of_it() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let key = set_up(&app, &scene, json!({"alias_profile": "keitaro"})).await;
    let click = app.click_id(&scene.link).await;
    let sale = format!("key={key}&subid={click}&tid=K-1&payout=100.00&currency=EUR&wait=1");
    let patient = format!("{sale}&wait_ms=5000");
    let answer = call(&app, &scene, &patient).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "OK settled\n"));
    assert!(!answer.header("tributary-receipt").is_empty());
    // How it is asked is no part of what is said, nor kept with it.
    assert_eq!(
        count(&app, "select count(*) from conversions where details::text like '%wait%'").await,
        0
    );
    let refund = format!("key={key}&tid=K-2&status=refunded&wait=1&wait_ms=5000");
    assert_eq!(call(&app, &scene, &refund).await.text(), "OK waiting\n");
    app.wait_for_count(1, "select count(*) from webhook_messages where status = 'settled'").await;
    for query in ["wait=yes", "wait=1&wait_ms=5001", "wait=1&wait_ms=x"] {
        let answer = call(&app, &scene, &format!("key={key}&tid=K-3&{query}")).await;
        assert_eq!(answer.status, 400, "{query}: {}", answer.text());
        assert!(answer.text().starts_with("wait"), "{}", answer.text());
    }
    let parked = format!("key={key}&tid=K-4&event=upsell&wait=1");
    assert_eq!(call(&app, &scene, &parked).await.text(), "OK\n");
}

#[actix_web::test]
async fn a_source_may_let_time_approve_its_postbacks() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let settings = json!({"alias_profile": "generic", "approves_by_time": true});
    let key = set_up(&app, &scene, settings).await;
    let click = app.click_id(&scene.link).await;
    let query = format!("key={key}&click_id={click}&order_id=A&amount=100.00&currency=EUR");
    let receipt = app.receipt(&expect_ok(&call(&app, &scene, &query).await)).await;
    assert_eq!(app.commission(&scene, &receipt).await["status"], "pending");
    assert_eq!(app.advance(TimeDelta::days(31)).await, 1);
    assert_eq!(app.commission(&scene, &receipt).await["status"], "approved");
    let audited = "select count(*) from audit_log where action = 'source.set_postback'
        and details->>'approves_by_time' = 'true' and actor is not null";
    assert_eq!(count(&app, audited).await, 1);
    let path = format!("/v1/sources/{}/postback", scene.source_id);
    let shown = app.get(&app.manager_key, &path).await.expect(200);
    assert_eq!(shown["approves_by_time"], true);
}

#[actix_web::test]
async fn a_source_that_sends_too_fast_is_told_when_to_come_again() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let key = set_up(&app, &scene, json!({"alias_profile": "generic"})).await;
    let path = format!("/v1/sources/{}", scene.source_id);
    for (rate, status) in [(json!(0), 422), (json!(1_000_001), 422), (json!(2), 200)] {
        let changes = json!({"requests_per_second": rate});
        let answer = app.call(&app.manager_key, "PATCH", &path, changes).await;
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    app.app().keeper.refresh().await.unwrap();
    // The clock stands still: two seconds' worth may come, by whichever way.
    for n in 0..4 {
        let data = json!({"event": "lead", "order_id": format!("L-{n}")});
        app.webhook(&scene, &format!("m{n}"), "conversion.created", data).await.expect(202);
    }
    let data = json!({"event": "lead", "order_id": "L-4"});
    let refused = app.webhook(&scene, "m4", "conversion.created", data.clone()).await;
    refused.expect_problem(429, "quota-exceeded");
    assert_eq!(refused.header("retry-after"), "1");
    let query = format!("key={key}&order_id=P-1&event=lead");
    let refused = call(&app, &scene, &query).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, "1"), "{}", refused.text());
    // Strangers cannot use it up, and hear nothing of it.
    assert_eq!(call(&app, &scene, "key=wrong&order_id=P-1&event=lead").await.status, 401);
    app.clock.advance(TimeDelta::seconds(1));
    app.webhook(&scene, "m4", "conversion.created", data).await.expect(202);
    expect_ok(&call(&app, &scene, &query).await);
    assert_eq!(call(&app, &scene, &query).await.status, 429);

    // Null is the rate of the service again.
    let changes = json!({"requests_per_second": null});
    app.call(&app.manager_key, "PATCH", &path, changes).await.expect(200);
    app.app().keeper.refresh().await.unwrap();
    app.clock.advance(TimeDelta::seconds(2));
    for _ in 0..10 {
        expect_ok(&call(&app, &scene, &query).await);
    }
}
