//! SQL of stored answers: a repeated request gets the first one's answer.

use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::ids::ApiKeyId;

/// What names a request: its key belongs to the caller, the method and the path.
#[derive(Clone, Debug)]
pub struct RequestKey {
    /// Whose request it is.
    pub api_key_id: ApiKeyId,
    /// The method.
    pub method: String,
    /// The path, without query.
    pub path: String,
    /// What the caller sent as `Idempotency-Key`.
    pub key: String,
}

/// An answer as it was given the first time.
#[derive(Clone, Debug)]
pub struct StoredAnswer {
    /// SHA-256 of the body that it answered.
    pub fingerprint: Vec<u8>,
    /// HTTP status.
    pub status: i16,
    /// Where the new object is.
    pub location: Option<String>,
    /// JSON.
    pub body: Vec<u8>,
}

/// Takes the key for this transaction; false when another request holds it right now.
pub async fn try_lock(db: &mut PgConnection, request: &RequestKey) -> Result<bool, sqlx::Error> {
    let name =
        format!("{} {} {} {}", request.api_key_id, request.method, request.path, request.key);
    sqlx::query_scalar!(
        r#"select pg_try_advisory_xact_lock(hashtextextended($1, 0)) as "is_free!""#,
        name,
    )
    .fetch_one(db)
    .await
}

/// Finds the answer given before.
pub async fn find_answer(
    db: &mut PgConnection,
    request: &RequestKey,
) -> Result<Option<StoredAnswer>, sqlx::Error> {
    sqlx::query_as!(
        StoredAnswer,
        "select fingerprint, status, location, body from idempotency_keys
         where api_key_id = $1 and method = $2 and path = $3 and key = $4",
        request.api_key_id.0,
        request.method,
        request.path,
        request.key,
    )
    .fetch_optional(db)
    .await
}

/// Keeps an answer, in the transaction of its effect.
pub async fn insert_answer(
    db: &mut PgConnection,
    request: &RequestKey,
    answer: &StoredAnswer,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into idempotency_keys
             (api_key_id, method, path, key, fingerprint, status, location, body, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        request.api_key_id.0,
        request.method,
        request.path,
        request.key,
        answer.fingerprint,
        answer.status,
        answer.location,
        answer.body,
        now,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Forgets answers given before `before`.
pub async fn forget_answers(db: &mut PgConnection, before: Timestamp) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!("delete from idempotency_keys where created_at < $1", before)
        .execute(db)
        .await?;
    Ok(done.rows_affected())
}
