//! The senders in `examples/`, and the published libraries, each run against the real service.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tributary::clock::Clock;

use crate::harness::{Scene, TestApp};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

/// Says whether a program is there; where it is not, the test that needs it says so and ends.
#[expect(clippy::print_stderr, reason = "a test that is skipped tells why")]
pub fn is_there(program: &str, version: &str) -> bool {
    let found = Command::new(program).arg(version).output().is_ok_and(|o| o.status.success());
    if !found {
        eprintln!("skipped: {program} is not installed; .ci/run installs it where it is root");
    }
    found
}

/// A service whose clock shows the time of this machine: foreign senders look at their own.
async fn service_of_today() -> (TestApp, Scene) {
    let app = TestApp::start().await;
    app.clock.advance(Clock::system().now() - app.clock.now());
    let scene = app.scene().await;
    (app, scene)
}

async fn run(app: &TestApp, scene: &Scene, command: Command) -> Output {
    run_at(app.base.as_str().trim_end_matches('/'), scene, command).await
}

async fn run_at(url: &str, scene: &Scene, mut command: Command) -> Output {
    command
        .env("TRIBUTARY_URL", url)
        .env("SOURCE_ID", &scene.source_id)
        .env("SOURCE_SECRET", scene.secret.expose());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// Runs a sender of `examples/`: a sale, the same again, one with a mistake.
async fn check_sender(program: &str, name: &str) {
    if !is_there(program, "--version") {
        return;
    }
    let (app, scene) = service_of_today().await;
    let click_id = app.click_id(&scene.link).await;
    let send = async |order_id: &str, amount: &str| {
        let mut command = Command::new(program);
        command.arg(example(name)).args([&click_id, order_id, amount, "EUR"]);
        let output = run(&app, &scene, command).await;
        format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    };
    let said = send("A-10045", "149.90").await;
    let answer: Value = serde_json::from_str(said.trim()).unwrap_or_else(|_| panic!("{said}"));
    let receipt = app.receipt(answer["receipt"].as_str().unwrap_or_else(|| panic!("{said}"))).await;
    assert_eq!(receipt["commission"]["amount"], "29.98", "{receipt}");
    let again = send("A-10045", "149.90").await;
    assert!(again.contains("duplicate") || again.contains("accepted"), "{again}");
    let wrong = send("A-2", "1,5").await;
    assert!(wrong.contains("/data/amount"), "{wrong}");
    app.settle(&scene).await;
    assert_eq!(app.count("select count(*) from conversions").await, 1);
    // Where the message is not stored at first, the sender comes again.
    let mut command = Command::new(program);
    command.arg(example(name)).args([&click_id, "A-3", "10", "EUR"]);
    let output = run_at(&busy_at_first(&app.base).await, &scene, command).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("accepted"), "{output:?}");
}

/// An address that answers 503 to the first call, and is the service's from then on.
async fn busy_at_first(base: &url::Url) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let service = (base.host_str().unwrap().to_owned(), base.port().unwrap());
    tokio::spawn(async move {
        let (mut first, _) = listener.accept().await.unwrap();
        let mut seen = vec![0; 64 * 1024];
        let mut n = 0;
        // The body is one JSON object, at the end of what is sent.
        while n == 0 || seen[n - 1] != b'}' {
            n += first.read(&mut seen[n..]).await.unwrap();
        }
        let busy = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\
                    connection: close\r\n\r\n";
        first.write_all(busy.as_bytes()).await.unwrap();
        drop(first);
        while let Ok((mut caller, _)) = listener.accept().await {
            let mut wire = TcpStream::connect(&service).await.unwrap();
            // A caller that hangs up is done.
            drop(tokio::io::copy_bidirectional(&mut caller, &mut wire).await);
        }
    });
    address
}

#[actix_web::test]
async fn the_sender_in_shell_reports_a_sale() {
    if is_there("curl", "--version") && is_there("openssl", "version") {
        check_sender("bash", "send-conversion.sh").await;
    }
}

#[actix_web::test]
async fn the_sender_in_python_reports_a_sale() {
    check_sender("python3", "send-conversion.py").await;
}

#[actix_web::test]
async fn the_sender_in_node_reports_a_sale() {
    check_sender("node", "send-conversion.mjs").await;
}

#[actix_web::test]
async fn the_sender_in_php_reports_a_sale() {
    check_sender("php", "send-conversion.php").await;
}

#[test]
fn the_script_for_static_sites_keeps_the_last_click_ids_and_is_small() {
    let script = std::fs::read_to_string(example("t.js")).unwrap();
    assert!(script.len() <= 1024, "{} bytes", script.len());
    assert!(script.contains("7 days"), "it says how long Safari keeps it");
    if !is_there("node", "--version") {
        return;
    }
    let id = "IBVAYNEAAAfSAAAD6QAAACoBAgMEBVmLbQ-DaK_EdPub";
    let ids: Vec<String> = (10..30).map(|n| format!("{n}{}", &id[2..])).collect();
    let known = format!("a=b; trb_path={}; c=d", ids.join("."));
    let with_new: Vec<&str> = ids[1..].iter().map(String::as_str).chain([id]).collect();
    let again: Vec<&String> = ids[1..].iter().chain([&ids[0]]).collect();
    for (cookie, search, path) in [
        ("", format!("?a=1&click_id={id}&b=2"), json!([id])),
        ("", format!("?click_id={id}x"), json!([])),
        ("", "?click_id=a;path=/".to_owned(), json!([])),
        ("", String::new(), json!([])),
        (known.as_str(), String::new(), json!(ids)),
        (known.as_str(), format!("?click_id={id}"), json!(with_new)),
        (known.as_str(), format!("?click_id={}", ids[0]), json!(again)),
    ] {
        let kept = json!([path, path.as_array().unwrap().last()]);
        let page = format!(
            "var window = {{}}, location = {{search: {}, protocol: 'https:'}}, \
             document = {{cookie: {}}};\n{script}\n\
             console.log(JSON.stringify([window.tributaryClickIds(), window.tributaryClickId()]))",
            json!(search),
            json!(cookie)
        );
        let output = Command::new("node").args(["-e", &page]).output().unwrap();
        let said: Value = serde_json::from_slice(&output.stdout).unwrap_or(json!("nothing"));
        assert_eq!(said, kept, "{search}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

const BY_NPM: &str = r#"
import { Webhook } from 'standardwebhooks';
const { TRIBUTARY_URL, SOURCE_ID, SOURCE_SECRET } = process.env;
const at = new Date();
const body = JSON.stringify({ type: 'conversion.created', timestamp: at.toISOString(),
  data: { event: 'lead', order_id: 'by-npm-ä' } });
const answer = await fetch(`${TRIBUTARY_URL}/v1/webhooks/${SOURCE_ID}`, { method: 'POST', body,
  headers: { 'content-type': 'application/json', 'webhook-id': 'msg_npm',
    'webhook-timestamp': `${Math.floor(at / 1000)}`,
    'webhook-signature': new Webhook(SOURCE_SECRET).sign('msg_npm', at, body) } });
console.log(await answer.text());
"#;

const BY_PYTHON: &str = r#"
import json, os, urllib.request
from datetime import datetime, timezone
from standardwebhooks.webhooks import Webhook
at = datetime.now(timezone.utc)
body = json.dumps({"type": "conversion.created", "timestamp": at.isoformat(),
    "data": {"event": "lead", "order_id": "by-python-ä"}}, ensure_ascii=False)
signature = Webhook(os.environ["SOURCE_SECRET"]).sign("msg_py", at, body)
request = urllib.request.Request(
    os.environ["TRIBUTARY_URL"] + "/v1/webhooks/" + os.environ["SOURCE_ID"], body.encode(),
    {"content-type": "application/json", "webhook-id": "msg_py",
     "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signature})
print(urllib.request.urlopen(request).read().decode())
"#;

/// Installs into a folder of the test and sends one message with what was installed.
async fn check_library(install: Command, send: Command) {
    let mut install = install;
    let done = tokio::task::spawn_blocking(move || install.output().unwrap()).await.unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let (app, scene) = service_of_today().await;
    let output = run(&app, &scene, send).await;
    let error = String::from_utf8_lossy(&output.stderr);
    let answer: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{error}"));
    let receipt =
        app.receipt(answer["receipt"].as_str().unwrap_or_else(|| panic!("{answer}"))).await;
    assert_eq!(receipt["status"], "settled", "{receipt}");
}

#[actix_web::test]
async fn a_message_signed_by_the_npm_package_is_taken() {
    if !is_there("node", "--version") || !is_there("npm", "--version") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("send.mjs"), BY_NPM).unwrap();
    let mut install = Command::new("npm");
    install.args(["install", "--silent", "--no-audit", "--no-fund", "standardwebhooks@1.0.0"]);
    install.current_dir(dir.path());
    let mut send = Command::new("node");
    send.arg("send.mjs").current_dir(dir.path());
    check_library(install, send).await;
}

#[actix_web::test]
async fn a_message_signed_by_the_python_package_is_taken() {
    let has_pip = Command::new("python3").args(["-m", "pip", "--version"]).output();
    if !is_there("python3", "--version") || !has_pip.is_ok_and(|o| o.status.success()) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut install = Command::new("python3");
    install.args(["-m", "pip", "install", "--quiet", "--target", "lib", "standardwebhooks==1.0.0"]);
    install.current_dir(dir.path());
    let mut send = Command::new("python3");
    send.args(["-c", BY_PYTHON]).current_dir(dir.path()).env("PYTHONPATH", "lib");
    check_library(install, send).await;
}
