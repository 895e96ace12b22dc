//! SQL of talks with partners.

use chrono::NaiveDate;
use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::ids::{InteractionId, PartnerId, ProgramId};

/// A talk as it stands.
#[derive(Clone, Debug)]
pub struct Interaction {
    /// Key of the row.
    pub interaction_id: InteractionId,
    /// When it was.
    pub at: Timestamp,
    /// Call, email, meeting, chat or other.
    pub channel: String,
    /// With whom.
    pub with_whom: Option<String>,
    /// What was said.
    pub note: String,
    /// What comes next.
    pub next_step: Option<String>,
    /// By when.
    pub due: Option<NaiveDate>,
    /// Who wrote it down.
    pub recorded_by: String,
}

/// Inserts a talk and sets when to be in touch next.
pub async fn insert(
    db: &mut PgConnection,
    (program_id, partner_id): (ProgramId, PartnerId),
    i: &Interaction,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into interactions
             (program_id, interaction_id, partner_id, at, channel, with_whom, note, next_step, due,
              recorded_by)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        program_id.0,
        i.interaction_id.0,
        partner_id.0,
        i.at,
        i.channel,
        i.with_whom,
        i.note,
        i.next_step,
        i.due,
        i.recorded_by,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Finds when somebody was last in touch, and the next step that was agreed on then.
pub async fn find_last(
    db: &mut PgConnection,
    program_id: ProgramId,
    partner_id: PartnerId,
) -> Result<Option<(Timestamp, Option<NaiveDate>)>, sqlx::Error> {
    let row = sqlx::query!(
        "select at, due from interactions
         where program_id = $1 and partner_id = $2
         order by at desc, interaction_id desc
         limit 1",
        program_id.0,
        partner_id.0,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|r| (r.at, r.due)))
}

/// Sets when to be in touch next.
pub async fn set_next_due(
    db: &mut PgConnection,
    (program_id, partner_id): (ProgramId, PartnerId),
    due: Option<NaiveDate>,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update enrollments set next_contact_due = $3, updated_at = $4
         where program_id = $1 and partner_id = $2",
        program_id.0,
        partner_id.0,
        due,
        now,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Lists the talks with a partner, newest written first.
pub async fn list(
    db: &mut PgConnection,
    (program_id, partner_id): (ProgramId, PartnerId),
    before: Option<InteractionId>,
    limit: i64,
) -> Result<Vec<Interaction>, sqlx::Error> {
    sqlx::query_as!(
        Interaction,
        r#"select interaction_id as "interaction_id: InteractionId", at, channel, with_whom, note,
                  next_step, due, recorded_by
           from interactions
           where program_id = $1 and partner_id = $2
             and ($3::uuid is null or interaction_id < $3)
           order by interaction_id desc
           limit $4"#,
        program_id.0,
        partner_id.0,
        before.map(|b| b.0),
        limit,
    )
    .fetch_all(db)
    .await
}
