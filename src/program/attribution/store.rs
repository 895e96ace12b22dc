//! SQL of attribution policies: editions are added, never changed.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::ids::{AttributionPolicyId, ProgramId, UserId};
use crate::program::attribution::{Policies, Policy, PolicyDocument, PolicyVersion};

/// An edition of a policy as it lies in the table.
#[derive(Clone, Debug)]
pub struct PolicyRow {
    /// The program.
    pub program_id: ProgramId,
    /// Key of the row.
    pub policy_id: AttributionPolicyId,
    /// From when on it judges conversions.
    pub effective_from: Timestamp,
    /// What it says.
    pub document: PolicyDocument,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Adds an edition, and shows its window with the program. Nobody made the first of a program.
pub async fn insert(
    db: &mut PgConnection,
    row: &PolicyRow,
    created_by: Option<UserId>,
) -> Result<(), sqlx::Error> {
    let document =
        serde_json::to_value(&row.document).map_err(|e| sqlx::Error::Encode(e.into()))?;
    sqlx::query!(
        "insert into attribution_policies
             (program_id, policy_id, effective_from, document, created_by, created_at)
         values ($1, $2, $3, $4, $5, $6)",
        row.program_id.0,
        row.policy_id.0,
        row.effective_from,
        document,
        created_by.map(|user| user.0),
        row.created_at,
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        "update programs
         set attribution_window_days = $2
         where program_id = $1 and attribution_window_days <> $2",
        row.program_id.0,
        row.document.window_days,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Finds an edition.
pub async fn find(
    db: &mut PgConnection,
    policy_id: AttributionPolicyId,
) -> Result<Option<PolicyRow>, sqlx::Error> {
    let row = sqlx::query!(
        r#"select program_id as "program_id: ProgramId", effective_from, document, created_at
           from attribution_policies
           where policy_id = $1"#,
        policy_id.0,
    )
    .fetch_optional(db)
    .await?;
    row.map(|r| {
        Ok(PolicyRow {
            program_id: r.program_id,
            policy_id,
            effective_from: r.effective_from,
            document: read_document(r.document)?,
            created_at: r.created_at,
        })
    })
    .transpose()
}

/// Lists the editions of a program in the order of their beginning, those after `after`.
pub async fn list(
    db: &mut PgConnection,
    program_id: ProgramId,
    after: Option<Timestamp>,
    limit: i64,
) -> Result<Vec<PolicyRow>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select policy_id as "policy_id: AttributionPolicyId", effective_from, document,
                  created_at
           from attribution_policies
           where program_id = $1
             and ($2::timestamptz is null or effective_from > $2)
           order by effective_from
           limit $3"#,
        program_id.0,
        after,
        limit,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|r| {
            Ok(PolicyRow {
                program_id,
                policy_id: r.policy_id,
                effective_from: r.effective_from,
                document: read_document(r.document)?,
                created_at: r.created_at,
            })
        })
        .collect()
}

/// Returns the latest edition of a program.
pub async fn latest(
    db: &mut PgConnection,
    program_id: ProgramId,
) -> Result<Option<PolicyRow>, sqlx::Error> {
    let row = sqlx::query!(
        r#"select policy_id as "policy_id: AttributionPolicyId", effective_from, document,
                  created_at
           from attribution_policies
           where program_id = $1
           order by effective_from desc
           limit 1"#,
        program_id.0,
    )
    .fetch_optional(db)
    .await?;
    row.map(|r| {
        Ok(PolicyRow {
            program_id,
            policy_id: r.policy_id,
            effective_from: r.effective_from,
            document: read_document(r.document)?,
            created_at: r.created_at,
        })
    })
    .transpose()
}

/// Loads every edition of some programs, for judging.
pub async fn load(
    db: &mut PgConnection,
    programs: &[ProgramId],
) -> Result<Vec<(ProgramId, PolicyVersion)>, sqlx::Error> {
    let ids: Vec<Uuid> = programs.iter().map(|program| program.0).collect();
    let rows = sqlx::query!(
        r#"select program_id as "program_id: ProgramId",
                  policy_id as "policy_id: AttributionPolicyId", effective_from, document
           from attribution_policies
           where program_id = any($1)"#,
        &ids,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|r| {
            let policy = Policy::try_from(&read_document(r.document)?).map_err(|wrong| {
                sqlx::Error::Decode(format!("{} is no policy: {wrong:?}", r.policy_id).into())
            })?;
            let (id, effective_from) = (Some(r.policy_id), r.effective_from);
            Ok((r.program_id, PolicyVersion { id, effective_from, policy }))
        })
        .collect()
}

/// Loads the editions of one program.
pub async fn load_one(
    db: &mut PgConnection,
    program_id: ProgramId,
) -> Result<Policies, sqlx::Error> {
    let versions = load(db, &[program_id]).await?;
    Ok(Policies::new(versions.into_iter().map(|(_, version)| version).collect()))
}

fn read_document(document: serde_json::Value) -> Result<PolicyDocument, sqlx::Error> {
    serde_json::from_value(document).map_err(|e| sqlx::Error::Decode(e.into()))
}
