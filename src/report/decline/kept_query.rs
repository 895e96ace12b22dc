//! What was kept of days that were learned before, as far as it still holds.

use chrono::NaiveDate;
use sqlx::PgConnection;

use super::VERSION;
use crate::report::Params;

/// Reads what was kept of a day, if it still holds.
pub(super) async fn read_learned(
    db: &mut PgConnection,
    params: &Params,
    day: NaiveDate,
) -> Result<Option<Vec<u8>>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select learned as "learned!"
           from decline_learned
           where program_id = $1 and day = $2 and time_zone = $3 and version = $4
             and not has_changed and learned is not null"#,
        params.program_id.0,
        day,
        params.window.time_zone.name(),
        VERSION,
    )
    .fetch_optional(db)
    .await
}

/// What is known of a day before its report is told.
pub(super) struct KnownDay {
    /// Whether what was kept of it still holds.
    pub(super) is_learned: bool,
    /// Whether its days are those of the program, which alone are kept.
    pub(super) is_own_zone: bool,
    /// The newest day before it that was kept and still holds.
    pub(super) learned_until: Option<NaiveDate>,
    /// Everybody who takes part in the program.
    pub(super) n_partners: i64,
}

/// Reads what is known of a day.
pub(super) async fn read_known(
    db: &mut PgConnection,
    params: &Params,
    day: NaiveDate,
) -> Result<KnownDay, sqlx::Error> {
    sqlx::query_as!(
        KnownDay,
        r#"select p.time_zone = $3 as "is_own_zone!",
                  coalesce(l.until = $2, false) as "is_learned!",
                  case when l.until < $2 then l.until end as learned_until,
                  (select count(*) from enrollments e where e.program_id = $1) as "n_partners!"
           from programs p
           left join lateral (
               select max(l.day) as until
               from decline_learned l
               where l.program_id = $1 and l.day <= $2 and l.time_zone = $3 and l.version = $4
                 and not l.has_changed and l.learned is not null) l on true
           where p.program_id = $1"#,
        params.program_id.0,
        day,
        params.window.time_zone.name(),
        VERSION,
    )
    .fetch_one(db)
    .await
}

/// Reads the day of the newest head of states from `from` to before `day` that still holds.
pub(super) async fn read_head_day(
    db: &mut PgConnection,
    params: &Params,
    (from, day): (NaiveDate, NaiveDate),
) -> Result<Option<NaiveDate>, sqlx::Error> {
    sqlx::query_scalar!(
        "select max(day)
         from decline_learned
         where program_id = $1 and day >= $2 and day < $3 and time_zone = $4 and version = $5
           and not has_changed and head is not null",
        params.program_id.0,
        from,
        day,
        params.window.time_zone.name(),
        VERSION,
    )
    .fetch_one(db)
    .await
}

/// Reads the newest head of states from `from` to `until` that still holds.
pub(super) async fn read_head(
    db: &mut PgConnection,
    params: &Params,
    (from, until): (NaiveDate, NaiveDate),
) -> Result<Option<(NaiveDate, Vec<u8>)>, sqlx::Error> {
    let row = sqlx::query!(
        r#"select day, head as "head!"
           from decline_learned
           where program_id = $1 and day between $2 and $3 and time_zone = $4 and version = $5
             and not has_changed and head is not null
           order by day desc
           limit 1"#,
        params.program_id.0,
        from,
        until,
        params.window.time_zone.name(),
        VERSION,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| (row.day, row.head)))
}

/// Reads the block of states after that number.
pub(super) async fn read_block(
    db: &mut PgConnection,
    params: &Params,
    day: NaiveDate,
    after: i32,
) -> Result<Option<(i32, Vec<u8>)>, sqlx::Error> {
    let row = sqlx::query!(
        "select block, states
         from decline_states
         where program_id = $1 and day = $2 and block > $3
         order by block
         limit 1",
        params.program_id.0,
        day,
        after,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| (row.block, row.states)))
}
