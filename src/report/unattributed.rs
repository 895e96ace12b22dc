//! `unattributed`: conversions that earned nobody anything, and why: what a shop and its partners
//! ask about first when figures differ.
//!
//! An order without an amount stands in the report of every currency. `partner_id` is whose click it
//! was, where it was one that does not count.

use futures_util::future::BoxFuture;
use sqlx::PgConnection;
use uuid::Uuid;

use super::rows::{PageSize, Rows, Summary, collect};
use super::{Cell, Column, ColumnKind as Kind, Params, Report, ReportError, Table, money_cell};
use crate::clock::Timestamp;
use crate::ids::{ConversionId, PartnerId, SourceId};

/// The report.
#[derive(Debug)]
pub struct Unattributed;

const COLUMNS: &[Column] = &[
    Kind::Text.named("conversion_id"),
    Kind::Text.named("order_id"),
    Kind::Text.named("event"),
    Kind::Time.named("occurred_at"),
    Kind::Time.named("received_at"),
    Kind::Text.named("source_id"),
    Kind::Text.named("source_name"),
    Kind::Text.named("channel"),
    Kind::Text.named("reason"),
    Kind::Text.named("click_id"),
    Kind::Text.named("coupon_code"),
    Kind::Text.named("partner_id"),
    Kind::Money.named("amount"),
    Kind::Text.named("currency"),
];

impl Report for Unattributed {
    fn name(&self) -> &'static str {
        "unattributed"
    }

    fn description(&self) -> &'static str {
        "Conversions of the time that no partner earned, and why."
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn run<'a>(
        &'a self,
        db: &'a mut PgConnection,
        params: &'a Params,
    ) -> BoxFuture<'a, Result<Table, ReportError>> {
        Box::pin(collect(self, db, params))
    }

    fn stream<'a>(
        &'a self,
        db: &'a mut PgConnection,
        params: &'a Params,
        rows: &'a mut dyn Rows,
    ) -> BoxFuture<'a, Result<Summary, ReportError>> {
        Box::pin(async move {
            let (mut n_conversions, mut amount) = (0, 0i64);
            let (mut size, mut after) = (PageSize::first(), (params.window.from, Uuid::nil()));
            loop {
                let found = load(db, params, after, size.rows()).await?;
                let is_last = size.is_last(found.len());
                after = found.last().map_or(after, |r| (r.occurred_at, r.conversion_id.0));
                for conversion in &found {
                    n_conversions += 1;
                    let sum = amount.checked_add(conversion.amount_minor.unwrap_or(0));
                    amount = sum.ok_or_else(does_not_fit)?;
                }
                rows.take(found.into_iter().map(|r| row(r, params)).collect()).await?;
                if is_last {
                    break;
                }
                rows.expect_more().await?;
            }
            let amount = money_cell(amount, params.currency);
            Ok(vec![("conversions", Cell::Int(n_conversions)), ("amount", amount)])
        })
    }
}

fn does_not_fit() -> ReportError {
    ReportError::BadFigure("the total does not fit".to_owned())
}

struct Row {
    conversion_id: ConversionId,
    order_id: Option<String>,
    event: String,
    occurred_at: Timestamp,
    received_at: Timestamp,
    source_id: SourceId,
    source_name: Option<String>,
    channel: String,
    reason: String,
    click_id: Option<String>,
    coupon_code: Option<String>,
    partner_id: Option<PartnerId>,
    amount_minor: Option<i64>,
}

/// Loads what comes after a place, in the order of time.
async fn load(
    db: &mut PgConnection,
    params: &Params,
    after: (Timestamp, Uuid),
    limit: i64,
) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_file_as!(
        Row,
        "src/report/unattributed.sql",
        params.program_id.0,
        params.currency.code(),
        after.0,
        after.1,
        params.window.to,
        limit,
    )
    .fetch_all(db)
    .await
}

fn row(r: Row, params: &Params) -> Vec<Cell> {
    let text = |value: Option<String>| Cell::or_empty(value, Cell::Text);
    vec![
        Cell::text(r.conversion_id),
        text(r.order_id),
        Cell::Text(r.event),
        Cell::Time(r.occurred_at),
        Cell::Time(r.received_at),
        Cell::text(r.source_id),
        text(r.source_name),
        Cell::Text(r.channel),
        Cell::Text(r.reason),
        text(r.click_id),
        text(r.coupon_code),
        Cell::or_empty(r.partner_id, Cell::text),
        Cell::or_empty(r.amount_minor, |minor| money_cell(minor, params.currency)),
        Cell::text(params.currency),
    ]
}
