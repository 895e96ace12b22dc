//! `dead-letters`: events that could not be settled, seen and sent again.

use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::api::{Api, ApiArgs};
use super::print;

/// Commands about dead letters.
#[derive(Debug, Subcommand)]
pub(super) enum DeadLettersCommand {
    /// List the events that wait for a person, oldest first.
    List(ListArgs),
    /// Show one event: why it could not be settled, what it says, its bytes.
    Show(OneArgs),
    /// Send events to settlement again, after what was wrong is mended. Twice is once.
    Replay(ReplayArgs),
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// List those that were sent again instead.
    #[arg(long)]
    replayed: bool,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(super) struct OneArgs {
    /// The dead letter (dl_…).
    id: String,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// The dead letters (dl_…).
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<String>,
    /// Every one that waits.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    api: ApiArgs,
}

/// Runs a command about dead letters.
pub(super) async fn run(command: DeadLettersCommand) -> anyhow::Result<()> {
    match command {
        DeadLettersCommand::List(args) => {
            let status = if args.replayed { "replayed" } else { "waiting" };
            let letters = list(&Api::new(&args.api)?, status).await?;
            if letters.is_empty() {
                print(format!("No dead letter is {status}."));
            }
            for letter in &letters {
                let text = |name: &str| letter[name].as_str().unwrap_or_default();
                let (id, at, kind) = (text("id"), text("created_at"), text("kind"));
                print(format!("{id}  {at}  {kind:10}  {}", text("error")));
            }
        }
        DeadLettersCommand::Show(args) => {
            let path = path(&args.id)?;
            let letter = Api::new(&args.api)?.get_json(&path, &[]).await?;
            print(serde_json::to_string_pretty(&letter)?);
        }
        DeadLettersCommand::Replay(args) => replay(args).await?,
    }
    Ok(())
}

fn path(id: &str) -> anyhow::Result<String> {
    if id.parse::<crate::ids::DeadLetterId>().is_err() {
        bail!("{id:?} is no dead letter; `tributary dead-letters list` shows their ids (dl_…)");
    }
    Ok(format!("/v1/dead-letters/{id}"))
}

async fn list(api: &Api, status: &str) -> anyhow::Result<Vec<Value>> {
    let (mut letters, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let mut query = vec![("limit", "200"), ("status", status)];
        if let Some(cursor) = &cursor {
            query.push(("cursor", cursor));
        }
        let page = api.get_json("/v1/dead-letters", &query).await?;
        letters.extend(page["data"].as_array().cloned().unwrap_or_default());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return Ok(letters),
        }
    }
}

async fn replay(args: ReplayArgs) -> anyhow::Result<()> {
    let api = Api::new(&args.api)?;
    let mut ids = args.ids;
    if args.all {
        let waiting = list(&api, "waiting").await?;
        ids.extend(waiting.iter().filter_map(|l| l["id"].as_str().map(str::to_owned)));
    }
    // All are read before the first is sent: a wrong id stops everything.
    let paths = ids.iter().map(|id| path(id)).collect::<anyhow::Result<Vec<_>>>()?;
    for (id, path) in ids.iter().zip(paths) {
        let letter = api.post_json(&format!("{path}/replay"), &json!({})).await?;
        print(format!("{id}  replayed {}", letter["replayed_at"].as_str().unwrap_or_default()));
    }
    if ids.is_empty() {
        print("No dead letter is waiting.");
    }
    Ok(())
}
