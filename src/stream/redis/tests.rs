//! The log on a real Redis: safety check, reconnection, refusals.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};

use futures_util::future::join_all;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::*;
use crate::config;
use crate::engines::{self, EngineOptions};
use crate::progress::Progress;
use crate::stream::conformance::{click, numbers};
use crate::stream::unpack;

pub(super) fn engine_options() -> EngineOptions {
    let mut options = EngineOptions::new(engines::default_data_dir());
    options.search_path = config::environment("PATH").map(Into::into);
    options
}

/// Returns the Redis of this machine: installed, or fetched for the run.
fn server() -> Command {
    engines::redis_server(&engine_options(), &Progress::stderr()).unwrap()
}

/// A Redis for one test: a private server in a temporary folder, or a prefix in a given one.
pub(in crate::stream) struct TestRedis {
    url: String,
    prefix: String,
    own: Option<(tempfile::TempDir, Child)>,
}

impl TestRedis {
    /// Returns a private server that a test may kill, stop or misconfigure.
    pub(in crate::stream) fn own() -> Self {
        let mut server = Self::stopped();
        server.start();
        server
    }

    /// Returns the server of `TRIBUTARY_TEST_REDIS` if that is set, else a private one.
    pub(in crate::stream) fn shared_or_own() -> Self {
        #[expect(clippy::disallowed_methods, reason = "tests only; settings have their own page")]
        match std::env::var("TRIBUTARY_TEST_REDIS") {
            Ok(url) => Self { url, prefix: format!("test-{}", Uuid::now_v7()), own: None },
            Err(_) => Self::own(),
        }
    }

    /// Returns a private server that does not run yet.
    pub(in crate::stream) fn stopped() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("redis+unix://{}", dir.path().join("redis.sock").display());
        let gone = Command::new("true").spawn().unwrap();
        Self { url, prefix: "test".into(), own: Some((dir, gone)) }
    }

    pub(in crate::stream) fn start(&mut self) {
        let (dir, child) = self.own.as_mut().expect("a private server");
        child.wait().unwrap();
        let settings = "--port 0 --unixsocket redis.sock --save  --logfile  --appendonly yes \
                        --appendfsync always --maxmemory-policy noeviction";
        *child = server()
            .args(settings.split(' '))
            .current_dir(dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stdout.take().unwrap());
        let mut lines = log.lines().map(Result::unwrap);
        assert!(lines.any(|line| line.contains("ready to accept connections")));
    }

    pub(in crate::stream) fn signal(&self, signal: Signal) {
        let (_, child) = self.own.as_ref().expect("a private server");
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
    }

    fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.own.as_mut().unwrap().1.wait().unwrap();
    }

    fn lose_data(&self) {
        let (dir, _) = self.own.as_ref().unwrap();
        std::fs::remove_dir_all(dir.path().join("appendonlydir")).unwrap();
    }

    pub(in crate::stream) fn log(&self) -> RedisLog {
        let on_unsafe = if self.own.is_some() { OnUnsafe::Refuse } else { OnUnsafe::AcceptLoss };
        self.log_with(on_unsafe)
    }

    fn log_with(&self, on_unsafe: OnUnsafe) -> RedisLog {
        let options = RedisOptions { on_unsafe, ..self.options() };
        RedisLog::new(&self.url, options, Arc::default()).unwrap()
    }

    /// Returns a log whose appends wait for so many replicas.
    pub(super) fn log_for(&self, replicas: u8) -> RedisLog {
        // The wait for a replica is a part of it.
        let response_timeout = Duration::from_secs(4);
        let options = RedisOptions { replicas, response_timeout, ..self.options() };
        RedisLog::new(&self.url, options, Arc::default()).unwrap()
    }

    fn options(&self) -> RedisOptions {
        RedisOptions {
            prefix: self.prefix.clone(),
            reconnect_pause: Duration::ZERO,
            // A busy machine may stall a healthy server for longer than the default.
            response_timeout: Duration::from_secs(1),
            ..RedisOptions::default()
        }
    }

    /// Starts a private server that follows another one.
    pub(super) async fn replica_of(master: &Self) -> Self {
        let port =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        master.command(&format!("CONFIG SET port {port} repl-diskless-sync-delay 0")).await;
        let replica = Self::own();
        replica.command(&format!("REPLICAOF 127.0.0.1 {port}")).await;
        let following = async { while master.command("WAIT 1 100").await != Value::Int(1) {} };
        tokio::time::timeout(Duration::from_secs(30), following).await.expect("it never followed");
        replica
    }

    pub(super) async fn command(&self, words: &str) -> Value {
        let client = Client::open(self.url.as_str()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut command = Cmd::new();
        words.split(' ').for_each(|word| {
            command.arg(word);
        });
        command.query_async(&mut connection).await.unwrap()
    }
}

impl Drop for TestRedis {
    fn drop(&mut self) {
        if let Some((_, child)) = &mut self.own {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn node(log: &RedisLog) -> &Node {
    let Servers::One(node) = &log.servers else { panic!("it is one server") };
    node
}

fn stats(log: &RedisLog) -> &StreamStats {
    node(log).stats()
}

fn is_down<T>(result: Result<T, StreamError>) -> bool {
    matches!(result, Err(StreamError::Down { .. }))
}

const SHARD: Shard = Shard(0);

#[tokio::test]
async fn the_service_starts_without_redis_and_finds_it_later() {
    let mut server = TestRedis::stopped();
    let log = server.log();
    assert!(is_down(log.check().await));
    assert!(is_down(log.append(SHARD, &click(1)).await));
    assert!(is_down(log.state(SHARD).await));
    server.start();
    log.append(SHARD, &click(2)).await.unwrap();
    assert_eq!(numbers(&log, SHARD).await, [2]);
}

#[tokio::test]
async fn acknowledged_events_survive_a_killed_redis() {
    let mut server = TestRedis::own();
    let log = server.log();
    let generation = log.state(SHARD).await.unwrap().generation;
    let mut last = Offset::START;
    for n in 0..50 {
        last = log.append(SHARD, &click(n)).await.unwrap();
    }
    server.kill();
    assert!(is_down(log.append(SHARD, &click(50)).await));
    server.start();
    assert!(log.state(SHARD).await.unwrap().continues(generation, last));
    assert_eq!(numbers(&log, SHARD).await, (0..50).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_redis_that_comes_back_empty_is_noticed_and_used() {
    let mut server = TestRedis::own();
    let log = server.log();
    let last = log.append(SHARD, &click(1)).await.unwrap();
    let before = log.state(SHARD).await.unwrap();
    server.kill();
    server.lose_data();
    server.start();
    assert!(is_down(log.probe(SHARD).await), "the old connection is dead");
    log.append(SHARD, &click(2)).await.unwrap();
    let after = log.state(SHARD).await.unwrap();
    assert!(!after.continues(before.generation, last));
    assert!(after.last > last, "the offset alone would not have told");
    assert_eq!(numbers(&log, SHARD).await, [2]);
}

#[tokio::test]
async fn a_deleted_stream_is_noticed_though_its_generation_stays() {
    let server = TestRedis::own();
    let log = server.log();
    let last = log.append(SHARD, &click(1)).await.unwrap();
    let before = log.state(SHARD).await.unwrap();
    server.command("DEL test:{0}:events").await;
    let after = log.state(SHARD).await.unwrap();
    assert_eq!(after.generation, before.generation);
    assert!(!after.continues(before.generation, last));
}

#[tokio::test]
async fn a_redis_that_could_lose_events_is_refused_at_each_connection() {
    for setting in
        ["appendonly no", "appendfsync everysec", "appendfsync no", "maxmemory-policy allkeys-lru"]
    {
        let server = TestRedis::own();
        server.command(&format!("CONFIG SET {setting}")).await;
        let log = server.log();
        let (name, value) = setting.split_once(' ').unwrap();
        let Ok(Safety::Unsafe(reason)) = log.check().await else { panic!("{setting} is unsafe") };
        assert!(reason.contains(name) && reason.contains(value), "{reason}");
        assert!(is_down(log.append(SHARD, &click(1)).await), "{setting}");
        assert_eq!((stats(&log).unsafe_refusals.get(), stats(&log).connections.get()), (1, 0));
        server.log_with(OnUnsafe::AcceptLoss).append(SHARD, &click(1)).await.unwrap();
    }
}

#[tokio::test]
async fn settings_that_cannot_be_read_count_as_unsafe() {
    let server = TestRedis::own();
    assert_eq!(server.log().check().await.unwrap(), Safety::Safe);
    server.command("ACL SETUSER default -config").await;
    assert!(matches!(server.log().check().await, Ok(Safety::Unsafe(_))));
    assert!(is_down(server.log().append(SHARD, &click(1)).await));
}

#[tokio::test]
async fn a_redis_made_unsafe_while_it_was_away_is_refused() {
    let mut server = TestRedis::own();
    let log = server.log();
    log.append(SHARD, &click(1)).await.unwrap();
    server.kill();
    assert!(is_down(log.append(SHARD, &click(2)).await));
    server.start();
    server.command("CONFIG SET appendfsync everysec").await;
    assert!(is_down(log.append(SHARD, &click(3)).await));
    server.command("CONFIG SET appendfsync always").await;
    log.append(SHARD, &click(4)).await.unwrap();
    assert_eq!(numbers(&log, SHARD).await, [1, 4]);
}

#[tokio::test]
async fn full_or_read_only_is_down_and_heals() {
    let server = TestRedis::own();
    let log = server.log();
    let last = log.append(SHARD, &click(1)).await.unwrap();

    server.command("CONFIG SET maxmemory 1").await;
    assert!(is_down(log.append(SHARD, &click(2)).await));
    assert!(is_down(log.probe(SHARD).await));
    assert_eq!(numbers(&log, SHARD).await, [1], "settlement goes on while Redis is full");
    assert_eq!(log.trim_before(SHARD, last.next().unwrap()).await.unwrap(), 1);
    server.command("CONFIG SET maxmemory 0").await;
    log.append(SHARD, &click(3)).await.unwrap();

    server.command("REPLICAOF 127.0.0.1 1").await;
    assert!(is_down(log.append(SHARD, &click(4)).await));
    server.command("REPLICAOF NO ONE").await;
    log.append(SHARD, &click(5)).await.unwrap();
    assert_eq!(numbers(&log, SHARD).await, [3, 5]);
}

#[tokio::test]
async fn a_silent_redis_is_down_after_the_response_timeout_and_heals() {
    let server = TestRedis::own();
    let log = server.log();
    log.append(SHARD, &click(1)).await.unwrap();
    server.signal(Signal::SIGSTOP);
    assert!(is_down(log.append(SHARD, &click(2)).await));
    server.signal(Signal::SIGCONT);
    log.append(SHARD, &click(3)).await.unwrap();
    let numbers = numbers(&log, SHARD).await;
    assert!(numbers == [1, 3] || numbers == [1, 2, 3], "2 may have been applied: {numbers:?}");
}

#[tokio::test]
async fn a_connection_that_hangs_is_given_up_although_nobody_waits_any_more() {
    let server = TestRedis::own();
    let log = server.log();
    log.append(SHARD, &click(1)).await.unwrap();
    server.signal(Signal::SIGSTOP);
    let batch = click(2);
    let mut appending = Box::pin(log.append(SHARD, &batch));
    assert!(futures_util::poll!(appending.as_mut()).is_pending());
    drop(appending);
    assert!(node(&log).is_connected());
    let given_up = async {
        while node(&log).is_connected() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), given_up).await.expect("it is still in use");
    server.signal(Signal::SIGCONT);
    log.append(SHARD, &click(3)).await.unwrap();
    assert_eq!(stats(&log).connections.get(), 2);
}

#[tokio::test]
async fn a_connection_that_takes_longer_than_anybody_waits_is_used_by_the_next() {
    let server = TestRedis::own();
    // Whoever had to begin anew would be refused.
    let pause = Duration::from_secs(3600);
    let response_timeout = Duration::from_secs(30);
    let options = RedisOptions { reconnect_pause: pause, response_timeout, ..server.options() };
    let log = RedisLog::new(&server.url, options, Arc::default()).unwrap();
    server.signal(Signal::SIGSTOP);
    let batch = click(1);
    let mut appending = Box::pin(log.append(SHARD, &batch));
    assert!(futures_util::poll!(appending.as_mut()).is_pending());
    drop(appending);
    server.signal(Signal::SIGCONT);
    log.append(SHARD, &click(2)).await.unwrap();
    assert_eq!(stats(&log).connections.get(), 1);
    assert_eq!(numbers(&log, SHARD).await, [2]);
}

#[test]
fn each_runtime_has_a_connection_of_its_own_which_ends_with_it() {
    let server = TestRedis::own();
    let log = server.log();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let [one, other] = [runtime(), runtime()];
    one.block_on(log.append(SHARD, &click(1))).unwrap();
    other.block_on(log.append(SHARD, &click(2))).unwrap();
    drop(one);
    other.block_on(log.append(SHARD, &click(3))).unwrap();
    assert_eq!(stats(&log).connections.get(), 2);
    assert_eq!(other.block_on(numbers(&log, SHARD)), [1, 2, 3]);
}

#[tokio::test]
async fn an_error_on_one_shard_never_shifts_the_answers_of_another() {
    let server = TestRedis::own();
    server.command("SET test:{0}:events poison").await;
    let log = server.log();
    let appends = (0..400).map(|n| {
        let log = &log;
        async move { (n, log.append(Shard(n % 2), &click(u32::from(n))).await) }
    });
    let mut given = HashMap::new();
    for (n, result) in join_all(appends).await {
        match result {
            Ok(offset) => {
                given.insert(offset, u32::from(n));
            }
            Err(StreamError::Refused { shard, .. }) => assert_eq!((shard, n % 2), (Shard(0), 0)),
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(given.len(), 200);
    for entry in log.read(Shard(1), Offset::START, 1000).await.unwrap() {
        assert_eq!(entry.bytes, click(given[&entry.offset]).into_bytes());
    }
    assert_eq!(stats(&log).connections.get(), 1, "a refusal does not cost the connection");
}

#[tokio::test]
async fn an_entry_of_strangers_is_a_bad_record_and_blocks_nothing() {
    let server = TestRedis::own();
    let log = server.log();
    server.command("XADD test:{0}:events * x y b z").await;
    log.append(SHARD, &click(1)).await.unwrap();
    let entries = log.read(SHARD, Offset::START, 10).await.unwrap();
    assert!(unpack(&entries[0].bytes).all(|record| record.is_err()));
    assert_eq!(entries[0].bytes, b"\0x\ny\nb\nz");
    assert!(unpack(&entries[1].bytes).all(|record| record.is_ok()));
}

#[tokio::test]
async fn a_failed_attempt_is_not_repeated_at_once() {
    let mut server = TestRedis::stopped();
    let pause = Duration::from_secs(3600);
    let options = RedisOptions { reconnect_pause: pause, ..RedisOptions::default() };
    let log = RedisLog::new(&server.url, options, Arc::default()).unwrap();
    assert!(is_down(log.append(SHARD, &click(1)).await));
    server.start();
    assert!(is_down(log.append(SHARD, &click(2)).await), "within the pause nobody dials");
}

#[test]
fn small_appends_do_not_wait_for_one_another_on_tcp() {
    let log = RedisLog::new("redis://10.0.0.1", RedisOptions::default(), Arc::default()).unwrap();
    assert!(node(&log).client().get_connection_info().tcp_settings().nodelay());
}

#[test]
fn an_address_that_is_none_is_told_at_once() {
    let made = RedisLog::new("http://redis", RedisOptions::default(), Arc::default());
    assert!(matches!(made, Err(StreamError::Settings(_))));
}
