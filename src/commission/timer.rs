//! What time does to commissions: it approves those whose hold is over, and holds for review what
//! looks wrong by then.

use crate::clock::Timestamp;
use crate::commission::row::{Commission, Hand, NoStep, Step};
use crate::commission::state::{Action, Reason, Standing};
use crate::commission::store::{self, ApplyError};
use crate::db::Db;
use crate::fraud::{self, Flag, RaisedFlag, gate};

/// Commissions approved in one transaction, at most.
const BATCH_MAX: i64 = 1000;

/// Approves what is due and returns how many were approved.
///
/// Rows that another process works on are passed over, so two of these running at once do no harm.
pub async fn approve_due(db: &Db, now: Timestamp) -> Result<u64, ApplyError> {
    let mut n_approved = 0;
    loop {
        let mut db_tx = db.begin().await?;
        let due = store::lock_due(&mut db_tx, now, BATCH_MAX).await?;
        let n_due = due.len();
        // The query asks what the rule asks; what the rule still refuses stays pending.
        let ids: Vec<_> = due.iter().map(|c| (c.program_id, c.commission_id)).collect();
        let mut flags = gate::review(&mut db_tx, &ids, now).await?;
        let mut raised = Vec::new();
        let mut steps = Vec::new();
        for commission in &due {
            let flags = flags.remove(&commission.commission_id).unwrap_or_default();
            let step = if flags.is_empty() {
                let by = Hand { actor: "system".into(), rule: "hold_elapsed", note: None, at: now };
                let step = commission.take(Action::ApproveDue, Standing::Good, false, by);
                n_approved += u64::from(step.is_ok());
                step
            } else {
                hold(commission, &flags, now)
            };
            let (program_id, commission_id) = (commission.program_id, commission.commission_id);
            let raise = |flag| RaisedFlag { program_id, commission_id, flag };
            raised.extend(flags.into_iter().map(raise));
            steps.extend(step.ok());
        }
        let n_steps = steps.len();
        store::apply(&mut db_tx, steps, now).await?;
        fraud::store::insert_flags(&mut db_tx, &raised, now).await?;
        db_tx.commit().await?;
        if n_due < usize::try_from(BATCH_MAX).unwrap_or(usize::MAX) || n_steps == 0 {
            return Ok(n_approved);
        }
    }
}

/// Puts a commission on hold for review, with the rules that spoke as its reason.
fn hold(commission: &Commission, flags: &[Flag], now: Timestamp) -> Result<Step, NoStep> {
    let note = Some(fraud::note(flags));
    let by = Hand { actor: "system".into(), rule: "flags", note, at: now };
    let mut step = commission.take(Action::Hold(Reason::Fraud), Standing::Good, false, by)?;
    step.after.reason = Some(fraud::reason(flags));
    Ok(step)
}
