//! A report on its way to its reader: bytes leave while rows are read, a page of them in memory.
//!
//! What fits into `HELD_BYTES` and is read in a moment leaves as a whole, with the number of its
//! rows and its digest in the head of the answer. What does not is sent as it comes; its number of rows, its length and
//! its digest are what [`measure`] tells, for whoever needs them.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc::Sender;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::export::{Format, TextWriter, xlsx};
use super::rows::{Rows, Summary};
use super::{Cell, Params, Report, ReportError, begin_reading};
use crate::db::Db;

/// Up to so many bytes are held back, in case that the report ends with them.
const HELD_BYTES: usize = 64 * 1024;
/// When a further page is to be read, nothing is held back for longer: the next page has ten times
/// the rows of the first, and who waits for the first row should not wait for it.
const HELD_FOR: Duration = Duration::from_millis(15);
/// Bytes of a workbook that are sent at once.
const FILE_CHUNK_BYTES: usize = 256 * 1024;
/// Reports read at once: each holds a connection for as long as its reader takes.
const READERS_MAX: usize = 4;
/// How long a further one waits for its turn.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);

static READERS: Semaphore = Semaphore::const_new(READERS_MAX);

/// A piece of an answer.
#[derive(Debug)]
pub enum Piece {
    /// All of it.
    Whole {
        /// The file.
        bytes: Bytes,
        /// How many rows it has.
        n_rows: u64,
    },
    /// The next bytes.
    Part(Bytes),
}

/// What a reader gets.
pub type Pieces = Sender<Result<Piece, ReportError>>;

/// Waits for a turn; a service full of readers that take their time says so.
async fn wait_for_turn() -> Result<SemaphorePermit<'static>, ReportError> {
    match tokio::time::timeout(TURN_TIMEOUT, READERS.acquire()).await {
        Ok(Ok(turn)) => Ok(turn),
        Ok(Err(_)) | Err(_) => Err(ReportError::Busy),
    }
}

/// Reads a report and sends it piece by piece; ends early when nobody listens any more.
pub async fn send(
    db: &Db,
    report: &'static dyn Report,
    params: &Params,
    format: Format,
    to: &Pieces,
) -> Result<(), ReportError> {
    let _turn = wait_for_turn().await?;
    match TextWriter::new(report.name(), params, report.columns(), format) {
        Some(writer) => send_text(db, report, params, writer, to).await,
        None => send_workbook(db, report, params, to).await,
    }
}

async fn send_text(
    db: &Db,
    report: &dyn Report,
    params: &Params,
    writer: TextWriter,
    to: &Pieces,
) -> Result<(), ReportError> {
    let began = Instant::now();
    let mut outlet = Outlet { writer, held: Vec::new(), is_flowing: false, began, to };
    outlet.writer.head(&mut outlet.held);
    let mut db = begin_reading(db).await?;
    let summary = report.stream(&mut db, params, &mut outlet).await?;
    db.commit().await?;
    outlet.writer.tail(&summary, &mut outlet.held);
    outlet.end().await
}

async fn send_workbook(
    db: &Db,
    report: &dyn Report,
    params: &Params,
    to: &Pieces,
) -> Result<(), ReportError> {
    let mut sheet = Sheet(xlsx::Book::new(report.name(), params, report.columns())?);
    let mut db = begin_reading(db).await?;
    let summary = report.stream(&mut db, params, &mut sheet).await?;
    db.commit().await?;
    let n_rows = sheet.0.n_rows();
    // Packing takes seconds where there are many rows, and others wait on this thread.
    let packed = tokio::task::spawn_blocking(move || sheet.0.finish(&summary)).await;
    let file = packed.map_err(|e| ReportError::BadFigure(e.to_string()))??;
    let mut file = tokio::fs::File::from_std(file);
    let mut chunk = read_chunk(&mut file).await?;
    if chunk.len() < FILE_CHUNK_BYTES {
        return give(to, Piece::Whole { bytes: chunk, n_rows }).await;
    }
    while !chunk.is_empty() {
        give(to, Piece::Part(chunk)).await?;
        chunk = read_chunk(&mut file).await?;
    }
    Ok(())
}

async fn read_chunk(file: &mut tokio::fs::File) -> Result<Bytes, ReportError> {
    use tokio::io::AsyncReadExt as _;
    let mut chunk = Vec::with_capacity(FILE_CHUNK_BYTES);
    file.take(FILE_CHUNK_BYTES as u64).read_to_end(&mut chunk).await?;
    Ok(chunk.into())
}

async fn give(to: &Pieces, piece: Piece) -> Result<(), ReportError> {
    to.send(Ok(piece)).await.map_err(|_| ReportError::NobodyReads)
}

/// Writes rows as text and sends what has gathered.
struct Outlet<'a> {
    writer: TextWriter,
    held: Vec<u8>,
    is_flowing: bool,
    began: Instant,
    to: &'a Pieces,
}

impl Outlet<'_> {
    async fn flush(&mut self) -> Result<(), ReportError> {
        self.is_flowing = true;
        give(self.to, Piece::Part(std::mem::take(&mut self.held).into())).await
    }

    async fn end(mut self) -> Result<(), ReportError> {
        if self.is_flowing {
            return self.flush().await;
        }
        let n_rows = self.writer.n_rows();
        give(self.to, Piece::Whole { bytes: self.held.into(), n_rows }).await
    }
}

impl Rows for Outlet<'_> {
    fn take(&mut self, page: Vec<Vec<Cell>>) -> BoxFuture<'_, Result<(), ReportError>> {
        async move {
            self.writer.page(&page, &mut self.held);
            if self.held.len() >= HELD_BYTES { self.flush().await } else { Ok(()) }
        }
        .boxed()
    }

    fn expect_more(&mut self) -> BoxFuture<'_, Result<(), ReportError>> {
        async move {
            let is_late = !self.is_flowing && self.began.elapsed() >= HELD_FOR;
            if is_late { self.flush().await } else { Ok(()) }
        }
        .boxed()
    }

    fn expect_long(&mut self) -> BoxFuture<'_, Result<(), ReportError>> {
        self.flush().boxed()
    }
}

/// Writes rows into a workbook on disk.
struct Sheet(xlsx::Book);

impl Rows for Sheet {
    fn take(&mut self, page: Vec<Vec<Cell>>) -> BoxFuture<'_, Result<(), ReportError>> {
        std::future::ready(self.0.page(&page)).boxed()
    }
}

/// What a report comes to, without its rows.
#[derive(Clone, Debug)]
pub struct Measure {
    /// How many rows it has.
    pub n_rows: u64,
    /// Length of the file in the format asked for.
    pub n_bytes: u64,
    /// SHA-256 of that file.
    pub sha256: [u8; 32],
    /// Its totals.
    pub summary: Summary,
}

/// Reads a report and keeps nothing but its measure; of a workbook, whose bytes tell nothing, it is
/// that of the CSV.
pub async fn measure(
    db: &Db,
    report: &dyn Report,
    params: &Params,
    format: Format,
) -> Result<Measure, ReportError> {
    let _turn = wait_for_turn().await?;
    let writer = TextWriter::new(report.name(), params, report.columns(), format)
        .unwrap_or_else(|| TextWriter::csv(report.columns()));
    let mut scale = Scale { writer, held: Vec::new(), n_bytes: 0, hash: Sha256::new() };
    scale.writer.head(&mut scale.held);
    let mut db = begin_reading(db).await?;
    let summary = report.stream(&mut db, params, &mut scale).await?;
    db.commit().await?;
    scale.writer.tail(&summary, &mut scale.held);
    scale.weigh();
    let (n_rows, n_bytes) = (scale.writer.n_rows(), scale.n_bytes);
    Ok(Measure { n_rows, n_bytes, sha256: scale.hash.finalize().into(), summary })
}

struct Scale {
    writer: TextWriter,
    held: Vec<u8>,
    n_bytes: u64,
    hash: Sha256,
}

impl Scale {
    fn weigh(&mut self) {
        self.hash.update(&self.held);
        self.n_bytes += self.held.len() as u64;
        self.held.clear();
    }
}

impl Rows for Scale {
    fn take(&mut self, page: Vec<Vec<Cell>>) -> BoxFuture<'_, Result<(), ReportError>> {
        self.writer.page(&page, &mut self.held);
        self.weigh();
        std::future::ready(Ok(())).boxed()
    }
}
