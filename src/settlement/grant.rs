//! Grants a claim: loads the facts of its order, decides, applies, in the caller's transaction.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::commission::store::ApplyError;
use crate::db::DbTx;
use crate::ids::{CommissionId, PartnerId, ProgramId};
use crate::settlement::attribution::bond::{Bond, bond_to};
use crate::settlement::decide::{Grant, claimed, reopen};
use crate::settlement::facts::Facts;
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

/// Makes the commission of a claimed order, which is nobody's, and returns it.
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
    let mut facts = facts_store::load_facts(db, std::slice::from_ref(&message), keys, now).await?;
    let mut decisions = claimed(&facts, &message, grant).map_err(GrantError::EarnsNothing)?;
    let commission_id = decisions
        .iter()
        .find_map(|decision| match decision {
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
            | Decision::Admit(_) => None,
        })
        .ok_or_else(|| nothing("its plan pays nothing for it"))?;
    let bond = bond_of(&facts, &message, grant);
    decisions.extend(bond.map(Decision::Bind));
    let message = Arc::new(message);
    let mut decided = Vec::with_capacity(decisions.len());
    for decision in decisions {
        facts.absorb(&message, &decision);
        decided.push(Decided { message: Arc::clone(&message), decision });
    }
    if let Some(bond) = bond {
        reopen(&mut facts, &message, &bond, &mut decided);
    }
    store::apply(db, decided, now).await?;
    store::set_partner(db, program_id, grant.conversion_id, partner_id).await?;
    Ok(commission_id)
}

/// Returns the bond of a conversion that is somebody's by a claim: it binds as if it had been so from
/// the beginning.
fn bond_of(facts: &Facts, message: &Message, grant: &Grant) -> Option<Bond> {
    let program = facts.programs.get(&message.program_id)?;
    let policy = &program.policies.at(message.report.occurred_at).policy;
    bond_to(policy, &message.report, grant.partner, grant.conversion_id)
        .filter(|_| facts.is_in_good_standing(message.program_id, grant.partner))
}
