//! The service as a process of its own between two wires, and visitors who write down what they got.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream;
use serde_json::{Value, json};
use tempfile::TempDir;
use tributary::click::click_id::ClickId;
use tributary::clock::Clock;
use tributary::config::{DEV_CLICK_KEYS, DEV_LINK_KEYS, DEV_SECRETS_KEY};
use tributary::conversion::signature::sign;
use url::Url;
use uuid::Uuid;

use super::disk::SmallDisk;
use super::redis::OwnRedis;
use crate::harness::app::{BROWSER, client, postgres_wire, url_behind};
use crate::harness::cut::Wire;
use crate::harness::{Sale, Scene, TestApp};

/// No visitor waits longer, whatever has happened: far above the deadlines of the service, on a
/// machine that does other things as well.
const BOUND: Duration = Duration::from_secs(5);
/// Far beyond what catching up needs.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// What a segment of the spool begins with.
const SEGMENT_HEAD_BYTES: usize = 8;
/// Visitors that click at one time.
const VISITORS: usize = 8;

/// Where a story of faults plays.
pub struct Stage {
    /// Stopped: it made the scene, holds the database, and proves every invariant in the end.
    app: TestApp,
    scene: Scene,
    pub redis: OwnRedis,
    pub to_redis: Wire,
    pub to_postgres: Wire,
    /// Holds the files of the service, where they do not lie on a disk of the story.
    _dir: TempDir,
    files: PathBuf,
    settings: &'static [(&'static str, &'static str)],
    /// What the service has written to its log since its last start.
    said: Arc<Mutex<Vec<String>>>,
    service: Option<Service>,
    /// Clicks whose 302 a visitor has.
    acknowledged: Vec<Uuid>,
    /// Clicks that were under way when the service was killed, or are counted by the story itself.
    n_unsure: usize,
    /// What links end with.
    query: String,
}

/// A process of the service.
struct Service {
    child: Child,
    base: Url,
    admin: Url,
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Stage {
    pub async fn start(settings: &'static [(&'static str, &'static str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::start_in(dir.path().to_owned(), dir, settings).await
    }

    /// Starts with the spool and the copy of the terms on a disk of the story.
    pub async fn start_on(disk: &SmallDisk) -> Self {
        Self::start_in(disk.path(), tempfile::tempdir().unwrap(), &[]).await
    }

    async fn start_in(
        files: PathBuf,
        dir: TempDir,
        settings: &'static [(&'static str, &'static str)],
    ) -> Self {
        let mut app = TestApp::start().await;
        let scene = app.scene().await;
        app.stop().await;
        let redis = OwnRedis::start();
        let mut stage = Self {
            to_redis: Wire::to(&redis.socket(), "redis.sock"),
            to_postgres: postgres_wire(&app.database),
            app,
            scene,
            redis,
            _dir: dir,
            files,
            settings,
            said: Arc::default(),
            service: None,
            acknowledged: Vec::new(),
            n_unsure: 0,
            query: String::new(),
        };
        stage.start_service();
        stage
    }

    /// Starts the service, again if it ran before, and waits until it serves.
    pub fn start_service(&mut self) {
        let path = |name: &str| self.files.join(name).to_str().unwrap().to_owned();
        let mut child = Command::new(env!("CARGO_BIN_EXE_tributary"))
            .arg("serve")
            .env_clear()
            .env("TRIBUTARY_ENV", "dev")
            .env("TRIBUTARY_BIND", "127.0.0.1:0")
            .env("TRIBUTARY_ADMIN_BIND", "127.0.0.1:0")
            .env("TRIBUTARY_ROLES", "redirect,ingest,settle,api")
            .env("DATABASE_URL", url_behind(&self.app.database, &self.to_postgres).as_str())
            .env("REDIS_URL", format!("redis+unix://{}", self.to_redis.socket().display()))
            .env("TRIBUTARY_SPOOL_DIR", path("spool"))
            .env("TRIBUTARY_SNAPSHOT_PATH", path("snapshot.json"))
            .env("TRIBUTARY_SNAPSHOT_REFRESH_MS", "100")
            .env("TRIBUTARY_LINK_KEYS", DEV_LINK_KEYS)
            .env("TRIBUTARY_CLICK_KEYS", DEV_CLICK_KEYS)
            .env("TRIBUTARY_SECRETS_KEY", DEV_SECRETS_KEY)
            .env("TRIBUTARY_WORKERS", "1")
            .env("TRIBUTARY_DB_POOL", "8")
            .envs(self.settings.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let mut said = Vec::new();
        let (base, admin) = loop {
            let line = lines.next().unwrap_or_else(|| panic!("the service ended: {said:#?}"));
            if let Some((_, addresses)) = line.split_once("serving on ") {
                let (base, admin) = addresses.split_once(", admin on ").unwrap();
                break (address(base), address(admin));
            }
            said.push(line);
        };
        // It goes on talking, and a full pipe would stop it.
        let said = Arc::new(Mutex::new(said));
        self.said = Arc::clone(&said);
        std::thread::spawn(move || lines.for_each(|line| said.lock().unwrap().push(line)));
        self.service = Some(Service { child, base, admin });
    }

    pub fn kill_service(&mut self) {
        self.service = None;
    }

    /// Lets visitors click; each gets his 302 with a click id.
    pub async fn click(&mut self, n: usize) {
        let (link, client) = (self.link(), client(BOUND));
        let got = stream::iter(0..n)
            .map(|_| follow(&client, &link))
            .buffer_unordered(VISITORS)
            .collect::<Vec<_>>()
            .await;
        self.acknowledged.extend(got.into_iter().map(Result::unwrap));
    }

    /// Reports a sale, as a shop does; returns the status of the answer.
    pub async fn sell(&self, order_id: &str) -> u16 {
        let now = Clock::system().now();
        let sale = Sale { order_id, amount: "100.00", click_id: None };
        let message = json!({"type": "conversion.created", "timestamp": now.to_rfc3339(),
            "data": sale.data()});
        let message = message.to_string();
        let signature = sign(&self.scene.secret, order_id, now, message.as_bytes());
        let path = format!("/v1/webhooks/{}", self.scene.source_id);
        let url = self.service.as_ref().unwrap().base.join(&path).unwrap();
        let request = client(BOUND)
            .post(url.as_str())
            .insert_header(("content-type", "application/json"))
            .insert_header(("webhook-id", order_id))
            .insert_header(("webhook-timestamp", now.timestamp().to_string()))
            .insert_header(("webhook-signature", signature));
        request.send_body(message).await.unwrap().status().as_u16()
    }

    /// Lets visitors click as fast as they can, and kills the service after so many 302s.
    pub async fn click_until_killed(&mut self, n: usize) {
        let (link, client) = (self.link(), client(BOUND));
        let enough = tokio::sync::Semaphore::new(0);
        let visitors = (0..VISITORS).map(|_| async {
            let mut got = Vec::new();
            while let Ok(id) = follow(&client, &link).await {
                got.push(id);
                enough.add_permits(1);
            }
            got
        });
        let killing = async {
            drop(enough.acquire_many(u32::try_from(n).unwrap()).await.unwrap());
            self.service = None;
        };
        let (got, ()) = tokio::join!(join_all(visitors), killing);
        self.acknowledged.extend(got.into_iter().flatten());
        self.n_unsure += VISITORS;
    }

    /// Waits until the spool is empty and the service has settled everything that visitors were
    /// told, and proves that it settled nothing twice.
    pub async fn expect_each_settled_once(&mut self, after: &str) {
        // What is proven in the end goes by the clock of the app.
        self.app.keep_time();
        let mut db = self.app.owner().await;
        let until = Instant::now() + PATIENCE;
        loop {
            let settled: Vec<Uuid> =
                sqlx::query_scalar("select click_id from clicks").fetch_all(&mut db).await.unwrap();
            let settled: HashSet<Uuid> = settled.into_iter().collect();
            let n_lost = self.acknowledged.iter().filter(|id| !settled.contains(id)).count();
            if n_lost == 0 && self.spool_bytes() == 0 {
                let most = self.acknowledged.len() + self.n_unsure;
                assert!(settled.len() <= most, "{after}: {} of {most}", settled.len());
                break;
            }
            let n = self.acknowledged.len();
            let spooled = self.spool_bytes();
            assert!(Instant::now() < until, "{after}: {n_lost} of {n} lost, {spooled} bytes wait");
            tokio::time::sleep(POLL).await;
        }
        // One statement sees one moment.
        let (clicks, counted): (i64, i64) = sqlx::query_as(
            "select (select count(*) from clicks),
                    (select coalesce(sum(n_clicks), 0)::bigint from click_sums)",
        )
        .fetch_one(&mut db)
        .await
        .unwrap();
        assert_eq!(clicks, counted, "{after}");
    }

    /// Waits until so many clicks are settled.
    pub async fn wait_for_settled(&self, n: usize) {
        let until = Instant::now() + PATIENCE;
        while self.settled().await < i64::try_from(n).unwrap() {
            assert!(Instant::now() < until, "{} of {n} are settled", self.settled().await);
            tokio::time::sleep(POLL).await;
        }
    }

    /// Sales that are settled.
    pub async fn sales(&self) -> i64 {
        self.app.count("select count(*) from conversions").await
    }

    /// Waits until the log of the service has a line with all of this.
    pub async fn wait_for_line(&self, parts: &[&str]) {
        let until = Instant::now() + PATIENCE;
        let has_all = |line: &String| parts.iter().all(|part| line.contains(part));
        while !self.said.lock().unwrap().iter().any(has_all) {
            assert!(Instant::now() < until, "{parts:?} in {:#?}", self.said.lock().unwrap());
            tokio::time::sleep(POLL).await;
        }
    }

    /// Gives the terms a new version, and returns it.
    pub async fn change_terms(&self) -> i64 {
        let sql = "update snapshot_version set version = version + 1 returning version";
        let mut db = self.app.owner().await;
        sqlx::query_scalar(sql).fetch_one(&mut db).await.unwrap()
    }

    /// Waits until the copy of the terms on disk has a version.
    pub async fn wait_for_copy(&self, version: i64) {
        let until = Instant::now() + PATIENCE;
        while self.copied() != Some(version) {
            assert!(Instant::now() < until, "{:?} instead of {version}", self.copied());
            tokio::time::sleep(POLL).await;
        }
    }

    /// Version of the copy of the terms on disk.
    pub fn copied(&self) -> Option<i64> {
        let bytes = std::fs::read(self.files.join("snapshot.json")).ok()?;
        serde_json::from_slice::<Value>(&bytes).ok()?["version"].as_i64()
    }

    /// Leaves a record that breaks off at the end of what waits, as a crash does.
    pub fn tear(&self) {
        let files = std::fs::read_dir(self.files.join("spool")).unwrap();
        let segments = files.map(|file| file.unwrap().path());
        let last = segments.filter(|path| path.extension().is_some_and(|kind| kind == "seg")).max();
        let last = last.unwrap();
        let whole = std::fs::read(&last).unwrap();
        let torn = &whole[SEGMENT_HEAD_BYTES..whole.len().min(SEGMENT_HEAD_BYTES + 40)];
        std::fs::write(&last, [&whole[..], torn].concat()).unwrap();
    }

    /// Clicks that are settled.
    pub async fn settled(&self) -> i64 {
        self.app.count("select count(*) from clicks").await
    }

    /// Bytes that wait on disk.
    pub fn spool_bytes(&self) -> u64 {
        let Ok(files) = std::fs::read_dir(self.files.join("spool")) else { return 0 };
        let waiting = files.map(Result::unwrap).filter(|file| {
            let name = file.file_name().into_string().unwrap();
            name.starts_with('0') && !name.ends_with(".bad")
        });
        waiting.filter_map(|file| Some(file.metadata().ok()?.len())).sum()
    }

    /// Clicks whose visitors were sent on though nothing could keep them: told by the metric.
    pub async fn dropped(&self) -> usize {
        let url = self.service.as_ref().unwrap().admin.join("/metrics").unwrap();
        let mut answer = client(BOUND).get(url.as_str()).send().await.unwrap();
        let text = String::from_utf8(answer.body().await.unwrap().to_vec()).unwrap();
        let name = "tributary_events_dropped_total{reason=\"not_durable\"} ";
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(0, |n| n.parse().unwrap())
    }

    /// Lets the story count by itself; returns how many visitors were sent on.
    pub fn forget_acknowledged(&mut self) -> usize {
        let n = std::mem::take(&mut self.acknowledged).len();
        self.n_unsure += n;
        n
    }

    /// Makes every click a large one.
    pub fn long_sub_ids(&mut self) {
        let long = "x".repeat(120);
        self.query =
            ["sub1", "sub2", "sub3", "sub4", "sub5"].map(|sub| format!("{sub}={long}")).join("&");
    }

    fn link(&self) -> Url {
        let link = Url::parse(&self.scene.link).unwrap();
        let mut url = self.service.as_ref().unwrap().base.join(link.path()).unwrap();
        url.set_query(Some(if self.query.is_empty() {
            link.query().unwrap_or_default()
        } else {
            &self.query
        }));
        url
    }
}

/// Follows a link as a person; an error if nobody answers.
async fn follow(client: &awc::Client, link: &Url) -> Result<Uuid, awc::error::SendRequestError> {
    let request = client.get(link.as_str()).insert_header(("user-agent", BROWSER));
    let answer = request.send().await?;
    assert_eq!(answer.status(), 302);
    let location = answer.headers().get("location").unwrap().to_str().unwrap();
    let location = Url::parse(location).unwrap();
    let (_, id) = location.query_pairs().find(|(name, _)| name == "click_id").unwrap();
    Ok(ClickId::unverified(id.as_bytes()).unwrap().to_uuid())
}

fn address(text: &str) -> Url {
    Url::parse(&format!("http://{}", text.trim())).unwrap()
}
