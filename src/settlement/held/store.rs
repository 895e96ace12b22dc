//! SQL of what is held: which messages have an answer.

use std::collections::HashSet;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::stream::Shard;

/// A message that is held.
#[derive(Clone, Debug)]
pub struct HeldMessage {
    /// Where it was sent.
    pub shard: Shard,
    /// The receipt that its sender has.
    pub receipt_id: Uuid,
    /// The program of its source.
    pub program_id: Uuid,
    /// Who sent it.
    pub source_id: Uuid,
    /// The sender's id of it.
    pub message_id: String,
    /// When it came.
    pub received_at: Timestamp,
    /// An entry that holds it alone.
    pub bytes: Vec<u8>,
}

/// Returns the receipts of those messages that are not settled, not parked, and no dead letters.
///
/// A message sent twice under one id has one answer, under the receipt of whichever came first.
pub async fn unsettled(
    db: &mut PgConnection,
    messages: &[HeldMessage],
) -> Result<HashSet<Uuid>, sqlx::Error> {
    let found = sqlx::query_scalar!(
        r#"select n.receipt_id as "receipt_id!"
           from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::bytea[])
               as n (receipt_id, program_id, source_id, message_id, bytes)
           where not exists (
                   select from webhook_messages m
                   where m.program_id = n.program_id and m.source_id = n.source_id
                     and m.webhook_id = n.message_id)
             and not exists (select from webhook_messages m where m.receipt_id = n.receipt_id)
             and not exists (
                   select from parked_messages p
                   where p.program_id = n.program_id and p.source_id = n.source_id
                     and p.message_id = n.message_id)
             and not exists (select from dead_letters d where d.bytes = n.bytes)"#,
        &messages.iter().map(|m| m.receipt_id).collect::<Vec<_>>(),
        &messages.iter().map(|m| m.program_id).collect::<Vec<_>>(),
        &messages.iter().map(|m| m.source_id).collect::<Vec<_>>(),
        &messages.iter().map(|m| m.message_id.clone()).collect::<Vec<_>>(),
        &messages.iter().map(|m| m.bytes.clone()).collect::<Vec<_>>(),
    )
    .fetch_all(db)
    .await?;
    Ok(found.into_iter().collect())
}
