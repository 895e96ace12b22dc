//! `conversion.created`: a new conversion and to whom it is attributed.

use crate::ids::ConversionId;
use crate::settlement::attribution::attribute;
use crate::settlement::attribution::bond::bond;
use crate::settlement::decide::earn::earn;
use crate::settlement::decide::flags::Suspicion;
use crate::settlement::decide::{price_facts, verdict};
use crate::settlement::facts::Facts;
use crate::settlement::{Decision, Message, NewConversion, OrderKey, Verdict};

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
    let policy = &program.policies.at(message.report.occurred_at).policy;
    let attribution = attribute(
        &facts.known.asked(message.program_id, &message.report, policy),
        program,
        &facts.click_keys,
        |partner| facts.earners.contains_key(&(message.program_id, partner)),
    );
    let conversion_id = ConversionId::new();
    let bond = bond(policy, &message.report, &attribution, conversion_id)
        .filter(|bond| facts.is_in_good_standing(message.program_id, bond.owner.partner));
    let path = attribution.path.as_ref();
    let suspicion = Suspicion { facts, message, click: attribution.click(), path };
    let shares = attribution.shares();
    let earned = match shares.as_slice() {
        [] => Err(format!("it is attributed to nobody: {}", attribution.as_str())),
        shares => earn(&suspicion, program, shares, conversion_id),
    };
    let no_commission = earned.as_ref().err().cloned();
    let base = price_facts(&message.report).and_then(|p| p.base().ok().flatten());
    let key_for_waiting = key.clone();
    let mut decisions = vec![Decision::Record(Box::new(NewConversion {
        conversion_id,
        key,
        content_hash: message.report.content_hash(),
        attribution,
        base,
        no_commission: no_commission.clone(),
    }))];
    decisions.extend(bond.map(Decision::Bind));
    for opened in earned.into_iter().flatten() {
        let flags = opened.raised();
        decisions.push(Decision::Commission(Box::new(opened.step)));
        decisions.extend(flags.into_iter().map(|raised| Decision::Flag(Box::new(raised))));
    }
    decisions.push(verdict(Verdict::Settled, no_commission, Some(conversion_id), false));
    admit(facts, key_for_waiting, &mut decisions);
    decisions
}

fn admit(facts: &Facts, key: OrderKey, decisions: &mut Vec<Decision>) {
    if facts.waiting.contains_key(&key) {
        decisions.push(Decision::Admit(key));
    }
}
