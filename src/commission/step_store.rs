//! SQL of steps: new commissions with how they began, rows that change, and what became of them since.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::commission::Commission;
use crate::commission::row::Step;
use crate::commission::state::CommissionState;
use crate::commission::store::ApplyError;
use crate::db::copy::{COPY_MIN, JsonText, Jsonb, RowFields, copy_rows};
use crate::ids::LedgerTransactionId;

/// A step with the id of what it posts.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) step: Step,
    pub(super) posted: Option<LedgerTransactionId>,
}

/// A commission that is opened.
#[derive(Debug)]
pub(super) struct Opened<'t> {
    /// How it began.
    pub(super) first: &'t Told,
    /// As it stands after all its steps.
    pub(super) last: &'t Commission,
}

/// Writes the rows of commissions that are opened.
pub(super) async fn insert_rows(
    db: &mut PgConnection,
    rows: Vec<Opened<'_>>,
) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    if rows.len() >= COPY_MIN {
        return copy_rows(db, COMMISSIONS, rows, write_row).await.map(drop);
    }
    let text = |f: fn(&Commission) -> String| rows.iter().map(|r| f(r.last)).collect::<Vec<_>>();
    let uuid = |f: fn(&Commission) -> Uuid| rows.iter().map(|r| f(r.last)).collect::<Vec<_>>();
    let time = |f: fn(&Commission) -> Timestamp| rows.iter().map(|r| f(r.last)).collect::<Vec<_>>();
    let first = || rows.iter().map(|r| r.first);
    let last = || rows.iter().map(|r| r.last);
    sqlx::query!(
        "insert into commissions
             (program_id, commission_id, kind, state, partner_id, conversion_id, corrects_id, cause,
              amount_minor, currency, plan_version_id, calculation, occurred_at, hold_until,
              approval, created_at, approved_at, reason, payout_id, revision, opened_state,
              opened_by, opened_rule, opened_note, opening_transaction_id)
         select * from unnest(
             $1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::uuid[], $6::uuid[], $7::uuid[],
             $8::text[], $9::bigint[], $10::text[], $11::uuid[], $12::jsonb[], $13::timestamptz[],
             $14::timestamptz[], $15::text[], $16::timestamptz[], $17::timestamptz[], $18::text[],
             $19::uuid[], $20::integer[], $21::text[], $22::text[], $23::text[], $24::text[],
             $25::uuid[])",
        &uuid(|c| c.program_id.0),
        &uuid(|c| c.commission_id.0),
        &text(|c| c.kind.code().to_owned()),
        &text(|c| c.state.code().to_owned()),
        &uuid(|c| c.partner_id.0),
        &last().map(|c| c.conversion_id.map(|i| i.0)).collect::<Vec<_>>() as &[Option<Uuid>],
        &last().map(|c| c.corrects_id.map(|i| i.0)).collect::<Vec<_>>() as &[Option<Uuid>],
        &text(|c| c.cause.clone()),
        &last().map(|c| c.amount.minor).collect::<Vec<_>>(),
        &text(|c| c.amount.currency.code().to_owned()),
        &last().map(|c| c.plan_version_id.map(|i| i.0)).collect::<Vec<_>>() as &[Option<Uuid>],
        &last().map(|c| &*c.calculation).collect::<Vec<_>>() as &[&serde_json::Value],
        &time(|c| c.occurred_at),
        &time(|c| c.hold_until),
        &text(|c| c.approval.code().to_owned()),
        &time(|c| c.created_at),
        &last().map(|c| c.approved_at).collect::<Vec<_>>() as &[Option<Timestamp>],
        &last().map(|c| c.reason.clone()).collect::<Vec<_>>() as &[Option<String>],
        &last().map(|c| c.payout_id.map(|i| i.0)).collect::<Vec<_>>() as &[Option<Uuid>],
        &last().map(|c| c.revision).collect::<Vec<_>>(),
        &first().map(|of| of.step.after.state.code().to_owned()).collect::<Vec<_>>(),
        &first().map(|of| of.step.by.actor.clone()).collect::<Vec<_>>(),
        &first().map(|of| of.step.by.rule.to_owned()).collect::<Vec<_>>(),
        &first().map(|of| of.step.by.note.clone()).collect::<Vec<_>>() as &[Option<String>],
        &first().map(|of| of.posted.map(|id| id.0)).collect::<Vec<_>>() as &[Option<Uuid>],
    )
    .execute(db)
    .await
    .map(drop)
}

/// The table with the columns that [`write_row`] fills.
const COMMISSIONS: &str = "commissions (program_id, commission_id, kind, state, partner_id, conversion_id, corrects_id, \
     cause, amount_minor, currency, plan_version_id, calculation, occurred_at, hold_until, \
     approval, created_at, approved_at, reason, payout_id, revision, opened_state, opened_by, \
     opened_rule, opened_note, opening_transaction_id)";

/// Writes what [`insert_rows`] inserts, as a row of a copy.
fn write_row(to: &mut RowFields<'_>, Opened { first, last: c }: Opened<'_>) {
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
    let Told { step, posted } = first;
    to.put(step.after.state.code()).put(&step.by.actor).put(step.by.rule);
    to.put(step.by.note.as_ref()).put(posted.map(|id| id.0));
}

/// Writes rows whose revision is still the one that was read.
pub(super) async fn update_rows(
    db: &mut PgConnection,
    rows: Vec<(i32, &Commission)>,
) -> Result<(), ApplyError> {
    if rows.is_empty() {
        return Ok(());
    }
    let n_rows = rows.len() as u64;
    let done = sqlx::query!(
        "update commissions c
         set state = n.state, amount_minor = n.amount_minor, hold_until = n.hold_until,
             approved_at = n.approved_at, reason = n.reason, payout_id = n.payout_id,
             calculation = n.calculation, revision = n.revision
         from unnest($1::uuid[], $2::uuid[], $3::integer[], $4::text[], $5::bigint[],
                     $6::timestamptz[], $7::timestamptz[], $8::text[], $9::uuid[], $10::jsonb[],
                     $11::integer[])
              as n (program_id, commission_id, revision_read, state, amount_minor, hold_until,
                    approved_at, reason, payout_id, calculation, revision)
         where c.program_id = n.program_id
           and c.commission_id = n.commission_id
           and c.revision = n.revision_read",
        &rows.iter().map(|(_, c)| c.program_id.0).collect::<Vec<_>>(),
        &rows.iter().map(|(_, c)| c.commission_id.0).collect::<Vec<_>>(),
        &rows.iter().map(|(read, _)| *read).collect::<Vec<_>>(),
        &rows.iter().map(|(_, c)| c.state.code().to_owned()).collect::<Vec<_>>(),
        &rows.iter().map(|(_, c)| c.amount.minor).collect::<Vec<_>>(),
        &rows.iter().map(|(_, c)| c.hold_until).collect::<Vec<_>>(),
        &rows.iter().map(|(_, c)| c.approved_at).collect::<Vec<_>>() as &[Option<Timestamp>],
        &rows.iter().map(|(_, c)| c.reason.clone()).collect::<Vec<_>>() as &[Option<String>],
        &rows.iter().map(|(_, c)| c.payout_id.map(|i| i.0)).collect::<Vec<_>>()
            as &[Option<Uuid>],
        &rows.iter().map(|(_, c)| &*c.calculation).collect::<Vec<_>>() as &[&serde_json::Value],
        &rows.iter().map(|(_, c)| c.revision).collect::<Vec<_>>(),
    )
    .execute(db)
    .await?;
    if done.rows_affected() == n_rows { Ok(()) } else { Err(ApplyError::Stale) }
}

/// Writes the steps that came after the opening into the history.
pub(super) async fn insert_history(
    db: &mut PgConnection,
    later: &[&Told],
) -> Result<(), sqlx::Error> {
    if later.is_empty() {
        return Ok(());
    }
    if later.len() >= COPY_MIN {
        return copy_rows(db, HISTORY, later, |to, told| write_step(to, told)).await.map(drop);
    }
    let steps = || later.iter().map(|told| &told.step);
    sqlx::query!(
        "insert into commission_history
             (program_id, commission_id, revision, from_state, to_state, at, actor, rule, reason,
              ledger_transaction_id)
         select * from unnest(
             $1::uuid[], $2::uuid[], $3::integer[], $4::text[], $5::text[], $6::timestamptz[],
             $7::text[], $8::text[], $9::text[], $10::uuid[])",
        &steps().map(|s| s.after.program_id.0).collect::<Vec<_>>(),
        &steps().map(|s| s.after.commission_id.0).collect::<Vec<_>>(),
        &steps().map(|s| s.after.revision).collect::<Vec<_>>(),
        &steps().map(|s| s.from.map(|f| f.code().to_owned())).collect::<Vec<_>>()
            as &[Option<String>],
        &steps().map(|s| s.after.state.code().to_owned()).collect::<Vec<_>>(),
        &steps().map(|s| s.by.at).collect::<Vec<_>>(),
        &steps().map(|s| s.by.actor.clone()).collect::<Vec<_>>(),
        &steps().map(|s| s.by.rule.to_owned()).collect::<Vec<_>>(),
        &steps().map(|s| s.by.note.clone()).collect::<Vec<_>>() as &[Option<String>],
        &later.iter().map(|told| told.posted.map(|id| id.0)).collect::<Vec<_>>()
            as &[Option<Uuid>],
    )
    .execute(db)
    .await
    .map(drop)
}

/// The table with the columns that [`write_step`] fills.
const HISTORY: &str = "commission_history (program_id, commission_id, revision, from_state, to_state, at, actor, rule, \
     reason, ledger_transaction_id)";

/// Writes what [`insert_history`] inserts, as a row of a copy.
fn write_step(to: &mut RowFields<'_>, told: &Told) {
    let Step { after, from, by, .. } = &told.step;
    to.put(after.program_id.0).put(after.commission_id.0).put(after.revision);
    to.put(from.map(CommissionState::code)).put(after.state.code());
    to.put(by.at).put(&by.actor).put(by.rule).put(by.note.as_ref());
    to.put(told.posted.map(|id| id.0));
}
