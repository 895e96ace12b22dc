//! SQL of what is set for the postbacks of a source.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;
use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::ids::SourceId;
use crate::program::Source;
use crate::program::postback::{PostbackKey, PostbackTerms};

/// Reads what is set for a source; the default where nothing is.
pub async fn find_terms(
    db: &mut PgConnection,
    source: &Source,
) -> Result<PostbackTerms, sqlx::Error> {
    let row = sqlx::query!(
        "select alias_profile, status_map, event_map, default_event, needs_signature,
                approves_by_time, key_hash, older_key_hash, older_ends_at
         from source_postbacks
         where program_id = $1 and source_id = $2",
        source.program_id.0,
        source.source_id.0,
    )
    .fetch_optional(db)
    .await?;
    let Some(row) = row else { return Ok(PostbackTerms::default()) };
    Ok(PostbackTerms {
        alias_profile: row.alias_profile,
        status_map: map_of(row.status_map)?,
        event_map: map_of(row.event_map)?,
        default_event: row.default_event,
        needs_signature: row.needs_signature,
        approves_by_time: row.approves_by_time,
        keys: keys(row.key_hash, row.older_key_hash, row.older_ends_at),
    })
}

/// Reads what is set for every source, for the copy of the terms.
pub async fn load_terms(
    db: &mut PgConnection,
) -> Result<HashMap<SourceId, PostbackTerms>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select source_id as "source_id: SourceId", alias_profile, status_map, event_map,
                  default_event, needs_signature, approves_by_time, key_hash, older_key_hash,
                  older_ends_at
           from source_postbacks"#
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            let terms = PostbackTerms {
                alias_profile: row.alias_profile,
                status_map: map_of(row.status_map)?,
                event_map: map_of(row.event_map)?,
                default_event: row.default_event,
                needs_signature: row.needs_signature,
                approves_by_time: row.approves_by_time,
                keys: keys(row.key_hash, row.older_key_hash, row.older_ends_at),
            };
            Ok((row.source_id, terms))
        })
        .collect()
}

/// Returns the keys of a row, newest first.
fn keys(
    newest: Option<Vec<u8>>,
    older: Option<Vec<u8>>,
    older_ends_at: Option<Timestamp>,
) -> Vec<PostbackKey> {
    let newest = newest.map(|hash| PostbackKey { hash, ends_at: None });
    newest
        .into_iter()
        .chain(older.map(|hash| PostbackKey { hash, ends_at: older_ends_at }))
        .collect()
}

/// Returns a map of words as the column holds it.
fn map_of(value: Value) -> Result<BTreeMap<String, String>, sqlx::Error> {
    serde_json::from_value(value).map_err(|e| sqlx::Error::Decode(e.into()))
}

fn value_of(map: &BTreeMap<String, String>) -> Value {
    map.iter().map(|(theirs, ours)| (theirs.clone(), Value::from(ours.as_str()))).collect()
}

/// Sets everything but the keys.
pub async fn set_terms(
    db: &mut PgConnection,
    source: &Source,
    terms: &PostbackTerms,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into source_postbacks
             (program_id, source_id, alias_profile, status_map, event_map, default_event,
              needs_signature, approves_by_time, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         on conflict on constraint source_postbacks_pkey do update
         set alias_profile = excluded.alias_profile,
             status_map = excluded.status_map,
             event_map = excluded.event_map,
             default_event = excluded.default_event,
             needs_signature = excluded.needs_signature,
             approves_by_time = excluded.approves_by_time,
             updated_at = excluded.updated_at",
        source.program_id.0,
        source.source_id.0,
        terms.alias_profile,
        value_of(&terms.status_map),
        value_of(&terms.event_map),
        terms.default_event,
        terms.needs_signature,
        terms.approves_by_time,
        now,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Puts a new key in force; the one before it ends at `older_ends_at`, those before it at once.
pub async fn rotate_key(
    db: &mut PgConnection,
    source: &Source,
    key_hash: &[u8],
    now: Timestamp,
    older_ends_at: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into source_postbacks (program_id, source_id, key_hash, updated_at)
         values ($1, $2, $3, $4)
         on conflict on constraint source_postbacks_pkey do update
         set key_hash = excluded.key_hash,
             older_key_hash = source_postbacks.key_hash,
             older_ends_at = case when source_postbacks.key_hash is null then null else $5::timestamptz end,
             updated_at = excluded.updated_at",
        source.program_id.0,
        source.source_id.0,
        key_hash,
        now,
        older_ends_at,
    )
    .execute(db)
    .await
    .map(drop)
}
