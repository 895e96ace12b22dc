//! Reads a program's clicks day by day and lets the detector learn them, from what was kept at the
//! end of a week where that still holds.

use std::ops::RangeInclusive;

use chrono::{Days, NaiveDate};
use sqlx::PgConnection;
use tributary_decline::kept::learned::{Learned, Mark};
use tributary_decline::kept::states;
use tributary_decline::{
    Detector, HONEYMOON_DAYS, JUDGED_FROM, MIN_AGE_DAYS, Today, may_be_listed,
};

use super::query::{self, DayClicks};
use super::{Day, kept_query};
use crate::ids::PartnerId;
use crate::report::{Params, ReportError};

/// Days of history that are learned at least: a year and the five weeks around the same season.
const DAYS_MIN: i32 = 400;
/// The first day that is learned moves on by a quarter at a time. In between the detector goes on
/// where it was; then all is learned anew.
const QUARTER_DAYS: i32 = 91;
/// Days whose clicks are read at once.
const READ_DAYS: usize = 28;
/// Partners whose states are kept in one row.
const BLOCK_PARTNERS: usize = 256;

/// A program's detector, on its way through the days.
#[derive(Debug)]
pub struct Learning {
    first: NaiveDate,
    /// The program's first day with a click.
    began: Option<NaiveDate>,
    /// Everybody who takes part in the program, whatever the state: clicks are facts.
    ids: Vec<PartnerId>,
    away: Vec<Vec<RangeInclusive<Day>>>,
    detector: Detector,
}

/// Returns the first day that is learned for a judgment of `day`, a Monday: the same for a quarter,
/// and not before the week in which the program `began`. Days before everybody's first click would
/// pass for a history, and the first weeks of a program for usual ones.
pub(super) fn first_day(day: NaiveDate, began: Option<NaiveDate>) -> NaiveDate {
    quarters_first_day(day).max(monday(began.unwrap_or(day).min(day)))
}

/// Day 4 of the epoch is a Monday.
const A_MONDAY: i32 = 4;

fn quarters_first_day(day: NaiveDate) -> NaiveDate {
    let since_monday = day.to_epoch_days() - A_MONDAY - (DAYS_MIN - 1);
    let quarter = since_monday.div_euclid(QUARTER_DAYS);
    NaiveDate::from_epoch_days(quarter * QUARTER_DAYS + A_MONDAY).unwrap_or(NaiveDate::MIN)
}

fn monday(day: NaiveDate) -> NaiveDate {
    day - Days::new((day.to_epoch_days() - A_MONDAY).rem_euclid(7).unsigned_abs().into())
}

/// Returns the first day whose states go on to `day`: all of them were learned from the same day.
pub(super) fn goes_on_from(day: NaiveDate, began: Option<NaiveDate>) -> NaiveDate {
    let first = first_day(day, began);
    let is_young = first > quarters_first_day(day);
    if is_young { first } else { first + Days::new(DAYS_MIN as u64 - 1) }
}

impl Learning {
    /// Learns a program up to and including a day.
    pub async fn of(
        db: &mut PgConnection,
        params: &Params,
        day: NaiveDate,
    ) -> Result<Self, ReportError> {
        let began = query::read_beginning(db, params).await?;
        let first = first_day(day, began);
        let (ids, kinds): (Vec<PartnerId>, Vec<u8>) =
            query::read_ids(db, params.program_id).await?.into_iter().unzip();
        let resumed =
            Self::resumed(db, params, (goes_on_from(day, began), day), (&ids, &kinds)).await?;
        let detector = resumed.unwrap_or_else(|| Detector::new(kinds));
        let away = vec![Vec::new(); ids.len()];
        let mut learning = Self { first, began, ids, away, detector };
        learning.read_absences(db, params).await?;
        learning.go_on(db, params, day).await?;
        Ok(learning)
    }

    /// Goes on from the newest week's end whose days have not changed.
    async fn resumed(
        db: &mut PgConnection,
        params: &Params,
        (from, day): (NaiveDate, NaiveDate),
        (ids, kinds): (&[PartnerId], &[u8]),
    ) -> Result<Option<Detector>, ReportError> {
        // The day itself is what is asked about.
        let before = (from, day - Days::new(1));
        let Some((kept_on, head)) = kept_query::read_head(db, params, before).await? else {
            return Ok(None);
        };
        let Some(mut detector) = states::read_head(&head, kinds.to_vec()) else { return Ok(None) };
        let mut after = -1;
        while let Some((block, bytes)) = kept_query::read_block(db, params, kept_on, after).await? {
            let place = |id| ids.binary_search(&PartnerId(id)).ok();
            if states::read_block(&mut detector, &bytes, place).is_none() {
                return Ok(None);
            }
            after = block;
        }
        Ok(Some(detector))
    }

    async fn read_absences(
        &mut self,
        db: &mut PgConnection,
        params: &Params,
    ) -> Result<(), ReportError> {
        for absence in query::read_absences(db, params, self.first, None).await? {
            if let Ok(place) = self.ids.binary_search(&absence.partner_id) {
                self.away[place].push(absence.days(self.first));
            }
        }
        Ok(())
    }

    /// Returns whether a later day can be reached from here.
    pub fn reaches(&self, day: NaiveDate) -> bool {
        first_day(day, self.began) == self.first && self.date(self.detector.days()) <= day
    }

    /// Learns further days, up to and including `day`.
    pub async fn go_on(
        &mut self,
        db: &mut PgConnection,
        params: &Params,
        day: NaiveDate,
    ) -> Result<(), ReportError> {
        while self.date(self.detector.days()) <= day {
            let from = self.date(self.detector.days());
            let until = (from + Days::new(READ_DAYS as u64)).min(day + Days::new(1));
            let clicks = query::read_day_clicks(db, params, from, until).await?;
            let n_days = usize::try_from((until - from).num_days()).unwrap_or(0);
            let mut learning = std::mem::replace(self, Self::nobody());
            // Seconds where there are many partners; others wait on this thread.
            let learned = tokio::task::spawn_blocking(move || {
                learning.learn(&clicks, n_days);
                learning
            });
            *self = learned.await.map_err(|e| ReportError::BadFigure(e.to_string()))?;
        }
        Ok(())
    }

    fn nobody() -> Self {
        let (ids, away) = (Vec::new(), Vec::new());
        Self { first: NaiveDate::MIN, began: None, ids, away, detector: Detector::new(Vec::new()) }
    }

    fn learn(&mut self, clicks: &[DayClicks], n_days: usize) {
        let mut days = vec![vec![0; self.ids.len()]; n_days];
        for row in clicks {
            if let Ok(place) = self.ids.binary_search(&row.partner_id) {
                row.each(|day, n| {
                    if let Some(counts) = days.get_mut(day) {
                        counts[place] = n;
                    }
                });
            }
        }
        for counts in days {
            let today = self.today(counts);
            self.detector.learn_day(today, None);
            self.detector.forget();
        }
    }

    fn today(&mut self, counts: Vec<u32>) -> Today {
        let day = self.detector.days();
        self.detector.note_beginnings(&counts);
        let joined_on = self.detector.joined_on();
        let lasts = |place: usize, days: usize| {
            let is_away = self.away[place].iter().any(|absence| absence.contains(&day));
            joined_on[place].is_some_and(|joined| day >= joined + days) && !is_away
        };
        Today {
            is_sample: (0..counts.len()).map(|place| lasts(place, HONEYMOON_DAYS)).collect(),
            can_judge: (0..counts.len()).map(|place| lasts(place, MIN_AGE_DAYS)).collect(),
            counts,
        }
    }

    fn date(&self, day: Day) -> NaiveDate {
        query::date(self.first, day)
    }

    /// The detector, for what only the day's cases need.
    pub(super) fn detector(&self) -> &Detector {
        &self.detector
    }

    /// Returns how many partners have ever had a click.
    pub fn count(&self) -> usize {
        self.detector.joined_on().iter().flatten().count()
    }

    /// Returns the place of a partner.
    pub(super) fn place(&self, id: PartnerId) -> Option<usize> {
        self.ids.binary_search(&id).ok()
    }

    /// Returns what reports need of the last day that was learned.
    pub fn learned(&self) -> Learned {
        let detector = &self.detector;
        let day = detector.last();
        let mark = |place: usize, joined: Day| {
            if day < (joined + MIN_AGE_DAYS).max(JUDGED_FROM) {
                Mark::TooYoung
            } else if detector.can_judge(place) {
                Mark::Judged
            } else {
                Mark::Away
            }
        };
        let begun = self.ids.iter().enumerate().filter_map(|(place, id)| {
            let joined = detector.joined_on()[place]?;
            Some((place, *id, mark(place, joined)))
        });
        let begun: Vec<(usize, PartnerId, Mark)> = begun.collect();
        let notable = begun.iter().filter(|(.., mark)| *mark == Mark::Judged);
        let notable = notable.filter_map(|(place, id, _)| {
            let standing = detector.standing(*place);
            may_be_listed(standing.listing_strength()).then_some((id.0, standing))
        });
        let rises = detector.rises().into_iter().map(|rise| (self.ids[rise.partner].0, rise));
        Learned {
            first: self.first,
            common: detector.common().to_vec(),
            notable: notable.collect(),
            rises: rises.collect(),
            partners: begun.iter().map(|(_, id, mark)| (id.0, *mark)).collect(),
        }
    }

    /// Returns whether the last day that was learned ends a week: only there can one go on later.
    pub fn ends_week(&self) -> bool {
        self.detector.days().is_multiple_of(7)
    }

    /// Returns what is to be kept at the end of a week and belongs to no single partner.
    pub fn head(&self) -> Vec<u8> {
        states::write_head(&self.detector)
    }

    /// Returns what is to be kept of all partners, some at a time.
    pub fn blocks(&self) -> impl Iterator<Item = Vec<u8>> {
        let begun: Vec<(usize, uuid::Uuid)> = (0..self.ids.len())
            .filter(|&place| self.detector.joined_on()[place].is_some())
            .map(|place| (place, self.ids[place].0))
            .collect();
        let n_blocks = begun.len().div_ceil(BLOCK_PARTNERS);
        (0..n_blocks).map(move |block| {
            let from = block * BLOCK_PARTNERS;
            let until = begun.len().min(from + BLOCK_PARTNERS);
            states::write_block(&self.detector, &begun[from..until])
        })
    }
}

#[cfg(test)]
#[path = "learning_tests.rs"]
mod tests;
