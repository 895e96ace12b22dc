//! Clicks in a replay: what a partner's day earned, and what a draft would have paid for it.
//!
//! Clicks are paid once and never reckoned again, so by the plan as it is they stand as they were
//! paid, and the conversions of their periods have what they leave. A draft prices the days that
//! begin in its time anew, from the sums of hours, at the end of each day.

use super::past::Booked;
use super::replay::Replay;
use crate::clock::Timestamp;
use crate::commission::clicks::{Day, PartnerDay, Payer, happened_at};
use crate::commission::kind::ClickCount;
use crate::commission::plan::{Calculation, PlanVersion, price_by, wire};
use crate::commission::state::Standing;
use crate::ids::{PartnerId, PlanVersionId};

/// What clicks of a partner's day earned.
#[derive(Clone, Debug)]
pub struct BookedDay {
    /// Whose.
    pub partner_id: PartnerId,
    /// When it happened: the last second of the day.
    pub happened_at: Timestamp,
    /// The commissions, the first one and those for late clicks.
    pub booked: Vec<Booked>,
}

/// A day that a draft prices.
#[derive(Clone, Debug, Default)]
pub(super) struct Due {
    booked: Vec<Booked>,
    clicks: Option<PartnerDay>,
}

impl Replay {
    /// Takes in what clicks earned, before the first conversion is taken.
    pub fn stand(&mut self, days: Vec<BookedDay>) {
        for day in days {
            let BookedDay { partner_id, happened_at, booked } = day;
            if self.drafts_day_of(happened_at) {
                self.due.entry((happened_at, partner_id)).or_default().booked = booked;
                continue;
            }
            let olds: Vec<Option<Calculation>> =
                booked.iter().map(|one| self.old_clicks(one)).collect();
            olds.iter().flatten().for_each(|old| self.absorb(old));
            if self.span.holds(happened_at) {
                let news: Vec<&Calculation> = olds.iter().flatten().collect();
                self.outcome.add_clicks(partner_id, &booked, &olds, &news);
            }
        }
    }

    /// Takes in the clicks of a day that a draft prices, before any conversion of a later day.
    pub fn meet_clicks(&mut self, days: Vec<PartnerDay>) {
        for day in days {
            let key = (happened_at(&day.day), day.partner_id);
            if self.drafts_day_of(key.0) {
                self.due.entry(key).or_default().clicks = Some(day);
            }
        }
    }

    /// Prices the days that are over by then.
    pub(super) fn take_clicks(&mut self, until: Option<Timestamp>) {
        while let Some(first) = self.due.first_entry() {
            if until.is_some_and(|until| until < first.key().0) {
                return;
            }
            let ((happened_at, partner_id), due) = first.remove_entry();
            self.forget(happened_at);
            let olds: Vec<Option<Calculation>> =
                due.booked.iter().map(|one| self.old_clicks(one)).collect();
            let is_over = !due.booked.is_empty() && due.booked.iter().all(|one| one.is_over);
            let day = due.clicks.filter(|day| !is_over && day.standing == Standing::Good);
            let news = day.map(|day| self.price_clicks(&day)).unwrap_or_default();
            if self.span.holds(happened_at) {
                let news: Vec<&Calculation> = news.iter().collect();
                self.outcome.add_clicks(partner_id, &due.booked, &olds, &news);
            }
        }
    }

    /// Prices a day by the draft, rule by rule; what clicks cannot earn they do not.
    fn price_clicks(&mut self, day: &PartnerDay) -> Vec<Calculation> {
        let Some(draft) = &self.draft else { return Vec::new() };
        let id = PlanVersionId(uuid::Uuid::nil());
        let terms = draft.terms.clone();
        let version = PlanVersion { id, effective_from: draft.from, terms };
        let payer = Payer {
            program_id: self.ground.program_id,
            versions: std::slice::from_ref(&version),
            now: happened_at(&day.day),
        };
        let counts = payer.by_rule(&self.ground.facts, day);
        let mut priced = Vec::new();
        for ((_, _, rule_index), n) in counts {
            let clicks = ClickCount { day: day.day.day, before: 0, n };
            let read = |around: &_, counter| self.read(around, counter);
            let new =
                payer.price(&self.ground.facts, day, (&version, rule_index), clicks, read).ok();
            if let Some(new) = new {
                self.absorb(&new);
                priced.push(new);
            }
        }
        priced
    }

    /// Returns what clicks come to by the sums that they were priced with.
    fn old_clicks(&self, one: &Booked) -> Option<Calculation> {
        let is_live = !one.is_over && !one.is_spent;
        let version = self.edition(one.version_id).filter(|_| is_live)?;
        let stored = one.stored.as_ref()?;
        let read = |counter| wire::read_sum(&stored.sums, counter);
        price_by(&version.terms, stored.rule_index, &stored.inputs, read).ok()
    }

    /// Returns whether a draft prices the day that ends so: it is in force from its beginning.
    fn drafts_day_of(&self, happened_at: Timestamp) -> bool {
        let zone = self.ground.zone;
        let begins = crate::clock::midnight(happened_at.with_timezone(&zone).date_naive(), zone);
        self.is_drafted(begins)
    }
}

/// Returns the days of a span that a draft may price, the earliest first.
pub fn days(draft: &super::Draft, zone: chrono_tz::Tz, to: Timestamp) -> Vec<Day> {
    if !draft.terms.pays_clicks() {
        return Vec::new();
    }
    let first = draft.from.with_timezone(&zone).date_naive();
    let days = first.iter_days().map_while(|day| Day::of(day, zone));
    days.take_while(|day| day.to <= to).filter(|day| draft.from <= day.from).collect()
}
