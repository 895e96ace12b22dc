//! What the partners of a conversion earn: the plan of its time, applied to each one's share.

use std::sync::Arc;

use crate::commission::hold::{self, PostbackApproval};
use crate::commission::plan::arithmetic::Arithmetic;
use crate::commission::plan::{Inputs, Split, version_at, wire};
use crate::commission::pricing::reported::told;
use crate::commission::state::Reason;
use crate::commission::{
    Calculation, Commission, CommissionKind, CommissionState, Hand, PlanVersion,
};
use crate::ids::{CommissionId, ConversionId, PartnerId};
use crate::settlement::decide::flags::{Opened, Suspicion};
use crate::settlement::decide::{hand, price_facts};
use crate::settlement::facts::{Facts, ProgramFacts};
use crate::settlement::{Earner, Message, Share};

/// Returns the openings of the commissions that its partners earn, or why there are none.
///
/// `shares` is not empty.
pub(super) fn earn(
    of: &Suspicion<'_>,
    program: &ProgramFacts,
    shares: &[Share],
    conversion_id: ConversionId,
) -> Result<Vec<Opened>, String> {
    if of.message.report.is_test {
        return Err("a test conversion earns nothing".to_owned());
    }
    let shares = one_each(shares);
    let weights: Vec<u32> = shares.iter().map(|share| share.weight).collect();
    let (mut opened, mut reasons) = (Vec::new(), Vec::new());
    for (index, share) in shares.iter().enumerate() {
        let is_shared = shares.len() > 1;
        let split = is_shared.then(|| Split { index, weights: weights.clone() });
        match earn_share(of, program, *share, split, conversion_id) {
            Ok(one) => opened.extend(one),
            // One partner's terms may pay nothing; the others keep their parts.
            Err(reason) => reasons.push(reason),
        }
    }
    if opened.is_empty() { Err(reasons.join("; ")) } else { Ok(opened) }
}

/// Joins the parts of a partner who has several, so that each has one commission of a conversion.
fn one_each(shares: &[Share]) -> Vec<Share> {
    let mut joined: Vec<Share> = Vec::with_capacity(shares.len());
    for share in shares {
        match joined.iter_mut().find(|known| known.partner == share.partner) {
            Some(known) => known.weight = known.weight.saturating_add(share.weight),
            None => joined.push(*share),
        }
    }
    joined
}

fn earn_share(
    of: &Suspicion<'_>,
    program: &ProgramFacts,
    share: Share,
    split: Option<Split>,
    conversion_id: ConversionId,
) -> Result<Vec<Opened>, String> {
    let Suspicion { facts, message, .. } = *of;
    let program_id = message.program_id;
    let earner = facts
        .earners
        .get(&(program_id, share.partner))
        .ok_or("it is attributed to nobody: not_enrolled")?;
    let version = version_at(&program.plans, message.report.occurred_at)
        .ok_or("no edition of the plan was in force when it happened")?;
    let inputs = inputs(facts, message, version, earner.partner_id, split)?;
    let priced = facts.pricing.price(program_id, &version.terms, &inputs);
    let calculation = Arc::new(priced.map_err(|e| e.to_string())?);
    let by = hand(facts, message);
    let reported = (message, facts.postback_approval(message.source_id));
    let row = row(reported, *earner, version, &calculation, conversion_id, &by);
    let counted = match row.state {
        CommissionState::Rejected => Vec::new(),
        CommissionState::Pending
        | CommissionState::OnHold
        | CommissionState::Approved
        | CommissionState::Reversed
        | CommissionState::Paid => facts.pricing.counted(program_id, &calculation),
    };
    let recruiter = recruiter_row(&row, &calculation);
    let mut opened = of.open(row, share.partner, by.clone()).map_err(|e| e.to_string())?;
    opened.step.arrival = facts.pricing.arrival(&calculation, &counted);
    opened.step.counted = counted;
    let mut all = vec![opened];
    if let Some(mut row) = recruiter {
        // Whatever holds the partner's commission up holds this one up, too.
        row.state = all[0].step.after.state;
        row.reason.clone_from(&all[0].step.after.reason);
        all.push(Opened::unsuspicious(row.open(by).map_err(|e| e.to_string())?));
    }
    Ok(all)
}

/// Returns what a conversion is priced from for one of its partners.
fn inputs(
    facts: &Facts,
    message: &Message,
    version: &PlanVersion,
    partner_id: PartnerId,
    split: Option<Split>,
) -> Result<Inputs, String> {
    let report = &message.report;
    let priced = price_facts(report).ok_or("no plan pays for this event")?;
    let at = report.occurred_at;
    let around = facts.pricing.around(message.program_id, partner_id, at, &told(report));
    let rate = facts.pricing.rate_by(message.program_id, &version.terms, &priced, at);
    Ok(Inputs { split, rate, ..Inputs::new(priced, around) })
}

fn row(
    (message, postbacks): (&Message, PostbackApproval),
    earner: Earner,
    version: &PlanVersion,
    calculation: &Arc<Calculation>,
    conversion_id: ConversionId,
    by: &Hand,
) -> Commission {
    let occurred_at = message.report.occurred_at;
    let (state, reason) = if earner.is_in_good_standing {
        (CommissionState::Pending, None)
    } else {
        (CommissionState::Rejected, Some(Reason::IneligiblePartner.code().to_owned()))
    };
    Commission {
        program_id: message.program_id,
        commission_id: CommissionId::new(),
        kind: CommissionKind::Earned,
        state,
        partner_id: earner.partner_id,
        conversion_id: Some(conversion_id),
        corrects_id: None,
        cause: String::new(),
        amount: calculation.total,
        plan_version_id: Some(version.id),
        calculation: Arithmetic::reckoned(calculation.clone(), version.id, version.terms.clone()),
        occurred_at,
        hold_until: hold::until(
            occurred_at,
            told(&message.report).delivered_at,
            calculation.inputs.facts.event,
            &version.terms,
        ),
        approval: hold::approval(version.terms.approval, message.trust, postbacks),
        created_at: by.at,
        approved_at: None,
        reason,
        payout_id: None,
        revision: 1,
    }
}

/// Returns what the recruiter has of a commission that is opened.
fn recruiter_row(of: &Commission, calculation: &Calculation) -> Option<Commission> {
    let part = calculation.recruiter?;
    let is_refused = of.state == CommissionState::Rejected;
    if is_refused || part.partner_id == of.partner_id {
        return None;
    }
    Some(Commission {
        commission_id: CommissionId::new(),
        kind: CommissionKind::Recruiter,
        partner_id: part.partner_id,
        corrects_id: Some(of.commission_id),
        // One recruiter may have brought several of the partners of a conversion.
        cause: of.commission_id.to_string(),
        amount: part.amount,
        calculation: wire::recruiter_wire(of.commission_id, calculation)?.into(),
        ..of.clone()
    })
}
