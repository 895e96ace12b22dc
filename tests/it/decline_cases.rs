//! Partners that decline get one case each, what many share becomes one incident.

use chrono::{Days, NaiveDate, TimeDelta};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tributary::address::Guard;
use tributary::click::classify::{Browser, Class, Device, Reason};
use tributary::click::click_id::ClickId;
use tributary::clock::Timestamp;
use tributary::ids::{LinkNo, PartnerNo, ProgramNo};
use tributary::incident::daily;
use tributary::incident::landing::probe::visit;
use tributary::incident::landing::{Verdict, decide};
use tributary::outbound::ActivityDeclined;
use tributary::settlement::click::Click;
use tributary::stream::ClickRecord;
use url::Url;

use crate::harness::TestApp;

pub const N_PARTNERS: usize = 24;
pub const HISTORY_DAYS: u64 = 100;

/// A program with partners that bring about twenty visitors a day.
pub struct Network {
    pub app: TestApp,
    pub program_id: String,
    program: ProgramNo,
    pub partners: Vec<(String, PartnerNo)>,
}

impl Network {
    pub async fn start() -> Self {
        let app = TestApp::start().await;
        let scene = app.scene().await;
        let mut owner = app.owner().await;
        let program: i32 =
            sqlx::query_scalar("select number from programs").fetch_one(&mut owner).await.unwrap();
        let mut partners = Vec::new();
        for n in 0..N_PARTNERS {
            let body = json!({"name": format!("Blog {n}"), "kind": "webmaster",
                "slug": format!("blog-no-{n}"), "country": "DE", "program_id": scene.program_id});
            let made = app.post(&app.admin_key, "/v1/partners", body).await.expect(201);
            let number = u32::try_from(made["number"].as_i64().unwrap()).unwrap();
            partners.push((made["id"].as_str().unwrap().to_owned(), PartnerNo(number)));
        }
        let program = ProgramNo(u32::try_from(program).unwrap());
        Self { app, program_id: scene.program_id, program, partners }
    }

    pub fn today(&self) -> NaiveDate {
        self.app.clock.now().date_naive()
    }

    /// Settles the days from one to before another; `share` is what a partner brings of the usual.
    pub async fn live(
        &self,
        days: std::ops::Range<NaiveDate>,
        share: impl Fn(usize, NaiveDate) -> u32,
    ) {
        let settler = self.app.app().settler();
        for day in days.start.iter_days().take_while(|day| *day < days.end) {
            let mut clicks = Vec::new();
            for (place, (_, partner)) in self.partners.iter().enumerate() {
                for n in 0..n_clicks(place, day) * share(place, day) / 100 {
                    let second = i64::from(3_600 + n * 600);
                    let at = day.and_hms_opt(0, 0, 0).unwrap().and_utc();
                    clicks.push(self.click(*partner, at + TimeDelta::seconds(second), n, None));
                }
            }
            settler.settle_clicks(&clicks).await.unwrap();
        }
    }

    /// Returns the click number `n` of a partner's visitors at that time.
    pub fn click(&self, partner: PartnerNo, at: Timestamp, n: u32, page: Option<&str>) -> Click {
        let [a, b, c, d] = n.to_le_bytes();
        let (program, random) = (self.program, [1, a, b, c, d]);
        let id = ClickId { at, program, partner, link: LinkNo(1), random };
        Click::from_record(ClickRecord {
            payload: id.payload(),
            class: Class::Human.code(),
            reason: Reason::Navigation.code(),
            device: Device::Desktop.code(),
            browser: Browser::Chrome.code(),
            is_gpc: true,
            country: Some(*b"DE"),
            landing: page.map(str::to_owned),
            ..ClickRecord::default()
        })
    }

    pub async fn run(&self) -> u64 {
        let app = self.app.app();
        daily::run_due(&app.background_db, &Guard::default(), self.app.clock.now()).await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Value {
        self.app.get(&self.app.manager_key, path).await.expect(200)
    }

    pub async fn list(&self, path: &str) -> Vec<Value> {
        let path = format!("{path}?program_id={}", self.program_id);
        self.get(&path).await["data"].as_array().unwrap().clone()
    }

    async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&mut self.app.owner().await).await.unwrap()
    }
}

/// Between 16 and 24, for each partner another row of numbers.
fn n_clicks(place: usize, day: NaiveDate) -> u32 {
    let mix = (place as u64 + 1) * 7_919 + u64::from(day.to_epoch_days().unsigned_abs()) * 104_729;
    16 + u32::try_from((mix ^ (mix >> 7)) % 9).unwrap()
}

#[actix_web::test]
async fn a_partner_that_stops_gets_one_case_until_a_person_closes_it() {
    let net = Network::start().await;
    let today = net.today();
    let (begin, stop) = (today - Days::new(HISTORY_DAYS), today - Days::new(10));
    // One stops; another stops on the same day, and said so. A holiday halves a day of everybody.
    let holiday = today - Days::new(30);
    let share = |place, day| match place {
        0 | 1 if day >= stop => 0,
        _ if day == holiday => 50,
        _ => 100,
    };
    net.live(begin..today, share).await;
    let away = json!({"program_id": net.program_id, "from": stop, "to": today + Days::new(60),
        "reason": "holiday"});
    let path = format!("/v1/partners/{}/absences", net.partners[1].0);
    net.app.post(&net.app.manager_key, &path, away).await.expect(201);

    // Two instances at once, and one of them again.
    let (a, b) = futures_util::future::join(net.run(), net.run()).await;
    assert_eq!(net.run().await, 0);
    assert_eq!(a + b, 1);
    assert_eq!(net.count("select count(*) from decline_days").await, 1);
    let cases = net.list("/v1/cases").await;
    assert_eq!(cases.len(), 1, "{cases:?}");
    let case = &cases[0];
    assert_eq!(case["partner_id"], net.partners[0].0.as_str());
    // Who is told of it gets what the daily mail and every endpoint expect.
    let payload: Value = sqlx::query_scalar("select payload from notices")
        .fetch_one(&mut net.app.owner().await)
        .await
        .unwrap();
    let told: ActivityDeclined = serde_json::from_value(payload).unwrap();
    assert_eq!(told.partner_id, net.partners[0].0);
    assert_eq!(told.case_id.as_deref(), case["id"].as_str());
    assert_eq!((&case["severity"], &case["kind"]), (&json!("silent"), &json!("will_not_sell")));
    assert_eq!(case["since"], json!(stop));
    // Opened on a Sunday: Tuesday is the second working day.
    assert_eq!(case["due_on"], "2026-11-24");
    let notices = "select count(*) from notices where kind = 'partner.activity_declined'";
    assert_eq!(net.count(notices).await, 1);

    // The report names it beside the figures.
    let path = format!(
        "/v1/reports/activity-decline?program_id={}&from={}&to={today}",
        net.program_id,
        today - Days::new(28)
    );
    assert_eq!(net.get(&path).await["rows"][0]["case_id"], case["id"]);

    // The next day finds the same partner and the same case.
    net.app.clock.advance(TimeDelta::days(1));
    net.live(today..today + Days::new(1), share).await;
    assert_eq!(net.run().await, 1);
    assert_eq!(net.list("/v1/cases").await.len(), 1);
    assert_eq!(net.list("/v1/incidents").await, Vec::<Value>::new());

    // People take it up.
    let path = format!("/v1/cases/{}", case["id"].as_str().unwrap());
    let manager = &net.app.manager_key;
    let call = json!({"channel": "call", "note": "Moves house.", "next_due": "2026-12-01"});
    let shown = net.app.post(manager, &format!("{path}/contacts"), call).await.expect(201);
    assert_eq!((&shown["status"], &shown["due_on"]), (&json!("contacted"), &json!("2026-12-01")));
    assert_eq!(shown["contacts"][0]["note"], "Moves house.");
    let patch = async |body: Value| net.app.call(manager, "PATCH", &path, body).await;
    patch(json!({"status": "closed"})).await.expect_problem(422, "invalid-field");
    patch(json!({"outcome": "left"})).await.expect_problem(422, "invalid-field");
    let guess = &shown["hypotheses"][0]["cause"];
    let found = json!({"confirmed_cause": guess, "remedy": "support-callback", "owner": "Anna"});
    patch(found).await.expect(200);
    let accuracy = net.get(&format!("/v1/cases/accuracy?program_id={}", net.program_id)).await;
    assert_eq!(
        accuracy,
        json!([{"cause": guess, "n_confirmed": 1, "n_right": 1,
        "right_percent": null, "note": "too few"}])
    );
    assert_eq!(net.get("/v1/cases?owner=Anna&overdue=true").await["data"], json!([]));

    // The partner comes back: that is noted, and the case goes on until a person closes it.
    let (from, to) = (today + Days::new(1), today + Days::new(20));
    net.live(from..to, |place, _| if place == 1 { 0 } else { 100 }).await;
    net.app.clock.advance(TimeDelta::days(19));
    assert_eq!(net.get("/v1/cases?owner=Anna&overdue=true").await["data"][0]["id"], case["id"]);
    // Nineteen days were missed, and no more than two weeks of them are acted on.
    assert_eq!(net.run().await, 14);
    let shown = net.get(&path).await;
    // Two weeks after it was opened a case may be told recovered by the clicks of two weeks.
    assert_eq!(shown["recovered_on"], json!(today + Days::new(14)), "{shown}");
    assert_eq!(shown["status"], "contacted");
    patch(json!({"status": "closed", "outcome": "recovered"})).await.expect(200);
    patch(json!({"status": "open"})).await.expect_problem(409, "invalid-transition");
    assert_eq!(net.list("/v1/cases").await.len(), 1);
    let effects = net.get(&format!("/v1/cases/effects?program_id={}", net.program_id)).await;
    assert_eq!(effects[0]["note"], "too few to say", "{effects}");
    let audited = "select count(*) from audit_log where action like 'case.%'";
    assert_eq!(net.count(audited).await, 5, "opened, contacted, two changes and a recovery");
}

#[actix_web::test]
async fn an_outage_of_everybody_is_one_incident_and_no_case() {
    let net = Network::start().await;
    let today = net.today();
    let (begin, stop) = (today - Days::new(HISTORY_DAYS), today - Days::new(4));
    net.live(begin..today, |_, day| if day >= stop { 0 } else { 100 }).await;
    sqlx::query(
        "insert into landing_checks (program_id, check_id, checked_at, verdict, text)
         select program_id, gen_random_uuid(), $1, 'dead', 'the landing page answers 404'
         from programs",
    )
    .bind(net.app.clock.now() - TimeDelta::days(4))
    .execute(&mut net.app.owner().await)
    .await
    .unwrap();
    assert_eq!(net.run().await, 1);
    assert_eq!(net.list("/v1/cases").await, Vec::<Value>::new());
    let incidents = net.list("/v1/incidents").await;
    assert_eq!(incidents.len(), 1, "{incidents:?}");
    assert_eq!(
        (&incidents[0]["kind"], &incidents[0]["since"]),
        (&json!("destination"), &json!(stop))
    );
    let text = incidents[0]["text"].as_str().unwrap();
    assert!(text.contains("the landing page answers 404"), "{text}");

    net.app.clock.advance(TimeDelta::days(1));
    net.live(today..today + Days::new(1), |_, _| 100).await;
    assert_eq!(net.run().await, 1);
    let incidents = net.list("/v1/incidents").await;
    assert_eq!((incidents.len(), &incidents[0]["status"]), (1, &json!("over")), "{incidents:?}");
    assert_eq!(net.list("/v1/cases").await, Vec::<Value>::new());
}

#[actix_web::test]
async fn days_that_the_service_was_off_are_caught_up_as_if_it_had_run() {
    let net = Network::start().await;
    let today = net.today();
    let day = |n: u64| today + Days::new(n);
    // One stops on the first day that is missed; later an outage of four days hits everybody.
    let share = |place, on| match place {
        _ if (day(6)..day(10)).contains(&on) => 0,
        0 if on >= today => 0,
        _ => 100,
    };
    net.live(today - Days::new(HISTORY_DAYS)..day(12), share).await;
    assert_eq!(net.run().await, 1);
    assert_eq!(net.list("/v1/cases").await, Vec::<Value>::new());

    net.app.clock.advance(TimeDelta::days(4));
    assert_eq!(net.run().await, 4);
    let checks = "select count(*) from landing_checks";
    assert_eq!(net.count(checks).await, 2, "the page was looked at once for the four days");
    let cases = net.list("/v1/cases").await;
    assert_eq!(cases.len(), 1, "{cases:?}");
    let opened_on: NaiveDate = cases[0]["opened_on"].as_str().unwrap().parse().unwrap();
    assert!(opened_on < net.today(), "on the day after the one that showed it: {cases:?}");
    assert_eq!(cases[0]["since"], json!(today));
    let followed = "select count(*) from case_days";
    assert_eq!(net.count(followed).await, (net.today() - opened_on).num_days());
    let notices = "select count(*) from notices where kind = 'partner.activity_declined'";
    assert_eq!(net.count(notices).await, 1);

    // The outage began and ended while nobody looked.
    net.app.clock.advance(TimeDelta::days(8));
    assert_eq!(net.run().await, 8);
    assert_eq!(net.run().await, 0);
    let incidents = net.list("/v1/incidents").await;
    assert_eq!(incidents.len(), 1, "{incidents:?}");
    assert_eq!(
        (&incidents[0]["status"], &incidents[0]["since"], &incidents[0]["ended_on"]),
        (&json!("over"), &json!(day(6)), &json!(day(10)))
    );
    assert_eq!(net.list("/v1/cases").await.len(), 1);
    assert_eq!(net.count(notices).await, 1);
}

/// Answers each path in its own way, on a port of this machine.
async fn serve_shop() -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut bytes = vec![0; 4096];
                let n = stream.read(&mut bytes).await.unwrap();
                let text = String::from_utf8_lossy(&bytes[..n]).into_owned();
                let path = text.split(' ').nth(1).unwrap_or_default();
                let (path, query) = path.split_once('?').unwrap_or((path, ""));
                let head = match path {
                    "/ok" => "200 OK".to_owned(),
                    "/kept" => format!("302 Found\r\nLocation: /ok?{query}"),
                    "/dropped" => "301 Moved\r\nLocation: /ok".to_owned(),
                    "/cookie" => {
                        "302 Found\r\nSet-Cookie: click_id=1; Path=/\r\nLocation: /ok".to_owned()
                    }
                    "/loop" => "302 Found\r\nLocation: /loop".to_owned(),
                    "/inside" => "302 Found\r\nLocation: http://10.0.0.1/".to_owned(),
                    "/silent" => return std::future::pending().await,
                    _ => "404 Not Found".to_owned(),
                };
                let answer = format!("HTTP/1.1 {head}\r\nContent-Length: 2\r\n\r\nok");
                // The check may have seen enough and left.
                drop(stream.write_all(answer.as_bytes()).await);
            });
        }
    });
    base
}

#[actix_web::test]
async fn a_landing_check_tells_dead_pages_from_lost_click_ids() {
    let base = serve_shop().await;
    let open = Guard { allow: vec!["127.0.0.0/8".parse().unwrap()] };
    let check = async |path: &str, guard: &Guard, allow_http: bool| {
        let url = base.join(&format!("{path}?click_id=PROBE")).unwrap();
        // Long enough for everything here; the silent page ends it.
        let time = std::time::Duration::from_millis(if path == "/silent" { 200 } else { 10_000 });
        decide(&visit(url, allow_http, guard, time).await, "PROBE", "click_id")
    };
    for (path, verdict, status) in [
        ("/ok", Verdict::Ok, Some(200)),
        ("/kept", Verdict::Ok, Some(200)),
        ("/cookie", Verdict::Ok, Some(200)),
        ("/dropped", Verdict::DropsClickId, Some(200)),
        ("/gone", Verdict::Dead, Some(404)),
        ("/loop", Verdict::Dead, None),
        ("/silent", Verdict::Dead, None),
        ("/inside", Verdict::NotChecked, None),
    ] {
        let found = check(path, &open, true).await;
        assert_eq!((found.verdict, found.http_status), (verdict, status), "{path}: {}", found.text);
    }
    let private = check("/ok", &Guard::default(), true).await;
    assert_eq!(private.verdict, Verdict::NotChecked, "{}", private.text);
    let plain = check("/ok", &open, false).await;
    assert_eq!(plain.verdict, Verdict::NotChecked, "{}", plain.text);

    let app = TestApp::start().await;
    let scene = app.scene().await;
    let path = format!("/v1/programs/{}/landing-check", scene.program_id);
    let answer = app.post(&app.manager_key, &path, Value::Null).await.expect(200);
    assert_eq!(answer["verdict"], "not_checked", "{answer}");
    app.wait_for_count(1, "select count(*) from landing_checks").await;
}
