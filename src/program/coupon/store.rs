//! SQL of coupons.

use std::collections::HashMap;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::ids::{CouponId, PartnerId, PartnerNo, ProgramId, UserId};
use crate::program::coupon::CouponTerms;

/// A coupon as it lies in the table.
#[derive(Clone, Debug)]
pub struct Coupon {
    /// The program.
    pub program_id: ProgramId,
    /// Key of the row.
    pub coupon_id: CouponId,
    /// Whose it is.
    pub partner_id: PartnerId,
    /// As it was given.
    pub code: String,
    /// Since when it is in force.
    pub starts_at: Timestamp,
    /// When it ends.
    pub ends_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Which coupons to list; what is not given does not limit.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Of this program.
    pub program_id: ProgramId,
    /// Of this partner.
    pub partner_id: Option<PartnerId>,
    /// Those found by this key of a code.
    pub code_key: Option<String>,
    /// After this one, in the order of their making.
    pub after: Option<CouponId>,
}

/// Inserts a coupon that is found by `code_key`.
pub async fn insert(
    db: &mut PgConnection,
    coupon: &Coupon,
    code_key: &str,
    created_by: UserId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into coupons
             (program_id, coupon_id, partner_id, code, code_key, starts_at, ends_at, created_by,
              created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        coupon.program_id.0,
        coupon.coupon_id.0,
        coupon.partner_id.0,
        coupon.code,
        code_key,
        coupon.starts_at,
        coupon.ends_at,
        created_by.0,
        coupon.created_at,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Finds a coupon.
pub async fn find(
    db: &mut PgConnection,
    coupon_id: CouponId,
) -> Result<Option<Coupon>, sqlx::Error> {
    sqlx::query_as!(
        Coupon,
        r#"select program_id as "program_id: ProgramId", coupon_id as "coupon_id: CouponId",
                  partner_id as "partner_id: PartnerId", code, starts_at, ends_at, created_at
           from coupons
           where coupon_id = $1"#,
        coupon_id.0,
    )
    .fetch_optional(db)
    .await
}

/// Finds a coupon and keeps others from ending it until the transaction ends.
pub async fn lock(
    db: &mut PgConnection,
    coupon_id: CouponId,
) -> Result<Option<Coupon>, sqlx::Error> {
    sqlx::query_as!(
        Coupon,
        r#"select program_id as "program_id: ProgramId", coupon_id as "coupon_id: CouponId",
                  partner_id as "partner_id: PartnerId", code, starts_at, ends_at, created_at
           from coupons
           where coupon_id = $1
           for no key update"#,
        coupon_id.0,
    )
    .fetch_optional(db)
    .await
}

/// Lists coupons in the order of their making.
pub async fn list(
    db: &mut PgConnection,
    filter: &Filter,
    limit: i64,
) -> Result<Vec<Coupon>, sqlx::Error> {
    sqlx::query_as!(
        Coupon,
        r#"select program_id as "program_id: ProgramId", coupon_id as "coupon_id: CouponId",
                  partner_id as "partner_id: PartnerId", code, starts_at, ends_at, created_at
           from coupons
           where program_id = $1
             and ($2::uuid is null or partner_id = $2)
             and ($3::text is null or code_key = $3)
             and ($4::uuid is null or coupon_id > $4)
           order by coupon_id
           limit $5"#,
        filter.program_id.0,
        filter.partner_id.map(|partner| partner.0),
        filter.code_key,
        filter.after.map(|after| after.0),
        limit,
    )
    .fetch_all(db)
    .await
}

/// Says when a coupon ends.
pub async fn set_end(
    db: &mut PgConnection,
    (program_id, coupon_id): (ProgramId, CouponId),
    ends_at: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update coupons set ends_at = $3 where program_id = $1 and coupon_id = $2",
        program_id.0,
        coupon_id.0,
        ends_at,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Loads the coupons that are found by these keys of codes, whatever their time.
pub async fn load(
    db: &mut PgConnection,
    keys: &[(ProgramId, String)],
) -> Result<HashMap<(ProgramId, String), Vec<CouponTerms>>, sqlx::Error> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let (programs, codes): (Vec<Uuid>, Vec<String>) =
        keys.iter().map(|(program, code)| (program.0, code.clone())).unzip();
    let rows = sqlx::query!(
        r#"select c.program_id as "program_id: ProgramId", c.code_key, p.number, c.starts_at,
                  c.ends_at
           from coupons c
           join partners p on p.partner_id = c.partner_id
           where (c.program_id, c.code_key) in (select * from unnest($1::uuid[], $2::text[]))"#,
        &programs,
        &codes,
    )
    .fetch_all(db)
    .await?;
    let mut found: HashMap<_, Vec<CouponTerms>> = HashMap::new();
    for r in rows {
        let partner = PartnerNo(u32::try_from(r.number).unwrap_or(0));
        let terms = CouponTerms { partner, starts_at: r.starts_at, ends_at: r.ends_at };
        found.entry((r.program_id, r.code_key)).or_default().push(terms);
    }
    Ok(found)
}
