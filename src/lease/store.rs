//! SQL of leases. Rows that are locked belong to a batch under way: whoever renews, gives up or
//! takes passes them by instead of waiting.

use sqlx::PgConnection;

use super::{Epochs, LIFETIME, Lease};

/// For how long from now, in milliseconds.
fn lifetime_ms() -> i64 {
    i64::try_from(LIFETIME.as_millis()).unwrap_or(i64::MAX)
}

fn whole(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn item(number: i32) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

/// Makes the items of a pool that are not there yet.
pub async fn make_items(
    db: &mut PgConnection,
    pool: &str,
    n_items: u16,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into leases (pool, item, expires_at)
         select $1, n, '-infinity' from generate_series(0, $2::integer - 1) as n
         on conflict on constraint leases_pkey do nothing",
        pool,
        i32::from(n_items),
    )
    .execute(db)
    .await
    .map(drop)
}

/// Says that a member is there, forgets those that have long gone, and counts who is there.
pub async fn join(db: &mut PgConnection, pool: &str, owner: &str) -> Result<usize, sqlx::Error> {
    sqlx::query!(
        "insert into lease_members (pool, owner, expires_at)
         values ($1, $2, clock_timestamp() + $3::bigint * interval '1 millisecond')
         on conflict on constraint lease_members_pkey
             do update set expires_at = excluded.expires_at",
        pool,
        owner,
        lifetime_ms(),
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        "delete from lease_members
         where pool = $1 and expires_at < clock_timestamp() - interval '1 minute'",
        pool,
    )
    .execute(&mut *db)
    .await?;
    let n_members = sqlx::query_scalar!(
        r#"select count(*) as "n!" from lease_members
           where pool = $1 and expires_at > clock_timestamp()"#,
        pool,
    )
    .fetch_one(db)
    .await?;
    Ok(usize::try_from(n_members).unwrap_or(0))
}

/// Renews what an owner holds and returns it. What a batch of its own has locked cannot be taken
/// from it meanwhile and needs no renewal.
pub async fn renew(db: &mut PgConnection, pool: &str, owner: &str) -> Result<Epochs, sqlx::Error> {
    sqlx::query!(
        "with mine as materialized (
             select item from leases where pool = $1 and owner = $2 for update skip locked
         )
         update leases l
         set expires_at = clock_timestamp() + $3::bigint * interval '1 millisecond'
         from mine
         where l.pool = $1 and l.item = mine.item",
        pool,
        owner,
        lifetime_ms(),
    )
    .execute(&mut *db)
    .await?;
    let rows =
        sqlx::query!("select item, epoch from leases where pool = $1 and owner = $2", pool, owner,)
            .fetch_all(db)
            .await?;
    Ok(rows.into_iter().map(|row| (item(row.item), row.epoch)).collect())
}

/// Gives up to `n` items up and returns which.
pub async fn release(
    db: &mut PgConnection,
    pool: &str,
    owner: &str,
    n: usize,
) -> Result<Vec<u16>, sqlx::Error> {
    let rows = sqlx::query_scalar!(
        "with given as materialized (
             select item from leases where pool = $1 and owner = $2
             order by item desc limit $3 for update skip locked
         )
         update leases l set owner = null
         from given
         where l.pool = $1 and l.item = given.item
         returning l.item",
        pool,
        owner,
        whole(n),
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(item).collect())
}

/// Takes up to `n` items of the first `n_items` that nobody holds, and returns them.
pub async fn claim(
    db: &mut PgConnection,
    pool: &str,
    owner: &str,
    n: usize,
    n_items: u16,
) -> Result<Epochs, sqlx::Error> {
    let rows = sqlx::query!(
        "with free as materialized (
             select item from leases
             where pool = $1 and item < $4 and (owner is null or expires_at < clock_timestamp())
             order by item limit $3 for update skip locked
         )
         update leases l
         set owner = $2, epoch = l.epoch + 1,
             expires_at = clock_timestamp() + $5::bigint * interval '1 millisecond'
         from free
         where l.pool = $1 and l.item = free.item
         returning l.item, l.epoch",
        pool,
        owner,
        whole(n),
        i32::from(n_items),
        lifetime_ms(),
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (item(row.item), row.epoch)).collect())
}

/// Gives everything up; a batch under way ends first.
pub async fn leave(db: &mut PgConnection, pool: &str, owner: &str) -> Result<(), sqlx::Error> {
    sqlx::query!("update leases set owner = null where pool = $1 and owner = $2", pool, owner)
        .execute(&mut *db)
        .await?;
    sqlx::query!("delete from lease_members where pool = $1 and owner = $2", pool, owner)
        .execute(db)
        .await
        .map(drop)
}

/// Tells whether a lease still holds, and keeps it from being taken until the transaction ends.
pub async fn is_held(db: &mut PgConnection, lease: &Lease) -> Result<bool, sqlx::Error> {
    let found = sqlx::query_scalar!(
        "select item from leases
         where pool = $1 and item = $2 and owner = $3 and epoch = $4
         for share",
        lease.pool,
        i32::from(lease.item),
        lease.owner,
        lease.epoch,
    )
    .fetch_optional(db)
    .await?;
    Ok(found.is_some())
}
