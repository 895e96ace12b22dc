//! Notices reach their endpoints, signed, once, and only where they may go; the daily mail comes once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use actix_web::web::{Bytes, Data};
use actix_web::{App as Application, HttpRequest, HttpResponse, HttpServer, rt};
use chrono::TimeDelta;
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};
use tributary::address::Guard;
use tributary::ids::{NoticeId, ProgramId};
use tributary::outbound::deliverer::Deliverer;
use tributary::outbound::mail::{Mailer, Post};
use tributary::outbound::sender::Sender;
use tributary::outbound::{ACTIVITY_DECLINED, Notice, store};

use crate::harness::TestApp;

/// A message as it arrived.
#[derive(Clone)]
struct Arrived {
    path: String,
    id: String,
    timestamp: i64,
    signatures: String,
    body: Vec<u8>,
}

impl Arrived {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// What the reference library would sign is among the signatures.
    fn is_signed_with(&self, secret: &str) -> bool {
        let expected = Webhook::new(secret).unwrap().sign(&self.id, self.timestamp, &self.body);
        let expected = expected.unwrap();
        self.signatures.split(' ').any(|signature| signature == expected)
    }
}

/// Answers in order: a status and a header; 200 when there are no more.
type Script = VecDeque<(u16, Option<(&'static str, String)>)>;

#[derive(Clone)]
struct Receiver {
    url: String,
    arrived: Arc<Mutex<Vec<Arrived>>>,
    script: Arc<Mutex<Script>>,
    /// A permit for each answer; as many as anybody needs unless a test takes them away.
    gate: Arc<Semaphore>,
    came: Arc<Notify>,
}

impl Receiver {
    fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let receiver = Self {
            url: format!("http://{}/hook", listener.local_addr().unwrap()),
            arrived: Arc::default(),
            script: Arc::default(),
            gate: Arc::new(Semaphore::new(1000)),
            came: Arc::new(Notify::new()),
        };
        let state = Data::new(receiver.clone());
        let server = HttpServer::new(move || {
            Application::new()
                .app_data(state.clone())
                .default_service(actix_web::web::to(Self::receive))
        })
        .workers(1)
        .disable_signals()
        .listen(listener)
        .unwrap();
        rt::spawn(server.run());
        receiver
    }

    async fn receive(request: HttpRequest, body: Bytes, state: Data<Self>) -> HttpResponse {
        let header = |name| request.headers().get(name).unwrap().to_str().unwrap().to_owned();
        assert_eq!(header("content-type"), "application/json");
        state.arrived.lock().unwrap().push(Arrived {
            path: request.path().to_owned(),
            id: header("webhook-id"),
            timestamp: header("webhook-timestamp").parse().unwrap(),
            signatures: header("webhook-signature"),
            body: body.to_vec(),
        });
        state.came.notify_one();
        state.gate.acquire().await.unwrap().forget();
        let next = state.script.lock().unwrap().pop_front();
        let (status, extra) = next.unwrap_or((200, None));
        let mut answer = HttpResponse::build(status.try_into().unwrap());
        if let Some(header) = extra {
            answer.insert_header(header);
        }
        answer.finish()
    }

    fn answer(&self, statuses: &[u16]) {
        self.script.lock().unwrap().extend(statuses.iter().map(|status| (*status, None)));
    }

    fn answer_with(&self, status: u16, name: &'static str, value: &str) {
        self.script.lock().unwrap().push_back((status, Some((name, value.to_owned()))));
    }

    fn arrived(&self) -> Vec<Arrived> {
        self.arrived.lock().unwrap().clone()
    }
}

async fn make_endpoint(app: &TestApp, program: &str, url: &str, kinds: Value) -> Value {
    let body = json!({"program_id": program, "url": url, "kinds": kinds});
    app.post(&app.manager_key, "/v1/webhook-endpoints", body).await.expect(201)
}

/// Decides something: the notice is there as if a transaction had ended with it.
async fn decide(app: &TestApp, program: &str, kind: &str, payload: Value) -> NoticeId {
    let program_id: ProgramId = program.parse().unwrap();
    let notice = Notice {
        program_id,
        notice_id: NoticeId::new(),
        kind: kind.to_owned(),
        subject: "pt_x".to_owned(),
        payload,
        created_at: app.clock.now(),
    };
    let mut db = app.app().db.acquire().await.unwrap();
    store::insert_notice(&mut db, &notice).await.unwrap();
    notice.notice_id
}

async fn deliver(app: &TestApp) -> usize {
    app.app().deliverer().unwrap().deliver_due(|| false).await.unwrap()
}

/// Reads the one delivery of an endpoint.
async fn delivery(app: &TestApp, endpoint: &Value) -> Value {
    let path = format!("/v1/webhook-endpoints/{}/deliveries", endpoint["id"].as_str().unwrap());
    let page = app.get(&app.manager_key, &path).await.expect(200);
    assert_eq!(page["data"].as_array().unwrap().len(), 1, "{page}");
    page["data"][0].clone()
}

#[actix_web::test]
async fn a_notice_reaches_the_endpoints_that_want_its_kind_signed_and_once() {
    let app = TestApp::start().await;
    let program = app.scene().await.program_id;
    let (all, some, none) = (Receiver::start(), Receiver::start(), Receiver::start());
    let wants_all = make_endpoint(&app, &program, &all.url, json!(["*"])).await;
    make_endpoint(&app, &program, &some.url, json!([ACTIVITY_DECLINED])).await;
    make_endpoint(&app, &program, &none.url, json!(["payout.paid"])).await;
    let id = decide(&app, &program, ACTIVITY_DECLINED, json!({"partner_id": "pt_1"})).await;

    assert_eq!(deliver(&app).await, 2);
    assert_eq!(deliver(&app).await, 0, "what was taken is not sent again");
    assert_eq!([all.arrived().len(), some.arrived().len(), none.arrived().len()], [1, 1, 0]);
    let message = &all.arrived()[0];
    assert_eq!(message.id, id.to_string());
    assert_eq!(message.timestamp, app.clock.now().timestamp());
    assert!(message.is_signed_with(wants_all["secret"].as_str().unwrap()));
    assert!(!some.arrived()[0].is_signed_with(wants_all["secret"].as_str().unwrap()));
    assert_eq!(
        message.json(),
        json!({"type": ACTIVITY_DECLINED, "timestamp": "2026-11-22T10:00:00Z",
            "data": {"partner_id": "pt_1"}})
    );
    let delivery = delivery(&app, &wants_all).await;
    assert_eq!(delivery["id"], id.to_string());
    assert_eq!((&delivery["status"], &delivery["last_status"]), (&json!("delivered"), &json!(200)));
    let path = format!("/v1/webhook-endpoints/{}", wants_all["id"].as_str().unwrap());
    let shown = app.get(&app.manager_key, &path).await.expect(200);
    assert_eq!(shown.get("secret"), None, "a secret is shown once");
}

#[actix_web::test]
async fn both_secrets_sign_during_a_rotation_and_the_older_ends() {
    let app = TestApp::start().await;
    let program = app.scene().await.program_id;
    let receiver = Receiver::start();
    let endpoint = make_endpoint(&app, &program, &receiver.url, json!(["other"])).await;
    let path = format!("/v1/webhook-endpoints/{}", endpoint["id"].as_str().unwrap());
    let rotate = json!({"overlap_hours": 24});
    let rotated = app.post(&app.manager_key, &format!("{path}/secrets"), rotate).await.expect(201);
    let (old, new) = (endpoint["secret"].as_str().unwrap(), rotated["secret"].as_str().unwrap());
    for (advance_h, expected) in [(0, [true, true]), (23, [true, true]), (1, [false, true])] {
        app.clock.advance(TimeDelta::hours(advance_h));
        // A ping comes whatever kinds the endpoint wants.
        app.post(&app.manager_key, &format!("{path}/test"), Value::Null).await.expect(202);
        assert_eq!(deliver(&app).await, 1);
        let message = receiver.arrived().pop().unwrap();
        assert_eq!([old, new].map(|secret| message.is_signed_with(secret)), expected);
        assert_eq!(message.json()["type"], "ping");
    }
}

#[actix_web::test]
async fn failures_are_tried_again_on_the_schedule_and_then_by_hand() {
    let app = TestApp::start().await;
    let program = app.scene().await.program_id;
    let receiver = Receiver::start();
    receiver.answer(&[500; 8]);
    let endpoint = make_endpoint(&app, &program, &receiver.url, json!(["*"])).await;
    let id = decide(&app, &program, "a.b", json!({})).await;
    assert_eq!(deliver(&app).await, 1);
    for (n, wait_s) in [5, 300, 1800, 7200, 18_000, 36_000, 36_000].into_iter().enumerate() {
        assert_eq!(receiver.arrived().len(), n + 1);
        app.clock.advance(TimeDelta::seconds(wait_s - 1));
        assert_eq!(deliver(&app).await, 0, "attempt {} comes too early", n + 2);
        app.clock.advance(TimeDelta::seconds(wait_s / 5 + 1));
        assert_eq!(deliver(&app).await, 1, "attempt {} does not come", n + 2);
    }
    let failed = delivery(&app, &endpoint).await;
    assert_eq!((&failed["status"], &failed["attempts"]), (&json!("failed"), &json!(8)));
    assert_eq!(failed["last_error"], "answered 500");
    assert_eq!(failed["next_attempt_at"], Value::Null);
    app.clock.advance(TimeDelta::hours(20));
    assert_eq!(deliver(&app).await, 0, "enough is enough");

    let path = format!("/v1/webhook-endpoints/{}", endpoint["id"].as_str().unwrap());
    let again = format!("{path}/deliveries/{id}/retry");
    app.post(&app.manager_key, &again, Value::Null).await.expect(202);
    assert_eq!(deliver(&app).await, 1);
    assert_eq!(delivery(&app, &endpoint).await["status"], "delivered");
    let ids: Vec<_> = receiver.arrived().iter().map(|message| message.id.clone()).collect();
    assert_eq!(ids, vec![id.to_string(); 9], "the id tells a repetition");
    let shown = app.get(&app.manager_key, &path).await.expect(200);
    assert_eq!(shown["failing_since"], Value::Null);
    let unknown = format!("{path}/deliveries/{}/retry", NoticeId::new());
    app.post(&app.manager_key, &unknown, Value::Null).await.expect_problem(404, "not-found");
}

#[actix_web::test]
async fn retry_after_is_honored_and_a_redirect_is_not_followed() {
    let app = TestApp::start().await;
    let program = app.scene().await.program_id;
    let receiver = Receiver::start();
    receiver.answer_with(503, "retry-after", "120");
    receiver.answer_with(302, "location", "/elsewhere");
    let endpoint = make_endpoint(&app, &program, &receiver.url, json!(["*"])).await;
    decide(&app, &program, "a.b", json!({})).await;
    assert_eq!(deliver(&app).await, 1);
    app.clock.advance(TimeDelta::seconds(119));
    assert_eq!(deliver(&app).await, 0);
    app.clock.advance(TimeDelta::seconds(1));
    assert_eq!(deliver(&app).await, 1);
    let paths: Vec<_> = receiver.arrived().iter().map(|message| message.path.clone()).collect();
    assert_eq!(paths, ["/hook", "/hook"]);
    let error = delivery(&app, &endpoint).await["last_error"].clone();
    assert_eq!(error, "answered 302; redirects are not followed");
}

#[actix_web::test]
async fn an_endpoint_that_is_gone_is_disabled_and_the_others_are_told_once() {
    let app = TestApp::start().await;
    let program = app.scene().await.program_id;
    let (gone, silent, watcher) = (Receiver::start(), Receiver::start(), Receiver::start());
    gone.answer(&[410; 3]);
    silent.answer(&[500; 9]);
    let ends = [
        make_endpoint(&app, &program, &gone.url, json!(["a.b"])).await,
        make_endpoint(&app, &program, &silent.url, json!(["a.b"])).await,
    ];
    make_endpoint(&app, &program, &watcher.url, json!(["endpoint.disabled"])).await;
    for _ in 0..2 {
        decide(&app, &program, "a.b", json!({})).await;
    }
    deliver(&app).await;
    deliver(&app).await;
    let told: Vec<_> =
        watcher.arrived().iter().map(|message| message.json()["data"].clone()).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(
        (&told[0]["endpoint_id"], &told[0]["reason"]),
        (&ends[0]["id"], &json!("answered 410"))
    );
    let path = |n: usize| format!("/v1/webhook-endpoints/{}", ends[n]["id"].as_str().unwrap());
    let shown = app.get(&app.manager_key, &path(0)).await.expect(200);
    assert_eq!(shown["status"], "disabled");
    let test = app.post(&app.manager_key, &format!("{}/test", path(0)), Value::Null).await;
    test.expect_problem(409, "invalid-transition");
    let active = json!({"status": "active"});
    app.call(&app.manager_key, "PATCH", &path(0), active).await.expect(200);
    app.post(&app.manager_key, &format!("{}/test", path(0)), Value::Null).await.expect(202);

    // Five days of failure are the end, too.
    app.clock.advance(TimeDelta::hours(119));
    deliver(&app).await;
    assert_eq!(app.get(&app.manager_key, &path(1)).await.expect(200)["status"], "active");
    app.clock.advance(TimeDelta::hours(1));
    deliver(&app).await;
    deliver(&app).await;
    assert_eq!(app.get(&app.manager_key, &path(1)).await.expect(200)["status"], "disabled");
    let told = watcher.arrived().pop().unwrap().json();
    assert_eq!(told["data"]["reason"], "failed for 120 hours");
}

#[actix_web::test]
async fn two_deliverers_at_once_send_each_message_once() {
    let app = TestApp::start().await;
    let program = app.scene().await.program_id;
    let receiver = Receiver::start();
    make_endpoint(&app, &program, &receiver.url, json!(["*"])).await;
    let mut expected = Vec::new();
    for _ in 0..20 {
        expected.push(decide(&app, &program, "a.b", json!({})).await.to_string());
    }
    let (one, two) = (app.app().deliverer().unwrap(), app.app().deliverer().unwrap());
    let (n, m) =
        futures_util::future::join(one.deliver_due(|| false), two.deliver_due(|| false)).await;
    assert_eq!(n.unwrap() + m.unwrap(), 20);
    let mut ids: Vec<_> = receiver.arrived().iter().map(|message| message.id.clone()).collect();
    ids.sort();
    assert_eq!(ids, expected);
}

#[actix_web::test]
async fn a_message_under_way_is_held_until_its_sender_must_be_dead() {
    let app = TestApp::start().await;
    let program = app.scene().await.program_id;
    let receiver = Receiver::start();
    receiver.gate.forget_permits(1000);
    receiver.answer(&[500]);
    let endpoint = make_endpoint(&app, &program, &receiver.url, json!(["*"])).await;
    decide(&app, &program, "a.b", json!({})).await;
    let first = app.app().deliverer().unwrap();
    let first = rt::spawn(async move { first.deliver_due(|| false).await });
    receiver.came.notified().await;
    assert_eq!(deliver(&app).await, 0, "the first still holds it");
    app.clock.advance(TimeDelta::seconds(61));
    let second = app.app().deliverer().unwrap();
    let second = rt::spawn(async move { second.deliver_due(|| false).await });
    receiver.came.notified().await;
    // Now both wait for their answers: the first gets 500, but has lost the row.
    receiver.gate.add_permits(2);
    assert_eq!(first.await.unwrap().unwrap() + second.await.unwrap().unwrap(), 2);
    assert_eq!(receiver.arrived().len(), 2);
    assert_eq!(delivery(&app, &endpoint).await["attempts"], 2);
}

#[actix_web::test]
async fn nothing_inside_is_called_without_the_operators_word() {
    let app = TestApp::start().await;
    let program = app.scene().await.program_id;
    let receiver = Receiver::start();
    let endpoint = make_endpoint(&app, &program, &receiver.url, json!(["*"])).await;
    decide(&app, &program, "a.b", json!({})).await;
    let inner = app.app();
    let deliverer = Deliverer {
        db: inner.db.clone(),
        clock: app.clock.clone(),
        sealer: inner.sealer.clone(),
        sender: Sender::new(Guard::default()).unwrap(),
    };
    assert_eq!(deliverer.deliver_due(|| false).await.unwrap(), 1);
    assert_eq!(receiver.arrived().len(), 0);
    let error = delivery(&app, &endpoint).await["last_error"].clone();
    assert_eq!(error, "not called: the address 127.0.0.1 is not public");

    for url in [
        "http://10.0.0.1/",
        "https://169.254.169.254/latest",
        "https://[::1]/",
        "ftp://a.example/",
        "https://u:p@a.example/",
        "nonsense",
    ] {
        let body = json!({"program_id": program, "url": url});
        let answer = app.post(&app.manager_key, "/v1/webhook-endpoints", body).await;
        let problem = answer.expect_problem(422, "invalid-field");
        assert_eq!(problem["errors"][0]["pointer"], "/url", "{url}");
    }
}

#[actix_web::test]
async fn endpoints_are_paged_removed_and_closed_to_others() {
    let app = TestApp::start().await;
    let program = app.scene().await.program_id;
    let receiver = Receiver::start();
    let first = make_endpoint(&app, &program, &receiver.url, json!(["*"])).await;
    make_endpoint(&app, &program, &receiver.url, json!(["a"])).await;
    decide(&app, &program, "a", json!({})).await;
    deliver(&app).await;
    let list = format!("/v1/webhook-endpoints?program_id={program}&limit=1");
    let page = app.get(&app.manager_key, &list).await.expect(200);
    assert_eq!((&page["data"][0]["id"], &page["has_more"]), (&first["id"], &json!(true)));
    app.get(&app.finance_key, &list).await.expect_problem(403, "insufficient-scope");
    let path = format!("/v1/webhook-endpoints/{}", first["id"].as_str().unwrap());
    app.call(&app.manager_key, "DELETE", &path, Value::Null).await.expect(204);
    app.get(&app.manager_key, &path).await.expect_problem(404, "not-found");
    app.wait_for_count(1, "select count(*) from deliveries").await;
    app.wait_for_count(
        1,
        "select count(*) from audit_log where action = 'webhook_endpoint.delete'",
    )
    .await;
    for kinds in [json!([]), json!(["A b"]), json!(["a..b"]), json!([""])] {
        let body = json!({"program_id": program, "url": receiver.url, "kinds": kinds});
        let answer = app.post(&app.manager_key, "/v1/webhook-endpoints", body).await;
        answer.expect_problem(422, "invalid-field");
    }
}

// ---- the daily mail -----------------------------------------------------------------------

/// A mail server that speaks the few verbs and refuses the first `n_refused` recipients.
struct MailServer {
    url: String,
    mails: Arc<Mutex<Vec<String>>>,
}

impl MailServer {
    async fn start(n_refused: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        let mails: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&mails);
        rt::spawn(async move {
            let mut n_refused = n_refused;
            while let Ok((stream, _)) = listener.accept().await {
                let mut stream = BufReader::new(stream);
                stream.write_all(b"220 mail.test ESMTP\r\n").await.unwrap();
                let mut line = String::new();
                while stream.read_line(&mut line).await.unwrap_or(0) > 0 {
                    let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
                    let answer = match verb.as_str() {
                        "EHLO" => "250 mail.test",
                        "RCPT" if n_refused > 0 => {
                            n_refused -= 1;
                            "451 try again later"
                        }
                        "MAIL" | "RCPT" | "RSET" | "NOOP" => "250 fine",
                        "DATA" => "354 go on",
                        "QUIT" => "221 bye",
                        _ => "500 what?",
                    };
                    stream.write_all(format!("{answer}\r\n").as_bytes()).await.unwrap();
                    line.clear();
                    if verb == "DATA" {
                        let mut mail = String::new();
                        while !mail.ends_with("\r\n.\r\n") {
                            stream.read_line(&mut mail).await.unwrap();
                        }
                        kept.lock().unwrap().push(mail);
                        stream.write_all(b"250 kept\r\n").await.unwrap();
                    }
                }
            }
        });
        Self { url, mails }
    }

    fn mails(&self) -> Vec<String> {
        // A header longer than a line goes on with a space.
        self.mails.lock().unwrap().iter().map(|mail| mail.replace("\r\n ", " ")).collect()
    }
}

fn mailer(app: &TestApp, server: &MailServer) -> Mailer {
    let from = "Tributary <tributary@shop.example>".parse().unwrap();
    let post = Post::new(&server.url, from).unwrap();
    Mailer { db: app.app().db.clone(), clock: app.clock.clone(), post }
}

fn declined(name: &str, amount: &str) -> Value {
    json!({"partner_id": format!("pt_{name}"), "partner_name": name, "severity": "critical",
        "since": "2026-11-02", "share_lost_percent": 83, "lost_commission_next_28d": amount,
        "currency": "EUR", "possible_cause": "technical", "remedy": "Repair the links.",
        "case_id": "ca_1"})
}

#[actix_web::test]
async fn the_daily_mail_comes_once_though_its_job_runs_twice() {
    let app = TestApp::start().await;
    let program = app.scene().await.program_id;
    let server = MailServer::start(0).await;
    let path = format!("/v1/programs/{program}/digest");
    let recipients = json!({"emails": ["anna@shop.example", "boris@shop.example"]});
    app.call(&app.manager_key, "PUT", &path, recipients.clone()).await.expect(200);
    let shown = app.get(&app.manager_key, &path).await.expect(200);
    assert_eq!((&shown["emails"], &shown["locale"]), (&recipients["emails"], &json!("en")));
    decide(&app, &program, ACTIVITY_DECLINED, declined("Blog <42>", "400.00")).await;
    decide(&app, &program, ACTIVITY_DECLINED, declined("Dealer", "12.00")).await;

    let (one, two) = (mailer(&app, &server), mailer(&app, &server));
    let written = futures_util::future::join(one.write_due(), two.write_due()).await;
    assert_eq!(written.0.unwrap() + written.1.unwrap(), 1);
    let sent = futures_util::future::join(one.send_due(|| false), two.send_due(|| false)).await;
    assert_eq!(sent.0.unwrap() + sent.1.unwrap(), 2, "one for each recipient");
    assert_eq!(one.write_due().await.unwrap() + one.send_due(|| false).await.unwrap(), 0);

    let mails = server.mails();
    assert_eq!(mails.len(), 2);
    let subject = "Subject: Tributary: 2 partners declining, EUR 412.00 at stake (2026-11-21)";
    for mail in &mails {
        assert!(mail.contains(subject), "{mail}");
        assert!(mail.contains("1. Blog <42> (critical, new): EUR 400.00 at stake"), "{mail}");
        assert!(mail.contains("Blog &lt;42&gt; (critical, new)"), "{mail}");
    }
    let is_for = |name: &str| mails.iter().filter(|m| m.contains(&format!("To: {name}@"))).count();
    assert_eq!([is_for("anna"), is_for("boris")], [1, 1]);

    // The next morning has nothing new, so nothing comes.
    app.clock.advance(TimeDelta::days(1));
    assert_eq!(one.write_due().await.unwrap(), 1, "the day is written down as empty");
    assert_eq!(one.send_due(|| false).await.unwrap(), 0);
    assert_eq!(server.mails().len(), 2);
}

#[actix_web::test]
async fn a_mail_that_is_refused_comes_later_and_keeps_nobody_waiting() {
    let app = TestApp::start().await;
    let program = app.scene().await.program_id;
    let server = MailServer::start(1).await;
    let path = format!("/v1/programs/{program}/digest");
    let recipients = json!({"emails": ["a@shop.example", "b@shop.example"], "locale": "ru"});
    app.call(&app.manager_key, "PUT", &path, recipients).await.expect(200);
    decide(&app, &program, ACTIVITY_DECLINED, declined("Blog", "1.00")).await;
    let mailer = mailer(&app, &server);
    assert_eq!(mailer.write_due().await.unwrap(), 1);
    assert_eq!(mailer.send_due(|| false).await.unwrap(), 1, "the other one gets it at once");
    assert_eq!(mailer.send_due(|| false).await.unwrap(), 0);
    app.clock.advance(TimeDelta::seconds(6));
    assert_eq!(mailer.send_due(|| false).await.unwrap(), 1);
    let mails = server.mails();
    assert_eq!(mails.len(), 2);
    assert!(mails.iter().all(|mail| mail.contains("Auto-Submitted: auto-generated")));

    for body in [
        json!({"emails": ["nobody"]}),
        json!({"emails": [], "locale": "de"}),
        json!({"emails": vec!["a@b.example"; 21]}),
        json!({"emails": ["a@b.example\r\nBcc: c@d.example"]}),
    ] {
        let answer = app.call(&app.manager_key, "PUT", &path, body).await;
        answer.expect_problem(422, "invalid-field");
    }
    let other = format!("/v1/programs/{}/digest", ProgramId::new());
    app.get(&app.manager_key, &other).await.expect_problem(404, "not-found");
}
