//! `tributary dev`: everything on this machine, with one command and nothing installed.
//!
//! It starts private PostgreSQL and Redis (unless `DATABASE_URL` and `REDIS_URL` say where they
//! are), migrates, seeds, serves and tells what to try. What it keeps survives until `--fresh`.

mod quick_start;
mod settings;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use secrecy::ExposeSecret as _;

use crate::app::App;
use crate::cli::{self, DevArgs};
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::demo::{self, DemoOptions};
use crate::engines::{self, EngineOptions, Engines};
use crate::progress::Progress;
use crate::{db, telemetry};
pub use settings::example_setting;
use settings::{Addresses, DevSettings};

/// Runs everything until a signal asks it to stop.
pub async fn run(args: DevArgs) -> anyhow::Result<()> {
    let progress = Progress::stderr();
    let data_dir = args.data_dir.clone().unwrap_or_else(engines::default_data_dir);
    std::fs::create_dir_all(&data_dir)
        .with_context(|| format!("the folder {} cannot be made", data_dir.display()))?;
    let engines = start_engines(&args, &data_dir, &progress)?;
    let served = serve(&args, &data_dir, engines.as_ref(), &progress).await;
    if let Some(engines) = engines {
        let step = progress.step("Stopping PostgreSQL and Redis");
        engines.stop()?;
        step.done("PostgreSQL and Redis are stopped; their data stays");
    }
    served
}

/// Starts private engines, unless the environment names others.
fn start_engines(
    args: &DevArgs,
    data_dir: &Path,
    progress: &Progress,
) -> anyhow::Result<Option<Engines>> {
    let given = ["DATABASE_URL", "REDIS_URL"].map(|name| config::environment(name).is_some());
    match given {
        [true, true] if args.fresh => bail!(
            "--fresh throws away only what this command started; DATABASE_URL and REDIS_URL are \
             yours to empty"
        ),
        [true, true] => {
            progress.say("Using the PostgreSQL and Redis of DATABASE_URL and REDIS_URL");
            Ok(None)
        }
        [false, false] => {
            let mut options = EngineOptions::new(data_dir);
            // Fetched once, whatever the data folder.
            options.engines_dir = engines::default_data_dir().join("engines");
            options.search_path = config::environment("PATH").map(Into::into);
            Ok(Some(Engines::start(&options, progress)?))
        }
        [true, false] => bail!("DATABASE_URL is set and REDIS_URL is not; set both or neither"),
        [false, true] => bail!("REDIS_URL is set and DATABASE_URL is not; set both or neither"),
    }
}

async fn serve(
    args: &DevArgs,
    data_dir: &Path,
    engines: Option<&Engines>,
    progress: &Progress,
) -> anyhow::Result<()> {
    let settings = DevSettings {
        data_dir: data_dir.canonicalize()?,
        stores: engines.map(Stores::of).transpose()?,
        addresses: Addresses::choose(),
    };
    if let (true, Some(engines)) = (args.fresh, engines) {
        let step = progress.step("Throwing away what earlier starts kept");
        throw_away(engines, &settings.data_dir).await?;
        step.done("Beginning again");
    }
    if let Some(engines) = engines {
        db::ensure_dev_database(engines.database_url().as_ref()).await?;
    }
    let config = Config::from(|name| settings.lookup(name)).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(|e| format!("\n  {e}")).collect();
        anyhow::anyhow!("{} settings are wrong:{}", errors.len(), lines.concat())
    })?;
    telemetry::install(config.log_format, &config.log_filter);
    let step = progress.step("Migrating the database");
    let owner = config.migrate_database_url.as_ref().unwrap_or(&config.database_url);
    db::migrate(owner.expose_secret()).await?;
    step.done("The database is ready");

    settings.write_for_commands()?;
    let app = App::build(config, Clock::system())?;
    let mut tour = quick_start::seed(&app, &settings.data_dir).await?;
    if !args.no_demo {
        let report = demo::seed(&app, &DemoOptions::ending(app.clock.now()), progress).await?;
        tour.set_demo(&report)?;
    }
    let quiet = progress.clone();
    cli::serve_until_signal(app, move |running| {
        quiet.say("");
        tour.tell(running, &quiet);
    })
    .await
}

/// Where the private engines are reached.
struct Stores {
    owner_url: String,
    service_url: String,
    redis_url: String,
}

impl Stores {
    fn of(engines: &Engines) -> anyhow::Result<Self> {
        let owner_url = engines.database_url_of(db::DEV_DATABASE);
        // The service works as a role that owns nothing, here as in production.
        let mut service_url = url::Url::parse(owner_url.as_ref())?;
        service_url
            .set_username(db::SERVICE_ROLE)
            .map_err(|()| anyhow::anyhow!("the address of PostgreSQL takes no user"))?;
        Ok(Self {
            owner_url: owner_url.to_string(),
            service_url: service_url.to_string(),
            redis_url: engines.redis_url().to_string(),
        })
    }
}

async fn throw_away(engines: &Engines, data_dir: &Path) -> anyhow::Result<()> {
    db::drop_dev_database(engines.database_url().as_ref()).await?;
    crate::stream::redis::empty(engines.redis_url().as_ref()).await?;
    let spool = data_dir.join("spool");
    if spool.exists() {
        std::fs::remove_dir_all(&spool)?;
    }
    let files: [PathBuf; 2] = [data_dir.join("snapshot.json"), data_dir.join("dev.env")];
    for file in files.iter().filter(|f| f.exists()) {
        std::fs::remove_file(file)?;
    }
    Ok(())
}
