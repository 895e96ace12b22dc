//! Which rule prices a conversion, and why not another.
//!
//! A rule that names something weightier is the more specific: the partner before its group, its
//! rank, the placement, the category, the customer, the country, the months, the event, the
//! currency. Of equally specific ones the one that began later wins. Two that would still tie are
//! refused when the plan is saved; only an event without an amount, for which currencies do not
//! count, may meet two: then the earlier one in the plan wins.

use std::cmp::Reverse;
use std::sync::Arc;

use super::cap::Cap;
use super::condition::{Circumstances, Condition, Named, canonical_event};
use super::counter::{Counter, Scope};
use super::tier::Tiers;
use super::{EventKind, NoCommission, Part, PlanTerms, PriceFacts};
use crate::clock::Timestamp;
use crate::commission::kind::Kind;
use crate::money::{Currency, Money};

/// One clause of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Which event it pays for; `None` is any.
    pub event: Option<EventKind>,
    /// Only sales in this currency; every amount of the rule is in it.
    pub currency: Option<Currency>,
    /// Whom and what else it is for, at most one condition of each kind.
    pub conditions: Vec<Condition>,
    /// From when on it holds, within the edition.
    pub from: Option<Timestamp>,
    /// Until when it holds, exclusive.
    pub until: Option<Timestamp>,
    /// What is taken off the amount before the rate.
    pub less: Vec<Part>,
    /// The formula.
    pub kind: Kind,
    /// At least this, where anything is earned at all.
    pub min: Option<Money>,
    /// At most this for one conversion.
    pub max: Option<Money>,
    /// How the rate rises.
    pub tiers: Option<Tiers>,
    /// At most so much in a period.
    pub caps: Vec<Cap>,
    /// The name of its counters.
    pub scope: Scope,
}

/// Why a rule did not price a conversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// It is for other conversions; what it names that was not met.
    NotMet(Named),
    /// It was not in force at that time.
    NotInForce,
    /// The other names something weightier.
    LessSpecific(Named),
    /// The other began later.
    Older,
    /// The other stands before it.
    After,
}

impl Rule {
    /// Returns a rule without conditions and limits.
    pub fn plain(event: Option<EventKind>, currency: Option<Currency>, kind: Kind) -> Self {
        Self {
            event,
            currency,
            conditions: Vec::new(),
            from: None,
            until: None,
            less: Part::ALL.to_vec(),
            kind,
            min: None,
            max: None,
            tiers: None,
            caps: Vec::new(),
            scope: Scope(0),
        }
        .with_scope()
    }

    /// Returns the rule with the scope that its conditions make.
    pub fn with_scope(mut self) -> Self {
        let conditions: Vec<String> = self.conditions.iter().map(Condition::canonical).collect();
        self.scope = Scope::of(&format!(
            "{};{};{}",
            canonical_event(self.event),
            self.currency.map_or("any", Currency::code),
            conditions.join(";"),
        ));
        self
    }

    /// Returns the sum of the weights of all that it names.
    pub fn weight(&self) -> u16 {
        self.names().map(Named::weight).sum()
    }

    fn names(&self) -> impl Iterator<Item = Named> {
        let event = self.event.map(|_| Named::Event);
        let currency = self.currency.map(|_| Named::Currency);
        self.conditions.iter().map(Condition::named).chain(event).chain(currency)
    }

    /// Returns whether it is in force at this time.
    pub fn holds_at(&self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= at) && self.until.is_none_or(|until| at < until)
    }

    /// Returns what of it a conversion does not meet.
    fn unmet(&self, facts: &PriceFacts, around: &Circumstances) -> Option<Lost> {
        // A rule for any event is for what shops report.
        let is_for =
            self.event.map_or(facts.event != EventKind::Click, |event| event == facts.event);
        if !is_for {
            return Some(Lost::NotMet(Named::Event));
        }
        if let Some(unmet) = self.conditions.iter().find(|condition| !condition.is_met(around)) {
            return Some(Lost::NotMet(unmet.named()));
        }
        if !self.holds_at(around.occurred_at) {
            return Some(Lost::NotInForce);
        }
        let (named, paid) = (self.currency, facts.amount.map(|m| m.currency));
        let is_other = named.zip(paid).is_some_and(|(named, paid)| named != paid);
        is_other.then_some(Lost::NotMet(Named::Currency))
    }

    /// Returns whether one conversion could be priced by either, with nothing to prefer one.
    pub fn ties_with(&self, other: &Self) -> bool {
        let events = self.event == other.event;
        let currencies = self.currency == other.currency;
        let conditions = self
            .conditions
            .iter()
            .all(|a| other.conditions.iter().all(|b| a.named() != b.named() || a.meets(b)));
        let begins_before =
            |a: &Self, b: &Self| b.until.is_none_or(|end| a.from.is_none_or(|f| f < end));
        self.weight() == other.weight()
            && self.from == other.from
            && events
            && currencies
            && conditions
            && begins_before(self, other)
            && begins_before(other, self)
    }

    /// Returns its counters, each once.
    pub fn counters(&self) -> Vec<Counter> {
        let tiers = self.tiers.iter().map(|tiers| tiers.counter(self.scope));
        let mut all: Vec<Counter> =
            tiers.chain(self.caps.iter().map(|cap| cap.counter(self.scope))).collect();
        all.sort();
        all.dedup();
        all
    }
}

/// Chooses the rule that prices a conversion.
pub fn choose<'a>(
    terms: &'a PlanTerms,
    facts: &PriceFacts,
    around: &Circumstances,
) -> Result<(usize, &'a Arc<Rule>), NoCommission> {
    let rules = || terms.rules.iter().enumerate();
    let unmet = |rule: &Rule| rule.unmet(facts, around);
    if let Some(chosen) = rules()
        .filter(|(_, rule)| unmet(rule).is_none())
        .max_by_key(|(index, rule)| (rule.weight(), rule.from, Reverse(*index)))
    {
        return Ok(chosen);
    }
    let event = facts.event;
    let nearly = |wanted: fn(&Lost) -> bool| {
        rules().any(|(_, rule)| unmet(rule).as_ref().is_some_and(wanted))
    };
    let currency = facts.amount.map(|amount| amount.currency);
    match currency {
        Some(currency) if nearly(|lost| matches!(lost, Lost::NotMet(Named::Currency))) => {
            Err(NoCommission::NoRuleInCurrency { event, currency })
        }
        _ if nearly(|lost| !matches!(lost, Lost::NotMet(Named::Event))) => {
            Err(NoCommission::NoRuleFor { event, unmet: first_unmet(terms, facts, around) })
        }
        Some(_) | None => Err(NoCommission::NoRule { event }),
    }
}

fn first_unmet(terms: &PlanTerms, facts: &PriceFacts, around: &Circumstances) -> String {
    let mut fields: Vec<&str> = terms
        .rules
        .iter()
        .filter_map(|rule| match rule.unmet(facts, around)? {
            Lost::NotMet(Named::Event) => None,
            Lost::NotMet(named) => Some(named.field()),
            Lost::NotInForce => Some("dates"),
            Lost::LessSpecific(_) | Lost::Older | Lost::After => None,
        })
        .collect();
    fields.sort_unstable();
    fields.dedup();
    fields.join(", ")
}

/// Says of every other rule of the plan why it did not price the conversion.
pub fn rivals(
    terms: &PlanTerms,
    facts: &PriceFacts,
    around: &Circumstances,
    chosen: usize,
) -> Vec<(usize, Lost)> {
    let Some(winner) = terms.rules.get(chosen) else { return Vec::new() };
    let lost = |rule: &Rule| {
        if let Some(unmet) = rule.unmet(facts, around) {
            return unmet;
        }
        // The weightiest that one names and the other does not.
        let only_winner = winner.names().filter(|named| !rule.names().any(|n| n == *named)).max();
        match only_winner {
            Some(named) if winner.weight() > rule.weight() => Lost::LessSpecific(named),
            Some(_) | None if winner.from > rule.from => Lost::Older,
            Some(_) | None => Lost::After,
        }
    };
    let others = terms.rules.iter().enumerate().filter(|(index, _)| *index != chosen);
    others.map(|(index, rule)| (index, lost(rule))).collect()
}

impl Lost {
    /// Says it in a word for stored explanations, and what it is about.
    pub fn code(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::NotMet(named) => ("not_met", Some(named.field())),
            Self::NotInForce => ("not_in_force", None),
            Self::LessSpecific(named) => ("less_specific", Some(named.field())),
            Self::Older => ("older", None),
            Self::After => ("after", None),
        }
    }
}
