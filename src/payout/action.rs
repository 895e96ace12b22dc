//! What is done with batches and payouts: facts in, a decision, and its writing, all in the one
//! database transaction of the caller.
//!
//! Locks are taken in one order: the batch, the ledger's head, the commissions.

use std::collections::{BTreeMap, HashMap};

use sha2::{Digest as _, Sha256};

use crate::clock::Timestamp;
use crate::commission::row::{Commission, Hand, NoStep};
use crate::commission::state::{Action, Standing};
use crate::commission::store::{self as commission_store, ApplyError, Filter};
use crate::db::DbTx;
use crate::ids::{CommissionId, LedgerTransactionId, PartnerId, PayoutBatchId, PayoutId, UserId};
use crate::ledger::account::{Account, BankLabel};
use crate::ledger::posting::{LedgerTransaction, PayoutAmounts, PayoutRef};
use crate::ledger::store as ledger_store;
use crate::ledger::{Posting, PostingError};
use crate::money::{Currency, Money, MoneyError};
use crate::payout::batch::{self, BatchPlan, Owed, Period};
use crate::payout::state::{
    BatchAction, BatchState, IllegalAction, PayoutAction, act_on_batch, act_on_payout, after_result,
};
use crate::payout::store::{self, PayoutFilter, StoredFile};
use crate::payout::{Batch, Payout, file};
use crate::program::Program;

/// Commissions in one batch, at most: they are locked and rewritten in one transaction, and an
/// earlier cut-off makes two batches of a larger one.
pub const COMMISSIONS_MAX: usize = 100_000;

/// Who acts, and when.
#[derive(Clone, Debug)]
pub struct Actor {
    /// The user: four eyes compares users.
    pub user_id: UserId,
    /// How histories name the user.
    pub name: String,
    /// Now.
    pub at: Timestamp,
}

impl Actor {
    fn hand(&self, rule: &'static str) -> Hand {
        Hand { actor: self.name.clone(), rule, note: None, at: self.at }
    }
}

/// Why nothing was done; nothing was written then.
#[derive(Debug, thiserror::Error)]
pub enum PayoutError {
    /// There is no such batch or payout.
    #[error("there is no such payout or batch")]
    NotFound,
    /// The maker of a batch does not approve it.
    #[error("the batch was made by the same user")]
    SameActor,
    /// The period has a live batch.
    #[error("the period has the batch {0}")]
    PeriodTaken(PayoutBatchId),
    /// Nobody is owed enough.
    #[error("nobody is to be paid: {n_carried} partners are carried forward")]
    NothingToPay {
        /// How many are owed something and not paid.
        n_carried: usize,
    },
    /// More than one batch can hold.
    #[error("more than {COMMISSIONS_MAX} commissions are owed")]
    TooMany,
    /// The file of the batch was made in another format.
    #[error("The file of this batch was made as {0}")]
    OtherFormat(String),
    /// The state does not allow it.
    #[error(transparent)]
    Illegal(#[from] IllegalAction),
    /// A commission does not allow it.
    #[error("a commission of the payout cannot follow")]
    Step(#[from] NoStep),
    /// The ledger cannot post it.
    #[error("the payout cannot be posted")]
    Posting(#[from] PostingError),
    /// The amounts cannot be reckoned.
    #[error("the amounts cannot be reckoned")]
    Money(#[from] MoneyError),
    /// The commissions could not be written.
    #[error("the payout could not be written")]
    Apply(#[from] ApplyError),
    /// PostgreSQL refused or could not be reached.
    #[error("the payouts could not be read or written")]
    Database(#[from] sqlx::Error),
}

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
}

/// Finds out who would be paid, and locks what is owed until the transaction ends.
pub async fn survey(
    db: &mut DbTx,
    new: &NewBatch,
) -> Result<(BatchPlan, HashMap<CommissionId, Commission>), PayoutError> {
    let program_id = new.program.program_id;
    store::lock_ledger(db, program_id).await?;
    let limit = i64::try_from(COMMISSIONS_MAX + 1).unwrap_or(i64::MAX);
    let ids = store::lock_owed(db, program_id, new.currency, new.cutoff_at, limit).await?;
    if ids.len() > COMMISSIONS_MAX {
        return Err(PayoutError::TooMany);
    }
    let programs = [program_id];
    let filter = Filter { programs: Some(&programs), ids: Some(&ids), ..Filter::default() };
    let commissions = commission_store::load(db, filter, limit).await?;
    let mut by_partner: BTreeMap<PartnerId, Vec<(CommissionId, Money)>> = BTreeMap::new();
    for c in &commissions {
        by_partner.entry(c.partner_id).or_default().push((c.commission_id, c.amount));
    }
    let partners: Vec<PartnerId> = by_partner.keys().copied().collect();
    let terms = store::load_terms(db, program_id, &partners).await?;
    let owed = by_partner.into_iter().map(|(partner_id, commissions)| {
        let terms = terms.get(&partner_id);
        let own = terms.and_then(|t| t.min_payout_minor);
        Owed {
            partner_id,
            standing: terms.map_or(Standing::Blocked, |t| t.standing),
            minimum: smallest_payout(&new.program, own, new.currency),
            commissions,
        }
    });
    let plan = batch::plan(owed.collect(), new.currency)?;
    Ok((plan, commissions.into_iter().map(|c| (c.commission_id, c)).collect()))
}

/// Minimums are amounts of the program's currency; in another one they would mean another sum.
fn smallest_payout(program: &Program, own: Option<i64>, currency: Currency) -> Money {
    let is_its_own = program.currency == currency.code();
    Money::new(if is_its_own { own.unwrap_or(program.min_payout_minor) } else { 0 }, currency)
}

/// Makes a batch: reserves what it pays.
pub async fn create(
    db: &mut DbTx,
    new: NewBatch,
    by: &Actor,
) -> Result<(Batch, BatchPlan), PayoutError> {
    let mut batch = Batch {
        program_id: new.program.program_id,
        payout_batch_id: PayoutBatchId::new(),
        period: new.period.to_string(),
        total: Money::zero(new.currency),
        n_payouts: 0,
        cutoff_at: new.cutoff_at,
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
        postings.push(Posting::payout_reserve(of, untaxed(payout.amount))?);
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
    store::insert_payouts(db, &batch, &payouts).await?;
    store::insert_carried_forward(db, &batch, &plan.carried_forward).await?;
    commission_store::apply(db, steps, by.at).await?;
    batch.total = plan.total;
    batch.n_payouts = i64::try_from(plan.payouts.len()).unwrap_or(i64::MAX);
    Ok((batch, plan))
}

/// Partners' tax profiles are not kept yet, so nothing is added and nothing is withheld.
fn untaxed(net: Money) -> PayoutAmounts {
    let nothing = Money::zero(net.currency);
    PayoutAmounts { net, vat: nothing, withheld: nothing }
}

/// Approves a draft, as another user than its maker.
pub async fn approve(db: &mut DbTx, id: PayoutBatchId, by: &Actor) -> Result<Batch, PayoutError> {
    let mut batch = store::lock_batch(db, id).await?.ok_or(PayoutError::NotFound)?;
    batch.state = act_on_batch(batch.state, BatchAction::Approve)?;
    if batch.created_by == by.user_id {
        return Err(PayoutError::SameActor);
    }
    batch.approved_by = Some(by.user_id);
    batch.approved_at = Some(by.at);
    move_all(db, &batch, PayoutAction::Approve, by).await?;
    store::update_batch(db, &batch).await?;
    Ok(batch)
}

/// Calls a batch off; everything in it is owed again.
pub async fn cancel(db: &mut DbTx, id: PayoutBatchId, by: &Actor) -> Result<Batch, PayoutError> {
    let mut batch = store::lock_batch(db, id).await?.ok_or(PayoutError::NotFound)?;
    batch.state = act_on_batch(batch.state, BatchAction::Cancel)?;
    let payouts = move_all(db, &batch, PayoutAction::Cancel, by).await?;
    let mut undone = Vec::with_capacity(payouts.len());
    for payout in &payouts {
        undone.push(Posting::payout_cancel(reference(payout, by.at), &reserve(payout, by.at)?)?);
    }
    ledger_store::post(db, by.at, undone).await?;
    move_commissions(db, &payouts, Action::CancelPayout, by.hand("payout_canceled")).await?;
    store::update_batch(db, &batch).await?;
    Ok(batch)
}

/// Returns the file of a batch, and whether this call made it.
///
/// The first call takes the batch to the bank: every payout that is still approved is in the file
/// and is processing from then on. What was paid by hand before is not.
pub async fn export(
    db: &mut DbTx,
    id: PayoutBatchId,
    format: &str,
    by: &Actor,
) -> Result<(StoredFile, Batch, bool), PayoutError> {
    let mut batch = store::lock_batch(db, id).await?.ok_or(PayoutError::NotFound)?;
    if let Some(file) = store::find_file(db, &batch).await? {
        if file.format != format {
            return Err(PayoutError::OtherFormat(file.format));
        }
        return Ok((file, batch, false));
    }
    batch.state = act_on_batch(batch.state, BatchAction::Export)?;
    let mut payouts = load_all(db, id).await?;
    payouts.retain(|p| act_on_payout(p.state, PayoutAction::Export).is_ok());
    let bytes = file::csv(&payouts);
    let sha256 = Sha256::digest(&bytes).to_vec();
    let file = StoredFile { format: format.to_owned(), bytes, sha256 };
    for payout in &mut payouts {
        payout.state = act_on_payout(payout.state, PayoutAction::Export)?;
    }
    store::update_payouts(db, batch.program_id, &payouts, by.at).await?;
    store::insert_file(db, &batch, &file, by.at).await?;
    store::update_batch(db, &batch).await?;
    Ok((file, batch, true))
}

/// What the bank said about a payout.
#[derive(Clone, Debug)]
pub enum BankResult {
    /// It was paid.
    Paid {
        /// What the bank calls the payment.
        bank_reference: String,
        /// When.
        paid_at: Timestamp,
        /// From which account.
        bank: BankLabel,
    },
    /// It was refused.
    Failed {
        /// Why.
        reason: String,
    },
    /// It was paid, and came back.
    Returned {
        /// Why.
        reason: String,
    },
}

/// Takes in what the bank said: ledger, commissions, payout and batch together.
pub async fn settle(
    db: &mut DbTx,
    id: PayoutId,
    result: BankResult,
    by: &Actor,
) -> Result<Payout, PayoutError> {
    let found = store::find_payout(db, id).await?.ok_or(PayoutError::NotFound)?;
    let batch = store::lock_batch(db, found.payout_batch_id).await?;
    let mut batch = batch.ok_or(PayoutError::NotFound)?;
    // Again, now that nobody else can change it.
    let mut payout = store::find_payout(db, id).await?.ok_or(PayoutError::NotFound)?;
    let of = reference(&payout, by.at);
    let (action, commission_action, rule) = match result {
        BankResult::Paid { bank_reference, paid_at, bank } => {
            payout.state = act_on_payout(payout.state, PayoutAction::Pay)?;
            let of = PayoutRef { effective_at: paid_at, ..of };
            let posting = Posting::payout_pay(of, untaxed(payout.amount), bank)?;
            payout.pay_transaction_id = Some(post_one(db, posting, by.at).await?);
            payout.bank_reference = Some(bank_reference);
            payout.paid_at = Some(paid_at);
            (PayoutAction::Pay, Action::Pay, "payout_paid")
        }
        BankResult::Failed { reason } => {
            payout.state = act_on_payout(payout.state, PayoutAction::Fail)?;
            let posting = Posting::payout_fail(of, &reserve(&payout, by.at)?)?;
            post_one(db, posting, by.at).await?;
            payout.failure_reason = Some(reason);
            (PayoutAction::Fail, Action::FailPayout, "payout_failed")
        }
        BankResult::Returned { reason } => {
            payout.state = act_on_payout(payout.state, PayoutAction::Return)?;
            let bank = paid_from(db, &payout).await?;
            let posting = Posting::payout_return(of, untaxed(payout.amount), bank)?;
            post_one(db, posting, by.at).await?;
            payout.failure_reason = Some(reason);
            (PayoutAction::Return, Action::ReturnPayout, "payout_returned")
        }
    };
    tracing::info!(payout.id = %id, "payout {id}: {}", action.code());
    let one = std::slice::from_ref(&payout);
    move_commissions(db, one, commission_action, by.hand(rule)).await?;
    store::update_payouts(db, payout.program_id, one, by.at).await?;
    let states = store::load_states(db, &batch).await?;
    batch.state = after_result(batch.state, &states);
    store::update_batch(db, &batch).await?;
    Ok(payout)
}

async fn load_all(db: &mut DbTx, id: PayoutBatchId) -> Result<Vec<Payout>, sqlx::Error> {
    // Every payout has a commission, so there are no more of them.
    let limit = i64::try_from(COMMISSIONS_MAX).unwrap_or(i64::MAX);
    let filter = PayoutFilter { batch: Some(id), ..PayoutFilter::default() };
    store::load_payouts(db, filter, limit).await
}

/// Takes every payout of a batch along; one that cannot follow stops all.
async fn move_all(
    db: &mut DbTx,
    batch: &Batch,
    action: PayoutAction,
    by: &Actor,
) -> Result<Vec<Payout>, PayoutError> {
    let mut payouts = load_all(db, batch.payout_batch_id).await?;
    for payout in &mut payouts {
        payout.state = act_on_payout(payout.state, action)?;
    }
    store::update_payouts(db, batch.program_id, &payouts, by.at).await?;
    Ok(payouts)
}

async fn move_commissions(
    db: &mut DbTx,
    payouts: &[Payout],
    action: Action,
    by: Hand,
) -> Result<(), PayoutError> {
    let Some(first) = payouts.first() else { return Ok(()) };
    let ids = store::load_held(db, first.program_id, payouts).await?;
    let programs = [first.program_id];
    let filter = Filter { programs: Some(&programs), ids: Some(&ids), ..Filter::default() };
    let limit = i64::try_from(ids.len()).unwrap_or(i64::MAX);
    let held = commission_store::load(db, filter, limit).await?;
    let steps: Result<Vec<_>, _> =
        held.iter().map(|c| c.take(action, Standing::Good, false, by.clone())).collect();
    Ok(commission_store::apply(db, steps?, by.at).await?)
}

async fn post_one(
    db: &mut DbTx,
    posting: Posting,
    now: Timestamp,
) -> Result<LedgerTransactionId, sqlx::Error> {
    let written = ledger_store::post(db, now, vec![posting]).await?;
    Ok(written.first().expect("each posting is answered by its transaction").id)
}

fn reference(payout: &Payout, effective_at: Timestamp) -> PayoutRef {
    PayoutRef {
        program: payout.program_id,
        partner: payout.partner_id,
        payout: payout.payout_id,
        effective_at,
    }
}

/// Returns the reserve of a payout as the ledger holds it: made anew, because its accounts and
/// amounts follow from the payout alone.
fn reserve(payout: &Payout, at: Timestamp) -> Result<LedgerTransaction, PostingError> {
    let posting = Posting::payout_reserve(reference(payout, at), untaxed(payout.amount))?;
    Ok(LedgerTransaction { id: payout.reserve_transaction_id, recorded_at: at, posting })
}

/// Returns the account that a payout was paid from: that is where it comes back to.
async fn paid_from(db: &mut DbTx, payout: &Payout) -> Result<BankLabel, PayoutError> {
    let unreadable = || sqlx::Error::Decode("a paid payout has no bank account".into());
    let id = payout.pay_transaction_id.ok_or_else(unreadable)?;
    let path = store::find_bank_path(db, payout.program_id, id).await?.ok_or_else(unreadable)?;
    match path.parse() {
        Ok(Account::Bank(_, label)) => Ok(label),
        Ok(_) | Err(_) => Err(unreadable().into()),
    }
}
