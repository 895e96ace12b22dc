//! Raw clicks have an end: days older than the retention are dropped whole, their sums stay for ever.
//!
//! A day is a partition, so dropping it costs no more than dropping a file. What a conversion needs of
//! its click (partner, link, time, the click id) it keeps itself; what reads raw clicks says from which
//! day on it can. A click that comes after its day was dropped is a dead letter: without the keys of
//! that day nobody can tell whether it was counted already (`docs/decisions/0018-clicks-have-an-end.md`).
//!
//! - The database refuses what is too early: no day younger than the longest attribution window and a
//!   month, whatever is set here and whatever this process takes for the time.
//! - The oldest day goes first, and the first day kept only rises.

pub mod keeper;
pub mod store;

use chrono::{Days, NaiveDate};

use crate::config::ClickRetention;

/// Returns the first day whose clicks are kept; none where all are.
pub fn kept_from(today: NaiveDate, retention: ClickRetention) -> Option<NaiveDate> {
    match retention {
        ClickRetention::Days(n) => today.checked_sub_days(Days::new(n.into())),
        ClickRetention::Forever => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_whole_days_are_kept_as_is_said() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        for (retention, first) in [
            (ClickRetention::Days(31), Some(day("2026-10-27"))),
            (ClickRetention::Days(400), Some(day("2025-10-23"))),
            (ClickRetention::Forever, None),
        ] {
            assert_eq!(kept_from(day("2026-11-27"), retention), first, "{retention:?}");
        }
    }
}
