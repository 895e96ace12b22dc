//! What is known beside the counts: a landing page that is proven to be broken, and the cases that
//! people work on.

use std::collections::HashMap;

use chrono::NaiveDate;
use sqlx::PgConnection;
use tributary_decline::Fault;

use super::Day;
use super::query::{Subject, uuids};
use crate::clock::Timestamp;
use crate::ids::{CaseId, PartnerId, ProgramId};

/// Adds faults to the series of a program's partners: `n_days` from `first` on.
pub(super) async fn add(
    db: &mut PgConnection,
    program_id: ProgramId,
    (first, n_days): (NaiveDate, usize),
    subjects: &mut [Subject],
) -> Result<(), sqlx::Error> {
    let place = |day: NaiveDate| index(first, n_days, day);
    if let Some((began_at, text)) = landing_fault(db, program_id).await? {
        let began_on = place(began_at.date_naive());
        for subject in subjects {
            subject.series.faults.push(Fault { began_on, text: text.clone() });
        }
    }
    Ok(())
}

/// Days outside of the series count as its first or last one: what is found on the morning after
/// the last day was so on that day.
fn index(first: NaiveDate, n_days: usize, day: NaiveDate) -> Day {
    usize::try_from((day - first).num_days()).unwrap_or(0).min(n_days.saturating_sub(1))
}

/// Returns since when the landing page is broken without a break, and how.
async fn landing_fault(
    db: &mut PgConnection,
    program_id: ProgramId,
) -> Result<Option<(Timestamp, String)>, sqlx::Error> {
    let row = sqlx::query!(
        r#"select min(checked_at) as began_at,
                  (array_agg(text order by checked_at desc))[1] as text
           from landing_checks c
           where program_id = $1 and verdict in ('dead', 'drops_click_id')
             and not exists (
                 select 1 from landing_checks later
                 where later.program_id = c.program_id and later.checked_at > c.checked_at
                   and later.verdict = 'ok')"#,
        program_id.0,
    )
    .fetch_one(db)
    .await?;
    Ok(row.began_at.zip(row.text))
}

/// Reads the cases of these partners' falls that were open at the end of a day; the last opened
/// one of each.
pub(super) async fn read_cases(
    db: &mut PgConnection,
    program_id: ProgramId,
    partners: &[PartnerId],
    day: NaiveDate,
) -> Result<HashMap<PartnerId, CaseId>, sqlx::Error> {
    // The day's own cases are opened on the next one.
    let rows = sqlx::query!(
        r#"select distinct on (partner_id)
                  partner_id as "partner_id: PartnerId", case_id as "case_id: CaseId"
           from cases
           where program_id = $1 and partner_id = any ($2)
             and opened_on <= $3::date + 1 and (closed_on is null or closed_on > $3)
           order by partner_id, opened_on desc, case_id"#,
        program_id.0,
        &uuids(partners),
        day,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.partner_id, row.case_id)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_outside_of_the_series_are_its_ends() {
        let first: NaiveDate = "2026-01-01".parse().unwrap();
        for (day, expected) in [
            ("2025-12-01", 0),
            ("2026-01-01", 0),
            ("2026-01-05", 4),
            ("2026-01-10", 9),
            ("2026-01-11", 9),
        ] {
            assert_eq!(index(first, 10, day.parse().unwrap()), expected, "{day}");
        }
    }
}
