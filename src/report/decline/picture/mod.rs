//! Pictures of a partner's activity, as SVG text: what was expected, what came, since when it fell.
//!
//! Made for paper as much as for screens: every difference is one of line and lightness, never of
//! color alone; a dark screen gets light lines. Nothing in them is loaded or run.

pub mod chart;
pub mod page;
pub mod sparkline;

use chrono::NaiveDate;
use tributary_decline::View;

use super::query;
use super::{Day, Decline, Estimate};

/// What a picture shows of one partner.
#[derive(Clone, Debug, PartialEq)]
pub struct Activity {
    /// Whose.
    pub name: String,
    /// Day by day, without a gap; the last is the day that is judged.
    pub points: Vec<Point>,
    /// The fall that the partner is listed for.
    pub fall: Option<FallSince>,
}

/// One day.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Which day.
    pub date: NaiveDate,
    /// Unique clicks that came.
    pub observed: u32,
    /// Clicks that were to be expected; none where the day says nothing.
    pub expected: Option<Estimate>,
}

/// A fall, in clicks per usual day.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FallSince {
    /// Likeliest first day.
    pub since: NaiveDate,
    /// Clicks a day to be expected.
    pub expected: f64,
    /// Clicks a day that come.
    pub observed: f64,
    /// Share lost, 0 to 1.
    pub share_lost: f64,
}

impl Activity {
    /// Returns the last `days` days of a partner up to the day that is judged; `first` is the date
    /// of its first day.
    pub(super) fn of(
        name: &str,
        view: View<'_>,
        decline: Option<&Decline>,
        first: NaiveDate,
        days: usize,
    ) -> Self {
        let point = |day: Day| Point {
            date: query::date(first, day),
            observed: view.observed(day),
            expected: view.expected(day, decline),
        };
        let until = view.day() + 1;
        Self {
            name: name.to_owned(),
            points: (until.saturating_sub(days)..until).map(point).collect(),
            fall: decline.map(|decline| FallSince {
                since: query::date(first, decline.since),
                expected: decline.expected_per_day.value,
                observed: decline.observed_per_day.value,
                share_lost: decline.share_lost,
            }),
        }
    }

    /// Returns what the picture says, in a sentence for those who do not see it.
    fn told(&self) -> String {
        match self.fall {
            Some(fall) => format!(
                "Declined since {}: {} clicks a day expected, {} observed, {:.0} % lost.",
                fall.since,
                per_day(fall.expected),
                per_day(fall.observed),
                fall.share_lost * 100.0
            ),
            None => "No decline is listed.".to_owned(),
        }
    }

    /// Returns where the fall begins in the picture; 0 if it began before it.
    fn onset(&self) -> Option<usize> {
        let since = self.fall?.since;
        self.points.iter().position(|point| point.date >= since)
    }
}

/// Writes a rate: whole clicks, or two figures of a small one.
fn per_day(rate: f64) -> String {
    if rate >= 9.95 {
        thousands(rate)
    } else if rate >= 0.095 {
        format!("{rate:.1}")
    } else {
        format!("{rate:.2}")
    }
}

/// Writes a whole number with a comma at the thousands.
fn thousands(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut out = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if number <= -0.5 {
        out.push('-');
    }
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Writes text into XML or HTML. Names are typed by strangers: markup becomes text, and characters
/// that XML forbids become the sign for an unknown one.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => {
                out.push(if c.is_whitespace() { ' ' } else { '\u{fffd}' });
            }
            _ => out.push(c),
        }
    }
    out
}

/// Writes the points of a line, two decimals at most.
fn path(points: impl IntoIterator<Item = (f64, f64)>) -> String {
    let mut out = String::new();
    for (x, y) in points {
        out.push_str(if out.is_empty() { "M" } else { "L" });
        out.push_str(&format!("{x:.1} {y:.1}"));
    }
    out
}

/// Styles of both pictures. Only a screen gets the dark ones: paper is white.
const STYLE: &str = "\
.tb-paper{fill:#fff}.tb-ink{fill:#1f2328}.tb-soft{fill:#59616b}\
.tb-band{fill:#d9dce1}.tb-grid{stroke:#e3e5e9}\
.tb-seen{fill:none;stroke:#1f2328}.tb-mean{fill:none;stroke:#6f7782;stroke-dasharray:4 3}\
.tb-onset{stroke:#1f2328;stroke-dasharray:1.5 2.5}\
@media screen and (prefers-color-scheme:dark){.tb-paper{fill:#16191d}.tb-ink{fill:#eceef1}\
.tb-soft{fill:#a3abb5}.tb-band{fill:#3a4048}.tb-grid{stroke:#2a2f36}.tb-seen{stroke:#eceef1}\
.tb-mean{stroke:#8d96a1}.tb-onset{stroke:#eceef1}}";

#[cfg(test)]
#[path = "picture_tests.rs"]
mod tests;
