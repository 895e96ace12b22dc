//! What a message does: facts in, decisions out. Pure: no database, no clock of its own.
//!
//! A message is decided once: its receipt is looked for first, so reading the stream twice
//! changes nothing. Then `created` settles a new conversion and admits what waited for it, `later`
//! applies approvals, rejections, updates and refunds to one that is there, and `reopened` makes
//! somebody's what a customer had done before it was known whose it is.

mod claimed;
mod created;
mod earn;
mod flags;
mod later;
mod reopened;

pub use self::claimed::{Grant, Ground, claimed};
pub use crate::commission::pricing::reported::price_facts;

use std::sync::Arc;

use crate::commission::Hand;
use crate::conversion::MessageType;
use crate::ids::ConversionId;
use crate::settlement::attribution::bond::Bond;
use crate::settlement::facts::Facts;
use crate::settlement::{Decided, Decision, Message, Verdict};

/// Decides a batch of messages in their order. The facts are those after it when it returns.
pub fn decide_all(facts: &mut Facts, messages: Vec<Message>) -> Vec<Decided> {
    let mut decided = Vec::new();
    for message in messages {
        decide(facts, Arc::new(message), &mut decided);
    }
    decided
}

fn decide(facts: &mut Facts, message: Arc<Message>, decided: &mut Vec<Decided>) {
    if facts.receipts.contains(&message.receipt_id) {
        return;
    }
    let id = (message.source_id, message.message_id.clone());
    let known = facts.messages.get(&id).map(|hash| *hash == message.body_hash);
    let decisions = match known {
        Some(true) => vec![verdict(Verdict::Duplicate, None, None, true)],
        Some(false) => {
            let reason = "its webhook-id was used with another body before";
            vec![verdict(Verdict::Conflict, Some(reason.to_owned()), None, true)]
        }
        None => match message.report.message_type {
            MessageType::Created => created::decide(facts, &message),
            MessageType::Updated
            | MessageType::Approved
            | MessageType::Rejected
            | MessageType::Refunded => later::decide(facts, &message),
        },
    };
    let mut admitted: Vec<Arc<Message>> = decisions
        .iter()
        .filter_map(|d| match d {
            Decision::Admit(key) => facts.waiting.get(key).cloned(),
            Decision::Record(_)
            | Decision::Refund { .. }
            | Decision::Restate { .. }
            | Decision::Bind(_)
            | Decision::Reattribute { .. }
            | Decision::Void(_)
            | Decision::Commission(_)
            | Decision::Flag(_)
            | Decision::Verdict { .. }
            | Decision::Wait(_) => None,
        })
        .flatten()
        .collect();
    // Whatever the order of arrival, they are applied in the order of their making.
    admitted.sort_by(|a, b| (a.sent_at, &a.message_id).cmp(&(b.sent_at, &b.message_id)));
    let bond = decisions.iter().find_map(|decision| bond_of(decision).copied());
    for decision in decisions {
        facts.absorb(&message, &decision);
        decided.push(Decided { message: Arc::clone(&message), decision });
    }
    for waiting in admitted {
        // Its receipt was answered with "waiting"; now it gets its true verdict.
        for decision in later::decide(facts, &waiting) {
            facts.absorb(&waiting, &decision);
            decided.push(Decided { message: Arc::clone(&waiting), decision });
        }
    }
    // Last, because what waited may have rejected what binds.
    if let Some(bond) = bond {
        reopen(facts, &message, &bond, decided);
    }
}

/// Makes somebody's what a bond, which `message` made, comes late for.
pub fn reopen(facts: &mut Facts, message: &Message, bond: &Bond, decided: &mut Vec<Decided>) {
    for (nobodys, decisions) in reopened::decide(facts, message, bond) {
        for decision in decisions {
            facts.absorb(&nobodys, &decision);
            decided.push(Decided { message: Arc::clone(&nobodys), decision });
        }
    }
}

/// Returns the bond that a decision makes.
pub fn bond_of(decision: &Decision) -> Option<&Bond> {
    match decision {
        Decision::Bind(bond) => Some(bond),
        Decision::Record(_)
        | Decision::Refund { .. }
        | Decision::Restate { .. }
        | Decision::Reattribute { .. }
        | Decision::Void(_)
        | Decision::Commission(_)
        | Decision::Flag(_)
        | Decision::Verdict { .. }
        | Decision::Wait(_)
        | Decision::Admit(_) => None,
    }
}

fn verdict(
    verdict: Verdict,
    reason: Option<String>,
    conversion_id: Option<ConversionId>,
    is_id_taken: bool,
) -> Decision {
    Decision::Verdict { verdict, reason, conversion_id, is_id_taken }
}

fn hand(facts: &Facts, message: &Message) -> Hand {
    Hand {
        actor: format!("source:{}", message.source_id),
        rule: message.report.message_type.as_str(),
        note: message.report.reason.clone(),
        at: facts.now,
    }
}

#[cfg(test)]
mod ownership_tests;
#[cfg(test)]
mod tests;
