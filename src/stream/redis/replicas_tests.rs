//! Appends that wait for replicas, on a real cluster and on a real single server.

use futures_util::future::join_all;
use nix::sys::signal::Signal;

use super::cluster_tests::{TestCluster, in_time};
use super::tests::TestRedis;
use super::*;
use crate::stream::conformance::{click, numbers};
use crate::stream::durable::{DurableLog, DurableOptions, Where};
use crate::stream::spool::{Spool, SpoolOptions};

const SHARD: Shard = Shard(0);

/// Far above any pause of a busy machine; a wait for a replica that hangs is a part of it.
const DEADLINE: Duration = Duration::from_secs(20);

/// Says how many replicas had an append that did not count.
fn shortfall<T>(result: Result<T, StreamError>) -> u64 {
    match result {
        Err(StreamError::Unreplicated { acknowledged, .. }) => acknowledged,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it counts"),
    }
}

/// Lets the replica of a master hang.
fn pause_replica(cluster: &TestCluster, master: usize) {
    cluster.signal_replica(master, Signal::SIGSTOP);
}

fn resume_replica(cluster: &TestCluster, master: usize) {
    cluster.signal_replica(master, Signal::SIGCONT);
}

/// A log on one server with a spool, which stays away from what failed until it is probed.
fn durable_on(log: RedisLog, dir: &tempfile::TempDir) -> DurableLog {
    let stats = Arc::new(StreamStats::default());
    let options =
        SpoolOptions { dir: dir.path().into(), bytes_max: 1 << 20, segment_bytes: 1 << 20 };
    let spool = Spool::open(options, stats.clone()).unwrap();
    let patient = Duration::from_secs(3600);
    let options = DurableOptions { pause: patient, brisk: patient, ..DurableOptions::default() };
    DurableLog::new(Arc::new(log), spool, options, stats)
}

#[tokio::test]
async fn an_append_on_an_own_redis_counts_when_its_replica_has_it() {
    let cluster = TestCluster::start(3, 1);
    let log = cluster.log_with(1);
    assert_eq!(log.check().await.unwrap(), Safety::Safe);
    log.append(SHARD, &click(1)).await.unwrap();
    let master = cluster.master_of(SHARD);

    pause_replica(&cluster, master);
    assert_eq!(shortfall(log.append(SHARD, &click(2)).await), 0);
    assert_eq!(shortfall(log.probe(SHARD).await), 0, "an append would not count");
    assert_eq!(numbers(&log, SHARD).await, [1, 2], "who reads does not wait");
    cluster.log_with(0).append(SHARD, &click(3)).await.unwrap();
    let (_, others) = cluster.split(master);
    log.append(others[0], &click(4)).await.unwrap();

    resume_replica(&cluster, master);
    in_time(async || log.probe(SHARD).await).await;
    log.append(SHARD, &click(5)).await.unwrap();
}

#[tokio::test]
async fn appends_on_an_own_redis_share_one_wait_for_its_replica() {
    let cluster = TestCluster::start(3, 1);
    let log = cluster.log_with(1);
    log.append(SHARD, &click(0)).await.unwrap();
    let master = cluster.master_of(SHARD);
    let n_before = cluster.calls(master, "wait");
    let appends = || {
        let log = &log;
        join_all((0..500).map(|n| async move { log.append(SHARD, &click(n)).await }))
    };
    assert!(appends().await.iter().all(Result::is_ok));
    let n_shared = cluster.calls(master, "wait") - n_before;
    assert!((1..250).contains(&n_shared), "{n_shared} of 500");
    // Where nobody answers, five hundred waits would keep others from the connection for a minute.
    pause_replica(&cluster, master);
    let n_before = cluster.calls(master, "wait");
    for result in appends().await {
        shortfall(result);
    }
    let n_shared = cluster.calls(master, "wait") - n_before;
    assert!((1..10).contains(&n_shared), "{n_shared} of 500");
    resume_replica(&cluster, master);
}

#[tokio::test]
async fn an_append_to_a_slot_under_way_waits_for_the_replica_of_its_new_own_redis() {
    let cluster = TestCluster::start(2, 1);
    let log = cluster.log_with(1);
    let from = cluster.master_of(SHARD);
    let to = 1 - from;
    // No key of the slot is there yet: the old master asks for each at the new one.
    cluster.begin_to_move(SHARD, from, to);
    log.append(SHARD, &click(1)).await.unwrap();
    pause_replica(&cluster, from);
    log.append(SHARD, &click(2)).await.unwrap();
    pause_replica(&cluster, to);
    assert_eq!(shortfall(log.append(SHARD, &click(3)).await), 0);
    for master in [from, to] {
        resume_replica(&cluster, master);
    }
}

#[tokio::test]
async fn an_append_that_was_redirected_waits_for_the_replica_of_the_right_own_redis() {
    let cluster = TestCluster::start(2, 1);
    let log = cluster.log_with(1);
    log.append(SHARD, &click(1)).await.unwrap();
    let from = cluster.master_of(SHARD);
    let to = 1 - from;
    cluster.begin_to_move(SHARD, from, to);
    cluster.end_move(SHARD, from, to);
    pause_replica(&cluster, from);
    log.append(SHARD, &click(2)).await.unwrap();
    assert_eq!(cluster.master_of(SHARD), to);
    pause_replica(&cluster, to);
    assert_eq!(shortfall(log.append(SHARD, &click(3)).await), 0);
    for master in [from, to] {
        resume_replica(&cluster, master);
    }
}

#[tokio::test]
async fn a_master_of_own_redis_whose_replica_hangs_is_left_alone_until_it_follows() {
    let cluster = TestCluster::start(3, 1);
    let dir = tempfile::tempdir().unwrap();
    let durable = cluster.durable(1, &dir);
    durable.probe().await;
    let master = cluster.master_of(SHARD);
    let (late, others) = cluster.split(master);
    pause_replica(&cluster, master);
    for n in 0..100 {
        let kept = durable.append(late[0], &click(n), DEADLINE).await;
        assert_eq!(kept, Ok(Where::Log), "{n}: two masters have their replicas");
    }
    assert_eq!(durable.stats().log_shortfalls.get(), 1, "one visitor waited for all");
    let state = durable.state();
    assert!(state.is_log_up, "it is late, not dead");
    assert_eq!(usize::from(state.shards_down), late.len());
    for _ in 0..3 {
        durable.probe().await;
    }
    assert_eq!(
        usize::from(durable.state().shards_down),
        late.len(),
        "it answers; that is not enough"
    );

    resume_replica(&cluster, master);
    in_time(async || durable.log().probe(SHARD).await).await;
    durable.probe().await;
    assert_eq!(durable.state().shards_down, 0);
    let found = join_all(others.iter().map(|shard| numbers(&**durable.log(), *shard))).await;
    let mut found = found.concat();
    found.sort_unstable();
    assert_eq!(found, (0..100).collect::<Vec<_>>(), "the others have each of them once");
}

#[tokio::test]
async fn what_waits_in_the_spool_is_not_added_again_while_the_replica_of_own_redis_hangs() {
    let redis = TestRedis::own();
    let dir = tempfile::tempdir().unwrap();
    let durable = durable_on(redis.log_for(1), &dir);
    for n in 0..10 {
        assert_eq!(durable.append(SHARD, &click(n), DEADLINE).await, Ok(Where::Spool));
    }
    assert_eq!(durable.stats().log_shortfalls.get(), 1);
    for _ in 0..5 {
        durable.tend().await;
    }
    assert!(!durable.state().is_log_up && durable.state().can_store());
    assert_eq!(durable.state().spool_events, 10);
    assert_eq!(numbers(&**durable.log(), SHARD).await, [0], "the first attempt, and no other");

    let _replica = TestRedis::replica_of(&redis).await;
    in_time(async || durable.log().probe(SHARD).await).await;
    durable.tend().await;
    assert_eq!(durable.state().spool_events, 0);
    let found = numbers(&**durable.log(), SHARD).await;
    assert_eq!(found, [&[0], &(0..10).collect::<Vec<_>>()[..]].concat());
    assert_eq!(durable.append(SHARD, &click(10), DEADLINE).await, Ok(Where::Log));
}

#[tokio::test]
async fn too_few_replicas_of_an_own_redis_are_told_at_the_start() {
    let redis = TestRedis::own();
    assert_eq!(redis.log_for(0).check().await.unwrap(), Safety::Safe);
    let too_few = |why: &str| Safety::Unreplicated(why.to_owned());
    assert_eq!(redis.log_for(2).check().await.unwrap(), too_few("0 of 2 replicas follow"));
    let _replica = TestRedis::replica_of(&redis).await;
    assert_eq!(redis.log_for(1).check().await.unwrap(), Safety::Safe);
    assert_eq!(redis.log_for(2).check().await.unwrap(), too_few("1 of 2 replicas follow"));
    assert_eq!(shortfall(redis.log_for(2).append(SHARD, &click(1)).await), 1);
    redis.log_for(1).append(SHARD, &click(2)).await.unwrap();
    redis.command("CONFIG SET appendfsync everysec").await;
    assert!(matches!(redis.log_for(1).check().await, Ok(Safety::Unsafe(_))), "that comes first");
}
