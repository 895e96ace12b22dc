//! Taking in what a bank said: ledger, commissions, adjustments, payouts and batch together.

use super::{Actor, PayoutError, move_commissions, reference, reserve};
use crate::clock::Timestamp;
use crate::commission::state::Action;
use crate::db::DbTx;
use crate::ids::PayoutId;
use crate::ledger::Posting;
use crate::ledger::account::{Account, BankLabel};
use crate::ledger::posting::PayoutRef;
use crate::ledger::store as ledger_store;
use crate::payout::method::store::mark_returned;
use crate::payout::state::{PayoutAction, act_on_payout, after_result};
use crate::payout::store::payouts::{
    find_bank_path, free_adjustments, load_states, update_payouts,
};
use crate::payout::store::{self, find_payout};
use crate::payout::{Batch, Payout};

/// What the bank said about a payout.
#[derive(Clone, Debug, PartialEq, Eq)]
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

impl BankResult {
    /// Returns what happens to the payout.
    pub fn action(&self) -> PayoutAction {
        match self {
            Self::Paid { .. } => PayoutAction::Pay,
            Self::Failed { .. } => PayoutAction::Fail,
            Self::Returned { .. } => PayoutAction::Return,
        }
    }
}

/// Takes in what the bank said about one payout.
pub async fn settle(
    db: &mut DbTx,
    id: PayoutId,
    result: BankResult,
    by: &Actor,
) -> Result<Payout, PayoutError> {
    let found = find_payout(db, id).await?.ok_or(PayoutError::NotFound)?;
    let batch = store::lock_batch(db, found.payout_batch_id).await?;
    let mut batch = batch.ok_or(PayoutError::NotFound)?;
    // Again, now that nobody else can change it.
    let payout = find_payout(db, id).await?.ok_or(PayoutError::NotFound)?;
    let mut settled = settle_all(db, &mut batch, vec![(payout, result)], by).await?;
    settled.pop().ok_or(PayoutError::NotFound)
}

/// Takes in what the bank said about payouts of one batch, which the caller has locked.
pub async fn settle_all(
    db: &mut DbTx,
    batch: &mut Batch,
    results: Vec<(Payout, BankResult)>,
    by: &Actor,
) -> Result<Vec<Payout>, PayoutError> {
    let mut postings = Vec::with_capacity(results.len());
    let mut settled: Vec<(Payout, PayoutAction)> = Vec::with_capacity(results.len());
    for (mut payout, result) in results {
        let action = result.action();
        payout.state = act_on_payout(payout.state, action)?;
        postings.push(post(db, &mut payout, result, by.at).await?);
        tracing::info!(
            payout.id = %payout.payout_id, "payout {}: {}", payout.payout_id, action.code()
        );
        settled.push((payout, action));
    }
    let written = ledger_store::post(db, by.at, postings).await?;
    for ((payout, action), transaction) in settled.iter_mut().zip(&written) {
        if *action == PayoutAction::Pay {
            payout.pay_transaction_id = Some(transaction.id);
        }
    }
    let of = |action: PayoutAction| -> Vec<Payout> {
        settled.iter().filter(|(_, a)| *a == action).map(|(p, _)| p.clone()).collect()
    };
    let steps = [
        (PayoutAction::Pay, Action::Pay, "payout_paid"),
        (PayoutAction::Fail, Action::FailPayout, "payout_failed"),
        (PayoutAction::Return, Action::ReturnPayout, "payout_returned"),
    ];
    for (action, step, rule) in steps {
        let payouts = of(action);
        move_commissions(db, &payouts, step, by.hand(rule)).await?;
        if action != PayoutAction::Pay {
            free_adjustments(db, batch.program_id, &payouts).await?;
        }
    }
    // Money that came back would come back again: nothing goes there until somebody looked.
    for payout in of(PayoutAction::Return) {
        let reason = payout.failure_reason.as_deref().unwrap_or_default();
        mark_returned(db, payout.partner_id, payout.account_masked.as_deref(), reason).await?;
    }
    let settled: Vec<Payout> = settled.into_iter().map(|(payout, _)| payout).collect();
    update_payouts(db, batch.program_id, &settled, by.at).await?;
    let states = load_states(db, batch).await?;
    batch.state = after_result(batch.state, &states);
    store::update_batch(db, batch).await?;
    Ok(settled)
}

/// Writes a result into its payout and returns what the ledger posts.
async fn post(
    db: &mut DbTx,
    payout: &mut Payout,
    result: BankResult,
    now: Timestamp,
) -> Result<Posting, PayoutError> {
    let of = reference(payout, now);
    Ok(match result {
        BankResult::Paid { bank_reference, paid_at, bank } => {
            let of = PayoutRef { effective_at: paid_at, ..of };
            payout.bank_reference = Some(bank_reference);
            payout.paid_at = Some(paid_at);
            payout.bank_label = Some(bank.to_string());
            Posting::payout_pay(of, payout.amounts, bank)?
        }
        BankResult::Failed { reason } => {
            payout.failure_reason = Some(reason);
            Posting::payout_fail(of, &reserve(payout, now)?)?
        }
        BankResult::Returned { reason } => {
            payout.failure_reason = Some(reason);
            Posting::payout_return(of, payout.amounts, paid_from(db, payout).await?)?
        }
    })
}

/// Returns the account that a payout was paid from: that is where it comes back to.
async fn paid_from(db: &mut DbTx, payout: &Payout) -> Result<BankLabel, PayoutError> {
    let unreadable = || sqlx::Error::Decode("a paid payout has no bank account".into());
    let id = payout.pay_transaction_id.ok_or_else(unreadable)?;
    let path = find_bank_path(db, payout.program_id, id).await?.ok_or_else(unreadable)?;
    match path.parse() {
        Ok(Account::Bank(_, label)) => Ok(label),
        Ok(_) | Err(_) => Err(unreadable().into()),
    }
}
