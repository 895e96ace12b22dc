//! SQL of payment files and of what banks answered.

use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::ids::{PayoutId, UserId};
use crate::payout::Batch;

/// A part of a file, as it is kept.
#[derive(Clone, Debug)]
pub struct StoredFile {
    /// How it is written: `csv`, `pain.001`, ….
    pub format: String,
    /// Which part it is, from 1.
    pub part: i32,
    /// The file, sealed unless it was made before files were.
    pub bytes: Vec<u8>,
    /// Whether it is sealed.
    pub is_sealed: bool,
    /// SHA-256 of the plain file.
    pub sha256: Vec<u8>,
    /// How many payouts it carries.
    pub n_payouts: Option<i32>,
    /// What the bank is to move by it, minor units.
    pub total_minor: Option<i64>,
    /// The account that pays.
    pub bank_label: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Keeps a part of a file for ever.
pub async fn insert_file(
    db: &mut PgConnection,
    batch: &Batch,
    file: &StoredFile,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into payout_files
             (program_id, payout_batch_id, format, part, bytes, is_sealed, sha256, n_payouts,
              total_minor, bank_label, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        batch.program_id.0,
        batch.payout_batch_id.0,
        file.format,
        file.part,
        file.bytes,
        file.is_sealed,
        file.sha256,
        file.n_payouts,
        file.total_minor,
        file.bank_label,
        file.created_at,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Loads the files of a batch in one format, or all of them, by format and part.
pub async fn load_files(
    db: &mut PgConnection,
    batch: &Batch,
    format: Option<&str>,
) -> Result<Vec<StoredFile>, sqlx::Error> {
    sqlx::query_as!(
        StoredFile,
        "select format, part, bytes, is_sealed, sha256, n_payouts, total_minor, bank_label,
                created_at
         from payout_files
         where program_id = $1 and payout_batch_id = $2 and ($3::text is null or format = $3)
         order by format, part",
        batch.program_id.0,
        batch.payout_batch_id.0,
        format,
    )
    .fetch_all(db)
    .await
}

/// Loads the sealed methods of the payouts of a batch, as they were when it was made.
pub async fn load_sealed_methods(
    db: &mut PgConnection,
    batch: &Batch,
) -> Result<Vec<(PayoutId, Option<Vec<u8>>)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select payout_id as "payout_id: PayoutId", method_sealed
           from payouts where program_id = $1 and payout_batch_id = $2"#,
        batch.program_id.0,
        batch.payout_batch_id.0,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|r| (r.payout_id, r.method_sealed)).collect())
}

/// Finds what a file of results did when it was taken in.
pub async fn find_import(
    db: &mut PgConnection,
    batch: &Batch,
    sha256: &[u8],
) -> Result<Option<serde_json::Value>, sqlx::Error> {
    sqlx::query_scalar!(
        "select verdicts from payout_imports
         where program_id = $1 and payout_batch_id = $2 and sha256 = $3",
        batch.program_id.0,
        batch.payout_batch_id.0,
        sha256,
    )
    .fetch_optional(db)
    .await
}

/// Keeps what a file of results did.
pub async fn insert_import(
    db: &mut PgConnection,
    batch: &Batch,
    (sha256, format): (&[u8], &str),
    verdicts: &serde_json::Value,
    by: UserId,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into payout_imports
             (program_id, payout_batch_id, sha256, format, verdicts, created_by, created_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
        batch.program_id.0,
        batch.payout_batch_id.0,
        sha256,
        format,
        verdicts,
        by.0,
        now,
    )
    .execute(db)
    .await
    .map(drop)
}
