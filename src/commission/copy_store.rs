//! SQL of many new commissions, the same rows as the store inserts, by COPY; and of their history.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::commission::Commission;
use crate::commission::row::Step;
use crate::commission::state::CommissionState;
use crate::db::copy::{COPY_MIN, JsonText, Jsonb, RowFields, copy_rows};
use crate::ids::LedgerTransactionId;
use crate::ledger::LedgerTransaction;

/// Writes new commissions.
pub(super) async fn copy_commissions(
    db: &mut PgConnection,
    rows: Vec<&Commission>,
) -> Result<(), sqlx::Error> {
    copy_rows(db, COMMISSIONS, rows, write_row).await.map(drop)
}

/// The table with the columns that [`write_row`] fills.
const COMMISSIONS: &str = "commissions (program_id, commission_id, kind, state, partner_id, conversion_id, corrects_id, \
     cause, amount_minor, currency, plan_version_id, calculation, occurred_at, hold_until, \
     approval, created_at, approved_at, reason, payout_id, revision)";

fn write_row(to: &mut RowFields<'_>, c: &Commission) {
    to.put(c.program_id.0).put(c.commission_id.0).put(c.kind.code()).put(c.state.code());
    to.put(c.partner_id.0).put(c.conversion_id.map(|id| id.0)).put(c.corrects_id.map(|id| id.0));
    to.put(&c.cause).put(c.amount.minor).put(c.amount.currency.code());
    to.put(c.plan_version_id.map(|id| id.0));
    match c.calculation.text() {
        Some(text) => to.put(JsonText(text)),
        None => to.put(Jsonb(&*c.calculation)),
    };
    to.put(c.occurred_at).put(c.hold_until).put(c.approval.code()).put(c.created_at);
    to.put(c.approved_at).put(c.reason.as_ref()).put(c.payout_id.map(|id| id.0)).put(c.revision);
}

/// Writes steps into the history, each with what it posted.
pub(super) async fn insert_history(
    db: &mut PgConnection,
    steps: &[Step],
    drafted: &[LedgerTransaction],
) -> Result<(), sqlx::Error> {
    let mut ids = drafted.iter().map(|transaction| transaction.id);
    let posted: Vec<Option<LedgerTransactionId>> =
        steps.iter().map(|s| s.posting.as_ref().and_then(|_| ids.next())).collect();
    if steps.len() >= COPY_MIN {
        return copy_history(db, steps.iter().zip(posted)).await;
    }
    sqlx::query!(
        "insert into commission_history
             (program_id, commission_id, revision, from_state, to_state, at, actor, rule, reason,
              ledger_transaction_id)
         select * from unnest(
             $1::uuid[], $2::uuid[], $3::integer[], $4::text[], $5::text[], $6::timestamptz[],
             $7::text[], $8::text[], $9::text[], $10::uuid[])",
        &steps.iter().map(|s| s.after.program_id.0).collect::<Vec<_>>(),
        &steps.iter().map(|s| s.after.commission_id.0).collect::<Vec<_>>(),
        &steps.iter().map(|s| s.after.revision).collect::<Vec<_>>(),
        &steps.iter().map(|s| s.from.map(|f| f.code().to_owned())).collect::<Vec<_>>()
            as &[Option<String>],
        &steps.iter().map(|s| s.after.state.code().to_owned()).collect::<Vec<_>>(),
        &steps.iter().map(|s| s.by.at).collect::<Vec<_>>(),
        &steps.iter().map(|s| s.by.actor.clone()).collect::<Vec<_>>(),
        &steps.iter().map(|s| s.by.rule.to_owned()).collect::<Vec<_>>(),
        &steps.iter().map(|s| s.by.note.clone()).collect::<Vec<_>>() as &[Option<String>],
        &posted.iter().map(|id| id.map(|id| id.0)).collect::<Vec<_>>() as &[Option<Uuid>],
    )
    .execute(db)
    .await
    .map(drop)
}

const HISTORY: &str = "commission_history (program_id, commission_id, revision, from_state, to_state, at, actor, rule, \
     reason, ledger_transaction_id)";

async fn copy_history(
    db: &mut PgConnection,
    rows: impl Iterator<Item = (&Step, Option<LedgerTransactionId>)>,
) -> Result<(), sqlx::Error> {
    let write = |to: &mut RowFields<'_>, (step, transaction): (&Step, Option<_>)| {
        let (after, by) = (&step.after, &step.by);
        to.put(after.program_id.0).put(after.commission_id.0).put(after.revision);
        to.put(step.from.map(CommissionState::code)).put(after.state.code());
        to.put(by.at).put(&by.actor).put(by.rule).put(by.note.as_ref());
        to.put(transaction.map(|id: LedgerTransactionId| id.0));
    };
    copy_rows(db, HISTORY, rows, write).await.map(drop)
}
