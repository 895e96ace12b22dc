//! Statements: what a partner is told about a closed month, for good. Pure.
//!
//! A statement is a document of JSON objects, one a line: first the balances, then every entry on
//! the partner's two accounts in the order of the ledger. Its SHA-256 is over these bytes. Other
//! forms are made from the document, never from the ledger: what was told once is told again.
//!
//! `opening + approved + bonuses + adjustments + returned + written_off − reversed − clawed_back
//! − set_aside = closing`, and `pending_opening + accrued − approved − rejected = pending_closing`.

use std::fmt::Write as _;

use chrono::SecondsFormat;
use serde_json::{Map, Value, json};

use super::period::ClosedPeriod;
use super::posting::Code;
use crate::clock::Timestamp;
use crate::ids::{LedgerTransactionId, PartnerId};
use crate::money::{Currency, Money};

/// Which of a partner's accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Earned, the hold not over.
    Pending,
    /// Owed.
    Payable,
}

/// An entry on a partner's account; the amount is above zero when the partner is owed more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The transaction.
    pub transaction: LedgerTransactionId,
    /// When it takes effect.
    pub effective_at: Timestamp,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// What it is for.
    pub code: Code,
    /// Its name in the ledger.
    pub reference: String,
    /// The shop's name of the order behind it.
    pub order_id: Option<String>,
    /// Which account.
    pub side: Side,
    /// Minor units.
    pub amount_minor: i64,
}

/// Whose month it is, and what was there before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heading {
    /// `ST-2026-10-000123`.
    pub number: String,
    /// Who is told.
    pub partner_id: PartnerId,
    /// By this name.
    pub partner_name: String,
    /// The program's name.
    pub program_name: String,
    /// IANA name of the time zone of the month.
    pub time_zone: String,
    /// The currency of all amounts.
    pub currency: Currency,
    /// Pending at the beginning, minor units.
    pub pending_opening_minor: i64,
    /// Payable at the beginning, minor units.
    pub opening_minor: i64,
}

/// A statement, ready to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// What it is headed by.
    pub heading: Heading,
    /// Pending at the end, minor units.
    pub pending_closing_minor: i64,
    /// Payable at the end, minor units.
    pub closing_minor: i64,
    /// How many entries.
    pub n_lines: usize,
    /// Its bytes.
    pub document: String,
}

/// Returns the number of a statement.
pub fn number(period: &ClosedPeriod, n: u64) -> String {
    format!("ST-{}-{n:06}", period.month)
}

/// What moved, by its kind and with the sign of its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Movements {
    accrued: i64,
    rejected: i64,
    approved: i64,
    bonuses: i64,
    adjustments: i64,
    reversed: i64,
    clawed_back: i64,
    set_aside: i64,
    returned: i64,
    written_off: i64,
}

impl Movements {
    fn add(&mut self, line: &Line) -> Option<()> {
        let minor = line.amount_minor;
        let (sum, minor) = match (line.code, line.side) {
            (Code::Accrue | Code::Amend, _) => (&mut self.accrued, minor),
            (Code::Reject, _) => (&mut self.rejected, minor.checked_neg()?),
            (Code::Approve, Side::Payable) => (&mut self.approved, minor),
            // The other half of what is counted on payable.
            (Code::Approve, Side::Pending) => return Some(()),
            (Code::Bonus, _) => (&mut self.bonuses, minor),
            (Code::Adjust, _) => (&mut self.adjustments, minor),
            (Code::Reverse, _) => (&mut self.reversed, minor.checked_neg()?),
            (Code::Clawback, _) => (&mut self.clawed_back, minor.checked_neg()?),
            (Code::PayoutReserve | Code::PayoutCancel | Code::PayoutFail | Code::PayoutPay, _) => {
                (&mut self.set_aside, minor.checked_neg()?)
            }
            (Code::PayoutReturn, _) => (&mut self.returned, minor),
            (Code::WriteOff, _) => (&mut self.written_off, minor),
        };
        *sum = sum.checked_add(minor)?;
        Some(())
    }
}

/// Writes a statement; none when a figure does not fit.
pub fn write(heading: Heading, period: &ClosedPeriod, lines: &[Line]) -> Option<Statement> {
    let mut moved = Movements::default();
    let (mut pending, mut payable) = (heading.pending_opening_minor, heading.opening_minor);
    for line in lines {
        moved.add(line)?;
        let balance = match line.side {
            Side::Pending => &mut pending,
            Side::Payable => &mut payable,
        };
        *balance = balance.checked_add(line.amount_minor)?;
    }
    let amount = |minor| Money::new(minor, heading.currency).to_decimal_string();
    let head = json!({
        "v": 1,
        "statement": heading.number,
        "program_id": period.program_id,
        "program": heading.program_name,
        "partner_id": heading.partner_id,
        "partner": heading.partner_name,
        "period": period.month.to_string(),
        "from": time(period.starts_at),
        "to": time(period.ends_at),
        "time_zone": heading.time_zone,
        "closed_at": time(period.closed_at),
        "currency": heading.currency.code(),
        "pending_opening": amount(heading.pending_opening_minor),
        "accrued": amount(moved.accrued),
        "rejected": amount(moved.rejected),
        "pending_closing": amount(pending),
        "opening": amount(heading.opening_minor),
        "approved": amount(moved.approved),
        "bonuses": amount(moved.bonuses),
        "adjustments": amount(moved.adjustments),
        "reversed": amount(moved.reversed),
        "clawed_back": amount(moved.clawed_back),
        "set_aside": amount(moved.set_aside),
        "returned": amount(moved.returned),
        "written_off": amount(moved.written_off),
        "closing": amount(payable),
        "lines": lines.len(),
    });
    let mut document = format!("{head}\n");
    for line in lines {
        let line = json!({
            "transaction": line.transaction,
            "effective_at": time(line.effective_at),
            "recorded_at": time(line.recorded_at),
            "late": line.effective_at < period.starts_at,
            "code": line.code.text(),
            "reference": line.reference,
            "order_id": line.order_id,
            "account": match line.side { Side::Pending => "pending", Side::Payable => "payable" },
            "amount": amount(line.amount_minor),
        });
        writeln!(document, "{line}").expect("writing to a string cannot fail");
    }
    Some(Statement {
        heading,
        pending_closing_minor: pending,
        closing_minor: payable,
        n_lines: lines.len(),
        document,
    })
}

fn time(at: Timestamp) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Returns a kept document as one JSON object: the heading, its entries as `entries`.
pub fn to_json(document: &str) -> Option<Value> {
    let (head, lines) = read(document)?;
    let mut all = head;
    all.insert("entries".to_owned(), Value::Array(lines));
    Some(Value::Object(all))
}

fn read(document: &str) -> Option<(Map<String, Value>, Vec<Value>)> {
    let mut lines = document.lines().map(|line| serde_json::from_str::<Value>(line).ok());
    let Some(Value::Object(head)) = lines.next()? else { return None };
    Some((head, lines.collect::<Option<_>>()?))
}

const STYLE: &str = "@page{size:A4;margin:18mm}\
body{font:10pt/1.45 system-ui,sans-serif;color:#111;max-width:186mm;margin:2em auto}\
h1{font-size:16pt;margin:0}p{margin:.2em 0}table{border-collapse:collapse;width:100%;margin:1em 0}\
th,td{text-align:left;padding:.25em .5em;border-bottom:1px solid #ddd;vertical-align:top}\
th{font-weight:600}.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}\
.sum td{font-weight:600;border-top:2px solid #111}thead{display:table-header-group}\
tr{break-inside:avoid}small{color:#555;word-break:break-all}";

/// What the balances show: the key, what people read, and whether it is a sum.
const FIGURES: [(&str, &str, bool); 14] = [
    ("pending_opening", "Pending at the beginning", true),
    ("accrued", "Earned, hold running", false),
    ("approved", "less approved", false),
    ("rejected", "less rejected", false),
    ("pending_closing", "Pending at the end", true),
    ("opening", "Payable at the beginning", true),
    ("approved", "Approved", false),
    ("bonuses", "Bonuses", false),
    ("adjustments", "Adjustments", false),
    ("returned", "Returned by the bank", false),
    ("written_off", "Written off", false),
    ("reversed", "less reversed", false),
    ("clawed_back", "less clawed back", false),
    ("set_aside", "less set aside for payouts", false),
];

/// Returns a kept document as a page to read and to print, which is how it becomes a PDF.
pub fn to_html(document: &str, sha256_hex: &str) -> Option<String> {
    let (head, lines) = read(document)?;
    let of = |key: &str| text(&head[key]);
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{number}</title>\
         <style>{STYLE}</style><h1>Statement {number}</h1>\
         <p><b>{}</b> ({})</p><p>Program {} · {} · {} to {} ({})</p>\
         <table><tbody>",
        of("partner"),
        of("partner_id"),
        of("program"),
        of("period"),
        of("from"),
        of("to"),
        of("time_zone"),
        number = of("statement"),
    );
    let figures = FIGURES.iter().chain([&("closing", "Payable at the end", true)]);
    for (key, shown, is_sum) in figures {
        let class = if *is_sum { " class=\"sum\"" } else { "" };
        let (amount, currency) = (of(key), of("currency"));
        write!(out, "<tr{class}><td>{shown}<td class=\"n\">{amount} {currency}").ok()?;
    }
    out.push_str(
        "</table><table><thead><tr><th>Effective<th>Recorded<th>What<th>Order<th>Account\
         <th class=\"n\">Amount<tbody>",
    );
    for line in &lines {
        let of = |key: &str| text(&line[key]);
        let day = |key: &str| of(key).chars().take(10).collect::<String>();
        let late = if line["late"] == Value::Bool(true) { " (late)" } else { "" };
        write!(
            out,
            "<tr><td>{}{late}<td>{}<td>{}<td>{}<td>{}<td class=\"n\">{}",
            day("effective_at"),
            day("recorded_at"),
            of("code"),
            of("order_id"),
            of("account"),
            of("amount"),
        )
        .ok()?;
    }
    writeln!(out, "</table><p><small>SHA-256 {sha256_hex}</small></p></html>").ok()?;
    Some(out)
}

/// Returns a value as text that is safe in a page.
fn text(value: &Value) -> String {
    let plain = match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    plain.chars().fold(String::with_capacity(plain.len()), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
        out
    })
}

#[cfg(test)]
#[path = "statement_tests.rs"]
mod tests;
