//! SQL of adjustments.

use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::ids::{AdjustmentId, LedgerTransactionId, PartnerId, PayoutId, ProgramId, UserId};

/// An adjustment as it is kept.
#[derive(Clone, Debug)]
#[expect(
    missing_docs,
    reason = "the fields are the columns of the table, which says what they are"
)]
pub struct AdjustmentRow {
    pub program_id: ProgramId,
    pub adjustment_id: AdjustmentId,
    pub partner_id: PartnerId,
    pub kind: String,
    pub amount_minor: i64,
    pub currency: String,
    pub reason: String,
    pub note: Option<String>,
    pub ledger_transaction_id: LedgerTransactionId,
    pub payout_id: Option<PayoutId>,
    pub created_by: UserId,
    pub created_at: Timestamp,
}

/// Inserts an adjustment, posted a moment ago.
pub async fn insert_adjustment(
    db: &mut PgConnection,
    a: &AdjustmentRow,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into adjustments
             (program_id, adjustment_id, partner_id, kind, amount_minor, currency, reason, note,
              ledger_transaction_id, created_by, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        a.program_id.0,
        a.adjustment_id.0,
        a.partner_id.0,
        a.kind,
        a.amount_minor,
        a.currency,
        a.reason,
        a.note,
        a.ledger_transaction_id.0,
        a.created_by.0,
        a.created_at,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Lists adjustments of a program, the newest first.
pub async fn list_adjustments(
    db: &mut PgConnection,
    program_id: ProgramId,
    partner_id: Option<PartnerId>,
    before: Option<AdjustmentId>,
    limit: i64,
) -> Result<Vec<AdjustmentRow>, sqlx::Error> {
    sqlx::query_as!(
        AdjustmentRow,
        r#"select program_id as "program_id: ProgramId",
                  adjustment_id as "adjustment_id: AdjustmentId",
                  partner_id as "partner_id: PartnerId", kind, amount_minor, currency, reason,
                  note, ledger_transaction_id as "ledger_transaction_id: LedgerTransactionId",
                  payout_id as "payout_id: PayoutId", created_by as "created_by: UserId",
                  created_at
           from adjustments
           where program_id = $1
             and ($2::uuid is null or partner_id = $2)
             and ($3::uuid is null or adjustment_id < $3)
           order by adjustment_id desc
           limit $4"#,
        program_id.0,
        partner_id.map(|p| p.0),
        before.map(|b| b.0),
        limit,
    )
    .fetch_all(db)
    .await
}
