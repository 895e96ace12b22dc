//! The replay: conversions in the order of their time, priced again.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use chrono::{Days, Months, NaiveDate};
use chrono_tz::Tz;

use super::clicks::Due;
use super::outcome::Outcome;
use super::past::{Back, Booked, Part, Past};
use crate::clock::{Timestamp, midnight};
use crate::commission::plan::tier::TierMode;
use crate::commission::plan::{
    Calculation, Circumstances, Counter, FxRate, Inputs, NoCommission, Period, PlanTerms,
    PlanVersion, Rule, Sum, Volume, price, version_at, wire,
};
use crate::commission::pricing::{Needs, PricingFacts, SumKey, SumState, sum_key};
use crate::ids::{PartnerId, PlanVersionId, ProgramId};

/// From when until before when a replay tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first moment in it.
    pub from: Timestamp,
    /// The first moment after it.
    pub to: Timestamp,
}

impl Span {
    /// Returns whether a moment lies in it.
    pub fn holds(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.to
    }
}

/// A plan that is not published.
#[derive(Clone, Debug)]
pub struct Draft {
    /// From when on it prices, whatever editions there are.
    pub from: Timestamp,
    /// What it pays.
    pub terms: Arc<PlanTerms>,
}

/// What is known of the program.
#[derive(Clone, Debug)]
pub struct Ground {
    /// The program.
    pub program_id: ProgramId,
    /// Its time zone.
    pub zone: Tz,
    /// Every edition of its plan.
    pub versions: Vec<PlanVersion>,
    /// What happened before is not reckoned again by tiers and caps.
    pub fixed_until: Option<Timestamp>,
    /// People, rates, and of the customers those of the conversions to come.
    pub facts: PricingFacts,
    /// Partners that may earn now.
    pub earning: HashSet<PartnerId>,
}

/// Prices conversions again, one after the other.
pub struct Replay {
    pub(super) ground: Ground,
    pub(super) draft: Option<Draft>,
    pub(super) span: Span,
    by_id: HashMap<PlanVersionId, usize>,
    needs: Vec<Needs>,
    /// Counters that must know their whole period before its first conversion is priced.
    whole_first: HashSet<Counter>,
    whole: HashMap<SumKey, Volume>,
    sums: HashMap<SumKey, SumState>,
    day: Option<NaiveDate>,
    /// Days of clicks that the draft prices when they are over.
    pub(super) due: BTreeMap<(Timestamp, PartnerId), Due>,
    pub(super) outcome: Outcome,
}

/// What a conversion is priced by.
struct Priced<'a> {
    terms: &'a PlanTerms,
    inputs: Inputs,
    /// Whether it stays what it was, whatever the sums say.
    stands: bool,
}

/// What a part of a conversion comes to.
pub(super) struct New<'a> {
    /// Whose part.
    pub(super) partner_id: PartnerId,
    /// How, or why it is nothing.
    pub(super) calculation: Result<Cow<'a, Calculation>, NoCommission>,
    /// Whether whoever brought the partner has a commission of it.
    pub(super) pays_recruiter: bool,
}

impl Ground {
    /// Returns everything that any of its editions asks for, and the draft.
    pub fn needs(&self, draft: Option<&Draft>) -> Needs {
        let all = self.versions.iter().map(|version| &*version.terms);
        let all = all.chain(draft.map(|draft| &*draft.terms));
        all.map(Needs::of).fold(Needs::default(), Needs::or)
    }

    /// Returns the stretch of history that must be read to tell of `span`: periods that began
    /// before it count from their beginning, and those of retroactive tiers to their end.
    pub fn reach(&self, draft: Option<&Draft>, span: Span, now: Timestamp) -> Span {
        let all = self.versions.iter().map(|version| &*version.terms);
        let all = all.chain(draft.map(|draft| &*draft.terms));
        let midnight = |day| midnight(day, self.zone);
        let begins = |counter: Counter| self.begins(counter, span.from);
        let ends = |counter: Counter| {
            let day = counter.period.start(span.to, self.zone);
            let next = match counter.period {
                Period::Day => day.checked_add_days(Days::new(1)),
                Period::Week => day.checked_add_days(Days::new(7)),
                Period::Month => day.checked_add_months(Months::new(1)),
                Period::AllTime => None,
            };
            next.map_or(now, midnight)
        };
        let from = all.clone().flat_map(PlanTerms::counters).map(begins).min();
        let to = all.flat_map(whole_first).map(ends).max();
        Span {
            from: from.map_or(span.from, |from| from.min(span.from)),
            to: to.map_or(span.to, |to| to.max(span.to)),
        }
    }

    /// Returns from when on a tier of these terms can raise what was earned before `at`.
    pub fn raises_from(&self, terms: &PlanTerms, at: Timestamp) -> Timestamp {
        let begins = whole_first(terms).into_iter().map(|counter| self.begins(counter, at));
        begins.min().unwrap_or(at)
    }

    fn begins(&self, counter: Counter, at: Timestamp) -> Timestamp {
        midnight(counter.period.start(at, self.zone), self.zone)
    }
}

/// Returns the counters of retroactive tiers.
fn whole_first(terms: &PlanTerms) -> Vec<Counter> {
    let tiers = |rule: &Arc<Rule>| {
        let tiers = rule.tiers.as_ref().filter(|tiers| tiers.mode == TierMode::Retroactive);
        tiers.map(|tiers| tiers.counter(rule.scope))
    };
    terms.rules.iter().filter_map(tiers).collect()
}

impl Replay {
    /// Begins a replay.
    pub fn new(ground: Ground, draft: Option<Draft>, span: Span) -> Self {
        let by_id = ground.versions.iter().enumerate().map(|(n, v)| (v.id, n)).collect();
        let all = ground.versions.iter().map(|version| &*version.terms);
        let needs = all.clone().map(Needs::of).collect();
        let all = all.chain(draft.as_ref().map(|draft| &*draft.terms));
        let whole_first = all.flat_map(whole_first).collect();
        Self {
            ground,
            draft,
            span,
            by_id,
            needs,
            whole_first,
            whole: HashMap::new(),
            sums: HashMap::new(),
            day: None,
            due: BTreeMap::new(),
            outcome: Outcome::default(),
        }
    }

    /// Returns whether every conversion must be counted before the first is taken: a retroactive
    /// tier asks what the whole period held.
    pub fn counts_first(&self) -> bool {
        !self.whole_first.is_empty()
    }

    /// Returns how many sums are kept at this moment.
    pub fn n_sums(&self) -> usize {
        self.sums.len() + self.whole.len()
    }

    /// Tells when the customers of the conversions to come first bought.
    pub fn meet(&mut self, customers: HashMap<(ProgramId, [u8; 32]), Timestamp>) {
        self.ground.facts.customers = customers;
    }

    /// Returns what the sums of the periods have come to that are not over.
    pub fn sums(&self) -> &HashMap<SumKey, SumState> {
        &self.sums
    }

    /// Tells what whole periods come to, where that is known from elsewhere.
    pub fn know_whole(&mut self, whole: impl IntoIterator<Item = (SumKey, Volume)>) {
        self.whole.extend(whole);
    }

    /// Counts a conversion for the periods that must be known as a whole; `parts` as for
    /// [`Replay::take`].
    pub fn count(&mut self, past: &Past, parts: Option<&[Part]>) {
        let settled;
        let whose = match parts {
            Some(parts) => parts,
            None => {
                settled = past.parts(|id| self.ground.earning.contains(&id));
                &settled
            }
        };
        for part in whose {
            let booked = booked_of(past, part);
            let Some(priced) = self.priced(past, part, booked, parts.is_some()) else { continue };
            if whole_first(priced.terms).is_empty() {
                continue;
            }
            let stored = booked.and_then(|one| one.stored.as_ref());
            let read =
                |counter| stored.map(|of| wire::read_sum(&of.sums, counter)).unwrap_or_default();
            let counts = price(priced.terms, &priced.inputs, read).map(|of| of.counts);
            let around = &priced.inputs.around;
            let keys: Vec<(SumKey, Volume)> = counts
                .unwrap_or_default()
                .into_iter()
                .filter(|count| self.whole_first.contains(&count.counter))
                .map(|count| (self.key(around, count.counter), count.volume))
                .collect();
            for (key, volume) in keys {
                let sum = self.whole.entry(key).or_default();
                *sum = sum.plus(volume);
            }
        }
    }

    /// Takes the next conversion in the order of `(occurred_at, name)`.
    ///
    /// It goes to whom it went, or, where `parts` are given, to these: then editions price whoever
    /// has a part, also who earned nothing by it.
    pub fn take(&mut self, past: &Past, parts: Option<&[Part]>) {
        self.take_clicks(Some(past.occurred_at));
        self.forget(past.occurred_at);
        let olds: Vec<Option<Calculation>> =
            past.booked.iter().map(|one| self.old(past, one)).collect();
        let settled;
        let whose = match parts {
            Some(parts) => parts,
            None => {
                settled = past.parts(|id| self.ground.earning.contains(&id));
                &settled
            }
        };
        let mut news: Vec<New<'_>> = Vec::with_capacity(whose.len());
        for part in whose {
            let n = past.booked.iter().position(|one| one.partner_id == part.partner_id);
            let booked = n.and_then(|n| past.booked.get(n));
            let old = n.and_then(|n| olds.get(n)).and_then(Option::as_ref);
            let Some(priced) = self.priced(past, part, booked, parts.is_some()) else { continue };
            let Priced { terms, inputs, stands } = priced;
            let calculation = match (stands, old) {
                (true, Some(old)) => Ok(Cow::Borrowed(old)),
                (true, None) => continue,
                (false, _) => {
                    let around = &inputs.around;
                    let new = price(terms, &inputs, |counter| self.read(around, counter));
                    new.map(Cow::Owned)
                }
            };
            if let Ok(new) = &calculation {
                self.absorb(new);
            }
            let pays_recruiter = match booked.and_then(|one| one.recruiter.as_ref()) {
                Some(recruiter) => !recruiter.is_over,
                // What came without a recruiter's commission gets one by another plan alone.
                None => parts.is_some() || self.is_drafted(past.occurred_at),
            };
            news.push(New { partner_id: part.partner_id, calculation, pays_recruiter });
        }
        if self.span.holds(past.occurred_at) {
            self.outcome.add(past, &olds, &news);
        }
    }

    /// Ends the replay.
    pub fn finish(mut self) -> Outcome {
        self.take_clicks(None);
        self.outcome
    }

    pub(super) fn is_drafted(&self, at: Timestamp) -> bool {
        self.draft.as_ref().is_some_and(|draft| draft.from <= at)
    }

    /// Returns what a commission comes to by the sums that it was priced with: what the ledger
    /// holds, but for what was done by hand.
    fn old(&self, past: &Past, one: &Booked) -> Option<Calculation> {
        let is_live = !one.is_over && !one.is_spent;
        let version = self.edition(one.version_id).filter(|_| is_live)?;
        let inputs = stored_inputs(past, one)?;
        let sums = one.stored.as_ref().map_or(&[][..], |of| &of.sums);
        price(&version.terms, &inputs, |counter| wire::read_sum(sums, counter)).ok()
    }

    pub(super) fn edition(&self, id: Option<PlanVersionId>) -> Option<&PlanVersion> {
        self.ground.versions.get(*self.by_id.get(&id?)?)
    }

    /// Returns what a part is priced by; none where nothing can pay for it.
    fn priced(
        &self,
        past: &Past,
        part: &Part,
        booked: Option<&Booked>,
        is_given: bool,
    ) -> Option<Priced<'_>> {
        let is_over = match booked {
            Some(one) => one.is_over,
            // What was refused as a whole is paid to nobody else either.
            None => !past.booked.is_empty() && past.booked.iter().all(|one| one.is_over),
        };
        if is_over {
            return None;
        }
        if let Some(draft) = self.draft.as_ref().filter(|draft| draft.from <= past.occurred_at) {
            let inputs = self.fresh_inputs(past, part, booked, &draft.terms)?;
            return Some(Priced { terms: &draft.terms, inputs, stands: false });
        }
        let Some(one) = booked else {
            // What earned nothing by the edition of its time still does.
            let version =
                version_at(&self.ground.versions, past.occurred_at).filter(|_| is_given)?;
            let inputs = self.fresh_inputs(past, part, None, &version.terms)?;
            return Some(Priced { terms: &version.terms, inputs, stands: false });
        };
        let version = self.edition(one.version_id).filter(|_| !one.is_spent)?;
        let mut inputs = Inputs { split: part.split.clone(), ..stored_inputs(past, one)? };
        let then = (inputs.around.customer, inputs.around.customer_since);
        if self.knew_customers(one.version_id) && one.stored.is_some() {
            // An earlier purchase may have come to light since.
            let known = self.around(past, part);
            inputs.around.customer = known.customer;
            inputs.around.customer_since = known.customer_since;
        }
        let is_other = (inputs.around.customer, inputs.around.customer_since) != then;
        let is_fixed = self.ground.fixed_until.is_some_and(|until| past.occurred_at < until);
        let is_counted = one.stored.as_ref().is_some_and(|stored| !stored.sums.is_empty());
        // What was reckoned without sums is never reckoned again; what was before the span is only
        // counted, because its own periods may have begun before everything that is known here.
        let is_before = past.occurred_at < self.span.from;
        let is_again = is_counted || is_other;
        let stands = (is_fixed || is_before || !is_again) && part.split == one.split;
        Some(Priced { terms: &version.terms, inputs, stands })
    }

    /// Returns inputs as far as they are known now, those that were known then first.
    fn fresh_inputs(
        &self,
        past: &Past,
        part: &Part,
        booked: Option<&Booked>,
        terms: &PlanTerms,
    ) -> Option<Inputs> {
        let (program_id, at, facts) = (self.ground.program_id, past.occurred_at, past.price?);
        let refunded = match past.back() {
            Back::Nothing => None,
            Back::Part(back) => Some(back),
            Back::All => return None,
        };
        let mut around = self.around(past, part);
        let mut rate = self.ground.facts.rate_by(program_id, terms, &facts, at);
        if let Some(stored) = booked.and_then(|one| one.stored.as_ref()) {
            let then = &stored.inputs.around;
            // A rank was stored where a plan asked for people.
            if then.rank.is_some() {
                around.rank.clone_from(&then.rank);
                around.group.clone_from(&then.group);
                around.recruiter = then.recruiter;
            }
            let is_same =
                |a: &FxRate| rate.as_ref().is_none_or(|b| (a.from, a.to) == (b.from, b.to));
            if let Some(known) = stored.inputs.rate.clone().filter(is_same) {
                rate = Some(known);
            }
        }
        Some(Inputs { facts, around, split: part.split.clone(), refunded, rate, clicks: None })
    }

    /// Returns what is known now around a conversion, for whoever has this part.
    fn around(&self, past: &Past, part: &Part) -> Circumstances {
        let Ground { program_id, ref facts, .. } = self.ground;
        facts.around(program_id, part.partner_id, past.occurred_at, &past.told)
    }

    fn knew_customers(&self, id: Option<PlanVersionId>) -> bool {
        let n = id.and_then(|id| self.by_id.get(&id));
        n.is_some_and(|n| self.needs[*n].customers)
    }

    fn key(&self, around: &Circumstances, counter: Counter) -> SumKey {
        let Ground { program_id, zone, .. } = self.ground;
        sum_key(program_id, around.partner_id, around.occurred_at, counter, zone)
    }

    pub(super) fn read(&self, around: &Circumstances, counter: Counter) -> Sum {
        let key = self.key(around, counter);
        let state = self.sums.get(&key).copied().unwrap_or_default();
        let whole = self.whole.get(&key).copied().unwrap_or(state.volume);
        Sum { before: state.volume, whole, earned_minor: state.earned_minor }
    }

    pub(super) fn absorb(&mut self, of: &Calculation) {
        let around = &of.inputs.around;
        for count in &of.counts {
            let key = self.key(around, count.counter);
            let state = self.sums.entry(key).or_default();
            state.volume = state.volume.plus(count.volume);
            state.earned_minor = state.earned_minor.saturating_add(count.earned_minor);
            state.last_at = state.last_at.max(Some(around.occurred_at));
        }
    }

    /// Lets go of the sums of periods that are over, once a day of the program.
    pub(super) fn forget(&mut self, at: Timestamp) {
        let zone = self.ground.zone;
        let day = Some(at.with_timezone(&zone).date_naive());
        if self.day == day {
            return;
        }
        self.day = day;
        self.sums.retain(|key, _| key.start >= key.counter.period.start(at, zone));
        self.whole.retain(|key, _| key.start >= key.counter.period.start(at, zone));
    }
}

fn booked_of<'a>(past: &'a Past, part: &Part) -> Option<&'a Booked> {
    past.booked.iter().find(|one| one.partner_id == part.partner_id)
}

/// Returns what a commission was priced from, with the amounts and refunds of now; none when
/// nothing of the order is left.
fn stored_inputs(past: &Past, one: &Booked) -> Option<Inputs> {
    let facts = past.price?;
    let refunded = match past.back() {
        Back::Nothing => None,
        Back::Part(back) => Some(back),
        Back::All => return None,
    };
    Some(match &one.stored {
        Some(stored) => Inputs { facts, refunded, ..stored.inputs.clone() },
        // Written by an older release, before there was anything to know around it.
        None => {
            let around = Circumstances::new(one.partner_id, past.occurred_at);
            Inputs { split: one.split.clone(), refunded, ..Inputs::new(facts, around) }
        }
    })
}
