//! SQL of imports and their rows.

use serde_json::Value;
use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::ids::{ConversionId, ImportId, ProgramId, ReceiptId, SourceId};

/// An import as it lies in the table.
#[derive(Clone, Debug)]
pub struct Import {
    /// The program.
    pub program_id: ProgramId,
    /// Key of the row.
    pub import_id: ImportId,
    /// For which source.
    pub source_id: SourceId,
    /// What its bringer calls the file.
    pub file_name: String,
    /// SHA-256 of its bytes; none until the last has come.
    pub file_hash: Option<Vec<u8>>,
    /// Its length.
    pub n_bytes: i64,
    /// `receiving`, `running` or `done`.
    pub status: String,
    /// Who brought it.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// When.
    pub created_at: Timestamp,
    /// When it last moved.
    pub updated_at: Timestamp,
}

/// A line to be kept.
#[derive(Clone, Debug)]
pub struct NewRow {
    /// Its number in the file.
    pub line: i32,
    /// `to_send` or `refused`.
    pub verdict: &'static str,
    /// The order that it names.
    pub order_id: Option<String>,
    /// What it says, in the form of the stream.
    pub report: Option<Value>,
    /// The column that is wrong.
    pub field: Option<String>,
    /// What is wrong with it.
    pub reason: Option<String>,
    /// How to mend it.
    pub fix: Option<String>,
}

/// Begins an import.
pub async fn insert(db: &mut PgConnection, import: &Import) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into conversion_imports
             (program_id, import_id, source_id, file_name, actor, reason, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $7)",
        import.program_id.0,
        import.import_id.0,
        import.source_id.0,
        import.file_name,
        import.actor,
        import.reason,
        import.created_at,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Keeps lines of an import.
pub async fn insert_rows(
    db: &mut PgConnection,
    import: &Import,
    rows: &[NewRow],
) -> Result<(), sqlx::Error> {
    let text = |f: fn(&NewRow) -> Option<&str>| -> Vec<Option<String>> {
        rows.iter().map(|r| f(r).map(str::to_owned)).collect()
    };
    sqlx::query!(
        "insert into conversion_import_rows
             (program_id, import_id, line, verdict, order_id, report, field, reason, fix)
         select $1, $2, n.line, n.verdict, n.order_id, n.report, n.field, n.reason, n.fix
         from unnest($3::integer[], $4::text[], $5::text[], $6::jsonb[], $7::text[], $8::text[],
                     $9::text[]) as n (line, verdict, order_id, report, field, reason, fix)",
        import.program_id.0,
        import.import_id.0,
        &rows.iter().map(|r| r.line).collect::<Vec<_>>(),
        &rows.iter().map(|r| r.verdict.to_owned()).collect::<Vec<_>>(),
        &text(|r| r.order_id.as_deref()) as &[Option<String>],
        &rows.iter().map(|r| r.report.clone()).collect::<Vec<_>>() as &[Option<Value>],
        &text(|r| r.field.as_deref()) as &[Option<String>],
        &text(|r| r.reason.as_deref()) as &[Option<String>],
        &text(|r| r.fix.as_deref()) as &[Option<String>],
    )
    .execute(db)
    .await
    .map(drop)
}

/// Finds an import of the same file for the same source.
pub async fn find_same(
    db: &mut PgConnection,
    import: &Import,
    file_hash: &[u8],
) -> Result<Option<ImportId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select import_id as "import_id: ImportId"
           from conversion_imports
           where program_id = $1 and source_id = $2 and file_hash = $3"#,
        import.program_id.0,
        import.source_id.0,
        file_hash,
    )
    .fetch_optional(db)
    .await
}

/// Lets an import run: its last byte has come.
pub async fn start(
    db: &mut PgConnection,
    import: &Import,
    file_hash: &[u8],
    n_bytes: i64,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update conversion_imports
         set status = 'running', file_hash = $3, n_bytes = $4, updated_at = $5
         where program_id = $1 and import_id = $2",
        import.program_id.0,
        import.import_id.0,
        file_hash,
        n_bytes,
        now,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Forgets an import of which nothing was sent: cut, wrong, or there already.
pub async fn forget(db: &mut PgConnection, import: &Import) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "delete from conversion_import_rows where program_id = $1 and import_id = $2",
        import.program_id.0,
        import.import_id.0,
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        "delete from conversion_imports
         where program_id = $1 and import_id = $2 and status = 'receiving'",
        import.program_id.0,
        import.import_id.0,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Finds an import.
pub async fn find(
    db: &mut PgConnection,
    import_id: ImportId,
) -> Result<Option<Import>, sqlx::Error> {
    sqlx::query_as!(
        Import,
        r#"select i.program_id as "program_id: ProgramId", i.import_id as "import_id: ImportId",
                  i.source_id as "source_id: SourceId", i.file_name, i.file_hash, i.n_bytes,
                  i.status, i.actor, i.reason, i.created_at, i.updated_at
           from programs p
           join conversion_imports i on i.program_id = p.program_id and i.import_id = $1"#,
        import_id.0,
    )
    .fetch_optional(db)
    .await
}

/// Takes the oldest import that runs and that nobody else sends at this moment.
pub async fn lock_running(db: &mut PgConnection) -> Result<Option<Import>, sqlx::Error> {
    sqlx::query_as!(
        Import,
        r#"select program_id as "program_id: ProgramId", import_id as "import_id: ImportId",
                  source_id as "source_id: SourceId", file_name, file_hash, n_bytes, status, actor,
                  reason, created_at, updated_at
           from conversion_imports
           where status = 'running'
           order by created_at
           limit 1
           for update skip locked"#
    )
    .fetch_optional(db)
    .await
}

/// Lists the next lines to be sent: number and report.
pub async fn lines_to_send(
    db: &mut PgConnection,
    import: &Import,
    limit: i64,
) -> Result<Vec<(i32, Value)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select line, report as "report!"
           from conversion_import_rows
           where program_id = $1 and import_id = $2 and verdict = 'to_send'
           order by line
           limit $3"#,
        import.program_id.0,
        import.import_id.0,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|r| (r.line, r.report)).collect())
}

/// Marks lines as sent.
pub async fn mark_sent(
    db: &mut PgConnection,
    import: &Import,
    lines: &[i32],
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update conversion_import_rows
         set verdict = 'sent', report = null
         where program_id = $1 and import_id = $2 and line = any($3)",
        import.program_id.0,
        import.import_id.0,
        lines,
    )
    .execute(&mut *db)
    .await?;
    set_status(db, import, "running", now).await
}

/// Writes down where an import stands.
pub async fn set_status(
    db: &mut PgConnection,
    import: &Import,
    status: &str,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update conversion_imports set status = $3, updated_at = $4
         where program_id = $1 and import_id = $2",
        import.program_id.0,
        import.import_id.0,
        status,
        now,
    )
    .execute(db)
    .await
    .map(drop)
}

/// A line and what became of it.
#[derive(Clone, Debug)]
pub struct ImportRow {
    /// Its number in the file.
    pub line: i32,
    /// `to_send`, `sent`, `refused`, or what settlement said.
    pub verdict: String,
    /// The order that it names.
    pub order_id: Option<String>,
    /// The column that is wrong.
    pub field: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// How to mend it.
    pub fix: Option<String>,
    /// The receipt, once it is settled.
    pub receipt_id: Option<ReceiptId>,
    /// The conversion, if there is one.
    pub conversion_id: Option<ConversionId>,
}

/// Lists lines with what became of them, in the order of the file.
pub async fn list_rows(
    db: &mut PgConnection,
    import: &Import,
    message_prefix: &str,
    verdict: Option<&str>,
    after: i32,
    limit: i64,
) -> Result<Vec<ImportRow>, sqlx::Error> {
    sqlx::query_as!(
        ImportRow,
        r#"select r.line, coalesce(m.status, r.verdict) as "verdict!", r.order_id, r.field,
                  coalesce(m.reason, r.reason) as reason, r.fix,
                  m.receipt_id as "receipt_id?: ReceiptId",
                  m.conversion_id as "conversion_id?: ConversionId"
           from conversion_import_rows r
           left join webhook_messages m
             on m.program_id = r.program_id and m.source_id = $3
            and m.webhook_id = $4 || r.line::text
           where r.program_id = $1 and r.import_id = $2 and r.line > $5
             and ($6::text is null or coalesce(m.status, r.verdict) = $6)
           order by r.line
           limit $7"#,
        import.program_id.0,
        import.import_id.0,
        import.source_id.0,
        message_prefix,
        after,
        verdict,
        limit,
    )
    .fetch_all(db)
    .await
}

/// Counts lines by what became of them.
pub async fn count_rows(
    db: &mut PgConnection,
    import: &Import,
    message_prefix: &str,
) -> Result<Vec<(String, i64)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select coalesce(m.status, r.verdict) as "verdict!", count(*) as "n!"
           from conversion_import_rows r
           left join webhook_messages m
             on m.program_id = r.program_id and m.source_id = $3
            and m.webhook_id = $4 || r.line::text
           where r.program_id = $1 and r.import_id = $2
           group by 1
           order by 1"#,
        import.program_id.0,
        import.import_id.0,
        import.source_id.0,
        message_prefix,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|r| (r.verdict, r.n)).collect())
}
