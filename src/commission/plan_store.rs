//! SQL of the editions of plans, as people see them.

use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::commission::plan::PlanDocument;
use crate::ids::{PlanVersionId, ProgramId};

/// An edition of a plan as it lies in the table.
#[derive(Clone, Debug)]
pub struct PlanRow {
    /// The program.
    pub program_id: ProgramId,
    /// Key of the row.
    pub plan_version_id: PlanVersionId,
    /// From when on it prices events.
    pub effective_from: Timestamp,
    /// What it says.
    pub document: PlanDocument,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Keeps others from adding editions to a program until the transaction ends; false when there is
/// no such program.
pub async fn lock_plans(db: &mut PgConnection, program_id: ProgramId) -> Result<bool, sqlx::Error> {
    let found = sqlx::query_scalar!(
        "select program_id from programs where program_id = $1 for no key update",
        program_id.0,
    )
    .fetch_optional(db)
    .await?;
    Ok(found.is_some())
}

/// Returns when the latest edition of a program's plan begins.
pub async fn latest_plan_date(
    db: &mut PgConnection,
    program_id: ProgramId,
) -> Result<Option<Timestamp>, sqlx::Error> {
    sqlx::query_scalar!(
        "select max(effective_from) from plan_versions where program_id = $1",
        program_id.0,
    )
    .fetch_one(db)
    .await
}

/// Finds an edition of a plan.
pub async fn find_plan(
    db: &mut PgConnection,
    plan_version_id: PlanVersionId,
) -> Result<Option<PlanRow>, sqlx::Error> {
    let row = sqlx::query!(
        r#"select program_id as "program_id: ProgramId", effective_from, document, created_at
           from plan_versions
           where plan_version_id = $1"#,
        plan_version_id.0,
    )
    .fetch_optional(db)
    .await?;
    row.map(|r| {
        Ok(PlanRow {
            program_id: r.program_id,
            plan_version_id,
            effective_from: r.effective_from,
            document: read_document(r.document)?,
            created_at: r.created_at,
        })
    })
    .transpose()
}

/// Lists the editions of a program's plan in the order of their making, after the given one.
pub async fn list_plans(
    db: &mut PgConnection,
    program_id: ProgramId,
    after: Option<PlanVersionId>,
    limit: i64,
) -> Result<Vec<PlanRow>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select plan_version_id as "plan_version_id: PlanVersionId", effective_from, document,
                  created_at
           from plan_versions
           where program_id = $1
             and ($2::uuid is null or plan_version_id > $2)
           order by plan_version_id
           limit $3"#,
        program_id.0,
        after.map(|a| a.0),
        limit,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|r| {
            Ok(PlanRow {
                program_id,
                plan_version_id: r.plan_version_id,
                effective_from: r.effective_from,
                document: read_document(r.document)?,
                created_at: r.created_at,
            })
        })
        .collect()
}

fn read_document(document: serde_json::Value) -> Result<PlanDocument, sqlx::Error> {
    serde_json::from_value(document).map_err(|e| sqlx::Error::Decode(e.into()))
}
