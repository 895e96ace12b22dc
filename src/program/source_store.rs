//! SQL of conversion sources and their secrets (encrypted before they come here).

use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::ids::{ProgramId, SecretId, SourceId};
use crate::program::Source;

/// Inserts a source.
pub async fn insert_source(db: &mut PgConnection, s: &Source) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into sources
             (program_id, source_id, name, order_namespace, requests_per_second, created_at,
              updated_at)
         values ($1, $2, $3, $4, $5, $6, $6)",
        s.program_id.0,
        s.source_id.0,
        s.name,
        s.order_namespace,
        s.requests_per_second,
        s.created_at,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Finds a source by its id alone: the id stands in the URL that the shop was given.
pub async fn find_source(
    db: &mut PgConnection,
    source_id: SourceId,
) -> Result<Option<Source>, sqlx::Error> {
    sqlx::query_as!(
        Source,
        r#"select program_id as "program_id: ProgramId", source_id as "source_id: SourceId",
                  name, status, order_namespace, requests_per_second, created_at
           from sources
           where source_id = $1"#,
        source_id.0,
    )
    .fetch_optional(db)
    .await
}

/// Finds a source and keeps others from changing it until the transaction ends.
pub async fn lock_source(
    db: &mut PgConnection,
    source_id: SourceId,
) -> Result<Option<Source>, sqlx::Error> {
    sqlx::query_as!(
        Source,
        r#"select program_id as "program_id: ProgramId", source_id as "source_id: SourceId",
                  name, status, order_namespace, requests_per_second, created_at
           from sources
           where source_id = $1
           for no key update"#,
        source_id.0,
    )
    .fetch_optional(db)
    .await
}

/// Lists the sources of a program, after the given one.
pub async fn list_sources(
    db: &mut PgConnection,
    program_id: ProgramId,
    after: Option<SourceId>,
    limit: i64,
) -> Result<Vec<Source>, sqlx::Error> {
    sqlx::query_as!(
        Source,
        r#"select program_id as "program_id: ProgramId", source_id as "source_id: SourceId",
                  name, status, order_namespace, requests_per_second, created_at
           from sources
           where program_id = $1
             and ($2::uuid is null or source_id > $2)
           order by source_id
           limit $3"#,
        program_id.0,
        after.map(|a| a.0),
        limit,
    )
    .fetch_all(db)
    .await
}

/// Writes whether a source may report, and how fast.
pub async fn update_source(
    db: &mut PgConnection,
    source: &Source,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update sources set status = $3, requests_per_second = $4, updated_at = $5
         where program_id = $1 and source_id = $2",
        source.program_id.0,
        source.source_id.0,
        source.status,
        source.requests_per_second,
        now,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Adds a secret, which signs at once, and lets the older ones end at `overlap_until`.
///
/// At most two stay live: of the older ones only the newest survives the overlap.
pub async fn rotate_secret(
    db: &mut PgConnection,
    source: &Source,
    secret_id: SecretId,
    ciphertext: &[u8],
    now: Timestamp,
    overlap_until: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update source_secrets s
         set expires_at = least(
             coalesce(s.expires_at, $3),
             case when s.secret_id = (
                 select max_id.secret_id from source_secrets max_id
                 where max_id.program_id = $1 and max_id.source_id = $2
                 order by max_id.secret_id desc limit 1) then $3 else $4 end)
         where s.program_id = $1 and s.source_id = $2",
        source.program_id.0,
        source.source_id.0,
        overlap_until,
        now,
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        "insert into source_secrets (program_id, source_id, secret_id, ciphertext, created_at)
         values ($1, $2, $3, $4, $5)",
        source.program_id.0,
        source.source_id.0,
        secret_id.0,
        ciphertext,
        now,
    )
    .execute(db)
    .await
    .map(drop)
}

/// A secret, without itself.
#[derive(Clone, Debug)]
pub struct SecretRow {
    /// Key of the row.
    pub secret_id: SecretId,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends; the newest does not.
    pub expires_at: Option<Timestamp>,
}

/// Lists the secrets of a source that are in force, newest first.
pub async fn list_secrets(
    db: &mut PgConnection,
    source: &Source,
    now: Timestamp,
) -> Result<Vec<SecretRow>, sqlx::Error> {
    sqlx::query_as!(
        SecretRow,
        r#"select secret_id as "secret_id: SecretId", created_at, expires_at
           from source_secrets
           where program_id = $1 and source_id = $2 and (expires_at is null or expires_at > $3)
           order by secret_id desc"#,
        source.program_id.0,
        source.source_id.0,
        now,
    )
    .fetch_all(db)
    .await
}

/// Ends a secret at once.
pub async fn end_secret(
    db: &mut PgConnection,
    source: &Source,
    secret_id: SecretId,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update source_secrets set expires_at = $4
         where program_id = $1 and source_id = $2 and secret_id = $3",
        source.program_id.0,
        source.source_id.0,
        secret_id.0,
        now,
    )
    .execute(db)
    .await
    .map(drop)
}
