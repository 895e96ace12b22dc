//! From when until when a report tells: half-open, in days of a time zone or to the second. Pure.

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;

use crate::clock::{Timestamp, midnight};

/// A stretch of time: `from` is in it, `to` is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first moment in it.
    pub from: Timestamp,
    /// The first moment after it.
    pub to: Timestamp,
    /// Whose midnight begins a day.
    pub time_zone: Tz,
}

/// Says why two texts are no stretch of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadWindow {
    /// Not a date and not a time.
    #[error("{0:?} is neither a day like 2026-10-01 nor a time like 2026-10-01T00:00:00Z")]
    NotATime(String),
    /// It ends before it begins.
    #[error("to must be later than from: it is the first moment that is not told")]
    Empty,
}

impl Window {
    /// Reads the two ends: days of the time zone, or RFC 3339.
    pub fn parse(from: &str, to: &str, time_zone: Tz) -> Result<Self, BadWindow> {
        let (from, to) = (parse_end(from, time_zone)?, parse_end(to, time_zone)?);
        if from < to { Ok(Self { from, to, time_zone }) } else { Err(BadWindow::Empty) }
    }

    /// Returns the days on which it begins and ends, for names of files.
    pub fn days(&self) -> (NaiveDate, NaiveDate) {
        let day = |at: Timestamp| at.with_timezone(&self.time_zone).date_naive();
        (day(self.from), day(self.to))
    }

    /// Returns its days in their order, the first and the last perhaps cut.
    pub fn each_day(self) -> impl Iterator<Item = (Timestamp, Timestamp)> + Send {
        let (first, _) = self.days();
        let starts = first.iter_days().map(move |day| midnight(day, self.time_zone));
        let ends = starts.skip(1).take_while(move |end| *end < self.to).chain([self.to]);
        let mut from = self.from;
        // A day that never was (Samoa's 30 December 2011) is no stretch of time.
        ends.map(move |to| (std::mem::replace(&mut from, to), to)).filter(|(from, to)| from < to)
    }
}

fn parse_end(text: &str, time_zone: Tz) -> Result<Timestamp, BadWindow> {
    if let Ok(day) = text.parse::<NaiveDate>() {
        return Ok(midnight(day, time_zone));
    }
    let time = DateTime::parse_from_rfc3339(text);
    let not_a_time = || BadWindow::NotATime(text.chars().take(40).collect());
    time.map(|t| t.with_timezone(&Utc)).map_err(|_| not_a_time())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn days_begin_at_midnight_of_the_zone() {
        for (from, to, zone, starts, ends) in [
            ("2026-10-01", "2026-11-01", "UTC", "2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z"),
            // Summer time ends in between: 31 days and an hour.
            (
                "2026-10-01",
                "2026-11-01",
                "Europe/Berlin",
                "2026-09-30T22:00:00Z",
                "2026-10-31T23:00:00Z",
            ),
            // Clocks jump from 00:00 to 01:00 on this day.
            (
                "2024-03-31",
                "2024-04-01",
                "Asia/Beirut",
                "2024-03-30T22:00:00Z",
                "2024-03-31T21:00:00Z",
            ),
            // Clocks go back from 01:00 to 00:00: the day begins with the first of its two midnights.
            (
                "2025-11-02",
                "2025-11-03",
                "America/Havana",
                "2025-11-02T04:00:00Z",
                "2025-11-03T05:00:00Z",
            ),
        ] {
            let window = Window::parse(from, to, zone.parse().unwrap()).unwrap();
            assert_eq!((window.from, window.to), (at(starts), at(ends)), "{from} {zone}");
        }
    }

    #[test]
    fn a_day_that_never_was_is_empty() {
        let samoa = "Pacific/Apia".parse().unwrap();
        assert_eq!(Window::parse("2011-12-30", "2011-12-31", samoa), Err(BadWindow::Empty));
        let next = Window::parse("2011-12-30", "2012-01-01", samoa).unwrap();
        assert_eq!(next.from, at("2011-12-30T10:00:00Z"));
    }

    #[test]
    fn a_window_is_the_sum_of_its_days() {
        let zone = "Europe/Berlin".parse().unwrap();
        let window = Window::parse("2026-10-24T12:00:00Z", "2026-10-27T05:00:00Z", zone).unwrap();
        let days: Vec<_> = window.each_day().collect();
        let ends = ["2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", "2026-10-26T23:00:00Z"];
        assert_eq!(days.iter().map(|d| d.1).collect::<Vec<_>>()[..3], ends.map(at));
        assert_eq!((days[0].0, days[3].1, days.len()), (window.from, window.to, 4));
        assert!(days.windows(2).all(|pair| pair[0].1 == pair[1].0));
        let samoa = Window::parse("2011-12-29", "2012-01-01", "Pacific/Apia".parse().unwrap());
        assert_eq!(samoa.unwrap().each_day().count(), 2);
    }

    #[test]
    fn times_are_read_to_the_second_and_keep_their_day() {
        let zone = "Europe/Berlin".parse().unwrap();
        let window =
            Window::parse("2026-10-01T23:30:00+02:00", "2026-10-01T22:00:00Z", zone).unwrap();
        assert_eq!(window.from, at("2026-10-01T21:30:00Z"));
        let day = |d: &str| d.parse::<NaiveDate>().unwrap();
        assert_eq!(window.days(), (day("2026-10-01"), day("2026-10-02")));
    }

    #[test]
    fn what_is_no_stretch_of_time_is_refused() {
        for (from, to) in [
            ("2026-10-01", "2026-10-01"),
            ("2026-10-02", "2026-10-01"),
            ("yesterday", "2026-10-01"),
            ("2026-10-01", "2026-13-01"),
            ("2026-10-01", ""),
            ("2026-10-01T00:00:00", "2026-10-02"),
        ] {
            assert!(Window::parse(from, to, Tz::UTC).is_err(), "{from} {to}");
        }
    }
}
