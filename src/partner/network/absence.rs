//! Declared absences: days on which silence says nothing. Pure.

use super::Days;
use crate::ids::AbsenceId;

/// Why a partner is away.
pub const REASONS: [&str; 3] = ["season", "holiday", "other"];

/// The longest absence; who is away longer has ended.
pub const DAYS_MAX: i64 = 366;

/// Absences of one enrollment, at most.
pub const COUNT_MAX: usize = 100;

/// A new absence together with those that it overlaps or touches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The days of all of them.
    pub days: Days,
    /// Those that are now part of it.
    pub absorbed: Vec<AbsenceId>,
}

/// Merges a new absence into those that are known, which neither overlap nor touch each other.
pub fn merge(known: &[(AbsenceId, Days)], new: Days) -> Merged {
    // Known ones do not touch each other, so what has grown by one of them reaches no further one.
    let touching = |days: &Days| {
        let gap_before = (new.from - days.to).num_days();
        let gap_after = (days.from - new.to).num_days();
        gap_before <= 1 && gap_after <= 1
    };
    known.iter().filter(|(_, days)| touching(days)).fold(
        Merged { days: new, absorbed: Vec::new() },
        |mut merged, (id, days)| {
            merged.days.from = merged.days.from.min(days.from);
            merged.days.to = merged.days.to.max(days.to);
            merged.absorbed.push(*id);
            merged
        },
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chrono::NaiveDate;
    use proptest::prelude::*;

    use super::*;

    fn day(n: u64) -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 1, 1).unwrap() + chrono::Days::new(n)
    }

    fn all(absences: &[(AbsenceId, Days)]) -> Vec<NaiveDate> {
        absences
            .iter()
            .flat_map(|(_, d)| d.from.iter_days().take_while(|day| *day <= d.to))
            .collect()
    }

    proptest! {
        #[test]
        fn merged_absences_cover_the_same_days_once_and_never_touch(
            asked in prop::collection::vec((0u64..60, 0u64..10), 0..20)
        ) {
            let (mut known, mut expected) = (Vec::new(), BTreeSet::new());
            for (from, more) in asked {
                let new = Days { from: day(from), to: day(from + more) };
                expected.extend((from..=from + more).map(day));
                let merged = merge(&known, new);
                known.retain(|(id, _)| !merged.absorbed.contains(id));
                known.push((AbsenceId::new(), merged.days));
                let mut days = all(&known);
                days.sort();
                prop_assert_eq!(&days, &expected.iter().copied().collect::<Vec<_>>());
                for (a, x) in &known {
                    for (_, y) in known.iter().filter(|(b, _)| a != b) {
                        prop_assert!((y.from - x.to).num_days() > 1 || (x.from - y.to).num_days() > 1);
                    }
                }
            }
        }
    }
}
