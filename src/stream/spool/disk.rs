//! The spool's files, as its one thread sees them.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tracing::{error, warn};

use super::segment::{self, Found, HEAD, Verdict};
use super::{Chunk, Gauges, Group, Position, SpoolError, SpoolOptions, StreamStats, answer};
use crate::stream::PackedBatch;

/// Bytes read at once while draining, unless one record is larger.
const READ_BYTES: usize = 256 << 10;

/// The room that a probe asks for: about one click with labels.
const PROBE_ROOM_BYTES: usize = 128;

/// Greater numbers are not ours, and counting on from them would overflow.
const NUMBER_MAX: u64 = 1 << 62;

const POSITION_FILE: &str = "position";
const POSITION_BYTES: usize = 20;

/// A segment with unread records, or the one being written.
#[derive(Debug, Clone, Copy)]
struct Segment {
    /// Bytes known to be on disk; anything after is not ours.
    length: u64,
}

/// The folder.
pub(super) struct Disk {
    options: SpoolOptions,
    stats: Arc<StreamStats>,
    gauges: Arc<Gauges>,
    folder: File,
    /// Held locked as long as we live.
    _lock: File,
    segments: BTreeMap<u64, Segment>,
    /// The segment being written, always the highest.
    active: Option<(u64, File)>,
    /// No file was ever named so.
    next_number: u64,
    /// What lies before it has been moved to the log.
    position: Position,
    n_events: u64,
}

impl Disk {
    /// Opens the folder, repairs it and counts what waits.
    pub(super) fn open(
        options: SpoolOptions,
        stats: Arc<StreamStats>,
        gauges: Arc<Gauges>,
    ) -> Result<Self, SpoolError> {
        let dir = options.dir.clone();
        fs::create_dir_all(&dir).map_err(refused(&dir, "create its folder"))?;
        let folder = File::open(&dir).map_err(refused(&dir, "open its folder"))?;
        let lock = File::create(dir.join("lock")).map_err(refused(&dir, "create its lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(SpoolError::InUse(dir)),
            Err(TryLockError::Error(e)) => return Err(refused(&dir, "lock its folder")(e)),
        }
        let mut disk = Self {
            position: load_position(&dir),
            options,
            stats,
            gauges,
            folder,
            _lock: lock,
            segments: BTreeMap::new(),
            active: None,
            next_number: 1,
            n_events: 0,
        };
        disk.recover_all()?;
        Ok(disk)
    }

    fn recover_all(&mut self) -> Result<(), SpoolError> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.options.dir)
            .map_err(refused(&self.options.dir, "list its folder"))?
        {
            let name = entry.map_err(refused(&self.options.dir, "list its folder"))?.file_name();
            let Some((stem, kind)) = name.to_str().and_then(|name| name.split_once('.')) else {
                continue;
            };
            let Some(number) = stem.parse().ok().filter(|&number| number <= NUMBER_MAX) else {
                continue;
            };
            // Counted for `*.bad` and `*.new` as well: a name is never used twice.
            self.next_number = self.next_number.max(number + 1);
            if kind == "seg" {
                found.push(number);
            }
        }
        self.next_number = self.next_number.max(self.position.segment);
        found.sort_unstable();
        for number in found {
            if number < self.position.segment {
                // Moved to the log already; the crash came between the position and this.
                remove(&self.path(number, "seg"));
            } else {
                self.recover(number);
            }
        }
        self.sync_folder().map_err(refused(&self.options.dir, "sync its folder"))?;
        self.stats.spool_found_events.add(self.n_events);
        self.publish();
        Ok(())
    }

    /// Takes one segment into the books, repaired if need be. Never fails: what cannot be read is
    /// moved aside.
    fn recover(&mut self, number: u64) {
        let path = self.path(number, "seg");
        let result = fs::read(&path).and_then(|bytes| {
            let scan = segment::scan(&bytes);
            match scan.verdict {
                Verdict::Whole => Ok(()),
                Verdict::Torn => self.cut(number, &bytes, scan.end()),
                Verdict::Bad => self.salvage(number, &bytes, &scan),
            }?;
            if scan.verdict != Verdict::Bad {
                self.adopt(number, &scan, self.position);
            }
            Ok(())
        });
        if let Err(e) = result {
            error!("spool segment {} cannot be read or repaired: {e}", path.display());
            self.set_aside(number);
        }
    }

    fn adopt(&mut self, number: u64, scan: &segment::Scan, read_up_to: Position) {
        let is_unread = |at: usize| Position { segment: number, at: at as u64 } >= read_up_to;
        let unread = scan.records.iter().filter(|(place, _)| is_unread(place.start));
        self.n_events += unread.map(|(_, n_events)| u64::from(*n_events)).sum::<u64>();
        self.segments.insert(number, Segment { length: scan.end() as u64 });
    }

    /// Cuts an unfinished tail, which was never acknowledged.
    fn cut(&self, number: u64, bytes: &[u8], end: usize) -> io::Result<()> {
        let path = self.path(number, "seg");
        self.stats.spool_torn_tails.add(1);
        warn!("cut {} unfinished bytes off {}", bytes.len().saturating_sub(end), path.display());
        let file = OpenOptions::new().write(true).open(&path)?;
        // A head that was cut short is written again; nothing followed it.
        file.write_all_at(HEAD, 0)?;
        file.set_len(end as u64)?;
        file.sync_data()
    }

    /// Copies the whole, unread records of a damaged segment to a new one and moves the damaged
    /// one aside. A crash between the two makes them twice, never lost.
    fn salvage(&mut self, number: u64, bytes: &[u8], scan: &segment::Scan) -> io::Result<()> {
        let is_unread = |at: usize| Position { segment: number, at: at as u64 } >= self.position;
        let mut kept = HEAD.to_vec();
        for (place, _) in &scan.records {
            if is_unread(place.start) {
                kept.extend_from_slice(&bytes[place.clone()]);
            }
        }
        if kept.len() > HEAD.len() {
            let fresh = self.next_number;
            self.next_number += 1;
            let draft = self.path(fresh, "new");
            let mut file = File::create(&draft)?;
            file.write_all(&kept)?;
            file.sync_data()?;
            fs::rename(&draft, self.path(fresh, "seg"))?;
            self.sync_folder()?;
            self.adopt(fresh, &segment::scan(&kept), Position::default());
        }
        self.set_aside(number);
        Ok(())
    }

    /// Renames a segment to `*.bad`: it is out of the way, and a person can look at it.
    fn set_aside(&mut self, number: u64) {
        let path = self.path(number, "seg");
        self.segments.remove(&number);
        self.stats.spool_bad_segments.add(1);
        error!("spool segment {} is damaged; moved aside as *.bad", path.display());
        let moved = fs::rename(&path, self.path(number, "bad")).and_then(|()| self.sync_folder());
        if let Err(e) = moved {
            error!("spool segment {} cannot be moved aside: {e}", path.display());
        }
    }

    /// Says whether a record still fits below the bound, after those gathered so far.
    pub(super) fn room_for(&self, group: &Group, record: &[u8]) -> Result<(), SpoolError> {
        let bytes = self.bytes();
        let bytes_max = self.options.bytes_max;
        let more = group.bytes.len() + record.len() + HEAD.len();
        if bytes + more as u64 <= bytes_max {
            return Ok(());
        }
        self.gauges.is_failing.store(true, Ordering::Relaxed);
        Err(SpoolError::Full { bytes, bytes_max })
    }

    /// Writes a group, fsyncs once and tells everyone who waits.
    pub(super) fn commit(&mut self, group: Group) {
        if group.waiting.is_empty() {
            return;
        }
        let written = self.write(&group.bytes).map_err(refused(&self.options.dir, "write"));
        match &written {
            Ok(()) => self.n_events += group.n_events,
            Err(_) => self.abandon_active(),
        }
        self.note(&written);
        self.publish();
        for done in group.waiting {
            answer(done, written.clone());
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let is_full = |number| {
            self.segments.get(number).is_none_or(|s| s.length >= self.options.segment_bytes)
        };
        if self.active.as_ref().is_none_or(|(number, _)| is_full(number)) {
            self.begin_segment()?;
        }
        let Some((number, file)) = &mut self.active else { return Ok(()) };
        file.write_all(bytes)?;
        file.sync_data()?;
        if let Some(segment) = self.segments.get_mut(number) {
            segment.length += bytes.len() as u64;
        }
        Ok(())
    }

    fn begin_segment(&mut self) -> io::Result<()> {
        // Whatever can be read has its place for how far it was: a full disk has no room for one.
        if !self.options.dir.join(POSITION_FILE).exists() {
            self.replace_position(self.position)?;
        }
        let number = self.next_number;
        self.next_number += 1;
        let path = self.path(number, "seg");
        let file = OpenOptions::new().append(true).create_new(true).open(&path)?;
        // In the books first: if the rest fails, it is abandoned like any other.
        self.segments.insert(number, Segment { length: HEAD.len() as u64 });
        let (_, file) = self.active.insert((number, file));
        file.write_all(HEAD)?;
        self.sync_folder()
    }

    /// Gives up a segment whose last write or fsync failed: after a failed fsync the kernel may
    /// have thrown the bytes away while saying they are clean. Nothing in it that was acknowledged
    /// is touched.
    fn abandon_active(&mut self) {
        let Some((number, file)) = self.active.take() else { return };
        let Some(&Segment { length }) = self.segments.get(&number) else { return };
        if length <= HEAD.len() as u64 {
            // A full disk must not leave one empty file per attempt.
            self.segments.remove(&number);
            remove(&self.path(number, "seg"));
        } else if let Err(e) = file.set_len(length) {
            let path = self.path(number, "seg");
            warn!("the end of {} cannot be cut now, only at start: {e}", path.display());
        }
    }

    /// Returns the next batches after the position.
    pub(super) fn read(&mut self, batches_max: usize) -> Result<Chunk, SpoolError> {
        let mut at = self.position;
        while let Some((&number, segment)) = self.segments.range(at.segment..).next() {
            if at.segment < number || at.at < HEAD.len() as u64 {
                at = Position { segment: number, at: HEAD.len() as u64 };
            }
            let unread = segment.length.saturating_sub(at.at);
            if unread == 0 {
                at = Position { segment: number + 1, at: 0 };
                continue;
            }
            let read = self
                .read_records(at, unread, batches_max)
                .map_err(refused(&self.options.dir, "read"));
            let Some(chunk) = read? else {
                // It was whole when we wrote or opened it: the disk has damaged it since. The
                // number leaves the books here, so this cannot go round for ever.
                self.recover_damaged(number);
                continue;
            };
            return Ok(chunk);
        }
        Ok(Chunk { batches: Vec::new(), end: self.position })
    }

    /// Reads whole records from `at`; `None` when the first of them is damaged.
    fn read_records(
        &self,
        at: Position,
        unread: u64,
        batches_max: usize,
    ) -> io::Result<Option<Chunk>> {
        let file = File::open(self.path(at.segment, "seg"))?;
        let unread = usize::try_from(unread).unwrap_or(usize::MAX);
        let mut bytes = vec![0; unread.min(READ_BYTES)];
        file.read_exact_at(&mut bytes, at.at)?;
        if let Found::Short(Some(size)) = segment::record_at(&bytes) {
            bytes.resize(size.min(unread), 0);
            file.read_exact_at(&mut bytes, at.at)?;
        }
        let mut batches = Vec::new();
        let mut done = 0;
        while batches.len() < batches_max
            && let Found::Whole(record, size) = segment::record_at(&bytes[done..])
        {
            let batch = PackedBatch::from_bytes(record.batch, record.n_events as usize);
            batches.push((record.shard, batch));
            done += size;
        }
        let end = Position { segment: at.segment, at: at.at + done as u64 };
        Ok((!batches.is_empty()).then_some(Chunk { batches, end }))
    }

    fn recover_damaged(&mut self, number: u64) {
        if self.active.as_ref().is_some_and(|(active, _)| *active == number) {
            self.active = None;
        }
        self.segments.remove(&number);
        let salvaged = fs::read(self.path(number, "seg"))
            .and_then(|bytes| self.salvage(number, &bytes, &segment::scan(&bytes)));
        if let Err(e) = salvaged {
            let path = self.path(number, "seg");
            error!("spool segment {} cannot be repaired: {e}", path.display());
            self.set_aside(number);
        }
        self.recount();
    }

    /// Makes the reader's position durable, then deletes what lies before it.
    pub(super) fn advance(&mut self, to: Position, n_events: u64) -> Result<(), SpoolError> {
        if to <= self.position {
            return Ok(());
        }
        let mut to = to;
        if self.segments.get(&to.segment).is_some_and(|segment| segment.length <= to.at) {
            // Read to its end: the next append begins a segment of its own.
            self.active = self.active.take().filter(|(number, _)| *number != to.segment);
            to = Position { segment: to.segment + 1, at: 0 };
        }
        self.store_position(to).map_err(refused(&self.options.dir, "store its position"))?;
        self.position = to;
        self.n_events = self.n_events.saturating_sub(n_events);
        self.stats.drained_events.add(n_events);
        let kept = self.segments.split_off(&to.segment);
        for number in std::mem::replace(&mut self.segments, kept).into_keys() {
            remove(&self.path(number, "seg"));
        }
        let synced = self.sync_folder().map_err(refused(&self.options.dir, "sync its folder"));
        self.publish();
        synced
    }

    /// Writes and fsyncs a byte beside the segments, and looks whether there is room.
    pub(super) fn probe(&mut self) -> Result<(), SpoolError> {
        let path = self.options.dir.join("probe");
        let probed = File::create(path)
            .and_then(|mut file| file.write_all(b"1").and_then(|()| file.sync_data()))
            .map_err(refused(&self.options.dir, "write"));
        self.note(&probed);
        probed.and_then(|()| self.room_for(&Group::default(), &[0; PROBE_ROOM_BYTES]))
    }

    fn note(&self, written: &Result<(), SpoolError>) {
        if written.is_err() {
            self.stats.spool_failures.add(1);
        }
        self.gauges.is_failing.store(written.is_err(), Ordering::Relaxed);
    }

    fn recount(&mut self) {
        self.n_events = 0;
        for number in self.segments.keys().copied().collect::<Vec<_>>() {
            if let Ok(bytes) = fs::read(self.path(number, "seg")) {
                self.adopt(number, &segment::scan(&bytes), self.position);
            }
        }
        self.publish();
    }

    fn bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.length).sum()
    }

    fn publish(&self) {
        self.gauges.bytes.store(self.bytes(), Ordering::Relaxed);
        self.gauges.n_events.store(self.n_events, Ordering::Relaxed);
        self.stats.spool_waiting.set(self.n_events);
    }

    /// Makes the position durable, on a full disk too: what waits there could never leave it else.
    fn store_position(&self, position: Position) -> io::Result<()> {
        match self.replace_position(position) {
            Err(e) if is_full(&e) => self.overwrite_position(position),
            done => done,
        }
    }

    /// Writes over the last position, which takes no room. One that is torn by a crash counts as
    /// none, and what waits is moved twice.
    fn overwrite_position(&self, position: Position) -> io::Result<()> {
        let path = self.options.dir.join(POSITION_FILE);
        let file = OpenOptions::new().write(true).open(path)?;
        file.write_all_at(&encode_position(position), 0)?;
        file.sync_data()
    }

    fn replace_position(&self, position: Position) -> io::Result<()> {
        let draft = self.options.dir.join("position.new");
        let mut file = File::create(&draft)?;
        file.write_all(&encode_position(position))?;
        file.sync_data()?;
        fs::rename(&draft, self.options.dir.join(POSITION_FILE))?;
        self.sync_folder()
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.folder.sync_all()
    }

    fn path(&self, number: u64, kind: &str) -> PathBuf {
        self.options.dir.join(format!("{number:020}.{kind}"))
    }
}

fn encode_position(position: Position) -> [u8; POSITION_BYTES] {
    let mut bytes = [0; POSITION_BYTES];
    bytes[..8].copy_from_slice(&position.segment.to_le_bytes());
    bytes[8..16].copy_from_slice(&position.at.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..16]);
    bytes[16..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Reads the position; without a good one everything is moved again, which is harmless.
fn load_position(dir: &Path) -> Position {
    let Ok(bytes) = fs::read(dir.join(POSITION_FILE)) else { return Position::default() };
    let word = |at: usize| {
        bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
    };
    let position = Position { segment: word(0), at: word(8) };
    if bytes == encode_position(position) {
        return position;
    }
    warn!("the spool's position is damaged; what waits there may be moved twice");
    Position::default()
}

/// Deletes a segment that was moved to the log; a leftover is deleted at the next start.
fn remove(path: &Path) {
    if let Err(e) = fs::remove_file(path) {
        warn!("{} cannot be deleted now, only at the next start: {e}", path.display());
    }
}

fn refused(dir: &Path, action: &'static str) -> impl FnOnce(io::Error) -> SpoolError {
    move |e| SpoolError::Disk { action, dir: dir.to_owned(), reason: e.to_string() }
}

/// Tells whether a disk, or our part of it, has no room.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
