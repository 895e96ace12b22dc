//! SQL of the position in the stream, and of dead letters.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::stream::dead_letter::DeadLetter;
use crate::stream::{Offset, Shard};

/// Where a shard stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The life of the shard that the offset belongs to.
    pub generation: Uuid,
    /// The last entry that is settled.
    pub offset: Offset,
}

/// What a batch did, for the counters beside the position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events settled.
    pub n_settled: u64,
    /// Events that were there already.
    pub n_duplicates: u64,
    /// Events moved to the dead letters.
    pub n_dead: u64,
    /// Entries that were not settled before.
    pub n_entries: u64,
}

/// Locks and reads where a shard stands in this generation; begins at the start of a new one.
///
/// The lock lasts until the transaction ends: two settlers of one shard stand in line, and the
/// second reads what the first wrote.
pub async fn lock_position(
    db: &mut PgConnection,
    prefix: &str,
    shard: Shard,
    generation: Uuid,
    now: Timestamp,
) -> Result<Offset, sqlx::Error> {
    let made = sqlx::query!(
        "insert into stream_offsets (prefix, shard, generation, n_entries, updated_at)
         values ($1, $2, $3, 0, $4)
         on conflict on constraint stream_offsets_pkey do nothing",
        prefix,
        i32::from(shard.0),
        generation,
        now,
    )
    .execute(&mut *db)
    .await?;
    if made.rows_affected() == 1 && count_generations(db, prefix, shard).await? > 1 {
        tracing::error!(
            "the stream of shard {shard} began anew: Redis was emptied or replaced; what it holds \
             now is read from its start"
        );
    }
    let row = sqlx::query!(
        "select ms, seq from stream_offsets
         where prefix = $1 and shard = $2 and generation = $3
         for update",
        prefix,
        i32::from(shard.0),
        generation,
    )
    .fetch_one(db)
    .await?;
    Ok(Offset { ms: u64::try_from(row.ms).unwrap_or(0), seq: u64::try_from(row.seq).unwrap_or(0) })
}

async fn count_generations(
    db: &mut PgConnection,
    prefix: &str,
    shard: Shard,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select count(*) as "n!" from stream_offsets where prefix = $1 and shard = $2"#,
        prefix,
        i32::from(shard.0),
    )
    .fetch_one(db)
    .await
}

/// Reads where a shard stands, without a lock.
pub async fn read_position(
    db: &mut PgConnection,
    prefix: &str,
    shard: Shard,
    generation: Uuid,
) -> Result<Offset, sqlx::Error> {
    read_standing(db, prefix, shard, generation).await.map(|stands| stands.offset)
}

/// Where a shard stands, and how much is behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The last entry that is settled.
    pub offset: Offset,
    /// Entries settled in this life of the shard; none where they were not counted from its start.
    pub n_entries: Option<u64>,
}

/// Reads where a shard stands and what was settled of it, without a lock.
pub async fn read_standing(
    db: &mut PgConnection,
    prefix: &str,
    shard: Shard,
    generation: Uuid,
) -> Result<Standing, sqlx::Error> {
    let row = sqlx::query!(
        "select ms, seq, n_entries from stream_offsets
         where prefix = $1 and shard = $2 and generation = $3",
        prefix,
        i32::from(shard.0),
        generation,
    )
    .fetch_optional(db)
    .await?;
    let whole = |n: i64| u64::try_from(n).unwrap_or(0);
    Ok(row.map_or(Standing { offset: Offset::START, n_entries: Some(0) }, |r| Standing {
        offset: Offset { ms: whole(r.ms), seq: whole(r.seq) },
        n_entries: r.n_entries.map(whole),
    }))
}

/// Moves the position, with the counters.
pub async fn move_position(
    db: &mut PgConnection,
    prefix: &str,
    shard: Shard,
    to: Position,
    counts: Counts,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let whole = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    sqlx::query!(
        "update stream_offsets
         set ms = $4, seq = $5, n_settled = n_settled + $6, n_duplicates = n_duplicates + $7,
             n_dead = n_dead + $8, updated_at = $10,
             -- Whoever stands at the start has nothing behind.
             n_entries = case when (ms, seq) = (0, 0) then 0 else n_entries end + $9
         where prefix = $1 and shard = $2 and generation = $3",
        prefix,
        i32::from(shard.0),
        to.generation,
        whole(to.offset.ms),
        whole(to.offset.seq),
        whole(counts.n_settled),
        whole(counts.n_duplicates),
        whole(counts.n_dead),
        whole(counts.n_entries),
        now,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Goes back to the start of a log that was set back, unless somebody moved on from `from` meanwhile.
pub async fn rewind(
    db: &mut PgConnection,
    prefix: &str,
    shard: Shard,
    from: Position,
) -> Result<(), sqlx::Error> {
    let whole = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    sqlx::query!(
        "update stream_offsets
         set ms = 0, seq = 0
         where prefix = $1 and shard = $2 and generation = $3 and (ms, seq) = ($4, $5)",
        prefix,
        i32::from(shard.0),
        from.generation,
        whole(from.offset.ms),
        whole(from.offset.seq),
    )
    .execute(db)
    .await
    .map(drop)
}

/// Keeps what could not be understood or applied; the same bytes read twice are kept once.
pub async fn insert_dead_letters(
    db: &mut PgConnection,
    prefix: &str,
    letters: &[DeadLetter],
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    if letters.is_empty() {
        return Ok(());
    }
    let whole = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let kind = |letter: &DeadLetter| {
        letter.kind.map_or_else(|| "entry".to_owned(), |kind| kind.to_string())
    };
    let place = |letter: &DeadLetter| i32::try_from(letter.position).unwrap_or(i32::MAX);
    sqlx::query!(
        "insert into dead_letters
             (dead_letter_id, prefix, shard, ms, seq, record, kind, bytes, error, created_at)
         select n.dead_letter_id, $1, n.shard, n.ms, n.seq, n.record, n.kind, n.bytes, n.error, $2
         from unnest($3::uuid[], $4::integer[], $5::bigint[], $6::bigint[], $7::integer[],
                     $8::text[], $9::bytea[], $10::text[])
             as n (dead_letter_id, shard, ms, seq, record, kind, bytes, error)
         on conflict on constraint dead_letters_once do nothing",
        prefix,
        now,
        &letters.iter().map(|_| Uuid::now_v7()).collect::<Vec<_>>(),
        &letters.iter().map(|l| i32::from(l.shard.0)).collect::<Vec<_>>(),
        &letters.iter().map(|l| whole(l.offset.ms)).collect::<Vec<_>>(),
        &letters.iter().map(|l| whole(l.offset.seq)).collect::<Vec<_>>(),
        &letters.iter().map(place).collect::<Vec<_>>(),
        &letters.iter().map(kind).collect::<Vec<_>>(),
        &letters.iter().map(|l| l.bytes.clone()).collect::<Vec<_>>(),
        &letters.iter().map(|l| l.reason.clone()).collect::<Vec<_>>(),
    )
    .execute(db)
    .await
    .map(drop)
}

/// Counts the dead letters that were not replayed.
pub async fn count_dead_letters(db: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(r#"select count(*) as "n!" from dead_letters where replayed_at is null"#)
        .fetch_one(db)
        .await
}
