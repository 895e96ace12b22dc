//! Pricing: from the facts of a conversion to its commission, each step kept.
//!
//! The order of steps is always the same: what is taken off the amount, the rate (by tiers) and
//! the fixed part, the limits of one conversion, the partner's part of a shared one, the caps of
//! the rule, the payout currency, the caps of the plan, the recruiter's share.

use std::sync::Arc;

use super::calculation::{Calculation, Inputs, Limit, RecruiterPart};
use super::cap::{Cap, CapStep, plan_scope};
use super::counter::{Count, Counter, Sum, Volume};
use super::rule::{Rule, choose};
use super::tier::Slice;
use super::{Common, EventKind, NoCommission, PlanTerms, RecruiterMode, WithoutRate};
use crate::money::{Bps, Money, MoneyError, Rounding};

/// Prices a conversion by what its counters say.
///
/// Pure: the same terms, inputs and sums give the same figures for ever.
pub fn price(
    terms: &PlanTerms,
    inputs: &Inputs,
    sums: impl Fn(Counter) -> Sum,
) -> Result<Calculation, NoCommission> {
    let (rule_index, rule) = choose(terms, &inputs.facts, &inputs.around)?;
    let base = inputs.facts.base_less(&rule.less)?;
    if rule.kind.percent().is_some() {
        match (inputs.facts.amount, base) {
            (Some(amount), Some(base)) if base.is_zero() => {
                return Err(NoCommission::NothingLeft { amount });
            }
            (Some(_), Some(_)) => {}
            (None, _) | (_, None) => {
                return Err(NoCommission::NoAmount { event: inputs.facts.event });
            }
        }
    }
    let calculation = reckon(&terms.common, rule_index, rule, inputs, &sums)?;
    match (calculation.whole.is_zero(), calculation.percent, calculation.base) {
        (true, Some((rate, _)), Some(base)) if inputs.refunded.is_none() => {
            Err(NoCommission::BelowOneUnit { rate, base })
        }
        (true | false, _, _) => Ok(calculation),
    }
}

/// Prices by a rule that was chosen before: clicks of many circumstances are chosen for one by one
/// and paid together.
pub fn price_by(
    terms: &PlanTerms,
    rule_index: usize,
    inputs: &Inputs,
    sums: impl Fn(Counter) -> Sum,
) -> Result<Calculation, NoCommission> {
    let event = inputs.facts.event;
    let rule = terms.rules.get(rule_index).ok_or(NoCommission::NoRule { event })?;
    reckon(&terms.common, rule_index, rule, inputs, &sums)
}

/// What the steps share.
struct Reckoning<'a> {
    sums: Vec<(Counter, Sum)>,
    counts: Vec<Count>,
    this: Volume,
    read: &'a dyn Fn(Counter) -> Sum,
}

impl Reckoning<'_> {
    fn sum(&mut self, counter: Counter) -> Sum {
        if let Some((_, sum)) = self.sums.iter().find(|(known, _)| *known == counter) {
            return *sum;
        }
        let sum = (self.read)(counter);
        self.sums.push((counter, sum));
        sum
    }

    fn count(&mut self, counter: Counter, earned: Money) {
        let earned_minor = earned.minor;
        match self.counts.iter_mut().find(|known| known.counter == counter) {
            Some(known) => known.earned_minor = known.earned_minor.min(earned_minor),
            None => self.counts.push(Count { counter, volume: self.this, earned_minor }),
        }
    }

    /// Applies caps one after the other; what lies beyond one with a second rate goes on to the
    /// next, so that one comes first.
    fn caps(
        &mut self,
        caps: impl Iterator<Item = (Cap, Counter)>,
        mut value: Money,
        rate: Option<Bps>,
        rounding: Rounding,
    ) -> Result<(Money, Vec<CapStep>), MoneyError> {
        let mut all: Vec<(Cap, Counter)> = caps.collect();
        all.sort_by_key(|(cap, _)| (cap.then.is_none(), cap.period, cap.per));
        let mut steps = Vec::with_capacity(all.len());
        for (cap, counter) in &all {
            let before = self.sum(*counter).earned_minor;
            let step = cap.apply(value, before, rate, rounding)?;
            value = step.result()?;
            steps.push(step);
        }
        for ((_, counter), step) in all.iter().zip(&steps) {
            let within = if step.within.minor < value.minor { step.within } else { value };
            self.count(*counter, within);
        }
        Ok((value, steps))
    }
}

/// Reckons a conversion by the rule that was chosen for it.
pub(super) fn reckon(
    common: &Arc<Common>,
    rule_index: usize,
    rule: &Arc<Rule>,
    inputs: &Inputs,
    read: &dyn Fn(Counter) -> Sum,
) -> Result<Calculation, NoCommission> {
    let rounding = common.rounding;
    let base = left_of(inputs, rule, rounding)?;
    let part = |whole: Money| inputs.split.as_ref().map_or(Ok(whole), |s| s.part_of(whole));
    let own_base = base.map(part).transpose()?;
    let n = inputs.clicks.map_or(1, |clicks| clicks.n);
    let this = Volume { n, amount_minor: own_base.map_or(0, |base| base.minor) };
    let mut on = Reckoning { sums: Vec::new(), counts: Vec::new(), this, read };
    let (slices, flat) = tiered(rule, base, &mut on);
    let flat = match (rule.kind.clicks(), inputs.clicks) {
        (Some(price), Some(clicks)) => Some(price.earn(clicks, rounding)?),
        (Some(_), None) | (None, _) => flat,
    };
    let percent = match slices.as_slice() {
        [] => None,
        slices => {
            let parts: Vec<(Money, Bps)> = slices.iter().map(|s| (s.base, s.rate)).collect();
            Some((slices[slices.len() - 1].rate, Money::sum_bps(&parts, rounding)?))
        }
    };
    let sum = match (percent, flat) {
        (Some((_, percent)), Some(flat)) => percent.checked_add(flat)?,
        (Some((_, part)), None) | (None, Some(part)) => part,
        (None, None) => return Err(NoCommission::NoAmount { event: inputs.facts.event }),
    };
    let limit = limit(rule, sum);
    let whole = match limit {
        Some(Limit::RaisedToMin(to) | Limit::CutToMax(to)) => to,
        None => sum,
    };
    let caps = rule.caps.iter().map(|cap| (*cap, cap.counter(rule.scope)));
    let rate = rule.kind.percent().map(|percent| percent.rate);
    let (value, rule_caps) = on.caps(caps, part(whole)?, rate, rounding)?;
    if let Some(tiers) = &rule.tiers {
        on.count(tiers.counter(rule.scope), value);
    }
    let (value, is_converted) = convert(common, inputs, value)?;
    let scope = plan_scope(value.currency);
    let plan = common.caps.iter().filter(|cap| cap.amount.currency == value.currency);
    let caps = plan.map(|cap| (*cap, cap.counter(scope)));
    let (value, plan_caps) = on.caps(caps, value, None, rounding)?;
    let recruiter = recruiter_part(common, inputs, value)?;
    let total = match recruiter {
        Some(RecruiterPart { mode: RecruiterMode::OutOf, amount, .. }) => {
            value.checked_sub(amount)?
        }
        Some(RecruiterPart { mode: RecruiterMode::OnTop, .. }) | None => value,
    };
    Ok(Calculation {
        inputs: inputs.clone(),
        base,
        rule_index,
        rule: Arc::clone(rule),
        common: Arc::clone(common),
        slices,
        percent,
        flat,
        limit,
        whole,
        caps: [rule_caps, plan_caps].concat(),
        is_converted,
        recruiter,
        sums: on.sums,
        counts: on.counts,
        total,
    })
}

/// Returns what the rate is taken of, refunds taken off in proportion.
fn left_of(inputs: &Inputs, rule: &Rule, rounding: Rounding) -> Result<Option<Money>, MoneyError> {
    let base = inputs.facts.base_less(&rule.less)?;
    match (base, inputs.facts.amount, inputs.refunded) {
        (Some(base), Some(amount), Some(refunded)) => {
            let left = amount.checked_sub(refunded)?;
            base.mul_ratio(left.minor.max(0), amount.minor, rounding).map(Some)
        }
        (base, _, _) => Ok(base),
    }
}

/// Returns the slices that the rate is taken of, and the fixed part, as tiers say.
fn tiered(rule: &Rule, base: Option<Money>, on: &mut Reckoning<'_>) -> (Vec<Slice>, Option<Money>) {
    let own = rule.kind.percent().map(|percent| percent.rate);
    let flat = rule.kind.flat().map(|flat| flat.amount);
    let this = on.this;
    let sum = rule.tiers.as_ref().map(|tiers| (tiers, on.sum(tiers.counter(rule.scope))));
    let slices = match (own, base, &sum) {
        (Some(own), Some(base), Some((tiers, sum))) => tiers.slices(own, base, sum, this),
        (Some(rate), Some(base), None) => vec![Slice { step: 0, base, rate }],
        (Some(_) | None, _, _) => Vec::new(),
    };
    let flat = flat.map(|own| match &sum {
        Some((tiers, sum)) => tiers.flat(sum, this).unwrap_or(own),
        None => own,
    });
    // A sale of nothing has no slice and still a rate.
    match (slices.is_empty(), own, base) {
        (true, Some(rate), Some(base)) => (vec![Slice { step: 0, base, rate }], flat),
        (true | false, _, _) => (slices, flat),
    }
}

fn limit(rule: &Rule, sum: Money) -> Option<Limit> {
    match (rule.min, rule.max) {
        (Some(min), _) if sum.minor < min.minor => Some(Limit::RaisedToMin(min)),
        (_, Some(max)) if sum.minor > max.minor => Some(Limit::CutToMax(max)),
        (Some(_) | None, _) => None,
    }
}

/// Converts into the payout currency, by the stored rate alone.
fn convert(common: &Common, inputs: &Inputs, value: Money) -> Result<(Money, bool), NoCommission> {
    let Some(pay_in) = common.pay_in.filter(|pay_in| pay_in.currency != value.currency) else {
        return Ok((value, false));
    };
    let rate = inputs.rate.as_ref();
    match rate.filter(|rate| (rate.from, rate.to) == (value.currency, pay_in.currency)) {
        Some(rate) => Ok((value.convert(pay_in.currency, rate.rate_nano, common.rounding)?, true)),
        None => match pay_in.without_rate {
            WithoutRate::SaleCurrency => Ok((value, false)),
            WithoutRate::Nothing => {
                Err(NoCommission::NoRate { from: value.currency, to: pay_in.currency })
            }
        },
    }
}

fn recruiter_part(
    common: &Common,
    inputs: &Inputs,
    value: Money,
) -> Result<Option<RecruiterPart>, MoneyError> {
    let share = common.recruiter.zip(inputs.around.recruiter);
    // Second-level rewards are for sales alone: nobody is paid for bringing people.
    let Some((share, partner_id)) = share.filter(|_| inputs.facts.event == EventKind::Sale) else {
        return Ok(None);
    };
    let amount = value.mul_bps(share.rate, common.rounding)?;
    Ok(Some(RecruiterPart { partner_id, rate: share.rate, mode: share.mode, amount }))
}
