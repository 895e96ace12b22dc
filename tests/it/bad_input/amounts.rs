//! Amounts: exact, or refused; never rounded on the quiet.

use serde_json::json;

use super::{Before, pointers};
use crate::harness::TestApp;

#[actix_web::test]
async fn an_amount_that_is_not_exact_is_refused() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let before = Before::of(&app).await;
    // As they stand in the JSON: a number of a shop is not mended by a parser on the way.
    let bad = [
        (r#""-1""#, "EUR"),
        ("-1", "EUR"),
        (r#""0""#, "EUR"),
        ("0", "EUR"),
        ("0.00", "EUR"),
        ("1e400", "EUR"),
        ("1e2", "EUR"),
        (r#""1e2""#, "EUR"),
        (r#""NaN""#, "EUR"),
        (r#""Infinity""#, "EUR"),
        (r#""1,00""#, "EUR"),
        (r#""1.005""#, "EUR"),
        ("1.005", "EUR"),
        ("0.30000000000000004", "EUR"),
        ("1000000000000000000", "EUR"),
        ("10000000000.01", "EUR"),
        ("9007199254740993", "EUR"),
        (r#""٣""#, "EUR"),
        (r#""1_000""#, "EUR"),
        (r#""1 000""#, "EUR"),
        (r#""1'000""#, "EUR"),
        (r#""0x10""#, "EUR"),
        (r#""""#, "EUR"),
        (r#"" 1""#, "EUR"),
        (r#""+1""#, "EUR"),
        (r#"".5""#, "EUR"),
        (r#""5.""#, "EUR"),
        ("true", "EUR"),
        ("[1]", "EUR"),
        (r#"{"value":1}"#, "EUR"),
        ("null", "EUR"),
        (r#""1.5""#, "JPY"),
        ("1.0", "JPY"),
        (r#""1.2345""#, "KWD"),
    ];
    for (amount, currency) in bad {
        let answer = send(&app, &scene, "m", amount, currency).await;
        let problem = answer.expect_problem(422, "invalid-field");
        assert_eq!(pointers(&problem), ["/data/amount"], "{amount} {currency}");
    }
    before.expect_unchanged(&app).await;
}

#[actix_web::test]
async fn an_amount_that_fits_its_currency_is_kept_to_the_last_digit() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    for (n, (amount, currency, shown)) in [
        (r#""0.01""#, "EUR", "0.01"),
        ("149.9", "EUR", "149.90"),
        ("0.1", "EUR", "0.10"),
        (r#""10000000000.00""#, "EUR", "10000000000.00"),
        ("9007199254", "EUR", "9007199254.00"),
        (r#""150""#, "JPY", "150"),
        (r#""1.234""#, "KWD", "1.234"),
        ("1.2", "KWD", "1.200"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("m{n}");
        let answer = send(&app, &scene, &id, amount, currency).await;
        let told = app.receipt(answer.expect(202)["receipt"].as_str().unwrap()).await;
        let path = format!("/v1/conversions/{}", told["conversion_id"].as_str().unwrap());
        let kept = app.get(&app.admin_key, &path).await.expect(200);
        assert_eq!((&kept["amount"], &kept["currency"]), (&json!(shown), &json!(currency)));
    }
}

async fn send(
    app: &TestApp,
    scene: &crate::harness::Scene,
    id: &str,
    amount: &str,
    currency: &str,
) -> crate::harness::Answer {
    let at = app.clock.now().to_rfc3339();
    let body = format!(
        r#"{{"type":"conversion.created","timestamp":"{at}","data":{{"event":"sale","order_id":"{id}","amount":{amount},"currency":"{currency}"}}}}"#
    );
    app.webhook_body(scene, id, body.as_bytes()).await
}
