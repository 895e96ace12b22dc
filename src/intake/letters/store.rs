//! SQL of dead letters.

use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::ids::DeadLetterId;

/// An event that could not be settled.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Key of the row.
    pub dead_letter_id: DeadLetterId,
    /// First part of the keys of the stream it came from; none for what waited for its conversion.
    pub prefix: Option<String>,
    /// Which part of that stream.
    pub shard: Option<i32>,
    /// The entry that it came in: milliseconds of its id.
    pub ms: Option<i64>,
    /// The entry that it came in: number within that millisecond.
    pub seq: Option<i64>,
    /// Its place within the entry.
    pub record: Option<i32>,
    /// A whole entry that holds this event alone.
    pub bytes: Vec<u8>,
    /// Why it could not be settled.
    pub error: String,
    /// When that was found.
    pub created_at: Timestamp,
    /// When it was sent again.
    pub replayed_at: Option<Timestamp>,
    /// By whom.
    pub replayed_by: Option<String>,
}

/// Lists dead letters after the given one, oldest first: those that wait, or those sent again.
pub async fn list(
    db: &mut PgConnection,
    is_replayed: bool,
    after: Option<DeadLetterId>,
    limit: i64,
) -> Result<Vec<Letter>, sqlx::Error> {
    sqlx::query_as!(
        Letter,
        r#"select dead_letter_id as "dead_letter_id: DeadLetterId", prefix, shard, ms, seq, record,
                  bytes, error, created_at, replayed_at, replayed_by
           from dead_letters
           where (replayed_at is not null) = $1
             and ($2::uuid is null or dead_letter_id > $2)
           order by dead_letter_id
           limit $3"#,
        is_replayed,
        after.map(|a| a.0),
        limit,
    )
    .fetch_all(db)
    .await
}

/// Finds a dead letter and locks it until the transaction ends.
pub async fn lock(
    db: &mut PgConnection,
    dead_letter_id: DeadLetterId,
) -> Result<Option<Letter>, sqlx::Error> {
    sqlx::query_as!(
        Letter,
        r#"select dead_letter_id as "dead_letter_id: DeadLetterId", prefix, shard, ms, seq, record,
                  bytes, error, created_at, replayed_at, replayed_by
           from dead_letters
           where dead_letter_id = $1
           for update"#,
        dead_letter_id.0,
    )
    .fetch_optional(db)
    .await
}

/// Keeps that a dead letter was sent again, and by whom.
pub async fn mark_replayed(
    db: &mut PgConnection,
    dead_letter_id: DeadLetterId,
    actor: &str,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update dead_letters set replayed_at = $2, replayed_by = $3 where dead_letter_id = $1",
        dead_letter_id.0,
        now,
        actor,
    )
    .execute(db)
    .await
    .map(drop)
}
