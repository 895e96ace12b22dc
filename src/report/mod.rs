//! Reports: tables that are read from the database and exported as JSON, NDJSON, CSV or Excel.
//!
//! A [`Report`] names its columns and reads its rows; it never writes. Adding one is a file and a
//! line in [`REGISTRY`]. A report reads one snapshot of the database, so its figures tie out also
//! while money moves.

pub mod accrual;
pub mod aged;
pub mod audit;
pub mod commissions;
pub mod decline;
pub mod export;
pub mod http;
pub mod payment;
pub mod period;
pub mod reconciliation;
pub mod rows;
pub mod stream;
pub mod traffic;
pub mod unattributed;

use chrono::NaiveDate;
use futures_util::future::BoxFuture;
use sqlx::{Executor as _, PgConnection};

use crate::clock::Timestamp;
use crate::db::{Db, DbTx};
use crate::ids::{PartnerId, ProgramId};
use crate::money::{Currency, Money};
use crate::report::period::Window;
use crate::report::rows::{Rows, Summary};

/// Every report, in the order in which they are listed.
pub static REGISTRY: &[&dyn Report] = &[
    &payment::payouts::Payouts,
    &commissions::Commissions,
    &reconciliation::Reconciliation,
    &accrual::Accrual,
    &aged::Aged,
    &traffic::Traffic,
    &unattributed::Unattributed,
    &payment::statements::Statements,
    &payment::receipts::Receipts,
    &payment::bank_answers::BankAnswers,
    &audit::Audit,
    &decline::table::ActivityDecline,
    &decline::rising_table::ActivityRising,
];

/// Rows of a report that is held as a whole, at most: one that must see everything before its first
/// row, or that a reader wants to have at once. Reports that stream have no bound.
pub const ROWS_MAX: usize = 100_000;

/// One moment for all statements, no writing, at most a minute for a statement; a reader that takes
/// nothing for a minute is gone. Each statement is planned for what is asked: a plan that fits any
/// window and any length of page takes a hundred times as long, and plans for every day of clicks.
const READING: [&str; 4] = [
    "set transaction isolation level repeatable read read only",
    "set local plan_cache_mode = force_custom_plan",
    "set local statement_timeout = '60s'",
    "set local idle_in_transaction_session_timeout = '60s'",
];

/// A report: what its columns are, and how its rows are read.
pub trait Report: Sync {
    /// Returns its name in addresses, files and on the command line.
    fn name(&self) -> &'static str;

    /// Returns what it tells, in a sentence.
    fn description(&self) -> &'static str;

    /// Returns its columns; every row has a cell for each.
    fn columns(&self) -> &'static [Column];

    /// Tells whether it can be read of one partner alone, and then tells of nobody else.
    fn is_by_partner(&self) -> bool {
        false
    }

    /// Returns what has to be prepared before it can be read at once; most need nothing.
    fn preparation<'a>(
        &'a self,
        _db: &'a mut PgConnection,
        _params: &'a Params,
    ) -> BoxFuture<'a, Result<Option<Preparation>, ReportError>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Reads it page by page and returns its totals, so that a million rows need the memory of a
    /// page. A report that must see everything before its first row hands the whole of it over
    /// ([`rows::hand_over`]).
    fn stream<'a>(
        &'a self,
        db: &'a mut PgConnection,
        params: &'a Params,
        rows: &'a mut dyn Rows,
    ) -> BoxFuture<'a, Result<Summary, ReportError>>;

    /// Reads it as an HTML page for people, where it has one.
    fn page<'a>(
        &'a self,
        _db: &'a mut PgConnection,
        _params: &'a Params,
    ) -> Option<BoxFuture<'a, Result<String, ReportError>>> {
        None
    }
}

/// What a report is asked for.
#[derive(Clone, Debug)]
pub struct Params {
    /// The program that it is about.
    pub program_id: ProgramId,
    /// The partner that it is about alone, of reports that can be read so.
    pub partner_id: Option<PartnerId>,
    /// From when, and until before when; days begin at midnight of its time zone.
    pub window: Window,
    /// The currency of its amounts.
    pub currency: Currency,
    /// The time of asking: a day that is not over cannot be judged.
    pub now: Timestamp,
}

/// A day that has to be learned before a report can be read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preparation {
    /// The program.
    pub program_id: ProgramId,
    /// The day that was asked for.
    pub day: NaiveDate,
    /// The newest day before it of which the report can be read now.
    pub learned_until: Option<NaiveDate>,
}

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// `snake_case`, stable for ever.
    pub name: &'static str,
    /// What its cells are, unless they are empty.
    pub kind: ColumnKind,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the cell of the same name")]
pub enum ColumnKind {
    Text,
    Money,
    Int,
    Date,
    Time,
    Bool,
}

impl ColumnKind {
    /// Returns a column of this kind.
    pub const fn named(self, name: &'static str) -> Column {
        Column { name, kind: self }
    }
}

/// A value in a report.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Text, perhaps typed by strangers.
    Text(String),
    /// An amount; its currency stands in a column of its own.
    Money(Money),
    /// A count.
    Int(i64),
    /// A day of the report's time zone.
    Date(NaiveDate),
    /// A point in time, shown in UTC.
    Time(Timestamp),
    /// Yes or no.
    Bool(bool),
    /// Nothing to say.
    Empty,
}

impl Cell {
    /// Returns what the cell is; none for an empty one, which fits every column.
    pub fn kind(&self) -> Option<ColumnKind> {
        match self {
            Self::Text(_) => Some(ColumnKind::Text),
            Self::Money(_) => Some(ColumnKind::Money),
            Self::Int(_) => Some(ColumnKind::Int),
            Self::Date(_) => Some(ColumnKind::Date),
            Self::Time(_) => Some(ColumnKind::Time),
            Self::Bool(_) => Some(ColumnKind::Bool),
            Self::Empty => None,
        }
    }

    /// Returns a cell of what is shown as text, such as an id.
    pub fn text(value: impl ToString) -> Self {
        Self::Text(value.to_string())
    }

    /// Returns a cell, or an empty one where there is nothing.
    pub fn or_empty<T>(value: Option<T>, cell: impl FnOnce(T) -> Self) -> Self {
        value.map_or(Self::Empty, cell)
    }
}

/// What a report read.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// The rows, each with a cell for every column.
    pub rows: Vec<Vec<Cell>>,
    /// Totals by name; never among the rows, where a spreadsheet would add them up again.
    pub summary: Summary,
}

/// A report that was read: what the exports write.
#[derive(Clone, Debug)]
pub struct Readout {
    /// Which report.
    pub report: &'static str,
    /// What was asked for.
    pub params: Params,
    /// The columns.
    pub columns: &'static [Column],
    /// The rows and totals.
    pub table: Table,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// No report has this name.
    #[error("no report is called {name:?}; there are {}", known_names().join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// More than [`ROWS_MAX`] rows.
    #[error("the report has more than {ROWS_MAX} rows; ask for a shorter time")]
    TooManyRows,
    /// More rows than Excel has.
    #[error("a sheet of Excel has 1,048,575 rows; ask for a shorter time, or for csv")]
    SheetFull,
    /// Too many reports are being read.
    #[error("too many reports are being read at this moment")]
    Busy,
    /// The reader went away.
    #[error("nobody reads the report any more")]
    NobodyReads,
    /// The file of a workbook could not be written.
    #[error("the workbook could not be written")]
    File(#[from] std::io::Error),
    /// The workbook was refused by its own rules.
    #[error("the workbook could not be made")]
    Workbook(#[from] rust_xlsxwriter::XlsxError),
    /// A figure does not fit, or a stored text is none that this release knows.
    #[error("a figure of the report cannot be shown: {0}")]
    BadFigure(String),
    /// PostgreSQL refused, was too slow or could not be reached.
    #[error("the report could not be read")]
    Database(#[from] sqlx::Error),
}

/// Returns the names of all reports.
pub fn known_names() -> Vec<&'static str> {
    REGISTRY.iter().map(|r| r.name()).collect()
}

/// Finds a report by its name.
pub fn find(name: &str) -> Result<&'static dyn Report, ReportError> {
    let found = REGISTRY.iter().copied().find(|r| r.name() == name);
    found.ok_or_else(|| ReportError::Unknown { name: name.chars().take(64).collect() })
}

/// Reads a report in a transaction of its own that sees one moment and can write nothing.
///
/// The caller's future must not be dropped midway; handlers run it detached.
pub async fn read(db: &Db, name: &str, params: Params) -> Result<Readout, ReportError> {
    let report = find(name)?;
    let mut db = begin_reading(db).await?;
    let table = rows::collect(report, &mut db, &params).await?;
    db.commit().await?;
    if table.rows.len() > ROWS_MAX {
        return Err(ReportError::TooManyRows);
    }
    Ok(Readout { report: report.name(), params, columns: report.columns(), table })
}

/// Reads a report as a page for people, in a transaction as [`read`] does; none where the report
/// has no page.
pub async fn read_page(db: &Db, name: &str, params: Params) -> Result<Option<String>, ReportError> {
    let report = find(name)?;
    let mut db = begin_reading(db).await?;
    let page = match report.page(&mut db, &params) {
        Some(page) => Some(page.await?),
        None => None,
    };
    db.commit().await?;
    Ok(page)
}

/// Returns what has to be prepared before a report can be read at once.
pub async fn find_preparation(
    db: &Db,
    report: &dyn Report,
    params: &Params,
) -> Result<Option<Preparation>, ReportError> {
    let mut db = db.acquire().await?;
    report.preparation(&mut db, params).await
}

/// Begins a transaction that sees one moment, can write nothing, and ends within a minute.
pub async fn begin_reading(db: &Db) -> Result<DbTx, sqlx::Error> {
    let mut db = db.begin().await?;
    for setting in READING {
        db.execute(setting).await?;
    }
    Ok(db)
}

/// Returns the first day whose raw clicks are kept, if earlier ones were dropped.
async fn kept_from(db: &mut PgConnection) -> Result<Option<NaiveDate>, sqlx::Error> {
    sqlx::query_scalar!("select kept_from from click_retention").fetch_optional(db).await
}

/// Returns the cell of an amount in minor units.
fn money_cell(minor: i64, currency: Currency) -> Cell {
    Cell::Money(Money::new(minor, currency))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_and_columns_are_told_apart() {
        let names: BTreeSet<_> = known_names().into_iter().collect();
        assert_eq!(names.len(), REGISTRY.len());
        for report in REGISTRY {
            let columns: BTreeSet<_> = report.columns().iter().map(|c| c.name).collect();
            assert_eq!(columns.len(), report.columns().len(), "{}", report.name());
            assert_eq!(find(report.name()).map(|r| r.name()).ok(), Some(report.name()));
        }
    }

    /// What whoever reads a report by program may count on, for ever; more columns may be there.
    #[test]
    fn columns_once_promised_are_there() {
        for (name, columns) in [
            (
                "payouts",
                "statement_no payout_id batch_id period partner_id partner_name partner_kind \
                 legal_type tax_id vat_id country currency opening_balance commissions_approved \
                 bonuses reversals clawbacks carried_forward_in net_payable vat_treatment vat_rate \
                 vat_amount withholding_amount gross_payable paid_amount carried_forward_out method \
                 account_masked status execution_date paid_at bank_reference failure_reason \
                 document_no receipt_no receipt_date approved_by ledger_tx_id",
            ),
            (
                "commissions",
                "commission_id kind status conversion_id order_id event occurred_at click_at \
                 approved_at hold_until partner_id link_id program sub1 sub2 sub3 sub4 sub5 \
                 base_amount base_currency rate_percent flat_amount tier amount currency fx_rate \
                 reason reverses_id payout_id statement_no",
            ),
            (
                "reconciliation",
                "partner_id currency opening accrued_pending approved bonuses reversed clawed_back \
                 reserved paid returned closing ledger_closing difference",
            ),
            (
                "traffic",
                "day partner_id link_id program sub1 clicks unique_clicks bot_requests leads sales \
                 conversion_rate sale_amount commission epc",
            ),
            ("unattributed", "conversion_id order_id event occurred_at reason amount currency"),
            ("statements", "statement_id number period partner_id opening closing sha256"),
            ("receipts", "payout_id partner_id tax_id amount paid_at receipt_due_on is_overdue"),
        ] {
            let report = find(name).unwrap();
            let known: BTreeSet<_> = report.columns().iter().map(|c| c.name).collect();
            for column in columns.split_whitespace() {
                assert!(known.contains(column), "{name} has no {column}");
            }
        }
    }

    #[test]
    fn an_unknown_report_is_answered_with_the_known_ones() {
        let error = find("payout").map(|r| r.name()).unwrap_err().to_string();
        assert!(error.contains("payouts, commissions, reconciliation, accrual"), "{error}");
    }
}
