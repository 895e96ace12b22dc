//! The daily mail: which partners decline and what is at stake, in one page. Pure.
//!
//! It joins the report of the day with the notices of the day: the report knows every partner that
//! declines, the notices know who is new and has a case. A partner that only a notice names is in
//! it too. A day with neither partners nor an incident has no mail.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::NaiveDate;

use crate::money::{AmountRule, Currency, Money};
use crate::outbound::{ActivityDeclined, words};
use crate::report::{Cell, Readout};

/// Partners that a mail tells of; who has more reads the report.
const ENTRIES_MAX: usize = 50;

/// Language of a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locale {
    /// English.
    En,
    /// Russian.
    Ru,
}

impl Locale {
    /// Returns the code kept in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Ru => "ru",
        }
    }

    /// Returns the language with this code.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::En, Self::Ru].into_iter().find(|locale| locale.as_str() == text)
    }
}

/// What a day's mail is about.
#[derive(Debug, Clone)]
pub struct Digest {
    /// What people call the program.
    pub program: String,
    /// The day that was judged.
    pub day: NaiveDate,
    /// Currency of the sum.
    pub currency: Currency,
    /// What is wrong with the whole network; looked at before any partner.
    pub incident: Option<String>,
    /// The partners, in any order.
    pub entries: Vec<Entry>,
}

/// A partner that declines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What a notice about it says, or would say.
    pub decline: ActivityDeclined,
    /// Commission of the next 28 days, minor units.
    pub at_stake: Money,
    /// Whether it was decided on this day.
    pub is_new: bool,
}

/// A mail in both its forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// One line.
    pub subject: String,
    /// Plain text.
    pub plain: String,
    /// The same as HTML.
    pub html: String,
}

impl Digest {
    /// Joins the report `activity-decline` with the notices of the day.
    pub fn join(
        program: &str,
        day: NaiveDate,
        report: &Readout,
        notices: Vec<ActivityDeclined>,
    ) -> Self {
        let mut new: BTreeMap<String, ActivityDeclined> =
            notices.into_iter().map(|notice| (notice.partner_id.clone(), notice)).collect();
        let mut entries: Vec<Entry> = Vec::new();
        for row in &report.table.rows {
            let mut entry = of_row(report, row);
            if let Some(notice) = new.remove(&entry.decline.partner_id) {
                entry.decline.case_id = notice.case_id;
                entry.is_new = true;
            }
            entries.push(entry);
        }
        entries.extend(new.into_values().filter_map(of_notice));
        let incident = report.table.summary.iter().find_map(|(name, cell)| {
            if let (&"incident", Cell::Text(text)) = (name, cell) {
                Some(text.clone())
            } else {
                None
            }
        });
        let currency = report.params.currency;
        Self { program: program.to_owned(), day, currency, incident, entries }
    }

    /// Writes the mail; none on a day without news.
    pub fn write(mut self, locale: Locale) -> Option<Mail> {
        if self.entries.is_empty() && self.incident.is_none() {
            return None;
        }
        self.entries.sort_by(|a, b| {
            let at_stake = |e: &Entry| e.at_stake.minor;
            at_stake(b)
                .cmp(&at_stake(a))
                .then_with(|| a.decline.partner_name.cmp(&b.decline.partner_name))
        });
        Some(Mail {
            subject: self.subject(locale),
            plain: self.plain(locale),
            html: self.html(locale),
        })
    }

    fn subject(&self, locale: Locale) -> String {
        let partners = words::partners(self.entries.len(), locale);
        let (at_stake, day) = (self.at_stake(), self.day);
        let incident = self.incident.is_some();
        match locale {
            Locale::En => format!(
                "Tributary: {}{partners} declining, {at_stake} at stake ({day})",
                if incident { "incident, " } else { "" }
            ),
            Locale::Ru => format!(
                "Tributary: {}активность упала у {partners}, под угрозой {at_stake} ({day})",
                if incident { "инцидент, " } else { "" }
            ),
        }
    }

    /// The sum in the program's currency; other currencies stand at their partners alone.
    fn at_stake(&self) -> String {
        let own = self.entries.iter().map(|e| e.at_stake).filter(|m| m.currency == self.currency);
        let zero = Money::zero(self.currency);
        shown(own.fold(zero, |sum, m| sum.checked_add(m).unwrap_or(sum)))
    }

    fn plain(&self, locale: Locale) -> String {
        let mut out = format!("{}\n{}\n", clean(&self.program), self.subject(locale));
        if let Some(incident) = &self.incident {
            writeln!(out, "\n! {}", clean(incident)).expect(WRITES);
        }
        for (n, entry) in self.entries.iter().take(ENTRIES_MAX).enumerate() {
            let lines = entry.lines(locale).map(|line| clean(&line));
            let [head, facts, advice, case] = lines;
            writeln!(out, "\n{}. {head}\n   {facts}\n   {advice}", n + 1).expect(WRITES);
            if !case.is_empty() {
                writeln!(out, "   {case}").expect(WRITES);
            }
        }
        if let Some(more) = self.more(locale) {
            writeln!(out, "\n{more}").expect(WRITES);
        }
        out
    }

    fn html(&self, locale: Locale) -> String {
        let subject = escape(&self.subject(locale));
        let mut out = format!(
            "<!doctype html>\n<html lang=\"{}\"><head><meta charset=\"utf-8\">\
             <title>{subject}</title></head>\n<body>\n<h1>{}</h1>\n<p>{subject}</p>\n",
            locale.as_str(),
            escape(&self.program),
        );
        if let Some(incident) = &self.incident {
            writeln!(out, "<p><strong>{}</strong></p>", escape(incident)).expect(WRITES);
        }
        out.push_str("<ol>\n");
        for entry in self.entries.iter().take(ENTRIES_MAX) {
            let [head, facts, advice, case] = entry.lines(locale).map(|line| escape(&line));
            writeln!(out, "<li><strong>{head}</strong><br>{facts}<br>{advice}").expect(WRITES);
            if !case.is_empty() {
                writeln!(out, "<br>{case}").expect(WRITES);
            }
            out.push_str("</li>\n");
        }
        out.push_str("</ol>\n");
        if let Some(more) = self.more(locale) {
            writeln!(out, "<p>{more}</p>").expect(WRITES);
        }
        out.push_str("</body></html>\n");
        out
    }

    fn more(&self, locale: Locale) -> Option<String> {
        let n = self.entries.len().checked_sub(ENTRIES_MAX).filter(|n| *n > 0)?;
        Some(match locale {
            Locale::En => format!("{n} more in the report activity-decline."),
            Locale::Ru => format!("Ещё {n} — в отчёте activity-decline."),
        })
    }
}

const WRITES: &str = "a String takes every write";

impl Entry {
    /// Who and how much; the facts; the advice; the case, empty where there is none.
    fn lines(&self, locale: Locale) -> [String; 4] {
        let (d, at_stake) = (&self.decline, shown(self.at_stake));
        let severity = words::code(&d.severity, locale);
        let cause = words::code(&d.possible_cause, locale);
        let advice = words::remedy(&d.possible_cause, &d.remedy, locale).to_owned();
        let case = d.case_id.as_deref();
        match locale {
            Locale::En => [
                format!(
                    "{} ({severity}{}): {at_stake} at stake",
                    d.partner_name,
                    if self.is_new { ", new" } else { "" }
                ),
                format!(
                    "{} % of its clicks lost since {}; possible cause: {cause}.",
                    d.share_lost_percent, d.since
                ),
                advice,
                case.map_or_else(String::new, |id| format!("Case {id}")),
            ],
            Locale::Ru => [
                format!(
                    "{} ({severity}{}): под угрозой {at_stake}",
                    d.partner_name,
                    if self.is_new { ", новое" } else { "" }
                ),
                format!(
                    "С {} потеряно {} % переходов; возможная причина: {cause}.",
                    d.since, d.share_lost_percent
                ),
                advice,
                case.map_or_else(String::new, |id| format!("Дело {id}")),
            ],
        }
    }
}

/// Reads a row of the report by the names of its columns, which are stable for ever.
fn of_row(report: &Readout, row: &[Cell]) -> Entry {
    let cell = |name: &str| {
        let at = report.columns.iter().position(|column| column.name == name);
        at.and_then(|at| row.get(at)).unwrap_or(&Cell::Empty)
    };
    let text = |name: &str| {
        if let Cell::Text(text) = cell(name) { text.clone() } else { String::new() }
    };
    let zero = Money::zero(report.params.currency);
    let at_stake =
        if let Cell::Money(money) = cell("lost_commission_next_28d") { *money } else { zero };
    let since = if let Cell::Date(day) = cell("since") { *day } else { NaiveDate::default() };
    let share_lost_percent = if let Cell::Int(n) = cell("share_lost_percent") { *n } else { 0 };
    let decline = ActivityDeclined {
        partner_id: text("partner_id"),
        partner_name: text("partner_name"),
        severity: text("severity"),
        since,
        share_lost_percent,
        lost_commission_next_28d: at_stake.to_decimal_string(),
        currency: at_stake.currency.to_string(),
        possible_cause: text("possible_cause"),
        remedy: text("remedy"),
        case_id: None,
    };
    Entry { decline, at_stake, is_new: false }
}

/// A notice whose amount cannot be read tells nothing that could be ordered.
fn of_notice(decline: ActivityDeclined) -> Option<Entry> {
    let currency = decline.currency.parse().ok()?;
    let text = &decline.lost_commission_next_28d;
    let at_stake = Money::parse_amount(text, currency, AmountRule::ZeroOrMore).ok()?;
    Some(Entry { decline, at_stake, is_new: true })
}

fn shown(money: Money) -> String {
    format!("{} {}", money.currency, money.to_decimal_string())
}

/// Takes line breaks and control characters out: a name must not forge a line.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in clean(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
#[path = "digest_tests.rs"]
mod tests;
