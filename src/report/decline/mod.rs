//! Finds partners whose clicks declined: early, without crying wolf, with a possible cause.
//!
//! Input are settled daily counts ([`PartnerSeries`]), output is one [`Assessment`] per partner and
//! day. For each partner the expected clicks are its own robust baseline times its weekday weight
//! times what the whole network did that day; windows of 2 to 112 days are then compared with
//! their expectation by a negative binomial tail whose noise is the partner's own past forecast
//! error. So an outage, a holiday or a bot burst is nobody's decline, and a wild partner must fall
//! further than a steady one.
//!
//! The steps, in the order of the data: `season` and `network` say what a day should bring,
//! `baseline` what the partner usually brings, and `history` learns all three day by day;
//! `windows` and `silence` produce a finding per day, which `price` puts on one scale; `state`
//! remembers falls that have not recovered; `severity` decides the day's list; `onset` dates the
//! fall, `cause` and `remedy` say why and what to do. `rising` looks the other way; `band` and
//! `picture` show what was expected and what came. [`score`] replays the benchmark in
//! `load-tests/decline/`, which guards the quality of all this.
//!
//! Everything is pure. An assessment of a day uses that day and earlier ones only.
#![expect(
    clippy::float_arithmetic,
    reason = "statistics of click counts; no amount of money is computed here"
)]

mod assess;
mod band;
mod baseline;
mod cause;
mod conversions;
mod finding;
mod halves;
mod history;
pub mod judgment;
mod network;
mod onset;
pub mod picture;
pub mod picture_http;
mod price;
pub mod query;
mod remedy;
mod rising;
pub mod rising_table;
pub mod score;
mod season;
mod series;
mod severity;
mod silence;
mod state;
pub mod table;
mod tail;
pub mod told;
mod totals;
mod windows;

pub use assess::{Assessment, Decline, Estimate, Verdict};
pub use cause::{Cause, Diagnosis};
pub use conversions::ConversionFall;
pub use remedy::remedy;
pub use rising::Rise;
pub use series::{CountrySeries, Day, Fault, PartnerSeries, UnevenSeries};
pub use severity::{FalseAlarms, Severity};
pub use state::{Fallen, State};

use std::ops::Range;

use finding::Finding;
use history::History;
use totals::Totals;

/// Two months of everybody's days before anybody is judged.
const JUDGED_FROM: Day = 60;
/// A newcomer gets no verdict before its seventh week.
const MIN_AGE_DAYS: usize = 42;
/// Holds all partners of a program with everything learned from their days.
#[derive(Debug)]
pub struct Network {
    partners: Vec<PartnerSeries>,
    history: History,
    conversions: Totals,
    /// Strongest finding, by day from [`JUDGED_FROM`] on, then by partner.
    findings: Vec<Finding>,
}

/// Describes a fall of the whole network: look at the tracker and the offer, not at partners.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Incident {
    /// First day of the low stretch.
    pub since: Day,
    /// Mean of the stretch, as a share of the usual clicks.
    pub factor: f64,
}

impl Network {
    /// Learns from `days` days of all partners.
    ///
    /// # Errors
    /// [`UnevenSeries`] if a series is shorter or longer than `days`.
    pub fn new(days: usize, partners: Vec<PartnerSeries>) -> Result<Self, UnevenSeries> {
        for (i, partner) in partners.iter().enumerate() {
            partner.check(i, days)?;
        }
        let history = History::learn(&partners, days);
        let conversions = conversions::totals(&partners, &history);
        let mut network = Self { partners, history, conversions, findings: Vec::new() };
        network.findings = network.find(days.saturating_sub(JUDGED_FROM));
        Ok(network)
    }

    /// Number of days learned; the last one is `days() - 1`.
    pub fn days(&self) -> usize {
        self.history.days
    }

    /// Number of partners.
    pub fn partners(&self) -> usize {
        self.partners.len()
    }

    /// Returns what the network did on a day relative to a usual one: 1 is usual.
    ///
    /// # Panics
    /// If `day` is not below [`days`](Self::days), as all methods that take a day.
    pub fn factor(&self, day: Day) -> f64 {
        self.history.factors[day]
    }

    /// Returns a partner's clicks per usual day in the `days` that end with `day`; none while these
    /// were no usual days at all.
    pub fn rate(&self, partner: usize, day: Day, days: usize) -> Option<f64> {
        let from = (day + 1).saturating_sub(days);
        let exposure = self.history.exposure.between(partner, from, day + 1);
        (exposure > 0.0).then(|| self.history.raw.between(partner, from, day + 1) / exposure)
    }

    /// Returns the strongest finding about a partner on a day.
    fn finding(&self, partner: usize, day: Day) -> Finding {
        match day.checked_sub(JUDGED_FROM) {
            Some(row) => self.findings[row * self.partners.len() + partner],
            None => Finding::NONE,
        }
    }

    /// Returns the partner's state at the end of a day.
    fn state(&self, partner: usize, day: Day) -> State {
        let findings = |day| self.finding(partner, day);
        let series = &self.partners[partner];
        state::state(series, &self.history, partner, findings, (JUDGED_FROM.min(day), day))
    }

    /// Returns a fall of conversions at unchanged clicks, as seen at the end of a day.
    fn conversion_fall(&self, partner: usize, day: Day) -> Option<ConversionFall> {
        conversions::fall(&self.history, &self.conversions, partner, day)
    }

    /// Returns the possible cause of a fall that began on `since`, as seen at the end of `day`.
    fn diagnose(&self, partner: usize, since: Day, day: Day) -> Diagnosis {
        cause::diagnose(&self.partners[partner], &self.history, partner, since, day)
    }

    /// Returns the network-wide incident that a day belongs to, once it lasts three days.
    pub fn incident(&self, day: Day) -> Option<Incident> {
        let (n_days, factor) = network::low_stretch(&self.history.factors[..=day])?;
        Some(Incident { since: day + 1 - n_days, factor })
    }

    /// Half of the windows are scanned beside the other half; the stronger finding is kept.
    fn find(&self, judged_days: usize) -> Vec<Finding> {
        let scan = |lengths: Range<usize>, has_silence: bool| {
            let mut found = vec![Finding::NONE; judged_days * self.partners.len()];
            let count = self.partners.len();
            let mut keep = |partner: usize, day: Day, finding: Finding| {
                let best = &mut found[(day - JUDGED_FROM) * count + partner];
                let series = &self.partners[partner];
                let has_verdict = day >= series.joined_on + MIN_AGE_DAYS && !series.is_away(day);
                if has_verdict && finding.listing_strength > best.listing_strength {
                    *best = finding;
                }
            };
            windows::scan(&self.history, lengths, JUDGED_FROM, &mut keep);
            if has_silence {
                silence::scan(&self.partners, &self.history, JUDGED_FROM, &mut keep);
            }
            found
        };
        let half = windows::COUNT / 2;
        let (mut found, others) =
            halves::both(|| scan(0..half, false), || scan(half..windows::COUNT, true));
        for (best, other) in found.iter_mut().zip(others) {
            if other.listing_strength > best.listing_strength {
                *best = other;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
#[path = "docs_example_tests.rs"]
mod docs_example;
