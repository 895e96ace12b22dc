//! `activity-decline`: which partners are going quiet, since when, what it costs, the likely cause,
//! and what to do; ordered by the money at stake.
//!
//! It is about the last whole day of the window. The window's beginning does not matter; the
//! detector reads the days that it needs.

use futures_util::future::BoxFuture;
use sqlx::PgConnection;

use super::at_hand::preparation;
use super::judgment::{Judged, Judgment, judge};
use super::picture::page;
use super::query::Subject;
use super::{Cause, Decline, Estimate, FalseAlarms, Severity};
use crate::money::Money;
use crate::program::store as program_store;
use crate::report::rows::{Rows, Summary, hand_over};
use crate::report::{
    Cell, Column, ColumnKind as Kind, Params, Preparation, Report, ReportError, Table,
};

/// Days that a loss is told for.
const AHEAD_DAYS: f64 = 28.0;

/// The report.
#[derive(Debug)]
pub struct ActivityDecline;

const COLUMNS: &[Column] = &[
    Kind::Text.named("partner_id"),
    Kind::Text.named("partner_name"),
    Kind::Text.named("partner_kind"),
    Kind::Text.named("rank"),
    Kind::Text.named("owner"),
    Kind::Text.named("severity"),
    Kind::Date.named("since"),
    Kind::Int.named("expected_clicks_28d"),
    Kind::Int.named("expected_clicks_28d_low"),
    Kind::Int.named("expected_clicks_28d_high"),
    Kind::Int.named("observed_clicks_28d"),
    Kind::Int.named("observed_clicks_28d_low"),
    Kind::Int.named("observed_clicks_28d_high"),
    Kind::Int.named("share_lost_percent"),
    Kind::Text.named("p_value"),
    Kind::Text.named("false_alarm_rate"),
    Kind::Int.named("lost_clicks_to_date"),
    Kind::Int.named("lost_clicks_to_date_low"),
    Kind::Int.named("lost_clicks_to_date_high"),
    Kind::Int.named("lost_clicks_next_28d"),
    Kind::Int.named("lost_clicks_next_28d_low"),
    Kind::Int.named("lost_clicks_next_28d_high"),
    Kind::Int.named("lost_sales_to_date"),
    Kind::Int.named("lost_sales_to_date_low"),
    Kind::Int.named("lost_sales_to_date_high"),
    Kind::Int.named("lost_sales_next_28d"),
    Kind::Int.named("lost_sales_next_28d_low"),
    Kind::Int.named("lost_sales_next_28d_high"),
    Kind::Money.named("lost_commission_to_date"),
    Kind::Money.named("lost_commission_to_date_low"),
    Kind::Money.named("lost_commission_to_date_high"),
    Kind::Money.named("lost_commission_next_28d"),
    Kind::Money.named("lost_commission_next_28d_low"),
    Kind::Money.named("lost_commission_next_28d_high"),
    Kind::Text.named("currency"),
    Kind::Int.named("days_since_last_click"),
    Kind::Text.named("possible_cause"),
    Kind::Text.named("evidence"),
    Kind::Text.named("remedy"),
    Kind::Date.named("next_contact_due"),
    Kind::Text.named("case_id"),
    Kind::Int.named("links_live"),
    Kind::Int.named("links_dead"),
    Kind::Text.named("chart"),
    Kind::Text.named("sparkline"),
];

impl Report for ActivityDecline {
    fn name(&self) -> &'static str {
        "activity-decline"
    }

    fn description(&self) -> &'static str {
        "Partners whose referral traffic has fallen, at a stated false-alarm rate."
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn preparation<'a>(
        &'a self,
        db: &'a mut PgConnection,
        params: &'a Params,
    ) -> BoxFuture<'a, Result<Option<Preparation>, ReportError>> {
        Box::pin(preparation(db, params))
    }

    fn stream<'a>(
        &'a self,
        db: &'a mut PgConnection,
        params: &'a Params,
        rows: &'a mut dyn Rows,
    ) -> BoxFuture<'a, Result<Summary, ReportError>> {
        Box::pin(async move {
            let judgment = judge(db, params).await?;
            hand_over(table(&judgment, params), rows).await
        })
    }

    fn page<'a>(
        &'a self,
        db: &'a mut PgConnection,
        params: &'a Params,
    ) -> Option<BoxFuture<'a, Result<String, ReportError>>> {
        Some(Box::pin(async move {
            let program = program_store::find_program(db, params.program_id).await?;
            let judgment = judge(db, params).await?;
            Ok(page::html(&judgment, params, &program.map_or_else(String::new, |p| p.name)))
        }))
    }
}

/// Returns the listed partners, the most money at stake first.
pub(super) fn by_stake(judgment: &Judgment) -> Vec<(&Judged, &Decline)> {
    let partners = judgment.partners.iter();
    let mut listed: Vec<(&Judged, &Decline)> =
        partners.filter_map(|p| Some((p, p.decline()?))).collect();
    listed.sort_by_key(|(p, decline)| std::cmp::Reverse(at_stake(p, decline)));
    listed
}

/// Returns the commission of the next 28 days that is at stake, minor units.
fn at_stake(partner: &Judged, decline: &Decline) -> i64 {
    whole(decline.lost_next_28_days.value * partner.subject.earned_per_click())
}

fn table(judgment: &Judgment, params: &Params) -> Table {
    let listed = by_stake(judgment);
    let rows = listed.iter().map(|(p, decline)| row(p, decline, judgment, params)).collect();
    let count = |n: usize| Cell::Int(i64::try_from(n).unwrap_or(i64::MAX));
    let source = if judgment.is_kept { "the daily run" } else { "learned for this report" };
    let at_stake = listed.iter().map(|(p, decline)| at_stake(p, decline)).sum();
    let summary = vec![
        ("day", Cell::Date(judgment.day)),
        ("partners", count(judgment.n_partners)),
        ("listed", count(listed.len())),
        ("too_young", count(judgment.n_too_young)),
        ("lost_commission_next_28d", Cell::Money(Money::new(at_stake, params.currency))),
        ("incident", Cell::or_empty(incident(judgment), Cell::Text)),
        ("source", Cell::text(source)),
    ];
    Table { rows, summary }
}

/// Returns what to say of a fall of the whole network.
pub(super) fn incident(judgment: &Judgment) -> Option<String> {
    judgment.incident.map(|i| {
        format!(
            "The whole network is at {} % since {}: look at tracking before partners.",
            whole(i.factor * 100.0),
            judgment.date(i.since)
        )
    })
}

fn row(partner: &Judged, decline: &Decline, judgment: &Judgment, params: &Params) -> Vec<Cell> {
    let (subject, lost) = (&partner.subject, [decline.lost_to_date, decline.lost_next_28_days]);
    let mut cells = vec![
        Cell::text(subject.partner_id),
        Cell::text(&subject.name),
        Cell::text(&subject.kind),
        Cell::text(&subject.rank),
        Cell::or_empty(subject.owner.as_ref(), Cell::text),
        Cell::text(severity(decline.severity)),
        Cell::Date(judgment.date(decline.since)),
    ];
    cells.extend(three(decline.expected_per_day.times(AHEAD_DAYS)));
    cells.extend(three(decline.observed_per_day.times(AHEAD_DAYS)));
    cells.extend([
        Cell::Int(whole(decline.share_lost * 100.0)),
        Cell::Text(format!("{:.1e}", decline.p_value)),
        Cell::Text(false_alarms(decline.false_alarms)),
    ]);
    cells.extend(lost.into_iter().flat_map(three));
    cells.extend(
        lost.into_iter().flat_map(|clicks| three(clicks.times(partner.subject.sales_per_click()))),
    );
    for clicks in lost {
        let Estimate { value, low, high } = clicks.times(partner.subject.earned_per_click());
        let money = |minor: f64| Cell::Money(Money::new(whole(minor), params.currency));
        cells.extend([value, low, high].map(money));
    }
    cells.extend([
        Cell::text(params.currency),
        Cell::or_empty(partner.assessment.days_since_last_click, |n| {
            Cell::Int(i64::try_from(n).unwrap_or(i64::MAX))
        }),
        Cell::text(cause(decline.diagnosis.cause)),
        Cell::Text(decline.diagnosis.evidence.join("; ")),
        Cell::text(decline.remedy),
        Cell::or_empty(subject.next_contact_due, Cell::Date),
        Cell::or_empty(subject.case_id, Cell::text),
        Cell::Int(subject.links.live),
        Cell::Int(subject.links.dead),
        picture(subject, "activity", params),
        picture(subject, "sparkline", params),
    ]);
    cells
}

/// Returns the address of a picture of the partner, below that of the service.
pub(super) fn picture(subject: &Subject, which: &str, params: &Params) -> Cell {
    let (partner, program) = (subject.partner_id, params.program_id);
    Cell::Text(format!("/v1/partners/{partner}/{which}.svg?program_id={program}"))
}

pub(super) fn three(e: Estimate) -> [Cell; 3] {
    [e.value, e.low, e.high].map(|figure| Cell::Int(whole(figure)))
}

pub(super) fn whole(figure: f64) -> i64 {
    figure.round() as i64
}

/// Returns the code of a severity.
pub fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Watch => "watch",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
        Severity::Silent => "silent",
    }
}

/// Returns the code of a cause.
pub fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::LocalMarket => "local_market",
        Cause::Organization => "organization",
        Cause::LossOfInterest => "loss_of_interest",
        Cause::ContentMarketing => "content_marketing",
        Cause::Technical => "technical",
        Cause::Unknown => "unknown",
    }
}

fn false_alarms(rate: FalseAlarms) -> String {
    match rate {
        FalseAlarms::PerPartnerMonth(rate) => {
            format!("{} in 1,000 healthy partner-months", whole(rate * 1000.0))
        }
        FalseAlarms::OfList(rate) => format!("{} % of one day's list", whole(rate * 100.0)),
    }
}
