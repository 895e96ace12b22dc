//! What pricing needs beside the conversion: the partner's standing, the customer, the rates of
//! exchange, and what counters say.
//!
//! [`PricingFacts`] are loaded once for a batch and kept up to date within it. What the counters
//! say of a conversion that came in the order of its time is final; one that came late, a refund,
//! a rejection leave a mark, and [`revalue`] reckons the partner's periods again in the order of
//! `(occurred_at, conversion)`, so that the order of arrival changes nothing in the end.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use chrono::NaiveDate;
use chrono_tz::Tz;

use crate::clock::Timestamp;
use crate::commission::plan::{
    Calculation, Circumstances, Condition, Count, Counter, CustomerKind, FxRate, Inputs,
    NoCommission, Owner, PlanTerms, Sum, Volume, price,
};
use crate::ids::{PartnerId, ProgramId};
use crate::money::Currency;

pub mod customer_store;
pub mod reported;
pub mod revalue;
pub mod store;

/// The events that make a customer.
pub const PURCHASES: [&str; 2] = ["sale", "renewal"];

/// Names one sum for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SumKey {
    /// The program.
    pub program_id: ProgramId,
    /// The partner; none for the sum of the whole program.
    pub partner_id: Option<PartnerId>,
    /// The counter.
    pub counter: Counter,
    /// The first day of the period.
    pub start: NaiveDate,
}

/// What a sum has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SumState {
    /// What was counted.
    pub volume: Volume,
    /// What it earned, in minor units.
    pub earned_minor: i64,
    /// When the last of it happened.
    pub last_at: Option<Timestamp>,
}

/// What one commission adds to one sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Which.
    pub key: SumKey,
    /// What.
    pub count: Count,
}

/// What a program knows of a partner, as far as plans ask.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Person {
    /// What it was from when on; the latest last.
    pub footings: Vec<(Timestamp, Footing)>,
    /// Who had brought it from when on, if that one may earn; the latest last.
    pub recruiters: Vec<(Timestamp, Option<PartnerId>)>,
}

/// What plans ask of a partner.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Footing {
    /// `A` to `D`.
    pub rank: Option<Arc<str>>,
    /// The group that terms are made for.
    pub group: Option<Arc<str>>,
}

impl Person {
    /// Returns what it was at a time; before anything is known, what it was first.
    pub fn footing_at(&self, at: Timestamp) -> Footing {
        let known = self.footings.iter().rev().find(|(from_at, _)| *from_at <= at);
        known.or(self.footings.first()).map(|(_, footing)| footing.clone()).unwrap_or_default()
    }

    /// Returns who had brought it at a time.
    pub fn recruiter_at(&self, at: Timestamp) -> Option<PartnerId> {
        let known = self.recruiters.iter().rev().find(|(from_at, _)| *from_at <= at);
        known.and_then(|(_, recruiter)| *recruiter)
    }
}

/// What is known of the customer of a conversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Customer {
    /// Whether the shop named one.
    pub is_named: bool,
    /// When that one first bought, as far as it is known.
    pub first_at: Option<Timestamp>,
    /// Whether the shop calls the customer new.
    pub is_new: Option<bool>,
}

impl Customer {
    /// Returns whether the customer is new to a conversion of `occurred_at`, and since when it has
    /// been one.
    pub fn seen_at(&self, occurred_at: Timestamp) -> (Option<CustomerKind>, Option<Timestamp>) {
        let since = self.first_at.filter(|first_at| *first_at < occurred_at);
        let kind = |is_new| if is_new { CustomerKind::New } else { CustomerKind::Returning };
        let by_history = self.is_named.then(|| kind(since.is_none()));
        // The shop knows its customers from before it had this program.
        (self.is_new.map(kind).or(by_history), since)
    }
}

/// What settlement knows beside the messages, to price by.
#[derive(Clone, Debug, Default)]
pub struct PricingFacts {
    /// Time zones: they say when a period begins.
    pub zones: HashMap<ProgramId, Tz>,
    /// Partners, where a plan asks for them.
    pub people: HashMap<(ProgramId, PartnerId), Person>,
    /// When each customer of the batch first bought.
    pub customers: HashMap<(ProgramId, [u8; 32]), Timestamp>,
    /// Programs whose plans ask who bought before.
    pub asking: HashSet<ProgramId>,
    /// Customers who turned out to have bought earlier than was known, and when.
    pub moved: BTreeMap<(ProgramId, [u8; 32]), Timestamp>,
    /// Rates into payout currencies, the latest last.
    pub rates: HashMap<ProgramId, Vec<FxRate>>,
    /// The sums that the batch needs.
    pub sums: HashMap<SumKey, SumState>,
}

/// What a shop says about a sale beside its amounts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The hash of the customer's name.
    pub customer_hash: Option<[u8; 32]>,
    /// Whether the shop calls the customer new.
    pub is_new_customer: Option<bool>,
    /// The category of what was sold.
    pub category: Option<Arc<str>>,
    /// The customer's country.
    pub country: Option<Arc<str>>,
    /// Where the link stood.
    pub placement: Option<Arc<str>>,
    /// When it was delivered.
    pub delivered_at: Option<Timestamp>,
}

/// Whether a commission came in the order of its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Yes, or nothing depends on it.
    InOrder,
    /// No, or it changes what came before: its periods are to be reckoned again.
    Unsettling,
}

impl PricingFacts {
    /// Returns what is known around a conversion, for this partner.
    pub fn around(
        &self,
        program_id: ProgramId,
        partner_id: PartnerId,
        occurred_at: Timestamp,
        told: &Told,
    ) -> Circumstances {
        let person = self.people.get(&(program_id, partner_id)).cloned().unwrap_or_default();
        let footing = person.footing_at(occurred_at);
        let hash = told.customer_hash;
        let customer = Customer {
            is_named: hash.is_some(),
            first_at: hash.and_then(|hash| self.customers.get(&(program_id, hash))).copied(),
            is_new: told.is_new_customer,
        };
        let (customer, customer_since) = customer.seen_at(occurred_at);
        Circumstances {
            recruiter: person.recruiter_at(occurred_at),
            rank: footing.rank,
            group: footing.group,
            placement: told.placement.clone(),
            category: told.category.clone(),
            country: told.country.clone(),
            customer,
            customer_since,
            ..Circumstances::new(partner_id, occurred_at)
        }
    }

    /// Returns the rate that holds at a time, the latest entered one.
    pub fn rate(
        &self,
        program_id: ProgramId,
        from: Currency,
        to: Currency,
        at: Timestamp,
    ) -> Option<FxRate> {
        let rates = self.rates.get(&program_id)?.iter();
        rates
            .filter(|rate| (rate.from, rate.to) == (from, to) && rate.at <= at)
            .max_by_key(|rate| rate.at)
            .cloned()
    }

    /// Returns the sum that a counter stands for.
    pub fn key(
        &self,
        program_id: ProgramId,
        partner_id: PartnerId,
        at: Timestamp,
        counter: Counter,
    ) -> SumKey {
        let zone = self.zones.get(&program_id).copied().unwrap_or(Tz::UTC);
        sum_key(program_id, partner_id, at, counter, zone)
    }

    /// Prices a conversion by what the sums say now.
    pub fn price(
        &self,
        program_id: ProgramId,
        terms: &PlanTerms,
        inputs: &Inputs,
    ) -> Result<Calculation, NoCommission> {
        let around = &inputs.around;
        price(terms, inputs, |counter| self.sum(program_id, around, counter))
    }

    /// Returns what a counter says now.
    pub fn sum(&self, program_id: ProgramId, around: &Circumstances, counter: Counter) -> Sum {
        let key = self.key(program_id, around.partner_id, around.occurred_at, counter);
        let state = self.sums.get(&key).copied().unwrap_or_default();
        Sum { before: state.volume, whole: state.volume, earned_minor: state.earned_minor }
    }

    /// Returns what a calculation adds to which sums.
    pub fn counted(&self, program_id: ProgramId, of: &Calculation) -> Vec<Counted> {
        let around = &of.inputs.around;
        let key = |count: &Count| {
            self.key(program_id, around.partner_id, around.occurred_at, count.counter)
        };
        of.counts.iter().map(|count| Counted { key: key(count), count: *count }).collect()
    }

    /// Tells whether a commission can stand as it was reckoned.
    pub fn arrival(&self, of: &Calculation, counted: &[Counted]) -> Arrival {
        let at = of.inputs.around.occurred_at;
        let is_late = counted.iter().any(|one| {
            let last_at = self.sums.get(&one.key).and_then(|state| state.last_at);
            last_at.is_some_and(|last_at| last_at >= at)
        });
        if is_late || crosses_for_all(of) { Arrival::Unsettling } else { Arrival::InOrder }
    }

    /// Takes in that a customer bought.
    pub fn meet(&mut self, program_id: ProgramId, customer: [u8; 32], event: &str, at: Timestamp) {
        if !PURCHASES.contains(&event) {
            return;
        }
        let key = (program_id, customer);
        let is_earlier = self.customers.get(&key).is_none_or(|first_at| at < *first_at);
        if is_earlier {
            self.customers.insert(key, at);
        }
        // Whatever was priced before without knowing of it may have been priced wrongly.
        if is_earlier && self.asking.contains(&program_id) {
            self.moved.insert(key, at);
        }
    }

    /// Takes in what a commission added.
    pub fn absorb(&mut self, counted: &[Counted], at: Timestamp) {
        for Counted { key, count } in counted {
            let state = self.sums.entry(*key).or_default();
            state.volume = state.volume.plus(count.volume);
            state.earned_minor = state.earned_minor.saturating_add(count.earned_minor);
            state.last_at = state.last_at.max(Some(at));
        }
    }
}

/// Returns the sum that a counter stands for, in the program's time zone.
pub fn sum_key(
    program_id: ProgramId,
    partner_id: PartnerId,
    at: Timestamp,
    counter: Counter,
    zone: Tz,
) -> SumKey {
    let partner_id = match counter.owner {
        Owner::Partner => Some(partner_id),
        Owner::Program => None,
    };
    SumKey { program_id, partner_id, counter, start: counter.period.start(at, zone) }
}

/// Tells whether a conversion crosses a threshold that holds for the whole period.
fn crosses_for_all(of: &Calculation) -> bool {
    use crate::commission::plan::tier::TierMode;
    let Some(tiers) = of.rule.tiers.as_ref().filter(|t| t.mode == TierMode::Retroactive) else {
        return false;
    };
    let counter = tiers.counter(of.rule.scope);
    let Some((_, sum)) = of.sums.iter().find(|(known, _)| *known == counter) else { return false };
    let count = of.counts.iter().find(|count| count.counter == counter);
    let this = count.map(|count| count.volume).unwrap_or_default();
    tiers.reached(sum, this) > tiers.reached(sum, Volume::default())
}

/// What of the partners, customers and rates a plan asks for; nothing else is loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Ranks, groups, recruiters.
    pub people: bool,
    /// Who bought before.
    pub customers: bool,
    /// Rates of exchange.
    pub rates: bool,
    /// Sums.
    pub counters: bool,
}

impl Needs {
    /// Returns what these terms need.
    pub fn of(terms: &PlanTerms) -> Self {
        let mut conditions = terms.rules.iter().flat_map(|rule| &rule.conditions);
        let about_people = |c: &Condition| matches!(c, Condition::Group(_) | Condition::Rank(_));
        let about_customers =
            |c: &Condition| matches!(c, Condition::Customer(_) | Condition::WithinMonths(_));
        Self {
            people: terms.common.recruiter.is_some() || conditions.clone().any(about_people),
            customers: conditions.any(about_customers),
            rates: terms.common.pay_in.is_some(),
            counters: terms.has_counters(),
        }
    }

    /// Returns what either needs.
    pub fn or(self, other: Self) -> Self {
        Self {
            people: self.people || other.people,
            customers: self.customers || other.customers,
            rates: self.rates || other.rates,
            counters: self.counters || other.counters,
        }
    }
}
