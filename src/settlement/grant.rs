//! Grants a claim: loads the facts of its order, decides, applies, in the caller's transaction.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::commission::store::ApplyError;
use crate::db::DbTx;
use crate::ids::{CommissionId, PartnerId, ProgramId};
use crate::settlement::decide::{Grant, claimed};
use crate::settlement::{Decided, Decision, facts_store, store};
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
    let facts = facts_store::load_facts(db, std::slice::from_ref(&message), keys, now).await?;
    let decisions = claimed(&facts, &message, grant).map_err(GrantError::EarnsNothing)?;
    let commission_id = decisions
        .iter()
        .find_map(|decision| match decision {
            Decision::Commission(step) => Some(step.after.commission_id),
            Decision::Record(_)
            | Decision::Refund { .. }
            | Decision::Restate { .. }
            | Decision::Flag(_)
            | Decision::Verdict { .. }
            | Decision::Wait(_)
            | Decision::TurnAway(_)
            | Decision::Admit(_) => None,
        })
        .ok_or_else(|| nothing("its plan pays nothing for it"))?;
    let message = Arc::new(message);
    let decided = |decision| Decided { message: Arc::clone(&message), decision };
    store::apply(db, decisions.into_iter().map(decided).collect(), now).await?;
    store::set_partner(db, program_id, grant.conversion_id, partner_id).await?;
    Ok(commission_id)
}
