//! `activity-decline` as a page for people: printed for a meeting, read without a login to anything.

use super::super::judgment::{Judged, Judgment};
use super::super::{Decline, Estimate, Severity};
use super::{Activity, escape, sparkline, thousands};
use crate::money::Money;
use crate::report::Params;
use crate::report::decline::table;

/// Days that a loss is told for.
const AHEAD_DAYS: f64 = 28.0;

const STYLE: &str = "\
@page{size:A4 landscape;margin:12mm}\
body{font:13px/1.45 system-ui,sans-serif;color:#1f2328;background:#fff;max-width:1180px;\
margin:24px auto;padding:0 16px}\
h1{font-size:21px;margin:0 0 2px}p{margin:0 0 12px}.soft{color:#59616b}\
.incident{border:2px solid;padding:8px 12px;font-weight:600}\
table{border-collapse:collapse;width:100%}\
th{font-size:11px;text-align:left;color:#59616b;font-weight:600;border-bottom:2px solid}\
th,td{padding:7px 14px 7px 0;vertical-align:top}td{border-bottom:1px solid #d9dce1}\
tr{break-inside:avoid}thead{display:table-header-group}\
.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}\
.name{min-width:150px;font-weight:600;overflow-wrap:anywhere}.why{min-width:230px}.day{white-space:nowrap}\
.sev{display:inline-block;border:1.5px solid;border-radius:3px;padding:0 6px;white-space:nowrap}\
.watch{border-style:dotted}.critical{background:#1f2328;color:#fff;border-color:#1f2328}\
.silent{border-width:3px;font-weight:700}\
footer{margin-top:16px;font-size:11px}\
@media screen and (prefers-color-scheme:dark){body{color:#eceef1;background:#16191d}\
.soft,th{color:#a3abb5}td{border-color:#3a4048}\
.critical{background:#eceef1;color:#16191d;border-color:#eceef1}}\
@media print{body{margin:0;padding:0;max-width:none;font-size:10.5px}\
.critical{print-color-adjust:exact;-webkit-print-color-adjust:exact}}";

/// Writes the page.
pub fn html(judgment: &Judgment, params: &Params, program: &str) -> String {
    let rows = table::by_stake(judgment);
    let (program, day) = (escape(program), judgment.day);
    let list: String = rows.iter().map(|(p, d)| row(p, d, judgment, params)).collect();
    let list = if rows.is_empty() {
        "<p>No partner is listed: everybody brings about what was expected.</p>".to_owned()
    } else {
        format!(
            "<table><thead><tr><th>Clicks, 13 weeks</th><th>Partner</th><th>Severity</th>\
             <th>Since</th><th class=\"n\">Clicks in 28 days<br>observed of expected</th>\
             <th class=\"n\">Lost</th><th class=\"n\">Lost so far</th>\
             <th class=\"n\">At stake<br>in 28 days</th>\
             <th>Possible cause, and what to do</th></tr></thead><tbody>{list}</tbody></table>"
        )
    };
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <title>Partners in decline: {program}, {day}</title><style>{STYLE}</style></head><body>\
         <h1>Partners in decline</h1><p class=\"soft\">{}</p>{}{list}{FOOTER}</body></html>\n",
        counted(judgment, params, &program, rows.len()),
        incident(judgment),
    )
}

const FOOTER: &str = "<footer class=\"soft\">Solid line: unique clicks of the last seven days. \
    Dashed: what was expected from the partner&#39;s own level, its weekdays and what the whole \
    network did. Dotted: first day of the fall. A cause is a guess from traces until somebody has \
    asked. Ranges hold 95 %.</footer>";

fn counted(judgment: &Judgment, params: &Params, program: &str, listed: usize) -> String {
    format!(
        "{program}, end of {} ({}): {listed} of {} partners listed, {} too young to judge.",
        judgment.day,
        params.window.time_zone.name(),
        judgment.n_partners,
        judgment.n_too_young,
    )
}

fn incident(judgment: &Judgment) -> String {
    let text = table::incident(judgment);
    text.map_or_else(String::new, |text| format!("<p class=\"incident\">{}</p>", escape(&text)))
}

fn row(partner: &Judged, decline: &Decline, judgment: &Judgment, params: &Params) -> String {
    let subject = &partner.subject;
    let (severity, days) = (table::severity(decline.severity), per_28_days(decline));
    let looked_after = match (&subject.owner, subject.next_contact_due) {
        (Some(owner), Some(due)) => format!(", {}, next contact {due}", escape(owner)),
        (Some(owner), None) => format!(", {}", escape(owner)),
        (None, Some(due)) => format!(", next contact {due}"),
        (None, None) => String::new(),
    };
    let links = subject.links;
    let first = judgment.date(0);
    let sparkline = partner.course.as_ref().map_or_else(String::new, |course| {
        let (name, view) = (&subject.name, course.view());
        sparkline::svg(&Activity::of(name, view, Some(decline), first, sparkline::DAYS))
    });
    format!(
        "<tr><td>{}</td><td><div class=\"name\">{}</div><div class=\"soft\">{} {}{looked_after}\
         <br>links: {} live, {} dead</div></td><td><span class=\"sev {severity}\">{severity}</span>\
         <div class=\"soft\">{}</div></td><td class=\"day\">{}</td><td class=\"n\">{days}</td>\
         <td class=\"n\">{:.0} %</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
         <td class=\"why\">{}</td></tr>",
        sparkline,
        escape(&subject.name),
        escape(&subject.kind),
        escape(&subject.rank),
        links.live,
        links.dead,
        last_click(partner, decline),
        judgment.date(decline.since),
        decline.share_lost * 100.0,
        loss(decline.lost_to_date, partner, params),
        loss(decline.lost_next_28_days, partner, params),
        why(decline),
    )
}

/// Commission first, because it is what the list is ordered by.
fn loss(clicks: Estimate, partner: &Judged, params: &Params) -> String {
    let of = |unit: &str, write: &dyn Fn(f64) -> String, e: Estimate| {
        let (value, low, high) = (write(e.value), write(e.low), write(e.high));
        format!("{value} {unit}<div class=\"soft\">{low} to {high}</div>")
    };
    let money = |minor: f64| Money::new(table::whole(minor), params.currency).to_decimal_string();
    [
        of(params.currency.code(), &money, clicks.times(partner.subject.earned_per_click())),
        of("sales", &thousands, clicks.times(partner.subject.sales_per_click())),
        of("clicks", &thousands, clicks),
    ]
    .concat()
}

fn per_28_days(decline: &Decline) -> String {
    let (observed, expected) = (decline.observed_per_day.value, decline.expected_per_day);
    format!(
        "{} of {}<div class=\"soft\">{} to {}</div>",
        thousands(observed * AHEAD_DAYS),
        thousands(expected.value * AHEAD_DAYS),
        thousands(expected.low * AHEAD_DAYS),
        thousands(expected.high * AHEAD_DAYS),
    )
}

fn last_click(partner: &Judged, decline: &Decline) -> String {
    match (decline.severity, partner.assessment.days_since_last_click) {
        (Severity::Silent, Some(days)) => format!("last click {days} days ago"),
        (_, Some(_) | None) => String::new(),
    }
}

fn why(decline: &Decline) -> String {
    let diagnosis = &decline.diagnosis;
    let cause = table::cause(diagnosis.cause).replace('_', " ");
    let evidence = diagnosis.evidence.join("; ");
    let evidence = if evidence.is_empty() { String::new() } else { format!(": {evidence}") };
    format!(
        "<div><strong>{cause}</strong>{}</div><div class=\"soft\">{}</div>",
        escape(&evidence),
        escape(decline.remedy)
    )
}
