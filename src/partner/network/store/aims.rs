//! SQL of goals and contests.

use std::collections::HashMap;

use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::ids::{ContestId, GoalId, PartnerId, ProgramId};
use crate::partner::network::contest::Place;
use crate::partner::network::{Days, Metric};

/// A goal as it stands.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    /// Key of the row.
    pub goal_id: GoalId,
    /// What it counts.
    pub metric: Metric,
    /// When.
    pub days: Days,
    /// How much: a count, or minor units.
    pub target: i64,
}

/// A contest as it stands.
#[derive(Clone, Debug)]
pub struct Contest {
    /// Its program.
    pub program_id: ProgramId,
    /// Key of the row.
    pub contest_id: ContestId,
    /// What people call it.
    pub name: String,
    /// What it counts.
    pub metric: Metric,
    /// When.
    pub days: Days,
    /// What there is to win.
    pub prize: String,
    /// Since when its board does not change.
    pub frozen_at: Option<Timestamp>,
}

fn metric(text: &str) -> Result<Metric, sqlx::Error> {
    Metric::parse(text).ok_or_else(|| sqlx::Error::Decode(format!("metric {text:?}").into()))
}

/// Inserts a goal.
pub async fn insert_goal(
    db: &mut PgConnection,
    (program_id, partner_id): (ProgramId, PartnerId),
    g: &Goal,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into goals
             (program_id, goal_id, partner_id, metric, from_on, to_on, target, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        program_id.0,
        g.goal_id.0,
        partner_id.0,
        g.metric.as_str(),
        g.days.from,
        g.days.to,
        g.target,
        now,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Lists the goals of a partner, newest first.
pub async fn list_goals(
    db: &mut PgConnection,
    (program_id, partner_id): (ProgramId, PartnerId),
    before: Option<GoalId>,
    limit: i64,
) -> Result<Vec<Goal>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select goal_id as "goal_id: GoalId", metric, from_on, to_on, target
           from goals
           where program_id = $1 and partner_id = $2 and ($3::uuid is null or goal_id < $3)
           order by goal_id desc
           limit $4"#,
        program_id.0,
        partner_id.0,
        before.map(|b| b.0),
        limit,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|r| {
            Ok(Goal {
                goal_id: r.goal_id,
                metric: metric(&r.metric)?,
                days: Days { from: r.from_on, to: r.to_on },
                target: r.target,
            })
        })
        .collect()
}

/// Inserts a contest.
pub async fn insert_contest(
    db: &mut PgConnection,
    c: &Contest,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into contests
             (program_id, contest_id, name, metric, from_on, to_on, prize, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        c.program_id.0,
        c.contest_id.0,
        c.name,
        c.metric.as_str(),
        c.days.from,
        c.days.to,
        c.prize,
        now,
    )
    .execute(db)
    .await
    .map(drop)
}

struct ContestRow {
    program_id: ProgramId,
    contest_id: ContestId,
    name: String,
    metric: String,
    from_on: chrono::NaiveDate,
    to_on: chrono::NaiveDate,
    prize: String,
    frozen_at: Option<Timestamp>,
}

impl ContestRow {
    fn contest(self) -> Result<Contest, sqlx::Error> {
        Ok(Contest {
            program_id: self.program_id,
            contest_id: self.contest_id,
            name: self.name,
            metric: metric(&self.metric)?,
            days: Days { from: self.from_on, to: self.to_on },
            prize: self.prize,
            frozen_at: self.frozen_at,
        })
    }
}

/// Finds a contest.
pub async fn find_contest(
    db: &mut PgConnection,
    contest_id: ContestId,
) -> Result<Option<Contest>, sqlx::Error> {
    let row = sqlx::query_as!(
        ContestRow,
        r#"select program_id as "program_id: ProgramId", contest_id as "contest_id: ContestId",
                  name, metric, from_on, to_on, prize, frozen_at
           from contests
           where contest_id = $1"#,
        contest_id.0,
    )
    .fetch_optional(db)
    .await?;
    row.map(ContestRow::contest).transpose()
}

/// Lists the contests of a program, newest first.
pub async fn list_contests(
    db: &mut PgConnection,
    program_id: ProgramId,
    before: Option<ContestId>,
    limit: i64,
) -> Result<Vec<Contest>, sqlx::Error> {
    let rows = sqlx::query_as!(
        ContestRow,
        r#"select program_id as "program_id: ProgramId", contest_id as "contest_id: ContestId",
                  name, metric, from_on, to_on, prize, frozen_at
           from contests
           where program_id = $1 and ($2::uuid is null or contest_id < $2)
           order by contest_id desc
           limit $3"#,
        program_id.0,
        before.map(|b| b.0),
        limit,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(ContestRow::contest).collect()
}

/// Finds a contest whose last day was over before `ended_by` and whose board is not frozen yet, and
/// keeps other instances from it until the transaction ends.
pub async fn lock_unfrozen(
    db: &mut PgConnection,
    ended_by: Timestamp,
) -> Result<Option<Contest>, sqlx::Error> {
    let row = sqlx::query_as!(
        ContestRow,
        r#"select c.program_id as "program_id: ProgramId", c.contest_id as "contest_id: ContestId",
                  c.name, c.metric, c.from_on, c.to_on, c.prize, c.frozen_at
           from contests c
           join programs g on g.program_id = c.program_id
           where c.frozen_at is null
             and (c.to_on + 1)::timestamp at time zone g.time_zone <= $1
           order by c.contest_id
           limit 1
           for update of c skip locked"#,
        ended_by,
    )
    .fetch_optional(db)
    .await?;
    row.map(ContestRow::contest).transpose()
}

/// Freezes the board of a contest.
pub async fn freeze(
    db: &mut PgConnection,
    c: &Contest,
    places: &[Place],
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let partners: Vec<uuid::Uuid> = places.iter().map(|p| p.partner_id.0).collect();
    let numbers: Vec<i32> =
        places.iter().map(|p| i32::try_from(p.place).unwrap_or(i32::MAX)).collect();
    let figures: Vec<i64> = places.iter().map(|p| p.figure).collect();
    sqlx::query!(
        "insert into contest_places (program_id, contest_id, partner_id, place, figure)
         select $1, $2, * from unnest($3::uuid[], $4::int[], $5::bigint[])",
        c.program_id.0,
        c.contest_id.0,
        &partners[..],
        &numbers[..],
        &figures[..],
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        "update contests set frozen_at = $3 where program_id = $1 and contest_id = $2",
        c.program_id.0,
        c.contest_id.0,
        now,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Reads a frozen board.
pub async fn read_places(db: &mut PgConnection, c: &Contest) -> Result<Vec<Place>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select place, partner_id as "partner_id: PartnerId", figure
           from contest_places
           where program_id = $1 and contest_id = $2
           order by place, partner_id"#,
        c.program_id.0,
        c.contest_id.0,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| Place {
            place: u32::try_from(r.place).unwrap_or(u32::MAX),
            partner_id: r.partner_id,
            figure: r.figure,
        })
        .collect())
}

/// Reads who may take part in the contests of a program, with the names that they chose for boards.
pub async fn read_contestants(
    db: &mut PgConnection,
    program_id: ProgramId,
) -> Result<HashMap<PartnerId, Option<String>>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select e.partner_id as "partner_id: PartnerId", e.public_name
           from enrollments e
           join partners p on p.partner_id = e.partner_id
           where e.program_id = $1 and e.status = 'active' and p.status = 'active'"#,
        program_id.0,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|r| (r.partner_id, r.public_name)).collect())
}
