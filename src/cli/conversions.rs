//! `conversions import`: a CSV file of conversions, brought to a running service.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::Value;

use super::api::{Api, ApiArgs};
use super::print;
use crate::intake::imports::receiving::FILE_MAX_BYTES;
use crate::progress::Progress;

/// How often the progress of an import is asked for.
const LOOK_PAUSE: Duration = Duration::from_millis(300);
/// Lines that are printed, at most.
const PRINTED_MAX: usize = 50;
/// Verdicts of lines that a person has to look at.
const WITHOUT_EFFECT: [&str; 4] = ["refused", "conflict", "rejected", "dead_letter"];

/// Commands about conversions.
#[derive(Debug, Subcommand)]
pub(super) enum ConversionsCommand {
    /// Bring the conversions of a CSV file: each line is taken, or refused with its reason.
    ///
    /// Bringing a file again is safe: it is known by its bytes, and each order counts once.
    Import(ImportArgs),
}

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// The file; docs/postback.md describes its columns.
    file: PathBuf,
    /// The program: its slug or its id; not needed where the key reaches only one.
    #[arg(long, value_name = "SLUG_OR_ID")]
    program: Option<String>,
    /// The source whose orders these are (src_…).
    #[arg(long, value_name = "ID")]
    source: String,
    /// Why the file is brought; kept in the audit log.
    #[arg(long, required_unless_present = "dry_run")]
    reason: Option<String>,
    /// Write nothing; print what would become of each line.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    api: ApiArgs,
}

/// Runs a command about conversions.
pub(super) async fn run(command: ConversionsCommand) -> anyhow::Result<()> {
    let ConversionsCommand::Import(args) = command;
    let api = Api::new(&args.api)?;
    let about = tokio::fs::metadata(&args.file).await;
    let about = about.with_context(|| format!("{} cannot be read", args.file.display()))?;
    if about.len() > FILE_MAX_BYTES {
        bail!("{} is larger than 50 MB; split it", args.file.display());
    }
    let bytes = tokio::fs::read(&args.file).await?;
    let program = api.program(args.program.as_deref()).await?;
    let name = args.file.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    let mut query = vec![
        ("program_id", program.as_str()),
        ("source_id", args.source.as_str()),
        ("file_name", name.as_str()),
    ];
    if let Some(reason) = &args.reason {
        query.push(("reason", reason));
    }
    if args.dry_run {
        query.push(("dry_run", "true"));
    }
    let progress = Progress::stderr();
    let step = progress.step(&format!("Reading {name}"));
    let answer = api.post_bytes("/v1/conversions/imports", &query, bytes).await?;
    step.done(&format!("{name}: {} lines read", answer["n_rows"]));
    if args.dry_run {
        print_lines(&answer["lines"]);
        print_counts(&answer);
        return check(&answer);
    }
    let id = answer["id"].as_str().context("the service answered without an import")?;
    print(format!("import {id}"));
    if count(&answer, "to_send") == 0 && count(&answer, "settled") > 0 {
        print("This file was brought before; nothing of it is sent again.".to_owned());
    }
    let path = format!("/v1/conversions/imports/{id}");
    let done = follow(&api, &path, &answer, &progress).await?;
    for verdict in WITHOUT_EFFECT.into_iter().filter(|verdict| count(&done, verdict) > 0) {
        let limit = PRINTED_MAX.to_string();
        let query = [("verdict", verdict), ("limit", limit.as_str())];
        let page = api.get_json(&format!("{path}/rows"), &query).await?;
        print_lines(&page["data"]);
        if page["has_more"] == true {
            print(format!("all of them: GET {path}/rows?verdict={verdict}&format=csv"));
        }
    }
    print_counts(&done);
    check(&done)
}

/// Ends with an error where lines had no effect, so that a script notices.
fn check(answer: &Value) -> anyhow::Result<()> {
    let n: u64 = WITHOUT_EFFECT.into_iter().map(|verdict| count(answer, verdict)).sum();
    if n > 0 {
        bail!("{n} lines have no effect; correct them and bring them in another file");
    }
    Ok(())
}

fn count(answer: &Value, verdict: &str) -> u64 {
    answer["rows"][verdict].as_u64().unwrap_or(0)
}

/// Waits until every line is sent and settled, or told why not.
async fn follow(
    api: &Api,
    path: &str,
    import: &Value,
    progress: &Progress,
) -> anyhow::Result<Value> {
    let n_rows = import["n_rows"].as_u64().unwrap_or(0);
    let bar = progress.bar(n_rows, "Settling");
    loop {
        let state = api.get_json(path, &[]).await?;
        let open = count(&state, "to_send") + count(&state, "sent");
        bar.set(n_rows.saturating_sub(open));
        if open == 0 {
            bar.finish();
            return Ok(state);
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

fn print_counts(answer: &Value) {
    for (verdict, n) in answer["rows"].as_object().into_iter().flatten() {
        print(format!("{verdict} {n}"));
    }
}

/// Prints the lines that do not settle, and why.
fn print_lines(lines: &Value) {
    let lines = lines.as_array().map_or(&[][..], Vec::as_slice);
    let mut wrong = lines.iter().filter(|line| line["verdict"] != "settled");
    for line in wrong.by_ref().take(PRINTED_MAX) {
        let text = |name: &str| line[name].as_str().unwrap_or_default();
        let said: Vec<&str> =
            ["field", "reason"].map(text).into_iter().filter(|part| !part.is_empty()).collect();
        let fix = Some(text("fix")).filter(|fix| !fix.is_empty());
        let fix = fix.map_or_else(String::new, |fix| format!("; {fix}"));
        print(format!("line {}: {}: {}{fix}", line["line"], text("verdict"), said.join(": ")));
    }
    let n_more = wrong.count();
    if n_more > 0 {
        print(format!("and {n_more} more lines"));
    }
}
