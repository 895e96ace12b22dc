//! `payout`: a payout run from the command line, by the API of a running service.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use chrono::NaiveDate;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::api::{Api, ApiArgs, all_pages, cells, pretty, rows_of, save};
use super::partners::table;
use super::print;
use crate::clock::Timestamp;
use crate::ids::{PayoutBatchId, PayoutId};
use crate::progress::Progress;
use crate::report::{Column, ColumnKind as Kind};

/// Batches that `list` shows, at most.
const LISTED_MAX: u32 = 200;

/// Commands about payouts.
#[derive(Debug, Subcommand)]
pub(super) enum PayoutCommand {
    /// List the payout batches, the newest first.
    List(ListArgs),
    /// Show a batch: its payouts, and who is carried forward.
    Show(BatchArgs),
    /// Tell who would be paid and who would not, and write nothing.
    DryRun(NewArgs),
    /// Make a batch: its money is reserved until it is paid or canceled.
    Create(NewArgs),
    /// Approve a batch that another user made.
    Approve(BatchArgs),
    /// Call a batch off before its file was made.
    Cancel(BatchArgs),
    /// Make or download the payment file of a batch, all its parts.
    Export(ExportArgs),
    /// Take in what the bank or PayPal answered.
    ImportResults(ImportArgs),
    /// Take in that the bank has paid a payout.
    MarkPaid(PaidArgs),
    /// Take in that the bank refused a payout.
    MarkFailed(ReasonArgs),
    /// Take in that the bank sent a paid payout back.
    MarkReturned(ReasonArgs),
    /// Keep the receipt of a self-employed person in Russia.
    Receipt(ReceiptArgs),
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// The program: its slug or its id; all that the key reaches where it is not given.
    #[arg(long, value_name = "SLUG_OR_ID")]
    program: Option<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct Common {
    /// Print the answer of the service as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(super) struct BatchArgs {
    /// The batch, `pb_…`.
    #[arg(value_name = "BATCH")]
    batch: PayoutBatchId,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct NewArgs {
    /// The program: its slug or its id; not needed where the key reaches only one.
    #[arg(long, value_name = "SLUG_OR_ID")]
    program: Option<String>,
    /// A month, 2026-10, or the first day of a cycle [default: the last that is over].
    #[arg(long, value_name = "PERIOD")]
    period: Option<String>,
    /// What it pays in [default: the program's currency].
    #[arg(long, value_name = "CODE")]
    currency: Option<String>,
    /// What was approved later waits, RFC 3339 [default: the end of the period].
    #[arg(long, value_name = "TIME")]
    cutoff: Option<Timestamp>,
    /// When the bank is to move the money [default: when the period is due].
    #[arg(long, value_name = "YYYY-MM-DD")]
    execution_date: Option<NaiveDate>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// The batch, `pb_…`.
    #[arg(value_name = "BATCH")]
    batch: PayoutBatchId,
    /// pain.001, paypal, wise, 1c, csv or xlsx.
    #[arg(long, value_name = "FORMAT")]
    format: String,
    /// The account that pays: its short name [default: main].
    #[arg(long, value_name = "LABEL")]
    payer: Option<String>,
    /// Folder for the files.
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// The batch, `pb_…`.
    #[arg(value_name = "BATCH")]
    batch: PayoutBatchId,
    /// The file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// csv, paypal, wise, pain.002, camt or 1c.
    #[arg(long, value_name = "FORMAT", default_value = "csv")]
    format: String,
    /// The account that paid: its short name [default: that of the payment file].
    #[arg(long, value_name = "LABEL")]
    bank_account: Option<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct PaidArgs {
    /// The payout, `po_…`.
    #[arg(value_name = "PAYOUT")]
    payout: PayoutId,
    /// What the bank calls the payment.
    #[arg(long, value_name = "TEXT")]
    reference: String,
    /// When it was paid, RFC 3339 [default: now].
    #[arg(long, value_name = "TIME")]
    paid_at: Option<Timestamp>,
    /// The account that paid: its short name [default: main].
    #[arg(long, value_name = "LABEL")]
    bank_account: Option<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct ReasonArgs {
    /// The payout, `po_…`.
    #[arg(value_name = "PAYOUT")]
    payout: PayoutId,
    /// What the bank said.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct ReceiptArgs {
    /// The payout, `po_…`.
    #[arg(value_name = "PAYOUT")]
    payout: PayoutId,
    /// Its number.
    #[arg(long, value_name = "TEXT")]
    number: String,
    /// Its day.
    #[arg(long, value_name = "YYYY-MM-DD")]
    date: NaiveDate,
    #[command(flatten)]
    common: Common,
}

/// Runs a command about payouts.
pub(super) async fn run(command: PayoutCommand) -> anyhow::Result<()> {
    match command {
        PayoutCommand::List(args) => list(args).await,
        PayoutCommand::Show(args) => show(args).await,
        PayoutCommand::DryRun(args) => plan(args, Purpose::DryRun).await,
        PayoutCommand::Create(args) => plan(args, Purpose::Create).await,
        PayoutCommand::Approve(args) => act(args, "approve").await,
        PayoutCommand::Cancel(args) => act(args, "cancel").await,
        PayoutCommand::Export(args) => export(args).await,
        PayoutCommand::ImportResults(args) => import(args).await,
        PayoutCommand::MarkPaid(a) => {
            let body = json!({
                "bank_reference": a.reference, "paid_at": a.paid_at, "bank_account": a.bank_account,
            });
            mark(&a.common, a.payout, "mark-paid", body).await
        }
        PayoutCommand::MarkFailed(a) => {
            mark(&a.common, a.payout, "mark-failed", json!({"reason": a.reason})).await
        }
        PayoutCommand::MarkReturned(a) => {
            mark(&a.common, a.payout, "mark-returned", json!({"reason": a.reason})).await
        }
        PayoutCommand::Receipt(a) => {
            let body = json!({"receipt_no": a.number, "receipt_date": a.date});
            mark(&a.common, a.payout, "receipt", body).await
        }
    }
}

/// Whether a plan becomes a batch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    DryRun,
    Create,
}

const BATCHES: &[Column] = &[
    Kind::Text.named("id"),
    Kind::Text.named("period"),
    Kind::Text.named("status"),
    Kind::Int.named("items"),
    Kind::Text.named("total"),
    Kind::Text.named("currency"),
    Kind::Text.named("execution_date"),
];

async fn list(args: ListArgs) -> anyhow::Result<()> {
    let api = Api::new(&args.common.api)?;
    let limit = LISTED_MAX.to_string();
    let mut query = vec![("limit", limit.as_str())];
    let program = match &args.program {
        Some(wanted) => Some(api.program(Some(wanted)).await?),
        None => None,
    };
    query.extend(program.iter().map(|id| ("program_id", id.as_str())));
    let page = api.get_json("/v1/payout-batches", &query).await?;
    if args.common.json {
        print(pretty(&page["data"]));
    } else if rows_of(&page).is_empty() {
        print("There is no payout batch yet; make one with `tributary payout create`.");
    } else {
        print(table(BATCHES, &cells(BATCHES, rows_of(&page))));
        if page["has_more"] == true {
            print(format!("… and older ones; these are the newest {LISTED_MAX}."));
        }
    }
    Ok(())
}

const ITEMS: &[Column] = &[
    Kind::Text.named("id"),
    Kind::Text.named("partner_name"),
    Kind::Text.named("status"),
    Kind::Text.named("amount"),
    Kind::Text.named("net"),
    Kind::Text.named("vat"),
    Kind::Text.named("withheld"),
    Kind::Text.named("method"),
    Kind::Text.named("account_masked"),
    Kind::Text.named("file"),
    Kind::Text.named("bank_reference"),
    Kind::Text.named("failure_reason"),
];
const CARRIED: &[Column] =
    &[Kind::Text.named("partner_name"), Kind::Text.named("amount"), Kind::Text.named("reason")];

async fn show(args: BatchArgs) -> anyhow::Result<()> {
    let api = Api::new(&args.common.api)?;
    let path = format!("/v1/payout-batches/{}", args.batch);
    let mut batch = api.get_json(&path, &[]).await?;
    let items = all_pages(&api, &format!("{path}/items"), &[]).await?;
    let carried = all_pages(&api, &format!("{path}/carried-forward"), &[]).await?;
    if args.common.json {
        batch["payouts"] = Value::Array(items);
        batch["carried_forward"] = Value::Array(carried);
        print(pretty(&batch));
        return Ok(());
    }
    print(table(BATCHES, &cells(BATCHES, std::slice::from_ref(&batch))));
    print(format!("\n{}", table(ITEMS, &cells(ITEMS, &items))));
    if !carried.is_empty() {
        print(format!("\nCarried forward:\n{}", table(CARRIED, &cells(CARRIED, &carried))));
    }
    Ok(())
}

async fn plan(args: NewArgs, purpose: Purpose) -> anyhow::Result<()> {
    let api = Api::new(&args.common.api)?;
    let program = api.program(args.program.as_deref()).await?;
    let body = json!({
        "program_id": program, "period": args.period, "currency": args.currency,
        "cutoff": args.cutoff, "execution_date": args.execution_date,
        "dry_run": purpose == Purpose::DryRun,
    });
    let step = Progress::stderr().step(match purpose {
        Purpose::DryRun => "Looking at what is owed",
        Purpose::Create => "Reserving what is owed",
    });
    let told = api.post_json("/v1/payout-batches", &body).await?;
    step.done("Done");
    if args.common.json {
        print(pretty(&told));
        return Ok(());
    }
    if let Some(id) = told["batch"]["id"].as_str() {
        print(format!("batch       {id}"));
    }
    let text = |name: &str| told[name].as_str().unwrap_or("-").to_owned();
    print(format!("period      {}, due on {}", text("period"), text("due_date")));
    print(format!("payouts     {}", told["items"]));
    let (total, currency) = (text("total"), text("currency"));
    print(format!(
        "total       {total} {currency} (net {}, VAT {}, withheld {})",
        text("net"),
        text("vat"),
        text("withheld")
    ));
    for (reason, n) in told["carried_forward"].as_object().into_iter().flatten() {
        if n.as_u64().unwrap_or(0) > 0 {
            let amount = told["carried_forward_amounts"][reason].as_str().unwrap_or("-");
            print(format!("carried     {n} {reason}, {amount} {currency}"));
        }
    }
    for warning in told["warnings"].as_array().into_iter().flatten() {
        print(format!("look        {}", warning["detail"].as_str().unwrap_or("-")));
    }
    if purpose == Purpose::Create {
        print("Another user approves it: `tributary payout approve` with a key of theirs.");
    }
    Ok(())
}

async fn act(args: BatchArgs, verb: &str) -> anyhow::Result<()> {
    let api = Api::new(&args.common.api)?;
    let path = format!("/v1/payout-batches/{}/{verb}", args.batch);
    let batch = api.post_json(&path, &json!({})).await?;
    if args.common.json {
        print(pretty(&batch));
    } else {
        print(table(BATCHES, &cells(BATCHES, std::slice::from_ref(&batch))));
    }
    Ok(())
}

async fn export(args: ExportArgs) -> anyhow::Result<()> {
    let api = Api::new(&args.api)?;
    let path = format!("/v1/payout-batches/{}/file", args.batch);
    let progress = Progress::stderr();
    let (mut part, mut n_parts) = (1, 1);
    while part <= n_parts {
        let number = part.to_string();
        let mut query = vec![("format", args.format.as_str()), ("part", number.as_str())];
        query.extend(args.payer.iter().map(|payer| ("payer", payer.as_str())));
        let response = api.get(&path, &query).await?;
        let header = |name: &str| {
            let value = response.headers().get(name).and_then(|v| v.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        n_parts = header("x-tributary-parts").parse().unwrap_or(1);
        let name = file_name(&header("content-disposition"))?;
        let sha256 = header("x-content-sha256");
        let file = args.out.join(&name);
        save(response, Some(&file), &progress).await?;
        print(format!("{}  sha256 {sha256}", file.display()));
        part += 1;
    }
    Ok(())
}

/// Returns the name of a file that the service gave; never a path.
fn file_name(disposition: &str) -> anyhow::Result<String> {
    let name = disposition.split_once("filename=\"").and_then(|(_, rest)| rest.split_once('"'));
    let name = name.and_then(|(name, _)| Path::new(name).file_name()?.to_str());
    name.map(str::to_owned).context("the answer names no file; is --url that of Tributary?")
}

const VERDICTS: &[Column] = &[
    Kind::Int.named("line"),
    Kind::Text.named("payout_id"),
    Kind::Text.named("verdict"),
    Kind::Text.named("detail"),
];

async fn import(args: ImportArgs) -> anyhow::Result<()> {
    let bytes = std::fs::read(&args.file)
        .with_context(|| format!("{} cannot be read", args.file.display()))?;
    if bytes.is_empty() {
        bail!("{} is empty", args.file.display());
    }
    let api = Api::new(&args.common.api)?;
    let path = format!("/v1/payout-batches/{}/import-results", args.batch);
    let mut query = vec![("format", args.format.as_str())];
    query.extend(args.bank_account.iter().map(|label| ("bank_account", label.as_str())));
    let step = Progress::stderr().step("Taking the results in");
    let told = api.post_bytes(&path, &query, bytes).await?;
    step.done("Done");
    if args.common.json {
        print(pretty(&told));
        return Ok(());
    }
    if told["already_imported"] == true {
        print("The same file was taken in before; nothing was done now. It said:");
    }
    let rows = told["rows"].as_array().map_or(&[][..], Vec::as_slice);
    print(table(VERDICTS, &cells(VERDICTS, rows)));
    let counts = told["counts"].as_object().into_iter().flatten();
    let counts: Vec<String> = counts.map(|(verdict, n)| format!("{n} {verdict}")).collect();
    let status = told["batch_status"].as_str().unwrap_or("-");
    print(format!("\n{}; the batch is {status}", counts.join(", ")));
    Ok(())
}

async fn mark(common: &Common, id: PayoutId, verb: &str, body: Value) -> anyhow::Result<()> {
    let api = Api::new(&common.api)?;
    let payout = api.post_json(&format!("/v1/payouts/{id}/{verb}"), &body).await?;
    if common.json {
        print(pretty(&payout));
    } else {
        print(table(ITEMS, &cells(ITEMS, std::slice::from_ref(&payout))));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_where_the_person_said() {
        let name = |text: &str| file_name(&format!("attachment; filename=\"{text}\"")).unwrap();
        assert_eq!(name("payout_2026-10.xml"), "payout_2026-10.xml");
        assert_eq!(name("../../etc/passwd"), "passwd");
        assert!(file_name("").is_err() && file_name("attachment; filename=\"..\"").is_err());
    }

    #[test]
    fn rows_without_a_field_are_laid_out_too() {
        let rows = [json!({"line": 2, "payout_id": "po_1", "verdict": "paid"})];
        let shown = table(VERDICTS, &cells(VERDICTS, &rows));
        assert_eq!(shown, "line  payout_id  verdict  detail\n2     po_1       paid     -");
    }
}
