//! `statements`: every statement of the months that lie in a time, one row each.

use futures_util::future::BoxFuture;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::ids::{PartnerId, StatementId};
use crate::report::rows::{PageSize, Rows, Summary};
use crate::report::{Cell, Column, ColumnKind as Kind, Params, Report, ReportError, money_cell};

/// The report.
#[derive(Debug)]
pub struct Statements;

const COLUMNS: &[Column] = &[
    Kind::Text.named("statement_id"),
    Kind::Text.named("number"),
    Kind::Text.named("period"),
    Kind::Text.named("partner_id"),
    Kind::Text.named("partner_name"),
    Kind::Text.named("currency"),
    Kind::Money.named("pending_opening"),
    Kind::Money.named("pending_closing"),
    Kind::Money.named("opening"),
    Kind::Money.named("closing"),
    Kind::Int.named("lines"),
    Kind::Text.named("sha256"),
    Kind::Time.named("created_at"),
];

impl Report for Statements {
    fn name(&self) -> &'static str {
        "statements"
    }

    fn description(&self) -> &'static str {
        "Statements of the closed months that lie in the time, at least in part."
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
            let (mut n_statements, mut closing) = (0, 0i64);
            let Some((first, last)) = find_months(db, params).await? else {
                return Ok(summary(n_statements, closing, params));
            };
            let (mut size, mut after) = (PageSize::first(), (first, Uuid::nil()));
            loop {
                let told = load(db, params, &after, &last, size.rows()).await?;
                let is_last = size.is_last(told.len());
                after = told.last().map_or(after, |s| (s.period.clone(), s.partner_id.0));
                for statement in &told {
                    n_statements += 1;
                    let sum = closing.checked_add(statement.closing_minor);
                    closing = sum.ok_or_else(does_not_fit)?;
                }
                rows.take(told.into_iter().map(|s| row(s, params)).collect()).await?;
                if is_last {
                    break;
                }
                rows.expect_more().await?;
            }
            Ok(summary(n_statements, closing, params))
        })
    }
}

fn does_not_fit() -> ReportError {
    ReportError::BadFigure("the total does not fit".to_owned())
}

fn summary(n_statements: i64, closing: i64, params: &Params) -> Summary {
    let closing = money_cell(closing, params.currency);
    vec![("statements", Cell::Int(n_statements)), ("closing", closing)]
}

/// Finds the first and the last closed month that lie in the time, at least in part.
async fn find_months(
    db: &mut PgConnection,
    params: &Params,
) -> Result<Option<(String, String)>, sqlx::Error> {
    let row = sqlx::query!(
        "select min(period) as first, max(period) as last
         from closed_periods
         where program_id = $1 and ends_at > $2 and starts_at < $3",
        params.program_id.0,
        params.window.from,
        params.window.to,
    )
    .fetch_one(db)
    .await?;
    Ok(row.first.zip(row.last))
}

struct Row {
    statement_id: StatementId,
    number: String,
    period: String,
    partner_id: PartnerId,
    name: String,
    pending_opening_minor: i64,
    pending_closing_minor: i64,
    opening_minor: i64,
    closing_minor: i64,
    n_lines: i64,
    sha256: Vec<u8>,
    created_at: Timestamp,
}

async fn load(
    db: &mut PgConnection,
    params: &Params,
    after: &(String, Uuid),
    last: &str,
    limit: i64,
) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_file_as!(
        Row,
        "src/report/payment/statements.sql",
        params.program_id.0,
        params.currency.code(),
        after.0,
        after.1,
        last,
        limit,
    )
    .fetch_all(db)
    .await
}

fn row(s: Row, params: &Params) -> Vec<Cell> {
    let money = |minor| money_cell(minor, params.currency);
    vec![
        Cell::text(s.statement_id),
        Cell::Text(s.number),
        Cell::Text(s.period),
        Cell::text(s.partner_id),
        Cell::Text(s.name),
        Cell::text(params.currency),
        money(s.pending_opening_minor),
        money(s.pending_closing_minor),
        money(s.opening_minor),
        money(s.closing_minor),
        Cell::Int(s.n_lines),
        Cell::Text(s.sha256.iter().map(|b| format!("{b:02x}")).collect()),
        Cell::Time(s.created_at),
    ]
}
