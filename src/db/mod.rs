//! PostgreSQL: the pool, migrations, and answers to named constraints.
//!
//! A [`DbTx`] is a database transaction. Its `begin` is not safe to cancel in sqlx 0.9 (a dropped
//! future can leave a pooled connection inside an open transaction), so request handlers never
//! hold one: they go through [`crate::web::transact`], which runs the work in a task of its own.
//! As a second wall the pool refuses to take back a connection that is still in a transaction.

pub mod copy;
#[cfg(test)]
pub(crate) mod jsonb_order;

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, Executor as _, PgConnection, Postgres, Row as _};

/// The pool of connections.
pub type Db = sqlx::PgPool;

/// A database transaction.
pub type DbTx = sqlx::Transaction<'static, Postgres>;

/// Every migration, in order; compiled into the program.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// The role that the service works as: it owns nothing.
pub const SERVICE_ROLE: &str = "tributary_service";

/// How long a request may wait for a connection before it answers 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// What a statement behind the scenes may hold in memory: the rows that a trigger sees of ten thousand
/// commissions are 13 MB, and with less they go to a file and back.
const BATCH_MEMORY: &str = "32MB";

/// Returns a pool that connects when first used, so that the service starts with PostgreSQL down.
pub fn connect_lazily(url: &str, connections_max: u32) -> Result<Db, sqlx::Error> {
    Ok(pool_of(connect_options(url)?, connections_max))
}

/// Returns the same for work behind the scenes, whose statements write thousands of rows.
pub fn connect_for_batches(url: &str, connections_max: u32) -> Result<Db, sqlx::Error> {
    Ok(pool_of(connect_options(url)?.options([("work_mem", BATCH_MEMORY)]), connections_max))
}

fn connect_options(url: &str) -> Result<PgConnectOptions, sqlx::Error> {
    Ok(PgConnectOptions::from_str(url)?
        .application_name("tributary")
        .disable_statement_logging()
        .options([("idle_in_transaction_session_timeout", "10s"), ("lock_timeout", "10s")]))
}

fn pool_of(options: PgConnectOptions, connections_max: u32) -> Db {
    PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_release(|connection, _| Box::pin(async move { is_idle(connection).await }))
        .connect_lazy_with(options)
}

/// Tells whether a connection that comes back to the pool is outside any transaction.
///
/// `now()` stands still inside a transaction and `statement_timestamp()` does not, so outside of
/// one they agree. Asked in one message: a prepared statement comes in several, each with a time of
/// its own, and every connection would be thrown away after its first use.
async fn is_idle(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let asked = sqlx::raw_sql("select now() = statement_timestamp()");
    connection.fetch_one(asked).await?.try_get(0)
}

/// Runs the migrations that are still missing. Several instances may start at once: sqlx takes a lock.
pub async fn migrate(url: &str) -> anyhow::Result<()> {
    let mut connection = PgConnectOptions::from_str(url)?.connect().await?;
    MIGRATIONS.run(&mut connection).await?;
    Ok(())
}

/// Runs the migrations of a folder that are still missing: what a changed query is checked against
/// while the program that holds it does not build yet.
pub async fn migrate_from(url: &str, dir: &std::path::Path) -> anyhow::Result<()> {
    let mut connection = PgConnectOptions::from_str(url)?.connect().await?;
    sqlx::migrate::Migrator::new(dir).await?.run(&mut connection).await?;
    Ok(())
}

/// The database of a private PostgreSQL, which `tributary dev` starts.
pub const DEV_DATABASE: &str = "tributary";

/// Makes [`DEV_DATABASE`] and lets the service's role log in, on a private PostgreSQL.
pub async fn ensure_dev_database(owner_url: &str) -> Result<(), sqlx::Error> {
    let mut owner = PgConnectOptions::from_str(owner_url)?.connect().await?;
    if !exists(&mut owner, "select from pg_database where datname = $1", DEV_DATABASE).await? {
        owner.execute("create database tributary").await?;
    }
    if !exists(&mut owner, "select from pg_roles where rolname = $1", SERVICE_ROLE).await? {
        owner.execute("create role tributary_service").await?;
    }
    owner.execute("alter role tributary_service login").await.map(drop_result)
}

async fn exists(
    owner: &mut PgConnection,
    sql: &'static str,
    name: &str,
) -> Result<bool, sqlx::Error> {
    Ok(sqlx::query(sql).bind(name).fetch_optional(owner).await?.is_some())
}

/// Drops [`DEV_DATABASE`] with all that is in it, on a private PostgreSQL.
pub async fn drop_dev_database(owner_url: &str) -> Result<(), sqlx::Error> {
    let mut owner = PgConnectOptions::from_str(owner_url)?.connect().await?;
    owner.execute("drop database if exists tributary with (force)").await.map(drop_result)
}

fn drop_result(_: sqlx::postgres::PgQueryResult) {}

/// Tells whether the schema is at least as new as this program needs.
pub async fn is_migrated(db: &Db) -> Result<bool, sqlx::Error> {
    let newest: Option<i64> =
        sqlx::query_scalar("select max(version) from _sqlx_migrations where success")
            .fetch_one(db)
            .await?;
    Ok(newest >= MIGRATIONS.iter().map(|m| m.version).max())
}

/// Asks for one row: is PostgreSQL there at all.
pub async fn ping(db: &Db) -> Result<(), sqlx::Error> {
    db.execute("select 1").await.map(drop)
}

/// Returns the name of the constraint that refused a statement, if one did.
pub fn broken_constraint(error: &sqlx::Error) -> Option<&str> {
    error.as_database_error().and_then(|e| e.constraint())
}
