//! SQL of clicks in a replay: what they earned, and how many there were.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::PgConnection;

use super::clicks::BookedDay;
use super::past::{CommissionLine, booked};
use super::replay::Span;
use crate::clock::Timestamp;
use crate::commission::clicks::store::HUMAN;
use crate::commission::clicks::{Day, Hour, PartnerDay};
use crate::commission::state::Standing;
use crate::commission::{CommissionKind, CommissionState};
use crate::ids::{CommissionId, PartnerId, PlanVersionId, ProgramId};
use crate::money::Money;

/// Loads what clicks of a span earned, of one partner or of all, in the order of their days.
pub async fn load_booked(
    db: &mut PgConnection,
    program_id: ProgramId,
    partner_id: Option<PartnerId>,
    span: Span,
) -> Result<Vec<BookedDay>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"with paid as (
               select commission_id
               from commissions
               where program_id = $1
                 and kind = 'clicks'
                 and ($2::uuid is null or partner_id = $2)
                 and occurred_at >= $3
                 and occurred_at < $4)
           select m.commission_id as "commission_id!: CommissionId", m.kind as "kind!",
                  m.state as "state!", m.partner_id as "partner_id!: PartnerId",
                  m.corrects_id as "corrects_id?: CommissionId",
                  m.amount_minor as "amount_minor!", m.currency as "currency!",
                  m.plan_version_id as "version_id?: PlanVersionId",
                  m.occurred_at as "occurred_at!", m.calculation::text as "calculation!"
           from commissions m
           where m.program_id = $1
             and (m.commission_id in (select commission_id from paid)
                  or m.corrects_id in (select commission_id from paid))
           order by m.commission_id"#,
        program_id.0,
        partner_id.map(|id| id.0),
        span.from,
        span.to,
    )
    .fetch_all(db)
    .await?;
    let unknown = |column: &str, value: &str| {
        sqlx::Error::Decode(format!("commissions.{column} holds {value:?}").into())
    };
    let mut days: HashMap<(Timestamp, PartnerId), Vec<CommissionLine>> = HashMap::new();
    for r in rows {
        let currency = r.currency.parse().map_err(|_| unknown("currency", &r.currency))?;
        let kind = CommissionKind::from_code(&r.kind).ok_or_else(|| unknown("kind", &r.kind))?;
        let state = CommissionState::from_code(&r.state);
        days.entry((r.occurred_at, r.partner_id)).or_default().push(CommissionLine {
            conversion_id: None,
            commission_id: r.commission_id,
            kind,
            state: state.ok_or_else(|| unknown("state", &r.state))?,
            partner_id: r.partner_id,
            corrects_id: r.corrects_id,
            amount: Money::new(r.amount_minor, currency),
            version_id: r.version_id,
            calculation: r.calculation,
        });
    }
    let day = |((happened_at, partner_id), lines)| BookedDay {
        partner_id,
        happened_at,
        booked: booked(lines),
    };
    let mut days: Vec<BookedDay> = days.into_iter().map(day).collect();
    days.sort_by_key(|day| (day.happened_at, day.partner_id));
    Ok(days)
}

/// Loads the clicks of people on a day, partner by partner.
pub async fn load_day(
    db: &mut PgConnection,
    program_id: ProgramId,
    day: Day,
) -> Result<Vec<PartnerDay>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select h.partner_id as "partner_id: PartnerId", h.hour, h.country,
                  sum(h.n_unique)::bigint as "n!",
                  (e.status in ('active', 'ended') and p.status = 'active') as "is_good!"
           from click_hours h
           join enrollments e on e.program_id = h.program_id and e.partner_id = h.partner_id
           join partners p on p.partner_id = h.partner_id
           where h.program_id = $1 and h.hour >= $2 and h.hour < $3 and h.class = $4
           group by h.partner_id, h.hour, h.country, e.status, p.status
           having sum(h.n_unique) > 0
           order by h.partner_id, h.hour, h.country"#,
        program_id.0,
        day.from,
        day.to,
        HUMAN,
    )
    .fetch_all(db)
    .await?;
    let mut days: Vec<PartnerDay> = Vec::new();
    for r in rows {
        if days.last().is_none_or(|last| last.partner_id != r.partner_id) {
            let standing = if r.is_good { Standing::Good } else { Standing::Blocked };
            let (hours, paid) = (Vec::new(), Vec::new());
            days.push(PartnerDay { partner_id: r.partner_id, standing, day, hours, paid });
        }
        let country = Some(Arc::from(r.country)).filter(|country: &Arc<str>| !country.is_empty());
        if let Some(last) = days.last_mut() {
            last.hours.push(Hour { hour: r.hour, country, n: r.n });
        }
    }
    Ok(days)
}
