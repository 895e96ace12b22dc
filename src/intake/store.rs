//! SQL of the look-up that lets a retry be answered at once.

use sqlx::PgConnection;

use crate::ids::{ConversionId, ProgramId, ReceiptId, SourceId};

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

/// Finds a message by its sender's id.
pub async fn find_message(
    db: &mut PgConnection,
    program_id: ProgramId,
    source_id: SourceId,
    webhook_id: &str,
) -> Result<Option<KnownMessage>, sqlx::Error> {
    sqlx::query_as!(
        KnownMessage,
        r#"select receipt_id as "receipt_id: ReceiptId", content_hash as body_hash,
                  conversion_id as "conversion_id: ConversionId"
           from webhook_messages
           where program_id = $1 and source_id = $2 and webhook_id = $3"#,
        program_id.0,
        source_id.0,
        webhook_id,
    )
    .fetch_optional(db)
    .await
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

/// Finds a conversion by what names it.
pub async fn find_conversion(
    db: &mut PgConnection,
    program_id: ProgramId,
    order_namespace: &str,
    event: &str,
    dedup_ref: &str,
) -> Result<Option<KnownConversion>, sqlx::Error> {
    sqlx::query_as!(
        KnownConversion,
        r#"select conversion_id as "conversion_id: ConversionId",
                  receipt_id as "receipt_id: ReceiptId", content_hash
           from conversions
           where program_id = $1 and order_namespace = $2 and event = $3 and dedup_ref = $4"#,
        program_id.0,
        order_namespace,
        event,
        dedup_ref,
    )
    .fetch_optional(db)
    .await
}
