//! What tiers, caps and budgets count: sums of a partner, or of the whole program, in a period.
//!
//! A counter belongs to the conditions of its rule and not to an edition of the plan: an edition
//! that changes a rate goes on counting where the one before it stood.

use chrono::{Datelike as _, Days, NaiveDate};
use chrono_tz::Tz;
use sha2::{Digest as _, Sha256};

use crate::clock::Timestamp;

/// How long a counter counts before it begins again at nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Period {
    /// A day of the program's time zone.
    Day,
    /// A week of it, from Monday.
    Week,
    /// A calendar month of it.
    Month,
    /// For ever.
    AllTime,
}

impl Period {
    /// All of them, the shortest first.
    pub const ALL: [Self; 4] = [Self::Day, Self::Week, Self::Month, Self::AllTime];

    /// Returns the code: `day`, `week`, `month`, `all_time`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::AllTime => "all_time",
        }
    }

    /// Reads a code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|period| period.code() == code)
    }

    /// Returns the first day of the period that `at` lies in.
    pub fn start(self, at: Timestamp, time_zone: Tz) -> NaiveDate {
        let day = at.with_timezone(&time_zone).date_naive();
        match self {
            Self::Day => day,
            Self::Week => day
                .checked_sub_days(Days::new(u64::from(day.weekday().num_days_from_monday())))
                .unwrap_or(day),
            Self::Month => day.with_day(1).unwrap_or(day),
            Self::AllTime => NaiveDate::default(),
        }
    }
}

/// Whose sum it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// Each partner's own.
    Partner,
    /// That of all partners of the program together: a budget.
    Program,
}

impl Owner {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Partner, Self::Program];

    /// Returns the code: `partner` or `program`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Partner => "partner",
            Self::Program => "program",
        }
    }

    /// Reads a code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|owner| owner.code() == code)
    }
}

/// The short name of what is counted: a hash of the conditions of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope(pub i64);

impl Scope {
    /// Returns the scope of these conditions.
    pub fn of(canonical: &str) -> Self {
        let digest = Sha256::digest(canonical.as_bytes());
        Self(i64::from_be_bytes(std::array::from_fn(|n| digest[n])))
    }
}

/// A counter of a plan; with a time and a partner it names one sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Counter {
    /// What is counted.
    pub scope: Scope,
    /// For whom.
    pub owner: Owner,
    /// For how long.
    pub period: Period,
}

/// What conversions came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Volume {
    /// How many there were.
    pub n: i64,
    /// Their bases, in minor units of the rule's currency; the partner's part of a shared one.
    pub amount_minor: i64,
}

impl Volume {
    /// Adds.
    pub fn plus(self, other: Self) -> Self {
        Self {
            n: self.n.saturating_add(other.n),
            amount_minor: self.amount_minor.saturating_add(other.amount_minor),
        }
    }
}

/// What a counter says when a conversion is priced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Sum {
    /// The conversions before it, in the order of their time.
    pub before: Volume,
    /// All of the period, as far as they are known; counts where a tier is retroactive.
    pub whole: Volume,
    /// What those before it earned, in minor units.
    pub earned_minor: i64,
}

/// What a commission adds to a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Which.
    pub counter: Counter,
    /// The conversion.
    pub volume: Volume,
    /// What it earned under this counter, in minor units.
    pub earned_minor: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_begins_on_the_programs_own_day() {
        let at: Timestamp = "2026-10-31T23:30:00Z".parse().unwrap();
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        for (period, utc, berlin) in [
            (Period::Day, "2026-10-31", "2026-11-01"),
            (Period::Week, "2026-10-26", "2026-10-26"),
            (Period::Month, "2026-10-01", "2026-11-01"),
            (Period::AllTime, "1970-01-01", "1970-01-01"),
        ] {
            assert_eq!(period.start(at, Tz::UTC), day(utc), "{period:?}");
            assert_eq!(period.start(at, Tz::Europe__Berlin), day(berlin), "{period:?}");
        }
    }
}
