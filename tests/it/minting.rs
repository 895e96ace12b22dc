//! Partners sign links offline, with keys of their own; the minters of `examples/` agree with us.

use std::process::Command;

use chrono::TimeDelta;
use serde_json::{Value, json};
use tributary::ids::LinkNo;
use tributary::link::token::{FIRST_MINTED, MintKey};

use crate::harness::{Scene, TestApp};

const VECTORS: &str = include_str!("../../examples/mint-vectors.json");

fn vectors() -> Vec<Value> {
    let file: Value = serde_json::from_str(VECTORS).unwrap();
    file["vectors"].as_array().unwrap().clone()
}

#[test]
fn our_own_minter_makes_the_tokens_of_the_vectors() {
    for v in vectors() {
        let text = v["key"].as_str().unwrap();
        let key = MintKey::parse(text).unwrap();
        assert_eq!(key.expose(), text);
        let link = LinkNo(u32::try_from(v["link"].as_u64().unwrap()).unwrap());
        let until = v["expires_on"].as_str().map(|day| day.parse().unwrap());
        assert_eq!(key.sign(link, until).unwrap(), v["token"].as_str().unwrap());
    }
}

/// A machine without the interpreter says so and cannot tell; `.ci/run` installs all three.
fn minter_agrees(interpreter: &str, script: &str) {
    if Command::new(interpreter).arg("--version").output().is_err() {
        eprintln!("{interpreter} is not here: {script} was not tried");
        return;
    }
    for v in vectors() {
        let mut command = Command::new(interpreter);
        command.arg(format!("{}/examples/{script}", env!("CARGO_MANIFEST_DIR")));
        command.args(["https://go.example", &v["link"].to_string()]);
        command.args(v["expires_on"].as_str()).env("MINT_KEY", v["key"].as_str().unwrap());
        let output = command.output().unwrap();
        let minted = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let expected = format!("https://go.example/r/{}", v["token"].as_str().unwrap());
        assert_eq!(minted, expected, "{script}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn the_minter_in_python_agrees() {
    minter_agrees("python3", "mint-link.py");
}

#[test]
fn the_minter_in_php_agrees() {
    minter_agrees("php", "mint-link.php");
}

#[test]
fn the_minter_in_javascript_agrees() {
    minter_agrees("node", "mint-link.mjs");
}

async fn key_of(app: &TestApp, scene: &Scene) -> MintKey {
    let path = format!("/v1/partners/{}/minting-keys", scene.partner_id);
    let body = json!({"program_id": scene.program_id});
    let answer = app.call(&app.manager_key, "POST", &path, body).await.expect(200);
    MintKey::parse(answer["key"].as_str().unwrap()).unwrap()
}

async fn rotate(app: &TestApp, scene: &Scene, overlap_hours: u16) {
    let path = format!("/v1/partners/{}/minting-keys/rotate", scene.partner_id);
    let body = json!({"program_id": scene.program_id, "overlap_hours": overlap_hours});
    app.call(&app.manager_key, "POST", &path, body).await.expect(201);
}

fn minted(app: &TestApp, key: &MintKey, link: LinkNo) -> String {
    app.base.join(&format!("r/{}", key.sign(link, None).unwrap())).unwrap().to_string()
}

/// Tells whether a link leads to the shop, rather than to the page that helps.
async fn is_live(app: &TestApp, link: &str) -> bool {
    app.click(link).await.header("location").contains("click_id=")
}

#[actix_web::test]
async fn a_link_minted_offline_is_counted_for_its_partner_and_gets_a_row() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let key = key_of(&app, &scene).await;
    let link = minted(&app, &key, FIRST_MINTED);
    assert!(is_live(&app, &link).await);
    assert!(
        is_live(&app, &format!("{link}?sub1=sidebar&url=https%3A%2F%2Felsewhere.example")).await
    );
    app.wait_for_count(2, "select count(*) from clicks where link_number = 2147483648").await;
    app.wait_for_count(1, "select count(*) from links where number = 2147483648").await;
    let sale = crate::harness::Sale {
        order_id: "M-1",
        amount: "100.00",
        click_id: Some(app.click_id(&link).await),
    };
    app.webhook(&scene, "m1", "conversion.created", sale.data()).await.expect(202);
    app.wait_for_count(1, "select count(*) from commissions").await;
}

#[actix_web::test]
async fn raising_the_epoch_revokes_links_when_the_overlap_is_over() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let old = minted(&app, &key_of(&app, &scene).await, FIRST_MINTED);
    assert!(is_live(&app, &old).await);
    rotate(&app, &scene, 2).await;
    let new = minted(&app, &key_of(&app, &scene).await, FIRST_MINTED);
    assert_ne!(old, new);
    assert!(is_live(&app, &old).await && is_live(&app, &new).await);
    app.clock.advance(TimeDelta::hours(2));
    assert!(!is_live(&app, &old).await && is_live(&app, &new).await);
    rotate(&app, &scene, 0).await;
    assert!(!is_live(&app, &new).await);
}

#[actix_web::test]
async fn a_key_signs_for_its_own_partner_alone_and_only_so_many_rows() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let key = key_of(&app, &scene).await;
    let mut other = key.clone();
    other.partner.0 += 1;
    assert!(!is_live(&app, &minted(&app, &other, FIRST_MINTED)).await);
    let mut owner = app.owner().await;
    sqlx::query("update enrollments set minted_links_max = 2").execute(&mut owner).await.unwrap();
    for n in 0..4 {
        assert!(is_live(&app, &minted(&app, &key, LinkNo(FIRST_MINTED.0 + n))).await);
    }
    app.wait_for_count(4, "select count(*) from clicks").await;
    app.wait_for_count(2, "select count(*) from links where number >= 2147483648").await;
}

#[actix_web::test]
async fn minting_is_refused_with_a_reason() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let path = format!("/v1/partners/{}/minting-keys", scene.partner_id);
    let elsewhere = json!({"program_id": "pg_00000000000000000000000000"});
    app.call(&app.manager_key, "POST", &path, elsewhere).await.expect_problem(404, "not-found");
    let body = json!({"program_id": scene.program_id, "overlap_hours": 721});
    let rotating = app.call(&app.manager_key, "POST", &format!("{path}/rotate"), body).await;
    let problem = rotating.expect_problem(422, "invalid-field");
    assert_eq!(problem["errors"][0]["pointer"], "/overlap_hours");
    let body = json!({"program_id": scene.program_id});
    app.call(&app.finance_key, "POST", &path, body).await.expect_problem(403, "insufficient-scope");
}
