//! `traffic`: clicks, conversions and what they earned, by day, partner and link.
//!
//! A day is a day of the report's time zone. Clicks are kept by hours of UTC and belong to the day
//! in which their hour begins; that is exact wherever clocks differ from UTC by whole hours, and
//! in the other zones (India, Nepal) up to 45 minutes fall to the neighboring day.

use chrono::NaiveDate;
use futures_util::future::BoxFuture;
use sqlx::PgConnection;

use super::{Cell, Column, ColumnKind as Kind, Params, Report, ReportError, Table};
use super::{money_cell, rows_limit};
use crate::click::classify::Class;
use crate::ids::PartnerId;

/// The report.
#[derive(Debug)]
pub struct Traffic;

const COLUMNS: &[Column] = &[
    Kind::Date.named("day"),
    Kind::Text.named("partner_id"),
    Kind::Text.named("partner_name"),
    Kind::Int.named("link_number"),
    Kind::Int.named("clicks"),
    Kind::Int.named("unique_clicks"),
    Kind::Int.named("bot_requests"),
    Kind::Int.named("conversions"),
    Kind::Money.named("sale_amount"),
    Kind::Money.named("commission"),
    Kind::Text.named("currency"),
];

impl Report for Traffic {
    fn name(&self) -> &'static str {
        "traffic"
    }

    fn description(&self) -> &'static str {
        "Clicks, conversions and earnings by day, partner and link."
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn run<'a>(
        &'a self,
        db: &'a mut PgConnection,
        params: &'a Params,
    ) -> BoxFuture<'a, Result<Table, ReportError>> {
        Box::pin(async move {
            let rows = load(db, params).await?;
            let count = |f: fn(&Row) -> i64| Cell::Int(rows.iter().map(f).sum());
            let summary = vec![
                ("clicks", count(|r| r.n_clicks)),
                ("unique_clicks", count(|r| r.n_unique)),
                ("bot_requests", count(|r| r.n_bots)),
                ("conversions", count(|r| r.n_conversions)),
            ];
            let rows = rows.into_iter().map(|r| row(r, params)).collect();
            Ok(Table { rows, summary })
        })
    }
}

struct Row {
    day: NaiveDate,
    partner_id: PartnerId,
    name: String,
    link_number: Option<i64>,
    n_clicks: i64,
    n_unique: i64,
    n_bots: i64,
    n_conversions: i64,
    sale_minor: i64,
    commission_minor: i64,
}

/// Commissions that were refused or taken back wholly earn nothing; clawbacks count with their sign,
/// on the day of their sale.
async fn load(db: &mut PgConnection, params: &Params) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"with parts as (
               select (h.hour at time zone $3)::date as day, h.partner_id, h.link_number,
                      case when h.class = $7 then h.n_clicks else 0 end as n_clicks,
                      case when h.class = $7 then h.n_unique else 0 end as n_unique,
                      case when h.class = $8 then h.n_clicks else 0 end as n_bots,
                      0::bigint as n_conversions, 0::bigint as sale_minor,
                      0::bigint as commission_minor
               from click_hours h
               where h.program_id = $1 and h.hour >= $4 and h.hour < $5
               union all
               select (v.occurred_at at time zone $3)::date, v.partner_id, v.link_number, 0, 0, 0,
                      1, case when v.currency = $2 then v.amount_minor else 0 end, 0
               from conversions v
               where v.program_id = $1 and v.partner_id is not null and not v.is_test
                 and v.attribution = 'click'
                 and v.occurred_at >= $4 and v.occurred_at < $5
               union all
               select (v.occurred_at at time zone $3)::date, c.partner_id, v.link_number, 0, 0, 0,
                      0, 0, c.amount_minor
               from conversions v
               join commissions c
                 on c.program_id = v.program_id and c.conversion_id = v.conversion_id
               where v.program_id = $1 and not v.is_test and c.currency = $2
                 and c.state not in ('rejected', 'reversed')
                 and v.occurred_at >= $4 and v.occurred_at < $5)
           select s.day as "day!", s.partner_id as "partner_id!: PartnerId", n.name,
                  s.link_number as "link_number?",
                  sum(s.n_clicks)::bigint as "n_clicks!", sum(s.n_unique)::bigint as "n_unique!",
                  sum(s.n_bots)::bigint as "n_bots!",
                  sum(s.n_conversions)::bigint as "n_conversions!",
                  sum(s.sale_minor)::bigint as "sale_minor!",
                  sum(s.commission_minor)::bigint as "commission_minor!"
           from parts s
           join partners n on n.partner_id = s.partner_id
           group by s.day, s.partner_id, n.name, s.link_number
           order by s.day, s.partner_id, s.link_number
           limit $6"#,
        params.program_id.0,
        params.currency.code(),
        params.window.time_zone.name(),
        params.window.from,
        params.window.to,
        rows_limit(),
        i16::from(Class::Human.code()),
        i16::from(Class::Bot.code()),
    )
    .fetch_all(db)
    .await
}

fn row(r: Row, params: &Params) -> Vec<Cell> {
    vec![
        Cell::Date(r.day),
        Cell::text(r.partner_id),
        Cell::Text(r.name),
        Cell::or_empty(r.link_number, Cell::Int),
        Cell::Int(r.n_clicks),
        Cell::Int(r.n_unique),
        Cell::Int(r.n_bots),
        Cell::Int(r.n_conversions),
        money_cell(r.sale_minor, params.currency),
        money_cell(r.commission_minor, params.currency),
        Cell::text(params.currency),
    ]
}
