//! Pays for the clicks of days that are over: loads, decides, applies; each click once, however many
//! of these run at the same time and however often.

use std::collections::{BTreeSet, HashMap};

use chrono::TimeDelta;

use super::store::{self, Changed};
use super::{PartnerDay, Payer, days};
use crate::clock::Timestamp;
use crate::commission::plan::Owner;
use crate::commission::pricing::store::ProgramPlans;
use crate::commission::pricing::{self, Needs, PricingFacts, SumKey};
use crate::commission::row::Step;
use crate::commission::store::{ApplyError, apply};
use crate::db::{Db, DbTx};
use crate::ids::{PartnerId, ProgramId};

/// How often the clicks of a program are looked at: each look reads the sums of weeks.
const PAUSE: TimeDelta = TimeDelta::minutes(15);

/// Partners' days paid in one transaction, at most.
const BATCH_MAX: i64 = 500;

/// Pays for what is due and returns how many commissions were made.
pub async fn accrue_due(db: &Db, now: Timestamp) -> Result<u64, ApplyError> {
    let since = now - PAUSE;
    let due = store::due_programs(&mut *db.acquire().await?, since).await?;
    let (mut n_made, mut failed) = (0, None);
    for program_id in due {
        // One program whose clicks cannot be paid must not hold up the others.
        match accrue(db, program_id, since, now).await {
            Ok(n) => n_made += n,
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(n_made),
    }
}

async fn accrue(
    db: &Db,
    program_id: ProgramId,
    since: Timestamp,
    now: Timestamp,
) -> Result<u64, ApplyError> {
    let mut n_made = 0;
    loop {
        let mut db_tx = db.begin().await?;
        if !store::begin_run(&mut db_tx, program_id, since).await? {
            db_tx.rollback().await?;
            return Ok(n_made);
        }
        let program = pricing::store::hold_program(&mut db_tx, program_id).await?;
        let days = days(&program.versions, program.zone, now);
        let changed = store::load_changed(&mut db_tx, program_id, &days, BATCH_MAX).await?;
        n_made += pay(&mut db_tx, program_id, &program, &changed, now).await?;
        let is_all = changed.len() < usize::try_from(BATCH_MAX).unwrap_or(usize::MAX);
        if is_all {
            store::end_run(&mut db_tx, program_id, now).await?;
        }
        db_tx.commit().await?;
        if is_all {
            return Ok(n_made);
        }
    }
}

async fn pay(
    db: &mut DbTx,
    program_id: ProgramId,
    program: &ProgramPlans,
    changed: &[Changed],
    now: Timestamp,
) -> Result<u64, ApplyError> {
    if changed.is_empty() {
        return Ok(0);
    }
    let payer = Payer { program_id, versions: &program.versions, now };
    let needs = program.versions.iter().map(|version| Needs::of(&version.terms));
    let needs = HashMap::from([(program_id, needs.fold(Needs::default(), Needs::or))]);
    let mut facts = pricing::store::load_facts(db, &needs, &[]).await?;
    facts.zones.insert(program_id, program.zone);
    lock(db, program_id, program, changed).await?;
    let days = store::load_days(db, program_id, changed).await?;
    // Decided once to learn which sums it takes, and then by what they say.
    let trial = decide(&payer, &mut facts.clone(), &days)?;
    let keys: BTreeSet<SumKey> =
        trial.iter().flat_map(|step| &step.counted).map(|counted| counted.key).collect();
    facts.sums = pricing::store::load_sums(db, &keys).await?;
    let steps = decide(&payer, &mut facts, &days)?;
    let n_made = steps.len() as u64;
    apply(db, steps, now).await?;
    store::write_seen(db, program_id, changed).await?;
    Ok(n_made)
}

/// Keeps settlement from counting for the same partners meanwhile.
async fn lock(
    db: &mut DbTx,
    program_id: ProgramId,
    program: &ProgramPlans,
    changed: &[Changed],
) -> Result<(), sqlx::Error> {
    let mut counters = program.versions.iter().flat_map(|version| version.terms.counters());
    let is_whole = counters.any(|counter| counter.owner == Owner::Program);
    let group = |one: &Changed| (program_id, Some(one.partner_id).filter(|_| !is_whole));
    let groups: BTreeSet<(ProgramId, Option<PartnerId>)> = changed.iter().map(group).collect();
    pricing::store::lock_groups(db, &groups).await
}

fn decide(
    payer: &Payer<'_>,
    facts: &mut PricingFacts,
    days: &[PartnerDay],
) -> Result<Vec<Step>, ApplyError> {
    let mut steps = Vec::new();
    for day in days {
        let paid = payer.pay(facts, day).map_err(|error| {
            tracing::error!("the clicks of {} cannot be paid: {error}", day.partner_id);
            ApplyError::Stale
        })?;
        steps.extend(paid);
    }
    Ok(steps)
}
