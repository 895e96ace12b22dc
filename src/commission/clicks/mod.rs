//! Pay per click: what the clicks of a day earn, decided when the day is over.
//!
//! Clicks are settled in batches and counted by the hour, so they are paid by the day of the
//! program's time zone: one commission for each partner, edition and rule, from the clicks of people
//! alone, each visitor of a link once. An hour counts for the day, and by the edition and the rule,
//! in which it begins. Clicks that come after their day was paid are a commission of their own;
//! what was decided before is never edited, and never reckoned again.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{NaiveDate, TimeDelta};
use chrono_tz::Tz;

use crate::clock::{Timestamp, midnight};
use crate::commission::hold;
use crate::commission::kind::ClickCount;
use crate::commission::plan::arithmetic::Arithmetic;
use crate::commission::plan::{
    Calculation, Circumstances, Counter, EventKind, Inputs, NoCommission, PlanVersion, PriceFacts,
    Sum, choose, price_by, version_at,
};
use crate::commission::pricing::{Footing, PricingFacts};
use crate::commission::row::{Commission, Hand, NoStep, Step};
use crate::commission::state::{CommissionKind, CommissionState, Reason, Standing};
use crate::ids::{CommissionId, PartnerId, PlanVersionId, ProgramId};

pub mod accrual;
pub mod store;

/// How long after its end a day is first paid: by then settlement has taken in what came in order.
const SETTLED_AFTER: TimeDelta = TimeDelta::hours(1);
/// Days for which clicks that come late are still paid: longer than any spool is left lying.
const LATE_DAYS: u64 = 35;

/// A day of a program that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day {
    /// Its date.
    pub day: NaiveDate,
    /// When it begins.
    pub from: Timestamp,
    /// When the next one begins.
    pub to: Timestamp,
}

impl Day {
    /// Returns a date of the zone with its ends; none at the end of the calendar.
    pub fn of(day: NaiveDate, zone: Tz) -> Option<Self> {
        let next = day.succ_opt()?;
        Some(Self { day, from: midnight(day, zone), to: midnight(next, zone) })
    }
}

/// Unique clicks of people in one hour from one country.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hour {
    /// When the hour begins.
    pub hour: Timestamp,
    /// In two letters, where it is known.
    pub country: Option<Arc<str>>,
    /// How many.
    pub n: i64,
}

/// A commission that clicks of the day have earned already.
#[derive(Clone, Debug, PartialEq)]
pub struct Paid {
    /// The edition that priced it.
    pub plan_version_id: PlanVersionId,
    /// The position of the rule.
    pub rule_index: usize,
    /// All clicks that were paid with it and before it.
    pub n: i64,
    /// Where it stands.
    pub state: CommissionState,
    /// Why.
    pub reason: Option<String>,
}

/// The clicks of a partner on a day.
#[derive(Clone, Debug)]
pub struct PartnerDay {
    /// Whose links were clicked.
    pub partner_id: PartnerId,
    /// Whether the partner may earn now.
    pub standing: Standing,
    /// The day.
    pub day: Day,
    /// Its clicks.
    pub hours: Vec<Hour>,
    /// What was earned by some of them already.
    pub paid: Vec<Paid>,
}

/// The program that pays.
pub struct Payer<'a> {
    /// Which.
    pub program_id: ProgramId,
    /// Every edition of its plan.
    pub versions: &'a [PlanVersion],
    /// The time of the decision.
    pub now: Timestamp,
}

/// Returns the days that are to be looked at, the earliest first: those since the first edition that
/// pays for clicks that are over and not too long ago.
pub fn days(versions: &[PlanVersion], zone: Tz, now: Timestamp) -> Vec<Day> {
    let paying = versions.iter().filter(|version| version.terms.pays_clicks());
    let Some(since) = paying.map(|version| version.effective_from).min() else { return Vec::new() };
    let day_of = |at: Timestamp| at.with_timezone(&zone).date_naive();
    let earliest = day_of(now).checked_sub_days(chrono::Days::new(LATE_DAYS));
    let first = earliest.map_or(day_of(since), |earliest| earliest.max(day_of(since)));
    let day = |day| Day::of(day, zone);
    let is_over = |day: &Day| day.to + SETTLED_AFTER <= now;
    first.iter_days().map_while(day).take_while(is_over).filter(|day| day.from < day.to).collect()
}

impl Payer<'_> {
    /// Decides what clicks earn that were not paid before; the sums are kept up to date.
    pub fn pay(&self, pricing: &mut PricingFacts, of: &PartnerDay) -> Result<Vec<Step>, NoStep> {
        let mut steps = Vec::new();
        for ((_, version_id, rule_index), n) in self.by_rule(pricing, of) {
            let Some(version) = self.versions.iter().find(|v| v.id == version_id) else { continue };
            let paid = of
                .paid
                .iter()
                .filter(|paid| (paid.plan_version_id, paid.rule_index) == (version_id, rule_index));
            let before = paid.clone().map(|paid| paid.n).max().unwrap_or_default();
            if n <= before {
                continue;
            }
            let clicks = ClickCount { day: of.day.day, before, n: n - before };
            let read = |around: &_, counter| pricing.sum(self.program_id, around, counter);
            let priced = self.price(pricing, of, (version, rule_index), clicks, read);
            let calculation = match priced {
                Ok(calculation) => calculation,
                Err(reason) => {
                    let (partner_id, day) = (of.partner_id, of.day.day);
                    tracing::warn!("the clicks of {partner_id} on {day} earn nothing: {reason}");
                    continue;
                }
            };
            let sequence = paid.count();
            steps.push(self.open(pricing, of, version, &calculation, sequence)?);
        }
        Ok(steps)
    }

    /// Counts clicks by the edition and the rule that price them, in the order of the editions.
    pub(in crate::commission) fn by_rule(
        &self,
        pricing: &PricingFacts,
        of: &PartnerDay,
    ) -> BTreeMap<(Timestamp, PlanVersionId, usize), i64> {
        let mut counts = BTreeMap::new();
        for Hour { hour, country, n } in &of.hours {
            let Some(version) = version_at(self.versions, *hour) else { continue };
            let facts = PriceFacts::new(EventKind::Click, None);
            let around =
                Circumstances { country: country.clone(), ..self.around(pricing, of, *hour) };
            if let Ok((rule_index, _)) = choose(&version.terms, &facts, &around) {
                let key = (version.effective_from, version.id, rule_index);
                *counts.entry(key).or_default() += *n;
            }
        }
        counts
    }

    fn around(&self, pricing: &PricingFacts, of: &PartnerDay, at: Timestamp) -> Circumstances {
        let person = pricing.people.get(&(self.program_id, of.partner_id));
        let Footing { rank, group } =
            person.map(|person| person.footing_at(at)).unwrap_or_default();
        Circumstances { rank, group, ..Circumstances::new(of.partner_id, at) }
    }

    /// Prices clicks of a day by a rule; `read` says what counters say.
    pub(in crate::commission) fn price(
        &self,
        pricing: &PricingFacts,
        of: &PartnerDay,
        (version, rule_index): (&PlanVersion, usize),
        clicks: ClickCount,
        read: impl Fn(&Circumstances, Counter) -> Sum,
    ) -> Result<Calculation, NoCommission> {
        let at = happened_at(&of.day);
        let rule = version.terms.rules.get(rule_index);
        let pay_in = version.terms.common.pay_in.zip(rule.and_then(|rule| rule.currency));
        let rate = pay_in
            .and_then(|(pay_in, from)| pricing.rate(self.program_id, from, pay_in.currency, at));
        let facts = PriceFacts::new(EventKind::Click, None);
        let around = self.around(pricing, of, at);
        let inputs = Inputs { clicks: Some(clicks), rate, ..Inputs::new(facts, around) };
        price_by(&version.terms, rule_index, &inputs, |counter| read(&inputs.around, counter))
    }

    fn open(
        &self,
        pricing: &mut PricingFacts,
        of: &PartnerDay,
        version: &PlanVersion,
        calculation: &Calculation,
        sequence: usize,
    ) -> Result<Step, NoStep> {
        let occurred_at = happened_at(&of.day);
        let (state, reason) = self.opening(of);
        let (day, rule) = (of.day.day, calculation.rule_index);
        let row = Commission {
            program_id: self.program_id,
            commission_id: CommissionId::new(),
            kind: CommissionKind::Clicks,
            state,
            partner_id: of.partner_id,
            conversion_id: None,
            corrects_id: None,
            cause: format!("{}{}:{rule}:{sequence}", cause_of(day), version.id),
            amount: calculation.total,
            plan_version_id: Some(version.id),
            calculation: Arithmetic::reckoned(
                calculation.clone().into(),
                version.id,
                version.terms.clone(),
            ),
            occurred_at,
            hold_until: hold::hold_until(occurred_at, &version.terms),
            approval: version.terms.approval,
            created_at: self.now,
            approved_at: None,
            reason,
            payout_id: None,
            revision: 1,
        };
        let by = Hand { actor: "system".into(), rule: "clicks", note: None, at: self.now };
        let mut step = row.open(by)?;
        if state != CommissionState::Rejected {
            step.counted = pricing.counted(self.program_id, calculation);
            pricing.absorb(&step.counted, occurred_at);
        }
        Ok(step)
    }

    /// Tells how a commission begins: clicks that come late to a day that a person looks at, or has
    /// refused, wait for a person, too.
    fn opening(&self, of: &PartnerDay) -> (CommissionState, Option<String>) {
        if of.standing == Standing::Blocked {
            let reason = Reason::IneligiblePartner.code().to_owned();
            return (CommissionState::Rejected, Some(reason));
        }
        let is_doubted = |paid: &&Paid| {
            matches!(paid.state, CommissionState::OnHold | CommissionState::Rejected)
        };
        match of.paid.iter().rev().find(is_doubted) {
            Some(doubted) => (CommissionState::OnHold, doubted.reason.clone()),
            None => (CommissionState::Pending, None),
        }
    }
}

/// Returns when the clicks of a day count as having happened: with its last second.
pub(in crate::commission) fn happened_at(day: &Day) -> Timestamp {
    day.to - TimeDelta::seconds(1)
}

/// Returns how the causes of a day's commissions begin.
fn cause_of(day: NaiveDate) -> String {
    format!("clicks:{day}:")
}

#[cfg(test)]
mod tests;
