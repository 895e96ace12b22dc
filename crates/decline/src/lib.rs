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
//! fall, `cause` and `remedy` say why and what to do. `rising` looks the other way; `band` says what
//! a day was expected to bring, for pictures. [`kept`] is what a database keeps of it all. [`score`]
//! replays the benchmark in `load-tests/decline/`, which guards the quality of all this.
//!
//! Everything is pure. An assessment of a day uses that day and earlier ones only. It is a crate of
//! its own because it is arithmetic alone: built with optimization where the service is not, and
//! unable to name a database.
#![expect(
    clippy::float_arithmetic,
    reason = "statistics of click counts; no amount of money is computed here"
)]

mod assess;
mod band;
mod baseline;
mod cause;
pub mod conversions;
mod detector;
mod finding;
pub mod halves;
mod history;
pub mod kept;
mod network;
mod onset;
mod price;
mod remedy;
mod rising;
pub mod score;
mod season;
mod series;
mod severity;
mod silence;
mod state;
mod tail;
mod totals;
mod windows;

pub use assess::{Assessment, Decline, Estimate, Standing, Verdict, View, declines};
pub use cause::{Cause, Diagnosis};
pub use conversions::ConversionFall;
pub use detector::Detector;
pub use history::{CommonDay, History, Today};
pub use remedy::remedy;
pub use rising::{Rise, listed as listed_rises};
pub use series::{
    CountrySeries, Day, Fault, HONEYMOON_DAYS, MIN_AGE_DAYS, PartnerSeries, UnevenSeries,
};
pub use severity::{FalseAlarms, Severity, listed_from, may_be_listed};
pub use state::{Fallen, State};

/// Two months of everybody's days before anybody is judged.
pub const JUDGED_FROM: Day = 60;

/// Holds all partners of a program with everything learned from their days.
#[derive(Debug)]
pub struct Network {
    partners: Vec<PartnerSeries>,
    detector: Detector,
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
        let mut network = Self::begin(days, partners)?;
        (0..days).for_each(|_| network.learn_day());
        Ok(network)
    }

    /// Takes the series and learns nothing yet.
    fn begin(days: usize, partners: Vec<PartnerSeries>) -> Result<Self, UnevenSeries> {
        for (i, partner) in partners.iter().enumerate() {
            partner.check(i, days)?;
        }
        let detector = Detector::of(&partners);
        Ok(Self { partners, detector })
    }

    fn learn_day(&mut self) {
        let today = Today::of(&self.partners, self.days());
        self.detector.learn_day(today, None);
    }

    /// Number of days learned.
    pub fn days(&self) -> usize {
        self.detector.history.days
    }

    /// The last day learned.
    fn last(&self) -> Day {
        self.days() - 1
    }

    /// Number of partners.
    pub fn partners(&self) -> usize {
        self.partners.len()
    }

    /// Returns the network-wide incident that the last day belongs to, once it lasts three days.
    pub fn incident(&self) -> Option<Incident> {
        self.detector.incident()
    }

    fn view(&self, partner: usize) -> View<'_> {
        let (series, history) = (&self.partners[partner], &self.detector.history);
        View { series, history, place: partner }
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
#[path = "docs_example_tests.rs"]
mod docs_example;
