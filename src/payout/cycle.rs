//! When a batch is due: periods, cycles and days to pay. Pure.

use std::fmt;
use std::str::FromStr;

use chrono::{Datelike as _, Days, Months, NaiveDate, NaiveTime, TimeZone as _, Weekday};
use chrono_tz::Tz;

use crate::clock::Timestamp;

/// What a batch is for: a month, `2026-10`, or a cycle named by its first day, `2026-10-16`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Period {
    text: String,
    first: NaiveDate,
    is_month: bool,
}

/// Says that a text names no period.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPeriod {
    /// It is neither a month nor a day.
    #[error("a period is a month like 2026-10 or a day like 2026-10-15")]
    NoDate,
    /// The day begins no cycle.
    #[error("{day} begins no {cycle} period: it must be {begin}")]
    NotABeginning {
        /// The day given.
        day: NaiveDate,
        /// Code of the cycle.
        cycle: &'static str,
        /// Which days do.
        begin: &'static str,
    },
}

impl FromStr for Period {
    type Err = BadPeriod;

    fn from_str(text: &str) -> Result<Self, BadPeriod> {
        let is_month = text.len() == 7;
        let day = if is_month { format!("{text}-01") } else { text.to_owned() };
        // chrono reads `2026-1-5` too; one period must have one name.
        let first: NaiveDate = day.parse().map_err(|_| BadPeriod::NoDate)?;
        let is_canonical = first.format("%Y-%m-%d").to_string() == day;
        let period = || Self { text: text.to_owned(), first, is_month };
        is_canonical.then(period).ok_or(BadPeriod::NoDate)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// How often a program pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cycle {
    /// Monday to Sunday.
    Weekly,
    /// To the 15th and to the end of the month.
    SemiMonthly,
    /// The month.
    Monthly,
}

impl Cycle {
    /// All of them, for reading and for tests.
    pub const ALL: [Self; 3] = [Self::Weekly, Self::SemiMonthly, Self::Monthly];

    /// Returns the code as stored and shown.
    pub fn code(self) -> &'static str {
        match self {
            Self::Weekly => "weekly",
            Self::SemiMonthly => "semi_monthly",
            Self::Monthly => "monthly",
        }
    }

    /// Reads a stored code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.code() == code)
    }

    /// Returns the day after the last one of a period.
    pub fn end_of(self, period: &Period) -> Result<NaiveDate, BadPeriod> {
        let first = period.first;
        let wrong = |begin| BadPeriod::NotABeginning { day: first, cycle: self.code(), begin };
        let next_month =
            || first.with_day(1).and_then(|day| day.checked_add_months(Months::new(1)));
        if period.is_month {
            return next_month().ok_or(BadPeriod::NoDate);
        }
        let end = match self {
            Self::Weekly if first.weekday() == Weekday::Mon => first.checked_add_days(Days::new(7)),
            Self::Weekly => return Err(wrong("a Monday")),
            Self::SemiMonthly if first.day() == 1 => first.with_day(16),
            Self::SemiMonthly if first.day() == 16 => next_month(),
            Self::SemiMonthly => return Err(wrong("the 1st or the 16th of a month")),
            // An extra run between two months: up to the end of its day.
            Self::Monthly => first.checked_add_days(Days::new(1)),
        };
        end.ok_or(BadPeriod::NoDate)
    }

    /// Returns the period that ended last before the day given.
    pub fn last_before(self, today: NaiveDate) -> Option<Period> {
        let month = today.with_day(1)?;
        let last_month = month.checked_sub_months(Months::new(1))?;
        let first = match self {
            Self::Monthly => last_month,
            Self::SemiMonthly if today.day() >= 16 => month,
            Self::SemiMonthly => last_month.with_day(16)?,
            Self::Weekly => {
                let back = u64::from(today.weekday().num_days_from_monday()) + 7;
                today.checked_sub_days(Days::new(back))?
            }
        };
        let is_month = self == Self::Monthly;
        let form = if is_month { "%Y-%m" } else { "%Y-%m-%d" };
        Some(Period { text: first.format(form).to_string(), first, is_month })
    }
}

/// When a program pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayTerms {
    /// How often.
    pub cycle: Cycle,
    /// Days from the end of a period to its payment.
    pub net_days: u16,
}

impl PayTerms {
    /// Days to pay, at most.
    pub const NET_DAYS_MAX: u16 = 90;

    /// Returns the terms of a program that has said nothing: monthly, at once.
    pub fn usual() -> Self {
        Self { cycle: Cycle::Monthly, net_days: 0 }
    }

    /// Returns the day on which a period is due.
    pub fn due_on(&self, period: &Period) -> Result<NaiveDate, BadPeriod> {
        let end = self.cycle.end_of(period)?;
        end.checked_add_days(Days::new(self.net_days.into())).ok_or(BadPeriod::NoDate)
    }
}

/// Returns the moment at which a day begins in a time zone; the first that there is, where a
/// change of the clock skips midnight.
pub fn day_begins(day: NaiveDate, zone: Tz) -> Timestamp {
    let midnight = day.and_time(NaiveTime::MIN);
    let local = zone.from_local_datetime(&midnight).earliest();
    local.map_or_else(|| midnight.and_utc(), |at| at.to_utc())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn a_period_has_one_name() {
        for good in ["2026-10", "2026-02-28", "2024-02-29"] {
            assert_eq!(good.parse::<Period>().map(|p| p.to_string()).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "2026",
            "2026-13",
            "2026-1",
            "2026-00",
            "2026-02-29",
            "2026-1-05",
            "26-10-01",
            "2026-10-1",
            "2026-10-15T",
            " 2026-10",
            "+026-10",
            "2026-1 ",
        ] {
            assert_eq!(bad.parse::<Period>(), Err(BadPeriod::NoDate), "{bad:?}");
        }
    }

    #[test]
    fn each_cycle_has_its_periods() {
        use Cycle::*;
        let cases = [
            (Monthly, "2026-10", Some("2026-11-01")),
            (Monthly, "2026-12", Some("2027-01-01")),
            (Monthly, "2026-10-15", Some("2026-10-16")),
            (SemiMonthly, "2026-02-01", Some("2026-02-16")),
            (SemiMonthly, "2026-02-16", Some("2026-03-01")),
            (SemiMonthly, "2026-12-16", Some("2027-01-01")),
            (SemiMonthly, "2026-02-15", None),
            (SemiMonthly, "2026-02", Some("2026-03-01")),
            (Weekly, "2026-11-23", Some("2026-11-30")),
            (Weekly, "2026-11-24", None),
        ];
        for (cycle, period, end) in cases {
            let found = cycle.end_of(&period.parse().unwrap()).ok();
            assert_eq!(found, end.map(day), "{cycle:?} {period}");
        }
        let wrong = Weekly.end_of(&"2026-11-24".parse().unwrap()).unwrap_err();
        assert_eq!(wrong.to_string(), "2026-11-24 begins no weekly period: it must be a Monday");
    }

    #[test]
    fn days_to_pay_come_after_the_end() {
        let terms = PayTerms { cycle: Cycle::Monthly, net_days: 15 };
        assert_eq!(terms.due_on(&"2026-10".parse().unwrap()), Ok(day("2026-11-16")));
    }

    #[test]
    fn a_day_begins_at_the_midnight_of_its_zone() {
        let at = |text: &str, zone: Tz| day_begins(day(text), zone).to_rfc3339();
        assert_eq!(at("2026-11-01", chrono_tz::Europe::Berlin), "2026-10-31T23:00:00+00:00");
        assert_eq!(at("2026-11-01", chrono_tz::UTC), "2026-11-01T00:00:00+00:00");
    }

    proptest! {
        #[test]
        fn the_last_period_is_over_and_the_next_is_not(days in 0u64..40_000) {
            let today = day("1990-01-01") + Days::new(days);
            for cycle in Cycle::ALL {
                let last = cycle.last_before(today).unwrap();
                prop_assert_eq!(last.to_string().parse::<Period>(), Ok(last.clone()));
                let end = cycle.end_of(&last).unwrap();
                prop_assert!(end <= today, "{:?} {} {}", cycle, last, today);
                let longest = match cycle { Cycle::Weekly => 7, Cycle::SemiMonthly => 16, Cycle::Monthly => 31 };
                prop_assert!((today - end).num_days() < longest, "{:?} {} {}", cycle, last, today);
            }
        }
    }
}
