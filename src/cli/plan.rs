//! `plan`: tries a draft on what really happened, by the API of a running service.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::api::{Api, ApiArgs};
use super::partners::table;
use super::print;
use crate::progress::{Bar, Progress};
use crate::report::{Cell, Column, ColumnKind as Kind};

/// Partners that are shown without `--all`.
const SHOWN_MAX: usize = 20;

/// Commands about plans.
#[derive(Debug, Subcommand)]
pub(super) enum PlanCommand {
    /// Replay history by a draft and tell who would have had more and who less; nothing changes.
    Simulate(SimulateArgs),
}

#[derive(Debug, Args)]
pub(super) struct SimulateArgs {
    /// The draft as JSON, as it would be published [default: the plan as it is].
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// From when: a day or a time.
    #[arg(long, value_name = "DAY")]
    from: String,
    /// Until before when [default: now].
    #[arg(long, value_name = "DAY")]
    to: Option<String>,
    /// The program: its slug or its id; not needed where the key reaches only one.
    #[arg(long, value_name = "SLUG_OR_ID")]
    program: Option<String>,
    /// Show every partner, not only those with the largest differences.
    #[arg(long)]
    all: bool,
    /// Print the lines of the service as they are, without those of progress.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: ApiArgs,
}

/// Runs a command about plans.
pub(super) async fn run(command: PlanCommand) -> anyhow::Result<()> {
    let PlanCommand::Simulate(args) = command;
    let plan = args.file.as_ref().map(|file| {
        let text = std::fs::read_to_string(file);
        let text = text.with_context(|| format!("reading {}", file.display()))?;
        let plan = serde_json::from_str::<Value>(&text);
        plan.with_context(|| format!("{} is no JSON", file.display()))
    });
    let plan = plan.transpose()?;
    let api = Api::new(&args.api)?;
    let program_id = api.program(args.program.as_deref()).await?;
    let mut body = json!({"program_id": program_id, "from": args.from});
    if let Some(to) = &args.to {
        body["to"] = json!(to);
    }
    if let Some(plan) = plan {
        body["plan"] = plan;
    }
    let (partners, result) = replay(&api, "/v1/plans/simulate", &body, args.json).await?;
    if !args.json {
        show(&partners, &result, args.all);
    }
    Ok(())
}

/// Asks for a replay and shows how far it is; returns the lines of partners, and the result. With
/// `as_it_is` the lines are printed instead.
pub(super) async fn replay(
    api: &Api,
    path: &str,
    body: &Value,
    as_it_is: bool,
) -> anyhow::Result<(Vec<Value>, Value)> {
    let progress = Progress::stderr();
    let mut shown = Shown { progress, bar: None, partners: Vec::new(), result: None };
    api.post_lines(path, body, |line| shown.take(line, as_it_is)).await?;
    if let Some(bar) = shown.bar.take() {
        bar.finish();
    }
    let result = shown.result.context("the answer ended early, without a result")?;
    Ok((shown.partners, result))
}

/// What has come of the answer.
struct Shown {
    progress: Progress,
    bar: Option<Bar>,
    partners: Vec<Value>,
    result: Option<Value>,
}

impl Shown {
    fn take(&mut self, line: Value, as_it_is: bool) -> anyhow::Result<()> {
        match line["type"].as_str() {
            Some("progress") => {
                let n = |name: &str| line[name].as_u64().unwrap_or_default();
                let bar = self.bar.get_or_insert_with(|| self.progress.bar(n("all"), "Replaying"));
                bar.set(n("done"));
                return Ok(());
            }
            Some("problem") => {
                let problem = &line["problem"];
                let why = problem["detail"].as_str().or(problem["errors"][0]["detail"].as_str());
                bail!("{}: {}", text(&problem["title"]), why.unwrap_or("nothing was changed"));
            }
            Some(_) | None => {}
        }
        if as_it_is {
            print(&line);
        }
        if line["type"] == "result" {
            self.result = Some(line);
        } else if !as_it_is {
            self.partners.push(line);
        }
        Ok(())
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Prints what a replay came to: the partners with the largest differences, or `all`.
pub(super) fn show(partners: &[Value], result: &Value, all: bool) {
    for sentence in result["sentences"].as_array().into_iter().flatten() {
        print(text(sentence));
    }
    for warning in result["warnings"].as_array().into_iter().flatten() {
        print(format!("Think twice: {}", text(&warning["message"])));
    }
    let columns = [
        Kind::Text.named("partner"),
        Kind::Text.named("currency"),
        Kind::Text.named("now"),
        Kind::Text.named("then"),
        Kind::Text.named("difference"),
        Kind::Int.named("conversions"),
        Kind::Int.named("changed"),
        Kind::Int.named("to_zero"),
    ];
    let row = |name: &str, line: &Value| -> Vec<Cell> {
        let figures = ["currency", "now", "then", "difference"];
        let counts = ["conversions", "changed", "to_zero"];
        let mut row = vec![Cell::text(name)];
        row.extend(figures.iter().map(|name| Cell::text(text(&line[*name]))));
        row.extend(counts.iter().map(|name| Cell::Int(line[*name].as_i64().unwrap_or_default())));
        row
    };
    let n_shown = if all { partners.len() } else { partners.len().min(SHOWN_MAX) };
    let mut rows: Vec<Vec<Cell>> =
        partners[..n_shown].iter().map(|line| row(text(&line["name"]), line)).collect();
    let totals = result["totals"].as_array().into_iter().flatten();
    rows.extend(totals.map(|line| row("all partners", line)));
    print(table(&columns as &[Column], &rows));
    if n_shown < partners.len() {
        print(format!("{} partners more; --all shows them.", partners.len() - n_shown));
    }
    for (because, n) in result["nothing_because"].as_object().into_iter().flatten() {
        print(format!("{n} conversions would pay nothing: {because}."));
    }
    if result["provisional_partners"].as_i64().unwrap_or_default() > 0 {
        print("Some periods are about to be reckoned again: repeat this in a minute.");
    }
}
