//! `commissions`: the lines behind payouts. A line belongs to the time in which it was made, so a
//! clawback stands in its own month and not in that of the sale.

use futures_util::future::BoxFuture;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::kept_from;
use super::money_cell;
use super::rows::{PageSize, Rows, Summary};
use super::{Cell, Column, ColumnKind as Kind, Params, Report, ReportError};
use crate::clock::Timestamp;
use crate::ids::{CommissionId, ConversionId, LinkId, PartnerId, PayoutId, PlanVersionId};
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
    Kind::Time.named("approved_at"),
    Kind::Time.named("hold_until"),
    Kind::Text.named("partner_id"),
    Kind::Text.named("link_id"),
    Kind::Text.named("program"),
    Kind::Text.named("sub1"),
    Kind::Text.named("sub2"),
    Kind::Text.named("sub3"),
    Kind::Text.named("sub4"),
    Kind::Text.named("sub5"),
    Kind::Money.named("base_amount"),
    Kind::Text.named("base_currency"),
    Kind::Text.named("rate_percent"),
    Kind::Text.named("flat_amount"),
    Kind::Text.named("tier"),
    Kind::Money.named("amount"),
    Kind::Text.named("currency"),
    Kind::Text.named("fx_rate"),
    Kind::Text.named("reason"),
    Kind::Text.named("reverses_id"),
    Kind::Text.named("payout_id"),
    Kind::Text.named("statement_no"),
    Kind::Text.named("partner_name"),
    Kind::Int.named("link_number"),
    Kind::Text.named("plan_version_id"),
    Kind::Time.named("created_at"),
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

    fn stream<'a>(
        &'a self,
        db: &'a mut PgConnection,
        params: &'a Params,
        rows: &'a mut dyn Rows,
    ) -> BoxFuture<'a, Result<Summary, ReportError>> {
        Box::pin(async move {
            let (mut size, mut after) = (PageSize::first(), None);
            let (mut n_lines, mut sum) = (0, 0i64);
            loop {
                let lines = load(db, params, after, size.rows()).await?;
                let is_last = size.is_last(lines.len());
                after = lines.last().map(|l| (l.created_at, l.commission_id.0)).or(after);
                let clicks = load_clicks(db, params, &lines).await?;
                let mut page = Vec::with_capacity(lines.len());
                for (line, click) in lines.into_iter().zip(clicks) {
                    n_lines += 1;
                    sum = sum.checked_add(line.amount_minor).ok_or_else(does_not_fit)?;
                    page.push(row(line, click, params.currency)?);
                }
                rows.take(page).await?;
                if is_last {
                    break;
                }
                rows.expect_more().await?;
            }
            let mut told = vec![
                ("commissions", Cell::Int(n_lines)),
                ("amount", money_cell(sum, params.currency)),
            ];
            // Lines whose clicks lie before that day have no sub-ids, whatever the links said.
            if let Some(day) = kept_from(db).await? {
                told.push(("clicks_kept_from", Cell::Date(day)));
            }
            Ok(told)
        })
    }
}

fn does_not_fit() -> ReportError {
    ReportError::BadFigure("the total does not fit".to_owned())
}

struct Line {
    commission_id: CommissionId,
    kind: String,
    state: String,
    conversion_id: Option<ConversionId>,
    order_id: Option<String>,
    event: String,
    occurred_at: Timestamp,
    click_at: Option<Timestamp>,
    click_partner_id: Option<PartnerId>,
    created_at: Timestamp,
    approved_at: Option<Timestamp>,
    hold_until: Timestamp,
    partner_id: PartnerId,
    partner_name: String,
    program: String,
    link_id: Option<LinkId>,
    link_number: Option<i64>,
    base_minor: Option<i64>,
    base_currency: Option<String>,
    calculation: Value,
    plan_version_id: Option<PlanVersionId>,
    amount_minor: i64,
    reason: Option<String>,
    corrects_id: Option<CommissionId>,
    payout_id: Option<PayoutId>,
    statement_no: Option<String>,
}

/// Loads the lines after a place, in the order of their making.
async fn load(
    db: &mut PgConnection,
    params: &Params,
    after: Option<(Timestamp, Uuid)>,
    limit: i64,
) -> Result<Vec<Line>, sqlx::Error> {
    let (after_at, after_id) = after.unwrap_or((params.window.from, Uuid::nil()));
    sqlx::query_file_as!(
        Line,
        "src/report/commissions.sql",
        params.program_id.0,
        params.currency.code(),
        after_at,
        after_id,
        params.window.to,
        limit,
    )
    .fetch_all(db)
    .await
}

/// The sub-ids of a click.
type SubIds = [Option<String>; 5];

/// Loads what is known of the clicks of lines, one for each; none where the click is no longer kept.
async fn load_clicks(
    db: &mut PgConnection,
    params: &Params,
    lines: &[Line],
) -> Result<Vec<SubIds>, sqlx::Error> {
    let mut found = vec![SubIds::default(); lines.len()];
    let clicked: Vec<(usize, PartnerId, i64, Timestamp)> = lines
        .iter()
        .enumerate()
        .filter_map(|(place, l)| Some((place, l.click_partner_id?, l.link_number?, l.click_at?)))
        .collect();
    let day = |at: &Timestamp| at.date_naive();
    let days = clicked.iter().map(|c| day(&c.3));
    let (Some(first), Some(last)) = (days.clone().min(), days.max()) else { return Ok(found) };
    let rows = sqlx::query_file!(
        "src/report/clicks_of.sql",
        params.program_id.0,
        first,
        last,
        &clicked.iter().map(|c| c.1.0).collect::<Vec<_>>(),
        &clicked.iter().map(|c| c.2).collect::<Vec<_>>(),
        &clicked.iter().map(|c| c.3).collect::<Vec<_>>(),
    )
    .fetch_all(db)
    .await?;
    for r in rows {
        let place = usize::try_from(r.place - 1).ok().and_then(|place| clicked.get(place));
        if let Some((place, ..)) = place {
            found[*place] = [r.sub1, r.sub2, r.sub3, r.sub4, r.sub5];
        }
    }
    Ok(found)
}

/// Returns a rate in per cent, without a float: 2050 basis points are `20.50`.
pub(super) fn percent(bps: i64) -> String {
    format!("{}.{:02}", bps / 100, bps % 100)
}

fn row(l: Line, click: SubIds, currency: Currency) -> Result<Vec<Cell>, ReportError> {
    let [sub1, sub2, sub3, sub4, sub5] = click;
    let base = match (l.base_minor, &l.base_currency) {
        (Some(minor), Some(code)) => {
            let bad = |_| ReportError::BadFigure(format!("{} is in {code:?}", l.commission_id));
            Cell::Money(Money::new(minor, code.parse().map_err(bad)?))
        }
        (_, _) => Cell::Empty,
    };
    let told = |name: &str| match &l.calculation[name] {
        Value::String(text) => Cell::text(text),
        Value::Number(number) => Cell::text(number),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => Cell::Empty,
    };
    let rate =
        Cell::or_empty(l.calculation["percent_bps"].as_i64(), |bps| Cell::Text(percent(bps)));
    let (flat, tier, fx_rate) = (told("flat"), told("tier"), told("fx_rate"));
    Ok(vec![
        Cell::text(l.commission_id),
        Cell::Text(l.kind),
        Cell::Text(l.state),
        Cell::or_empty(l.conversion_id, Cell::text),
        Cell::or_empty(l.order_id, Cell::Text),
        Cell::Text(l.event),
        Cell::Time(l.occurred_at),
        Cell::or_empty(l.click_at, Cell::Time),
        Cell::or_empty(l.approved_at, Cell::Time),
        Cell::Time(l.hold_until),
        Cell::text(l.partner_id),
        Cell::or_empty(l.link_id, Cell::text),
        Cell::Text(l.program),
        Cell::or_empty(sub1, Cell::Text),
        Cell::or_empty(sub2, Cell::Text),
        Cell::or_empty(sub3, Cell::Text),
        Cell::or_empty(sub4, Cell::Text),
        Cell::or_empty(sub5, Cell::Text),
        base,
        Cell::or_empty(l.base_currency, Cell::Text),
        rate,
        flat,
        tier,
        money_cell(l.amount_minor, currency),
        Cell::text(currency),
        fx_rate,
        Cell::or_empty(l.reason, Cell::Text),
        Cell::or_empty(l.corrects_id, Cell::text),
        Cell::or_empty(l.payout_id, Cell::text),
        Cell::or_empty(l.statement_no, Cell::Text),
        Cell::Text(l.partner_name),
        Cell::or_empty(l.link_number, Cell::Int),
        Cell::or_empty(l.plan_version_id, Cell::text),
        Cell::Time(l.created_at),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_keep_two_decimals() {
        assert_eq!([percent(2000), percent(5), percent(12_345)], ["20.00", "0.05", "123.45"]);
    }
}
