//! What every [`EventLog`] must do, run over each of them.

use super::memory::MemoryLog;
use super::redis::cluster_tests::TestCluster;
use super::redis::tests::TestRedis;
use super::{ClickRecord, EventLog, Offset, PackedBatch, Shard, StreamEvent, unpack};
use crate::clock::Clock;

/// Returns a batch of one click that can be told from others by `n`.
pub(super) fn click(n: u32) -> PackedBatch {
    let mut click = ClickRecord::default();
    click.payload[..4].copy_from_slice(&n.to_be_bytes());
    let mut batch = PackedBatch::new();
    batch.push_click(&click);
    batch
}

/// Reads all clicks of a shard back as their numbers, in order.
pub(super) async fn numbers(log: &impl EventLog, shard: Shard) -> Vec<u32> {
    let mut numbers = Vec::new();
    let mut after = Offset::START;
    loop {
        let entries = log.read(shard, after, 100).await.unwrap();
        let Some(last) = entries.last() else { return numbers };
        after = last.offset;
        for event in entries.iter().flat_map(|entry| unpack(&entry.bytes)) {
            let StreamEvent::Click(click) = event.unwrap() else { panic!("only clicks here") };
            numbers.push(u32::from_be_bytes(*click.payload.first_chunk().unwrap()));
        }
    }
}

async fn conforms(log: &impl EventLog) {
    let (a, b) = (Shard(0), Shard(63));
    let empty = log.state(a).await.unwrap();
    assert_eq!((empty.last, empty.oldest, empty.length), (Offset::START, None, 0));
    assert_eq!(log.read(a, Offset::START, 10).await.unwrap(), []);
    assert_eq!(log.trim_before(a, Offset { ms: u64::MAX, seq: 0 }).await.unwrap(), 0);
    log.probe(a).await.unwrap();

    let mut offsets = Vec::new();
    for n in 0..5 {
        offsets.push(log.append(a, &click(n)).await.unwrap());
    }
    assert!(offsets.is_sorted_by(|x, y| x < y), "{offsets:?}");
    assert!(Offset::START < offsets[0]);
    log.append(b, &click(100)).await.unwrap();
    assert_eq!(numbers(log, a).await, [0, 1, 2, 3, 4]);
    assert_eq!(numbers(log, b).await, [100], "shards are apart");

    let page = log.read(a, offsets[1], 2).await.unwrap();
    let places: Vec<_> = page.iter().map(|entry| entry.offset).collect();
    assert_eq!(places, offsets[2..4], "strictly after, and not more than asked");
    assert_eq!(page[0].bytes, click(2).into_bytes());
    assert_eq!(log.read(a, offsets[4], 10).await.unwrap(), []);

    let full = log.state(a).await.unwrap();
    assert_eq!((full.last, full.oldest, full.length), (offsets[4], Some(offsets[0]), 5));
    assert_eq!(full.generation, empty.generation, "a generation lasts");
    assert_ne!(full.generation, log.state(b).await.unwrap().generation);
    assert!(full.continues(full.generation, offsets[4]));
    assert!(!full.continues(full.generation, offsets[4].next().unwrap()), "set back");
    assert!(!full.continues(log.state(b).await.unwrap().generation, offsets[0]), "replaced");

    assert_eq!(log.trim_before(a, offsets[3]).await.unwrap(), 3);
    assert_eq!(numbers(log, a).await, [3, 4]);
    assert_eq!(log.trim_before(a, offsets[4].next().unwrap()).await.unwrap(), 2);
    let trimmed = log.state(a).await.unwrap();
    assert_eq!((trimmed.last, trimmed.oldest, trimmed.length), (offsets[4], None, 0));
    assert!(trimmed.continues(full.generation, offsets[4]), "trimming is no new life");
    assert!(log.append(a, &click(5)).await.unwrap() > offsets[4]);

    let odd = PackedBatch::from_bytes(vec![0xff, 0, b'\r', b'\n'], 1);
    let at = log.append(b, &odd).await.unwrap();
    let last = log.read(b, Offset::START, 10).await.unwrap().pop().unwrap();
    assert_eq!((last.offset, last.bytes), (at, odd.into_bytes()), "bytes are not looked at");
}

#[tokio::test]
async fn the_memory_log_conforms() {
    conforms(&MemoryLog::new(Clock::system(), 1000)).await;
}

#[tokio::test]
async fn the_redis_log_conforms() {
    let server = TestRedis::shared_or_own();
    conforms(&server.log()).await;
}

#[tokio::test]
async fn the_cluster_log_conforms_on_an_own_redis() {
    let cluster = TestCluster::start(3, 0);
    conforms(&cluster.log()).await;
}

#[tokio::test]
async fn memory_offsets_rise_while_the_clock_falls() {
    let clock = Clock::manual("2026-11-22T10:00:00Z".parse().unwrap());
    let log = MemoryLog::new(clock.clone(), 10);
    let first = log.append(Shard(0), &click(1)).await.unwrap();
    clock.advance(chrono::Duration::hours(-2));
    let second = log.append(Shard(0), &click(2)).await.unwrap();
    assert_eq!(second, first.next().unwrap());
}
