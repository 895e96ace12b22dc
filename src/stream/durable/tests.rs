//! The log with its spool: what happens when Redis is slow, away or back.

use futures_util::future::join_all;
use nix::sys::signal::Signal;

use super::*;
use crate::stream::conformance::{click, numbers};
use crate::stream::redis::tests::TestRedis;
use crate::stream::spool::SpoolOptions;

const SHARD: Shard = Shard(0);
const FOREVER: Duration = Duration::from_secs(3600);
const DEADLINE: Duration = Duration::from_millis(20);

fn durable(redis: &TestRedis, dir: &tempfile::TempDir, spool_bytes: u64) -> DurableLog {
    let stats = Arc::new(StreamStats::default());
    let dir = dir.path().into();
    let options = SpoolOptions { dir, bytes_max: spool_bytes, segment_bytes: spool_bytes };
    let spool = Spool::open(options, stats.clone()).unwrap();
    let options = DurableOptions {
        pause: FOREVER,
        pause_max: FOREVER,
        brisk: FOREVER,
        ..DurableOptions::default()
    };
    DurableLog::new(Arc::new(redis.log()), spool, options, stats)
}

#[tokio::test]
async fn a_silent_log_costs_one_deadline_and_no_event() {
    let redis = TestRedis::own();
    let dir = tempfile::tempdir().unwrap();
    let durable = durable(&redis, &dir, 1 << 20);
    durable.probe().await;
    assert_eq!(durable.append(SHARD, &click(0), FOREVER).await, Ok(Where::Log));

    redis.signal(Signal::SIGSTOP);
    for n in 1..50 {
        assert_eq!(durable.append(SHARD, &click(n), DEADLINE).await, Ok(Where::Spool));
    }
    assert_eq!(durable.stats().log_timeouts.get(), 1, "only the first waited for the log");
    assert_eq!(durable.stats().spool_events.get(), 49);
    durable.probe().await;
    assert!(!durable.state().is_log_up && durable.state().can_store());
    assert!(durable.drain().await.is_err());
    assert_eq!(durable.state().spool_events, 49);

    redis.signal(Signal::SIGCONT);
    durable.probe().await;
    assert!(durable.state().is_log_up);
    assert_eq!(durable.append(SHARD, &click(50), FOREVER).await, Ok(Where::Log));
    assert_eq!(durable.drain().await.unwrap(), 49);
    assert_eq!((durable.state().spool_events, durable.state().spool_bytes), (0, 0));

    let mut numbers = numbers(&**durable.log(), SHARD).await;
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers, (0..=50).collect::<Vec<_>>(), "twice is allowed, missing is not");
}

#[tokio::test]
async fn without_redis_events_wait_in_the_spool_and_the_drainer_brings_them() {
    let mut redis = TestRedis::stopped();
    let dir = tempfile::tempdir().unwrap();
    let durable = durable(&redis, &dir, 1 << 20);
    for n in 0..10 {
        assert_eq!(durable.append(SHARD, &click(n), FOREVER).await, Ok(Where::Spool));
    }
    assert_eq!(durable.stats().log_failures.get(), 1);
    redis.start();
    let arrived = async {
        while durable.state().spool_events > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = durable.run_drainer() => unreachable!("it never ends"),
        () = arrived => {}
    }
    assert_eq!(numbers(&**durable.log(), SHARD).await, (0..10).collect::<Vec<_>>());
    assert_eq!(durable.append(SHARD, &click(10), FOREVER).await, Ok(Where::Log));
}

#[tokio::test]
async fn what_was_spooled_follows_as_soon_as_the_log_takes_an_append() {
    let redis = TestRedis::own();
    let dir = tempfile::tempdir().unwrap();
    let mut durable = durable(&redis, &dir, 1 << 20);
    durable.options.probe_every = FOREVER;
    let at_once = Duration::from_millis(1);
    durable.breakers = vec![Breaker::new(at_once, at_once)];
    let is_empty = async || {
        while durable.state().spool_events > 0 {
            tokio::task::yield_now().await;
        }
    };
    let late_for_a_moment = async {
        durable.spool.append(SHARD, &click(0)).await.unwrap();
        is_empty().await; // the only probe is over
        redis.signal(Signal::SIGSTOP);
        assert_eq!(durable.append(SHARD, &click(1), DEADLINE).await, Ok(Where::Spool));
        redis.signal(Signal::SIGCONT);
        while durable.append(SHARD, &click(2), FOREVER).await != Ok(Where::Log) {}
        is_empty().await;
    };
    tokio::select! {
        () = durable.run_drainer() => unreachable!("it never ends"),
        () = late_for_a_moment => {}
    }
    let mut numbers = numbers(&**durable.log(), SHARD).await;
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers, [0, 1, 2]);
}

#[tokio::test]
async fn nothing_is_acknowledged_that_neither_side_kept() {
    let redis = TestRedis::stopped();
    let dir = tempfile::tempdir().unwrap();
    let durable = durable(&redis, &dir, 500);
    let appends = (0..20).map(|n| {
        let durable = &durable;
        async move { durable.append(SHARD, &click(n), DEADLINE).await.map(|_| n) }
    });
    let (kept, refused): (Vec<_>, Vec<_>) =
        join_all(appends).await.into_iter().partition(Result::is_ok);
    assert!(!kept.is_empty() && !refused.is_empty());
    assert_eq!(durable.stats().refused_events.get(), refused.len() as u64);
    durable.probe().await;
    assert!(!durable.state().can_store(), "ready would be a lie");
    let log = crate::stream::memory::MemoryLog::new(crate::clock::Clock::system(), 100);
    durable.spool.drain(&log).await.unwrap();
    let kept: Vec<_> = kept.into_iter().map(Result::unwrap).collect();
    assert_eq!(numbers(&log, SHARD).await, kept);
}

#[test]
fn an_open_breaker_lets_one_caller_try_per_pause_and_each_pause_is_longer() {
    let [first, longest] = [1_000, 3_000].map(Duration::from_secs);
    let mut breaker = Breaker::new(first, longest);
    breaker.born = Instant::now().checked_sub(Duration::from_secs(5)).unwrap();
    let admitted = |breaker: &Breaker| (0..100).filter(|_| breaker.admits()).count();
    // The test itself takes less than a thousand seconds.
    let pause = |breaker: &Breaker| breaker.retry_at_ms.load(Ordering::Acquire) / 1_000_000;
    assert_eq!(admitted(&breaker), 100);
    for _ in 0..2 {
        breaker.open();
        assert_eq!((admitted(&breaker), pause(&breaker)), (0, 1));
        for longer in [2, 3, 3] {
            breaker.retry_at_ms.store(1, Ordering::Release);
            assert_eq!(admitted(&breaker), 1, "the pause is over");
            assert_eq!(pause(&breaker), longer);
            breaker.open();
            assert_eq!(pause(&breaker), longer, "another failure changes nothing");
        }
        breaker.close();
        assert_eq!(admitted(&breaker), 100);
    }
}

/// Prints appends per second; run with `cargo test --lib stream -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, not a check"]
async fn appends_per_second() {
    const APPENDS: u32 = 20_000;
    let redis = TestRedis::own();
    let dir = tempfile::tempdir().unwrap();
    let durable = durable(&redis, &dir, 1 << 30);
    durable.probe().await;
    for callers in [1, 64, 512] {
        for place in [Where::Log, Where::Spool] {
            if place == Where::Spool {
                durable.breakers[0].open()
            } else {
                durable.breakers[0].close()
            }
            let n_each = if callers == 1 { 1000 } else { APPENDS / callers };
            let started = Instant::now();
            let durable = &durable;
            join_all((0..callers).map(|caller| async move {
                for n in 0..n_each {
                    let batch = click(caller * n_each + n);
                    assert_eq!(durable.append(SHARD, &batch, FOREVER).await, Ok(place));
                }
            }))
            .await;
            let ms = started.elapsed().as_millis().max(1);
            let rate = u128::from(callers * n_each) * 1000 / ms;
            println!("{place:?}, {callers} callers: {rate} appends/s");
        }
    }
    let (waiting, started) = (durable.state().spool_events, Instant::now());
    durable.drain().await.unwrap();
    println!("drained {waiting} events in {} ms", started.elapsed().as_millis());
}
