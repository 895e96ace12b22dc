//! The keeper: renews what a process holds of a pool, and brings it to its fair share.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Instant;

use super::{Epochs, LIFETIME, Lease, plan, store};
use crate::db::Db;

/// What a process holds of a pool.
pub struct LeaseKeeper {
    db: Db,
    pool: String,
    n_items: u16,
    owner: String,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    epochs: Epochs,
    /// When they were renewed last, by the clock that stops for nobody.
    renewed_at: Option<Instant>,
}

impl LeaseKeeper {
    /// Returns a keeper that holds nothing yet.
    ///
    /// The owner is the name of the process and something that no other life of it has: one that
    /// starts again under its name waits, like everybody, for what its former life held.
    pub fn new(db: Db, pool: String, n_items: u16, instance_id: &str) -> Self {
        let owner = format!("{instance_id}/{:08x}", rand::random::<u32>());
        Self { db, pool, n_items, owner, held: Mutex::default() }
    }

    /// Renews, gives up what is more than a fair share, and takes what is free up to it. Call it
    /// about once a second.
    pub async fn renew(&self) -> Result<(), sqlx::Error> {
        let Self { pool, owner, n_items, .. } = self;
        // From before the questions: what is reckoned here ends earlier than in the database.
        let began = Instant::now();
        let mut db = self.db.acquire().await?;
        store::make_items(&mut db, pool, *n_items).await?;
        let n_members = store::join(&mut db, pool, owner).await?;
        let mut epochs = store::renew(&mut db, pool, owner).await?;
        let plan = plan(usize::from(*n_items), n_members, epochs.len());
        if plan.n_release > 0 {
            for item in store::release(&mut db, pool, owner, plan.n_release).await? {
                epochs.remove(&item);
            }
        }
        if plan.n_claim > 0 {
            epochs.extend(store::claim(&mut db, pool, owner, plan.n_claim, *n_items).await?);
        }
        *self.held() = Held { epochs, renewed_at: Some(began) };
        Ok(())
    }

    /// Gives everything up, so that others need not wait.
    pub async fn leave(&self) -> Result<(), sqlx::Error> {
        *self.held() = Held::default();
        let mut db = self.db.acquire().await?;
        store::leave(&mut db, &self.pool, &self.owner).await
    }

    /// Returns what is held, as far as is known here; nothing when that is too long ago.
    pub fn epochs(&self) -> Epochs {
        let held = self.held();
        let is_fresh = held.renewed_at.is_some_and(|at| at.elapsed() < LIFETIME);
        if is_fresh { held.epochs.clone() } else { Epochs::new() }
    }

    /// Tells whether anything is held: of a pool with one item, whether this process is the one.
    pub fn holds_any(&self) -> bool {
        !self.epochs().is_empty()
    }

    /// Returns the lease of an item at an epoch.
    pub fn lease(&self, item: u16, epoch: i64) -> Lease {
        Lease { pool: self.pool.clone(), item, owner: self.owner.clone(), epoch }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        // No step under the lock can panic half-way.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
