//! What a cluster was told of conversions is also held on the local disk, until it is settled.
//!
//! Redis Cluster acknowledges before its replicas have an event, so a failover can lose the last
//! ones. A click lost so is a pity; a conversion is money. This process keeps what its shops were
//! told "accepted" about, looks from time to time whether it is in PostgreSQL, and sends again what
//! should be there and is not. Sent twice is settled once, as everywhere.

pub mod store;

use crate::clock::Timestamp;
use crate::db::Db;
use crate::settlement::held::store::HeldMessage;
use crate::stream::spool::SpoolError;
use crate::stream::{DurableLog, NotDurable, PackedBatch, Shard, StreamEvent, unpack};

/// How old a message is before it is sent again: far beyond a failover and the usual lag.
const RESEND_AFTER: chrono::Duration = chrono::Duration::seconds(60);

/// How long the log may take for one message that is sent again.
const RESEND_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(1);

/// Why the look at what is held ended early; the next one goes on.
#[derive(Debug, thiserror::Error)]
pub enum HeldError {
    /// What is held cannot be read.
    #[error("what is held cannot be read")]
    Spool(#[from] SpoolError),
    /// PostgreSQL cannot say what is settled.
    #[error("what is settled cannot be read")]
    Database(#[from] sqlx::Error),
    /// A message could not be sent again, and stays held.
    #[error("a message cannot be sent again")]
    Log(#[from] NotDurable),
}

/// Forgets what is settled and sends again what is old and not; returns how many messages it sent.
pub async fn look_after(log: &DurableLog, db: &Db, now: Timestamp) -> Result<u64, HeldError> {
    let mut n_sent = 0;
    let Some(held) = log.held() else { return Ok(n_sent) };
    loop {
        let chunk = held.oldest().await?;
        if chunk.batches.is_empty() {
            return Ok(n_sent);
        }
        let messages: Vec<_> =
            chunk.batches.iter().flat_map(|(shard, b)| messages(*shard, b)).collect();
        let unsettled = {
            let mut db = db.acquire().await?;
            store::unsettled(&mut db, &messages).await?
        };
        let missing: Vec<_> =
            messages.iter().filter(|message| unsettled.contains(&message.receipt_id)).collect();
        if missing.iter().any(|message| now - message.received_at < RESEND_AFTER) {
            return Ok(n_sent);
        }
        for message in missing {
            // Held again as well: behind all others, until it is settled.
            let batch = PackedBatch::from_bytes(message.bytes.clone(), 1);
            log.append(message.shard, &batch, RESEND_TIMEOUT).await?;
            n_sent += 1;
        }
        held.release(chunk).await?;
    }
}

/// Takes a batch apart; what cannot be read was never a message.
fn messages(shard: Shard, batch: &PackedBatch) -> Vec<HeldMessage> {
    let one = |event| {
        let mut bytes = PackedBatch::new();
        let record = match event {
            Ok(StreamEvent::Conversion(record)) => {
                bytes.push_conversion(&record);
                record
            }
            Ok(StreamEvent::Parked(record)) => {
                bytes.push_parked(&record);
                record
            }
            Ok(StreamEvent::Click(_)) | Err(_) => return None,
        };
        Some(HeldMessage {
            shard,
            receipt_id: record.receipt,
            program_id: record.program_id,
            source_id: record.source_id,
            message_id: record.message_id.clone(),
            received_at: record.received_at,
            bytes: bytes.into_bytes(),
        })
    };
    unpack(batch.as_bytes()).filter_map(one).collect()
}
