//! Writes the numbers of refused calls every few seconds, and once more at the end.

use std::time::Duration;

use actix_web::web::Data;
use tokio::sync::watch;

use super::{Trouble, pause};
use crate::app::App;
use crate::intake::refused::store;

/// How often they are written: soon enough for whoever looks, and a few rows for any flood.
const WRITE_PAUSE: Duration = Duration::from_secs(5);

/// Writes until the process ends, when no listener is left.
pub(super) async fn keep(app: Data<App>, mut stopping: watch::Receiver<bool>) {
    let mut trouble = Trouble::default();
    loop {
        let is_last = pause(&mut stopping, WRITE_PAUSE).await;
        trouble.note("writing what was refused", write(&app).await);
        if is_last {
            return;
        }
    }
}

/// Adds what was counted to the hours in PostgreSQL; what cannot be written now is kept.
pub async fn write(app: &App) -> Result<(), sqlx::Error> {
    let counted = app.refusals.take();
    if counted.is_empty() {
        return Ok(());
    }
    let written = async {
        let mut db = app.background_db.begin().await?;
        store::add(&mut db, &counted).await?;
        db.commit().await
    };
    let done = written.await;
    if done.is_err() {
        app.refusals.give_back(counted);
    }
    done
}
