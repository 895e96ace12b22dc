//! Bad days: whatever its stores do, each visitor is sent on and each click settles once.
//!
//! The service is a process of its own here, with a Redis of its own and a wire to each store.
//! Visitors write down the click ids of their answers, and what they wrote is compared with
//! PostgreSQL in the end. An answer that takes longer than five seconds fails the story.

mod disk;
mod redis;
mod stage;

use std::time::Duration;

use disk::SmallDisk;
use nix::sys::signal::Signal;
use stage::Stage;

use crate::harness::cut::Way;

/// Which store a bad day is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hurts {
    Redis,
    Postgres,
    Both,
}

struct BadDay {
    name: &'static str,
    hurts: Hurts,
    begin: fn(&mut Stage),
    end: fn(&mut Stage),
}

const fn bad_day(
    name: &'static str,
    hurts: Hurts,
    begin: fn(&mut Stage),
    end: fn(&mut Stage),
) -> BadDay {
    BadDay { name, hurts, begin, end }
}

#[rustfmt::skip]
const BAD_DAYS: &[BadDay] = &[
    bad_day("Redis was killed", Hurts::Redis, |s| s.redis.kill(), |s| s.redis.start_again()),
    bad_day("Redis hung", Hurts::Redis, |s| s.redis.signal(Signal::SIGSTOP), |s| s.redis.signal(Signal::SIGCONT)),
    bad_day("Redis was slow", Hurts::Redis, |s| s.to_redis.turn(Way::Slow(Duration::from_millis(200))), |s| s.to_redis.restore()),
    bad_day("Redis was full", Hurts::Redis, |s| limit_memory(s, "1"), |s| limit_memory(s, "0")),
    bad_day("Redis became a replica", Hurts::Redis, |s| follow_nobody(s, &["127.0.0.1", "1"]), |s| follow_nobody(s, &["NO", "ONE"])),
    bad_day("Redis could not dump", Hurts::Redis, forbid_dumps, allow_dumps),
    bad_day("the way to Redis was half open", Hurts::Redis, |s| s.to_redis.turn(Way::Silent), |s| s.to_redis.restore()),
    bad_day("PostgreSQL was away", Hurts::Postgres, |s| s.to_postgres.cut(), |s| s.to_postgres.restore()),
    bad_day("the way to PostgreSQL was half open", Hurts::Postgres, |s| s.to_postgres.turn(Way::Silent), |s| s.to_postgres.restore()),
    bad_day("both were away", Hurts::Both, cut_both, restore_both),
];

fn limit_memory(stage: &mut Stage, bytes: &str) {
    stage.redis.ask(&["CONFIG", "SET", "maxmemory", bytes]);
}

fn follow_nobody(stage: &mut Stage, whom: &[&str]) {
    stage.redis.ask(&[&["REPLICAOF"], whom].concat());
}

/// Its dumps fail, because a folder has their name; by its usual settings it takes no write then.
fn forbid_dumps(stage: &mut Stage) {
    std::fs::create_dir(stage.redis.dump()).unwrap();
    stage.redis.ask(&["CONFIG", "SET", "save", "3600 1000000"]);
    assert!(!stage.redis.dumps());
}

fn allow_dumps(stage: &mut Stage) {
    std::fs::remove_dir(stage.redis.dump()).unwrap();
    assert!(stage.redis.dumps());
    stage.redis.ask(&["CONFIG", "SET", "save", ""]);
}

fn cut_both(stage: &mut Stage) {
    stage.to_redis.cut();
    stage.to_postgres.cut();
}

fn restore_both(stage: &mut Stage) {
    stage.to_redis.restore();
    stage.to_postgres.restore();
}

#[actix_web::test]
async fn no_bad_day_of_a_store_costs_a_visitor_or_a_click_own_redis() {
    let mut stage = Stage::start(&[]).await;
    for day in BAD_DAYS {
        let name = day.name;
        stage.click(16).await;
        stage.expect_each_settled_once(name).await;
        let n_settled = stage.settled().await;
        (day.begin)(&mut stage);
        let mut was_spooled = false;
        for _ in 0..10 {
            stage.click(16).await;
            was_spooled |= stage.spool_bytes() > 0;
        }
        // Or the story would tell of a day like any other.
        assert!(was_spooled || day.hurts == Hurts::Postgres, "{name}");
        if day.hurts != Hurts::Redis {
            assert_eq!(stage.settled().await, n_settled, "{name}");
        }
        (day.end)(&mut stage);
        stage.click(16).await;
        stage.expect_each_settled_once(name).await;
    }
}

#[actix_web::test]
async fn a_killed_service_loses_no_click_that_a_visitor_was_sent_on_with_own_redis() {
    let mut stage = Stage::start(&[]).await;
    for (name, is_redis_away) in [("killed", false), ("killed while it spooled", true)] {
        if is_redis_away {
            stage.to_redis.cut();
        }
        for _ in 0..3 {
            stage.click_until_killed(200).await;
            stage.start_service();
        }
        stage.to_redis.restore();
        stage.expect_each_settled_once(name).await;
    }
}

#[actix_web::test]
async fn a_start_without_any_store_redirects_by_what_was_known_own_redis() {
    let mut stage = Stage::start(&[]).await;
    stage.click(16).await;
    stage.expect_each_settled_once("a day like any other").await;
    stage.kill_service();
    cut_both(&mut stage);
    stage.start_service();
    stage.click(160).await;
    assert!(stage.spool_bytes() > 0);
    restore_both(&mut stage);
    stage.click(16).await;
    stage.expect_each_settled_once("a start without any store").await;
}

#[actix_web::test]
async fn a_full_spool_drops_what_it_says_and_nothing_else_own_redis() {
    let mut stage = Stage::start(&[("TRIBUTARY_SPOOL_MAX_BYTES", "1048576")]).await;
    stage.to_redis.cut();
    stage.long_sub_ids();
    while stage.dropped().await == 0 {
        assert!(stage.spool_bytes() <= 1 << 20);
        stage.click(200).await;
    }
    let (n_sent, n_dropped) = (stage.forget_acknowledged(), stage.dropped().await);
    stage.to_redis.restore();
    let mut n_kept = n_sent - n_dropped;
    stage.wait_for_settled(n_kept).await;
    // With the spool empty there is room again.
    stage.expect_each_settled_once("a full spool").await;
    stage.click(16).await;
    n_kept += 16;
    stage.expect_each_settled_once("room again").await;
    let n_settled = stage.settled().await;
    assert_eq!(n_settled, i64::try_from(n_kept).unwrap(), "of {n_sent}, {n_dropped} were dropped");
}

/// Room for some hundred large clicks, the copy of the terms and the position of the spool.
const SMALL_BYTES: usize = 1 << 20;
const NO_ROOM: &str = "No space left on device";

/// Lets visitors with large clicks come to a full disk until more are dropped than before.
async fn click_until_dropped(stage: &mut Stage) {
    let before = stage.dropped().await;
    while stage.dropped().await == before {
        stage.click(8).await;
    }
}

#[actix_web::test]
async fn a_disk_that_is_really_full_costs_what_it_says_and_nothing_else_own_redis() {
    let Some(disk) = SmallDisk::mount(SMALL_BYTES) else { return };
    let mut stage = Stage::start_on(&disk).await;
    stage.click(16).await;
    assert_eq!(stage.sell("A-1").await, 202);
    stage.expect_each_settled_once("a day like any other").await;
    stage.to_redis.cut();
    stage.long_sub_ids();
    stage.click(16).await;
    assert_eq!(stage.sell("A-2").await, 202);
    disk.fill();
    click_until_dropped(&mut stage).await;
    assert_eq!(stage.sell("A-3").await, 503, "the shop sends it again");
    let spool = disk.path().join("spool");
    stage.wait_for_line(&[spool.to_str().unwrap(), NO_ROOM]).await;
    let mut n_dropped = stage.dropped().await;

    // Killed in the middle of a record, and started while there is no room.
    stage.kill_service();
    disk.make_room();
    stage.tear();
    disk.fill();
    stage.start_service();
    stage.wait_for_line(&[spool.to_str().unwrap(), "unfinished bytes"]).await;
    click_until_dropped(&mut stage).await;
    assert_eq!(stage.sell("A-3").await, 503);
    let n_since = stage.dropped().await;
    disk.make_room();
    stage.click(16).await;
    assert_eq!(stage.sell("A-3").await, 202);
    assert_eq!(stage.dropped().await, n_since, "there is room again");

    // Redis is back before there is room once more: the spool makes its own.
    disk.fill();
    click_until_dropped(&mut stage).await;
    n_dropped += stage.dropped().await;
    let n_sent = stage.forget_acknowledged();
    stage.to_redis.restore();
    stage.wait_for_settled(n_sent - n_dropped).await;
    stage.expect_each_settled_once("a full disk").await;
    stage.click(16).await;
    stage.expect_each_settled_once("a full disk with an empty spool").await;
    let n_settled = stage.settled().await;
    let n_kept = i64::try_from(n_sent - n_dropped + 16).unwrap();
    assert_eq!(n_settled, n_kept, "of {n_sent}, {n_dropped} were dropped");
    assert_eq!(stage.sales().await, 3);
}

#[actix_web::test]
async fn terms_that_a_full_disk_did_not_take_are_in_force_and_saved_later_own_redis() {
    let Some(disk) = SmallDisk::mount(SMALL_BYTES) else { return };
    let mut stage = Stage::start_on(&disk).await;
    let before = stage.copied();
    disk.fill();
    let version = stage.change_terms().await;
    let copy = disk.path().join("snapshot.json");
    stage.wait_for_line(&[copy.to_str().unwrap(), NO_ROOM]).await;
    assert_eq!(stage.copied(), before, "the old copy is whole");
    stage.click(16).await;
    stage.expect_each_settled_once("a full disk").await;
    disk.make_room();
    stage.wait_for_copy(version).await;
}
