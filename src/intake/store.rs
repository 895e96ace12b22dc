//! SQL of the look-up that lets a retry be answered at once.

use std::collections::HashMap;

use sqlx::PgConnection;

use crate::ids::{ConversionId, ReceiptId};
use crate::intake::known::Question;

/// A message that was settled before.
#[derive(Clone, Debug)]
pub struct KnownMessage {
    /// The receipt given then.
    pub receipt_id: ReceiptId,
    /// SHA-256 of its bytes.
    pub body_hash: Vec<u8>,
    /// The conversion that it was about.
    pub conversion_id: Option<ConversionId>,
}

/// Finds the messages that were settled before, each by the place of its question.
pub async fn find_messages(
    db: &mut PgConnection,
    questions: &[Question],
) -> Result<HashMap<usize, KnownMessage>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select q.place as "place!", k.receipt_id as "receipt_id: ReceiptId",
                  k.content_hash as body_hash, k.conversion_id as "conversion_id: ConversionId"
           from unnest($1::uuid[], $2::uuid[], $3::text[]) with ordinality
               as q (program_id, source_id, webhook_id, place)
           join webhook_messages k
             on k.program_id = q.program_id and k.source_id = q.source_id
            and k.webhook_id = q.webhook_id"#,
        &questions.iter().map(|q| q.program_id.0).collect::<Vec<_>>(),
        &questions.iter().map(|q| q.source_id.0).collect::<Vec<_>>(),
        &questions.iter().map(|q| q.message_id.clone()).collect::<Vec<_>>(),
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| {
            let (receipt_id, conversion_id) = (r.receipt_id, r.conversion_id);
            let known = KnownMessage { receipt_id, body_hash: r.body_hash, conversion_id };
            (place(r.place), known)
        })
        .collect())
}

/// A conversion that was settled before.
#[derive(Clone, Debug)]
pub struct KnownConversion {
    /// Key of the row.
    pub conversion_id: ConversionId,
    /// The receipt of the message that made it.
    pub receipt_id: ReceiptId,
    /// Tells a retry from a conflict.
    pub content_hash: Vec<u8>,
}

/// Finds the conversions that were settled before, each by the place of its question.
pub async fn find_conversions(
    db: &mut PgConnection,
    questions: &[Question],
) -> Result<HashMap<usize, KnownConversion>, sqlx::Error> {
    let asked: Vec<_> =
        (1_i64..).zip(questions).filter_map(|(n, q)| Some((n, q, q.makes.as_ref()?))).collect();
    if asked.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query!(
        r#"select q.place as "place!", c.conversion_id as "conversion_id: ConversionId",
                  c.receipt_id as "receipt_id: ReceiptId", c.content_hash
           from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bigint[])
               as q (program_id, order_namespace, event, dedup_ref, place)
           join conversions c
             on c.program_id = q.program_id and c.order_namespace = q.order_namespace
            and c.event = q.event and c.dedup_ref = q.dedup_ref"#,
        &asked.iter().map(|(_, q, _)| q.program_id.0).collect::<Vec<_>>(),
        &asked.iter().map(|(_, _, m)| m.order_namespace.clone()).collect::<Vec<_>>(),
        &asked.iter().map(|(_, _, m)| m.event.clone()).collect::<Vec<_>>(),
        &asked.iter().map(|(_, _, m)| m.dedup_ref.clone()).collect::<Vec<_>>(),
        &asked.iter().map(|(n, ..)| *n).collect::<Vec<_>>(),
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| {
            let known = KnownConversion {
                conversion_id: r.conversion_id,
                receipt_id: r.receipt_id,
                content_hash: r.content_hash,
            };
            (place(r.place), known)
        })
        .collect())
}

/// PostgreSQL counts from one.
fn place(ordinality: i64) -> usize {
    usize::try_from(ordinality - 1).unwrap_or(usize::MAX)
}
