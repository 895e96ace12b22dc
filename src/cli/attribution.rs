//! `attribution rederive`: what another attribution model would have paid, asked of a running service.

use clap::{Args, Subcommand};
use serde_json::json;

use super::api::{Api, ApiArgs};
use super::plan::{replay, show};

/// Commands about attribution.
#[derive(Debug, Subcommand)]
pub(super) enum AttributionCommand {
    /// Tell what another model would have paid, per partner. Changes nothing.
    ///
    /// The clicks on the path of each conversion are weighed anew; plans, tiers, caps and refunds are
    /// those of the time. The model that was in force comes to what the ledger holds.
    Rederive(RederiveArgs),
}

#[derive(Debug, Args)]
pub(super) struct RederiveArgs {
    /// The model: last_click, first_click, linear, position or time_decay.
    #[arg(long, value_name = "NAME")]
    model: String,
    /// Days after which a click weighs half, of time_decay alone [default: 7].
    #[arg(long, value_name = "DAYS")]
    half_life_days: Option<u16>,
    /// From when: a day of the program's time zone, or a time.
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

/// Runs a command about attribution.
pub(super) async fn run(command: AttributionCommand) -> anyhow::Result<()> {
    let AttributionCommand::Rederive(args) = command;
    let api = Api::new(&args.api)?;
    let program = api.program(args.program.as_deref()).await?;
    let mut body = json!({"program_id": program, "from": args.from, "model": args.model});
    if let Some(to) = &args.to {
        body["to"] = json!(to);
    }
    if let Some(days) = args.half_life_days {
        body["half_life_days"] = json!(days);
    }
    let (partners, result) = replay(&api, "/v1/attribution/rederive", &body, args.json).await?;
    if !args.json {
        show(&partners, &result, args.all);
    }
    Ok(())
}
