//! SQL of what partners are owed and no payout holds.

use std::collections::{BTreeMap, HashMap};

use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::commission::state::Standing;
use crate::ids::{AdjustmentId, CommissionId, PartnerId, ProgramId};
use crate::money::{Currency, Money};

/// Locks the head of a program's ledger.
///
/// Whoever changes an approved commission takes this lock before the commission's own, so a batch
/// must too: the other order would let the two wait for each other.
pub async fn lock_ledger(db: &mut PgConnection, program_id: ProgramId) -> Result<(), sqlx::Error> {
    sqlx::query!("select sequence from ledger_heads where program_id = $1 for update", program_id.0)
        .fetch_optional(db)
        .await
        .map(drop)
}

/// Locks what is owed and in no payout: commissions approved up to the cut-off, by partner.
pub async fn lock_owed(
    db: &mut PgConnection,
    program_id: ProgramId,
    currency: Currency,
    cutoff_at: Timestamp,
    limit: i64,
) -> Result<Vec<CommissionId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select commission_id as "commission_id: CommissionId"
           from commissions
           where program_id = $1
             and currency = $2
             and state = 'approved'
             and payout_id is null
             and approved_at <= $3
           order by partner_id, commission_id
           limit $4
           for update"#,
        program_id.0,
        currency.code(),
        cutoff_at,
        limit,
    )
    .fetch_all(db)
    .await
}

/// Locks the adjustments that no payout holds, made up to the cut-off, by partner.
pub async fn lock_adjustments(
    db: &mut PgConnection,
    program_id: ProgramId,
    currency: Currency,
    cutoff_at: Timestamp,
    limit: i64,
) -> Result<BTreeMap<PartnerId, Vec<(AdjustmentId, Money)>>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select partner_id as "partner_id: PartnerId",
                  adjustment_id as "adjustment_id: AdjustmentId", amount_minor
           from adjustments
           where program_id = $1 and currency = $2 and payout_id is null and created_at <= $3
           order by partner_id, adjustment_id
           limit $4
           for update"#,
        program_id.0,
        currency.code(),
        cutoff_at,
        limit,
    )
    .fetch_all(db)
    .await?;
    let mut by_partner: BTreeMap<PartnerId, Vec<_>> = BTreeMap::new();
    for row in rows {
        let amount = Money::new(row.amount_minor, currency);
        by_partner.entry(row.partner_id).or_default().push((row.adjustment_id, amount));
    }
    Ok(by_partner)
}

/// What a program says about paying a partner.
#[derive(Clone, Copy, Debug)]
pub struct Enrolled {
    /// Whether the partner may be paid.
    pub standing: Standing,
    /// The partner's own smallest payout, minor units of the program's currency.
    pub min_payout_minor: Option<i64>,
}

/// Loads the terms of partners. Who left the program is still paid what was earned.
pub async fn load_enrolled(
    db: &mut PgConnection,
    program_id: ProgramId,
    partners: &[PartnerId],
) -> Result<HashMap<PartnerId, Enrolled>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select e.partner_id as "partner_id: PartnerId", e.min_payout_minor,
                  p.status = 'active' and e.status in ('active', 'ended') as "is_good!"
           from enrollments e
           join partners p on p.partner_id = e.partner_id
           where e.program_id = $1 and e.partner_id = any($2)"#,
        program_id.0,
        &partners.iter().map(|p| p.0).collect::<Vec<_>>(),
    )
    .fetch_all(db)
    .await?;
    let terms = rows.into_iter().map(|r| {
        let standing = if r.is_good { Standing::Good } else { Standing::Blocked };
        (r.partner_id, Enrolled { standing, min_payout_minor: r.min_payout_minor })
    });
    Ok(terms.collect())
}
