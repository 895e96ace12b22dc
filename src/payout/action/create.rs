//! Making a batch: who is owed what, who is paid, and the reserve of it.

use std::collections::{BTreeMap, HashMap};

use chrono::NaiveDate;
use chrono_tz::Tz;

use super::{Actor, COMMISSIONS_MAX, PayoutError};
use crate::clock::Timestamp;
use crate::commission::row::Commission;
use crate::commission::state::Standing;
use crate::commission::store::{self as commission_store, Filter};
use crate::db::DbTx;
use crate::ids::{AdjustmentId, CommissionId, PartnerId, PayoutBatchId, PayoutId};
use crate::ledger::Posting;
use crate::ledger::posting::{PayoutAmounts, PayoutRef};
use crate::ledger::store as ledger_store;
use crate::money::{Currency, Money};
use crate::payout::Batch;
use crate::payout::batch::{self, BatchPlan, Owed};
use crate::payout::cycle::{Period, day_begins};
use crate::payout::method::store as method_store;
use crate::payout::state::BatchState;
use crate::payout::store::payouts::insert_payouts;
use crate::payout::store::{self, owed as owed_store};
use crate::payout::tax::receipts_due_before;
use crate::payout::terms::{self, Minimums};
use crate::program::Program;

/// A batch that is wanted.
#[derive(Clone, Debug)]
pub struct NewBatch {
    /// The program that pays.
    pub program: Program,
    /// What it is for.
    pub period: Period,
    /// What it pays in.
    pub currency: Currency,
    /// Commissions approved later wait for the next batch.
    pub cutoff_at: Timestamp,
    /// When the bank is to move the money.
    pub execution_on: NaiveDate,
    /// The day on which it is made, where the program is.
    pub today: NaiveDate,
}

/// What is owed to a partner, without what is known of it.
#[derive(Default)]
struct Parts {
    commissions: Vec<(CommissionId, Money)>,
    adjustments: Vec<(AdjustmentId, Money)>,
}

/// Finds out who would be paid, and locks what is owed until the transaction ends.
pub async fn survey(
    db: &mut DbTx,
    new: &NewBatch,
) -> Result<(BatchPlan, HashMap<CommissionId, Commission>), PayoutError> {
    let program_id = new.program.program_id;
    owed_store::lock_ledger(db, program_id).await?;
    let limit = i64::try_from(COMMISSIONS_MAX + 1).unwrap_or(i64::MAX);
    let ids = owed_store::lock_owed(db, program_id, new.currency, new.cutoff_at, limit).await?;
    if ids.len() > COMMISSIONS_MAX {
        return Err(PayoutError::TooMany);
    }
    let programs = [program_id];
    let filter = Filter { programs: Some(&programs), ids: Some(&ids), ..Filter::default() };
    let commissions = commission_store::load(db, filter, limit).await?;
    let mut parts: BTreeMap<PartnerId, Parts> = BTreeMap::new();
    for c in &commissions {
        parts.entry(c.partner_id).or_default().commissions.push((c.commission_id, c.amount));
    }
    let adjustments =
        owed_store::lock_adjustments(db, program_id, new.currency, new.cutoff_at, limit).await?;
    if adjustments.values().map(Vec::len).sum::<usize>() > COMMISSIONS_MAX {
        return Err(PayoutError::TooMany);
    }
    for (partner_id, adjustments) in adjustments {
        parts.entry(partner_id).or_default().adjustments = adjustments;
    }
    let owed = load_owed(db, new, parts).await?;
    let plan = batch::plan(owed, new.currency)?;
    Ok((plan, commissions.into_iter().map(|c| (c.commission_id, c)).collect()))
}

/// Joins what partners are owed with all that decides whether they are paid.
async fn load_owed(
    db: &mut DbTx,
    new: &NewBatch,
    parts: BTreeMap<PartnerId, Parts>,
) -> Result<Vec<Owed>, sqlx::Error> {
    let (program, currency) = (&new.program, new.currency);
    let partners: Vec<PartnerId> = parts.keys().copied().collect();
    let enrolled = owed_store::load_enrolled(db, program.program_id, &partners).await?;
    let minimums =
        terms::store::load_minimums(db, program.program_id, currency, &partners, new.today).await?;
    let mut taxes = method_store::load_tax_profiles(db, &partners).await?;
    let mut methods = method_store::load_methods(db, &partners).await?;
    let debtors = match receipts_due_before(new.today) {
        Some(before) => {
            let zone = program.time_zone.parse().unwrap_or(Tz::UTC);
            let before = day_begins(before, zone);
            method_store::load_receipt_debtors(db, program.program_id, &partners, before).await?
        }
        None => Vec::new(),
    };
    let owed = parts.into_iter().map(|(partner_id, parts)| {
        let enrolled = enrolled.get(&partner_id);
        let minimums = Minimums {
            of_partner: minimums.get(&Some(partner_id)).copied(),
            of_enrollment: enrolled.and_then(|e| e.min_payout_minor),
            of_program: minimums.get(&None).copied(),
            basic: program.min_payout_minor,
        };
        Owed {
            partner_id,
            standing: enrolled.map_or(Standing::Blocked, |e| e.standing),
            minimum: minimums.smallest(currency, &program.currency),
            tax: taxes.remove(&partner_id),
            owes_receipt: debtors.contains(&partner_id),
            method: methods.remove(&partner_id),
            commissions: parts.commissions,
            adjustments: parts.adjustments,
        }
    });
    Ok(owed.collect())
}

/// Makes a batch: reserves what it pays.
pub async fn create(
    db: &mut DbTx,
    new: NewBatch,
    by: &Actor,
) -> Result<(Batch, BatchPlan), PayoutError> {
    let zero = Money::zero(new.currency);
    let mut batch = Batch {
        program_id: new.program.program_id,
        payout_batch_id: PayoutBatchId::new(),
        period: new.period.to_string(),
        totals: PayoutAmounts { net: zero, vat: zero, withheld: zero },
        n_payouts: 0,
        cutoff_at: new.cutoff_at,
        execution_on: Some(new.execution_on),
        state: BatchState::Draft,
        created_by: by.user_id,
        created_at: by.at,
        approved_by: None,
        approved_at: None,
    };
    // First, so that of two creations at once the second waits here and then sees the first.
    if !store::insert_batch(db, &batch).await? {
        let live = store::find_live_batch(db, batch.program_id, &batch.period, new.currency);
        return Err(live.await?.map_or(PayoutError::NotFound, PayoutError::PeriodTaken));
    }
    let (plan, commissions) = survey(db, &new).await?;
    if plan.payouts.is_empty() {
        return Err(PayoutError::NothingToPay { n_carried: plan.carried_forward.len() });
    }
    let planned: Vec<(PayoutId, _)> =
        plan.payouts.iter().map(|p| (PayoutId::new(), p.clone())).collect();
    let mut postings = Vec::with_capacity(planned.len());
    let mut steps = Vec::with_capacity(commissions.len());
    for (payout_id, payout) in &planned {
        let of = PayoutRef {
            program: batch.program_id,
            partner: payout.partner_id,
            payout: *payout_id,
            effective_at: by.at,
        };
        postings.push(Posting::payout_reserve(of, payout.amounts)?);
        for (commission_id, _) in &payout.commissions {
            let commission = &commissions[commission_id];
            steps.push(commission.reserve(*payout_id, Standing::Good, by.hand("payout_batch"))?);
        }
    }
    let reserves = ledger_store::post(db, by.at, postings).await?;
    let payouts: Vec<_> = planned
        .into_iter()
        .zip(&reserves)
        .map(|((payout_id, payout), reserve)| (payout_id, reserve.id, payout))
        .collect();
    insert_payouts(db, &batch, &payouts).await?;
    store::insert_carried_forward(db, &batch, &plan.carried_forward).await?;
    commission_store::apply(db, steps, by.at).await?;
    batch.totals = plan.totals;
    batch.n_payouts = i64::try_from(plan.payouts.len()).unwrap_or(i64::MAX);
    Ok((batch, plan))
}
