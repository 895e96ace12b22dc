//! Lets an order earn after all: loads its facts, decides by the sums of now, applies, in the
//! caller's transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::click::click_id::ClickId;
use crate::clock::Timestamp;
use crate::commission::Hand;
use crate::commission::pricing;
use crate::commission::store::ApplyError;
use crate::db::DbTx;
use crate::ids::{CommissionId, PartnerId, ProgramId};
use crate::settlement::attribution::bond::{Bond, bond_to};
use crate::settlement::decide::{Grant, Ground, claimed, reopen};
use crate::settlement::facts::Facts;
use crate::settlement::order_store::Locks;
use crate::settlement::{Decided, Decision, Message, facts_store, store};
use crate::signing::{Key, KeyRing};

/// Why a claim is not granted; nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// The order earns nothing.
    #[error("{0}")]
    EarnsNothing(String),
    /// It could not be written.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

impl From<sqlx::Error> for GrantError {
    fn from(error: sqlx::Error) -> Self {
        Self::Apply(error.into())
    }
}

/// Makes the commission of an order that earned nothing, and returns it.
pub async fn grant(
    db: &mut DbTx,
    keys: (&KeyRing, &Key),
    (program_id, partner_id): (ProgramId, PartnerId),
    grant: &Grant,
    now: Timestamp,
) -> Result<CommissionId, GrantError> {
    let nothing = |why: &str| GrantError::EarnsNothing(why.to_owned());
    let found = store::find_message(db, program_id, grant.conversion_id).await?;
    let message = found.ok_or_else(|| nothing("the order is not there"))?;
    let mut facts =
        facts_store::load_facts(db, Locks::OfOrders, std::slice::from_ref(&message), keys, now)
            .await?;
    let named = BTreeSet::from([(program_id, grant.partner)]);
    facts_store::load_earners(db, &mut facts, &named).await?;
    let message = Arc::new(message);
    // Decided once to learn which sums it takes, and then by what they say.
    let trial = decide(&mut facts.clone(), &message, grant)?;
    facts_store::load_sums(db, &mut facts, &trial).await?;
    let decided = decide(&mut facts, &message, grant)?;
    let commission_id = decided
        .iter()
        .find_map(|decided| match &decided.decision {
            Decision::Commission(step) => Some(step.after.commission_id),
            Decision::Record(_)
            | Decision::Refund { .. }
            | Decision::Restate { .. }
            | Decision::Bind(_)
            | Decision::Reattribute { .. }
            | Decision::Void(_)
            | Decision::Flag(_)
            | Decision::Verdict { .. }
            | Decision::Wait(_)
            | Decision::TurnAway(_)
            | Decision::Admit(_) => None,
        })
        .ok_or_else(|| nothing("its plan pays nothing for it"))?;
    store::apply(db, decided, now).await?;
    store::set_partner(db, program_id, grant.conversion_id, partner_id).await?;
    Ok(commission_id)
}

/// Decides a grant, and what becomes of it where the claimed order binds its customer: it does as if
/// it had been the partner's from the beginning.
fn decide(
    facts: &mut Facts,
    message: &Arc<Message>,
    grant: &Grant,
) -> Result<Vec<Decided>, GrantError> {
    let mut decisions = claimed(facts, message, grant).map_err(GrantError::EarnsNothing)?;
    let bond = match grant.ground {
        Some(Ground::Claim(_)) => bond_of(facts, message, grant),
        Some(Ground::Bound(_)) | None => None,
    };
    decisions.extend(bond.map(Decision::Bind));
    let mut decided = Vec::with_capacity(decisions.len());
    for decision in decisions {
        facts.absorb(message, &decision);
        decided.push(Decided { message: Arc::clone(message), decision });
    }
    if let Some(bond) = bond {
        reopen(facts, message, &bond, &mut decided);
    }
    Ok(decided)
}

fn bond_of(facts: &Facts, message: &Message, grant: &Grant) -> Option<Bond> {
    let program = facts.programs.get(&message.program_id)?;
    let policy = &program.policies.at(message.report.occurred_at).policy;
    bond_to(policy, &message.report, grant.partner, grant.conversion_id)
        .filter(|_| facts.is_in_good_standing(message.program_id, grant.partner))
}

/// Customers who turned out to have bought earlier than was known, and when.
pub type Moved = BTreeMap<(ProgramId, [u8; 32]), Timestamp>;

/// Lets what these customers bought later earn where only a customer who had bought before earns:
/// it was settled when nobody knew that. What was earned already is marked to be reckoned again.
pub async fn meet_again(
    db: &mut DbTx,
    keys: (&KeyRing, &Key),
    moved: &Moved,
    now: Timestamp,
) -> Result<(), ApplyError> {
    if moved.is_empty() {
        return Ok(());
    }
    pricing::customer_store::mark_customers(db, moved).await?;
    for unpaid in facts_store::load_unpaid(db, moved).await? {
        let click = unpaid.click_id.as_deref().map(|text| ClickId::verify(keys.0, text));
        let note = Some("its customer had bought before".to_owned());
        let granted = Grant {
            ground: None,
            conversion_id: unpaid.conversion_id,
            partner: unpaid.partner,
            click: click.and_then(Result::ok),
            by: Hand { actor: "system".into(), rule: "customer_known", note, at: now },
        };
        let whose = (unpaid.program_id, unpaid.partner_id);
        match grant(db, keys, whose, &granted, now).await {
            Ok(_) | Err(GrantError::EarnsNothing(_)) => {}
            Err(GrantError::Apply(error)) => return Err(error),
        }
    }
    Ok(())
}
