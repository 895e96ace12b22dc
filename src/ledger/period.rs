//! Months of the books: which may be closed, and what belongs to one. Pure.
//!
//! A transaction belongs to the first month that was open when it was recorded and is not over
//! before it takes effect. So what takes effect in October and is recorded after October was closed
//! is in November's statement, and its `effective_at` says where it comes from.

use std::fmt;
use std::str::FromStr;

use chrono::{Datelike as _, Months, NaiveDate};
use chrono_tz::Tz;

use super::proof::ChainHash;
use crate::clock::{Timestamp, midnight};
use crate::ids::{ProgramId, UserId};

/// A calendar month: `2026-10`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Month(NaiveDate);

/// Says that a text names no month.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a period is a month like 2026-10")]
pub struct BadMonth;

impl FromStr for Month {
    type Err = BadMonth;

    fn from_str(text: &str) -> Result<Self, BadMonth> {
        let day: NaiveDate = format!("{text}-01").parse().map_err(|_| BadMonth)?;
        // chrono reads `2026-1` too; one month must have one name.
        let month = Self(day);
        if month.to_string() == text { Ok(month) } else { Err(BadMonth) }
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.0.year(), self.0.month())
    }
}

impl Month {
    /// Returns the month after it.
    pub fn next(self) -> Self {
        Self(self.0.checked_add_months(Months::new(1)).unwrap_or(self.0))
    }

    /// Returns when it begins, and the first moment after it, in a time zone.
    pub fn bounds(self, time_zone: Tz) -> (Timestamp, Timestamp) {
        (midnight(self.0, time_zone), midnight(self.next().0, time_zone))
    }
}

/// A month whose books are closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedPeriod {
    /// Whose books.
    pub program_id: ProgramId,
    /// Which month.
    pub month: Month,
    /// When it begins, in the program's time zone.
    pub starts_at: Timestamp,
    /// The first moment after it.
    pub ends_at: Timestamp,
    /// How far the month before it reached; of the first month closed, how far it reaches itself.
    pub after_sequence: i64,
    /// The last transaction of the ledger when it was closed.
    pub last_sequence: i64,
    /// The chain's hash there: proves the book up to the close.
    pub chain_hash: ChainHash,
    /// Who closed it.
    pub closed_by: UserId,
    /// When.
    pub closed_at: Timestamp,
}

/// Why a month cannot be closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CannotClose {
    /// It is not over.
    #[error("{month} is not over; it ends at {ends_at}")]
    NotOver {
        /// The month.
        month: Month,
        /// When it ends.
        ends_at: Timestamp,
    },
    /// It is closed.
    #[error("{0} is closed already")]
    Closed(Month),
    /// Months are closed one after another.
    #[error("{0} comes first: months are closed one after another")]
    NotNext(Month),
}

/// Decides whether a month may be closed now; `last` is the last one that was.
pub fn may_close(
    month: Month,
    time_zone: Tz,
    last: Option<Month>,
    now: Timestamp,
) -> Result<(), CannotClose> {
    let (_, ends_at) = month.bounds(time_zone);
    match last {
        Some(last) if month <= last => Err(CannotClose::Closed(month)),
        Some(last) if month > last.next() => Err(CannotClose::NotNext(last.next())),
        Some(_) | None if ends_at > now => Err(CannotClose::NotOver { month, ends_at }),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn month(text: &str) -> Month {
        text.parse().unwrap()
    }

    #[test]
    fn a_month_has_one_name() {
        assert_eq!(month("2026-12").next(), month("2027-01"));
        for bad in ["", "2026", "2026-1", "2026-13", "2026-10-01", " 2026-10", "26-10"] {
            assert_eq!(bad.parse::<Month>(), Err(BadMonth), "{bad:?}");
        }
    }

    #[test]
    fn months_begin_at_midnight_of_the_program() {
        let (from, to) = month("2026-10").bounds(Tz::Europe__Berlin);
        let shown = [from, to].map(|at| at.to_rfc3339());
        assert_eq!(shown, ["2026-09-30T22:00:00+00:00", "2026-10-31T23:00:00+00:00"]);
    }

    #[test]
    fn months_are_closed_one_after_another_when_they_are_over() {
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let close = |wanted: &str, last: Option<&str>| {
            may_close(month(wanted), Tz::UTC, last.map(month), now)
        };
        assert_eq!(close("2026-10", None), Ok(()));
        assert_eq!(close("2026-10", Some("2026-09")), Ok(()));
        assert_eq!(close("2026-10", Some("2026-10")), Err(CannotClose::Closed(month("2026-10"))));
        assert_eq!(close("2026-10", Some("2026-07")), Err(CannotClose::NotNext(month("2026-08"))));
        let ends_at = "2026-12-01T00:00:00Z".parse().unwrap();
        let not_over = CannotClose::NotOver { month: month("2026-11"), ends_at };
        assert_eq!(close("2026-11", Some("2026-10")), Err(not_over.clone()));
        assert_eq!(close("2026-11", None), Err(not_over));
    }
}
