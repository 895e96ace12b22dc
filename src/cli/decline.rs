//! `decline score`: the detector on the files of its benchmark. `decline report`: who declines, for
//! a person at a terminal or for a file. `decline learn`: makes a day's report ready.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow, bail};
use chrono::NaiveDate;
use clap::{Args, Subcommand, ValueEnum};
use secrecy::ExposeSecret as _;
use tributary_decline::score;

use super::{print, read_config};
use crate::clock::Clock;
use crate::config;
use crate::db::{self, Db};
use crate::ids::ProgramId;
use crate::incident::daily;
use crate::program::{Program, store as program_store};
use crate::report::export::csv::Dialect;
use crate::report::export::{self, Format};
use crate::report::period::Window;
use crate::report::{self, Cell, Params, Readout};

/// Commands about decline.
#[derive(Debug, Subcommand)]
pub(super) enum DeclineCommand {
    /// Replay the benchmark's series day by day and write which partners would have been listed.
    Score(ScoreArgs),
    /// Tell which partners decline, from the database of the environment; nothing is written to it.
    Report(ReportArgs),
    /// Learn a day now, so that its reports are ready: what the service does once a day by itself.
    Learn(LearnArgs),
}

#[derive(Debug, Args)]
pub(super) struct LearnArgs {
    /// The program: its slug or its id.
    #[arg(long, value_name = "SLUG_OR_ID")]
    program: String,
    /// The day to learn up to, in the program's time zone [default: yesterday].
    #[arg(long, value_name = "YYYY-MM-DD")]
    day: Option<NaiveDate>,
}

#[derive(Debug, Args)]
pub(super) struct ScoreArgs {
    /// Folder with series.csv and partners.csv, as `load-tests/decline/generate.py` writes them.
    #[arg(long, value_name = "DIR")]
    series: PathBuf,
    /// File to write the listings to.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// File to write the standing states to.
    #[arg(long, value_name = "FILE")]
    states: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// The program: its slug or its id.
    #[arg(long, value_name = "SLUG_OR_ID")]
    program: String,
    /// The day to judge, in the program's time zone [default: yesterday].
    #[arg(long, value_name = "YYYY-MM-DD")]
    day: Option<NaiveDate>,
    /// A table for people, or the whole report.
    #[arg(long, value_enum, default_value_t = Shape::Table)]
    format: Shape,
    /// File to write to [default: standard output].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shape {
    Table,
    Csv,
    Json,
    Xlsx,
}

/// Runs a command about decline.
pub(super) async fn run(command: DeclineCommand) -> anyhow::Result<()> {
    match command {
        DeclineCommand::Score(args) => {
            print(score::run(&args.series, &args.out, args.states.as_deref())?);
            Ok(())
        }
        DeclineCommand::Report(args) => tell(args).await,
        DeclineCommand::Learn(args) => learn(args).await,
    }
}

async fn learn(args: LearnArgs) -> anyhow::Result<()> {
    let db = connect()?;
    let program = find_program(&db, &args.program).await?;
    let params = read_params(&program, args.day)?;
    let (day, _) = params.window.days();
    let n_partners = daily::learn_day(&db, &program, day, params.now).await?;
    print(format_args!("{n_partners} partners of {} are learned up to {day}", program.name));
    Ok(())
}

/// The address is all that is needed: a report is also read where nothing else is set up.
fn connect() -> anyhow::Result<Db> {
    let url = match config::environment("DATABASE_URL") {
        Some(url) => url,
        None => read_config()?.database_url.expose_secret().to_owned(),
    };
    Ok(db::connect_lazily(&url, 1)?)
}

async fn tell(args: ReportArgs) -> anyhow::Result<()> {
    if args.format == Shape::Xlsx && args.out.is_none() {
        bail!("a workbook is no text for a terminal; name a file with --out");
    }
    let db = connect()?;
    let program = find_program(&db, &args.program).await?;
    let params = read_params(&program, args.day)?;
    let readout = report::read(&db, "activity-decline", params).await?;
    let bytes = match args.format {
        Shape::Table => table(&readout, &program.name).into_bytes(),
        Shape::Csv => export::write(&readout, Format::Csv(Dialect::Rfc4180)),
        Shape::Json => export::write(&readout, Format::Json),
        Shape::Xlsx => export::write(&readout, Format::Xlsx),
    };
    match args.out {
        Some(path) => {
            std::fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))
        }
        None => std::io::stdout().write_all(&bytes).context("writing to standard output"),
    }
}

async fn find_program(db: &Db, wanted: &str) -> anyhow::Result<Program> {
    let mut db = db.acquire().await.context("the database of the environment")?;
    let program_id = match wanted.parse::<ProgramId>() {
        Ok(program_id) => Some(program_id),
        Err(_) => program_store::find_program_id_by_slug(&mut db, wanted).await?,
    };
    let program = match program_id {
        Some(program_id) => program_store::find_program(&mut db, program_id).await?,
        None => None,
    };
    program.ok_or_else(|| anyhow!("no program has the slug or the id {wanted:?}"))
}

fn read_params(program: &Program, day: Option<NaiveDate>) -> anyhow::Result<Params> {
    let now = Clock::system().now();
    let zone: chrono_tz::Tz = program.time_zone.parse()?;
    let today = now.with_timezone(&zone).date_naive();
    if day.is_some_and(|day| day >= today) {
        bail!("a day is judged when it is over; yesterday is the last one");
    }
    let day = day.or_else(|| today.pred_opt()).unwrap_or(today);
    let next = day.succ_opt().unwrap_or(day);
    Ok(Params {
        program_id: program.program_id,
        partner_id: None,
        window: Window::parse(&day.to_string(), &next.to_string(), zone)?,
        currency: program.currency.parse()?,
        now,
    })
}

/// What the table shows: heading, column of the report, whether it is set to the right.
const SHOWN: [(&str, &str, bool); 6] = [
    ("SEVERITY", "severity", false),
    ("PARTNER", "partner_name", false),
    ("SINCE", "since", false),
    ("LOST", "share_lost_percent", true),
    ("AT STAKE", "lost_commission_next_28d", true),
    ("POSSIBLE CAUSE", "possible_cause", false),
];
/// Wider cells are cut: a table is for looking at, the other formats hold everything.
const WIDTH_MAX: usize = 40;

/// Writes the listed partners for a person; a sentence where there are none.
fn table(readout: &Readout, program: &str) -> String {
    let total = |name: &str| {
        let found = readout.table.summary.iter().find(|(n, _)| *n == name);
        found.map_or_else(String::new, |(_, cell)| show(cell))
    };
    let (day, partners, incident) = (total("day"), total("partners"), total("incident"));
    let mut out = if incident.is_empty() { String::new() } else { format!("{incident}\n\n") };
    if readout.table.rows.is_empty() {
        return out
            + &format!(
                "Good news: none of the {partners} partners of {program} is in decline on {day}.\n"
            );
    }
    let heading = SHOWN.map(|(heading, _, _)| heading.to_owned());
    let rows = readout.table.rows.iter().map(|row| SHOWN.map(|column| shown(readout, row, column)));
    let lines: Vec<[String; 6]> = std::iter::once(heading).chain(rows).collect();
    for line in &lines {
        let mut text = String::new();
        for (at, cell) in line.iter().enumerate() {
            let width = lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
            let gap = " ".repeat(width - cell.chars().count());
            let (before, after) =
                if SHOWN[at].2 { (gap, String::new()) } else { (String::new(), gap) };
            text += &format!("{before}{cell}{after}  ");
        }
        out += text.trim_end();
        out.push('\n');
    }
    let listed = readout.table.rows.len();
    let verb = if listed == 1 { "is" } else { "are" };
    out + &format!(
        "\n{listed} of {partners} partners of {program} {verb} in decline on {day}. At stake is the \
         commission of the next 28 days, {} {} together.\n",
        total("lost_commission_next_28d"),
        readout.params.currency
    )
}

fn shown(readout: &Readout, row: &[Cell], (_, name, _): (&str, &str, bool)) -> String {
    let place = readout.columns.iter().position(|column| column.name == name);
    let text = place.and_then(|place| row.get(place)).map_or_else(String::new, show);
    let text = match name {
        "share_lost_percent" => format!("{text} %"),
        "lost_commission_next_28d" => format!("{text} {}", readout.params.currency),
        _ => text,
    };
    if text.chars().count() <= WIDTH_MAX {
        return text;
    }
    text.chars().take(WIDTH_MAX - 1).chain(['…']).collect()
}

/// Names are typed by strangers: what steers a terminal is not passed on.
fn show(cell: &Cell) -> String {
    let text = match cell {
        Cell::Text(text) => text.clone(),
        Cell::Money(amount) => amount.to_decimal_string(),
        Cell::Int(n) => n.to_string(),
        Cell::Date(day) => day.to_string(),
        Cell::Time(at) => at.to_rfc3339(),
        Cell::Bool(yes) => yes.to_string(),
        Cell::Empty => String::new(),
    };
    text.replace(char::is_control, "\u{fffd}")
}

#[cfg(test)]
#[path = "decline_tests.rs"]
mod tests;
