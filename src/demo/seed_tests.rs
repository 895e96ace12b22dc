//! The whole demo in a database of its own.

use secrecy::ExposeSecret as _;

use crate::app::App;
use crate::clock::Clock;
use crate::config::{Config, DEV_CLICK_KEYS, DEV_LINK_KEYS, DEV_SECRETS_KEY};
use crate::db;
use crate::demo::{DemoOptions, seed};
use crate::progress::Progress;

fn app(folder: &std::path::Path, clock: Clock) -> App {
    let config = Config::from(|name| match name {
        "TRIBUTARY_ENV" => Some("dev".to_owned()),
        "DATABASE_URL" => option_env!("DATABASE_URL").map(str::to_owned),
        "REDIS_URL" => Some("redis://127.0.0.1:1".to_owned()),
        "TRIBUTARY_LINK_KEYS" => Some(DEV_LINK_KEYS.to_owned()),
        "TRIBUTARY_CLICK_KEYS" => Some(DEV_CLICK_KEYS.to_owned()),
        "TRIBUTARY_SECRETS_KEY" => Some(DEV_SECRETS_KEY.to_owned()),
        "TRIBUTARY_SPOOL_DIR" => folder.join("spool").to_str().map(str::to_owned),
        "TRIBUTARY_SNAPSHOT_PATH" => folder.join("snapshot").to_str().map(str::to_owned),
        _ => None,
    });
    App::build(config.unwrap(), clock).unwrap()
}

#[actix_web::test]
#[ignore = "fills the database of DATABASE_URL; run it by name"]
async fn the_demo_is_seeded_once() {
    let folder = tempfile::tempdir().unwrap();
    let app = app(folder.path(), Clock::system());
    db::migrate(app.config.database_url.expose_secret()).await.unwrap();
    let options = DemoOptions::ending(app.clock.now());
    let progress = Progress::stderr();
    let step = progress.step("Seeding");
    let first = seed(&app, &options, &progress).await.unwrap();
    step.done("Seeded");
    eprintln!("{first:#?}");
    assert_eq!(first.declining.len(), 3);
    let second = seed(&app, &options, &progress).await.unwrap();
    assert_eq!(second.seeded, None);
    assert_eq!(
        (second.program_id, second.link_id, second.declining),
        (first.program_id, first.link_id, first.declining)
    );
}
