//! `period` and `statement`: closing months and what partners were told about them, by the API of a
//! running service.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::api::{Api, ApiArgs, all_pages, cells, pretty, rows_of, save};
use super::partners::table;
use super::print;
use crate::ids::{PartnerId, StatementId};
use crate::ledger::period::Month;
use crate::progress::Progress;
use crate::report::{Column, ColumnKind as Kind};

/// Commands about months of the books.
#[derive(Debug, Subcommand)]
pub(super) enum PeriodCommand {
    /// List the closed months, the newest first.
    List(ListArgs),
    /// Close a month: fix what was earned in it and write its statements. It cannot be undone.
    Close(CloseArgs),
}

/// Commands about statements.
#[derive(Debug, Subcommand)]
pub(super) enum StatementCommand {
    /// List statements, the newest first; `tributary report statements` writes them as a table.
    List(StatementsArgs),
    /// Fetch a statement, to the terminal or to a file.
    Show(ShowArgs),
}

#[derive(Debug, Args)]
struct Common {
    /// Print the answer of the service as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// The program: its slug or its id; not needed where the key reaches only one.
    #[arg(long, value_name = "SLUG_OR_ID")]
    program: Option<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct CloseArgs {
    /// The month, 2026-10: the one after the last that was closed.
    #[arg(value_name = "MONTH")]
    month: Month,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Args)]
pub(super) struct StatementsArgs {
    /// Of this month, 2026-10.
    #[arg(long, value_name = "MONTH")]
    period: Option<Month>,
    /// Of this partner, `pt_…`.
    #[arg(long, value_name = "PARTNER")]
    partner: Option<PartnerId>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// The statement, `st_…`.
    #[arg(value_name = "STATEMENT")]
    statement: StatementId,
    /// How to write it: the data, the document itself, or a page that prints well.
    #[arg(long, value_enum, default_value_t = Shape::Json)]
    format: Shape,
    /// File to write to [default: standard output].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shape {
    Json,
    Ndjson,
    Html,
}

impl Shape {
    fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Html => "html",
        }
    }
}

/// Runs a command about months.
pub(super) async fn run_period(command: PeriodCommand) -> anyhow::Result<()> {
    match command {
        PeriodCommand::List(args) => list_periods(args).await,
        PeriodCommand::Close(args) => close(args).await,
    }
}

/// Runs a command about statements.
pub(super) async fn run_statement(command: StatementCommand) -> anyhow::Result<()> {
    match command {
        StatementCommand::List(args) => list_statements(args).await,
        StatementCommand::Show(args) => show(args).await,
    }
}

const PERIODS: &[Column] = &[
    Kind::Text.named("period"),
    Kind::Text.named("from"),
    Kind::Text.named("to"),
    Kind::Int.named("last_sequence"),
    Kind::Text.named("closed_at"),
    Kind::Text.named("closed_by"),
    Kind::Text.named("chain_hash"),
];

async fn list_periods(args: ListArgs) -> anyhow::Result<()> {
    let api = Api::new(&args.common.api)?;
    let program = api.program(args.program.as_deref()).await?;
    let rows = all_pages(&api, "/v1/periods", &[("program_id", &program)]).await?;
    if args.common.json {
        print(pretty(&Value::Array(rows)));
    } else if rows.is_empty() {
        print("No month is closed yet; close one with `tributary period close`.");
    } else {
        print(table(PERIODS, &cells(PERIODS, &rows)));
    }
    Ok(())
}

async fn close(args: CloseArgs) -> anyhow::Result<()> {
    let ListArgs { program, common } = args.list;
    let api = Api::new(&common.api)?;
    let program = api.program(program.as_deref()).await?;
    let step = Progress::stderr().step("Fixing the month and writing its statements");
    let path = format!("/v1/periods/{}/close", args.month);
    let told = api.post_json(&path, &json!({"program_id": program})).await?;
    step.done("Done");
    if common.json {
        print(pretty(&told));
        return Ok(());
    }
    let text = |name: &str| told[name].as_str().unwrap_or("-").to_owned();
    print(format!("period      {}, {} to {}", text("period"), text("from"), text("to")));
    print(format!("statements  {}", told["statements"]));
    print(format!("ledger      up to {}", told["last_sequence"]));
    print(format!("hash        {}", text("chain_hash")));
    print("Keep the hash elsewhere: it proves the book up to here.");
    Ok(())
}

/// Statements that `list` shows, at most.
const LISTED_MAX: &str = "200";
const STATEMENTS: &[Column] = &[
    Kind::Text.named("id"),
    Kind::Text.named("number"),
    Kind::Text.named("partner_id"),
    Kind::Text.named("currency"),
    Kind::Text.named("opening"),
    Kind::Text.named("closing"),
    Kind::Text.named("pending_closing"),
    Kind::Int.named("lines"),
];

async fn list_statements(args: StatementsArgs) -> anyhow::Result<()> {
    let ListArgs { program, common } = args.list;
    let api = Api::new(&common.api)?;
    let program = api.program(program.as_deref()).await?;
    let period = args.period.map(|month| month.to_string());
    let partner = args.partner.map(|id| id.to_string());
    let mut query = vec![("program_id", program.as_str()), ("limit", LISTED_MAX)];
    query.extend(period.iter().map(|month| ("period", month.as_str())));
    query.extend(partner.iter().map(|id| ("partner_id", id.as_str())));
    let page = api.get_json("/v1/statements", &query).await?;
    if common.json {
        print(pretty(&page["data"]));
    } else if rows_of(&page).is_empty() {
        print("There is no such statement; closing a month writes them.");
    } else {
        print(table(STATEMENTS, &cells(STATEMENTS, rows_of(&page))));
        if page["has_more"] == true {
            print(format!(
                "… and older ones; these are the newest {LISTED_MAX}. All: `tributary report statements`."
            ));
        }
    }
    Ok(())
}

async fn show(args: ShowArgs) -> anyhow::Result<()> {
    let api = Api::new(&args.api)?;
    let path = format!("/v1/statements/{}", args.statement);
    let response = api.get(&path, &[("format", args.format.name())]).await?;
    let progress = match args.out {
        Some(_) => Progress::stderr(),
        None => Progress::hidden(),
    };
    save(response, args.out.as_deref(), &progress).await?;
    if args.out.is_none() {
        print("");
    }
    Ok(())
}
