//! `activity-rising`: which partners bring more than they used to, since when, and what it is worth.
//!
//! As with `activity-decline`, it is about the last whole day of the window.

use futures_util::future::BoxFuture;
use sqlx::PgConnection;

use super::Rise;
use super::at_hand::preparation;
use super::judgment::{Rising, find_rising};
use super::query::Subject;
use super::table::{picture, three, whole};
use crate::money::Money;
use crate::report::rows::{Rows, Summary, hand_over};
use crate::report::{
    Cell, Column, ColumnKind as Kind, Params, Preparation, Report, ReportError, Table,
};

/// Days that a gain is told for.
const AHEAD_DAYS: f64 = 28.0;

/// The report.
#[derive(Debug)]
pub struct ActivityRising;

const COLUMNS: &[Column] = &[
    Kind::Text.named("partner_id"),
    Kind::Text.named("partner_name"),
    Kind::Text.named("partner_kind"),
    Kind::Text.named("rank"),
    Kind::Text.named("owner"),
    Kind::Date.named("since"),
    Kind::Int.named("expected_clicks_28d"),
    Kind::Int.named("expected_clicks_28d_low"),
    Kind::Int.named("expected_clicks_28d_high"),
    Kind::Int.named("observed_clicks_28d"),
    Kind::Int.named("observed_clicks_28d_low"),
    Kind::Int.named("observed_clicks_28d_high"),
    Kind::Int.named("share_gained_percent"),
    Kind::Text.named("p_value"),
    Kind::Int.named("gained_clicks_to_date"),
    Kind::Money.named("gained_commission_next_28d"),
    Kind::Text.named("currency"),
    Kind::Text.named("chart"),
    Kind::Text.named("sparkline"),
];

impl Report for ActivityRising {
    fn name(&self) -> &'static str {
        "activity-rising"
    }

    fn description(&self) -> &'static str {
        "Partners whose referral traffic has risen, by more than a single day can explain."
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn preparation<'a>(
        &'a self,
        db: &'a mut PgConnection,
        params: &'a Params,
    ) -> BoxFuture<'a, Result<Option<Preparation>, ReportError>> {
        Box::pin(preparation(db, params))
    }

    fn stream<'a>(
        &'a self,
        db: &'a mut PgConnection,
        params: &'a Params,
        rows: &'a mut dyn Rows,
    ) -> BoxFuture<'a, Result<Summary, ReportError>> {
        Box::pin(
            async move { hand_over(table(find_rising(db, params).await?, params), rows).await },
        )
    }
}

fn table(mut rising: Rising, params: &Params) -> Table {
    rising.listed.sort_by_key(|(subject, rise)| std::cmp::Reverse(ahead_minor(subject, rise)));
    let count = |n: usize| Cell::Int(i64::try_from(n).unwrap_or(i64::MAX));
    let summary = vec![
        ("day", Cell::Date(rising.day)),
        ("partners", count(rising.n_partners)),
        ("listed", count(rising.listed.len())),
    ];
    let rows = rising.listed.iter().map(|(subject, rise)| row(subject, rise, &rising, params));
    Table { rows: rows.collect(), summary }
}

/// What the gain will have earned in four weeks, if it lasts and each click earns as before.
fn ahead_minor(subject: &Subject, rise: &Rise) -> i64 {
    let per_day = rise.observed_per_day.value - rise.expected_per_day.value;
    whole(per_day * AHEAD_DAYS * subject.earned_per_click())
}

fn row(subject: &Subject, rise: &Rise, rising: &Rising, params: &Params) -> Vec<Cell> {
    let gained = rise.observed_per_day.value / rise.expected_per_day.value - 1.0;
    let mut cells = vec![
        Cell::text(subject.partner_id),
        Cell::text(&subject.name),
        Cell::text(&subject.kind),
        Cell::text(&subject.rank),
        Cell::or_empty(subject.owner.as_ref(), Cell::text),
        Cell::Date(rising.date(rise.since)),
    ];
    cells.extend(three(rise.expected_per_day.times(AHEAD_DAYS)));
    cells.extend(three(rise.observed_per_day.times(AHEAD_DAYS)));
    cells.extend([
        Cell::Int(whole(gained * 100.0)),
        Cell::Text(format!("{:.1e}", rise.p_value)),
        Cell::Int(whole(rise.gained)),
        Cell::Money(Money::new(ahead_minor(subject, rise), params.currency)),
        Cell::text(params.currency),
        picture(subject, "activity", params),
        picture(subject, "sparkline", params),
    ]);
    cells
}
