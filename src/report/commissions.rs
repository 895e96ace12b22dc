//! `commissions`: the lines behind payouts. A line belongs to the time in which it was made, so a
//! clawback stands in its own month and not in that of the sale.

use futures_util::future::BoxFuture;
use sqlx::PgConnection;

use super::{Cell, Column, ColumnKind as Kind, Params, Report, ReportError, Table};
use super::{money_cell, rows_limit};
use crate::clock::Timestamp;
use crate::ids::{CommissionId, ConversionId, PartnerId, PayoutId, PlanVersionId};
use crate::money::{Currency, Money};

/// The report.
#[derive(Debug)]
pub struct Commissions;

const COLUMNS: &[Column] = &[
    Kind::Text.named("commission_id"),
    Kind::Text.named("kind"),
    Kind::Text.named("status"),
    Kind::Text.named("conversion_id"),
    Kind::Text.named("order_id"),
    Kind::Text.named("event"),
    Kind::Time.named("occurred_at"),
    Kind::Time.named("click_at"),
    Kind::Time.named("created_at"),
    Kind::Time.named("approved_at"),
    Kind::Time.named("hold_until"),
    Kind::Text.named("partner_id"),
    Kind::Text.named("partner_name"),
    Kind::Int.named("link_number"),
    Kind::Money.named("base_amount"),
    Kind::Text.named("base_currency"),
    Kind::Text.named("plan_version_id"),
    Kind::Money.named("amount"),
    Kind::Text.named("currency"),
    Kind::Text.named("reason"),
    Kind::Text.named("reverses_id"),
    Kind::Text.named("payout_id"),
];

impl Report for Commissions {
    fn name(&self) -> &'static str {
        "commissions"
    }

    fn description(&self) -> &'static str {
        "Commissions made in the time, corrections as lines of their own."
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn run<'a>(
        &'a self,
        db: &'a mut PgConnection,
        params: &'a Params,
    ) -> BoxFuture<'a, Result<Table, ReportError>> {
        Box::pin(async move {
            let lines = load(db, params).await?;
            let sum = lines.iter().map(|l| l.amount_minor).try_fold(0i64, i64::checked_add);
            let sum =
                sum.ok_or_else(|| ReportError::BadFigure("the total does not fit".to_owned()))?;
            let count = i64::try_from(lines.len()).unwrap_or(i64::MAX);
            let summary = vec![
                ("commissions", Cell::Int(count)),
                ("amount", money_cell(sum, params.currency)),
            ];
            let rows: Result<_, _> = lines.into_iter().map(|l| row(l, params.currency)).collect();
            Ok(Table { rows: rows?, summary })
        })
    }
}

struct Line {
    commission_id: CommissionId,
    kind: String,
    state: String,
    conversion_id: ConversionId,
    order_id: Option<String>,
    event: String,
    occurred_at: Timestamp,
    click_at: Option<Timestamp>,
    created_at: Timestamp,
    approved_at: Option<Timestamp>,
    hold_until: Timestamp,
    partner_id: PartnerId,
    partner_name: String,
    link_number: Option<i64>,
    base_minor: Option<i64>,
    base_currency: Option<String>,
    plan_version_id: Option<PlanVersionId>,
    amount_minor: i64,
    reason: Option<String>,
    corrects_id: Option<CommissionId>,
    payout_id: Option<PayoutId>,
}

async fn load(db: &mut PgConnection, params: &Params) -> Result<Vec<Line>, sqlx::Error> {
    sqlx::query_as!(
        Line,
        r#"select c.commission_id as "commission_id: CommissionId", c.kind, c.state,
                  c.conversion_id as "conversion_id: ConversionId", v.order_id, v.event,
                  c.occurred_at, v.click_at, c.created_at, c.approved_at, c.hold_until,
                  c.partner_id as "partner_id: PartnerId", p.name as partner_name, v.link_number,
                  v.base_minor, v.currency as base_currency,
                  c.plan_version_id as "plan_version_id: PlanVersionId", c.amount_minor, c.reason,
                  c.corrects_id as "corrects_id: CommissionId",
                  c.payout_id as "payout_id: PayoutId"
           from commissions c
           join conversions v
             on v.program_id = c.program_id and v.conversion_id = c.conversion_id
           join partners p on p.partner_id = c.partner_id
           where c.program_id = $1 and c.currency = $2
             and c.created_at >= $3 and c.created_at < $4
           order by c.commission_id
           limit $5"#,
        params.program_id.0,
        params.currency.code(),
        params.window.from,
        params.window.to,
        rows_limit(),
    )
    .fetch_all(db)
    .await
}

fn row(l: Line, currency: Currency) -> Result<Vec<Cell>, ReportError> {
    let base = match (l.base_minor, &l.base_currency) {
        (Some(minor), Some(code)) => {
            let bad = |_| ReportError::BadFigure(format!("{} is in {code:?}", l.conversion_id));
            Cell::Money(Money::new(minor, code.parse().map_err(bad)?))
        }
        (_, _) => Cell::Empty,
    };
    Ok(vec![
        Cell::text(l.commission_id),
        Cell::Text(l.kind),
        Cell::Text(l.state),
        Cell::text(l.conversion_id),
        Cell::or_empty(l.order_id, Cell::Text),
        Cell::Text(l.event),
        Cell::Time(l.occurred_at),
        Cell::or_empty(l.click_at, Cell::Time),
        Cell::Time(l.created_at),
        Cell::or_empty(l.approved_at, Cell::Time),
        Cell::Time(l.hold_until),
        Cell::text(l.partner_id),
        Cell::Text(l.partner_name),
        Cell::or_empty(l.link_number, Cell::Int),
        base,
        Cell::or_empty(l.base_currency, Cell::Text),
        Cell::or_empty(l.plan_version_id, Cell::text),
        money_cell(l.amount_minor, currency),
        Cell::text(currency),
        Cell::or_empty(l.reason, Cell::Text),
        Cell::or_empty(l.corrects_id, Cell::text),
        Cell::or_empty(l.payout_id, Cell::text),
    ])
}
