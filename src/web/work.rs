//! Database work of a handler, in a task of its own.
//!
//! When a client resets its connection, actix-web drops the handler's future where it stands. A
//! transaction whose `begin` is dropped can leave its connection inside a transaction, which the
//! next borrower then runs in (sqlx 0.9). So no handler awaits the database itself: the work runs
//! in a task that ends in its own time, and the handler only waits for it.

use std::future::Future;

use actix_web::rt;

use super::{Code, Problem};
use crate::db::{Db, DbTx};

/// Runs work in a task of its own and waits for it.
pub async fn detached<T: 'static>(
    work: impl Future<Output = Result<T, Problem>> + 'static,
) -> Result<T, Problem> {
    rt::spawn(work).await.map_err(Problem::internal)?
}

/// Runs work in one database transaction: committed if it succeeds, else rolled back.
pub async fn transact<T: 'static>(
    db: &Db,
    work: impl AsyncFnOnce(&mut DbTx) -> Result<T, Problem> + 'static,
) -> Result<T, Problem> {
    let db = db.clone();
    detached(async move {
        let mut db_tx = db.begin().await?;
        let done = work(&mut db_tx).await;
        match done {
            Ok(value) => {
                db_tx.commit().await?;
                Ok(value)
            }
            Err(problem) => {
                db_tx.rollback().await?;
                Err(problem)
            }
        }
    })
    .await
}

impl From<sqlx::Error> for Problem {
    /// PostgreSQL that cannot be reached is a passing state; anything else is ours.
    fn from(error: sqlx::Error) -> Self {
        let is_down = matches!(
            error,
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Io(_)
        ) || error.as_database_error().is_some_and(|e| {
            // Class 57: operator intervention (shutdown, cannot connect now); 53: out of resources.
            e.code().is_some_and(|code| code.starts_with("57P") || code.starts_with("53"))
        });
        if is_down {
            tracing::warn!("PostgreSQL is not there: {error}");
            return Self::new(Code::Unavailable)
                .detail("The database cannot be reached; nothing was stored.")
                .retry_after(2);
        }
        Self::internal(error)
    }
}
