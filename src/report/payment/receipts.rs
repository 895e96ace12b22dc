//! `receipts`: payments to self-employed persons in Russia whose receipt is missing at the end of
//! the time, and how long it has been overdue: the next payment waits for it.

use chrono::NaiveDate;
use futures_util::future::BoxFuture;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::ids::{PartnerId, PayoutId};
use crate::payout::tax::receipt_due_on;
use crate::report::rows::{PageSize, Rows, Summary};
use crate::report::{Cell, Column, ColumnKind as Kind, Params, Report, ReportError, money_cell};

/// The report.
#[derive(Debug)]
pub struct Receipts;

const COLUMNS: &[Column] = &[
    Kind::Text.named("payout_id"),
    Kind::Text.named("partner_id"),
    Kind::Text.named("partner_name"),
    Kind::Text.named("email"),
    Kind::Text.named("tax_id"),
    Kind::Money.named("amount"),
    Kind::Text.named("currency"),
    Kind::Time.named("paid_at"),
    Kind::Text.named("bank_reference"),
    Kind::Date.named("receipt_due_on"),
    Kind::Bool.named("is_overdue"),
    Kind::Int.named("days_overdue"),
];

impl Report for Receipts {
    fn name(&self) -> &'static str {
        "receipts"
    }

    fn description(&self) -> &'static str {
        "Receipts that self-employed persons in Russia owe at the end of the time, overdue or not."
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
            let as_of = params.window.to.min(params.now);
            let (mut n_missing, mut n_overdue, mut amount) = (0, 0, 0i64);
            let (mut size, mut after) = (PageSize::first(), (Timestamp::UNIX_EPOCH, Uuid::nil()));
            loop {
                let owed = load(db, params, as_of, after, size.rows()).await?;
                let is_last = size.is_last(owed.len());
                after = owed.last().map_or(after, |r| (r.paid_at, r.payout_id.0));
                let mut page = Vec::with_capacity(owed.len());
                for receipt in owed {
                    n_missing += 1;
                    let sum = amount.checked_add(receipt.transfer_minor);
                    amount = sum.ok_or_else(does_not_fit)?;
                    let due_on = due_on(&receipt, params);
                    let days = days_overdue(due_on, as_of, params);
                    n_overdue += i64::from(days > 0);
                    page.push(row(receipt, due_on, days, params));
                }
                rows.take(page).await?;
                if is_last {
                    break;
                }
                rows.expect_more().await?;
            }
            Ok(vec![
                ("as_of", Cell::Time(as_of)),
                ("missing", Cell::Int(n_missing)),
                ("overdue", Cell::Int(n_overdue)),
                ("amount", money_cell(amount, params.currency)),
            ])
        })
    }
}

fn does_not_fit() -> ReportError {
    ReportError::BadFigure("the total does not fit".to_owned())
}

struct Row {
    payout_id: PayoutId,
    partner_id: PartnerId,
    name: String,
    email: Option<String>,
    tax_id: Option<String>,
    transfer_minor: i64,
    paid_at: Timestamp,
    bank_reference: Option<String>,
}

async fn load(
    db: &mut PgConnection,
    params: &Params,
    as_of: Timestamp,
    after: (Timestamp, Uuid),
    limit: i64,
) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_file_as!(
        Row,
        "src/report/payment/receipts.sql",
        params.program_id.0,
        params.currency.code(),
        after.0,
        after.1,
        as_of,
        limit,
    )
    .fetch_all(db)
    .await
}

fn due_on(r: &Row, params: &Params) -> Option<NaiveDate> {
    receipt_due_on(r.paid_at.with_timezone(&params.window.time_zone).date_naive())
}

/// Returns for how many days a receipt has been overdue; zero or less while it is not.
fn days_overdue(due_on: Option<NaiveDate>, as_of: Timestamp, params: &Params) -> i64 {
    let today = as_of.with_timezone(&params.window.time_zone).date_naive();
    due_on.map_or(0, |due_on| (today - due_on).num_days())
}

fn row(r: Row, due_on: Option<NaiveDate>, days: i64, params: &Params) -> Vec<Cell> {
    vec![
        Cell::text(r.payout_id),
        Cell::text(r.partner_id),
        Cell::Text(r.name),
        Cell::or_empty(r.email, Cell::Text),
        Cell::or_empty(r.tax_id, Cell::Text),
        money_cell(r.transfer_minor, params.currency),
        Cell::text(params.currency),
        Cell::Time(r.paid_at),
        Cell::or_empty(r.bank_reference, Cell::Text),
        Cell::or_empty(due_on, Cell::Date),
        Cell::Bool(days > 0),
        Cell::Int(days.max(0)),
    ]
}
