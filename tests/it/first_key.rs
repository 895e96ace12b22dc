//! A service that was just installed has no key: the first one is made at its database.

use serde_json::json;
use tributary::account::key::ApiKey;

use crate::harness::TestApp;
use crate::harness::process::run_beside;

#[actix_web::test]
async fn the_first_key_comes_from_the_database_and_makes_the_others() {
    let app = TestApp::start().await;
    let done = run_beside(&app, &["keys", "create", "--name", "Anna"]).await;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{said}");
    assert!(said.contains("for Anna (us_") && said.contains("role admin"), "{said}");
    let printed = String::from_utf8(done.stdout).unwrap();
    let key = ApiKey::parse(printed.trim()).unwrap();
    assert!(!said.contains(key.expose()), "it stands in no log");

    let own = app.get(&key, "/v1/api-keys/self").await.expect(200);
    assert_eq!(own["role"], "admin");
    let made = app.post(&key, "/v1/api-keys", json!({"name": "Ben", "role": "finance"})).await;
    let ben = made.expect(201)["user_id"].as_str().unwrap().to_owned();

    // One key more for somebody who is there, for a time.
    let more = ["--user", &ben, "--role", "approver", "--expires-at", "2199-01-01T00:00:00Z"];
    let done = run_beside(&app, &[&["keys", "create", "--name", "Ben"], &more[..]].concat()).await;
    let key = ApiKey::parse(String::from_utf8(done.stdout).unwrap().trim()).unwrap();
    let own = app.get(&key, "/v1/api-keys/self").await.expect(200);
    assert_eq!((&own["role"], &own["user_id"]), (&json!("approver"), &json!(ben)));
}

#[actix_web::test]
async fn a_key_that_cannot_be_is_refused_with_the_reason() {
    let app = TestApp::start().await;
    for (arguments, code, why) in [
        (&["--name", " "][..], 1, "--name must have 1 to 200 characters"),
        (&["--name", "A", "--role", "partner"], 2, "POST /v1/api-keys makes it"),
        (&["--name", "A", "--role", "boss"], 2, "must be admin, manager, finance, approver"),
        (&["--name", "A", "--expires-at", "2020-01-01T00:00:00Z"], 1, "lies in the past"),
        (&["--name", "A", "--user", "us_01m8etcx79epganymgbff7q3bf"], 1, "there is no user us_01"),
    ] {
        let done = run_beside(&app, &[&["keys", "create"], arguments].concat()).await;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!((done.status.code(), done.stdout.len()), (Some(code), 0), "{said}");
        assert!(said.contains(why), "{said}");
    }
}
