//! SQL of closed months.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::ids::{ProgramId, UserId};
use crate::ledger::period::{ClosedPeriod, Month};
use crate::ledger::proof::{ChainHash, GENESIS};

struct Row {
    program_id: ProgramId,
    period: String,
    starts_at: Timestamp,
    ends_at: Timestamp,
    after_sequence: i64,
    last_sequence: i64,
    chain_hash: Vec<u8>,
    closed_by: UserId,
    closed_at: Timestamp,
}

impl TryFrom<Row> for ClosedPeriod {
    type Error = sqlx::Error;

    fn try_from(r: Row) -> Result<Self, sqlx::Error> {
        Ok(Self {
            program_id: r.program_id,
            month: r.period.parse().map_err(|e| sqlx::Error::Decode(Box::new(e)))?,
            starts_at: r.starts_at,
            ends_at: r.ends_at,
            after_sequence: r.after_sequence,
            last_sequence: r.last_sequence,
            chain_hash: r.chain_hash.try_into().unwrap_or(GENESIS),
            closed_by: r.closed_by,
            closed_at: r.closed_at,
        })
    }
}

/// Loads the closed months of programs, the newest first.
pub async fn load_closed(
    db: &mut PgConnection,
    programs: &[ProgramId],
    before: Option<Month>,
    limit: i64,
) -> Result<Vec<ClosedPeriod>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"select program_id as "program_id: ProgramId", period, starts_at, ends_at,
                  after_sequence, last_sequence, chain_hash,
                  closed_by as "closed_by: UserId", closed_at
           from closed_periods
           where program_id = any($1) and ($2::text is null or period < $2)
           order by period desc, program_id
           limit $3"#,
        &programs.iter().map(|p| p.0).collect::<Vec<Uuid>>(),
        before.map(|m| m.to_string()),
        limit,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(ClosedPeriod::try_from).collect()
}

/// Finds the last month that a program closed.
pub async fn find_last_closed(
    db: &mut PgConnection,
    program_id: ProgramId,
) -> Result<Option<ClosedPeriod>, sqlx::Error> {
    Ok(load_closed(db, &[program_id], None, 1).await?.pop())
}

/// Returns the last transaction of a program's ledger that is there for good, and the hash there.
///
/// The head is written in the transaction of the entries, so whoever sees it sees all before it;
/// what is being posted at this moment comes after it.
pub async fn read_head(
    db: &mut PgConnection,
    program_id: ProgramId,
) -> Result<(i64, ChainHash), sqlx::Error> {
    let row =
        sqlx::query!("select sequence, hash from ledger_heads where program_id = $1", program_id.0)
            .fetch_optional(db)
            .await?;
    Ok(row.map_or((0, GENESIS), |r| (r.sequence, r.hash.try_into().unwrap_or(GENESIS))))
}

/// Inserts a closed month; false when somebody else just closed it.
pub async fn insert_closed(db: &mut PgConnection, p: &ClosedPeriod) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "insert into closed_periods
             (program_id, period, starts_at, ends_at, after_sequence, last_sequence, chain_hash,
              closed_by, closed_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         on conflict on constraint closed_periods_pkey do nothing",
        p.program_id.0,
        p.month.to_string(),
        p.starts_at,
        p.ends_at,
        p.after_sequence,
        p.last_sequence,
        &p.chain_hash[..],
        p.closed_by.0,
        p.closed_at,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}
