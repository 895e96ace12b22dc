//! Settles the shards that this process has leases for, each in a task of its own: one whose Redis
//! hangs stops no other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Data;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{RETRY_PAUSE, SETTLE_PAUSE, SUMS_PAUSE, Trouble, pause};
use crate::app::App;
use crate::metrics as metric;
use crate::settlement::click::sum_store;
use crate::settlement::settler::{Cursor, SettleError, Settler};
use crate::stream::Shard;

/// Shards that may be asked for new events within one [`SETTLE_PAUSE`]; with more each is asked less
/// often, so that idle streams cost no more than a few.
const SHARDS_PER_PAUSE: usize = 8;

/// How soon a shard that came by its lease is begun with.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// Begins with every shard that comes, until the process stops; those that go end by themselves.
pub(super) async fn settle(app: Data<App>, mut stopping: watch::Receiver<bool>) {
    let settler = Arc::new(app.settler());
    let mut begun: BTreeMap<u16, i64> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    loop {
        for (shard, epoch) in app.shard_leases.epochs() {
            if begun.insert(shard, epoch) != Some(epoch) {
                let (app, settler) = (app.clone(), Arc::clone(&settler));
                let stopping = stopping.clone();
                tasks.spawn(async move {
                    settle_shard(&app, &settler, (shard, epoch), stopping).await;
                    (shard, epoch)
                });
            }
        }
        while let Some(ended) = tasks.try_join_next() {
            // A task that panicked takes the process with it: half a service is worse than none.
            let Ok((shard, epoch)) = ended else { return };
            if begun.get(&shard) == Some(&epoch) {
                begun.remove(&shard);
            }
        }
        if pause(&mut stopping, LOOK_PAUSE).await {
            break;
        }
    }
    while tasks.join_next().await.is_some() {}
}

/// Settles one shard while its lease holds.
async fn settle_shard(
    app: &App,
    settler: &Settler,
    (shard, epoch): (u16, i64),
    mut stopping: watch::Receiver<bool>,
) {
    let lease = app.shard_leases.lease(shard, epoch);
    let (mut cursor, mut trouble) = (Cursor::default(), Trouble::default());
    let what = format!("settlement of shard {shard}");
    while !*stopping.borrow() {
        let held = app.shard_leases.epochs();
        if held.get(&shard) != Some(&epoch) {
            return;
        }
        let log = &**app.log.log();
        let settled = settler.settle_shard(log, Shard(shard), &lease, &mut cursor).await;
        let rest = match settled {
            // All that was there is settled. Also when it was much: what comes meanwhile is one batch
            // then, where each of a few small ones would cost as much as hundreds of clicks.
            Ok(_) => {
                SETTLE_PAUSE * u32::try_from(held.len().div_ceil(SHARDS_PER_PAUSE)).unwrap_or(1)
            }
            Err(SettleError::LeaseLost) => {
                tracing::warn!("shard {shard} was taken over while this process did not answer");
                return;
            }
            Err(_) => RETRY_PAUSE,
        };
        if settled.is_err() {
            metrics::counter!(metric::SETTLE_ERRORS, "kind" => "batch").increment(1);
        }
        trouble.note(&what, settled);
        if pause(&mut stopping, rest).await {
            return;
        }
    }
}

/// Adds the sums that large batches of clicks have put aside, by whichever process, those of one that
/// is gone among them.
pub(super) async fn add_sums(app: Data<App>, mut stopping: watch::Receiver<bool>) {
    let mut trouble = Trouble::default();
    loop {
        let added = add_some(&app).await;
        if added.is_err() {
            metrics::counter!(metric::SETTLE_ERRORS, "kind" => "sums").increment(1);
        }
        let is_all = trouble.note("adding sums of clicks", added).unwrap_or(true);
        let rest = if is_all { SUMS_PAUSE } else { Duration::ZERO };
        if pause(&mut stopping, rest).await {
            return;
        }
    }
}

async fn add_some(app: &App) -> Result<bool, sqlx::Error> {
    let mut db = app.background_db.acquire().await?;
    sum_store::add_waiting(&mut db).await
}
