//! SQL of history: conversions in the order of their time, a page at a time, and how many there are.

use std::collections::HashMap;

use sqlx::{Executor as _, PgConnection};
use uuid::Uuid;

use super::past::{CommissionLine, ConversionLine, Page};
use super::replay::Span;
use crate::clock::Timestamp;
use crate::commission::{CommissionKind, CommissionState};
use crate::ids::{CommissionId, ConversionId, PartnerId, PlanVersionId, ProgramId};
use crate::money::Money;

/// One moment for all statements, no writing, a bound for each; between two pages somebody may
/// reckon for a while. Each page is planned for its own place, as a plan for any would sort it all.
const READING: [&str; 4] = [
    "set transaction isolation level repeatable read read only",
    "set local plan_cache_mode = force_custom_plan",
    "set local statement_timeout = '60s'",
    "set local idle_in_transaction_session_timeout = '60s'",
];

/// Which conversions are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Those that belong to a partner.
    Attributed,
    /// Those of this partner, as far as it earned by them or may.
    Of(PartnerId),
    /// Those of nobody, too.
    All,
}

/// A stretch of a program's history.
#[derive(Clone, Copy, Debug)]
pub struct Stretch {
    /// The program.
    pub program_id: ProgramId,
    /// Which conversions.
    pub whose: Whose,
    /// From when until before when.
    pub span: Span,
}

/// The last conversion of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// When it happened.
    pub occurred_at: Timestamp,
    /// Its name.
    pub name: String,
}

/// Sets a transaction to read one moment and nothing else.
pub async fn begin_reading(db: &mut PgConnection) -> Result<(), sqlx::Error> {
    for setting in READING {
        db.execute(setting).await?;
    }
    Ok(())
}

/// Counts the conversions of a stretch.
pub async fn count(db: &mut PgConnection, of: &Stretch) -> Result<u64, sqlx::Error> {
    let (partner_id, is_all) = of.columns();
    let n = sqlx::query_scalar!(
        r#"select count(*) as "n!"
           from conversions c
           where c.program_id = $1
             and c.occurred_at >= $2
             and c.occurred_at < $3
             and not c.is_test
             and ($4::uuid is null or c.partner_id = $4)
             and ($5 or c.partner_id is not null)"#,
        of.program_id.0,
        of.span.from,
        of.span.to,
        partner_id,
        is_all,
    )
    .fetch_one(db)
    .await?;
    Ok(u64::try_from(n).unwrap_or_default())
}

/// Loads the next page, and where it ends.
pub async fn load_page(
    db: &mut PgConnection,
    of: &Stretch,
    after: Option<&Place>,
    limit: i64,
) -> Result<(Page, Option<Place>), sqlx::Error> {
    let conversions = load_conversions(db, of, after, limit).await?;
    let last = conversions.last();
    let place = last.map(|line| Place { occurred_at: line.occurred_at, name: line.name.clone() });
    let ids: Vec<Uuid> = conversions.iter().map(|line| line.conversion_id.0).collect();
    let commissions = load_commissions(db, of.program_id, &ids).await?;
    let refunds = load_refunds(db, of.program_id, &ids).await?;
    Ok((Page { conversions, commissions, refunds }, place))
}

async fn load_conversions(
    db: &mut PgConnection,
    of: &Stretch,
    after: Option<&Place>,
    limit: i64,
) -> Result<Vec<ConversionLine>, sqlx::Error> {
    let (partner_id, is_all) = of.columns();
    sqlx::query_as!(
        ConversionLine,
        r#"select c.conversion_id as "conversion_id: ConversionId",
                  concat_ws(E'\n', c.order_namespace, c.event, c.dedup_ref) as "name!",
                  c.occurred_at,
                  case when c.attribution in ('click', 'coupon', 'customer')
                            and e.status = 'active'
                            and p.status = 'active'
                       then c.partner_id end as "attributed_to: PartnerId",
                  c.path::text as path, c.customer_hash, c.details::text as "details!"
           from conversions c
           left join enrollments e on e.program_id = c.program_id and e.partner_id = c.partner_id
           left join partners p on p.partner_id = c.partner_id
           where c.program_id = $1
             and c.occurred_at >= $2
             and c.occurred_at < $3
             and not c.is_test
             and ($4::uuid is null or c.partner_id = $4)
             and ($5 or c.partner_id is not null)
             and ($6::text is null or c.occurred_at > $2
                  or concat_ws(E'\n', c.order_namespace, c.event, c.dedup_ref) collate "C" > $6)
           order by c.occurred_at,
                    concat_ws(E'\n', c.order_namespace, c.event, c.dedup_ref) collate "C"
           limit $7"#,
        of.program_id.0,
        after.map_or(of.span.from, |place| place.occurred_at),
        of.span.to,
        partner_id,
        is_all,
        after.map(|place| place.name.as_str()),
        limit,
    )
    .fetch_all(db)
    .await
}

async fn load_commissions(
    db: &mut PgConnection,
    program_id: ProgramId,
    conversions: &[Uuid],
) -> Result<Vec<CommissionLine>, sqlx::Error> {
    // Of the arithmetic only what it started from: the steps would be half of all bytes.
    let rows = sqlx::query!(
        r#"select m.conversion_id as "conversion_id!: ConversionId",
                  m.commission_id as "commission_id: CommissionId", m.kind, m.state,
                  m.partner_id as "partner_id: PartnerId",
                  m.corrects_id as "corrects_id: CommissionId", m.amount_minor, m.currency,
                  m.plan_version_id as "version_id: PlanVersionId",
                  case when m.kind <> 'recruiter' and m.state not in ('rejected', 'reversed')
                       then (m.calculation - '{over,sentence,slices,caps,base,total}'::text[])::text
                       else '' end as "calculation!"
           from commissions m
           where m.program_id = $1 and m.conversion_id = any($2)
           order by m.commission_id"#,
        program_id.0,
        conversions,
    )
    .fetch_all(db)
    .await?;
    let unknown = |column: &str, value: &str| {
        sqlx::Error::Decode(format!("commissions.{column} holds {value:?}").into())
    };
    let lines = rows.into_iter().map(|r| {
        let currency = r.currency.parse().map_err(|_| unknown("currency", &r.currency))?;
        let kind = CommissionKind::from_code(&r.kind).ok_or_else(|| unknown("kind", &r.kind))?;
        let state = CommissionState::from_code(&r.state);
        Ok(CommissionLine {
            conversion_id: Some(r.conversion_id),
            commission_id: r.commission_id,
            kind,
            state: state.ok_or_else(|| unknown("state", &r.state))?,
            partner_id: r.partner_id,
            corrects_id: r.corrects_id,
            amount: Money::new(r.amount_minor, currency),
            version_id: r.version_id,
            calculation: r.calculation,
        })
    });
    lines.collect()
}

async fn load_refunds(
    db: &mut PgConnection,
    program_id: ProgramId,
    conversions: &[Uuid],
) -> Result<HashMap<ConversionId, Option<i64>>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select conversion_id as "conversion_id: ConversionId",
                  case when not bool_or(amount_minor is null)
                       then sum(amount_minor)::bigint end as refunded_minor
           from conversion_refunds
           where program_id = $1 and conversion_id = any($2)
           group by conversion_id"#,
        program_id.0,
        conversions,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|r| (r.conversion_id, r.refunded_minor)).collect())
}

/// Loads the names of partners.
pub async fn load_names(
    db: &mut PgConnection,
    partners: &[PartnerId],
) -> Result<HashMap<PartnerId, String>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select partner_id as "partner_id: PartnerId", name
           from partners
           where partner_id = any($1)"#,
        &partners.iter().map(|id| id.0).collect::<Vec<_>>(),
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|r| (r.partner_id, r.name)).collect())
}

/// Tells whether a partner takes part in a program; one that may not earn earns nothing by any
/// plan.
pub async fn may_earn(
    db: &mut PgConnection,
    program_id: ProgramId,
    partner_id: PartnerId,
) -> Result<Option<bool>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select (e.status = 'active' and p.status = 'active') as "may_earn!"
           from enrollments e
           join partners p on p.partner_id = e.partner_id
           where e.program_id = $1 and e.partner_id = $2"#,
        program_id.0,
        partner_id.0,
    )
    .fetch_optional(db)
    .await
}

/// Loads the partners of a program that may earn now.
pub async fn load_earning(
    db: &mut PgConnection,
    program_id: ProgramId,
) -> Result<Vec<PartnerId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select p.partner_id as "partner_id: PartnerId"
           from enrollments e
           join partners p on p.partner_id = e.partner_id
           where e.program_id = $1 and e.status = 'active' and p.status = 'active'"#,
        program_id.0,
    )
    .fetch_all(db)
    .await
}

/// Counts partners whose periods wait to be reckoned again: until then the ledger is provisional.
pub async fn count_marked(
    db: &mut PgConnection,
    program_id: ProgramId,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select count(distinct partner_id) as "n!" from plan_marks where program_id = $1"#,
        program_id.0,
    )
    .fetch_one(db)
    .await
}

impl Stretch {
    /// Returns the partner to read, and whether to read what is nobody's.
    fn columns(&self) -> (Option<Uuid>, bool) {
        match self.whose {
            Whose::Attributed => (None, false),
            Whose::Of(partner_id) => (Some(partner_id.0), false),
            Whose::All => (None, true),
        }
    }
}
