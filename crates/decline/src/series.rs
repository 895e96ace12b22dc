//! What the detector reads: settled daily counts of one partner, all series equally long.
//!
//! Day 0 is the first day of the series and the last element is the newest settled day. Which
//! calendar day that is, and in which time zone, is the caller's business; the detector only needs
//! the days of a week to lie seven apart.

use std::ops::RangeInclusive;

/// Number of a day in the series, counted from 0.
pub type Day = usize;

/// A partner's first days are a honeymoon (friends, tests, a launch post) and no sample of later.
pub const HONEYMOON_DAYS: usize = 10;
/// A newcomer gets no verdict before its seventh week.
pub const MIN_AGE_DAYS: usize = 42;

/// Holds what one partner did on every day of the series.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartnerSeries {
    /// Number of its kind: partners of a kind have a similar week.
    pub kind: u8,
    /// Day the partner joined; 0 if that was before the series begins.
    pub joined_on: Day,
    /// Valid unique clicks a day.
    pub clicks: Vec<u32>,
    /// Conversions a day, by the day of the conversion.
    pub conversions: Vec<u32>,
    /// Links the partner created a day.
    pub links_created: Vec<u32>,
    /// Days on which the partner logged in count 1 or more.
    pub logins: Vec<u32>,
    /// Clicks by country, the countries that matter to this partner; the rest may be left out.
    pub countries: Vec<CountrySeries>,
    /// Absences the partner declared: these days are neither judged nor learned from.
    pub away: Vec<RangeInclusive<Day>>,
    /// Proven technical faults of this partner's links, newest last.
    pub faults: Vec<Fault>,
}

/// Holds one country's part of a partner's clicks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CountrySeries {
    /// Code or name, as evidence texts shall show it.
    pub name: String,
    /// Clicks a day.
    pub clicks: Vec<u32>,
}

/// Describes a proven fault: a dead link, a blocked crawler, a changed landing page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Day it began.
    pub began_on: Day,
    /// One sentence for the report, e.g. "2 of 3 links answer 404".
    pub text: String,
}

/// Says which series does not fit the others.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("partner {partner}: {series} has {found} days, expected {expected}")]
pub struct UnevenSeries {
    /// Index of the partner in the list given.
    pub partner: usize,
    /// Which of its series.
    pub series: &'static str,
    /// Days the network has.
    pub expected: usize,
    /// Days found.
    pub found: usize,
}

impl PartnerSeries {
    /// Returns whether the partner told us it would be away on that day.
    pub fn is_away(&self, day: Day) -> bool {
        self.away.iter().any(|absence| absence.contains(&day))
    }

    /// Returns whether the day says anything about the partner.
    pub(crate) fn is_sample(&self, day: Day) -> bool {
        day >= self.joined_on + HONEYMOON_DAYS && !self.is_away(day)
    }

    /// Returns whether the partner may be judged on that day.
    pub(crate) fn can_judge(&self, day: Day) -> bool {
        day >= self.joined_on + MIN_AGE_DAYS && !self.is_away(day)
    }

    pub(crate) fn check(&self, partner: usize, days: usize) -> Result<(), UnevenSeries> {
        let fixed = [
            ("clicks", self.clicks.len()),
            ("conversions", self.conversions.len()),
            ("links_created", self.links_created.len()),
            ("logins", self.logins.len()),
        ];
        let countries = self.countries.iter().map(|country| ("countries", country.clicks.len()));
        match fixed.into_iter().chain(countries).find(|&(_, found)| found != days) {
            Some((series, found)) => Err(UnevenSeries { partner, series, expected: days, found }),
            None => Ok(()),
        }
    }
}
