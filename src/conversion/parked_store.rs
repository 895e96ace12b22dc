//! SQL of messages whose event has no name of ours yet.

use serde_json::Value;
use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::ids::{ParkedId, ProgramId, SourceId};
use crate::stream::ConversionRecord;

/// A message that was parked.
#[derive(Clone, Debug)]
pub struct Parked {
    /// The program.
    pub program_id: ProgramId,
    /// Key of the row.
    pub parked_id: ParkedId,
    /// Who sent it.
    pub source_id: SourceId,
    /// The event's name as it was sent.
    pub event_name: String,
    /// The message as it came out of the stream.
    pub record: Value,
    /// When it came.
    pub received_at: Timestamp,
    /// `parked`, `released` or `discarded`.
    pub status: String,
    /// Who decided.
    pub decided_by: Option<String>,
    /// When.
    pub decided_at: Option<Timestamp>,
    /// The event it was released as, or why it was discarded.
    pub note: Option<String>,
}

/// Parks messages; returns how many were not there yet. The same message again changes nothing.
pub async fn park(
    db: &mut PgConnection,
    records: &[&ConversionRecord],
) -> Result<u64, sqlx::Error> {
    if records.is_empty() {
        return Ok(0);
    }
    let event_name =
        |r: &&ConversionRecord| r.report["event"].as_str().unwrap_or_default().to_owned();
    let whole = records
        .iter()
        .map(serde_json::to_value)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| sqlx::Error::Encode(e.into()))?;
    sqlx::query!(
        "insert into parked_messages
             (program_id, parked_id, source_id, message_id, event_name, record, received_at)
         select n.program_id, n.parked_id, n.source_id, n.message_id, n.event_name, n.record,
                n.received_at
         from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::jsonb[],
                     $7::timestamptz[])
             as n (program_id, parked_id, source_id, message_id, event_name, record, received_at)
         on conflict on constraint parked_messages_once do nothing",
        &records.iter().map(|r| r.program_id).collect::<Vec<_>>(),
        &records.iter().map(|_| ParkedId::new().0).collect::<Vec<_>>(),
        &records.iter().map(|r| r.source_id).collect::<Vec<_>>(),
        &records.iter().map(|r| r.message_id.clone()).collect::<Vec<_>>(),
        &records.iter().map(event_name).collect::<Vec<_>>(),
        &whole,
        &records.iter().map(|r| r.received_at).collect::<Vec<_>>(),
    )
    .execute(db)
    .await
    .map(|done| done.rows_affected())
}

/// Lists the messages of a program that stand so, oldest first.
pub async fn list(
    db: &mut PgConnection,
    program_id: ProgramId,
    status: &str,
    after: Option<ParkedId>,
    limit: i64,
) -> Result<Vec<Parked>, sqlx::Error> {
    sqlx::query_as!(
        Parked,
        r#"select program_id as "program_id: ProgramId", parked_id as "parked_id: ParkedId",
                  source_id as "source_id: SourceId", event_name, record, received_at, status,
                  decided_by, decided_at, note
           from parked_messages
           where program_id = $1 and status = $2
             and ($3::uuid is null or parked_id > $3)
           order by parked_id
           limit $4"#,
        program_id.0,
        status,
        after.map(|a| a.0),
        limit,
    )
    .fetch_all(db)
    .await
}

/// Finds a message and keeps others from deciding on it until the transaction ends.
pub async fn lock(
    db: &mut PgConnection,
    parked_id: ParkedId,
) -> Result<Option<Parked>, sqlx::Error> {
    sqlx::query_as!(
        Parked,
        r#"select m.program_id as "program_id: ProgramId", m.parked_id as "parked_id: ParkedId",
                  m.source_id as "source_id: SourceId", m.event_name, m.record, m.received_at,
                  m.status, m.decided_by, m.decided_at, m.note
           from programs p
           join parked_messages m on m.program_id = p.program_id and m.parked_id = $1
           for update of m"#,
        parked_id.0,
    )
    .fetch_optional(db)
    .await
}

/// Writes down what was decided.
pub async fn decide(
    db: &mut PgConnection,
    parked: &Parked,
    status: &str,
    actor: &str,
    note: &str,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update parked_messages
         set status = $3, decided_by = $4, note = $5, decided_at = $6
         where program_id = $1 and parked_id = $2",
        parked.program_id.0,
        parked.parked_id.0,
        status,
        actor,
        note,
        now,
    )
    .execute(db)
    .await
    .map(drop)
}
