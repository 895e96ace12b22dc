//! `aged`: what each partner is owed at the end of the time, by how long it has been owed.
//!
//! Payouts pay the oldest first, so what is left is the newest: of a balance of 100, when 30 became
//! payable in the last thirty days and 80 in the thirty before, 30 is young and 70 is older. Money
//! whose payout failed or came back is as old as it was.

use chrono::Days;
use futures_util::future::BoxFuture;
use sqlx::PgConnection;
use uuid::Uuid;

use super::accrual::load_partners;
use super::money_cell;
use super::rows::{PageSize, Rows, Summary};
use super::{Cell, Column, ColumnKind as Kind, Params, Report, ReportError};
use crate::clock::Timestamp;
use crate::ids::PartnerId;

/// The report.
#[derive(Debug)]
pub struct Aged;

/// Days of a bucket.
const BUCKET_DAYS: u64 = 30;

const COLUMNS: &[Column] = &[
    Kind::Text.named("partner_id"),
    Kind::Text.named("partner_name"),
    Kind::Text.named("currency"),
    Kind::Money.named("pending"),
    Kind::Money.named("payable"),
    Kind::Money.named("days_0_30"),
    Kind::Money.named("days_31_60"),
    Kind::Money.named("days_61_90"),
    Kind::Money.named("days_over_90"),
    Kind::Money.named("owed_by_partner"),
];

impl Report for Aged {
    fn name(&self) -> &'static str {
        "aged"
    }

    fn description(&self) -> &'static str {
        "What each partner is owed at the end of the time, by how long it has been owed."
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
            let mut totals = [0i64; 7];
            let (mut size, mut after) = (PageSize::first_of_sums(), PartnerId(Uuid::nil()));
            loop {
                let partners = load_partners(db, params, after, size.rows()).await?;
                let is_last = size.is_last(partners.len());
                after = partners.last().copied().map_or(after, PartnerId);
                let mut page = Vec::with_capacity(partners.len());
                for owed in load(db, params, &partners, as_of).await? {
                    let figures = age(&owed);
                    for (total, minor) in totals.iter_mut().zip(figures) {
                        *total = total.checked_add(minor).ok_or_else(does_not_fit)?;
                    }
                    if figures.iter().any(|minor| *minor != 0) {
                        page.push(row(owed, figures, params));
                    }
                }
                rows.take(page).await?;
                if is_last {
                    break;
                }
                rows.expect_more().await?;
            }
            let money = |minor| money_cell(minor, params.currency);
            let names = COLUMNS[3..].iter().map(|column| column.name);
            Ok([("as_of", Cell::Time(as_of))]
                .into_iter()
                .chain(names.zip(totals.map(money)))
                .collect())
        })
    }
}

fn does_not_fit() -> ReportError {
    ReportError::BadFigure("a total does not fit".to_owned())
}

/// What a partner is owed, and what became payable lately.
#[derive(Debug)]
struct Owed {
    partner_id: PartnerId,
    name: String,
    pending: i64,
    payable: i64,
    /// In the last thirty days, the thirty before, and the thirty before those.
    came_in: [i64; 3],
}

/// Returns pending, payable, the four buckets, and what the partner owes.
fn age(owed: &Owed) -> [i64; 7] {
    let mut rest = owed.payable.max(0);
    let [young, middle, old] = owed.came_in.map(|came_in| {
        let part = rest.min(came_in.max(0));
        rest -= part;
        part
    });
    let owes = owed.payable.min(0).checked_neg().unwrap_or(i64::MAX);
    [owed.pending, owed.payable, young, middle, old, rest, owes]
}

async fn load(
    db: &mut PgConnection,
    params: &Params,
    partners: &[Uuid],
    as_of: Timestamp,
) -> Result<Vec<Owed>, sqlx::Error> {
    let ago = |n| as_of.checked_sub_days(Days::new(n * BUCKET_DAYS)).unwrap_or(as_of);
    let rows = sqlx::query_file!(
        "src/report/aged.sql",
        params.program_id.0,
        params.currency.code(),
        partners,
        as_of,
        ago(1),
        ago(2),
        ago(3),
    )
    .fetch_all(db)
    .await?;
    let owed = rows.into_iter().map(|r| Owed {
        partner_id: r.partner_id,
        name: r.name,
        pending: r.pending,
        payable: r.payable,
        came_in: [r.in_30, r.in_60, r.in_90],
    });
    Ok(owed.collect())
}

fn row(owed: Owed, figures: [i64; 7], params: &Params) -> Vec<Cell> {
    let mut row =
        vec![Cell::text(owed.partner_id), Cell::Text(owed.name), Cell::text(params.currency)];
    row.extend(figures.map(|minor| money_cell(minor, params.currency)));
    row
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn owed(payable: i64, came_in: [i64; 3]) -> Owed {
        Owed { partner_id: PartnerId::new(), name: String::new(), pending: 7, payable, came_in }
    }

    #[test]
    fn what_is_left_is_the_newest() {
        for (payable, came_in, expected) in [
            (100, [30, 80, 0], [7, 100, 30, 70, 0, 0, 0]),
            (100, [0, 0, 20], [7, 100, 0, 0, 20, 80, 0]),
            (0, [30, 80, 0], [7, 0, 0, 0, 0, 0, 0]),
            (-40, [30, 0, 0], [7, -40, 0, 0, 0, 0, 40]),
        ] {
            assert_eq!(age(&owed(payable, came_in)), expected, "{payable} {came_in:?}");
        }
    }

    proptest! {
        #[test]
        fn buckets_add_up_to_the_balance(payable in -1_000i64..1_000, a in 0i64..500, b in 0i64..500, c in 0i64..500) {
            let [_, balance, buckets @ .., owes] = age(&owed(payable, [a, b, c]));
            prop_assert_eq!(buckets.iter().sum::<i64>() - owes, balance);
            prop_assert!(buckets.iter().all(|b| *b >= 0) && owes >= 0);
        }
    }
}
