//! Keeps the snapshot: renews it from PostgreSQL, saves it to disk, reads it back at a start
//! without PostgreSQL.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::clock::Clock;
use crate::db::Db;
use crate::snapshot::wire::{SnapshotWire, WIRE_VERSION};
use crate::snapshot::{Snapshot, SnapshotCell, store};

/// Renews a [`SnapshotCell`].
#[derive(Clone, Debug)]
pub struct Keeper {
    db: Db,
    clock: Clock,
    cell: SnapshotCell,
    path: PathBuf,
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
        Self { db, clock, cell, path }
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

    /// Renews the snapshot when the database has another version; returns whether it did.
    pub async fn refresh(&self) -> Result<bool, SnapshotError> {
        let mut db = self.db.acquire().await?;
        if store::read_version(&mut db).await? == self.cell.load().version {
            return Ok(false);
        }
        let wire = store::read_snapshot(&mut db, self.clock.now()).await?;
        drop(db);
        let bytes =
            serde_json::to_vec(&wire).map_err(|e| SnapshotError::Form(self.path.clone(), e))?;
        self.cell.store(Snapshot::from(wire));
        write_whole(&self.path, &bytes).map_err(|e| SnapshotError::File(self.path.clone(), e))?;
        Ok(true)
    }
}

/// Writes a file so that a reader sees the old or the new content, never a part.
fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let beside = path.with_extension(format!("{}.tmp", std::process::id()));
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}
