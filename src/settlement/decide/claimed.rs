//! A conversion that earned nothing earns after all: a claim for it was accepted, or its customer
//! turned out to have bought before.

use crate::click::click_id::ClickId;
use crate::commission::plan::{Calculation, wire};
use crate::commission::refund::left;
use crate::commission::state::Action;
use crate::commission::{Commission, CommissionKind, CommissionState, Hand, NoStep, Step};
use crate::ids::{ConversionId, PartnerNo};
use crate::settlement::decide::earn::earn;
use crate::settlement::decide::flags::Suspicion;
use crate::settlement::facts::{ConversionFacts, Facts, ProgramFacts};
use crate::settlement::{Decision, Message, Share};

/// What an order is granted.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The claim, as its commission tells; none where no claim led to it.
    pub claim: Option<String>,
    /// The order.
    pub conversion_id: ConversionId,
    /// Who earns.
    pub partner: PartnerNo,
    /// The click that led to it, where one is known.
    pub click: Option<ClickId>,
    /// Who did, and why.
    pub by: Hand,
}

/// Decides what a granted claim does, or says why nothing is earned.
///
/// It goes the way of every conversion: the plan of its time, the rules of suspicion, the refunds so
/// far. An order that somebody has earned already earns nothing.
pub fn claimed(facts: &Facts, message: &Message, grant: &Grant) -> Result<Vec<Decision>, String> {
    let conversion = facts.conversions.values().find(|c| c.conversion_id == grant.conversion_id);
    let conversion = conversion.ok_or("the order is not there")?;
    let program = facts.programs.get(&message.program_id).ok_or("the program is not there")?;
    if conversion.commissions.iter().any(is_earned) {
        return Err("a partner has earned by it".to_owned());
    }
    let click = grant.click.map(|click| (click.partner, click.link, click.at));
    let suspicion = Suspicion { facts, message, click };
    let shares = [Share::whole(grant.partner)];
    let (mut decisions, mut left) = (Vec::new(), None);
    for mut opened in earn(&suspicion, program, &shares, grant.conversion_id)? {
        let flags = opened.raised();
        let told = opened.step.by.note.take().filter(|_| !flags.is_empty());
        let said = [grant.claim.clone(), grant.by.note.clone(), told];
        let note = said.into_iter().flatten().collect::<Vec<_>>().join(". ");
        let note = Some(note).filter(|note| !note.is_empty());
        opened.step.by = Hand { note, ..grant.by.clone() };
        if let Some(claim) = &grant.claim {
            opened.step.after.calculation["claim"] = claim.clone().into();
        }
        let (refunded, rest) =
            refunded(program, conversion, &opened.step.after, left.as_ref(), &grant.by)?;
        left = rest.or(left);
        decisions.push(Decision::Commission(Box::new(opened.step)));
        decisions.extend(refunded.map(|step| Decision::Commission(Box::new(step))));
        decisions.extend(flags.into_iter().map(|raised| Decision::Flag(Box::new(raised))));
    }
    Ok(decisions)
}

fn is_earned(commission: &Commission) -> bool {
    let is_over = matches!(commission.state, CommissionState::Rejected | CommissionState::Reversed);
    commission.kind == CommissionKind::Earned && !is_over
}

/// Takes off what went back to the customer before the claim was granted; returns what is left of
/// the partner's own commission, which what its recruiter has follows.
fn refunded(
    program: &ProgramFacts,
    conversion: &ConversionFacts,
    opened: &Commission,
    of: Option<&Calculation>,
    by: &Hand,
) -> Result<(Option<Step>, Option<Calculation>), String> {
    let (target, rest) = if opened.kind == CommissionKind::Recruiter {
        (of.and_then(|of| of.recruiter).map_or(opened.amount, |part| part.amount), None)
    } else {
        let version = program.plans.iter().find(|v| Some(v.id) == opened.plan_version_id);
        let calculation = version
            .and_then(|version| wire::recompute(&opened.calculation, &version.terms)?.ok())
            .ok_or("its plan pays nothing for it")?;
        let rest = left(&calculation, &conversion.refunds).map_err(|e| e.to_string())?;
        let rest = rest.ok_or("all of it went back")?;
        (rest.total, Some(rest))
    };
    let difference = target.checked_sub(opened.amount).map_err(|e| e.to_string())?;
    let is_open = matches!(opened.state, CommissionState::Pending | CommissionState::OnHold);
    if difference.is_zero() || !is_open {
        return Ok((None, rest));
    }
    let mut step = opened
        .amend(Action::Amend, target, difference, by.clone())
        .map_err(|e: NoStep| e.to_string())?;
    let version = program.plans.iter().find(|v| Some(v.id) == opened.plan_version_id);
    if let (Some(rest), Some(version)) = (&rest, version) {
        let mut calculation = wire::to_wire(rest, version.id, &version.terms);
        if let Some(claim) = opened.calculation.get("claim") {
            calculation["claim"] = claim.clone();
        }
        step.after.calculation = calculation;
    }
    Ok((Some(step), rest))
}
