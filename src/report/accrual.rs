//! `accrual`: what commissions cost, by the month in which they take effect, partner by partner.
//!
//! A month that is closed can still get items: they are in the next statement and, by their
//! `effective_at`, in this line; `recorded_late` is how much of the cost that is.

use futures_util::future::BoxFuture;
use sqlx::PgConnection;
use uuid::Uuid;

use super::money_cell;
use super::rows::{PageSize, Rows, Summary};
use super::{Cell, Column, ColumnKind as Kind, Params, Report, ReportError};
use crate::ids::PartnerId;

/// The report.
#[derive(Debug)]
pub struct Accrual;

const COLUMNS: &[Column] = &[
    Kind::Text.named("partner_id"),
    Kind::Text.named("partner_name"),
    Kind::Text.named("month"),
    Kind::Text.named("currency"),
    Kind::Money.named("accrued"),
    Kind::Money.named("rejected"),
    Kind::Money.named("reversed"),
    Kind::Money.named("clawed_back"),
    Kind::Money.named("adjustments"),
    Kind::Money.named("bonuses"),
    Kind::Money.named("written_off"),
    Kind::Money.named("cost"),
    Kind::Money.named("recorded_late"),
    Kind::Money.named("approved"),
];

impl Report for Accrual {
    fn name(&self) -> &'static str {
        "accrual"
    }

    fn description(&self) -> &'static str {
        "What commissions cost by month and partner, by the day on which each takes effect."
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
            let mut totals = [0i64; 3];
            let (mut size, mut after) = (PageSize::first_of_sums(), PartnerId(Uuid::nil()));
            loop {
                let partners = load_partners(db, params, after, size.rows()).await?;
                let is_last = size.is_last(partners.len());
                after = partners.last().copied().map_or(after, PartnerId);
                let lines = load(db, params, &partners).await?;
                for line in &lines {
                    for (total, minor) in
                        totals.iter_mut().zip([line.cost, line.late, line.approved])
                    {
                        *total = total.checked_add(minor).ok_or_else(does_not_fit)?;
                    }
                }
                rows.take(lines.into_iter().map(|l| row(l, params)).collect()).await?;
                if is_last {
                    break;
                }
                rows.expect_more().await?;
            }
            let names = ["cost", "recorded_late", "approved"];
            let totals = totals.map(|minor| money_cell(minor, params.currency));
            Ok(names.into_iter().zip(totals).collect())
        })
    }
}

fn does_not_fit() -> ReportError {
    ReportError::BadFigure("a total does not fit".to_owned())
}

/// Loads the partners with accounts in a currency, in the order of their keys.
pub(super) async fn load_partners(
    db: &mut PgConnection,
    params: &Params,
    after: PartnerId,
    limit: i64,
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select distinct partner_id as "partner_id!"
           from ledger_accounts
           where program_id = $1 and currency = $2 and partner_id > $3
           order by 1
           limit $4"#,
        params.program_id.0,
        params.currency.code(),
        after.0,
        limit,
    )
    .fetch_all(db)
    .await
}

struct Line {
    partner_id: PartnerId,
    name: String,
    month: String,
    accrued: i64,
    rejected: i64,
    reversed: i64,
    clawed_back: i64,
    adjustments: i64,
    bonuses: i64,
    written_off: i64,
    cost: i64,
    late: i64,
    approved: i64,
}

async fn load(
    db: &mut PgConnection,
    params: &Params,
    partners: &[Uuid],
) -> Result<Vec<Line>, sqlx::Error> {
    sqlx::query_file_as!(
        Line,
        "src/report/accrual.sql",
        params.program_id.0,
        params.currency.code(),
        params.window.time_zone.name(),
        params.window.from,
        params.window.to,
        partners,
    )
    .fetch_all(db)
    .await
}

fn row(l: Line, params: &Params) -> Vec<Cell> {
    let money = |minor| money_cell(minor, params.currency);
    vec![
        Cell::text(l.partner_id),
        Cell::Text(l.name),
        Cell::Text(l.month),
        Cell::text(params.currency),
        money(l.accrued),
        money(l.rejected),
        money(l.reversed),
        money(l.clawed_back),
        money(l.adjustments),
        money(l.bonuses),
        money(l.written_off),
        money(l.cost),
        money(l.late),
        money(l.approved),
    ]
}
