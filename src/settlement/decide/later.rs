//! What comes after a conversion: approval, rejection, update, refund; in any order of arrival.

use crate::commission::hold;
use crate::commission::plan::{Circumstances, Inputs, PlanVersion, price, wire};
use crate::commission::pricing::reported::told;
use crate::commission::refund::{
    Held, IllegalRefund, Refund, RefundFacts, RefundOutcome, Target, left, on_change, on_less,
    on_refund, on_update,
};
use crate::commission::state::{Action, Reason, Standing};
use crate::commission::{Calculation, Commission, CommissionKind, CommissionState, NoStep, Step};
use crate::conversion::MessageType;
use crate::money::Money;
use crate::settlement::decide::{hand, price_facts, verdict};
use crate::settlement::facts::{ConversionFacts, Facts};
use crate::settlement::waiting::Room;
use crate::settlement::{Decision, Earner, Message, OrderKey, Verdict};

/// Why a message about a known conversion has no effect.
#[derive(Debug, thiserror::Error)]
enum NoEffect {
    #[error(transparent)]
    Step(#[from] NoStep),
    #[error(transparent)]
    Refund(#[from] IllegalRefund),
    #[error("the currency differs from the order's")]
    Currency,
    #[error("an update that was made later holds already")]
    Overtaken,
    #[error("it was applied before")]
    Known,
}

/// Decides what a message about an earlier conversion does; without the conversion it waits.
pub(super) fn decide(facts: &Facts, message: &Message) -> Vec<Decision> {
    let key = facts.order_key(message);
    let Some(conversion) = facts.conversions.get(&key) else {
        return wait(facts, key);
    };
    let id = Some(conversion.conversion_id);
    let effect = match message.report.message_type {
        MessageType::Approved => act(facts, message, conversion, Action::Approve),
        MessageType::Rejected => {
            let effect = act(facts, message, conversion, Action::Reject(reason_of(message)));
            effect.map(|mut decisions| {
                decisions.push(Decision::Void(conversion.conversion_id));
                decisions
            })
        }
        MessageType::Refunded => refund(facts, message, conversion),
        MessageType::Updated | MessageType::Created => update(facts, message, conversion),
    };
    match effect {
        Ok(mut decisions) => {
            decisions.push(verdict(Verdict::Settled, None, id, false));
            decisions
        }
        Err(NoEffect::Known) => vec![verdict(Verdict::Duplicate, None, id, false)],
        Err(NoEffect::Refund(e @ IllegalRefund::Conflict { .. })) => {
            vec![verdict(Verdict::Conflict, Some(e.to_string()), id, false)]
        }
        Err(e) => vec![verdict(Verdict::Rejected, Some(e.to_string()), id, false)],
    }
}

/// Lets a message wait, or turns it away where no place is left.
fn wait(facts: &Facts, key: OrderKey) -> Vec<Decision> {
    if let Some(why) = facts.rooms.get(&key.program_id).and_then(Room::refusal) {
        let told = verdict(Verdict::DeadLetter, Some(why.clone()), None, false);
        return vec![Decision::TurnAway(why), told];
    }
    let reason = Some("its conversion has not come yet".to_owned());
    vec![Decision::Wait(key), verdict(Verdict::Waiting, reason, None, false)]
}

/// Returns the reason code that a shop named; its own words stay in the history.
fn reason_of(message: &Message) -> Reason {
    message.report.reason.as_deref().and_then(Reason::from_code).unwrap_or(Reason::OrderCanceled)
}

/// Approves or rejects. A conversion that earned nothing takes it without effect.
fn act(
    facts: &Facts,
    message: &Message,
    conversion: &ConversionFacts,
    action: Action,
) -> Result<Vec<Decision>, NoEffect> {
    let (mut decisions, mut refused) = (Vec::new(), None);
    for commission in conversion.commissions.iter().filter(|c| c.kind.is_earned()) {
        let has_corrections = conversion.corrections(commission.commission_id).is_some();
        let standing = standing(facts, commission);
        match commission.take(action, standing, has_corrections, hand(facts, message)) {
            Ok(step) => decisions.push(Decision::Commission(Box::new(step))),
            Err(e) => refused = Some(e),
        }
    }
    match refused {
        // Where one of several partners is under review, the others do not wait for it.
        Some(e) if decisions.is_empty() => Err(e.into()),
        Some(_) | None => Ok(decisions),
    }
}

fn standing(facts: &Facts, commission: &Commission) -> Standing {
    // Those who earned what is there are loaded by their ids.
    let is_its = |earner: &&Earner| earner.partner_id == commission.partner_id;
    let earner = facts.earners.values().find(is_its);
    if earner.is_none_or(|earner| earner.is_in_good_standing) {
        Standing::Good
    } else {
        Standing::Blocked
    }
}

fn refund(
    facts: &Facts,
    message: &Message,
    conversion: &ConversionFacts,
) -> Result<Vec<Decision>, NoEffect> {
    let refund_id = message.report.refund_id.clone().unwrap_or_default();
    let amount = message.report.refund_amount;
    if let Some(known) = conversion.refunds.iter().find(|r| r.refund_id == refund_id) {
        return if known.amount == amount {
            Err(NoEffect::Known)
        } else {
            Err(IllegalRefund::Conflict { refund_id }.into())
        };
    }
    let price_currency = conversion.price.and_then(|p| p.amount).map(|m| m.currency);
    if let (Some(given), Some(currency)) = (amount, price_currency)
        && given.currency != currency
    {
        return Err(NoEffect::Currency);
    }
    let remember = Decision::Refund {
        conversion_id: conversion.conversion_id,
        refund_id: refund_id.clone(),
        amount,
    };
    let refund = Refund { refund_id: refund_id.clone(), amount };
    let mut decisions = vec![remember];
    for (commission, calculation, version) in earned(facts, message, conversion) {
        let now = refund_facts(conversion, commission, &calculation);
        let outcome = match on_refund(&now, &refund) {
            Ok(outcome) => outcome,
            // The refund is a fact even where the commission is over already.
            Err(IllegalRefund::AlreadyOver(_)) => RefundOutcome::Unchanged,
            Err(other) => return Err(other.into()),
        };
        let left = left(&calculation, conversion.refunds.iter().chain([&refund]));
        let left = left.map_err(IllegalRefund::from)?;
        let change = Change { facts, message, conversion, version, cause: &refund_id };
        decisions.extend(change.apply(commission, outcome, left.as_ref())?);
    }
    Ok(decisions)
}

fn update(
    facts: &Facts,
    message: &Message,
    conversion: &ConversionFacts,
) -> Result<Vec<Decision>, NoEffect> {
    let report = &message.report;
    let made = (message.sent_at, &message.message_id);
    if conversion.restated.as_ref().is_some_and(|(at, id)| made < (*at, id)) {
        return Err(NoEffect::Overtaken);
    }
    let price_currency = conversion.price.and_then(|p| p.amount).map(|m| m.currency);
    if report.currency.is_some() && price_currency.is_some() && report.currency != price_currency {
        return Err(NoEffect::Currency);
    }
    let new_price = price_facts(report);
    let restate = Decision::Restate {
        conversion_id: conversion.conversion_id,
        base: new_price.and_then(|p| p.base().ok().flatten()),
    };
    // Equal content is written all the same: it overtakes what was made before it.
    if report.content_hash() == conversion.content_hash {
        return Ok(vec![restate]);
    }
    let (mut decisions, mut over) = (vec![restate], None);
    for (commission, calculation, version) in earned(facts, message, conversion) {
        let new = new_price.and_then(|facts| {
            let inputs = Inputs { facts, ..calculation.inputs.clone() };
            let sums = &calculation.sums;
            price(&version.terms, &inputs, |counter| wire::read_sum(sums, counter)).ok()
        });
        let now = refund_facts(conversion, commission, &calculation);
        let outcome = match on_update(&now, new.as_ref()) {
            Ok(outcome) => outcome,
            Err(e @ IllegalRefund::AlreadyOver(_)) => {
                over = Some(e);
                continue;
            }
            Err(other) => return Err(other.into()),
        };
        let left = new.map_or(Ok(None), |new| left(&new, &conversion.refunds));
        let left = left.map_err(IllegalRefund::from)?;
        let cause = &message.message_id;
        let change = Change { facts, message, conversion, version, cause };
        decisions.extend(change.apply(commission, outcome, left.as_ref())?);
    }
    let is_all_over = conversion
        .earned()
        .all(|c| matches!(c.state, CommissionState::Rejected | CommissionState::Reversed));
    match over {
        Some(e) if is_all_over => Err(e.into()),
        Some(_) | None => Ok(decisions),
    }
}

/// Returns what was earned and how, priced again by the edition and the sums that priced it first.
fn earned<'a>(
    facts: &'a Facts,
    message: &Message,
    conversion: &'a ConversionFacts,
) -> Vec<(&'a Commission, Calculation, &'a PlanVersion)> {
    let program = facts.programs.get(&message.program_id);
    let priced = |commission: &'a Commission| {
        let plans = &program?.plans;
        let version = plans.iter().find(|v| Some(v.id) == commission.plan_version_id)?;
        let arithmetic = conversion.arithmetic(commission);
        let price_facts = conversion.price?;
        let (inputs, sums) = match wire::from_wire(arithmetic) {
            Some(stored) => {
                let inputs = Inputs { facts: price_facts, refunded: None, ..stored.inputs };
                (inputs, stored.sums)
            }
            // Written by an older release, before there was anything to know around it.
            None => {
                let around = Circumstances::new(commission.partner_id, conversion.occurred_at);
                let split = wire::split(&commission.calculation);
                (Inputs { split, ..Inputs::new(price_facts, around) }, Vec::new())
            }
        };
        let read = |counter| wire::read_sum(&sums, counter);
        let calculation = price(&version.terms, &inputs, read).ok()?;
        Some((commission, calculation, version))
    };
    conversion.earned().filter_map(priced).collect()
}

/// What a message does to the commissions of its conversion.
struct Change<'a> {
    facts: &'a Facts,
    message: &'a Message,
    conversion: &'a ConversionFacts,
    version: &'a PlanVersion,
    cause: &'a str,
}

impl Change<'_> {
    /// Applies an outcome to a commission, and what follows from it to its recruiter's.
    fn apply(
        &self,
        commission: &Commission,
        outcome: RefundOutcome,
        left: Option<&Calculation>,
    ) -> Result<Vec<Decision>, NoEffect> {
        let Self { facts, message, conversion, version, cause } = *self;
        let mut steps = Vec::new();
        steps.extend(step(facts, message, conversion, commission, outcome, cause.to_owned())?);
        if let (Some(step), Some(left)) = (steps.first_mut(), left) {
            let wire = wire::to_wire(left, version.id, &version.terms);
            step.after.calculation = wire::corrected(&step.after.calculation, wire).into();
        }
        if let Some(recruiter) = conversion.recruiter_of(commission.commission_id) {
            steps.extend(self.follow(commission, recruiter, left)?);
        }
        self.deliver(commission, &mut steps);
        Ok(steps.into_iter().map(|step| Decision::Commission(Box::new(step))).collect())
    }

    /// Lets the hold be counted from the delivery that the message tells of.
    fn deliver(&self, of: &Commission, steps: &mut Vec<Step>) {
        let Self { facts, message, conversion, version, .. } = *self;
        let delivered_at = told(&message.report).delivered_at;
        let event = conversion.price.map(|price| price.event);
        let (Some(event), MessageType::Updated) = (event, message.report.message_type) else {
            return;
        };
        let rows = std::iter::once(of).chain(conversion.recruiter_of(of.commission_id));
        for row in rows.filter(|row| row.approved_at.is_none()) {
            let (until, at) = (row.hold_until, row.occurred_at);
            let moved = hold::after_delivery(until, at, delivered_at, event, &version.terms);
            let Some(moved) = moved else { continue };
            match steps.iter_mut().find(|step| step.after.commission_id == row.commission_id) {
                Some(step) => step.after.hold_until = moved,
                None if row.state == CommissionState::Rejected => {}
                None => steps.push(row.deliver(moved, hand(facts, message))),
            }
        }
    }

    /// Brings a recruiter's commission to its share of what is left of the partner's.
    fn follow(
        &self,
        of: &Commission,
        recruiter: &Commission,
        left: Option<&Calculation>,
    ) -> Result<Option<Step>, NoEffect> {
        let Self { facts, message, conversion, cause, .. } = *self;
        let part = left.and_then(|left| left.recruiter);
        let nothing = Money::zero(recruiter.amount.currency);
        let target =
            Target { amount: part.map_or(nothing, |part| part.amount), is_end: left.is_none() };
        let now = Held {
            state: recruiter.state,
            reservation: recruiter.reservation(),
            earned: recruiter.amount,
            corrections: conversion.corrections(recruiter.commission_id),
            by_hand: conversion.taken_by_hand(recruiter.commission_id),
        };
        let outcome = match message.report.message_type {
            MessageType::Updated => on_change(&now, &target),
            MessageType::Created
            | MessageType::Approved
            | MessageType::Rejected
            | MessageType::Refunded => on_less(&now, &target),
        };
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(IllegalRefund::AlreadyOver(_)) => RefundOutcome::Unchanged,
            Err(other) => return Err(other.into()),
        };
        // A recruiter may have a part of the conversion of its own, with the same cause.
        let cause = format!("{cause}@{}", of.commission_id);
        step(facts, message, conversion, recruiter, outcome, cause)
    }
}

fn refund_facts<'a>(
    conversion: &'a ConversionFacts,
    commission: &Commission,
    calculation: &'a Calculation,
) -> RefundFacts<'a> {
    RefundFacts {
        state: commission.state,
        reservation: commission.reservation(),
        calculation,
        earned: commission.amount,
        corrections: conversion.corrections(commission.commission_id),
        by_hand: conversion.taken_by_hand(commission.commission_id),
        refunds: &conversion.refunds,
    }
}

fn step(
    facts: &Facts,
    message: &Message,
    conversion: &ConversionFacts,
    commission: &Commission,
    outcome: RefundOutcome,
    cause: String,
) -> Result<Option<Step>, NoEffect> {
    let by = hand(facts, message);
    let take = |action| {
        let has_corrections = conversion.corrections(commission.commission_id).is_some();
        commission.take(action, Standing::Good, has_corrections, by.clone())
    };
    let step = match outcome {
        RefundOutcome::AlreadyApplied | RefundOutcome::Unchanged => return Ok(None),
        RefundOutcome::Amend { to, by: difference } => {
            let action = match message.report.message_type {
                MessageType::Updated => Action::Update,
                MessageType::Created
                | MessageType::Approved
                | MessageType::Rejected
                | MessageType::Refunded => Action::Amend,
            };
            commission.amend(action, to, difference, by)?
        }
        RefundOutcome::Reject => take(Action::Reject(Reason::OrderCanceled))?,
        RefundOutcome::Reverse => take(Action::Reverse(Reason::OrderCanceled))?,
        RefundOutcome::Clawback { take } => {
            let amount = take.checked_neg().map_err(NoStep::from)?;
            let reason = Some(Reason::OrderCanceled);
            commission.correct(CommissionKind::Clawback, amount, cause, reason, by)?
        }
        RefundOutcome::Adjust { by: difference } => {
            commission.correct(CommissionKind::Adjustment, difference, cause, None, by)?
        }
    };
    Ok(Some(step))
}
