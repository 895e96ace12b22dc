//! Keeps the snapshot: renews it from PostgreSQL, saves it to disk, reads it back at a start
//! without PostgreSQL.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::clock::Clock;
use crate::db::Db;
use crate::snapshot::wire::{SnapshotWire, WIRE_VERSION};
use crate::snapshot::{Snapshot, SnapshotCell, store};
use crate::telemetry;

/// How long a change waits to be in force in this process before it is answered.
const SOON: Duration = Duration::from_secs(1);

/// Renews a [`SnapshotCell`].
#[derive(Clone, Debug)]
pub struct Keeper {
    db: Db,
    clock: Clock,
    cell: SnapshotCell,
    path: PathBuf,
    /// One renewal at a time: two would write the same file, and the older could come last. Holds
    /// what the disk did not take.
    unsaved: Arc<Mutex<Option<Arc<[u8]>>>>,
}

/// Says why the snapshot could not be renewed, read or saved.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// PostgreSQL did not answer.
    #[error("the terms could not be read from PostgreSQL")]
    Database(#[from] sqlx::Error),
    /// The file could not be read or written.
    #[error("the snapshot file {0} could not be used")]
    File(PathBuf, #[source] std::io::Error),
    /// The file is not a snapshot.
    #[error("the snapshot file {0} is not a snapshot of this version")]
    Form(PathBuf, #[source] serde_json::Error),
}

impl Keeper {
    /// Returns a keeper of the cell whose copy on disk is at `path`.
    pub fn new(db: Db, clock: Clock, cell: SnapshotCell, path: PathBuf) -> Self {
        Self { db, clock, cell, path, unsaved: Arc::default() }
    }

    /// Puts the copy on disk in place, where there is one: the first thing at a start.
    pub fn load_from_disk(&self) -> Result<(), SnapshotError> {
        let bytes = match std::fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(SnapshotError::File(self.path.clone(), e)),
        };
        let wire: SnapshotWire = serde_json::from_slice(&bytes)
            .map_err(|e| SnapshotError::Form(self.path.clone(), e))?;
        if wire.v == WIRE_VERSION {
            self.cell.store(Snapshot::from(wire));
        }
        Ok(())
    }

    /// Renews the snapshot when the database has another version; returns whether it did. A disk that
    /// takes nothing costs the copy on it alone, and is tried again each time.
    pub async fn refresh(&self) -> Result<bool, SnapshotError> {
        let mut unsaved = self.unsaved.lock().await;
        let mut db = self.db.acquire().await?;
        let is_new = store::read_version(&mut db).await? != self.cell.load().version;
        if is_new {
            let wire = store::read_snapshot(&mut db, self.clock.now()).await?;
            let bytes =
                serde_json::to_vec(&wire).map_err(|e| SnapshotError::Form(self.path.clone(), e))?;
            self.cell.store(Snapshot::from(wire));
            *unsaved = Some(bytes.into());
        }
        drop(db);
        if let Some(bytes) = &*unsaved {
            self.save(Arc::clone(bytes)).await?;
            *unsaved = None;
        }
        Ok(is_new)
    }

    async fn save(&self, bytes: Arc<[u8]>) -> Result<(), SnapshotError> {
        let path = self.path.clone();
        // The disk may be slow, and requests are served by the thread that came here.
        tokio::task::spawn_blocking(move || write_whole(&path, &bytes))
            .await
            .unwrap_or_else(|e| Err(std::io::Error::other(e)))
            .map_err(|e| SnapshotError::File(self.path.clone(), e))
    }

    /// Renews after a change, so that the change acts at once in this process. Waits a second at
    /// most and never fails: the regular renewal brings what this one could not.
    pub async fn refresh_soon(&self) {
        let keeper = self.clone();
        // A task of its own: a caller who goes away must not cut it off between begin and end.
        let renewal = tokio::spawn(async move {
            if let Err(error) = keeper.refresh().await {
                let causes = telemetry::with_causes(&error);
                tracing::warn!("a change waits for the next renewal of the terms: {causes}");
            }
        });
        drop(tokio::time::timeout(SOON, renewal).await);
    }
}

/// Writes a file so that a reader sees the old or the new content, never a part.
fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let beside = path.with_extension(format!("{}.tmp", std::process::id()));
    let written = write_durably(&beside, bytes).and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        // A part of it would only take room, which others need on a disk that is full.
        drop(std::fs::remove_file(&beside));
    }
    written
}

fn write_durably(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
