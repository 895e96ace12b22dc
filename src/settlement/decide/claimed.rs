//! What is earned late: by a claim that was accepted, because a customer turned out to be somebody's,
//! or to have bought before.

use crate::click::click_id::ClickId;
use crate::commission::plan::{Calculation, wire};
use crate::commission::refund::left;
use crate::commission::state::Action;
use crate::commission::{Commission, CommissionKind, CommissionState, Hand, NoStep, Step};
use crate::ids::{ClaimId, ConversionId, PartnerNo};
use crate::settlement::attribution::attribute;
use crate::settlement::decide::earn::earn;
use crate::settlement::decide::flags::Suspicion;
use crate::settlement::facts::{ConversionFacts, Facts, ProgramFacts};
use crate::settlement::{Decision, Message, Share};

/// Why something is earned late, as its commission tells.
#[derive(Clone, Debug)]
pub enum Ground {
    /// A claim was accepted.
    Claim(ClaimId),
    /// This conversion bound the customer and came after it.
    Bound(ConversionId),
}

/// What an order is granted.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Why; none where it was its partner's all the time.
    pub ground: Option<Ground>,
    /// The order.
    pub conversion_id: ConversionId,
    /// Who earns.
    pub partner: PartnerNo,
    /// The click that led to it, where one is known.
    pub click: Option<ClickId>,
    /// Who did, and why.
    pub by: Hand,
}

impl Ground {
    fn name(&self) -> &'static str {
        match self {
            Self::Claim(_) => "claim",
            Self::Bound(_) => "bound_by",
        }
    }

    fn sentence(&self) -> String {
        match self {
            Self::Claim(id) => format!("claim {id}"),
            Self::Bound(id) => format!("the customer was bound by {id}, which came later"),
        }
    }
}

/// Decides what is earned late, or says why nothing is.
///
/// It goes the way of every conversion: the plan of its time, the rules of suspicion, the refunds so
/// far. An order that somebody has earned already earns nothing.
pub fn claimed(facts: &Facts, message: &Message, grant: &Grant) -> Result<Vec<Decision>, String> {
    let conversion = facts.conversions.get(&facts.order_key(message));
    let conversion = conversion
        .filter(|c| c.conversion_id == grant.conversion_id)
        .ok_or("the order is not there")?;
    let program = facts.programs.get(&message.program_id).ok_or("the program is not there")?;
    if conversion.commissions.iter().any(is_earned) {
        return Err("a partner has earned by it".to_owned());
    }
    let attribution;
    let (shares, click, path) = match &grant.ground {
        Some(_) => {
            let click = grant.click.map(|click| (click.partner, click.link, click.at));
            (vec![Share::whole(grant.partner)], click, None)
        }
        // It was its partners' all the time: it goes to whom it goes by the policy of its time.
        None => {
            let is_enrolled = |partner| facts.earners.contains_key(&(message.program_id, partner));
            let policy = &program.policies.at(message.report.occurred_at).policy;
            let asked = facts.known.asked(message.program_id, &message.report, policy);
            attribution = attribute(&asked, program, &facts.click_keys, is_enrolled);
            (attribution.shares(), attribution.click(), attribution.path.as_ref())
        }
    };
    if shares.is_empty() {
        return Err("it is attributed to nobody".to_owned());
    }
    let suspicion = Suspicion { facts, message, click, path };
    let (mut decisions, mut left) = (Vec::new(), None);
    for mut opened in earn(&suspicion, program, &shares, grant.conversion_id)? {
        let flags = opened.raised();
        let told = opened.step.by.note.take().filter(|_| !flags.is_empty());
        let said = [grant.ground.as_ref().map(Ground::sentence), grant.by.note.clone(), told];
        let note = said.into_iter().flatten().collect::<Vec<_>>().join(". ");
        let note = Some(note).filter(|note| !note.is_empty());
        opened.step.by = Hand { note, ..grant.by.clone() };
        if let Some(ground) = &grant.ground {
            opened.step.after.calculation.set(ground.name(), ground.sentence().into());
        }
        let (refunded, rest) =
            refunded(program, conversion, &opened.step.after, left.as_ref(), grant)?;
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
    grant: &Grant,
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
        .amend(Action::Amend, target, difference, grant.by.clone())
        .map_err(|e: NoStep| e.to_string())?;
    let version = program.plans.iter().find(|v| Some(v.id) == opened.plan_version_id);
    if let (Some(rest), Some(version)) = (&rest, version) {
        step.after.calculation = wire::to_wire(rest, version.id, &version.terms).into();
        if let Some(ground) = &grant.ground {
            step.after.calculation.set(ground.name(), ground.sentence().into());
        }
    }
    Ok((Some(step), rest))
}
