//! The log on a real cluster: a dead master, a failover, slots that move, unsafe nodes.

use futures_util::future::join_all;
use nix::sys::signal::Signal;

use super::tests::engine_options;
use super::*;
use crate::engines::{ClusterSize, RedisCluster};
use crate::progress::Progress;
use crate::stream::conformance::{click, numbers};
use crate::stream::durable::{DurableLog, DurableOptions, Where};
use crate::stream::spool::{Spool, SpoolOptions};

/// Shards of these tests: some on each master.
const SHARDS: u16 = 16;

/// Enough for any answer; what takes longer never comes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A cluster for one test.
pub(in crate::stream) struct TestCluster(RedisCluster);

impl TestCluster {
    pub(in crate::stream) fn start(masters: usize, replicas: usize) -> Self {
        let size = ClusterSize { masters, replicas };
        Self(RedisCluster::start(&engine_options(), size, &Progress::hidden()).unwrap())
    }

    pub(in crate::stream) fn log(&self) -> RedisLog {
        self.log_with(0)
    }

    /// Returns a log whose appends wait for so many replicas.
    pub(super) fn log_with(&self, replicas: u8) -> RedisLog {
        let options = RedisOptions {
            prefix: "test".into(),
            reconnect_pause: Duration::ZERO,
            // A busy machine may stall a healthy server for longer than the default, and a replica,
            // which has a part of it, too.
            response_timeout: Duration::from_secs(if replicas == 0 { 1 } else { 4 }),
            replicas,
            ..RedisOptions::default()
        };
        let urls = self.0.urls();
        let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
        RedisLog::cluster(&urls, options, Arc::default()).unwrap()
    }

    pub(super) fn master_of(&self, shard: Shard) -> usize {
        self.0.master_of(slot_of(&shard.events_key("test"))).unwrap()
    }

    /// Returns the shards of a master and those of the others.
    pub(super) fn split(&self, master: usize) -> (Vec<Shard>, Vec<Shard>) {
        (0..SHARDS).map(Shard).partition(|shard| self.master_of(*shard) == master)
    }

    /// Returns a log with a spool, which stays away from what failed until it is probed.
    pub(super) fn durable(&self, replicas: u8, dir: &tempfile::TempDir) -> DurableLog {
        let stats = Arc::new(StreamStats::default());
        let options =
            SpoolOptions { dir: dir.path().into(), bytes_max: 1 << 20, segment_bytes: 1 << 20 };
        let spool = Spool::open(options, stats.clone()).unwrap();
        let options = DurableOptions {
            shards: SHARDS,
            pause: Duration::from_secs(3600),
            brisk: Duration::from_secs(3600),
            ..DurableOptions::default()
        };
        DurableLog::new(Arc::new(self.log_with(replicas)), spool, options, stats)
    }

    /// Sends a signal to the replica of a master that has one.
    pub(super) fn signal_replica(&self, master: usize, signal: Signal) {
        self.0.signal(master + self.0.urls().len() / 2, signal);
    }

    /// Returns how often a node was asked a command.
    pub(super) fn calls(&self, n: usize, command: &str) -> u32 {
        let told = self.0.tell(n, "INFO commandstats").unwrap();
        let start = format!("cmdstat_{command}:calls=");
        let calls = told.lines().find_map(|line| line.strip_prefix(&start)?.split(',').next());
        calls.map_or(0, |n| n.parse().unwrap())
    }

    fn order(&self, n: usize, command: &str) {
        self.0.tell(n, command).expect(command);
    }

    /// Lets the slot of a shard leave one master for another: keys that are not there yet are asked
    /// for at their new place.
    pub(super) fn begin_to_move(&self, shard: Shard, from: usize, to: usize) {
        let slot = slot_of(&shard.events_key("test"));
        let id = |n: usize| self.0.tell(n, "CLUSTER MYID").unwrap();
        self.order(to, &format!("CLUSTER SETSLOT {slot} IMPORTING {}", id(from)));
        self.order(from, &format!("CLUSTER SETSLOT {slot} MIGRATING {}", id(to)));
    }

    /// Lets it arrive with its keys.
    pub(super) fn end_move(&self, shard: Shard, from: usize, to: usize) {
        let port = self.0.urls()[to].rsplit_once(':').unwrap().1.to_owned();
        let keys = [shard.events_key("test"), shard.generation_key("test")].join(" ");
        self.order(from, &format!("MIGRATE 127.0.0.1 {port} \"\" 0 5000 KEYS {keys}"));
        let slot = slot_of(&shard.events_key("test"));
        let id = self.0.tell(to, "CLUSTER MYID").unwrap();
        for n in [to, from] {
            self.order(n, &format!("CLUSTER SETSLOT {slot} NODE {id}"));
        }
    }
}

/// Tries again until it works: the map is asked for beside the callers.
pub(super) async fn in_time<T>(mut attempt: impl AsyncFnMut() -> Result<T, StreamError>) -> T {
    let attempts = async {
        loop {
            match attempt().await {
                Ok(value) => return value,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, attempts).await.expect("it never worked")
}

#[tokio::test]
async fn a_dead_master_of_an_own_redis_stops_its_shards_alone_until_it_is_back() {
    let mut cluster = TestCluster::start(3, 0);
    let log = cluster.log();
    assert_eq!(log.check().await.unwrap(), Safety::Safe);
    for shard in (0..SHARDS).map(Shard) {
        log.append(shard, &click(1)).await.unwrap();
    }
    let victim = cluster.master_of(Shard(0));
    let (dead, living) = cluster.split(victim);
    assert!(!dead.is_empty() && !living.is_empty());
    cluster.0.kill(victim);
    for shard in &dead {
        assert!(matches!(log.append(*shard, &click(2)).await, Err(StreamError::Down { .. })));
    }
    for shard in &living {
        log.append(*shard, &click(2)).await.unwrap();
        assert_eq!(numbers(&log, *shard).await, [1, 2]);
        assert!(log.are_apart(dead[0], *shard));
    }
    assert!(dead.iter().all(|shard| !log.are_apart(dead[0], *shard)));
    assert_eq!(log.check().await.unwrap(), Safety::Safe, "of those that are there");
    cluster.0.restart(victim).unwrap();
    for shard in &dead {
        in_time(async || log.append(*shard, &click(3)).await).await;
        assert_eq!(numbers(&log, *shard).await, [1, 3], "what was acknowledged is there");
    }
}

#[tokio::test]
async fn a_replica_of_an_own_redis_takes_over_with_all_that_it_had() {
    let mut cluster = TestCluster::start(3, 1);
    let log = cluster.log();
    let victim = cluster.master_of(Shard(0));
    let before = log.state(Shard(0)).await.unwrap();
    let last = log.append(Shard(0), &click(1)).await.unwrap();
    let replicated = async {
        while !cluster.0.is_replicated(victim) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, replicated).await.expect("the replica has all of it");
    cluster.0.kill(victim);
    let after = in_time(async || log.append(Shard(0), &click(2)).await).await;
    assert!(after > last);
    assert_ne!(cluster.master_of(Shard(0)), victim);
    let state = log.state(Shard(0)).await.unwrap();
    assert!(state.continues(before.generation, last), "a failover is no new life");
    // A try that failed may have been applied.
    let found = numbers(&log, Shard(0)).await;
    assert!(found[0] == 1 && found[1..].iter().all(|n| *n == 2), "{found:?}");
}

#[tokio::test]
async fn slots_that_move_on_an_own_redis_are_followed() {
    let cluster = TestCluster::start(2, 0);
    let log = cluster.log();
    log.append(Shard(0), &click(1)).await.unwrap();
    let from = cluster.master_of(Shard(0));
    let to = 1 - from;
    cluster.begin_to_move(Shard(0), from, to);
    log.probe(Shard(0)).await.unwrap();
    assert_eq!(cluster.0.tell(from, "EXISTS test:{0}:probe"), None, "it answers ASK");
    cluster.end_move(Shard(0), from, to);
    log.append(Shard(0), &click(2)).await.unwrap();
    assert_eq!(numbers(&log, Shard(0)).await, [1, 2]);
}

#[tokio::test]
async fn an_unsafe_master_of_an_own_redis_is_named_and_never_used() {
    let cluster = TestCluster::start(3, 0);
    let victim = cluster.master_of(Shard(0));
    cluster.0.tell(victim, "CONFIG SET appendfsync everysec").unwrap();
    let log = cluster.log();
    let address = cluster.0.urls()[victim].replace("redis://", "");
    let Ok(Safety::Unsafe(why)) = log.check().await else { panic!("one node is unsafe") };
    assert_eq!(why, format!("{address}: appendfsync is everysec, not always"));
    let (refused, taken) = cluster.split(victim);
    for shard in refused {
        assert!(matches!(log.append(shard, &click(1)).await, Err(StreamError::Down { .. })));
    }
    for shard in taken {
        log.append(shard, &click(1)).await.unwrap();
    }
}

#[tokio::test]
async fn a_cluster_of_an_own_redis_may_come_later_than_the_service() {
    let gone = "redis://127.0.0.1:1";
    let cluster = TestCluster::start(3, 0);
    let urls = cluster.0.urls();
    let options = || RedisOptions { prefix: "test".into(), ..RedisOptions::default() };
    let log = RedisLog::cluster(&[gone], options(), Arc::default()).unwrap();
    assert!(matches!(log.check().await, Err(StreamError::Down { .. })));
    assert!(matches!(log.append(Shard(0), &click(1)).await, Err(StreamError::Down { .. })));
    // One node that answers is enough.
    let log = RedisLog::cluster(&[gone, &urls[2]], options(), Arc::default()).unwrap();
    log.append(Shard(0), &click(1)).await.unwrap();
    let day = NaiveDate::from_ymd_opt(2026, 11, 22).unwrap();
    assert_eq!(log.agree_on_salt(day, [1; 32]).await.unwrap(), [1; 32]);
    assert_eq!(log.agree_on_salt(day, [2; 32]).await.unwrap(), [1; 32], "the first one holds");
    assert!(RedisLog::cluster(&["unix:///a"], options(), Arc::default()).is_err());
}

#[tokio::test]
async fn what_one_master_of_an_own_redis_cannot_take_another_takes_at_once() {
    let mut cluster = TestCluster::start(3, 0);
    let dir = tempfile::tempdir().unwrap();
    let durable = cluster.durable(0, &dir);
    durable.probe().await;
    let (killed, stopped) = (cluster.master_of(Shard(0)), {
        let other =
            (0..SHARDS).map(Shard).find(|s| cluster.master_of(*s) != cluster.master_of(Shard(0)));
        cluster.master_of(other.unwrap())
    });
    cluster.0.kill(killed);
    let append = async |n: u32| {
        let shard = Shard(u16::try_from(n).unwrap() % SHARDS);
        durable.append(shard, &click(n), Duration::from_secs(2)).await.unwrap()
    };
    for n in 0..200 {
        assert_eq!(append(n).await, Where::Log, "{n}: two masters are there");
    }
    assert_eq!(durable.stats().log_failures.get(), 1, "one failure speaks for all its shards");
    // One that hangs costs half a deadline, once.
    cluster.0.signal(stopped, Signal::SIGSTOP);
    for n in 200..250 {
        assert_eq!(append(n).await, Where::Log, "{n}: one master is there");
    }
    cluster.0.signal(stopped, Signal::SIGCONT);
    durable.probe().await;
    let state = durable.state();
    assert!(state.is_log_up && state.shards_down > 0 && state.shards_down < SHARDS);
    let shards: Vec<Shard> =
        (0..SHARDS).map(Shard).filter(|s| durable.log().are_apart(Shard(0), *s)).collect();
    let found = join_all(shards.iter().map(|shard| numbers(&**durable.log(), *shard))).await;
    let mut found = found.concat();
    found.sort_unstable();
    found.dedup();
    assert_eq!(found, (0..250).collect::<Vec<_>>());
}
