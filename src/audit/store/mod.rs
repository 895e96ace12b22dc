//! SQL of the audit: only selects.
//!
//! Each check judges a page of a table in the order of its key and returns one row: how many it
//! looked at, how many are broken, the first of those. A judged row is broken where `wrong` is not
//! null: then it holds the figures that contradict each other.

pub mod click;
pub mod commission;
pub mod conversion;
pub mod kept;
pub mod ledger;
pub mod log;
pub mod notice;
pub mod payout;
pub mod payout_file;
pub mod plan;
pub mod service;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::{At, Offender, Page};

/// Declares a check of a table: its name, the table, its key, the columns needed (each after a
/// comma), and the query that judges a page `p`; `asked` holds the time of the audit.
macro_rules! paged {
    ($(#[$doc:meta])* $name:ident of $of:tt: $table:tt, $key:tt, $columns:tt, $judged:tt) => {
        $(#[$doc])*
        pub fn $name<'a>(
            db: &'a mut ::sqlx::PgConnection,
            at: &'a $crate::audit::At<'a>,
        ) -> ::futures_util::future::BoxFuture<
            'a, Result<$crate::audit::Page, $crate::audit::CheckError>,
        > {
            Box::pin(async move {
                let row = sqlx::query_as!(
                    $crate::audit::store::PageRow,
                    "with asked as (select $6::timestamptz as now),
                     page as materialized (
                         select t.program_id, t." + $key + " as id" + $columns + "
                         from " + $table + " t
                         where (t.program_id, t." + $key + ") > ($1, $2) and t.program_id <= $3
                         order by t.program_id, t." + $key + "
                         limit $4),
                     judged as (" + $judged + ")
                     select (select count(*) from page) as \"n_page!\",
                            count(*) as \"n_looked!\", count(j.wrong) as \"n_broken!\",
                            to_jsonb((array_agg(
                                jsonb_build_object(
                                    'program', j.program_id, 'id', j.id, 'figures', j.wrong)
                                order by j.program_id, j.id)
                                filter (where j.wrong is not null))[1:$5]) as first,
                            (select l.program_id from page l
                             order by l.program_id desc, l.id desc limit 1) as last_program,
                            (select l.id from page l
                             order by l.program_id desc, l.id desc limit 1) as last_id
                     from judged j",
                    at.after.0,
                    at.after.1,
                    at.last_program,
                    at.rows,
                    at.first,
                    at.now,
                )
                .fetch_one(db)
                .await?;
                Ok(row.page($of, at))
            })
        }
    };
}

/// Declares a check of the whole deployment: the query that judges, with a name for each row.
macro_rules! whole {
    ($(#[$doc:meta])* $name:ident of $of:tt: $judged:tt) => {
        $(#[$doc])*
        pub fn $name<'a>(
            db: &'a mut ::sqlx::PgConnection,
            at: &'a $crate::audit::At<'a>,
        ) -> ::futures_util::future::BoxFuture<
            'a, Result<$crate::audit::Page, $crate::audit::CheckError>,
        > {
            Box::pin(async move {
                let row = sqlx::query_as!(
                    $crate::audit::store::PageRow,
                    "with asked as (select $2::timestamptz as now), judged as (" + $judged + ")
                     select 0::bigint as \"n_page!\",
                            count(*) as \"n_looked!\", count(j.wrong) as \"n_broken!\",
                            to_jsonb((array_agg(
                                jsonb_build_object('id', j.id, 'figures', j.wrong) order by j.id)
                                filter (where j.wrong is not null))[1:$1]) as first,
                            null::uuid as last_program, null::uuid as last_id
                     from judged j",
                    at.first,
                    at.now,
                )
                .fetch_one(db)
                .await?;
                Ok(row.page($of, at))
            })
        }
    };
}

pub(in crate::audit::store) use {paged, whole};

/// What a query of a check answers.
pub(in crate::audit::store) struct PageRow {
    n_page: i64,
    n_looked: i64,
    n_broken: i64,
    first: Option<Value>,
    last_program: Option<Uuid>,
    last_id: Option<Uuid>,
}

impl PageRow {
    fn page(self, of: &str, at: &At<'_>) -> Page {
        let rows = match self.first {
            Some(Value::Array(rows)) => rows,
            Some(_) | None => Vec::new(),
        };
        let count = |n: i64| u64::try_from(n).unwrap_or(0);
        let next = self.last_program.zip(self.last_id).filter(|_| self.n_page >= at.rows);
        Page {
            n_looked: count(self.n_looked),
            n_broken: count(self.n_broken),
            first: rows.into_iter().map(|row| offender(of, row)).collect(),
            next,
            not_looked: None,
        }
    }
}

fn offender(of: &str, mut row: Value) -> Offender {
    let program = row["program"].as_str().and_then(|text| text.parse().ok());
    let figures = read_figures(row["figures"].take());
    Offender::new(of, program, row["id"].as_str().unwrap_or_default(), figures)
}

/// Reads the figures of a broken row.
fn read_figures(stored: Value) -> Map<String, Value> {
    if let Value::Object(figures) = stored { figures } else { Map::new() }
}
