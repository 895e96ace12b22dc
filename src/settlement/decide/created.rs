//! `conversion.created`: a new conversion, its attribution and what it earns.

use crate::commission::hold::{self, PostbackApproval};
use crate::commission::plan::{price, version_at};
use crate::commission::state::Reason;
use crate::commission::{
    Calculation, Commission, CommissionKind, CommissionState, Hand, PlanVersion, Step,
};
use crate::ids::{CommissionId, ConversionId};
use crate::settlement::attribution::{Attribution, attribute};
use crate::settlement::decide::{hand, price_facts, verdict};
use crate::settlement::facts::{Facts, ProgramFacts};
use crate::settlement::{Decision, Earner, Message, NewConversion, OrderKey, Verdict};

/// Decides what a new conversion does.
pub(super) fn decide(facts: &Facts, message: &Message) -> Vec<Decision> {
    let key = facts.order_key(message);
    if let Some(known) = facts.conversions.get(&key) {
        let id = Some(known.conversion_id);
        return if known.content_hash == message.report.content_hash() {
            vec![verdict(Verdict::Duplicate, None, id, false)]
        } else {
            let reason = "the order is known with other content; send conversion.updated";
            vec![verdict(Verdict::Conflict, Some(reason.to_owned()), id, false)]
        };
    }
    let Some(program) = facts.programs.get(&message.program_id) else {
        let reason = Some("the program is not there".to_owned());
        return vec![verdict(Verdict::Rejected, reason, None, false)];
    };
    let attribution = attribute(
        message.report.click_id.as_deref(),
        message.report.occurred_at,
        program,
        &facts.click_keys,
        |partner| facts.earners.contains_key(&(message.program_id, partner)),
    );
    let conversion_id = ConversionId::new();
    let earned = earn(facts, message, program, attribution, conversion_id);
    let no_commission = earned.as_ref().err().cloned();
    let base = price_facts(&message.report).and_then(|p| p.base().ok().flatten());
    let key_for_waiting = key.clone();
    let mut decisions = vec![Decision::Record(Box::new(NewConversion {
        conversion_id,
        key,
        attribution,
        base,
        no_commission: no_commission.clone(),
    }))];
    decisions.extend(earned.ok().map(|step| Decision::Commission(Box::new(step))));
    decisions.push(verdict(Verdict::Settled, no_commission, Some(conversion_id), false));
    admit(facts, key_for_waiting, &mut decisions);
    decisions
}

fn admit(facts: &Facts, key: OrderKey, decisions: &mut Vec<Decision>) {
    if facts.waiting.contains_key(&key) {
        decisions.push(Decision::Admit(key));
    }
}

/// Returns the opening of the commission, or why there is none.
fn earn(
    facts: &Facts,
    message: &Message,
    program: &ProgramFacts,
    attribution: Attribution,
    conversion_id: ConversionId,
) -> Result<Step, String> {
    if message.report.is_test {
        return Err("a test conversion earns nothing".to_owned());
    }
    let Attribution::Click { partner, .. } = attribution else {
        return Err(format!("it is attributed to nobody: {}", attribution.as_str()));
    };
    let earner = facts
        .earners
        .get(&(message.program_id, partner))
        .ok_or("it is attributed to nobody: not_enrolled")?;
    let version = version_at(&program.plans, message.report.occurred_at)
        .ok_or("no edition of the plan was in force when it happened")?;
    let priced = price_facts(&message.report).ok_or("no plan pays for this event")?;
    let calculation = price(&version.terms, &priced).map_err(|e| e.to_string())?;
    let by = hand(facts, message);
    let row = row(message, *earner, version, &calculation, conversion_id, &by);
    row.open(by).map_err(|e| e.to_string())
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
        "total": calculation.total.to_decimal_string(),
        "currency": calculation.total.currency.code(),
        "sentence": calculation.sentence(),
    })
}
