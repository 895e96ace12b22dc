//! What is done with batches and payouts: facts in, a decision, and its writing, all in the one
//! database transaction of the caller.
//!
//! Locks are taken in one order: the batch, the ledger's head, the commissions, the adjustments.

mod create;
mod export;
mod import;
mod settle;

use chrono::Datelike as _;

use crate::clock::Timestamp;
use crate::commission::row::{Hand, NoStep};
use crate::commission::state::{Action, Standing};
use crate::commission::store::{self as commission_store, ApplyError, Filter};
use crate::db::DbTx;
use crate::ids::{PayoutBatchId, UserId};
use crate::ledger::posting::{LedgerTransaction, PayoutRef};
use crate::ledger::store as ledger_store;
use crate::ledger::{Posting, PostingError};
use crate::money::MoneyError;
use crate::payout::file::{FileError, FileFormat};
use crate::payout::method::{MethodKind, Unreadable};
use crate::payout::result::UnreadableFile;
use crate::payout::state::{BatchAction, IllegalAction, PayoutAction, act_on_batch, act_on_payout};
use crate::payout::store::payouts::{
    free_adjustments, load_held, take_document_numbers, update_payouts,
};
use crate::payout::store::{self, PayoutFilter};
use crate::payout::tax::document_no;
use crate::payout::{Batch, Payout};

pub use create::{NewBatch, create, survey};
pub use export::{Export, export};
pub use import::{Import, Imported, import};
pub use settle::{BankResult, settle, settle_all};

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
    /// No payout of the batch goes by this format.
    #[error("no approved payout of this batch goes by {code}", code = .0.code())]
    NothingForFormat(FileFormat),
    /// The account that pays is not known.
    #[error("the program has no account {label} of the kind {kind}", kind = kind.code())]
    NoPayer {
        /// The name asked for.
        label: String,
        /// The kind that the format needs.
        kind: MethodKind,
    },
    /// What was sealed cannot be opened.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// A file of results cannot be read.
    #[error(transparent)]
    Results(#[from] UnreadableFile),
    /// The file cannot be written.
    #[error("the payment file cannot be written")]
    File(#[from] FileError),
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

/// Approves a draft, as another user than its maker, and numbers the documents that we write for
/// partners.
pub async fn approve(db: &mut DbTx, id: PayoutBatchId, by: &Actor) -> Result<Batch, PayoutError> {
    let mut batch = store::lock_batch(db, id).await?.ok_or(PayoutError::NotFound)?;
    batch.state = act_on_batch(batch.state, BatchAction::Approve)?;
    if batch.created_by == by.user_id {
        return Err(PayoutError::SameActor);
    }
    batch.approved_by = Some(by.user_id);
    batch.approved_at = Some(by.at);
    let mut payouts = load_all(db, id).await?;
    move_all(&mut payouts, PayoutAction::Approve)?;
    let needs_document =
        |p: &&mut Payout| p.vat_treatment.is_some_and(|vat| vat.needs_self_billing());
    let mut documents: Vec<&mut Payout> = payouts.iter_mut().filter(needs_document).collect();
    if !documents.is_empty() {
        let (year, n) = (by.at.year(), i64::try_from(documents.len()).unwrap_or(i64::MAX));
        let first = take_document_numbers(db, batch.program_id, year, n).await?;
        for (number, payout) in (first..).zip(&mut documents) {
            payout.document_no = Some(document_no(year, number));
        }
    }
    update_payouts(db, batch.program_id, &payouts, by.at).await?;
    store::update_batch(db, &batch).await?;
    Ok(batch)
}

/// Calls a batch off; everything in it is owed again.
pub async fn cancel(db: &mut DbTx, id: PayoutBatchId, by: &Actor) -> Result<Batch, PayoutError> {
    let mut batch = store::lock_batch(db, id).await?.ok_or(PayoutError::NotFound)?;
    batch.state = act_on_batch(batch.state, BatchAction::Cancel)?;
    let mut payouts = load_all(db, id).await?;
    move_all(&mut payouts, PayoutAction::Cancel)?;
    let mut undone = Vec::with_capacity(payouts.len());
    for payout in &payouts {
        undone.push(Posting::payout_cancel(reference(payout, by.at), &reserve(payout, by.at)?)?);
    }
    ledger_store::post(db, by.at, undone).await?;
    move_commissions(db, &payouts, Action::CancelPayout, by.hand("payout_canceled")).await?;
    free_adjustments(db, batch.program_id, &payouts).await?;
    update_payouts(db, batch.program_id, &payouts, by.at).await?;
    store::update_batch(db, &batch).await?;
    Ok(batch)
}

async fn load_all(db: &mut DbTx, id: PayoutBatchId) -> Result<Vec<Payout>, sqlx::Error> {
    // Every payout has a commission or an adjustment, so there are no more of them.
    let limit = i64::try_from(2 * COMMISSIONS_MAX).unwrap_or(i64::MAX);
    let filter = PayoutFilter { batch: Some(id), ..PayoutFilter::default() };
    store::load_payouts(db, filter, limit).await
}

/// Takes payouts along; one that cannot follow stops all.
fn move_all(payouts: &mut [Payout], action: PayoutAction) -> Result<(), IllegalAction> {
    for payout in payouts {
        payout.state = act_on_payout(payout.state, action)?;
    }
    Ok(())
}

async fn move_commissions(
    db: &mut DbTx,
    payouts: &[Payout],
    action: Action,
    by: Hand,
) -> Result<(), PayoutError> {
    let Some(first) = payouts.first() else { return Ok(()) };
    let ids = load_held(db, first.program_id, payouts).await?;
    let programs = [first.program_id];
    let filter = Filter { programs: Some(&programs), ids: Some(&ids), ..Filter::default() };
    let limit = i64::try_from(ids.len()).unwrap_or(i64::MAX);
    let held = commission_store::load(db, filter, limit).await?;
    let at = by.at;
    let steps: Result<Vec<_>, _> =
        held.iter().map(|c| c.take(action, Standing::Good, false, by.clone())).collect();
    Ok(commission_store::apply(db, steps?, at).await?)
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
    let posting = Posting::payout_reserve(reference(payout, at), payout.amounts)?;
    Ok(LedgerTransaction { id: payout.reserve_transaction_id, recorded_at: at, posting })
}
