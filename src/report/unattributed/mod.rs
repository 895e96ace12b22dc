//! `unattributed`: conversions that are nobody's, why, and what came closest.
//!
//! What a row calls nearest is evidence, not a verdict: a click that was too old, one that a damaged
//! click id names, or the partner who brought the same customer before. Trial runs are left out;
//! an order that a claim gave to somebody is no longer nobody's.
//!
//! After the conversions come the calls that were refused because nobody knows who sent them
//! (`refused`): what they report never became a conversion, so it is nobody's, too.

mod miss;
mod refused;

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::NaiveDate;
use futures_util::future::BoxFuture;
use sqlx::PgConnection;
use uuid::Uuid;

use self::miss::Miss;
use self::refused::Refused;
use super::kept_from;
use super::money_cell;
use super::rows::{PageSize, Rows, Summary};
use super::{Cell, Column, ColumnKind as Kind, Params, Report, ReportError};
use crate::click::click_id::ClickId;
use crate::clock::Timestamp;
use crate::ids::{ConversionId, PartnerId, PartnerNo, ReceiptId, SourceId};
use crate::program::coupon::near::{self, Candidate};

/// The report.
#[derive(Debug)]
pub struct Unattributed;

/// Attributions that name somebody; every other one is a reason why nobody is named.
const SOMEBODYS: [&str; 3] = ["click", "coupon", "customer"];

const COLUMNS: &[Column] = &[
    Kind::Text.named("conversion_id"),
    Kind::Text.named("event"),
    Kind::Text.named("order_id"),
    Kind::Time.named("occurred_at"),
    Kind::Time.named("received_at"),
    Kind::Text.named("source_id"),
    Kind::Text.named("source_name"),
    Kind::Text.named("channel"),
    Kind::Text.named("trust"),
    Kind::Money.named("amount"),
    Kind::Money.named("amount_refunded"),
    Kind::Money.named("lost_value"),
    Kind::Text.named("currency"),
    Kind::Text.named("reason"),
    Kind::Text.named("explanation"),
    Kind::Text.named("nearest"),
    Kind::Text.named("nearest_partner_id"),
    Kind::Text.named("nearest_partner_name"),
    Kind::Int.named("nearest_link_number"),
    Kind::Time.named("clicked_at"),
    Kind::Int.named("days_too_late"),
    Kind::Text.named("coupon_code"),
    Kind::Text.named("receipt_id"),
    Kind::Text.named("nearest_coupon_code"),
    // Of refused calls alone.
    Kind::Int.named("calls"),
    Kind::Text.named("said_order_ids"),
    Kind::Text.named("said_message_ids"),
];

/// Codes of a program that one that it does not have is compared with, at most; where there are more,
/// a code is too little to guess by.
const CODES_MAX: usize = 10_000;

/// Reasons with totals of their own: the code, and the names of count and value. What has another
/// code is in the last line.
const REASONS: &[(&str, &str, &str)] = &[
    ("no_click", "no_click", "no_click_value"),
    ("bad_click_id", "bad_click_id", "bad_click_id_value"),
    ("outside_window", "outside_window", "outside_window_value"),
    ("before_click", "before_click", "before_click_value"),
    ("not_enrolled", "not_enrolled", "not_enrolled_value"),
    ("other_program", "other_program", "other_program_value"),
    ("too_soon", "too_soon", "too_soon_value"),
    ("unknown_coupon", "unknown_coupon", "unknown_coupon_value"),
    ("coupon_not_begun", "coupon_not_begun", "coupon_not_begun_value"),
    ("coupon_ended", "coupon_ended", "coupon_ended_value"),
    ("not_in_ladder", "not_in_ladder", "not_in_ladder_value"),
    ("", "other_reason", "other_reason_value"),
];

/// Messages that had no effect: what became of them, and the name of their total.
const WITHOUT_EFFECT: [(&str, &str); 4] = [
    ("rejected", "messages_rejected"),
    ("conflict", "messages_in_conflict"),
    ("waiting", "messages_waiting"),
    ("dead_letter", "messages_given_up"),
];

impl Report for Unattributed {
    fn name(&self) -> &'static str {
        "unattributed"
    }

    fn description(&self) -> &'static str {
        "Conversions that are nobody's, why, and what came closest; and calls that nobody signed."
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn stream<'a>(
        &'a self,
        db: &'a mut PgConnection,
        params: &'a Params,
        rows: &'a mut dyn Rows,
    ) -> BoxFuture<'a, Result<Summary, ReportError>> {
        Box::pin(async move {
            let window_days = load_window(db, params).await?;
            let (mut size, mut after) = (PageSize::first(), (params.window.from, Uuid::nil()));
            let (mut totals, mut codes) = (Totals::default(), Codes::default());
            loop {
                let found = load(db, params, after, size.rows()).await?;
                let is_last = size.is_last(found.len());
                after = found.last().map_or(after, |r| (r.occurred_at, r.conversion_id.0));
                codes.load_for(db, params, &found).await?;
                let near = load_near(db, params, &found, &codes).await?;
                let mut page = Vec::with_capacity(found.len());
                for one in found {
                    totals.add(&one)?;
                    page.push(row(one, &near, &codes, window_days, params));
                }
                rows.take(page).await?;
                if is_last {
                    break;
                }
                rows.expect_more().await?;
            }
            let refused = refused::stream(db, params, rows, row_of_refused).await?;
            let mut told = totals.summary(&load_without_effect(db, params).await?, params);
            told.extend(refused.told());
            Ok(told)
        })
    }
}

struct Row {
    conversion_id: ConversionId,
    event: String,
    order_id: Option<String>,
    occurred_at: Timestamp,
    received_at: Timestamp,
    source_id: SourceId,
    source_name: String,
    channel: String,
    trust: String,
    amount_minor: Option<i64>,
    refunded_minor: i64,
    attribution: String,
    click_id: Option<String>,
    coupon_code: Option<String>,
    partner_id: Option<PartnerId>,
    link_number: Option<i64>,
    click_at: Option<Timestamp>,
    receipt_id: ReceiptId,
    customer_of: Option<PartnerId>,
    customer_since: Option<Timestamp>,
}

impl Row {
    /// Returns what the customer paid and kept.
    fn lost(&self) -> Option<i64> {
        Some(self.amount_minor?.saturating_sub(self.refunded_minor).max(0))
    }

    /// Returns what its click id says, whoever signed it.
    fn claimed(&self) -> Option<ClickId> {
        self.click_id.as_deref().and_then(ClickId::unverified)
    }

    /// Returns the code that the program does not have, where that is why it is nobody's.
    fn unknown_coupon(&self) -> Option<&str> {
        self.coupon_code.as_deref().filter(|_| self.attribution == "unknown_coupon")
    }
}

#[derive(Default)]
struct Totals {
    n_rows: i64,
    lost_minor: i64,
    by_reason: [(i64, i64); REASONS.len()],
}

impl Totals {
    fn add(&mut self, row: &Row) -> Result<(), ReportError> {
        let does_not_fit = || ReportError::BadFigure("a total does not fit".to_owned());
        let lost = row.lost().unwrap_or(0);
        let place = REASONS.iter().position(|(code, ..)| *code == row.attribution);
        let (n, minor) = &mut self.by_reason[place.unwrap_or(REASONS.len() - 1)];
        (self.n_rows, *n) = (self.n_rows + 1, *n + 1);
        *minor = minor.checked_add(lost).ok_or_else(does_not_fit)?;
        self.lost_minor = self.lost_minor.checked_add(lost).ok_or_else(does_not_fit)?;
        Ok(())
    }

    fn summary(&self, without_effect: &HashMap<String, i64>, params: &Params) -> Summary {
        let money = |minor| money_cell(minor, params.currency);
        let mut told =
            vec![("conversions", Cell::Int(self.n_rows)), ("lost_value", money(self.lost_minor))];
        for ((_, count, value), (n, minor)) in REASONS.iter().zip(self.by_reason) {
            told.extend([(*count, Cell::Int(n)), (*value, money(minor))]);
        }
        let n_of = |status| Cell::Int(without_effect.get(status).copied().unwrap_or(0));
        told.extend(WITHOUT_EFFECT.map(|(status, name)| (name, n_of(status))));
        told
    }
}

async fn load_window(db: &mut PgConnection, params: &Params) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar!(
        "select attribution_window_days from programs where program_id = $1",
        params.program_id.0,
    )
    .fetch_one(db)
    .await
}

/// Loads the rows after a place, in the order in which they happened.
async fn load(
    db: &mut PgConnection,
    params: &Params,
    (after_at, after_id): (Timestamp, Uuid),
    limit: i64,
) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_file_as!(
        Row,
        "src/report/unattributed/rows.sql",
        params.program_id.0,
        params.currency.code(),
        after_at,
        after_id,
        params.window.to,
        limit,
        &SOMEBODYS.map(str::to_owned)[..],
    )
    .fetch_all(db)
    .await
}

/// The codes that the program has, loaded when the first is asked for that it does not have.
#[derive(Default)]
struct Codes(Option<Vec<Candidate>>);

impl Codes {
    async fn load_for(
        &mut self,
        db: &mut PgConnection,
        params: &Params,
        rows: &[Row],
    ) -> Result<(), sqlx::Error> {
        if self.0.is_some() || rows.iter().all(|r| r.unknown_coupon().is_none()) {
            return Ok(());
        }
        let found = sqlx::query!(
            r#"select distinct on (code_key) code, partner_id as "partner_id: PartnerId"
               from coupons
               where program_id = $1
               order by code_key, starts_at desc
               limit $2::bigint + 1"#,
            params.program_id.0,
            CODES_MAX as i64,
        )
        .fetch_all(db)
        .await?;
        let fits = found.len() <= CODES_MAX;
        let codes = found.into_iter().filter(|_| fits);
        self.0 = Some(codes.map(|c| Candidate::new(c.code, c.partner_id)).collect());
        Ok(())
    }

    fn nearest(&self, row: &Row) -> Option<&Candidate> {
        near::nearest(row.unknown_coupon()?, self.0.as_deref()?)
    }
}

/// What the rows of a page come close to.
struct Near {
    names: BTreeMap<PartnerId, String>,
    numbers: HashMap<PartnerNo, PartnerId>,
    /// Clicks on record.
    clicks: HashSet<Uuid>,
    /// The first day of which clicks are kept, where earlier ones were dropped.
    clicks_from: Option<NaiveDate>,
}

async fn load_near(
    db: &mut PgConnection,
    params: &Params,
    rows: &[Row],
    codes: &Codes,
) -> Result<Near, sqlx::Error> {
    let claimed: Vec<ClickId> = rows.iter().filter_map(Row::claimed).collect();
    let of_coupon = |row| codes.nearest(row).map(|c| c.partner_id);
    let partners = rows.iter().flat_map(|r| [r.partner_id, r.customer_of, of_coupon(r)]);
    let partners: Vec<Uuid> = partners.flatten().map(|p| p.0).collect();
    let numbers: Vec<i64> = claimed.iter().map(|c| i64::from(c.partner.0)).collect();
    let found = sqlx::query!(
        r#"select partner_id as "partner_id: PartnerId", number, name
           from partners
           where partner_id = any($1) or number = any($2)"#,
        &partners,
        &numbers,
    )
    .fetch_all(&mut *db)
    .await?;
    let damaged = rows.iter().filter(|r| r.attribution == "bad_click_id");
    let damaged: Vec<ClickId> = damaged.filter_map(Row::claimed).collect();
    let clicks = if damaged.is_empty() {
        Vec::new()
    } else {
        load_clicks(&mut *db, params, &damaged).await?
    };
    let clicks_from = if damaged.is_empty() { None } else { kept_from(db).await? };
    let no = |number| PartnerNo(u32::try_from(number).unwrap_or(0));
    Ok(Near {
        numbers: found.iter().map(|r| (no(r.number), r.partner_id)).collect(),
        names: found.into_iter().map(|r| (r.partner_id, r.name)).collect(),
        clicks: clicks.into_iter().collect(),
        clicks_from,
    })
}

/// Loads which of these clicks are on record. The days are named, so that those alone are planned for.
async fn load_clicks(
    db: &mut PgConnection,
    params: &Params,
    claimed: &[ClickId],
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select c.click_id
           from unnest($2::date[], $3::uuid[]) as n (day, click_id)
           join clicks c on c.program_id = $1 and c.day = n.day and c.click_id = n.click_id
           where c.day = any ($2::date[])"#,
        params.program_id.0,
        &claimed.iter().map(ClickId::day).collect::<Vec<_>>(),
        &claimed.iter().map(ClickId::to_uuid).collect::<Vec<_>>(),
    )
    .fetch_all(db)
    .await
}

/// Counts the messages of the time that had no effect, by what became of them.
async fn load_without_effect(
    db: &mut PgConnection,
    params: &Params,
) -> Result<HashMap<String, i64>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select status, count(*) as "n!"
           from webhook_messages
           where program_id = $1 and received_at >= $2 and received_at < $3
             and status in ('rejected', 'conflict', 'waiting', 'dead_letter')
           group by status"#,
        params.program_id.0,
        params.window.from,
        params.window.to,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|r| (r.status, r.n)).collect())
}

fn row(r: Row, near: &Near, codes: &Codes, window_days: i32, params: &Params) -> Vec<Cell> {
    let claimed = r.claimed();
    let coupon = codes.nearest(&r);
    let of_click = r.partner_id.or_else(|| near.numbers.get(&claimed?.partner).copied());
    let click_at = r.click_at.or(of_click.and(claimed.map(|c| c.at)));
    let link_number = r.link_number.or(of_click.and(claimed.map(|c| i64::from(c.link.0))));
    let (nearest, partner) = match (of_click, coupon, r.customer_of) {
        (Some(partner), _, _) => ("click", Some(partner)),
        (None, Some(coupon), _) => ("coupon", Some(coupon.partner_id)),
        (None, None, Some(partner)) => ("customer", Some(partner)),
        (None, None, None) => ("", None),
    };
    let miss = Miss {
        reason: &r.attribution,
        window_days,
        after_click: click_at.map(|at| r.occurred_at - at),
        is_click_on_record: claimed.is_some_and(|c| near.clicks.contains(&c.to_uuid())),
        is_click_day_gone: claimed
            .zip(near.clicks_from)
            .is_some_and(|(click, kept_from)| click.day() < kept_from),
        coupon: r.coupon_code.as_deref(),
        near_coupon: coupon.map(|c| c.code.as_str()),
        customer_since: r.customer_since.filter(|_| r.customer_of == partner),
    };
    let explanation = miss.sentence();
    let days_too_late = miss.days_too_late().filter(|_| r.attribution == "outside_window");
    let money = |minor| money_cell(minor, params.currency);
    let name = partner.and_then(|p| near.names.get(&p)).cloned();
    let lost = r.lost();
    vec![
        Cell::text(r.conversion_id),
        Cell::Text(r.event),
        Cell::or_empty(r.order_id, Cell::Text),
        Cell::Time(r.occurred_at),
        Cell::Time(r.received_at),
        Cell::text(r.source_id),
        Cell::Text(r.source_name),
        Cell::Text(r.channel),
        Cell::Text(r.trust),
        Cell::or_empty(r.amount_minor, money),
        Cell::or_empty(r.amount_minor.map(|_| r.refunded_minor), money),
        Cell::or_empty(lost, money),
        Cell::or_empty(r.amount_minor.map(|_| params.currency), Cell::text),
        Cell::Text(r.attribution),
        Cell::Text(explanation),
        Cell::or_empty(partner.map(|_| nearest), Cell::text),
        Cell::or_empty(partner, Cell::text),
        Cell::or_empty(name, Cell::Text),
        Cell::or_empty(link_number, Cell::Int),
        Cell::or_empty(click_at, Cell::Time),
        Cell::or_empty(days_too_late, Cell::Int),
        Cell::or_empty(r.coupon_code, Cell::Text),
        Cell::text(r.receipt_id),
        Cell::or_empty(coupon.map(|c| &c.code), Cell::text),
        Cell::Empty,
        Cell::Empty,
        Cell::Empty,
    ]
}

/// Returns the row of calls that were refused: their first and last time, and nothing of money.
fn row_of_refused(r: Refused) -> Vec<Cell> {
    let list = |names: &[String]| {
        let list = names.join(", ");
        Cell::or_empty(Some(list).filter(|list| !list.is_empty()), Cell::Text)
    };
    COLUMNS
        .iter()
        .map(|column| match column.name {
            "occurred_at" => Cell::Time(r.first_at),
            "received_at" => Cell::Time(r.last_at),
            "source_id" => Cell::text(r.source_id),
            "source_name" => Cell::text(&r.source_name),
            "channel" => Cell::text(&r.channel),
            "trust" => Cell::text("none"),
            "reason" => Cell::text(&r.reason),
            "explanation" => Cell::Text(r.sentence()),
            "calls" => Cell::Int(r.n_calls),
            "said_order_ids" => list(&r.order_ids),
            "said_message_ids" => list(&r.message_ids),
            _ => Cell::Empty,
        })
        .collect()
}
