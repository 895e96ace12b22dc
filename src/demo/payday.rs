//! Payday of the demo: on the first of each month what the month before is owed is paid, by the
//! acts that finance would take.

use anyhow::Context as _;
use chrono::{Datelike as _, Days, NaiveDate};

use crate::account::audit_store::{self, Entry};
use crate::clock::Timestamp;
use crate::db::Db;
use crate::ids::UserId;
use crate::money::Currency;
use crate::payout::action::{self, Actor, BankResult, NewBatch, PayoutError};
use crate::payout::store::{PayoutFilter, load_payouts};
use crate::program::Program;

/// Payouts of one month, at most: far more than the demo has partners.
const PAYOUTS_MAX: i64 = 10_000;

/// Who acts: one makes the batch, another approves it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hands {
    pub(super) maker: UserId,
    pub(super) approver: UserId,
}

/// Pays the month before, if `day` is the first of a month; returns how many were paid.
pub(super) async fn pay_month(
    db: &Db,
    program: &Program,
    hands: Hands,
    day: NaiveDate,
    at: Timestamp,
) -> anyhow::Result<u64> {
    if day.day() != 1 {
        return Ok(0);
    }
    let month = (day - Days::new(1)).format("%Y-%m").to_string();
    let currency: Currency = program.currency.parse()?;
    let actor = |user_id: UserId| Actor { user_id, name: format!("user:{user_id}"), at };
    let new = NewBatch {
        program: program.clone(),
        period: month.parse()?,
        currency,
        cutoff_at: at,
        execution_on: day,
        today: day,
    };
    let mut db_tx = db.begin().await?;
    let batch = match action::create(&mut db_tx, new, &actor(hands.maker)).await {
        Ok((batch, _)) => batch,
        // The first months: nobody's hold is over.
        Err(PayoutError::NothingToPay { .. }) => return Ok(db_tx.rollback().await.map(|()| 0)?),
        Err(error) => return Err(error).context("the demo's payout batch"),
    };
    let id = batch.payout_batch_id;
    action::approve(&mut db_tx, id, &actor(hands.approver)).await?;
    for act in ["payout_batch.create", "payout_batch.approve"] {
        let entry = Entry::by_system(act, id).program(program.program_id);
        audit_store::record(&mut db_tx, entry, at).await?;
    }
    let filter = PayoutFilter { batch: Some(id), ..PayoutFilter::default() };
    let payouts = load_payouts(&mut db_tx, filter, PAYOUTS_MAX).await?;
    for (n, payout) in payouts.iter().enumerate() {
        let result = BankResult::Paid {
            bank_reference: format!("DEMO-{month}-{:04}", n + 1),
            paid_at: at,
            bank: "main".parse()?,
        };
        action::settle(&mut db_tx, payout.payout_id, result, &actor(hands.maker)).await?;
        let paid = Entry::by_system("payout.mark_paid", payout.payout_id);
        audit_store::record(&mut db_tx, paid.program(program.program_id), at).await?;
    }
    db_tx.commit().await?;
    Ok(payouts.len() as u64)
}
