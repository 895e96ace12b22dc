//! What the partners of a conversion earn: the plan of its time, applied to each one's share.

use crate::commission::hold::{self, PostbackApproval};
use crate::commission::plan::{Split, price, version_at};
use crate::commission::state::Reason;
use crate::commission::{
    Calculation, Commission, CommissionKind, CommissionState, Hand, PlanVersion,
};
use crate::ids::{CommissionId, ConversionId};
use crate::settlement::decide::flags::{Opened, Suspicion};
use crate::settlement::decide::{hand, price_facts};
use crate::settlement::facts::ProgramFacts;
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
            Ok(one) => opened.push(one),
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
) -> Result<Opened, String> {
    let Suspicion { facts, message, .. } = *of;
    let earner = facts
        .earners
        .get(&(message.program_id, share.partner))
        .ok_or("it is attributed to nobody: not_enrolled")?;
    let version = version_at(&program.plans, message.report.occurred_at)
        .ok_or("no edition of the plan was in force when it happened")?;
    let priced = price_facts(&message.report).ok_or("no plan pays for this event")?;
    let calculation = price(&version.terms, &priced).map_err(|e| e.to_string())?;
    let calculation = calculation.for_part(split).map_err(|e| e.to_string())?;
    let by = hand(facts, message);
    let row = row(message, *earner, version, &calculation, conversion_id, &by);
    of.open(row, share.partner, by).map_err(|e| e.to_string())
}

fn row(
    message: &Message,
    earner: Earner,
    version: &PlanVersion,
    calculation: &Calculation,
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
        conversion_id,
        corrects_id: None,
        cause: String::new(),
        amount: calculation.total,
        plan_version_id: Some(version.id),
        calculation: explain(calculation, version),
        occurred_at,
        hold_until: hold::hold_until(occurred_at, &version.terms),
        approval: hold::approval(
            version.terms.approval,
            message.trust,
            PostbackApproval::default(),
        ),
        created_at: by.at,
        approved_at: None,
        reason,
        payout_id: None,
        revision: 1,
    }
}

/// Returns the arithmetic as data and as a sentence, for the answer of the API.
pub(super) fn explain(calculation: &Calculation, version: &PlanVersion) -> serde_json::Value {
    serde_json::json!({
        "plan_version_id": version.id,
        "rule": calculation.rule_index,
        "base": calculation.base.map(|m| m.to_decimal_string()),
        "percent_bps": calculation.percent.map(|(rate, _)| rate.0),
        "percent_amount": calculation.percent.map(|(_, part)| part.to_decimal_string()),
        "flat": calculation.flat.map(|m| m.to_decimal_string()),
        "rounding": calculation.rounding.code(),
        "whole": calculation.whole.to_decimal_string(),
        "split": calculation.split.as_ref().map(Split::to_wire),
        "total": calculation.total.to_decimal_string(),
        "currency": calculation.total.currency.code(),
        "sentence": calculation.sentence(),
    })
}
