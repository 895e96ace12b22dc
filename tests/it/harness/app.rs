//! The real service on free ports, with a clock that is moved by hand, and a client for it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use awc::http::Method;
use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::{Connection, Executor as _, PgConnection};
use tempfile::TempDir;
use tributary::account::audit_store::{self, Entry};
use tributary::account::key::ApiKey;
use tributary::account::{Role, store as accounts};
use tributary::app::App;
use tributary::audit::run::{self, Ask};
use tributary::audit::{Beside, Judged, REGISTRY, Reach};
use tributary::clock::{Clock, Timestamp};
use tributary::commission::timer;
use tributary::config::{Config, DEV_CLICK_KEYS, DEV_LINK_KEYS, DEV_MINT_KEYS, DEV_SECRETS_KEY};
use tributary::conversion::signature::{WebhookSecret, sign};
use tributary::ids::{ApiKeyId, UserId};
use tributary::roles::{self, Running};
use tributary::sealing::Sealer;
use url::Url;

use super::cut::Wire;
use super::services::{Database, create_database, services};

/// An ordinary browser: what a person clicks with.
pub const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";
/// Far beyond what any condition needs; a condition that is not met by then never will be.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(5);
/// How long a client keeps an idle connection: less than the service does, or it may use one that is
/// just being closed.
const KEPT_FOR: Duration = Duration::from_secs(2);

/// A visitor or a caller, who waits so long for an answer and does not follow it.
pub fn client(patience: Duration) -> awc::Client {
    awc::Client::builder()
        .disable_redirects()
        .timeout(patience)
        .connector(awc::Connector::new().conn_keep_alive(KEPT_FOR))
        .finish()
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: awc::http::header::HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    /// Expects a status and returns the JSON.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// Expects a problem with this code.
    #[track_caller]
    pub fn expect_problem(&self, status: u16, code: &str) -> Value {
        let problem = self.expect(status);
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert!(problem["request_id"].is_string(), "{problem}");
        problem
    }
}

/// Settings that a story changes.
type Settings = &'static [(&'static str, &'static str)];

/// The service under test, with a key for each role.
pub struct TestApp {
    running: Option<Running>,
    pub clock: Clock,
    pub database: Database,
    pub base: Url,
    pub admin: Url,
    pub admin_key: ApiKey,
    pub manager_key: ApiKey,
    pub finance_key: ApiKey,
    pub approver_key: ApiKey,
    expected_dead_letters: i64,
    settings: Settings,
    expected_broken: Vec<&'static str>,
    sealer: Sealer,
    redis: Wire,
    postgres: Wire,
    client: awc::Client,
    dir: TempDir,
}

/// A program with a partner, a link and a shop: where most stories begin.
pub struct Scene {
    pub program_id: String,
    pub partner_id: String,
    pub link_id: String,
    pub link: String,
    pub source_id: String,
    pub secret: WebhookSecret,
}

/// A sale as a shop reports it.
#[derive(Clone)]
pub struct Sale<'a> {
    pub order_id: &'a str,
    pub amount: &'a str,
    pub click_id: Option<String>,
}

impl Sale<'_> {
    pub fn data(&self) -> Value {
        json!({"event": "sale", "order_id": self.order_id, "amount": self.amount,
            "currency": "EUR", "click_id": self.click_id})
    }
}

impl TestApp {
    pub async fn start() -> Self {
        let database = create_database().await;
        Self::start_on(database, tempfile::tempdir().unwrap()).await
    }

    /// Starts with settings other than the usual ones.
    pub async fn start_with(settings: Settings) -> Self {
        Self::build(create_database().await, tempfile::tempdir().unwrap(), settings).await
    }

    /// Starts on a database and a folder that an earlier app may have left.
    pub async fn start_on(database: Database, dir: TempDir) -> Self {
        Self::build(database, dir, &[]).await
    }

    async fn build(database: Database, dir: TempDir, settings: Settings) -> Self {
        let (redis, postgres) = (redis_wire(), postgres_wire(&database));
        let clock = Clock::manual("2026-11-22T10:00:00Z".parse().unwrap());
        let config = config(&database, &redis, &postgres, dir.path().to_owned(), settings);
        let app = App::build(config, clock.clone()).unwrap();
        let mut keys = Vec::new();
        for role in [Role::Admin, Role::Manager, Role::Finance, Role::Approver] {
            keys.push(make_key(&database, role, clock.now()).await);
        }
        let running = roles::start(app).await.unwrap();
        let sealer = running.app.sealer.clone();
        let mut keys = keys.into_iter();
        let mut next_key = || keys.next().unwrap();
        Self {
            base: address(running.public_address),
            admin: address(running.admin_address),
            running: Some(running),
            clock,
            database,
            admin_key: next_key(),
            manager_key: next_key(),
            finance_key: next_key(),
            approver_key: next_key(),
            expected_dead_letters: 0,
            settings,
            expected_broken: Vec::new(),
            sealer,
            redis,
            postgres,
            client: client(PATIENCE),
            dir,
        }
    }

    pub fn app(&self) -> &App {
        &self.running.as_ref().unwrap().app
    }

    pub fn cut_redis(&self) {
        self.redis.cut();
    }

    pub fn cut_postgres(&self) {
        self.postgres.cut();
    }

    pub fn restore_all(&self) {
        self.redis.restore();
        self.postgres.restore();
    }

    pub fn expect_dead_letters(&mut self, n: i64) {
        self.expected_dead_letters = n;
    }

    /// Says which invariants the story breaks on purpose.
    pub fn expect_broken(&mut self, names: &[&'static str]) {
        self.expected_broken = names.to_vec();
    }

    /// Sends a request as it is.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        let url = self.base.join(path).unwrap();
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.client.request(method, url.as_str());
        for (name, value) in headers {
            request = request.append_header((*name, *value));
        }
        let mut response = request.send_body(body.into()).await.unwrap();
        let body = response.body().limit(64 << 20).await.unwrap().to_vec();
        Answer { status: response.status().as_u16(), headers: response.headers().clone(), body }
    }

    /// Calls the API with a key; a body of null is none. Every POST carries a fresh idempotency key.
    pub async fn call(&self, key: &ApiKey, method: &str, path: &str, body: Value) -> Answer {
        let bearer = format!("Bearer {}", key.expose());
        let once = uuid::Uuid::now_v7().to_string();
        let mut headers =
            vec![("authorization", bearer.as_str()), ("idempotency-key", once.as_str())];
        let bytes = if body.is_null() {
            Vec::new()
        } else {
            headers.push(("content-type", "application/json"));
            body.to_string().into_bytes()
        };
        self.send(method, path, &headers, bytes).await
    }

    pub async fn get(&self, key: &ApiKey, path: &str) -> Answer {
        self.call(key, "GET", path, Value::Null).await
    }

    pub async fn post(&self, key: &ApiKey, path: &str, body: Value) -> Answer {
        self.call(key, "POST", path, body).await
    }

    /// Makes a program with the plan given, a partner in it, a link and a source, all by the API.
    pub async fn scene_with(&self, plan: Value) -> Scene {
        let (admin, hour) = (&self.admin_key, TimeDelta::hours(1));
        let program = self
            .post(
                admin,
                "/v1/programs",
                json!({"name": "Shop", "currency": "EUR",
                "slug": format!("shop-{}", uuid::Uuid::now_v7().simple()),
                "landing_template": "https://shop.example/landing?click_id={click_id}",
                "allowed_hosts": ["shop.example"], "min_payout": "10.00"}),
            )
            .await
            .expect(201);
        let program_id = program["id"].as_str().unwrap().to_owned();
        let mut plan = plan;
        plan["effective_from"] = json!((self.clock.now() - hour).to_rfc3339());
        self.post(admin, &format!("/v1/programs/{program_id}/plans"), plan).await.expect(201);
        let partner = self
            .post(
                admin,
                "/v1/partners",
                json!({"name": "Blog 42", "kind": "webmaster",
                "country": "DE", "program_id": program_id}),
            )
            .await
            .expect(201);
        let partner_id = partner["id"].as_str().unwrap().to_owned();
        self.make_payable(&partner_id).await;
        let link = self
            .post(
                admin,
                "/v1/links",
                json!({"program_id": program_id, "partner_id": partner_id,
                "label": "sidebar", "sub1": "sidebar"}),
            )
            .await
            .expect(201);
        let source = self
            .post(admin, "/v1/sources", json!({"program_id": program_id, "name": "shop"}))
            .await
            .expect(201);
        let scene = Scene {
            program_id,
            partner_id,
            link_id: link["id"].as_str().unwrap().to_owned(),
            link: link["url"].as_str().unwrap().to_owned(),
            source_id: source["id"].as_str().unwrap().to_owned(),
            secret: WebhookSecret::parse(source["secret"].as_str().unwrap()).unwrap(),
        };
        self.app().keeper.refresh().await.unwrap();
        scene
    }

    /// Says where a partner's money goes and what tax law says: nobody is paid without.
    pub async fn make_payable(&self, partner_id: &str) {
        let path = format!("/v1/partners/{partner_id}");
        let method = json!({"kind": "sepa", "holder": "Blog 42", "iban": "DE89370400440532013000"});
        self.call(&self.admin_key, "PUT", &format!("{path}/payout-method"), method)
            .await
            .expect(200);
        let tax = json!({"legal_type": "company", "tax_country": "DE", "vat_treatment": "none"});
        self.call(&self.admin_key, "PUT", &format!("{path}/tax-profile"), tax).await.expect(200);
    }

    /// Twenty per cent of each sale, thirty days of hold.
    pub async fn scene(&self) -> Scene {
        self.scene_with(json!({"v": 1, "hold_days": 30,
            "rules": [{"event": "sale", "kind": "percent", "percent_bps": 2000}]}))
            .await
    }

    /// Follows a link as a person and returns the answer.
    pub async fn click(&self, link: &str) -> Answer {
        self.click_as(link, BROWSER).await
    }

    pub async fn click_as(&self, link: &str, agent: &str) -> Answer {
        let url = Url::parse(link).unwrap();
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        self.send("GET", &path, &[("user-agent", agent)], "").await
    }

    /// Follows a link as a person and returns the click id that the shop gets.
    pub async fn click_id(&self, link: &str) -> String {
        let answer = self.click(link).await;
        assert_eq!(answer.status, 302);
        click_id_of(&answer).unwrap_or_else(|| panic!("no click id in {answer:?}"))
    }

    /// Sends a signed message.
    pub async fn webhook(&self, scene: &Scene, id: &str, kind: &str, data: Value) -> Answer {
        let body = json!({"type": kind, "timestamp": self.clock.now().to_rfc3339(), "data": data});
        self.webhook_body(scene, id, body.to_string().as_bytes()).await
    }

    pub async fn webhook_body(&self, scene: &Scene, id: &str, body: &[u8]) -> Answer {
        self.webhook_to(scene, "", id, body).await
    }

    /// Sends a signed message to the address of the source with `tail` after it.
    pub async fn webhook_to(&self, scene: &Scene, tail: &str, id: &str, body: &[u8]) -> Answer {
        let now = self.clock.now();
        let signature = sign(&scene.secret, id, now, body);
        let headers = [
            ("content-type", "application/json"),
            ("webhook-id", id),
            ("webhook-timestamp", &now.timestamp().to_string()),
            ("webhook-signature", &signature),
        ];
        self.send("POST", &format!("/v1/webhooks/{}{tail}", scene.source_id), &headers, body).await
    }

    /// Reports a sale and waits until it is settled; returns the receipt's answer.
    pub async fn sale(&self, scene: &Scene, sale: &Sale<'_>) -> Value {
        let id = format!("msg_{}", sale.order_id);
        let answer = self.webhook(scene, &id, "conversion.created", sale.data()).await;
        assert!([200, 202].contains(&answer.status), "{}", answer.text());
        let accepted = answer.json();
        self.receipt(accepted["receipt"].as_str().unwrap()).await
    }

    /// Waits until a message is settled and returns what its receipt says.
    pub async fn receipt(&self, receipt: &str) -> Value {
        let path = format!("/v1/receipts/{receipt}");
        let until = Instant::now() + PATIENCE;
        loop {
            let answer = self.get(&self.admin_key, &path).await;
            if answer.status == 200 {
                return answer.json();
            }
            assert!(Instant::now() < until, "{receipt} was never settled: {}", answer.text());
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until a question to the database, which counts, is answered by `n`.
    pub async fn wait_for_count(&self, n: i64, sql: &'static str) {
        let mut db = self.owner().await;
        let until = Instant::now() + PATIENCE;
        loop {
            let found: i64 = sqlx::query_scalar(sql).fetch_one(&mut db).await.unwrap();
            if found == n {
                return;
            }
            assert!(Instant::now() < until, "{sql}: {found} instead of {n}");
            tokio::time::sleep(POLL).await;
        }
    }

    /// A connection of the owner, past every wire that may be cut.
    pub async fn owner(&self) -> PgConnection {
        PgConnection::connect(&self.database.owner_url).await.unwrap()
    }

    /// Moves the clock and lets the timers do what is due.
    pub async fn advance(&self, by: TimeDelta) -> u64 {
        self.clock.advance(by);
        timer::approve_due(&self.app().background_db, self.clock.now()).await.unwrap()
    }

    /// Returns a commission of an order.
    pub async fn commission(&self, scene: &Scene, receipt: &Value) -> Value {
        let id = receipt["commission"]["id"].as_str().unwrap_or_else(|| panic!("{receipt}"));
        let answer = self.get(&self.admin_key, &format!("/v1/commissions/{id}")).await;
        let commission = answer.expect(200);
        assert_eq!(commission["partner_id"], scene.partner_id.as_str());
        commission
    }

    /// Stops the service in order, as SIGTERM does, and waits until its last thread has let go of
    /// what a process would let go by ending: the lock of the spool above all.
    pub async fn stop(&mut self) {
        let Some(running) = self.running.take() else { return };
        let app = Arc::downgrade(&running.app.clone().into_inner());
        running.stop().await;
        let until = Instant::now() + PATIENCE;
        while app.strong_count() > 0 {
            assert!(Instant::now() < until, "the service has stopped and is still held");
            tokio::time::sleep(POLL).await;
        }
        // The last thread may still be at it: nobody holds the service before it is gone.
        for lock in ["spool/lock", "spool/held/lock"] {
            if let Ok(lock) = std::fs::File::open(self.dir.path().join(lock)) {
                lock.lock().unwrap();
            }
        }
    }

    /// Starts the service again where it stopped: same database, same stream, same folder.
    pub async fn start_again(&mut self) {
        assert!(self.running.is_none(), "it runs");
        let dir = self.dir.path().to_owned();
        let config = config(&self.database, &self.redis, &self.postgres, dir, self.settings);
        let app = App::build(config, self.clock.clone()).unwrap();
        let running = roles::start(app).await.unwrap();
        self.base = address(running.public_address);
        self.admin = address(running.admin_address);
        self.running = Some(running);
    }
}

fn address(listener: std::net::SocketAddr) -> Url {
    Url::parse(&format!("http://{listener}")).unwrap()
}

pub fn click_id_of(answer: &Answer) -> Option<String> {
    let location = Url::parse(answer.header("location")).ok()?;
    let found = location.query_pairs().find(|(name, _)| name == "click_id");
    found.map(|(_, id)| id.into_owned())
}

fn redis_wire() -> Wire {
    let path = services().redis_url.strip_prefix("redis+unix://").unwrap().to_owned();
    Wire::to(path.as_ref(), "redis.sock")
}

/// A wire to the database of a service.
pub fn postgres_wire(database: &Database) -> Wire {
    let url = Url::parse(&database.service_url).unwrap();
    let host = url.query_pairs().find(|(name, _)| name == "host").unwrap().1.into_owned();
    let name = format!(".s.PGSQL.{}", url.port().unwrap_or(5432));
    Wire::to(&PathBuf::from(host).join(&name), &name)
}

/// The address of a database for a service behind a wire.
pub fn url_behind(database: &Database, postgres: &Wire) -> Url {
    let mut url = Url::parse(&database.service_url).unwrap();
    url.query_pairs_mut().clear().append_pair("host", postgres.folder().to_str().unwrap());
    url
}

fn config(
    database: &Database,
    redis: &Wire,
    postgres: &Wire,
    dir: PathBuf,
    settings: Settings,
) -> Config {
    let service_url = url_behind(database, postgres);
    // A service that starts again on its database finds its stream.
    let prefix = service_url.path().trim_start_matches("/test_").to_owned();
    let path = |file: &str| dir.join(file).to_str().unwrap().to_owned();
    Config::from(|name| {
        if let Some((_, value)) = settings.iter().find(|(n, _)| *n == name) {
            return Some((*value).to_owned());
        }
        Some(match name {
            "TRIBUTARY_ENV" => "dev".to_owned(),
            "TRIBUTARY_BIND" | "TRIBUTARY_ADMIN_BIND" => "127.0.0.1:0".to_owned(),
            // Time is the test's: it calls the timers when it has moved the clock.
            "TRIBUTARY_ROLES" => "redirect,ingest,settle,api".to_owned(),
            "TRIBUTARY_OUTBOUND_ALLOW_CIDRS" => "127.0.0.0/8".to_owned(),
            "DATABASE_URL" => service_url.to_string(),
            "REDIS_URL" => format!("redis+unix://{}", redis.socket().display()),
            "TRIBUTARY_STREAM_PREFIX" => prefix.clone(),
            "TRIBUTARY_SPOOL_DIR" => path("spool"),
            "TRIBUTARY_SNAPSHOT_PATH" => path("snapshot.json"),
            "TRIBUTARY_LINK_KEYS" => DEV_LINK_KEYS.to_owned(),
            "TRIBUTARY_CLICK_KEYS" => DEV_CLICK_KEYS.to_owned(),
            "TRIBUTARY_MINT_KEYS" => DEV_MINT_KEYS.to_owned(),
            "TRIBUTARY_SECRETS_KEY" => DEV_SECRETS_KEY.to_owned(),
            "TRIBUTARY_WORKERS" => "1".to_owned(),
            "TRIBUTARY_DB_POOL" => "8".to_owned(),
            _ => return None,
        })
    })
    .unwrap()
}

async fn make_key(database: &Database, role: Role, now: Timestamp) -> ApiKey {
    let mut owner = PgConnection::connect(&database.owner_url).await.unwrap();
    let key = ApiKey::generate();
    let user = accounts::NewUser { user_id: UserId::new(), name: role.as_str().to_owned() };
    accounts::insert_user(&mut owner, &user, now).await.unwrap();
    let row = accounts::NewApiKey {
        api_key_id: ApiKeyId::new(),
        user_id: user.user_id,
        name: "test".to_owned(),
        role,
        programs: None,
        partner_id: None,
        expires_at: None,
    };
    accounts::insert_api_key(&mut owner, &row, &key, now).await.unwrap();
    let made = Entry::by_system("api_key.create", row.api_key_id);
    audit_store::record(&mut owner, made, now).await.unwrap();
    key
}

impl Drop for TestApp {
    /// Proves what must hold whatever the story was. A runtime of its own asks, because the
    /// test's is busy dropping us.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.restore_all();
        let (url, now) = (self.database.owner_url.clone(), self.clock.now());
        let (sealer, app) = (self.sealer.clone(), self.running.as_ref().map(|r| r.app.clone()));
        let (judged, n_dead) = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let beside = match &app {
                Some(app) => app.beside_audit(),
                None => Beside { sealer: Some(&sealer), stream: None },
            };
            runtime.block_on(prove(&url, now, &beside))
        })
        .join()
        .unwrap();
        let broken: Vec<_> = judged.iter().filter(|one| one.n_broken > 0).collect();
        let names: Vec<_> = broken.iter().map(|one| one.invariant.name).collect();
        assert_eq!(names, self.expected_broken, "{broken:#?}");
        assert_eq!(n_dead, self.expected_dead_letters, "dead letters");
    }
}

/// Looks at every invariant, and counts the dead letters.
async fn prove(url: &str, now: Timestamp, beside: &Beside<'_>) -> (Vec<Judged>, i64) {
    let mut owner = PgConnection::connect(url).await.unwrap();
    let invariants = REGISTRY.iter().collect();
    let ask = Ask { invariants, program: None, first: 3, now, reach: Reach::All };
    // One moment: the service may still be settling.
    owner.execute("begin isolation level repeatable read read only").await.unwrap();
    let judged = run::run(&mut owner, &ask, beside, &mut |_, _| ()).await.unwrap();
    let n_dead = sqlx::query_scalar("select count(*) from dead_letters")
        .fetch_one(&mut owner)
        .await
        .unwrap();
    (judged, n_dead)
}
