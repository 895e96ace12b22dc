//! The command line.

pub mod api;
mod attribution;
mod audit;
mod books;
mod commissions;
mod conversions;
mod dead_letters;
mod decline;
mod keys;
mod link;
mod partners;
mod payout;
mod plan;
mod report;
mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, Parser, Subcommand};
use secrecy::ExposeSecret as _;

use crate::clock::Clock;
use crate::config::{self, Config};
use crate::demo::{self, DemoOptions};
use crate::engines::{self, ClusterSize, EngineOptions, Exports};
use crate::progress::Progress;
use crate::web::problem;
use crate::{app::App, db, dev, metrics, server, telemetry};

/// Referral and affiliate tracking: signed links, durable clicks, exactly-once commissions.
#[derive(Debug, Parser)]
#[command(name = "tributary", version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything here: private PostgreSQL and Redis, the service, a demo program.
    Dev(DevArgs),
    /// Run the service with the settings of the environment.
    Serve,
    /// Seed the demo program into the service of the environment: 60 partners, 200 days.
    Demo(DemoArgs),
    /// Judge the decline of partners' activity.
    #[command(subcommand)]
    Decline(decline::DeclineCommand),
    /// Bring the database to the schema of this version.
    Migrate(MigrateArgs),
    /// Make an API key in the database of the environment: the first one comes from here.
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Make or examine link tokens.
    #[command(subcommand)]
    Link(link::LinkCommand),
    /// Show the partners of a program: read-only, from the database of the environment.
    #[command(subcommand)]
    Partners(partners::PartnersCommand),
    /// Fetch a report of a running service: to the terminal, or to a file with --out.
    Report(report::ReportArgs),
    /// Whose conversions are: what another attribution model would have paid.
    #[command(subcommand)]
    Attribution(attribution::AttributionCommand),
    /// Bring conversions in a file.
    #[command(subcommand)]
    Conversions(conversions::ConversionsCommand),
    /// Decide about many commissions of a running service at once.
    #[command(subcommand)]
    Commissions(commissions::CommissionsCommand),
    /// Events that could not be settled: see them, send them again.
    #[command(subcommand)]
    DeadLetters(dead_letters::DeadLettersCommand),
    /// Months of the books of a running service: see them, close one.
    #[command(subcommand)]
    Period(books::PeriodCommand),
    /// Statements of a running service: list them, fetch one.
    #[command(subcommand)]
    Statement(books::StatementCommand),
    /// Run payouts of a running service: dry run, batch, approval, files, results.
    #[command(subcommand)]
    Payout(payout::PayoutCommand),
    /// Prove what must hold in the database: ledger, commissions, payouts, clicks.
    Audit(audit::AuditArgs),
    /// Try a draft of a plan on what really happened.
    #[command(subcommand)]
    Plan(plan::PlanCommand),
    /// Print the OpenAPI document.
    Openapi,
    /// Check or describe the settings.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Ask a running service on this machine whether it is ready; exit code 0 if so.
    Healthcheck,
    /// Run a command beside PostgreSQL and Redis that last as long as it does.
    #[command(hide = true)]
    WithEngines(WithEnginesArgs),
}

/// Arguments of `dev`.
#[derive(Debug, Args)]
pub struct DevArgs {
    /// Begin again: throw away what earlier starts kept.
    #[arg(long)]
    pub fresh: bool,
    /// Do not seed the demo program.
    #[arg(long)]
    pub no_demo: bool,
    /// Folder for the engines and their data [default: ./data, as root /var/lib/tributary-dev].
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct DemoArgs {
    /// Days of traffic, ending today.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1000))]
    days: u32,
    /// Partners, three of them in decline.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(10..=1000))]
    partners: u32,
    /// Another number is another story.
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Debug, Args)]
struct MigrateArgs {
    /// Read the migrations from a folder instead of those compiled in.
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Read the settings of the environment and report every mistake; secrets are masked.
    Check,
    /// Print an example of every setting, as a `.env` file.
    Example,
    /// Print the table of settings in Markdown.
    Table,
    /// Print the table of metrics in Markdown.
    Metrics,
    /// Print the table of problem codes in Markdown.
    Problems,
}

#[derive(Debug, Args)]
struct WithEnginesArgs {
    /// Also give the command a `DATABASE_URL`.
    #[arg(long)]
    database_url: bool,
    /// Also start a Redis Cluster of so many masters and name its nodes in
    /// `TRIBUTARY_TEST_REDIS_CLUSTER`.
    #[arg(long, value_name = "MASTERS", value_parser = clap::value_parser!(u8).range(1..=16))]
    redis_cluster: Option<u8>,
    /// The command and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Runs a command and returns how the process ends.
pub async fn run(cli: Cli) -> ExitCode {
    let done = match cli.command {
        Command::Dev(args) => dev::run(args).await,
        Command::Serve => serve::run().await,
        Command::Demo(args) => seed_demo(args).await,
        Command::Decline(command) => decline::run(command).await,
        Command::Migrate(args) => migrate(args).await,
        Command::Keys(command) => keys::run(command).await,
        Command::Link(command) => link::run(command),
        Command::Partners(command) => partners::run(command).await,
        Command::Report(args) => report::run(args).await,
        Command::Attribution(command) => attribution::run(command).await,
        Command::Conversions(command) => conversions::run(command).await,
        Command::Commissions(command) => commissions::run(command).await,
        Command::DeadLetters(command) => dead_letters::run(command).await,
        Command::Period(command) => books::run_period(command).await,
        Command::Statement(command) => books::run_statement(command).await,
        Command::Payout(command) => payout::run(command).await,
        Command::Audit(args) => return audit::run(args).await,
        Command::Plan(command) => plan::run(command).await,
        Command::Openapi => print_openapi(),
        Command::Config(command) => check_config(command),
        Command::Healthcheck => serve::healthcheck(),
        Command::WithEngines(args) => return with_engines(args).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            fail(&error);
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "the end of a command is for the person who ran it")]
fn fail(error: &anyhow::Error) {
    eprintln!("tributary: {error:#}");
}

/// Writes what a command was asked for to standard output.
#[expect(clippy::print_stdout, reason = "the result of a command goes to standard output")]
pub(crate) fn print(text: impl std::fmt::Display) {
    println!("{text}");
}

/// Reads the settings of the environment; every mistake is told at once.
fn read_config() -> anyhow::Result<Config> {
    Config::from_env().map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(|e| format!("\n  {e}")).collect();
        anyhow!("{} settings are wrong:{}", errors.len(), lines.concat())
    })
}

async fn migrate(args: MigrateArgs) -> anyhow::Result<()> {
    // The owner's address may be all that is known where migrations run.
    let url = match config::environment("TRIBUTARY_MIGRATE_DATABASE_URL") {
        Some(url) => url,
        None => read_config()?.database_url.expose_secret().to_owned(),
    };
    let progress = Progress::stderr();
    let step = progress.step("Migrating the database");
    match args.from {
        Some(dir) => db::migrate_from(&url, &dir).await?,
        None => db::migrate(&url).await?,
    }
    step.done("The database has the schema of this version");
    Ok(())
}

async fn seed_demo(args: DemoArgs) -> anyhow::Result<()> {
    let mut config = read_config()?;
    let _spool = CommandSpool::instead_of(&mut config);
    let app = build_app(config).await?;
    let mut options = DemoOptions::ending(app.clock.now());
    options.days = args.days;
    options.partners = args.partners;
    options.seed = args.seed.unwrap_or(options.seed);
    let report = demo::seed(&app, &options, &Progress::stderr()).await?;
    print(format!("program     {}", report.program_id));
    for partner in &report.declining {
        print(format!("declining   {} {}", partner.partner_id, partner.name));
    }
    Ok(())
}

fn print_openapi() -> anyhow::Result<()> {
    let config = Config::from(dev::example_setting).map_err(|e| anyhow!("{e:?}"))?;
    print(server::openapi::document(&config.roles).to_pretty_json()?);
    Ok(())
}

fn check_config(command: ConfigCommand) -> anyhow::Result<()> {
    match command {
        ConfigCommand::Example => print(config::env_example().trim_end()),
        ConfigCommand::Table => print(config::markdown_table().trim_end()),
        ConfigCommand::Metrics => print(metrics::markdown_table().trim_end()),
        ConfigCommand::Problems => print(problem::markdown_table().trim_end()),
        ConfigCommand::Check => {
            read_config()?;
            print(config::describe(config::environment).trim_end());
        }
    }
    Ok(())
}

async fn with_engines(args: WithEnginesArgs) -> ExitCode {
    let mut options = EngineOptions::new(engines::default_data_dir());
    options.search_path = config::environment("PATH").map(Into::into);
    let exports = if args.database_url { Exports::TestsAndDatabaseUrl } else { Exports::Tests };
    let cluster = args
        .redis_cluster
        .map(|masters| ClusterSize { masters: usize::from(masters), replicas: 0 });
    match engines::hold(&options, &Progress::stderr(), &args.command, exports, cluster).await {
        Ok(status) => {
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            code.map_or(ExitCode::FAILURE, ExitCode::from)
        }
        Err(error) => {
            fail(&error.into());
            ExitCode::FAILURE
        }
    }
}

/// A spool of a command's own: that of the service belongs to the service, which may be running.
/// Gone with the command, which waits until everything is settled.
struct CommandSpool(PathBuf);

impl CommandSpool {
    fn instead_of(config: &mut Config) -> Self {
        let path = config.spool_dir.with_extension(format!("command-{}", std::process::id()));
        config.spool_dir = path.clone();
        Self(path)
    }
}

impl Drop for CommandSpool {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!("{} is left behind: {error}", self.0.display());
        }
    }
}

/// Builds the shared handles and refuses a database that this version does not know.
async fn build_app(config: Config) -> anyhow::Result<App> {
    telemetry::install(config.log_format, &config.log_filter);
    let app = App::build(config, Clock::system())?;
    match db::is_migrated(&app.background_db).await {
        Ok(true) => {}
        Ok(false) => {
            bail!("the database is older than this program; run `tributary migrate` first")
        }
        // Down is no reason not to start: the redirect lives on its copy of the terms.
        Err(error) => tracing::warn!("PostgreSQL is not there yet: {error}"),
    }
    Ok(app)
}

/// Runs the service until a signal asks it to stop, then drains it.
pub(crate) async fn serve_until_signal(
    app: App,
    ready: impl FnOnce(&crate::roles::Running),
) -> anyhow::Result<()> {
    serve::until_signal(app, ready).await.context("the service")
}
