//! SQL of protected customers.

use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::ids::{PartnerId, ProgramId};

/// Whose customer somebody is, and until when.
#[derive(Clone, Debug)]
pub struct Protection {
    /// Keyed hash of the shop's name of the customer.
    pub customer_hash: Vec<u8>,
    /// Whose.
    pub partner_id: PartnerId,
    /// Since when.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
}

/// Finds who protects a customer at a time.
pub async fn find(
    db: &mut PgConnection,
    program_id: ProgramId,
    customer_hash: &[u8],
    now: Timestamp,
) -> Result<Option<Protection>, sqlx::Error> {
    sqlx::query_as!(
        Protection,
        r#"select customer_hash, partner_id as "partner_id: PartnerId", since, until
           from protected_customers
           where program_id = $1 and customer_hash = $2 and until > $3"#,
        program_id.0,
        customer_hash,
        now,
    )
    .fetch_optional(db)
    .await
}

/// Gives a customer to a partner and returns since when it has it; none when another one's
/// protection still holds.
pub async fn protect(
    db: &mut PgConnection,
    program_id: ProgramId,
    p: &Protection,
) -> Result<Option<Timestamp>, sqlx::Error> {
    sqlx::query_scalar!(
        "insert into protected_customers (program_id, customer_hash, partner_id, since, until)
         values ($1, $2, $3, $4, $5)
         on conflict on constraint protected_customers_pkey do update
         set partner_id = excluded.partner_id, until = excluded.until,
             -- Protected again before its end, it has been the partner's all the time.
             since = case when protected_customers.partner_id = excluded.partner_id
                           and protected_customers.until > excluded.since
                          then protected_customers.since else excluded.since end
         where protected_customers.partner_id = excluded.partner_id
            or protected_customers.until <= excluded.since
         returning since",
        program_id.0,
        p.customer_hash,
        p.partner_id.0,
        p.since,
        p.until,
    )
    .fetch_optional(db)
    .await
}

/// Lists the customers that a partner protects at a time.
pub async fn list(
    db: &mut PgConnection,
    (program_id, partner_id): (ProgramId, PartnerId),
    now: Timestamp,
    after: Option<Vec<u8>>,
    limit: i64,
) -> Result<Vec<Protection>, sqlx::Error> {
    sqlx::query_as!(
        Protection,
        r#"select customer_hash, partner_id as "partner_id: PartnerId", since, until
           from protected_customers
           where program_id = $1 and partner_id = $2 and until > $3
             and ($4::bytea is null or customer_hash > $4)
           order by customer_hash
           limit $5"#,
        program_id.0,
        partner_id.0,
        now,
        after,
        limit,
    )
    .fetch_all(db)
    .await
}
