//! `traffic`: clicks, conversions and what they earned, by day, partner and link.
//!
//! A day is a day of the report's time zone. Clicks are kept by hours of UTC and belong to the day
//! in which their hour begins; that is exact wherever clocks differ from UTC by whole hours, and
//! in the other zones (India, Nepal) up to 45 minutes fall to the neighboring day.

use chrono::NaiveDate;
use futures_util::TryStreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use sqlx::PgConnection;

use super::money_cell;
use super::rows::{Rows, Summary};
use super::{Cell, Column, ColumnKind as Kind, Params, Report, ReportError};
use crate::click::classify::Class;
use crate::clock::Timestamp;
use crate::ids::{LinkId, PartnerId};

/// Rows that are handed over at once.
const PAGE_ROWS: usize = 2_000;
/// With so many rows a report is long, and its reader gets them before it ends.
const ROWS_AT_ONCE: usize = 200;

/// The report.
#[derive(Debug)]
pub struct Traffic;

const COLUMNS: &[Column] = &[
    Kind::Date.named("day"),
    Kind::Text.named("partner_id"),
    Kind::Text.named("partner_name"),
    Kind::Text.named("link_id"),
    Kind::Int.named("link_number"),
    Kind::Text.named("program"),
    Kind::Text.named("sub1"),
    Kind::Int.named("clicks"),
    Kind::Int.named("unique_clicks"),
    Kind::Int.named("bot_requests"),
    Kind::Int.named("conversions"),
    Kind::Int.named("leads"),
    Kind::Int.named("sales"),
    Kind::Text.named("conversion_rate"),
    Kind::Money.named("sale_amount"),
    Kind::Money.named("commission"),
    Kind::Text.named("epc"),
    Kind::Text.named("currency"),
];

impl Report for Traffic {
    fn name(&self) -> &'static str {
        "traffic"
    }

    fn description(&self) -> &'static str {
        "Clicks, conversions and earnings by day, partner and link."
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn is_by_partner(&self) -> bool {
        true
    }

    fn stream<'a>(
        &'a self,
        db: &'a mut PgConnection,
        params: &'a Params,
        rows: &'a mut dyn Rows,
    ) -> BoxFuture<'a, Result<Summary, ReportError>> {
        Box::pin(async move {
            let (mut totals, mut n_rows) = ([0i64; 4], 0);
            // Day by day: the first one is there before the last one is summed.
            for (from, to) in params.window.each_day() {
                let mut found = load(db, params, from, to);
                let mut page = Vec::with_capacity(PAGE_ROWS);
                while let Some(r) = found.try_next().await? {
                    let counts = [r.n_clicks, r.n_unique, r.n_bots, r.n_whole];
                    for (total, n) in totals.iter_mut().zip(counts) {
                        *total += n;
                    }
                    page.push(row(r, params));
                    if page.len() == PAGE_ROWS {
                        n_rows += PAGE_ROWS;
                        let full = std::mem::replace(&mut page, Vec::with_capacity(PAGE_ROWS));
                        rows.take(full).await?;
                    }
                }
                n_rows += page.len();
                rows.take(page).await?;
                if n_rows >= ROWS_AT_ONCE {
                    rows.expect_more().await?;
                }
            }
            let names = ["clicks", "unique_clicks", "bot_requests", "conversions"];
            Ok(names.into_iter().zip(totals.map(Cell::Int)).collect())
        })
    }
}

struct Row {
    day: NaiveDate,
    partner_id: PartnerId,
    name: String,
    link_number: Option<i64>,
    link_id: Option<LinkId>,
    sub1: Option<String>,
    program: String,
    n_leads: i64,
    n_sales: i64,
    n_clicks: i64,
    n_unique: i64,
    n_bots: i64,
    n_conversions: i64,
    /// Those that no row of another partner counts, too: their sum counts each once.
    n_whole: i64,
    sale_minor: i64,
    commission_minor: i64,
}

/// Sums one day, or the part of it that is asked for.
///
/// Commissions that were refused or taken back wholly earn nothing; clawbacks count with their sign,
/// on the day of their sale.
fn load<'a>(
    db: &'a mut PgConnection,
    params: &Params,
    from: Timestamp,
    to: Timestamp,
) -> BoxStream<'a, Result<Row, sqlx::Error>> {
    sqlx::query_file_as!(
        Row,
        "src/report/traffic.sql",
        params.program_id.0,
        params.currency.code(),
        params.window.time_zone.name(),
        from,
        to,
        i16::from(Class::Human.code()),
        i16::from(Class::Bot.code()),
        params.partner_id.map(|id| id.0),
    )
    .fetch(db)
}

/// Returns a quotient with so many decimals, rounded half up, without a float; none by nothing.
fn ratio(part: i64, whole: i64, decimals: u32) -> Option<String> {
    let scale = 10i128.pow(decimals);
    let (part, whole) = (i128::from(part), i128::from(whole));
    if whole <= 0 {
        return None;
    }
    let scaled = (part.abs() * scale * 2 + whole) / (whole * 2);
    let sign = if part < 0 && scaled != 0 { "-" } else { "" };
    let (whole, rest) = (scaled / scale, scaled % scale);
    Some(format!("{sign}{whole}.{rest:0width$}", width = decimals as usize))
}

fn row(r: Row, params: &Params) -> Vec<Cell> {
    let epc = earned_per_click(&r, params);
    vec![
        Cell::Date(r.day),
        Cell::text(r.partner_id),
        Cell::Text(r.name),
        Cell::or_empty(r.link_id, Cell::text),
        Cell::or_empty(r.link_number, Cell::Int),
        Cell::Text(r.program),
        Cell::or_empty(r.sub1, Cell::Text),
        Cell::Int(r.n_clicks),
        Cell::Int(r.n_unique),
        Cell::Int(r.n_bots),
        Cell::Int(r.n_conversions),
        Cell::Int(r.n_leads),
        Cell::Int(r.n_sales),
        Cell::or_empty(ratio(r.n_conversions, r.n_clicks, 4), Cell::Text),
        money_cell(r.sale_minor, params.currency),
        money_cell(r.commission_minor, params.currency),
        Cell::or_empty(epc, Cell::Text),
        Cell::text(params.currency),
    ]
}

/// Returns what a click earned, in major units, with two decimals more than the currency has.
fn earned_per_click(r: &Row, params: &Params) -> Option<String> {
    let exponent = params.currency.exponent();
    let unit = 10i64.checked_pow(exponent)?;
    ratio(r.commission_minor, r.n_clicks.checked_mul(unit)?, exponent + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_are_rounded_half_up_and_never_of_nothing() {
        for (part, whole, decimals, expected) in [
            (1, 3, 4, Some("0.3333")),
            (1, 8, 2, Some("0.13")),
            (-1, 8, 2, Some("-0.13")),
            (0, 5, 4, Some("0.0000")),
            (-1, 100_000, 2, Some("0.00")),
            (2_998, 700, 4, Some("4.2829")),
            (1, 0, 4, None),
        ] {
            assert_eq!(ratio(part, whole, decimals).as_deref(), expected, "{part} / {whole}");
        }
    }
}
