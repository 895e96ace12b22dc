//! SQL of orders: which of them a batch keeps from others, and how they are named in a question.

use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::ids::ProgramId;
use crate::settlement::OrderKey;
use crate::settlement::attribution::known::CustomerKey;

/// What keeps others away from the orders of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locks {
    /// Each order, so that batches of different shards go on beside each other.
    OfOrders,
    /// All orders of its programs at once: where nobody settles beside it, that is less to do.
    OfPrograms,
}

/// Orders and customers that one batch locks one by one, at most: PostgreSQL has room for some
/// thousand locks (`max_locks_per_transaction`), and a batch that finds none would fail for ever.
const LOCKS_MAX: usize = 2_000;

/// Puts settlers of different shards in line where they meet on an order or on a customer who may be
/// bound: a refund that looked for its conversion while that was being written would wait for it for
/// ever, and a sale beside its lead would stay nobody's. Always in one order, so two batches cannot
/// lock each other out. Of whole programs the keys are not asked.
pub(super) async fn lock_orders(
    db: &mut PgConnection,
    locks: Locks,
    programs: &[ProgramId],
    keys: &[OrderKey],
    customers: &[CustomerKey],
) -> Result<(), sqlx::Error> {
    let programs: Vec<String> = programs.iter().map(ToString::to_string).collect();
    if locks == Locks::OfPrograms || keys.len() + customers.len() > LOCKS_MAX {
        return lock(db, &programs).await;
    }
    lock_shared(db, &programs).await?;
    let named = |k: &OrderKey| json(&(k.program_id, &k.order_namespace, &k.event, &k.dedup_ref));
    let names: Vec<String> = keys.iter().map(named).chain(customers.iter().map(json)).collect();
    lock(db, &names).await
}

fn json(name: &impl Serialize) -> String {
    serde_json::to_string(name).expect("a list of texts and numbers")
}

async fn lock(db: &mut PgConnection, names: &[String]) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"select pg_advisory_xact_lock(o.lock) as "locked: ()"
           from (select distinct hashtextextended(n.name, 0) as lock
                 from unnest($1::text[]) as n (name)
                 order by 1) o"#,
        names,
    )
    .fetch_all(db)
    .await
    .map(drop)
}

/// Keeps those away who want all orders of a program, and nobody else.
async fn lock_shared(db: &mut PgConnection, programs: &[String]) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"select pg_advisory_xact_lock_shared(o.lock) as "locked: ()"
           from (select distinct hashtextextended(n.name, 0) as lock
                 from unnest($1::text[]) as n (name)
                 order by 1) o"#,
        programs,
    )
    .fetch_all(db)
    .await
    .map(drop)
}

/// Keys in columns, for `unnest`.
#[derive(Clone, Default)]
pub(super) struct Columns {
    pub(super) programs: Vec<Uuid>,
    pub(super) namespaces: Vec<String>,
    pub(super) events: Vec<String>,
    pub(super) refs: Vec<String>,
}

impl Columns {
    pub(super) fn of(keys: &[OrderKey]) -> Self {
        Self {
            programs: keys.iter().map(|k| k.program_id.0).collect(),
            namespaces: keys.iter().map(|k| k.order_namespace.clone()).collect(),
            events: keys.iter().map(|k| k.event.clone()).collect(),
            refs: keys.iter().map(|k| k.dedup_ref.clone()).collect(),
        }
    }
}
