//! SQL of what attribution must know beside the click id: coupons, and whose customers are.

use std::collections::{BTreeSet, HashMap};

use sqlx::PgConnection;
use uuid::Uuid;

use crate::ids::{PartnerNo, ProgramId};
use crate::program::coupon;
use crate::settlement::Message;
use crate::settlement::attribution::Owner;
use crate::settlement::attribution::known::{CustomerKey, Known, Protection};

/// Loads what attribution must know of the coupons and customers that messages name.
pub async fn load_known(db: &mut PgConnection, messages: &[Message]) -> Result<Known, sqlx::Error> {
    let keys: BTreeSet<(ProgramId, String)> = messages
        .iter()
        .filter_map(|m| Some((m.program_id, coupon::key(m.report.coupon_code.as_deref()?))))
        .collect();
    let keys: Vec<_> = keys.into_iter().collect();
    Ok(Known {
        coupons: coupon::store::load(&mut *db, &keys).await?,
        protections: load_protections(db, messages).await?,
    })
}

async fn load_protections(
    db: &mut PgConnection,
    messages: &[Message],
) -> Result<HashMap<CustomerKey, Protection>, sqlx::Error> {
    let customers: BTreeSet<CustomerKey> =
        messages.iter().filter_map(|m| Some((m.program_id, m.report.customer_hash?))).collect();
    if customers.is_empty() {
        return Ok(HashMap::new());
    }
    let (programs, hashes): (Vec<Uuid>, Vec<Vec<u8>>) =
        customers.into_iter().map(|(program, hash)| (program.0, hash.to_vec())).unzip();
    let rows = sqlx::query!(
        r#"select c.program_id as "program_id: ProgramId", c.customer_hash, p.number, c.since,
                  c.until
           from protected_customers c
           join partners p on p.partner_id = c.partner_id
           where (c.program_id, c.customer_hash) in (
               select * from unnest($1::uuid[], $2::bytea[]))"#,
        &programs,
        &hashes,
    )
    .fetch_all(db)
    .await?;
    let owner = |number: i64, since| Owner {
        partner: PartnerNo(u32::try_from(number).unwrap_or(0)),
        since,
    };
    Ok(rows
        .into_iter()
        .filter_map(|r| {
            let hash: [u8; 32] = r.customer_hash.try_into().ok()?;
            let protection = Protection { owner: owner(r.number, r.since), until: r.until };
            Some(((r.program_id, hash), protection))
        })
        .collect())
}
