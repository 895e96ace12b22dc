//! What time does to commissions: it approves those whose hold is over, holds for review what
//! looks wrong by then, and reckons the periods of those again that came out of order.

use crate::clock::Timestamp;
use crate::commission::pricing;
use crate::commission::pricing::revalue::{Revalued, Terms};
use crate::commission::pricing::store::ProgramPlans;
use crate::commission::row::{Commission, Hand, NoStep, Step};
use crate::commission::state::{Action, Reason, Standing};
use crate::commission::store::{self, ApplyError};
use crate::db::{Db, DbTx};
use crate::fraud::{self, Flag, RaisedFlag, gate};
use crate::ids::{PartnerId, ProgramId};

/// Commissions approved in one transaction, at most.
const BATCH_MAX: i64 = 1000;

/// Partners whose periods are reckoned again in one round, at most.
const MARKED_MAX: i64 = 100;

/// Reckons marked periods again and returns for how many partners.
pub async fn revalue_marked(db: &Db, now: Timestamp) -> Result<u64, ApplyError> {
    let mut n_done = 0;
    let mut db_tx = db.begin().await?;
    let marked = pricing::store::marked(&mut db_tx, None, MARKED_MAX).await?;
    db_tx.commit().await?;
    let mut failed = None;
    for (program_id, partner_id) in marked {
        let mut db_tx = db.begin().await?;
        // One partner whose periods cannot be reckoned must not hold up the others.
        match revalue(&mut db_tx, program_id, partner_id, now).await {
            Ok(is_done) => {
                db_tx.commit().await?;
                n_done += u64::from(is_done);
            }
            Err(error) => failed = Some(error),
        }
    }
    if let Some(error) = failed {
        return Err(error);
    }
    Ok(n_done)
}

/// Fixes a program's tiers, caps and budgets for what happened before `until`: whatever is marked
/// is reckoned once more, and never again. To be called when a period is closed, in the same
/// transaction; until that ends, nobody else reckons the program's periods.
pub async fn fix_period(
    db: &mut DbTx,
    program_id: ProgramId,
    until: Timestamp,
    now: Timestamp,
) -> Result<(), ApplyError> {
    pricing::store::lock_program(db, program_id).await?;
    let program = pricing::store::hold_program(db, program_id).await?;
    let terms = terms(program_id, &program, now);
    let marked = pricing::store::marked(db, Some(program_id), i64::MAX).await?;
    // All locks before the first posting, in the order in which settlement takes them, too.
    let group = |(_, partner_id): &(_, PartnerId)| (program_id, terms.group_of(*partner_id));
    pricing::store::lock_groups(db, &marked.iter().map(group).collect()).await?;
    let mut steps = Vec::new();
    for (_, partner_id) in marked {
        if let Some(done) = reckon(db, &terms, terms.group_of(partner_id)).await? {
            pricing::store::write_sums(db, &done.sums).await?;
            steps.extend(done.steps);
        }
    }
    store::apply(db, steps, now).await?;
    Ok(pricing::store::fix(db, program_id, until).await?)
}

/// Reckons the periods of a partner again, or of the whole program where something is counted for
/// all together; false when another process has done it.
async fn revalue(
    db: &mut DbTx,
    program_id: ProgramId,
    partner_id: PartnerId,
    now: Timestamp,
) -> Result<bool, ApplyError> {
    let program = pricing::store::hold_program(db, program_id).await?;
    let terms = terms(program_id, &program, now);
    let partner = terms.group_of(partner_id);
    pricing::store::lock_groups(db, &[(program_id, partner)].into()).await?;
    let Some(done) = reckon(db, &terms, partner).await? else { return Ok(false) };
    store::apply(db, done.steps, now).await?;
    pricing::store::write_sums(db, &done.sums).await?;
    Ok(true)
}

fn terms(program_id: ProgramId, program: &ProgramPlans, now: Timestamp) -> Terms<'_> {
    Terms {
        program_id,
        versions: &program.versions,
        zone: program.zone,
        fixed_until: program.fixed_until,
        now,
    }
}

/// Takes the marks of a group and reckons what they touch; none when somebody else took them.
async fn reckon(
    db: &mut DbTx,
    terms: &Terms<'_>,
    partner: Option<PartnerId>,
) -> Result<Option<Revalued>, ApplyError> {
    let program_id = terms.program_id;
    let Some(from_at) = pricing::store::take_marks(db, program_id, partner).await? else {
        return Ok(None);
    };
    let floor = terms.floor(from_at);
    // A day earlier than any time zone could make it; what is too early is only counted.
    let since = (floor - chrono::Days::new(1)).and_time(chrono::NaiveTime::MIN).and_utc();
    pricing::store::lock_earned(db, program_id, partner, since).await?;
    let earned =
        pricing::store::load_earned(db, program_id, partner, since, terms.ask_customers()).await?;
    let clicks = pricing::store::load_clicks(db, program_id, partner, since).await?;
    let done = terms.revalue(&earned, &clicks, floor).map_err(|error| {
        tracing::error!("periods of {program_id} cannot be reckoned again: {error}");
        ApplyError::Stale
    })?;
    pricing::store::clear_sums(db, program_id, partner, floor).await?;
    Ok(Some(done))
}

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
