//! Reckoning periods again, in the order of time: what tiers and caps would have said had every
//! message come when it happened.
//!
//! A commission is compared with what its own arithmetic says by the sums that it was priced with;
//! the difference to what it says by the sums of now is posted. So what somebody took back by hand
//! stays taken back. Pending commissions are amended; approved ones get a row of their own: a
//! `true_up` where a tier was reached, an `adjustment` where less is due.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::NaiveDate;
use chrono_tz::Tz;

use super::{Customer, Needs, SumKey, SumState, sum_key};
use crate::clock::Timestamp;
use crate::commission::plan::{
    Calculation, Count, Counter, Inputs, PlanVersion, PriceFacts, Sum, Volume, price, wire,
};
use crate::commission::refund::{Refund, left};
use crate::commission::row::{Commission, Hand, NoStep, REVALUED, Step, due};
use crate::commission::state::{Action, CommissionKind, CommissionState, Reason, Standing};
use crate::ids::{CommissionId, PartnerId, PlanVersionId, ProgramId};
use crate::money::Money;

/// A commission with what has happened to it.
#[derive(Clone, Debug)]
pub struct Earned {
    /// The commission.
    pub commission: Commission,
    /// Its corrections and its recruiter's commission with theirs.
    pub followers: Vec<Commission>,
    /// The name of its conversion: of two at the same time the lesser comes first, in whatever
    /// order they arrived.
    pub name: String,
    /// What the shop says of it now: an update that left a capped amount as it was is in no arithmetic.
    pub told: Option<PriceFacts>,
    /// All refunds together.
    pub refund: Option<Refund>,
    /// What is known of its customer now; none where no plan asks.
    pub customer: Option<Customer>,
}

/// What reckoning again needs to know.
pub struct Terms<'a> {
    /// The program.
    pub program_id: ProgramId,
    /// Every edition of its plan.
    pub versions: &'a [PlanVersion],
    /// Its time zone.
    pub zone: Tz,
    /// What happened before is counted and not changed.
    pub fixed_until: Option<Timestamp>,
    /// The time of this reckoning.
    pub now: Timestamp,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Revalued {
    /// What is to be posted.
    pub steps: Vec<Step>,
    /// What the sums are.
    pub sums: BTreeMap<SumKey, SumState>,
    /// Those whose earned part rests on what could only be counted, not reckoned: a commission keeps
    /// its arithmetic while its amount stays, whatever else of it a cap of another period changes.
    pub counted_only: BTreeSet<SumKey>,
}

/// One commission on its way through.
struct Item<'a> {
    earned: &'a Earned,
    version: &'a PlanVersion,
    /// What it is priced from, refunds in it; none when nothing is left.
    inputs: Option<Inputs>,
    /// By the sums that it was priced with.
    old: Option<Calculation>,
    /// Whether more is known of it than when it was priced.
    is_other: bool,
}

impl Terms<'_> {
    /// Returns from when on commissions must be known to reckon again what a mark at `at` touches.
    pub fn floor(&self, at: Timestamp) -> NaiveDate {
        let day = at.with_timezone(&self.zone).date_naive();
        self.counters().map(|counter| counter.period.start(at, self.zone)).min().unwrap_or(day)
    }

    /// Returns whether anything is counted for all partners together.
    pub fn counts_whole_program(&self) -> bool {
        use crate::commission::plan::Owner;
        self.counters().any(|counter| counter.owner == Owner::Program)
    }

    /// Returns for whom periods are reckoned together with this partner's: for all without one.
    pub fn group_of(&self, partner_id: PartnerId) -> Option<PartnerId> {
        Some(partner_id).filter(|_| !self.counts_whole_program())
    }

    fn counters(&self) -> impl Iterator<Item = Counter> {
        self.versions.iter().flat_map(|version| version.terms.counters())
    }

    /// Returns whether any edition asks who bought before.
    pub fn ask_customers(&self) -> bool {
        self.versions.iter().any(|version| Needs::of(&version.terms).customers)
    }

    /// Reckons what was earned since `floor` again.
    ///
    /// What clicks earned under the caps of the whole plan stands: it was cut to what was left then,
    /// and the conversions of the period share what it leaves.
    pub fn revalue(
        &self,
        earned: &[Earned],
        clicks: &[Commission],
        floor: NaiveDate,
    ) -> Result<Revalued, NoStep> {
        let by_id: HashMap<PlanVersionId, &PlanVersion> =
            self.versions.iter().map(|version| (version.id, version)).collect();
        let mut items: Vec<Item<'_>> =
            earned.iter().filter_map(|earned| item(earned, &by_id)).collect();
        items.sort_by(|a, b| a.order().cmp(&b.order()));
        let whole = self.whole(&items);
        let mut done = Revalued::default();
        for stored in clicks.iter().filter_map(|row| wire::from_wire(&row.calculation)) {
            self.count(&mut done.sums, &stored.inputs, &stored.counts);
        }
        for item in &items {
            let Some(inputs) = &item.inputs else { continue };
            let occurred_at = inputs.around.occurred_at;
            let key = |counter| self.key(inputs, counter);
            let read = |counter| {
                let key = key(counter);
                let before = done.sums.get(&key).copied().unwrap_or_default();
                let whole = whole.get(&key).copied().unwrap_or_default();
                Sum { before: before.volume, whole, earned_minor: before.earned_minor }
            };
            let new = price(&item.version.terms, inputs, read).ok();
            // A period that began before what is known here cannot be reckoned, only counted.
            let is_whole = new
                .as_ref()
                .is_none_or(|new| new.counts.iter().all(|count| key(count.counter).start >= floor));
            let is_fixed = self.fixed_until.is_some_and(|until| occurred_at < until);
            let stands = if is_whole && !is_fixed { &new } else { &item.old };
            if let (true, false, Some(old)) = (is_whole, is_fixed, &item.old) {
                match &new {
                    Some(new) => done.steps.extend(self.steps(item, old, new)?),
                    None if item.is_other => done.steps.extend(self.end(item, old)?),
                    None => {}
                }
            }
            if let Some(stands) = stands {
                self.count(&mut done.sums, inputs, &stands.counts);
                let keys = || stands.counts.iter().map(|count| key(count.counter));
                if !is_whole || is_fixed || keys().any(|key| done.counted_only.contains(&key)) {
                    done.counted_only.extend(keys());
                }
            }
        }
        done.sums.retain(|key, _| key.start >= floor);
        Ok(done)
    }

    fn count(&self, sums: &mut BTreeMap<SumKey, SumState>, of: &Inputs, counts: &[Count]) {
        for count in counts {
            let state = sums.entry(self.key(of, count.counter)).or_default();
            state.volume = state.volume.plus(count.volume);
            state.earned_minor = state.earned_minor.saturating_add(count.earned_minor);
            state.last_at = state.last_at.max(Some(of.around.occurred_at));
        }
    }

    fn key(&self, inputs: &Inputs, counter: Counter) -> SumKey {
        let around = &inputs.around;
        sum_key(self.program_id, around.partner_id, around.occurred_at, counter, self.zone)
    }

    /// Returns what each period holds in all: volumes do not depend on what is earned.
    fn whole(&self, items: &[Item<'_>]) -> HashMap<SumKey, Volume> {
        let mut whole: HashMap<SumKey, Volume> = HashMap::new();
        for item in items {
            let (Some(inputs), Some(old)) = (&item.inputs, &item.old) else { continue };
            // Another rule may count elsewhere; how much does not depend on any sum.
            let other =
                item.is_other.then(|| price(&item.version.terms, inputs, |_| Sum::default()).ok());
            let counts = match &other {
                Some(other) => other.as_ref().map(|other| other.counts.as_slice()),
                None => Some(old.counts.as_slice()),
            };
            for Count { counter, volume, .. } in counts.unwrap_or_default() {
                let sum = whole.entry(self.key(inputs, *counter)).or_default();
                *sum = sum.plus(*volume);
            }
        }
        whole
    }

    /// Posts the difference of a commission and of its recruiter's.
    fn steps(
        &self,
        item: &Item<'_>,
        old: &Calculation,
        new: &Calculation,
    ) -> Result<Vec<Step>, NoStep> {
        let mut steps = Vec::new();
        let commission = &item.earned.commission;
        if new.total.currency != old.total.currency {
            // A row has one currency for ever; whoever pays in another by hand knows why.
            return Ok(steps);
        }
        let by = item.due(commission, new.total).checked_sub(item.due(commission, old.total))?;
        if !by.is_zero() {
            let n_corrections = item.corrections(commission).count();
            let wire = wire::to_wire(new, item.version.id, &item.version.terms);
            steps.extend(self.step(commission, by, n_corrections, Some(wire))?);
        }
        let recruiter =
            item.earned.followers.iter().find(|row| row.kind == CommissionKind::Recruiter);
        if let (Some(row), Some(old), Some(new)) = (recruiter, old.recruiter, new.recruiter) {
            let by = item.due(row, new.amount).checked_sub(item.due(row, old.amount))?;
            if !by.is_zero() {
                let n_corrections = item.corrections(row).count();
                steps.extend(self.step(row, by, n_corrections, None)?);
            }
        }
        Ok(steps)
    }

    /// Ends a commission that earns nothing by what is known now: its customer had bought before.
    fn end(&self, item: &Item<'_>, old: &Calculation) -> Result<Vec<Step>, NoStep> {
        let commission = &item.earned.commission;
        let due = item.due(commission, old.total);
        let mut steps = Vec::from_iter(self.undo(item, commission, due)?);
        let recruiter =
            item.earned.followers.iter().find(|row| row.kind == CommissionKind::Recruiter);
        if let (Some(row), Some(part)) = (recruiter, old.recruiter) {
            steps.extend(self.undo(item, row, item.due(row, part.amount))?);
        }
        Ok(steps)
    }

    fn undo(
        &self,
        item: &Item<'_>,
        of: &Commission,
        amount: Money,
    ) -> Result<Option<Step>, NoStep> {
        match of.state {
            CommissionState::Pending | CommissionState::OnHold => {
                let note = Some("its plan pays nothing for it: the customer had bought before");
                let hand = Hand { note: note.map(str::to_owned), ..self.hand() };
                of.take(Action::Reject(Reason::Other), Standing::Good, false, hand).map(Some)
            }
            CommissionState::Approved | CommissionState::Paid if !amount.is_zero() => {
                let n_corrections = item.corrections(of).count();
                self.step(of, amount.checked_neg()?, n_corrections, None)
            }
            CommissionState::Approved
            | CommissionState::Paid
            | CommissionState::Rejected
            | CommissionState::Reversed => Ok(None),
        }
    }

    fn hand(&self) -> Hand {
        Hand { actor: "system".into(), rule: REVALUED, note: None, at: self.now }
    }

    fn step(
        &self,
        of: &Commission,
        by: Money,
        n_corrections: usize,
        wire: Option<serde_json::Value>,
    ) -> Result<Option<Step>, NoStep> {
        let hand = self.hand();
        let mut step = match of.state {
            CommissionState::Pending | CommissionState::OnHold => {
                let to = of.amount.checked_add(by)?;
                if to.minor < 0 {
                    return Ok(None);
                }
                of.amend(Action::Amend, to, by, hand)?
            }
            CommissionState::Approved | CommissionState::Paid => {
                let is_more = by.is_positive();
                let kind =
                    if is_more { CommissionKind::TrueUp } else { CommissionKind::Adjustment };
                let cause = format!("period:{}:{n_corrections}", of.commission_id);
                of.correct(kind, by, cause, None, hand)?
            }
            CommissionState::Rejected | CommissionState::Reversed => return Ok(None),
        };
        // As if it had been reckoned so at once: it belongs to the month of what it corrects, which
        // is open, because what is fixed is not reckoned again.
        let since = match of.state {
            CommissionState::Approved | CommissionState::Paid => of.approved_at,
            CommissionState::Pending
            | CommissionState::OnHold
            | CommissionState::Rejected
            | CommissionState::Reversed => None,
        };
        let since = since.unwrap_or(of.occurred_at).min(self.now);
        step.posting = step.posting.map(|posting| posting.taking_effect(since));
        if let Some(wire) = wire {
            step.after.calculation = wire::corrected(&step.after.calculation, wire).into();
        }
        Ok(Some(step))
    }
}

impl Item<'_> {
    /// The parts of one conversion come in the order in which they were made.
    fn order(&self) -> (Timestamp, &str, CommissionId) {
        let commission = &self.earned.commission;
        (commission.occurred_at, &self.earned.name, commission.commission_id)
    }

    fn corrections(&self, of: &Commission) -> impl Iterator<Item = &Commission> {
        let id = of.commission_id;
        let rows = self.earned.followers.iter();
        rows.filter(move |row| row.corrects_id == Some(id) && !row.kind.is_earned())
    }

    /// Returns what is due of an amount: what a person took back comes off, and never more.
    fn due(&self, of: &Commission, amount: Money) -> Money {
        let by_hand = self.corrections(of).filter(|row| row.is_by_hand());
        due(amount, by_hand.map(|row| row.amount.minor).sum())
    }
}

fn item<'a>(
    earned: &'a Earned,
    versions: &HashMap<PlanVersionId, &'a PlanVersion>,
) -> Option<Item<'a>> {
    let commission = &earned.commission;
    let version = *versions.get(&commission.plan_version_id?)?;
    let latest = earned
        .followers
        .iter()
        .filter(|row| row.corrects_id == Some(commission.commission_id) && !row.kind.is_earned())
        .max_by_key(|row| row.commission_id);
    // A correction without arithmetic took back all that was left.
    if latest.is_some_and(|row| row.calculation.get("inputs").is_none()) {
        return None;
    }
    let stored = wire::from_wire(latest.map_or(&commission.calculation, |row| &row.calculation))?;
    let inputs = Inputs { refunded: None, ..stored.inputs };
    let reprice = |inputs: &Inputs| {
        let read = |counter| wire::read_sum(&stored.sums, counter);
        left(&price(&version.terms, inputs, read).ok()?, &earned.refund).ok()
    };
    let old = reprice(&inputs)?;
    let mut inputs = match earned.told.filter(|told| *told != inputs.facts) {
        Some(facts) => reprice(&Inputs { facts, ..inputs })?.map(|left| left.inputs),
        None => old.as_ref().map(|old| old.inputs.clone()),
    };
    let asks = Needs::of(&version.terms).customers;
    if let (Some(inputs), Some(customer)) = (&mut inputs, earned.customer.filter(|_| asks)) {
        let around = &mut inputs.around;
        (around.customer, around.customer_since) = customer.seen_at(around.occurred_at);
    }
    let is_other = old.as_ref().map(|old| &old.inputs) != inputs.as_ref();
    // What nothing is counted of, and nothing new is known of, stands as it is.
    let is_again = is_other || !stored.sums.is_empty();
    is_again.then_some(Item { earned, version, inputs, old, is_other })
}

#[cfg(test)]
mod docs_tests;
#[cfg(test)]
pub(in crate::commission) mod tests;
