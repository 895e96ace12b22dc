//! Queries about payment files: what they carry, beside the files themselves.

use sqlx::PgConnection;

use crate::audit::At;
use crate::ids::{PayoutBatchId, ProgramId};

/// A payment file as it is kept, with what the payouts say that it carries.
pub(in crate::audit) struct FileRow {
    pub(in crate::audit) program_id: ProgramId,
    pub(in crate::audit) payout_batch_id: PayoutBatchId,
    pub(in crate::audit) format: String,
    pub(in crate::audit) part: i32,
    pub(in crate::audit) bytes: Vec<u8>,
    pub(in crate::audit) is_sealed: bool,
    pub(in crate::audit) sha256: Vec<u8>,
    pub(in crate::audit) n_payouts: Option<i32>,
    pub(in crate::audit) total_minor: Option<i64>,
    pub(in crate::audit) n_carried: i64,
    pub(in crate::audit) carried_minor: i64,
}

/// Loads the batches of a page.
pub(in crate::audit) async fn load_batches(
    db: &mut PgConnection,
    at: &At<'_>,
) -> Result<Vec<(ProgramId, PayoutBatchId)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select program_id as "program_id: ProgramId",
                  payout_batch_id as "payout_batch_id: PayoutBatchId"
           from payout_batches
           where (program_id, payout_batch_id) > ($1, $2) and program_id <= $3
           order by program_id, payout_batch_id
           limit $4"#,
        at.after.0,
        at.after.1,
        at.last_program,
        at.rows,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|r| (r.program_id, r.payout_batch_id)).collect())
}

/// Loads the next file of a batch: one at a time, since each may have megabytes.
pub(in crate::audit) async fn load_next_file(
    db: &mut PgConnection,
    (program_id, batch_id): (ProgramId, PayoutBatchId),
    (format, part): (&str, i32),
) -> Result<Option<FileRow>, sqlx::Error> {
    sqlx::query_as!(
        FileRow,
        r#"select f.program_id as "program_id: ProgramId",
                  f.payout_batch_id as "payout_batch_id: PayoutBatchId", f.format, f.part, f.bytes,
                  f.is_sealed, f.sha256, f.n_payouts, f.total_minor, c.n as "n_carried!",
                  c.minor as "carried_minor!"
           from payout_files f
           cross join lateral (
               select count(*) as n,
                      coalesce(sum(o.amount_minor + o.vat_minor - o.withheld_minor), 0)::bigint
                          as minor
               from payouts o
               where o.program_id = f.program_id and o.payout_batch_id = f.payout_batch_id
                 and o.file_format = f.format and o.file_part = f.part) c
           where f.program_id = $1 and f.payout_batch_id = $2 and (f.format, f.part) > ($3, $4)
           order by f.format, f.part
           limit 1"#,
        program_id.0,
        batch_id.0,
        format,
        part,
    )
    .fetch_optional(db)
    .await
}
