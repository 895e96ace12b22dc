//! `bank-answers`: rows of the files of banks that matched no payout, or not as they should.
//!
//! Each is something that a person must look at: money may have moved that the books do not know.

use futures_util::TryStreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::ids::{PayoutBatchId, UserId};
use crate::payout::result::UNMATCHED;
use crate::report::rows::{Rows, Summary};
use crate::report::{Cell, Column, ColumnKind as Kind, Params, Report, ReportError};

/// Rows that are handed over at once.
const PAGE_ROWS: usize = 2_000;

/// The report.
#[derive(Debug)]
pub struct BankAnswers;

const COLUMNS: &[Column] = &[
    Kind::Text.named("batch_id"),
    Kind::Text.named("period"),
    Kind::Text.named("currency"),
    Kind::Text.named("file_sha256"),
    Kind::Text.named("format"),
    Kind::Int.named("line"),
    Kind::Text.named("payout_id"),
    Kind::Text.named("bank_reference"),
    Kind::Text.named("verdict"),
    Kind::Text.named("detail"),
    Kind::Time.named("imported_at"),
    Kind::Text.named("imported_by"),
];

impl Report for BankAnswers {
    fn name(&self) -> &'static str {
        "bank-answers"
    }

    fn description(&self) -> &'static str {
        "Rows of bank files taken in within the time that match no payout, or not as they should."
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn stream<'a>(
        &'a self,
        db: &'a mut PgConnection,
        params: &'a Params,
        rows: &'a mut dyn Rows,
    ) -> BoxFuture<'a, Result<Summary, ReportError>> {
        Box::pin(async move {
            let mut n_rows = 0;
            let mut found = load(db, params);
            let mut page = Vec::new();
            while let Some(answer) = found.try_next().await? {
                n_rows += 1;
                page.push(row(answer, params));
                if page.len() == PAGE_ROWS {
                    rows.take(std::mem::take(&mut page)).await?;
                }
            }
            rows.take(page).await?;
            Ok(vec![("not_matched", Cell::Int(n_rows))])
        })
    }
}

struct Row {
    payout_batch_id: PayoutBatchId,
    period: String,
    sha256: Vec<u8>,
    format: String,
    line: Option<i64>,
    payout_id: Option<String>,
    reference: Option<String>,
    verdict: Option<String>,
    detail: Option<String>,
    created_at: Timestamp,
    created_by: UserId,
}

fn load<'a>(db: &'a mut PgConnection, params: &Params) -> BoxStream<'a, Result<Row, sqlx::Error>> {
    sqlx::query_file_as!(
        Row,
        "src/report/payment/bank_answers.sql",
        params.program_id.0,
        params.currency.code(),
        params.window.from,
        params.window.to,
        &UNMATCHED.map(str::to_owned),
    )
    .fetch(db)
}

fn row(r: Row, params: &Params) -> Vec<Cell> {
    let text = |value: Option<String>| Cell::or_empty(value, Cell::Text);
    vec![
        Cell::text(r.payout_batch_id),
        Cell::Text(r.period),
        Cell::text(params.currency),
        Cell::Text(r.sha256.iter().map(|b| format!("{b:02x}")).collect()),
        Cell::Text(r.format),
        Cell::or_empty(r.line, Cell::Int),
        text(r.payout_id),
        text(r.reference),
        text(r.verdict),
        text(r.detail),
        Cell::Time(r.created_at),
        Cell::text(r.created_by),
    ]
}
