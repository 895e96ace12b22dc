//! A bond that came late: what a customer had done before it was known whose it is.

use std::sync::Arc;

use crate::settlement::attribution::attribute;
use crate::settlement::attribution::bond::Bond;
use crate::settlement::decide::claimed::{Grant, Ground, claimed};
use crate::settlement::decide::hand;
use crate::settlement::facts::Facts;
use crate::settlement::{Decision, Message};

/// Decides what becomes somebody's by a bond that `message` made: whatever the customer did while it
/// holds, as long as it is nobody's. What is somebody's stays: money once given is not moved by what
/// is learnt later.
pub(super) fn decide(
    facts: &Facts,
    message: &Message,
    bond: &Bond,
) -> Vec<(Arc<Message>, Vec<Decision>)> {
    let Some(hash) = message.report.customer_hash else { return Vec::new() };
    let Some(program) = facts.programs.get(&message.program_id) else { return Vec::new() };
    let customer = (message.program_id, hash);
    let mut reopened = Vec::new();
    for (key, nobodys) in facts.known.nobodys.of(&customer) {
        let Some(conversion) = facts.conversions.get(&key) else { continue };
        let at = nobodys.report.occurred_at;
        let is_itself = conversion.conversion_id == bond.conversion_id;
        if is_itself || !bond.holds(at) || conversion.earned().next().is_some() {
            continue;
        }
        let policy = &program.policies.at(at).policy;
        let attribution = attribute(
            &facts.known.asked(message.program_id, &nobodys.report, policy),
            program,
            &facts.click_keys,
            |partner| facts.earners.contains_key(&(message.program_id, partner)),
        );
        let Some(partner) = attribution.partner() else { continue };
        let conversion_id = conversion.conversion_id;
        let grant = Grant {
            ground: Some(Ground::Bound(bond.conversion_id)),
            conversion_id,
            partner,
            click: None,
            by: hand(facts, message),
        };
        let earned = claimed(facts, &nobodys, &grant);
        let no_commission = earned.as_ref().err().cloned();
        let mut decisions =
            vec![Decision::Reattribute { conversion_id, attribution, no_commission }];
        decisions.extend(earned.into_iter().flatten());
        reopened.push((nobodys, decisions));
    }
    reopened
}
