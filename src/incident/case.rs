//! A case: one partner's decline, who looks after it, until when, and how it ended. Pure.

use chrono::{Datelike as _, Days, NaiveDate, Weekday};

use crate::clock::Timestamp;
use crate::ids::{CaseId, IncidentId, PartnerId, ProgramId};

/// States of a case, in the order in which it goes through them.
pub const STATUSES: [&str; 4] = ["open", "contacted", "waiting", CLOSED];
/// The state that ends a case.
pub const CLOSED: &str = "closed";
/// How a case can end.
pub const OUTCOMES: [&str; 6] =
    ["recovered", "left", "seasonal", "our_fault", "false_alarm", "other"];
/// Causes that a person can confirm.
pub const CAUSES: [&str; 6] = [
    "local_market",
    "organization",
    "loss_of_interest",
    "content_marketing",
    "technical",
    "unknown",
];
/// Ways to be in touch with a partner.
pub const CHANNELS: [&str; 6] = ["call", "email", "chat", "meeting", "letter", "other"];

/// The first question about a partner that brings less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The traffic went.
    WillNotSell,
    /// The traffic comes and does not buy.
    CannotSell,
}

impl Kind {
    /// Returns the text kept in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WillNotSell => "will_not_sell",
            Self::CannotSell => "cannot_sell",
        }
    }
}

/// What the detector said of a fall, in whole figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// `watch`, `warning`, `critical` or `silent`.
    pub severity: String,
    /// Likeliest first day.
    pub since: NaiveDate,
    /// Expected in 28 days: clicks of people, or conversions where the partner cannot sell.
    pub expected_28d: i64,
    /// What came, for 28 days.
    pub observed_28d: i64,
    /// Share lost, percent.
    pub share_lost_percent: i32,
    /// Lost since the first day.
    pub lost_to_date: i64,
    /// To be lost in the next 28 days.
    pub lost_next_28d: i64,
    /// Chance of so little without a decline.
    pub p_value: String,
    /// The likeliest cause.
    pub possible_cause: String,
    /// Share of the evidence that speaks for it, percent.
    pub cause_share_percent: i32,
    /// Facts that speak for it.
    pub evidence: Vec<String>,
    /// What to do.
    pub advice: String,
}

/// A case as it stands.
#[derive(Clone, Debug)]
pub struct Case {
    /// The program.
    pub program_id: ProgramId,
    /// Key of the row.
    pub case_id: CaseId,
    /// Whose decline it is.
    pub partner_id: PartnerId,
    /// Its name.
    pub partner_name: String,
    /// Text of [`Kind`].
    pub kind: String,
    /// One of [`STATUSES`].
    pub status: String,
    /// Who looks after it.
    pub owner: Option<String>,
    /// Day of the opening.
    pub opened_on: NaiveDate,
    /// When something must have been done.
    pub due_on: NaiveDate,
    /// The severity at the opening.
    pub opened_severity: String,
    /// The last day that the figures are of.
    pub judged_on: NaiveDate,
    /// The latest figures.
    pub figures: Listing,
    /// What a person found out, one of [`CAUSES`].
    pub confirmed_cause: Option<String>,
    /// What was done about it.
    pub remedy: Option<String>,
    /// When.
    pub remedy_on: Option<NaiveDate>,
    /// Since when the partner is back, as the machine sees it.
    pub recovered_on: Option<NaiveDate>,
    /// The incident that explains it after all.
    pub incident_id: Option<IncidentId>,
    /// How it ended, one of [`OUTCOMES`].
    pub outcome: Option<String>,
    /// When it ended.
    pub closed_on: Option<NaiveDate>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When a person or the daily job last changed it.
    pub updated_at: Timestamp,
}

/// What a person changes about a case; what is not given stays.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Who looks after it; an inner none clears it.
    pub owner: Option<Option<String>>,
    /// The new date.
    pub due_on: Option<NaiveDate>,
    /// One of [`STATUSES`].
    pub status: Option<String>,
    /// One of [`CAUSES`].
    pub confirmed_cause: Option<String>,
    /// What was done, and when.
    pub remedy: Option<(String, NaiveDate)>,
    /// One of [`OUTCOMES`].
    pub outcome: Option<String>,
}

/// Why a case cannot change so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Closing without saying how it ended.
    #[error("a case is closed with an outcome")]
    NoOutcome,
    /// An outcome of a case that goes on.
    #[error("an outcome ends the case: send the status closed with it")]
    OutcomeOfOpen,
    /// It is closed; only cause and remedy may still be added.
    #[error("the case is closed; its cause and remedy may still be told, nothing else")]
    Closed,
}

impl Case {
    /// Applies changes on a day. What is learned of cause and remedy may be added after the end.
    pub fn change(&mut self, changes: Changes, today: NaiveDate) -> Result<(), Refused> {
        let changes_course = changes.owner.is_some()
            || changes.due_on.is_some()
            || changes.status.is_some()
            || changes.outcome.is_some();
        if self.status == CLOSED && changes_course {
            return Err(Refused::Closed);
        }
        let closes = changes.status.as_deref() == Some(CLOSED);
        match (closes, &changes.outcome) {
            (true, None) => return Err(Refused::NoOutcome),
            (false, Some(_)) => return Err(Refused::OutcomeOfOpen),
            (true, Some(_)) => self.closed_on = Some(today),
            (false, None) => {}
        }
        self.outcome = changes.outcome.or_else(|| self.outcome.take());
        if let Some(owner) = changes.owner {
            self.owner = owner;
        }
        if let Some(due_on) = changes.due_on {
            self.due_on = due_on;
        }
        if let Some(status) = changes.status {
            self.status = status;
        }
        if let Some(cause) = changes.confirmed_cause {
            self.confirmed_cause = Some(cause);
        }
        if let Some((remedy, on)) = changes.remedy {
            self.remedy = Some(remedy);
            self.remedy_on = Some(on);
        }
        Ok(())
    }
}

/// Returns by when a case must have been taken up: two working days where most is lost, else five;
/// one day sooner for the best partners.
pub fn due_on(opened_on: NaiveDate, severity: &str, rank: &str) -> NaiveDate {
    let days = if matches!(severity, "silent" | "critical") { 2 } else { 5 };
    let sooner = if rank == "A" { 1 } else { 0 };
    let is_working = |day: &NaiveDate| !matches!(day.weekday(), Weekday::Sat | Weekday::Sun);
    let later = (1..).map_while(|n| opened_on.checked_add_days(Days::new(n)));
    later.filter(is_working).nth(days - sooner - 1).unwrap_or(opened_on)
}

/// How often a guessed cause was right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accuracy {
    /// The guess.
    pub cause: String,
    /// Cases with this guess whose cause a person confirmed.
    pub n_confirmed: i64,
    /// Those in which the person found the same.
    pub n_right: i64,
}

/// Below so many answers a share says nothing.
pub const ANSWERS_MIN: i64 = 10;

impl Accuracy {
    /// Returns the share that was right, percent; none while there are too few answers.
    pub fn right_percent(&self) -> Option<i64> {
        (self.n_confirmed >= ANSWERS_MIN)
            .then(|| (200 * self.n_right + self.n_confirmed) / (2 * self.n_confirmed))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    pub(in crate::incident) fn listing(severity: &str, since: &str) -> Listing {
        Listing {
            severity: severity.to_owned(),
            since: day(since),
            expected_28d: 560,
            observed_28d: 0,
            share_lost_percent: 100,
            lost_to_date: 100,
            lost_next_28d: 560,
            p_value: "1.0e-9".to_owned(),
            possible_cause: "unknown".to_owned(),
            cause_share_percent: 40,
            evidence: Vec::new(),
            advice: String::new(),
        }
    }

    fn case() -> Case {
        Case {
            program_id: ProgramId::new(),
            case_id: CaseId::new(),
            partner_id: PartnerId::new(),
            partner_name: "Blog".to_owned(),
            kind: Kind::WillNotSell.as_str().to_owned(),
            status: "open".to_owned(),
            owner: None,
            opened_on: day("2026-11-20"),
            due_on: day("2026-11-24"),
            opened_severity: "critical".to_owned(),
            judged_on: day("2026-11-20"),
            figures: listing("critical", "2026-11-15"),
            confirmed_cause: None,
            remedy: None,
            remedy_on: None,
            recovered_on: None,
            incident_id: None,
            outcome: None,
            closed_on: None,
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn due_dates_count_working_days_and_the_best_come_sooner() {
        for (opened, severity, rank, due) in [
            // A Friday.
            ("2026-11-20", "silent", "B", "2026-11-24"),
            ("2026-11-20", "critical", "A", "2026-11-23"),
            ("2026-11-20", "warning", "D", "2026-11-27"),
            ("2026-11-20", "warning", "A", "2026-11-26"),
            // A Sunday, and a Monday.
            ("2026-11-22", "silent", "C", "2026-11-24"),
            ("2026-11-23", "warning", "C", "2026-11-30"),
        ] {
            assert_eq!(due_on(day(opened), severity, rank), day(due), "{opened} {severity} {rank}");
        }
    }

    #[test]
    fn a_case_is_closed_with_an_outcome_and_then_only_learns() {
        let (mut case, today) = (case(), day("2026-11-23"));
        let status = |s: &str| Changes { status: Some(s.to_owned()), ..Changes::default() };
        let outcome = |c: Changes| Changes { outcome: Some("recovered".to_owned()), ..c };
        assert_eq!(case.change(status(CLOSED), today), Err(Refused::NoOutcome));
        assert_eq!(case.change(outcome(status("waiting")), today), Err(Refused::OutcomeOfOpen));
        assert_eq!(case.change(outcome(Changes::default()), today), Err(Refused::OutcomeOfOpen));
        assert_eq!((case.status.as_str(), case.outcome.clone()), ("open", None));
        case.change(outcome(status(CLOSED)), today).unwrap();
        assert_eq!((case.status.as_str(), case.closed_on), (CLOSED, Some(today)));
        assert_eq!(case.change(status("open"), today), Err(Refused::Closed));
        let cause = Changes { confirmed_cause: Some("technical".to_owned()), ..Changes::default() };
        case.change(cause, today).unwrap();
        assert_eq!(case.confirmed_cause.as_deref(), Some("technical"));
        assert_eq!(case.outcome.as_deref(), Some("recovered"));
    }

    #[test]
    fn accuracy_is_silent_below_ten_answers() {
        let of = |n_confirmed, n_right| {
            Accuracy { cause: "technical".to_owned(), n_confirmed, n_right }.right_percent()
        };
        for (n, right, percent) in
            [(0, 0, None), (9, 9, None), (10, 7, Some(70)), (12, 4, Some(33)), (12, 8, Some(67))]
        {
            assert_eq!(of(n, right), percent, "{right} of {n}");
        }
    }
}
