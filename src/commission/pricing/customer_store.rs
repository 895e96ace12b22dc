//! SQL of customers: when each first bought, and what was earned before that was known.

use std::collections::{BTreeMap, HashMap};

use sqlx::PgConnection;

use super::PURCHASES;
use crate::clock::Timestamp;
use crate::ids::ProgramId;

/// Puts settlers of different shards in line where they meet on a customer: two that price its
/// first purchases at the same time would both take it for new.
pub(super) async fn lock_customers(
    db: &mut PgConnection,
    customers: &[&(ProgramId, [u8; 32])],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"select pg_advisory_xact_lock(o.lock) as "locked: ()"
           from (select distinct hashtextextended(n.program_id::text, 0)
                            # hashtextextended(encode(n.customer_hash, 'hex'), 1) as lock
                 from unnest($1::uuid[], $2::bytea[]) as n (program_id, customer_hash)
                 order by 1) o"#,
        &customers.iter().map(|c| c.0.0).collect::<Vec<_>>(),
        &customers.iter().map(|c| c.1.to_vec()).collect::<Vec<_>>(),
    )
    .fetch_all(db)
    .await
    .map(drop)
}

/// Marks what was earned of these customers after the given times: it was priced before their first
/// purchase was known.
pub async fn mark_customers(
    db: &mut PgConnection,
    moved: &BTreeMap<(ProgramId, [u8; 32]), Timestamp>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into plan_marks (program_id, partner_id, from_at)
         select c.program_id, c.partner_id, min(c.occurred_at)
         from unnest($1::uuid[], $2::bytea[], $3::timestamptz[])
             as n (program_id, customer_hash, first_at)
         join conversions v
             on v.program_id = n.program_id and v.customer_hash = n.customer_hash
             and v.occurred_at > n.first_at
         join commissions c
             on c.program_id = v.program_id and c.conversion_id = v.conversion_id
             and c.kind = 'earned' and c.state not in ('rejected', 'reversed')
         group by c.program_id, c.partner_id",
        &moved.keys().map(|key| key.0.0).collect::<Vec<_>>(),
        &moved.keys().map(|key| key.1.to_vec()).collect::<Vec<_>>(),
        &moved.values().copied().collect::<Vec<_>>(),
    )
    .execute(db)
    .await
    .map(drop)
}

/// Loads when these customers first bought, as far as it is known.
pub async fn load_customers(
    db: &mut PgConnection,
    customers: &[&(ProgramId, [u8; 32])],
) -> Result<HashMap<(ProgramId, [u8; 32]), Timestamp>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select c.program_id as "program_id: ProgramId", c.customer_hash as "customer_hash!",
                  min(c.occurred_at) as "first_at!"
           from conversions c
           where (c.program_id, c.customer_hash) in (select * from unnest($1::uuid[], $2::bytea[]))
             and c.event = any($3)
             and not c.is_test
           group by c.program_id, c.customer_hash"#,
        &customers.iter().map(|c| c.0.0).collect::<Vec<_>>(),
        &customers.iter().map(|c| c.1.to_vec()).collect::<Vec<_>>(),
        &PURCHASES.map(str::to_owned),
    )
    .fetch_all(db)
    .await?;
    let known = rows.into_iter().filter_map(|r| {
        let hash: [u8; 32] = r.customer_hash.try_into().ok()?;
        Some(((r.program_id, hash), r.first_at))
    });
    Ok(known.collect())
}
