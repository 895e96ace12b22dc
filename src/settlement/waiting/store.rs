//! SQL of messages that wait for their conversion.

use std::sync::Arc;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::ids::{DeadLetterId, ProgramId, ReceiptId};
use crate::settlement::order_store::Columns;
use crate::settlement::{Message, OrderKey, record};
use crate::stream::{ConversionRecord, PackedBatch};

/// How many messages wait in all programs, and since when the oldest.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    /// Messages.
    pub n_waiting: i64,
    /// Since when the oldest one waits.
    pub oldest_since: Option<Timestamp>,
}

/// Counts the messages of programs that wait, each as far as `places`.
pub async fn count_waiting(
    db: &mut PgConnection,
    programs: &[ProgramId],
    places: i64,
) -> Result<Vec<(ProgramId, i64)>, sqlx::Error> {
    let ids: Vec<Uuid> = programs.iter().map(|p| p.0).collect();
    let rows = sqlx::query!(
        r#"select p.program_id as "program_id!: ProgramId", w.n as "n!"
           from unnest($1::uuid[]) as p (program_id)
           cross join lateral (
               select count(*) as n
               from (select from waiting_messages m where m.program_id = p.program_id limit $2) as m
           ) w"#,
        &ids,
        places,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|r| (r.program_id, r.n)).collect())
}

/// Counts what waits in all programs.
pub async fn measure(db: &mut PgConnection) -> Result<Crowd, sqlx::Error> {
    sqlx::query_as!(
        Crowd,
        r#"select count(*) as "n_waiting!", min(waiting_since) as oldest_since
           from waiting_messages"#
    )
    .fetch_one(db)
    .await
}

/// Lets messages wait from now on; one that waits already goes on.
pub async fn insert_waiting(
    db: &mut PgConnection,
    waiting: &[(Arc<Message>, OrderKey)],
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    if waiting.is_empty() {
        return Ok(());
    }
    let keys: Vec<OrderKey> = waiting.iter().map(|(_, key)| key.clone()).collect();
    let keys = Columns::of(&keys);
    let records = waiting
        .iter()
        .map(|(message, _)| serde_json::to_value(record::record(message)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| sqlx::Error::Encode(e.into()))?;
    sqlx::query!(
        "insert into waiting_messages
             (program_id, order_namespace, event, dedup_ref, source_id, webhook_id, record,
              received_at, waiting_since)
         select n.program_id, n.order_namespace, n.event, n.dedup_ref, n.source_id, n.webhook_id,
                n.record, n.received_at, $9
         from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::text[],
                     $7::jsonb[], $8::timestamptz[])
             as n (program_id, order_namespace, event, dedup_ref, source_id, webhook_id, record,
                   received_at)
         on conflict on constraint waiting_messages_pkey do nothing",
        &keys.programs,
        &keys.namespaces,
        &keys.events,
        &keys.refs,
        &waiting.iter().map(|(m, _)| m.source_id.0).collect::<Vec<_>>(),
        &waiting.iter().map(|(m, _)| m.message_id.clone()).collect::<Vec<_>>(),
        &records,
        &waiting.iter().map(|(m, _)| m.received_at).collect::<Vec<_>>(),
        now,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Removes the messages of orders that have come.
pub async fn delete_admitted(db: &mut PgConnection, keys: &[OrderKey]) -> Result<(), sqlx::Error> {
    if keys.is_empty() {
        return Ok(());
    }
    let keys = Columns::of(keys);
    sqlx::query!(
        "delete from waiting_messages w
         where (w.program_id, w.order_namespace, w.event, w.dedup_ref) in (
             select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[]))",
        &keys.programs,
        &keys.namespaces,
        &keys.events,
        &keys.refs,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Finds the orders of messages that have waited since before then, longest first.
pub async fn find_due(
    db: &mut PgConnection,
    before: Timestamp,
    limit: i64,
) -> Result<Vec<OrderKey>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select w.program_id as "program_id: ProgramId", w.order_namespace, w.event, w.dedup_ref
           from waiting_messages w
           where w.waiting_since <= $1
           order by w.waiting_since
           limit $2"#,
        before,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| OrderKey {
            program_id: r.program_id,
            order_namespace: r.order_namespace,
            event: r.event,
            dedup_ref: r.dedup_ref,
        })
        .collect())
}

/// Takes the messages of these orders that have waited since before then out of the room.
pub async fn take_due(
    db: &mut PgConnection,
    keys: &[OrderKey],
    before: Timestamp,
) -> Result<Vec<ConversionRecord>, sqlx::Error> {
    let keys = Columns::of(keys);
    let rows = sqlx::query_scalar!(
        "delete from waiting_messages w
         where (w.program_id, w.order_namespace, w.event, w.dedup_ref) in (
             select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[]))
           and w.waiting_since <= $5
         returning w.record",
        &keys.programs,
        &keys.namespaces,
        &keys.events,
        &keys.refs,
        before,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|record| serde_json::from_value(record).map_err(|e| sqlx::Error::Decode(e.into())))
        .collect()
}

/// Keeps messages as dead letters, to be replayed.
pub async fn insert_letters(
    db: &mut PgConnection,
    records: &[ConversionRecord],
    reason: &str,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let bytes: Vec<Vec<u8>> = records
        .iter()
        .map(|record| {
            let mut batch = PackedBatch::new();
            batch.push_conversion(record);
            batch.into_bytes()
        })
        .collect();
    sqlx::query!(
        "insert into dead_letters (dead_letter_id, kind, bytes, error, created_at)
         select n.dead_letter_id, 'waiting', n.bytes, $3, $4
         from unnest($1::uuid[], $2::bytea[]) as n (dead_letter_id, bytes)",
        &records.iter().map(|_| DeadLetterId::new().0).collect::<Vec<_>>(),
        &bytes,
        reason,
        now,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Says in their receipts that messages are waited for no longer.
pub async fn tell(
    db: &mut PgConnection,
    records: &[ConversionRecord],
    reason: &str,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update webhook_messages m
         set status = 'dead_letter', reason = $3, settled_at = $4
         from unnest($1::uuid[], $2::uuid[]) as n (program_id, receipt_id)
         where m.receipt_id = n.receipt_id and m.program_id = n.program_id
           and m.status = 'waiting'",
        &records.iter().map(|r| r.program_id).collect::<Vec<_>>(),
        &records.iter().map(|r| r.receipt).collect::<Vec<_>>(),
        reason,
        now,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Forgets the answer to a message that is a dead letter, so that a replay is decided afresh.
pub async fn reopen(db: &mut PgConnection, receipt_id: ReceiptId) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "delete from webhook_messages where receipt_id = $1 and status = 'dead_letter'",
        receipt_id.0,
    )
    .execute(db)
    .await
    .map(drop)
}
