//! Takes a file in, chunk by chunk: bytes come from a request or a disk, rows go to PostgreSQL.

use std::io::{self, Read};

use bytes::{Buf as _, Bytes};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use super::store::{self, Import, NewRow};
use crate::app::App;
use crate::conversion::sheet::{Line, Sheet, SheetError};
use crate::conversion::wire;
use crate::ids::ImportId;

/// Longest file.
pub const FILE_MAX_BYTES: u64 = 50 * 1024 * 1024;
/// Chunks that wait for the reader, and batches that wait for the database.
pub const CHUNKS_WAITING: usize = 8;
/// Lines handed over at once.
const LINES_AT_ONCE: usize = 500;

/// A part of a file. Without [`Chunk::End`] the file was cut, and nothing of it counts.
#[derive(Debug)]
pub enum Chunk {
    /// More bytes.
    Bytes(Bytes),
    /// The file is whole.
    End,
}

/// What is known of a file that was read.
#[derive(Clone, Debug)]
pub struct WholeFile {
    /// SHA-256 of its bytes.
    pub hash: [u8; 32],
    /// Its length.
    pub n_bytes: u64,
}

/// Why a file is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// It is no file of conversions, or was cut.
    #[error(transparent)]
    Sheet(#[from] SheetError),
    /// PostgreSQL cannot be reached, or failed.
    #[error("the rows cannot be written")]
    Database(#[from] sqlx::Error),
    /// The task that reads it ended.
    #[error("the file could not be read to its end")]
    Reader(#[from] tokio::task::JoinError),
}

/// What became of a file.
#[derive(Clone, Copy, Debug)]
pub enum Received {
    /// A new import, which runs.
    New(ImportId),
    /// The import of the same file that was there.
    Known(ImportId),
}

/// Reads a file in a thread of its own; lines come out in batches.
pub fn read_lines(
    app: &App,
    chunks: mpsc::Receiver<Chunk>,
) -> (mpsc::Receiver<Vec<Line>>, JoinHandle<Result<WholeFile, SheetError>>) {
    let (out, lines) = mpsc::channel(CHUNKS_WAITING);
    let (customer_key, now) = (app.customer_key.clone(), app.clock.now());
    let reading = spawn_blocking(move || {
        let file =
            Chunks { chunks, at: Bytes::new(), hash: Sha256::new(), n_bytes: 0, is_whole: false };
        let mut sheet = Sheet::open(file, customer_key, now)?;
        let mut batch = Vec::with_capacity(LINES_AT_ONCE);
        while let Some(line) = sheet.next_line()? {
            batch.push(line);
            if batch.len() == LINES_AT_ONCE
                && out.blocking_send(std::mem::take(&mut batch)).is_err()
            {
                return Err(io::Error::other("nobody takes the lines any more").into());
            }
        }
        if !batch.is_empty() && out.blocking_send(batch).is_err() {
            return Err(io::Error::other("nobody takes the lines any more").into());
        }
        let file = sheet.into_inner();
        Ok(WholeFile { hash: file.hash.finalize().into(), n_bytes: file.n_bytes })
    });
    (lines, reading)
}

/// Takes a file in and lets its import run.
pub async fn receive(
    app: &App,
    import: &Import,
    chunks: mpsc::Receiver<Chunk>,
) -> Result<Received, ReceiveError> {
    let mut db = app.db.acquire().await?;
    store::insert(&mut db, import).await?;
    drop(db);
    let received = keep_lines(app, import, chunks).await;
    if !matches!(received, Ok(Received::New(_))) {
        let mut db = app.db.acquire().await?;
        store::forget(&mut db, import).await?;
    }
    received
}

async fn keep_lines(
    app: &App,
    import: &Import,
    chunks: mpsc::Receiver<Chunk>,
) -> Result<Received, ReceiveError> {
    let (mut lines, reading) = read_lines(app, chunks);
    while let Some(batch) = lines.recv().await {
        let rows: Vec<NewRow> = batch.into_iter().map(row_of).collect();
        let mut db = app.db.acquire().await?;
        store::insert_rows(&mut db, import, &rows).await?;
    }
    let file = reading.await??;
    let mut db = app.db.begin().await?;
    if let Some(known) = store::find_same(&mut db, import, &file.hash).await? {
        return Ok(Received::Known(known));
    }
    let n_bytes = i64::try_from(file.n_bytes).unwrap_or(i64::MAX);
    store::start(&mut db, import, &file.hash, n_bytes, app.clock.now()).await?;
    db.commit().await?;
    Ok(Received::New(import.import_id))
}

fn row_of(line: Line) -> NewRow {
    let Line { number, order_id, report } = line;
    let empty = NewRow {
        line: number,
        verdict: "to_send",
        order_id,
        report: None,
        field: None,
        reason: None,
        fix: None,
    };
    match report {
        Ok(report) => NewRow { report: Some(wire::to_wire(&report)), ..empty },
        Err(refusal) => NewRow {
            verdict: "refused",
            field: Some(refusal.field),
            reason: Some(refusal.reason),
            fix: Some(refusal.fix),
            ..empty
        },
    }
}

/// The chunks as one run of bytes, counted and hashed.
struct Chunks {
    chunks: mpsc::Receiver<Chunk>,
    at: Bytes,
    hash: Sha256,
    n_bytes: u64,
    is_whole: bool,
}

impl Read for Chunks {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.at.is_empty() && !self.is_whole {
            match self.chunks.blocking_recv() {
                Some(Chunk::Bytes(bytes)) => {
                    self.n_bytes += bytes.len() as u64;
                    if self.n_bytes > FILE_MAX_BYTES {
                        return Err(io::Error::new(
                            io::ErrorKind::FileTooLarge,
                            "the file is larger than 50 MB; split it",
                        ));
                    }
                    self.hash.update(&bytes);
                    self.at = bytes;
                }
                Some(Chunk::End) => self.is_whole = true,
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let n = self.at.len().min(to.len());
        self.at.copy_to_slice(&mut to[..n]);
        Ok(n)
    }
}
