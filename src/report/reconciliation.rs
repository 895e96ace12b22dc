//! `reconciliation`: the roll-forward of every partner's balance, and whether it is the ledger's.
//!
//! The left side is summed from the ledger's entries by what they were posted for; the right side
//! is the balance that the ledger keeps beside them, less what was recorded later. They agree
//! unless an entry was lost, was added by a code that this report does not know, or the kept
//! balance is wrong. What counts is when an entry was recorded: a period that is over stays as it
//! was reported.

use futures_util::future::BoxFuture;
use sqlx::PgConnection;
use uuid::Uuid;

use super::money_cell;
use super::rows::{PageSize, Rows, Summary};
use super::{Cell, Column, ColumnKind as Kind, Params, Report, ReportError};
use crate::ids::PartnerId;
use crate::payout::result::UNMATCHED;

/// The report.
#[derive(Debug)]
pub struct Reconciliation;

const COLUMNS: &[Column] = &[
    Kind::Text.named("partner_id"),
    Kind::Text.named("partner_name"),
    Kind::Text.named("currency"),
    Kind::Money.named("pending_opening"),
    Kind::Money.named("accrued_pending"),
    Kind::Money.named("rejected"),
    Kind::Money.named("pending_closing"),
    Kind::Money.named("opening"),
    Kind::Money.named("approved"),
    Kind::Money.named("bonuses"),
    Kind::Money.named("adjustments"),
    Kind::Money.named("reversed"),
    Kind::Money.named("clawed_back"),
    Kind::Money.named("reserved"),
    Kind::Money.named("paid"),
    Kind::Money.named("returned"),
    Kind::Money.named("written_off"),
    Kind::Money.named("closing"),
    Kind::Money.named("ledger_closing"),
    Kind::Money.named("difference"),
];

impl Report for Reconciliation {
    fn name(&self) -> &'static str {
        "reconciliation"
    }

    fn description(&self) -> &'static str {
        "Roll-forward of every partner's balance; the difference to the ledger must be zero."
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
            let mut n_different = 0;
            let (mut size, mut after) = (PageSize::first_of_sums(), PartnerId(Uuid::nil()));
            loop {
                let movements = load(db, params, after, size.rows()).await?;
                let is_last = size.is_last(movements.len());
                after = movements.last().map_or(after, |m| m.partner_id);
                let mut page = Vec::with_capacity(movements.len());
                for m in movements {
                    let rolled = roll_forward(&m).ok_or_else(|| does_not_fit(m.partner_id))?;
                    n_different += i64::from(rolled.difference != 0);
                    page.push(row(m, rolled, params));
                }
                rows.take(page).await?;
                if is_last {
                    break;
                }
                rows.expect_more().await?;
            }
            let checks = load_checks(db, params).await?;
            Ok(summary(n_different, &checks, params))
        })
    }
}

/// What moved on a partner's accounts, minor units, each with the sign of its column.
#[derive(Clone, Debug, Default)]
struct Movements {
    partner_id: PartnerId,
    name: String,
    pending_opening: i64,
    accrued: i64,
    rejected: i64,
    /// What the ledger keeps for pending at the end of the time.
    pending_kept: i64,
    opening: i64,
    approved: i64,
    bonuses: i64,
    adjustments: i64,
    reversed: i64,
    clawed_back: i64,
    /// Set aside less given back before it was paid.
    set_aside: i64,
    paid: i64,
    returned: i64,
    written_off: i64,
    /// What the ledger keeps for payable at the end of the time.
    kept: i64,
}

/// What follows from the movements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RollForward {
    pending_closing: i64,
    /// Net change of what is set aside and not yet paid; below zero when more was paid than set
    /// aside in the time.
    reserved: i64,
    closing: i64,
    /// Pending and payable, each without its sign, so that one cannot hide the other.
    difference: i64,
}

/// Rolls a partner's balances forward; none if a figure does not fit.
fn roll_forward(m: &Movements) -> Option<RollForward> {
    let sum =
        |parts: &[i64]| i64::try_from(parts.iter().map(|p| i128::from(*p)).sum::<i128>()).ok();
    let minus = i64::checked_neg;
    let pending_closing =
        sum(&[m.pending_opening, m.accrued, minus(m.approved)?, minus(m.rejected)?])?;
    let reserved = sum(&[m.set_aside, minus(m.paid)?])?;
    let closing = sum(&[
        m.opening,
        m.approved,
        m.bonuses,
        m.adjustments,
        minus(m.reversed)?,
        minus(m.clawed_back)?,
        minus(reserved)?,
        minus(m.paid)?,
        m.returned,
        m.written_off,
    ])?;
    let off = |computed: i64, kept: i64| computed.checked_sub(kept)?.checked_abs();
    let difference = sum(&[off(pending_closing, m.pending_kept)?, off(closing, m.kept)?])?;
    Some(RollForward { pending_closing, reserved, closing, difference })
}

async fn load(
    db: &mut PgConnection,
    params: &Params,
    after: PartnerId,
    limit: i64,
) -> Result<Vec<Movements>, sqlx::Error> {
    sqlx::query_file_as!(
        Movements,
        "src/report/reconciliation.sql",
        params.program_id.0,
        params.currency.code(),
        params.window.from,
        params.window.to,
        after.0,
        limit,
    )
    .fetch_all(db)
    .await
}

/// What else must be zero, or be looked at.
struct Checks {
    in_transit: i64,
    open_payouts: i64,
    n_unattributed: i64,
    n_unmatched: i64,
}

async fn load_checks(db: &mut PgConnection, params: &Params) -> Result<Checks, sqlx::Error> {
    sqlx::query_as!(
        Checks,
        r#"select
             (select coalesce(sum(-b.balance_minor), 0)::bigint
              from ledger_accounts a
              join ledger_balances b on b.program_id = a.program_id and b.account_id = a.account_id
              where a.program_id = $1 and a.currency = $2 and a.path like '%:in_transit')
                 as "in_transit!",
             (select coalesce(sum(p.amount_minor + p.vat_minor - p.withheld_minor), 0)::bigint
              from payouts p
              where p.program_id = $1 and p.currency = $2
                and p.status in ('draft', 'approved', 'processing')) as "open_payouts!",
             (select count(*)
              from conversions v
              where v.program_id = $1 and v.attribution not in ('click', 'coupon', 'customer')
                and not v.is_test
                and (v.currency = $2 or v.currency is null)
                and v.occurred_at >= $3 and v.occurred_at < $4
                and not exists (
                    select from commissions c
                    where c.program_id = v.program_id and c.conversion_id = v.conversion_id))
                 as "n_unattributed!",
             (select count(*)
              from payout_imports i
              join payout_batches b
                on b.program_id = i.program_id and b.payout_batch_id = i.payout_batch_id
              cross join lateral jsonb_to_recordset(i.verdicts) as r (verdict text)
              where i.program_id = $1 and b.currency = $2
                and i.created_at >= $3 and i.created_at < $4
                and r.verdict = any($5)) as "n_unmatched!""#,
        params.program_id.0,
        params.currency.code(),
        params.window.from,
        params.window.to,
        &UNMATCHED.map(str::to_owned),
    )
    .fetch_one(db)
    .await
}

fn does_not_fit(partner_id: PartnerId) -> ReportError {
    ReportError::BadFigure(format!("the balance of {partner_id} does not fit"))
}

fn row(m: Movements, rolled: RollForward, params: &Params) -> Vec<Cell> {
    let money = |minor| money_cell(minor, params.currency);
    vec![
        Cell::text(m.partner_id),
        Cell::Text(m.name),
        Cell::text(params.currency),
        money(m.pending_opening),
        money(m.accrued),
        money(m.rejected),
        money(rolled.pending_closing),
        money(m.opening),
        money(m.approved),
        money(m.bonuses),
        money(m.adjustments),
        money(m.reversed),
        money(m.clawed_back),
        money(rolled.reserved),
        money(m.paid),
        money(m.returned),
        money(m.written_off),
        money(rolled.closing),
        money(m.kept),
        money(rolled.difference),
    ]
}

fn summary(n_different: i64, checks: &Checks, params: &Params) -> Summary {
    let money = |minor| money_cell(minor, params.currency);
    // Neither can come near the limits: payouts are sums of amounts that fit twice.
    let residue = checks.in_transit.saturating_sub(checks.open_payouts);
    vec![
        ("partners_with_difference", Cell::Int(n_different)),
        ("in_transit", money(checks.in_transit)),
        ("in_transit_residue", money(residue)),
        ("unattributed_conversions", Cell::Int(checks.n_unattributed)),
        ("bank_answers_not_matched", Cell::Int(checks.n_unmatched)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Movements {
        Movements {
            pending_opening: 100,
            accrued: 1_000,
            rejected: 50,
            pending_kept: 350,
            opening: 20,
            approved: 700,
            bonuses: 10,
            adjustments: -5,
            reversed: 100,
            clawed_back: 30,
            set_aside: 400,
            paid: 300,
            returned: 60,
            written_off: 7,
            kept: 262,
            ..Movements::default()
        }
    }

    #[test]
    fn the_roll_forward_adds_up() {
        let rolled = roll_forward(&sound());
        let expected =
            RollForward { pending_closing: 350, reserved: 100, closing: 262, difference: 0 };
        assert_eq!(rolled, Some(expected));
    }

    #[test]
    fn money_paid_later_than_it_was_reserved_changes_no_balance() {
        let month_of_payment = Movements { set_aside: 0, paid: 300, ..Movements::default() };
        let rolled = roll_forward(&month_of_payment).unwrap();
        assert_eq!((rolled.reserved, rolled.closing, rolled.difference), (-300, 0, 0));
    }

    #[test]
    fn two_faults_do_not_hide_each_other() {
        let m = Movements { pending_kept: 351, kept: 261, ..sound() };
        assert_eq!(roll_forward(&m).map(|r| r.difference), Some(2));
    }

    #[test]
    fn what_does_not_fit_is_no_figure() {
        let m = Movements { opening: i64::MAX, approved: 1, ..Movements::default() };
        assert_eq!(roll_forward(&m), None);
    }
}
