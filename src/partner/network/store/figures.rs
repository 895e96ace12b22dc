//! SQL of results: what partners brought, and their ranks.

use std::collections::HashMap;

use chrono::NaiveDate;
use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::ids::{PartnerId, ProgramId};
use crate::partner::network::rank::{self, Ranking};
use crate::partner::network::{Books, Days, Figures, Member};

/// The class of clicks of people, as the redirect writes it.
const HUMAN: i16 = 0;

/// Reads what every partner of a program brought in some days of the program.
pub async fn read_figures(
    db: &mut PgConnection,
    books: &Books,
    days: Days,
) -> Result<HashMap<PartnerId, Figures>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"with ends as (
               select $4::date::timestamp at time zone $3 as from_at,
                      ($5::date + 1)::timestamp at time zone $3 as to_at),
           parts as (
               select h.partner_id, h.n_unique as n_clicks, 0::bigint as n_orders,
                      0::bigint as n_refunded, 0::bigint as earned_minor,
                      0::bigint as biggest_minor
               from click_hours h, ends
               where h.program_id = $1 and h.class = $6 and h.hour >= from_at and h.hour < to_at
               union all
               -- A shared order counts for each partner that has a part, with that part.
               select s.partner_id, 0, 1,
                      case when v.amount_minor <= v.refunded_minor then 1 else 0 end, 0,
                      case when v.currency = $2 then
                          div((v.amount_minor - v.refunded_minor)::numeric * s.weight,
                              s.weight_all)::bigint else 0 end
               from ends, conversions v
               cross join lateral parts_of(
                   v.path, v.partner_id, v.link_number, v.click_at, v.click_id) s
               where v.program_id = $1 and v.event = 'sale'
                 and v.attribution in ('click', 'coupon', 'customer') and not v.is_test
                 and v.occurred_at >= from_at and v.occurred_at < to_at
               union all
               select c.partner_id, 0, 0, 0, c.amount_minor, 0
               from commissions c
               join conversions v
                 on v.program_id = c.program_id and v.conversion_id = c.conversion_id, ends
               where c.program_id = $1 and c.currency = $2 and not v.is_test
                 and c.state not in ('rejected', 'reversed')
                 and v.occurred_at >= from_at and v.occurred_at < to_at
               union all
               select c.partner_id, 0, 0, 0, c.amount_minor, 0
               from commissions c, ends
               where c.program_id = $1 and c.currency = $2 and c.conversion_id is null
                 and c.state not in ('rejected', 'reversed')
                 and c.occurred_at >= from_at and c.occurred_at < to_at)
           select partner_id as "partner_id!: PartnerId", sum(n_clicks)::bigint as "n_clicks!",
                  sum(n_orders)::bigint as "n_orders!", sum(n_refunded)::bigint as "n_refunded!",
                  sum(earned_minor)::bigint as "earned_minor!",
                  coalesce(max(biggest_minor), 0) as "biggest_minor!"
           from parts
           where partner_id is not null
           group by partner_id"#,
        books.program_id.0,
        books.currency.code(),
        books.time_zone.name(),
        days.from,
        days.to,
        HUMAN,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| {
            let figures = Figures {
                n_clicks: r.n_clicks,
                n_orders: r.n_orders,
                n_refunded: r.n_refunded,
                earned_minor: r.earned_minor,
                biggest_order_minor: r.biggest_minor,
            };
            (r.partner_id, figures)
        })
        .collect())
}

/// Reads the partners of a program in some states, with their results up to and including `last`.
pub async fn read_members(
    db: &mut PgConnection,
    books: &Books,
    statuses: &[String],
    last: NaiveDate,
) -> Result<Vec<Member>, sqlx::Error> {
    let now = Days::ending(last, rank::DAYS);
    let before = Days::ending(now.from.pred_opt().unwrap_or(now.from), rank::DAYS);
    let (now, before) =
        (read_figures(&mut *db, books, now).await?, read_figures(&mut *db, books, before).await?);
    let rows = sqlx::query!(
        r#"select p.partner_id as "partner_id: PartnerId", p.name, p.kind, e.status, e.rank,
                  e.is_rank_pinned, e.owner, e.champion_name, e.next_contact_due, e.created_at,
                  (select max(i.at) from interactions i
                   where i.program_id = $1 and i.partner_id = e.partner_id) as last_contact_at,
                  (select max(h.hour) from click_hours h
                   where h.program_id = $1 and h.partner_id = e.partner_id
                     and h.class = $3) as last_click_at
           from enrollments e
           join partners p on p.partner_id = e.partner_id
           where e.program_id = $1 and e.status = any($2) and p.status = 'active'
           order by p.partner_id"#,
        books.program_id.0,
        statuses,
        HUMAN,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| Member {
            partner_id: r.partner_id,
            name: r.name,
            kind: r.kind,
            status: r.status,
            rank: r.rank,
            is_rank_pinned: r.is_rank_pinned,
            owner: r.owner,
            champion: r.champion_name,
            next_contact_due: r.next_contact_due,
            last_contact_at: r.last_contact_at,
            last_click_at: r.last_click_at,
            since: r.created_at,
            now: now.get(&r.partner_id).copied().unwrap_or_default(),
            before: before.get(&r.partner_id).copied().unwrap_or_default(),
        })
        .collect())
}

/// Writes a rank that has changed, with its reasons and when to be in touch next.
pub async fn write_rank(
    db: &mut PgConnection,
    program_id: ProgramId,
    r: &Ranking,
    next_contact_due: Option<NaiveDate>,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "with changed as (
             insert into rank_changes (program_id, partner_id, at, from_rank, to_rank, points, why)
             values ($1, $2, $3, $4, $5, $6, $7))
         update enrollments
         set rank = $5, next_contact_due = $8, updated_at = $3
         where program_id = $1 and partner_id = $2",
        program_id.0,
        r.partner_id.0,
        now,
        r.from.as_str(),
        r.to.as_str(),
        i32::try_from(r.points).unwrap_or(0),
        &r.why[..],
        next_contact_due,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Notes for which day a program's ranks are computed.
pub async fn write_ranked_on(
    db: &mut PgConnection,
    program_id: ProgramId,
    day: NaiveDate,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into network_policies (program_id, ranked_on) values ($1, $2)
         on conflict on constraint network_policies_pkey do update set ranked_on = $2",
        program_id.0,
        day,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Finds a program whose day has ended since its ranks were computed, and keeps other instances
/// from it until the transaction ends.
pub async fn lock_unranked_program(
    db: &mut PgConnection,
    now: Timestamp,
) -> Result<Option<ProgramId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select g.program_id as "program_id: ProgramId"
           from programs g
           left join network_policies n on n.program_id = g.program_id
           where g.status = 'active'
             and (n.ranked_on is null
                  or n.ranked_on < ($1::timestamptz at time zone g.time_zone)::date - 1)
           order by g.program_id
           limit 1
           for no key update of g skip locked"#,
        now,
    )
    .fetch_optional(db)
    .await
}
