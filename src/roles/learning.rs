//! Learns the days that readers of the decline report wait for, one after another.

use std::time::Duration;

use actix_web::web::Data;
use tokio::sync::watch;

use super::{Trouble, pause};
use crate::app::App;
use crate::incident::daily::{DailyError, learn_day_once};
use crate::program::store as program_store;
use crate::report::decline::wishes::Wish;

/// How often it is looked whether somebody waits.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// Learns what is wished for until the process ends.
pub(super) async fn keep(app: Data<App>, mut stopping: watch::Receiver<bool>) {
    let mut trouble = Trouble::default();
    while !pause(&mut stopping, LOOK_PAUSE).await {
        // Asked for the next one at once: until then a day that was learned counts as being learned,
        // and a reader who wants it anew would wait for nothing.
        while let Some(wish) = app.wishes.next() {
            trouble.note("learning a day that was asked for", learn(&app, wish).await);
            if *stopping.borrow() {
                return;
            }
        }
    }
}

async fn learn(app: &App, (program_id, day): Wish) -> Result<(), DailyError> {
    let program = {
        let mut db = app.background_db.acquire().await?;
        program_store::find_program(&mut db, program_id).await?
    };
    if let Some(program) = program {
        learn_day_once(&app.background_db, &program, day, app.clock.now()).await?;
    }
    Ok(())
}
