//! What a replay came to: for each partner and in all, in each currency, now and then.

use std::collections::BTreeMap;

use super::past::{Booked, Past};
use super::replay::New;
use crate::commission::plan::{Calculation, Cap, NoCommission};
use crate::commission::row::due;
use crate::ids::{ConversionId, PartnerId};
use crate::money::{Currency, Money};

/// The largest differences that are told one by one.
const EXAMPLES_MAX: usize = 10;

/// What a replay came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// For each partner, in each currency.
    pub partners: BTreeMap<(PartnerId, Currency), Tally>,
    /// What of it clicks earned, in each currency; counted are partners' days.
    pub clicks: BTreeMap<Currency, Tally>,
    /// Conversions that belong to a partner.
    pub n_conversions: u64,
    /// Those of them that were rejected or reversed wholly, and earn nothing by any plan.
    pub n_over: u64,
    /// Why conversions that pay something now would pay nothing, and how many they are.
    pub nothing_because: BTreeMap<&'static str, u64>,
    /// What caps and budgets cut off by the arithmetic that is stored now.
    pub caps_now: BTreeMap<CapKey, CapTally>,
    /// What they would have cut off.
    pub caps_then: BTreeMap<CapKey, CapTally>,
    /// The conversions with the largest differences, the largest first.
    pub examples: Vec<Example>,
}

/// The sums of a partner in a currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// What the ledger holds.
    pub now_minor: i64,
    /// What the replay came to.
    pub then_minor: i64,
    /// What of both was done by hand and is carried over.
    pub by_hand_minor: i64,
    /// Conversions with something in this currency, now or then.
    pub n_conversions: u64,
    /// Those of them that differ.
    pub n_changed: u64,
    /// Those that pay something now and nothing then.
    pub n_to_zero: u64,
}

/// Names a cap: of which rule, none for one of the whole plan, and which.
pub type CapKey = (Option<usize>, &'static str, &'static str, i64, Currency);

/// What a cap did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapTally {
    /// Conversions that felt it.
    pub n_conversions: u64,
    /// What it cut off in all.
    pub cut_minor: i64,
}

/// A conversion that differs much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// Which.
    pub conversion_id: ConversionId,
    /// For whom.
    pub partner_id: PartnerId,
    /// In which currency.
    pub currency: Currency,
    /// What the ledger holds.
    pub now_minor: i64,
    /// What the replay came to.
    pub then_minor: i64,
    /// How, or why it is nothing.
    pub sentence: Option<String>,
}

impl Tally {
    /// Returns what would have been more, or less.
    pub fn difference_minor(&self) -> i64 {
        self.then_minor.saturating_sub(self.now_minor)
    }

    /// Returns both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            now_minor: self.now_minor.saturating_add(other.now_minor),
            then_minor: self.then_minor.saturating_add(other.then_minor),
            by_hand_minor: self.by_hand_minor.saturating_add(other.by_hand_minor),
            n_conversions: self.n_conversions + other.n_conversions,
            n_changed: self.n_changed + other.n_changed,
            n_to_zero: self.n_to_zero + other.n_to_zero,
        }
    }
}

/// What one conversion comes to for one partner in one currency.
struct Line {
    whose: (PartnerId, Currency),
    now_minor: i64,
    then_minor: i64,
    by_hand_minor: i64,
}

#[derive(Default)]
struct Lines(Vec<Line>);

impl Lines {
    fn of(&mut self, partner_id: PartnerId, currency: Currency) -> &mut Line {
        let whose = (partner_id, currency);
        let n = self.0.iter().position(|line| line.whose == whose).unwrap_or_else(|| {
            self.0.push(Line { whose, now_minor: 0, then_minor: 0, by_hand_minor: 0 });
            self.0.len() - 1
        });
        &mut self.0[n]
    }

    /// Takes what the ledger holds; what arithmetic does not explain of it stays as it is, and so does
    /// what a person took back.
    fn book(
        &mut self,
        partner_id: PartnerId,
        net: Money,
        explained: Option<Money>,
        by_hand_minor: i64,
    ) {
        let line = self.of(partner_id, net.currency);
        let explained = explained.filter(|old| old.currency == net.currency);
        let by_hand = net.minor.saturating_sub(explained.map_or(0, |old| old.minor));
        line.now_minor = line.now_minor.saturating_add(net.minor);
        let expected = explained.map_or(0, |old| due(old, by_hand_minor).minor);
        line.then_minor = line.then_minor.saturating_add(net.minor.saturating_sub(expected));
        line.by_hand_minor = line.by_hand_minor.saturating_add(by_hand);
    }

    fn pay(&mut self, partner_id: PartnerId, amount: Money) {
        let line = self.of(partner_id, amount.currency);
        line.then_minor = line.then_minor.saturating_add(amount.minor);
    }
}

impl Outcome {
    /// Adds a conversion: what its commissions come to by the sums that they were priced with, and
    /// what its parts come to now.
    pub(super) fn add(&mut self, past: &Past, olds: &[Option<Calculation>], news: &[New<'_>]) {
        let mut lines = Lines::default();
        for (one, old) in past.booked.iter().zip(olds) {
            let old = old.as_ref();
            let explained = old.map(|old| old.total);
            lines.book(one.partner_id, one.net, explained, one.by_hand_minor);
            if let Some(recruiter) = one.recruiter.filter(|recruiter| !recruiter.is_over) {
                let part = old.and_then(|old| old.recruiter).map(|part| part.amount);
                lines.book(recruiter.partner_id, recruiter.net, part, recruiter.by_hand_minor);
            }
            old.iter().for_each(|old| note_caps(&mut self.caps_now, old));
        }
        for New { partner_id, calculation, pays_recruiter } in news {
            let Ok(calculation) = calculation else { continue };
            let booked = past.booked.iter().find(|one| one.partner_id == *partner_id);
            let by_hand_minor = booked.map_or(0, |one| one.by_hand_minor);
            lines.pay(*partner_id, due(calculation.total, by_hand_minor));
            let recruiter = calculation.recruiter.filter(|_| *pays_recruiter);
            if let Some(part) = recruiter.filter(|part| part.partner_id != *partner_id) {
                let booked = booked.and_then(|one| one.recruiter);
                let by_hand_minor = booked.map_or(0, |recruiter| recruiter.by_hand_minor);
                lines.pay(part.partner_id, due(part.amount, by_hand_minor));
            }
            note_caps(&mut self.caps_then, calculation);
        }
        if past.booked.is_empty() && news.is_empty() {
            return;
        }
        self.n_conversions += 1;
        let is_over = |one: &Booked| one.is_over;
        self.n_over += u64::from(!past.booked.is_empty() && past.booked.iter().all(is_over));
        for line in &lines.0 {
            self.tell(past, line, news);
        }
    }

    /// Adds what clicks of a partner's day earned, and what they would have.
    pub(super) fn add_clicks(
        &mut self,
        partner_id: PartnerId,
        booked: &[Booked],
        olds: &[Option<Calculation>],
        news: &[&Calculation],
    ) {
        let mut lines = Lines::default();
        for (one, old) in booked.iter().zip(olds) {
            let explained = old.as_ref().map(|old| old.total);
            lines.book(partner_id, one.net, explained, one.by_hand_minor);
            old.iter().for_each(|old| note_caps(&mut self.caps_now, old));
        }
        // What was taken back of one row is taken off the first that can bear it.
        let mut by_hand_minor: i64 = booked.iter().map(|one| one.by_hand_minor).sum();
        for new in news {
            let left = due(new.total, by_hand_minor);
            by_hand_minor += new.total.minor - left.minor;
            lines.pay(partner_id, left);
            note_caps(&mut self.caps_then, new);
        }
        for Line { whose, now_minor, then_minor, by_hand_minor } in lines.0 {
            let sums = Tally { now_minor, then_minor, by_hand_minor, ..Tally::default() };
            let partner = self.partners.entry(whose).or_default();
            *partner = partner.plus(sums);
            let clicks = self.clicks.entry(whose.1).or_default();
            *clicks = clicks.plus(Tally {
                n_conversions: 1,
                n_changed: u64::from(now_minor != then_minor),
                n_to_zero: u64::from(now_minor > 0 && then_minor <= 0),
                ..sums
            });
        }
    }

    fn tell(&mut self, past: &Past, line: &Line, news: &[New<'_>]) {
        let (partner_id, _) = line.whose;
        let is_zero = line.now_minor > 0 && line.then_minor <= 0;
        self.tally(line, is_zero);
        let new = news.iter().find(|new| new.partner_id == partner_id);
        if is_zero {
            let because = match new.map(|new| &new.calculation) {
                Some(Err(why)) => reason(why),
                Some(Ok(new)) if new.total.currency != line.whose.1 => "other_currency",
                Some(Ok(new)) if new.caps.iter().any(|step| step.is_felt()) => "cap",
                Some(Ok(_)) => "below_one_unit",
                None => "other_partner",
            };
            *self.nothing_because.entry(because).or_default() += 1;
        }
        let size = line.then_minor.abs_diff(line.now_minor);
        let least = self.examples.last().map(Example::size).unwrap_or_default();
        if size == 0 || (self.examples.len() == EXAMPLES_MAX && size <= least) {
            return;
        }
        let sentence = new.map(|new| match &new.calculation {
            Ok(calculation) => calculation.sentence(),
            Err(why) => format!("Nothing: {why}."),
        });
        let example = Example {
            conversion_id: past.conversion_id,
            partner_id,
            currency: line.whose.1,
            now_minor: line.now_minor,
            then_minor: line.then_minor,
            sentence,
        };
        let at = self.examples.partition_point(|known| known.size() >= size);
        self.examples.insert(at, example);
        self.examples.truncate(EXAMPLES_MAX);
    }

    fn tally(&mut self, line: &Line, is_zero: bool) {
        let tally = self.partners.entry(line.whose).or_default();
        *tally = tally.plus(Tally {
            now_minor: line.now_minor,
            then_minor: line.then_minor,
            by_hand_minor: line.by_hand_minor,
            n_conversions: 1,
            n_changed: u64::from(line.now_minor != line.then_minor),
            n_to_zero: u64::from(is_zero),
        });
    }

    /// Returns the sums of all partners in each currency. A conversion of two partners counts for
    /// both.
    pub fn totals(&self) -> BTreeMap<Currency, Tally> {
        let mut totals: BTreeMap<Currency, Tally> = BTreeMap::new();
        for ((_, currency), tally) in &self.partners {
            let total = totals.entry(*currency).or_default();
            *total = total.plus(*tally);
        }
        totals
    }
}

impl Example {
    fn size(&self) -> u64 {
        self.then_minor.abs_diff(self.now_minor)
    }
}

/// Adds what caps cut off.
fn note_caps(to: &mut BTreeMap<CapKey, CapTally>, of: &Calculation) {
    let n_of_rule = of.rule.caps.len();
    for (n, step) in of.caps.iter().enumerate().filter(|(_, step)| step.is_felt()) {
        let Cap { period, per, amount, .. } = step.cap;
        let rule = (n < n_of_rule).then_some(of.rule_index);
        let key = (rule, period.code(), per.code(), amount.minor, amount.currency);
        let tally = to.entry(key).or_default();
        tally.n_conversions += 1;
        let left = step.result().map_or(step.found.minor, |left| left.minor);
        tally.cut_minor = tally.cut_minor.saturating_add(step.found.minor.saturating_sub(left));
    }
}

/// Returns the word for why a plan pays nothing.
fn reason(why: &NoCommission) -> &'static str {
    match why {
        NoCommission::NoRule { .. } => "no_rule",
        NoCommission::NoRuleFor { .. } => "no_rule_for_this_one",
        NoCommission::NoRuleInCurrency { .. } => "no_rule_in_currency",
        NoCommission::NoAmount { .. } => "no_amount",
        NoCommission::NothingLeft { .. } => "nothing_left",
        NoCommission::BelowOneUnit { .. } => "below_one_unit",
        NoCommission::NoRate { .. } => "no_rate",
        NoCommission::Amounts(_) => "amounts",
    }
}
