//! SQL of the look-up that lets a retry be answered at once.

use std::collections::HashMap;

use sqlx::PgConnection;

use crate::ids::{ConversionId, ReceiptId};
use crate::intake::known::Question;

/// A message or a conversion that was settled before.
#[derive(Clone, Debug)]
pub struct Settled {
    /// The receipt given then.
    pub receipt_id: ReceiptId,
    /// Tells a retry from something else: of a message the SHA-256 of its bytes, of a conversion
    /// that of its content.
    pub content_hash: Vec<u8>,
    /// The conversion, if the message made one.
    pub conversion_id: Option<ConversionId>,
}

/// What was settled before, by the places of the questions.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Messages with the same id.
    pub messages: HashMap<usize, Settled>,
    /// Conversions that the messages would make.
    pub conversions: HashMap<usize, Settled>,
}

/// Finds what was settled before, in one round trip.
pub async fn find(db: &mut PgConnection, questions: &[Question]) -> Result<Found, sqlx::Error> {
    let makes = || questions.iter().map(|q| q.makes.as_ref());
    let rows = sqlx::query!(
        r#"with q as (
               select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[],
                                    $6::text[])
                   with ordinality
                   as q (program_id, source_id, webhook_id, order_namespace, event, dedup_ref, place))
           select q.place as "place!", true as "is_message!",
                  k.receipt_id as "receipt_id!: ReceiptId", k.content_hash as "content_hash!",
                  k.conversion_id as "conversion_id: ConversionId"
           from q
           join webhook_messages k
             on k.program_id = q.program_id and k.source_id = q.source_id
            and k.webhook_id = q.webhook_id
           union all
           select q.place, false, c.receipt_id, c.content_hash, c.conversion_id
           from q
           join conversions c
             on c.program_id = q.program_id and c.order_namespace = q.order_namespace
            and c.event = q.event and c.dedup_ref = q.dedup_ref"#,
        &questions.iter().map(|q| q.program_id.0).collect::<Vec<_>>(),
        &questions.iter().map(|q| q.source_id.0).collect::<Vec<_>>(),
        &questions.iter().map(|q| q.message_id.as_str()).collect::<Vec<_>>() as &[&str],
        &makes().map(|m| m.map(|m| m.order_namespace.as_str())).collect::<Vec<_>>()
            as &[Option<&str>],
        &makes().map(|m| m.map(|m| m.event.as_str())).collect::<Vec<_>>() as &[Option<&str>],
        &makes().map(|m| m.map(|m| m.dedup_ref.as_str())).collect::<Vec<_>>() as &[Option<&str>],
    )
    .fetch_all(db)
    .await?;
    let mut found = Found::default();
    for r in rows {
        // PostgreSQL counts from one.
        let place = usize::try_from(r.place - 1).unwrap_or(usize::MAX);
        let (receipt_id, content_hash) = (r.receipt_id, r.content_hash);
        let settled = Settled { receipt_id, content_hash, conversion_id: r.conversion_id };
        let of = if r.is_message { &mut found.messages } else { &mut found.conversions };
        of.insert(place, settled);
    }
    Ok(found)
}
