//! `commissions decide`: one decision about many commissions of a running service.

use std::io::{BufRead as _, IsTerminal as _};

use anyhow::{bail, ensure};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::api::{Api, ApiArgs};
use super::print;
use crate::ids::CommissionId;

/// Commissions that one request of the API takes, at most.
const REQUEST_MAX: usize = 100;

/// Commands about commissions.
#[derive(Debug, Subcommand)]
pub(super) enum CommissionsCommand {
    /// Approve, reject, hold, release, extend, reverse or claw back commissions; each says what became
    /// of it.
    Decide(DecideArgs),
}

#[derive(Debug, Args)]
pub(super) struct DecideArgs {
    /// What to do.
    #[arg(value_enum)]
    action: Action,
    /// The commissions (cm_…); read from standard input, one a line, where none is given.
    ids: Vec<String>,
    /// Why: order_canceled, fraud, terms_violation, tracking_error, payment_failed,
    /// ineligible_partner, duplicate or other; needed by all but approve and release.
    #[arg(long)]
    reason: Option<String>,
    /// To extend: by how many days each hold lasts longer.
    #[arg(long, value_name = "DAYS")]
    days: Option<u16>,
    /// To claw back: how much of each, such as 5.00; all that is left of it where it is not given.
    #[arg(long)]
    amount: Option<String>,
    /// What to remember about it.
    #[arg(long)]
    note: Option<String>,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Action {
    /// Pending ones before their hold is over.
    Approve,
    /// Before their approval.
    Reject,
    /// Freeze pending ones for review.
    Hold,
    /// End their review.
    Release,
    /// Let the hold of pending ones last longer, once.
    Extend,
    /// Take approved ones back before any payout.
    Reverse,
    /// Take back a part of approved or paid ones, or all that is left.
    Clawback,
}

/// Runs a command about commissions.
pub(super) async fn run(command: CommissionsCommand) -> anyhow::Result<()> {
    let CommissionsCommand::Decide(args) = command;
    let ids = if args.ids.is_empty() { read_ids()? } else { args.ids };
    // All are read before the first is sent: a wrong id stops everything.
    for id in &ids {
        let is_id = id.parse::<CommissionId>().is_ok();
        ensure!(is_id, "{id:?} is no commission; GET /v1/commissions shows their ids (cm_…)");
    }
    let api = Api::new(&args.api)?;
    let action = args.action.to_possible_value().map(|value| value.get_name().to_owned());
    let mut n_failed = 0;
    for some in ids.chunks(REQUEST_MAX) {
        let items: Vec<Value> =
            some.iter().map(|id| json!({"id": id, "amount": args.amount})).collect();
        let body = json!({"action": action, "reason": args.reason, "note": args.note,
            "days": args.days, "items": items});
        let answer = api.post_json("/v1/commissions/bulk", &body).await?;
        for result in answer["results"].as_array().into_iter().flatten() {
            let text = |name: &str| result[name].as_str().unwrap_or_default();
            let (id, code, status) = (text("id"), text("code"), text("status"));
            print(format!("{id}  {code:22}  {status:9}  {}", text("detail")).trim_end());
        }
        n_failed += answer["n_failed"].as_u64().unwrap_or_default();
    }
    if n_failed > 0 {
        bail!("{n_failed} of {} commissions were not changed", ids.len());
    }
    Ok(())
}

fn read_ids() -> anyhow::Result<Vec<String>> {
    let input = std::io::stdin();
    if input.is_terminal() {
        bail!("name commissions, or send their ids on standard input, one a line");
    }
    let mut ids = Vec::new();
    for line in input.lock().lines() {
        let line = line?;
        if !line.trim().is_empty() {
            ids.push(line.trim().to_owned());
        }
    }
    ensure!(!ids.is_empty(), "standard input named no commission");
    Ok(ids)
}
