//! `audit`: proves what must hold in the database of the environment; reads and never writes.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use sqlx::PgConnection;

use super::{print, read_config};
use crate::app::App;
use crate::audit::run::{self, Ask, AuditError};
use crate::audit::{FIRST, FIRST_MAX, Judged, REGISTRY, Reach, told};
use crate::clock::Clock;
use crate::ids::ProgramId;
use crate::progress::Progress;
use crate::{db, program};

/// Something that must hold does not.
const BROKEN: u8 = 1;
/// The audit could not be run, so nothing is proven.
const NOT_RUN: u8 = 2;

/// Arguments of `audit`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit code: 0 when all holds, 1 when something is broken, 2 when the audit \
    could not be run.\nWorks on the database of the environment (DATABASE_URL) and reads only. What \
    each name means and what to do: --list, docs/audit.md."
)]
pub(super) struct AuditArgs {
    /// Look at these alone, separated by commas.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    only: Vec<String>,
    /// Look at one program: its id (`pg_…`) or its name in addresses.
    #[arg(long, value_name = "ID_OR_SLUG")]
    program: Option<String>,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Broken rows to name of each invariant, at most.
    #[arg(long, value_name = "N", default_value_t = FIRST,
          value_parser = clap::value_parser!(i32).range(1..=i64::from(FIRST_MAX)))]
    limit: i32,
    /// List the invariants with what they mean, and look at nothing.
    #[arg(long)]
    list: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line each, with the first broken rows.
    Text,
    /// One object.
    Json,
}

/// Runs an audit and returns how the process ends.
pub(super) async fn run(args: AuditArgs) -> ExitCode {
    match try_run(args).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(BROKEN),
        Err(error) => {
            super::fail(&error);
            ExitCode::from(NOT_RUN)
        }
    }
}

async fn try_run(args: AuditArgs) -> anyhow::Result<bool> {
    let invariants = run::choose(&args.only)?;
    if args.list {
        let listed = REGISTRY.iter().filter(|one| invariants.iter().any(|i| i.name == one.name));
        listed
            .for_each(|one| print(format!("{}\n    {}\n    {}", one.name, one.means, one.remedy)));
        return Ok(true);
    }
    let mut config = read_config()?;
    let _spool = super::CommandSpool::instead_of(&mut config);
    let app = App::build(config, Clock::system())?;
    if !db::is_migrated(&app.background_db).await.context("the database cannot be reached")? {
        bail!("the database is older than this program; run `tributary migrate` first");
    }
    let mut db = run::begin(&app.background_db).await?;
    let program = match &args.program {
        Some(text) => Some(find_program(&mut db, text).await?),
        None => None,
    };
    let (now, reach) = (app.clock.now(), Reach::All);
    let ask = Ask { invariants, program, first: args.limit, now, reach };
    let all = look(&mut db, &ask, &app).await?;
    match args.format {
        Format::Text => print(told::text(&all).trim_end()),
        Format::Json => {
            let json = told::json(&all, program, app.clock.now());
            print(serde_json::to_string_pretty(&json)?);
        }
    }
    Ok(all.iter().all(|judged| judged.n_broken == 0))
}

/// Looks at everything asked for and shows how far it is.
async fn look(db: &mut PgConnection, ask: &Ask, app: &App) -> Result<Vec<Judged>, AuditError> {
    let len = u64::try_from(ask.invariants.len()).unwrap_or(0);
    let bar = Progress::stderr().bar(len, "Auditing");
    let mut place = 0;
    let mut beside = app.beside_audit();
    if let Some(stream) = &mut beside.stream {
        // The spool that counts is the one of the service.
        stream.stats = None;
    }
    let all = run::run(db, ask, &beside, &mut |invariant, _| {
        let begun = ask.invariants.iter().position(|one| one.name == invariant.name);
        place = begun.and_then(|n| u64::try_from(n).ok()).unwrap_or(place);
        bar.set(place);
    })
    .await?;
    bar.set(len);
    bar.finish();
    Ok(all)
}

async fn find_program(db: &mut PgConnection, text: &str) -> anyhow::Result<ProgramId> {
    let id = match text.parse::<ProgramId>() {
        Ok(id) => program::store::find_program(db, id).await?.map(|found| found.program_id),
        Err(_) => program::store::find_program_id_by_slug(db, text).await?,
    };
    id.with_context(|| {
        format!("there is no program {text:?}; give its id (pg_…) or its name in addresses")
    })
}
