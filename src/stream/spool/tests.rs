//! The spool: damage at every byte, full disks, restarts.

use std::fs;
use std::path::Path;

use futures_util::future::join_all;
use proptest::prelude::*;

use super::*;
use crate::clock::Clock;
use crate::stream::Offset;
use crate::stream::conformance::{click, numbers};
use crate::stream::memory::MemoryLog;

const SHARD: Shard = Shard(0);

fn open(dir: &Path) -> (Spool, Arc<StreamStats>) {
    open_with(dir, 1 << 20, 1 << 20)
}

fn open_with(dir: &Path, bytes_max: u64, segment_bytes: u64) -> (Spool, Arc<StreamStats>) {
    let stats = Arc::new(StreamStats::default());
    let options = SpoolOptions { dir: dir.into(), bytes_max, segment_bytes };
    (Spool::open(options, stats.clone()).unwrap(), stats)
}

fn memory() -> MemoryLog {
    MemoryLog::new(Clock::system(), 100_000)
}

async fn drained(spool: &Spool) -> Vec<u32> {
    let log = memory();
    spool.drain(&log).await.unwrap();
    assert_eq!(spool.n_events(), 0);
    numbers(&log, SHARD).await
}

fn files(dir: &Path, kind: &str) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(kind)).collect();
    names.sort();
    names
}

/// The bytes of a segment of clicks 0, 1, 2, and where each record ends.
fn segment_bytes() -> (Vec<u8>, [usize; 3]) {
    let mut bytes = segment::HEAD.to_vec();
    let ends = [0, 1, 2].map(|n| {
        bytes.extend(segment::encode(SHARD, &click(n)).unwrap());
        bytes.len()
    });
    (bytes, ends)
}

/// Starts a spool on one segment of these bytes; returns what it moved and what it counted.
async fn start_on(bytes: &[u8]) -> (Vec<u32>, Arc<StreamStats>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(format!("{:020}.seg", 1)), bytes).unwrap();
    let (spool, stats) = open(dir.path());
    let moved = drained(&spool).await;
    spool.append(SHARD, &click(77)).await.unwrap();
    assert_eq!(drained(&spool).await, [77], "it works on");
    (moved, stats, dir)
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open_with(dir.path(), 1 << 20, 200);
    for n in 0..20 {
        spool.append(SHARD, &click(n)).await.unwrap();
    }
    assert!(files(dir.path(), ".seg").len() > 3, "several segments");
    assert_eq!(spool.n_events(), 20);
    let bytes = spool.bytes();
    drop(spool);
    let (spool, stats) = open(dir.path());
    assert_eq!((spool.n_events(), spool.bytes()), (20, bytes));
    assert_eq!(drained(&spool).await, (0..20).collect::<Vec<_>>());
    assert_eq!(stats.drained_events.get(), 20);
    assert_eq!(spool.bytes(), 0);
    assert!(files(dir.path(), ".seg").is_empty());
    assert_eq!(stats.spool_torn_tails.get() + stats.spool_bad_segments.get(), 0);
}

#[tokio::test]
async fn a_segment_cut_at_any_byte_gives_its_whole_records() {
    let (bytes, ends) = segment_bytes();
    for cut in 0..bytes.len() {
        let (moved, stats, dir) = start_on(&bytes[..cut]).await;
        let whole = ends.iter().filter(|&&end| end <= cut).count();
        assert_eq!(moved, [0, 1, 2][..whole], "cut at {cut}");
        let at_an_end = cut == segment::HEAD.len() || ends.contains(&cut);
        assert_eq!(stats.spool_torn_tails.get(), u64::from(!at_an_end), "cut at {cut}");
        assert_eq!(files(dir.path(), ".bad").len(), 0, "a torn tail is no alarm");
    }
}

#[tokio::test]
async fn a_segment_zeroed_from_any_byte_gives_its_whole_records() {
    let (bytes, ends) = segment_bytes();
    for from in 0..bytes.len() {
        let mut zeroed = bytes.clone();
        zeroed[from..].fill(0);
        let (moved, stats, _dir) = start_on(&zeroed).await;
        // A record that ends in zeros anyway may be whole still.
        let whole = ends.iter().filter(|&&end| zeroed[..end] == bytes[..end]).count();
        assert_eq!(moved, [0, 1, 2][..whole], "zeroed from {from}");
        let n_damaged = stats.spool_torn_tails.get() + stats.spool_bad_segments.get();
        assert_eq!(n_damaged, u64::from(zeroed != bytes), "zeroed from {from}");
    }
}

#[tokio::test]
async fn a_segment_with_any_byte_flipped_gives_all_records_before_it() {
    let (bytes, ends) = segment_bytes();
    for at in 0..bytes.len() {
        for mask in [0xff, 1] {
            let mut flipped = bytes.clone();
            flipped[at] ^= mask;
            let (moved, stats, dir) = start_on(&flipped).await;
            let before = ends.iter().filter(|&&end| end <= at).count();
            let before = if at < segment::HEAD.len() { 3 } else { before };
            assert_eq!(moved[..before], [0, 1, 2][..before], "flipped {at}");
            // The rest may miss the damaged one, and those after a damaged head.
            assert!(moved.iter().all(|&n| n < 3) && moved.len() <= 3, "flipped {at}: {moved:?}");
            assert_eq!(stats.spool_bad_segments.get(), 1, "flipped {at}");
            let [bad] = &files(dir.path(), ".bad")[..] else { panic!("flipped {at}") };
            assert_eq!(fs::read(dir.path().join(bad)).unwrap(), flipped, "kept as it was");
        }
    }
}

#[tokio::test]
async fn a_damaged_body_costs_its_record_alone() {
    let (mut bytes, ends) = segment_bytes();
    bytes[ends[1] - 1] ^= 1;
    assert_eq!(start_on(&bytes).await.0, [0, 2]);
}

#[tokio::test]
async fn a_segment_that_cannot_be_read_does_not_stop_the_start() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join(format!("{:020}.seg", 1))).unwrap();
    let (spool, stats) = open(dir.path());
    spool.append(SHARD, &click(1)).await.unwrap();
    assert_eq!(drained(&spool).await, [1]);
    assert_eq!(stats.spool_bad_segments.get(), 1);
}

#[tokio::test]
async fn foreign_files_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["18446744073709551615.seg", "notes.txt", "x.seg", "7.new"] {
        fs::write(dir.path().join(name), b"not ours").unwrap();
    }
    let (spool, _) = open(dir.path());
    spool.append(SHARD, &click(1)).await.unwrap();
    assert_eq!(drained(&spool).await, [1]);
    assert_eq!(files(dir.path(), ".seg"), ["18446744073709551615.seg", "x.seg"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_bytes_as_segment_and_position_never_stop_the_start(
        mut segment: Vec<u8>, position: Vec<u8>, headed: bool,
    ) {
        if headed { segment.splice(..0, *segment::HEAD); }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("position"), position).unwrap();
            fs::write(dir.path().join("3.seg"), segment).unwrap();
            let (spool, _) = open(dir.path());
            spool.append(SHARD, &click(5)).await.unwrap();
            assert_eq!(drained(&spool).await, [5]);
        });
    }
}

#[tokio::test]
async fn a_crash_between_moving_and_noting_it_repeats_and_never_loses() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    for n in 0..3 {
        spool.append(SHARD, &click(n)).await.unwrap();
    }
    let read = |spool: &Spool| {
        let jobs = spool.jobs.clone().unwrap();
        async move {
            let (done, chunk) = oneshot::channel();
            jobs.send(Job::Read { batches_max: 2, done }).await.ok().unwrap();
            chunk.await.unwrap().unwrap()
        }
    };
    let chunk = read(&spool).await;
    assert_eq!(chunk.batches.len(), 2);
    drop(spool);
    let (spool, _) = open(dir.path());
    let chunk = read(&spool).await;
    spool.ask(|done| Job::Advance { to: chunk.end, n_events: 2, done }).await.unwrap();
    drop(spool);
    let (spool, _) = open(dir.path());
    assert_eq!(spool.n_events(), 1);
    assert_eq!(drained(&spool).await, [2]);
}

#[tokio::test]
async fn an_append_between_reading_and_noting_it_is_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    spool.append(SHARD, &click(1)).await.unwrap();
    let chunk = spool.ask(|done| Job::Read { batches_max: 10, done }).await.unwrap();
    spool.append(SHARD, &click(2)).await.unwrap();
    spool.ask(|done| Job::Advance { to: chunk.end, n_events: 1, done }).await.unwrap();
    assert_eq!(spool.n_events(), 1);
    assert_eq!(drained(&spool).await, [2]);
}

#[tokio::test]
async fn a_crash_between_position_and_deletion_moves_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    spool.append(SHARD, &click(1)).await.unwrap();
    let [name] = &files(dir.path(), ".seg")[..] else { panic!("one segment") };
    let path = dir.path().join(name);
    let bytes = fs::read(&path).unwrap();
    assert_eq!(drained(&spool).await, [1]);
    drop(spool);
    fs::write(&path, bytes).unwrap();
    let (spool, _) = open(dir.path());
    assert_eq!(drained(&spool).await, [0; 0]);
    assert!(!path.exists());
    spool.append(SHARD, &click(2)).await.unwrap();
    assert_eq!(drained(&spool).await, [2], "new segments lie behind the position");
}

#[tokio::test]
async fn a_lost_position_moves_again_what_is_still_there() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    for n in 0..2 {
        spool.append(SHARD, &click(n)).await.unwrap();
    }
    let chunk = spool.ask(|done| Job::Read { batches_max: 1, done }).await.unwrap();
    spool.ask(|done| Job::Advance { to: chunk.end, n_events: 1, done }).await.unwrap();
    drop(spool);
    fs::write(dir.path().join("position"), b"?").unwrap();
    assert_eq!(drained(&open(dir.path()).0).await, [0, 1]);
}

#[tokio::test]
async fn draining_resumes_after_the_log_failed() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open_with(dir.path(), 1 << 20, 1 << 10);
    let appends = (0..3000).map(|n| {
        let spool = &spool;
        async move { spool.append(SHARD, &click(n)).await }
    });
    // Three thousand records are below the bound of one megabyte, in many segments.
    assert!(join_all(appends).await.into_iter().all(|appended| appended.is_ok()));
    let log = MemoryLog::new(Clock::system(), 1500);
    let mut seen = Vec::new();
    while let Err(error) = spool.drain(&log).await {
        assert!(matches!(error, DrainError::Log(_)));
        seen.extend(numbers(&log, SHARD).await);
        log.trim_before(SHARD, Offset { ms: u64::MAX, seq: 0 }).await.unwrap();
    }
    seen.extend(numbers(&log, SHARD).await);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, (0..3000).collect::<Vec<_>>());
    assert_eq!(spool.n_events(), 0);
}

#[tokio::test]
async fn the_bound_is_kept_and_room_returns() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open_with(dir.path(), 1000, 300);
    let mut kept = Vec::new();
    let full = loop {
        let n = kept.len() as u32;
        match spool.append(SHARD, &click(n)).await {
            Ok(()) => kept.push(n),
            Err(full) => break full,
        }
    };
    assert!(matches!(full, SpoolError::Full { bytes_max: 1000, .. }));
    assert!(spool.is_failing() && kept.len() > 5);
    let names = files(dir.path(), ".seg");
    let on_disk: u64 = names.iter().map(|n| fs::metadata(dir.path().join(n)).unwrap().len()).sum();
    assert!(on_disk == spool.bytes() && on_disk <= 1000);
    assert_eq!(drained(&spool).await, kept);
    spool.append(SHARD, &click(9)).await.unwrap();
    assert!(!spool.is_failing());
}

#[tokio::test]
async fn a_batch_beyond_all_size_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    let huge = PackedBatch::from_bytes(vec![1; segment::BODY_BYTES_MAX], 1);
    assert!(matches!(spool.append(SHARD, &huge).await, Err(SpoolError::TooLarge(_))));
}

#[tokio::test]
async fn a_record_larger_than_a_read_is_moved_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open_with(dir.path(), 8 << 20, 1 << 20);
    let large = PackedBatch::from_bytes(vec![1; 3 << 20], 1);
    spool.append(Shard(5), &large).await.unwrap();
    let log = memory();
    assert_eq!(spool.drain(&log).await.unwrap(), 1);
    let [entry] = &log.read(Shard(5), Offset::START, 9).await.unwrap()[..] else { panic!("one") };
    assert_eq!(entry.bytes, large.into_bytes());
}

#[tokio::test]
async fn a_disk_that_refuses_is_told_to_all_and_heals() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, stats) = open(dir.path());
    spool.probe().await.unwrap();
    fs::remove_dir_all(dir.path()).unwrap();
    assert!(matches!(spool.append(SHARD, &click(1)).await, Err(SpoolError::Disk { .. })));
    assert!(matches!(spool.probe().await, Err(SpoolError::Disk { .. })));
    assert!(spool.is_failing());
    assert_eq!(stats.spool_failures.get(), 2);
    fs::create_dir(dir.path()).unwrap();
    spool.append(SHARD, &click(2)).await.unwrap();
    assert!(!spool.is_failing());
    assert_eq!(drained(&spool).await, [2]);
}

#[tokio::test]
async fn damage_while_running_costs_no_other_record() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, stats) = open(dir.path());
    for n in 0..3 {
        spool.append(SHARD, &click(n)).await.unwrap();
    }
    let [name] = &files(dir.path(), ".seg")[..] else { panic!("one segment") };
    let path = dir.path().join(name);
    let mut bytes = fs::read(&path).unwrap();
    bytes[segment::HEAD.len() + 40] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(drained(&spool).await, [1, 2]);
    assert_eq!(stats.spool_bad_segments.get(), 1);
    spool.append(SHARD, &click(3)).await.unwrap();
    assert_eq!(drained(&spool).await, [3]);
}

#[test]
fn a_folder_has_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    let options = SpoolOptions { dir: dir.path().into(), bytes_max: 1, segment_bytes: 1 };
    let second = Spool::open(options, Arc::default());
    assert!(matches!(second, Err(SpoolError::InUse(_))));
    drop(spool);
    open(dir.path());
}
