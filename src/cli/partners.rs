//! `partners list`, `longlist` and `contacts-due`: who is in a program, read and never written.

use anyhow::{Context as _, bail};
use chrono::NaiveDate;
use clap::{Args, Subcommand, ValueEnum};
use secrecy::ExposeSecret as _;
use sqlx::{Executor as _, PgConnection};

use super::{print, read_config};
use crate::clock::{Clock, Timestamp};
use crate::db;
use crate::ids::ProgramId;
use crate::money::Money;
use crate::partner::network::http::longlist;
use crate::partner::network::longlist::Sort;
use crate::partner::network::store::{figures, find_books};
use crate::partner::network::{Books, Member, nightly};
use crate::program;
use crate::report::export::csv::{self, Dialect};
use crate::report::export::ndjson;
use crate::report::{Cell, Column, ColumnKind as Kind};

/// Commands about partners.
#[derive(Debug, Subcommand)]
pub(super) enum PartnersCommand {
    /// List the applied, active and paused partners of a program with the figures of 90 days.
    List(Common),
    /// List them by what is believed of them and what they show, best first.
    Longlist(LonglistArgs),
    /// List whom to be in touch with, the longest overdue first, then who gets the digest only.
    ContactsDue(ContactsArgs),
}

#[derive(Debug, Args)]
pub(super) struct Common {
    /// Id (`pg_…`) of the program, or its name in addresses.
    #[arg(long, value_name = "ID_OR_SLUG")]
    program: String,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct LonglistArgs {
    #[command(flatten)]
    common: Common,
    /// By what to sort: score, declared or measured.
    #[arg(long, default_value = "score", value_parser = parse_sort)]
    sort: Sort,
}

#[derive(Debug, Args)]
pub(super) struct ContactsArgs {
    #[command(flatten)]
    common: Common,
    /// The last day of the list [default: a week ahead].
    #[arg(long, value_name = "YYYY-MM-DD")]
    until: Option<NaiveDate>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Columns for people.
    Table,
    /// RFC 4180.
    Csv,
    /// One array of objects.
    Json,
}

fn parse_sort(text: &str) -> Result<Sort, String> {
    let known = Sort::ALL.map(Sort::as_str).join(", ");
    Sort::parse(text).ok_or_else(|| format!("must be one of {known}"))
}

/// Runs a command about partners.
pub(super) async fn run(command: PartnersCommand) -> anyhow::Result<()> {
    let config = read_config()?;
    let pool = db::connect_lazily(config.database_url.expose_secret(), 1)?;
    let now = Clock::system().now();
    let mut db = pool.begin().await.context("the database cannot be reached")?;
    // Whatever the code says, this command changes nothing.
    db.execute("set transaction isolation level repeatable read read only").await?;
    let (common, columns, rows) = match command {
        PartnersCommand::List(common) => {
            let books = open_books(&mut db, &common.program).await?;
            let rows = list(&mut db, &books, now).await?;
            (common, LIST, rows)
        }
        PartnersCommand::Longlist(args) => {
            let books = open_books(&mut db, &args.common.program).await?;
            let lines = nightly::read_longlist(&mut db, &books, args.sort, now).await?;
            (args.common, longlist::COLUMNS, longlist::rows(&lines))
        }
        PartnersCommand::ContactsDue(args) => {
            let books = open_books(&mut db, &args.common.program).await?;
            let rows = contacts(&mut db, &books, args.until, now).await?;
            (args.common, CONTACTS, rows)
        }
    };
    print(write(columns, &rows, common.format).trim_end());
    Ok(())
}

async fn open_books(db: &mut PgConnection, text: &str) -> anyhow::Result<Books> {
    let program_id = match text.parse::<ProgramId>() {
        Ok(id) => Some(id),
        Err(_) => program::store::find_program_id_by_slug(db, text).await?,
    };
    let books = match program_id {
        Some(id) => find_books(db, id).await?,
        None => None,
    };
    match books {
        Some(books) => Ok(books),
        None => bail!("there is no program {text:?}; give its id (pg_…) or its name in addresses"),
    }
}

const LIST: &[Column] = &[
    Kind::Text.named("partner_id"),
    Kind::Text.named("name"),
    Kind::Text.named("kind"),
    Kind::Text.named("status"),
    Kind::Text.named("rank"),
    Kind::Text.named("owner"),
    Kind::Int.named("visitors_90d"),
    Kind::Int.named("sales_90d"),
    Kind::Money.named("earned_90d"),
    Kind::Text.named("currency"),
];

async fn list(
    db: &mut PgConnection,
    books: &Books,
    now: Timestamp,
) -> anyhow::Result<Vec<Vec<Cell>>> {
    let statuses = ["applied", "active", "paused"].map(str::to_owned);
    let today = books.day(now);
    let members = figures::read_members(db, books, &statuses, today).await?;
    let row = |m: Member| {
        vec![
            Cell::text(m.partner_id),
            Cell::Text(m.name),
            Cell::Text(m.kind),
            Cell::Text(m.status),
            Cell::Text(m.rank),
            Cell::or_empty(m.owner, Cell::Text),
            Cell::Int(m.now.n_clicks),
            Cell::Int(m.now.n_sales()),
            Cell::Money(Money::new(m.now.earned_minor, books.currency)),
            Cell::text(books.currency),
        ]
    };
    Ok(members.into_iter().map(row).collect())
}

const CONTACTS: &[Column] = &[
    Kind::Date.named("due"),
    Kind::Int.named("overdue_days"),
    Kind::Text.named("partner_id"),
    Kind::Text.named("name"),
    Kind::Text.named("rank"),
    Kind::Text.named("owner"),
    Kind::Text.named("champion"),
    Kind::Time.named("last_contact_at"),
    Kind::Time.named("last_click_at"),
    Kind::Bool.named("digest_only"),
];

async fn contacts(
    db: &mut PgConnection,
    books: &Books,
    until: Option<NaiveDate>,
    now: Timestamp,
) -> anyhow::Result<Vec<Vec<Cell>>> {
    let today = books.day(now);
    let until = until.unwrap_or(today + chrono::Days::new(7));
    let (due, digest) = nightly::read_contacts(db, books, until, now).await?;
    let due = due.into_iter().map(|(day, member)| (Some(day), member));
    let row = |(day, m): (Option<NaiveDate>, Member)| {
        vec![
            Cell::or_empty(day, Cell::Date),
            Cell::or_empty(day, |day| Cell::Int((today - day).num_days())),
            Cell::text(m.partner_id),
            Cell::Text(m.name),
            Cell::Text(m.rank),
            Cell::or_empty(m.owner, Cell::Text),
            Cell::or_empty(m.champion, Cell::Text),
            Cell::or_empty(m.last_contact_at, Cell::Time),
            Cell::or_empty(m.last_click_at, Cell::Time),
            Cell::Bool(day.is_none()),
        ]
    };
    Ok(due.chain(digest.into_iter().map(|m| (None, m))).map(row).collect())
}

fn write(columns: &[Column], rows: &[Vec<Cell>], format: Format) -> String {
    match format {
        Format::Csv => csv::write(columns, rows, Dialect::Rfc4180),
        Format::Json => {
            let objects = ndjson::write(columns, rows);
            format!("[{}]", objects.lines().collect::<Vec<_>>().join(",\n"))
        }
        Format::Table => table(columns, rows),
    }
}

/// Lays cells out in columns, two spaces apart.
pub(super) fn table(columns: &[Column], rows: &[Vec<Cell>]) -> String {
    let head = columns.iter().map(|c| c.name.to_owned()).collect();
    let lines: Vec<Vec<String>> =
        std::iter::once(head).chain(rows.iter().map(|r| r.iter().map(shown).collect())).collect();
    let width = |n: usize| lines.iter().map(|l| l[n].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let line = |cells: &Vec<String>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Returns a cell for a terminal: a name typed by a stranger must not move the cursor.
fn shown(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => text.chars().filter(|c| !c.is_control()).collect(),
        Cell::Money(money) => money.to_decimal_string(),
        Cell::Int(n) => n.to_string(),
        Cell::Date(day) => day.to_string(),
        Cell::Time(at) => at.format("%Y-%m-%d %H:%M").to_string(),
        Cell::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Cell::Empty => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_holds_every_row_and_a_table_is_laid_out() {
        let columns = &[Kind::Text.named("name"), Kind::Int.named("clicks")];
        let rows =
            [vec![Cell::text("Bär\u{1b}[2J"), Cell::Int(12)], vec![Cell::text("=A1"), Cell::Empty]];
        assert_eq!(write(columns, &rows, Format::Table), "name    clicks\nBär[2J  12\n=A1     -");
        let json: serde_json::Value =
            serde_json::from_str(&write(columns, &rows, Format::Json)).unwrap();
        assert_eq!(json[1]["name"], "=A1");
        assert_eq!(write(columns, &rows, Format::Csv).lines().count(), 3);
        assert_eq!(write(columns, &[], Format::Json), "[]");
    }
}
