//! SQL of refused calls: what was counted is added to the hour, and old hours are forgotten.

use sqlx::PgConnection;

use super::Counted;
use crate::clock::Timestamp;

/// Adds what was counted, in the order of its keys, so that two processes that write at once wait
/// for one another instead of each waiting for both.
pub async fn add(db: &mut PgConnection, counted: &Counted) -> Result<(), sqlx::Error> {
    for ((kind, hour), tally) in counted {
        // What a snapshot of another database still knew as a source is nobody's.
        sqlx::query!(
            "insert into calls_refused as r
                 (program_id, hour, source_id, channel, reason, n_calls, first_at, last_at, behind_s,
                  message_ids, order_ids)
             select s.program_id, $2::timestamptz, s.source_id, $4::text, $5::text, $6::bigint,
                    $7::timestamptz, $8::timestamptz, $9::bigint, $10::text[], $11::text[]
             from sources s
             where s.program_id = $1 and s.source_id = $3
             on conflict on constraint calls_refused_pkey do update
             set n_calls = r.n_calls + excluded.n_calls,
                 first_at = least(r.first_at, excluded.first_at),
                 last_at = greatest(r.last_at, excluded.last_at),
                 behind_s = coalesce(excluded.behind_s, r.behind_s),
                 message_ids = array(
                     select n.name
                     from unnest(r.message_ids || excluded.message_ids)
                         with ordinality as n (name, place)
                     group by n.name order by min(n.place) limit 5),
                 order_ids = array(
                     select n.name
                     from unnest(r.order_ids || excluded.order_ids)
                         with ordinality as n (name, place)
                     group by n.name order by min(n.place) limit 5)",
            kind.program_id.0,
            hour,
            kind.source_id.0,
            kind.channel,
            kind.reason.as_str(),
            tally.n_calls,
            tally.first_at,
            tally.last_at,
            tally.behind_s,
            &tally.message_ids,
            &tally.order_ids,
        )
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}

/// Forgets the hours before a time.
pub async fn forget(db: &mut PgConnection, before: Timestamp) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from calls_refused where hour < $1", before).execute(db).await.map(drop)
}
