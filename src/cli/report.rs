//! `report`: any report of a running service, to the terminal or to a file.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use clap::{Args, ValueEnum};
use reqwest::{Response, StatusCode};

use super::api::{Api, ApiArgs, save};
use crate::progress::Progress;
use crate::report;

/// How often it is asked whether a report can be read, and how often at most: for five minutes.
const ASK_PAUSE: Duration = Duration::from_secs(1);
const ASKED_MAX: usize = 300;

/// Arguments of `report`.
#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// Its name; without one all reports are listed.
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// The program: its slug or its id; not needed where the key reaches only one.
    #[arg(long, value_name = "SLUG_OR_ID")]
    program: Option<String>,
    /// From when: a day or a time [default: the first of the month].
    #[arg(long, value_name = "DAY")]
    from: Option<String>,
    /// Until before when [default: the end of today].
    #[arg(long, value_name = "DAY")]
    to: Option<String>,
    /// Time zone of days, such as Europe/Berlin [default: the program's].
    #[arg(long, value_name = "ZONE")]
    tz: Option<String>,
    /// Currency of amounts [default: the program's].
    #[arg(long, value_name = "CODE")]
    currency: Option<String>,
    /// How to write it.
    #[arg(long, value_enum, default_value_t = Shape::Csv)]
    format: Shape,
    /// Of CSV: for programs, for Excel, or for Excel with decimal commas [default: rfc4180].
    #[arg(long, value_name = "rfc4180|excel|excel-eu")]
    dialect: Option<String>,
    /// File to write to [default: standard output].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shape {
    Csv,
    Json,
    Ndjson,
    Xlsx,
    Html,
}

impl Shape {
    fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Xlsx => "xlsx",
            Self::Html => "html",
        }
    }
}

/// Fetches a report.
pub(super) async fn run(args: ReportArgs) -> anyhow::Result<()> {
    let Some(name) = &args.name else {
        for report in report::REGISTRY {
            super::print(format!("{:20} {}", report.name(), report.description()));
        }
        return Ok(());
    };
    let report = report::find(name)?;
    if args.format == Shape::Xlsx && args.out.is_none() {
        bail!("a workbook is no text for a terminal; name a file with --out");
    }
    let api = Api::new(&args.api)?;
    let program = api.program(args.program.as_deref()).await?;
    let mut query = vec![("program_id", program.as_str())];
    let given = [
        ("from", &args.from),
        ("to", &args.to),
        ("tz", &args.tz),
        ("currency", &args.currency),
        ("dialect", &args.dialect),
    ];
    query.extend(given.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))));
    query.push(("format", args.format.name()));
    let path = format!("/v1/reports/{}", report.name());
    let response = wait_for(&api, &path, &query).await?;
    let progress = match args.out {
        Some(_) => Progress::stderr(),
        // The report itself is what moves on the screen.
        None => Progress::hidden(),
    };
    save(response, args.out.as_deref(), &progress).await?;
    Ok(())
}

/// Asks for a report until it can be read: where a day is learned first, that takes seconds.
async fn wait_for(api: &Api, path: &str, query: &[(&str, &str)]) -> anyhow::Result<Response> {
    let mut response = api.get(path, query).await?;
    if response.status() != StatusCode::ACCEPTED {
        return Ok(response);
    }
    let step = Progress::stderr().step("Learning the clicks of the program");
    for _ in 0..ASKED_MAX {
        tokio::time::sleep(ASK_PAUSE).await;
        response = api.get(path, query).await?;
        if response.status() != StatusCode::ACCEPTED {
            step.done("The clicks of the program are learned");
            return Ok(response);
        }
    }
    bail!("the day is still being learned; ask again in some minutes")
}
