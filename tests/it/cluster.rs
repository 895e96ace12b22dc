//! The whole service on a Redis Cluster whose masters die.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use redis::AsyncCommands as _;
use tributary::click::click_id::ClickId;
use tributary::engines::{ClusterSize, EngineOptions, RedisCluster, default_data_dir};
use tributary::progress::Progress;
use tributary::stream::Shard;

use crate::harness::{Process, Sale, Scene, TestApp};

const CLICKS: &str = "select count(*) from clicks";
const SALES: &str = "select count(*) from conversions";

fn start_cluster(masters: usize, replicas: usize) -> RedisCluster {
    let mut options = EngineOptions::new(default_data_dir());
    options.search_path = tributary::config::environment("PATH").map(Into::into);
    let size = ClusterSize { masters, replicas };
    RedisCluster::start(&options, size, &Progress::hidden()).unwrap()
}

async fn app_on(cluster: &RedisCluster, roles: &'static str) -> TestApp {
    app_waiting_for("0", cluster, roles).await
}

/// Starts the service with a number of replicas that must have an event.
async fn app_waiting_for(
    replicas: &'static str,
    cluster: &RedisCluster,
    roles: &'static str,
) -> TestApp {
    // The settings of a story live as long as the test binary.
    let urls: &'static str = cluster.urls()[..2].join(",").leak();
    let settings = [
        ("TRIBUTARY_ROLES", roles),
        ("REDIS_URL", ""),
        ("REDIS_CLUSTER_URLS", urls),
        ("TRIBUTARY_STREAM_SHARDS", "12"),
        ("TRIBUTARY_REDIS_REPLICAS", replicas),
        // A busy machine is not a slow Redis.
        ("TRIBUTARY_REDIRECT_APPEND_TIMEOUT_MS", "400"),
    ];
    TestApp::start_with(Vec::leak(settings.to_vec())).await
}

/// A process of its own that settles what the app takes.
fn settler_beside(app: &TestApp, cluster: &RedisCluster) -> Process {
    let urls = cluster.urls().join(",");
    let settings = [
        ("REDIS_URL", ""),
        ("REDIS_CLUSTER_URLS", urls.as_str()),
        ("TRIBUTARY_STREAM_SHARDS", "12"),
    ];
    Process::beside(app, "settle", &settings)
}

/// What visitors and the shop were told.
#[derive(Default)]
struct Told {
    clicks: Vec<String>,
    n_sales: usize,
}

impl Told {
    /// Clicks and buys; every visitor is redirected, every message is accepted.
    async fn load(&mut self, app: &TestApp, scene: &Scene, n: usize) {
        for _ in 0..n {
            let click_id = app.click_id(&scene.link).await;
            let order_id = format!("A-{}", self.n_sales);
            self.clicks.push(click_id.clone());
            let sale = Sale { order_id: &order_id, amount: "100.00", click_id: Some(click_id) };
            let answer = app.webhook(scene, &order_id, "conversion.created", sale.data()).await;
            answer.expect(202);
            self.n_sales += 1;
        }
    }

    /// Compares it with what is in PostgreSQL in the end.
    async fn expect_settled(&self, app: &TestApp) {
        app.wait_for_count(i64::try_from(self.clicks.len()).unwrap(), CLICKS).await;
        app.wait_for_count(i64::try_from(self.n_sales).unwrap(), SALES).await;
        let mut told: Vec<String> = self
            .clicks
            .iter()
            .map(|id| ClickId::unverified(id).unwrap().to_uuid().to_string())
            .collect();
        told.sort_unstable();
        assert_eq!(app.figures("select click_id::text from clicks order by 1").await, told);
        let n_commissions = app.count("select count(*) from commissions").await;
        assert_eq!(n_commissions, i64::try_from(self.n_sales).unwrap());
    }
}

/// `CLUSTER KEYSLOT` of any key of shard 0.
const SLOT_OF_SHARD_0: u16 = 13907;

fn master_of_shard_0(cluster: &RedisCluster) -> usize {
    cluster.master_of(SLOT_OF_SHARD_0).unwrap()
}

/// Waits until the replica of a master has all that it has.
async fn await_replica(cluster: &RedisCluster, master: usize) {
    let until = Instant::now() + Duration::from_secs(60);
    while !cluster.is_replicated(master) {
        assert!(Instant::now() < until, "the replica lags");
        tokio::task::yield_now().await;
    }
}

/// Waits until the slots of a dead master have another.
async fn await_failover(cluster: &RedisCluster, victim: usize) {
    let until = Instant::now() + Duration::from_secs(60);
    while cluster.master_of(SLOT_OF_SHARD_0).is_none_or(|master| master == victim) {
        assert!(Instant::now() < until, "no replica took over");
        tokio::task::yield_now().await;
    }
}

#[actix_web::test]
async fn a_master_of_own_redis_killed_under_load_costs_no_visitor_and_no_event() {
    let mut cluster = start_cluster(3, 0);
    let app = app_on(&cluster, "redirect,ingest,settle,api").await;
    let scene = app.scene().await;
    let mut told = Told::default();
    told.load(&app, &scene, 20).await;
    let victim = master_of_shard_0(&cluster);
    cluster.kill(victim);
    let before = app.app().stream_stats.log_events.get();
    told.load(&app, &scene, 40).await;
    assert!(app.app().log.state().shards_down > 0, "one master is away");
    assert!(app.app().stream_stats.log_events.get() > before, "the others took its events");
    // The other masters' shards are settled meanwhile: all that came after, if not what the dead
    // one holds.
    app.wait_for_count(
        1,
        "select count(*) from (select count(*) as n from clicks) c where n >= 40",
    )
    .await;
    cluster.restart(victim).unwrap();
    told.expect_settled(&app).await;
}

#[actix_web::test]
async fn a_failover_of_own_redis_under_load_costs_no_visitor_and_no_event() {
    let mut cluster = start_cluster(3, 1);
    let app = app_on(&cluster, "redirect,ingest,settle,api").await;
    let scene = app.scene().await;
    let mut told = Told::default();
    told.load(&app, &scene, 20).await;
    let victim = master_of_shard_0(&cluster);
    // What is lost at a failover is what the replica has not heard of: here it has.
    await_replica(&cluster, victim).await;
    cluster.kill(victim);
    told.load(&app, &scene, 40).await;
    await_failover(&cluster, victim).await;
    told.load(&app, &scene, 10).await;
    told.expect_settled(&app).await;
}

#[actix_web::test]
async fn a_replica_of_own_redis_that_was_behind_takes_over_without_losing_a_click() {
    let mut cluster = start_cluster(3, 1);
    // Nobody settles yet: what a failover loses is lost.
    let app = app_waiting_for("1", &cluster, "redirect,ingest,api").await;
    app.keep_time();
    let scene = app.scene().await;
    let mut told = Told::default();
    told.load(&app, &scene, 10).await;
    let victim = master_of_shard_0(&cluster);
    let replica = victim + 3;
    // It hangs, and its connection is cut: what was on the way to it never arrives.
    cluster.signal(replica, Signal::SIGSTOP);
    cluster.tell(victim, "CLIENT KILL TYPE replica").unwrap();
    let before = app.app().stream_stats.log_events.get();
    told.load(&app, &scene, 40).await;
    assert!(app.app().log.state().shards_down > 0, "one master has no replica");
    assert!(app.app().stream_stats.log_events.get() > before, "the others took its events");
    cluster.kill(victim);
    cluster.signal(replica, Signal::SIGCONT);
    await_failover(&cluster, victim).await;
    told.load(&app, &scene, 10).await;
    let _settler = settler_beside(&app, &cluster);
    told.expect_settled(&app).await;
    // The dead one comes back as a replica, and its shards with it.
    cluster.restart(victim).unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while app.app().log.state().shards_down > 0 {
        assert!(Instant::now() < until, "a replica follows again");
        tokio::task::yield_now().await;
    }
}

#[actix_web::test]
async fn a_conversion_that_a_cluster_of_own_redis_lost_is_sent_again_from_the_disk() {
    let cluster = start_cluster(3, 0);
    let app = app_on(&cluster, "redirect,ingest,api").await;
    app.keep_time();
    let scene = app.scene().await;
    let mut told = Told::default();
    told.load(&app, &scene, 5).await;
    assert_eq!(app.app().log.held().unwrap().n_events(), 5, "sales are held, clicks are not");
    // As a failover would, at its worst.
    let prefix = &app.app().config.stream_prefix;
    for url in cluster.urls() {
        let client = redis::Client::open(url).unwrap();
        let mut redis = client.get_multiplexed_async_connection().await.unwrap();
        for shard in (0..12).map(Shard) {
            // The masters of other slots refuse.
            let _: Result<(), _> = redis.del(shard.events_key(prefix)).await;
        }
    }
    told.clicks.clear();
    let _settler = settler_beside(&app, &cluster);
    app.clock.advance(chrono::TimeDelta::minutes(2));
    told.expect_settled(&app).await;
    let held = app.app().log.held().unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    while held.n_events() > 0 {
        assert!(Instant::now() < until, "what is settled is no longer held");
        tokio::task::yield_now().await;
    }
}
