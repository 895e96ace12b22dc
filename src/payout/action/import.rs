//! Taking in a file of results: each row gets its verdict, and the file is taken in once.

use std::collections::{HashMap, HashSet};

use sha2::{Digest as _, Sha256};

use super::{Actor, BankResult, PayoutError, load_all, settle_all};
use crate::db::DbTx;
use crate::ids::{PayoutBatchId, PayoutId};
use crate::ledger::account::BankLabel;
use crate::payout::file::pain001::read_id;
use crate::payout::result::{self, ResultFormat, Verdict};
use crate::payout::store::files::{find_import, insert_import};
use crate::payout::store::{self};
use crate::payout::{Batch, Payout};

/// A file of results.
#[derive(Clone, Debug)]
pub struct Import {
    /// In which form.
    pub format: ResultFormat,
    /// The file.
    pub bytes: Vec<u8>,
    /// The account that paid, where a payout does not know it.
    pub bank: Option<BankLabel>,
}

/// What a file of results did.
#[derive(Debug)]
pub struct Imported {
    /// The batch afterwards.
    pub batch: Batch,
    /// SHA-256 of the file.
    pub sha256: Vec<u8>,
    /// What became of each row.
    pub verdicts: Vec<Verdict>,
    /// Whether the same file had been taken in before: then nothing was done now.
    pub was_known: bool,
}

/// Takes in a file of results. The lock of the batch puts two who bring the same file in line.
pub async fn import(
    db: &mut DbTx,
    id: PayoutBatchId,
    file: Import,
    by: &Actor,
) -> Result<Imported, PayoutError> {
    let mut batch = store::lock_batch(db, id).await?.ok_or(PayoutError::NotFound)?;
    let sha256 = Sha256::digest(&file.bytes).to_vec();
    if let Some(kept) = find_import(db, &batch, &sha256).await? {
        let verdicts = serde_json::from_value(kept)
            .map_err(|e| sqlx::Error::Decode(format!("payout_imports.verdicts: {e}").into()))?;
        return Ok(Imported { batch, sha256, verdicts, was_known: true });
    }
    let rows = result::read(file.format, &file.bytes)?;
    let mut payouts: HashMap<PayoutId, Payout> =
        load_all(db, id).await?.into_iter().map(|p| (p.payout_id, p)).collect();
    let mut seen: HashSet<PayoutId> = HashSet::new();
    let mut verdicts = Vec::with_capacity(rows.len());
    let mut results: Vec<(Payout, BankResult)> = Vec::new();
    for row in &rows {
        let named: Option<PayoutId> = read_id(&row.id).parse().ok();
        let payout = named.and_then(|id| payouts.get(&id));
        let known = payout.and_then(|p| p.bank_label.as_deref()).and_then(|l| l.parse().ok());
        let bank = file.bank.clone().or(known).unwrap_or_else(BankLabel::main);
        let decided = result::decide(row, payout, &bank, by.at);
        let mut verdict = decided.verdict;
        if let Some((payout_id, result)) = decided.act {
            if seen.insert(payout_id) {
                results.extend(payouts.remove(&payout_id).map(|p| (p, result)));
            }
        } else if let Some(id) = named.filter(|id| seen.contains(id)) {
            // The payout went to the results by an earlier row of this file.
            verdict.verdict = "twice".to_owned();
            verdict.detail = format!("An earlier row of this file speaks of {id} already.");
        }
        verdicts.push(verdict);
    }
    settle_all(db, &mut batch, results, by).await?;
    let kept = serde_json::to_value(&verdicts)
        .map_err(|e| sqlx::Error::Encode(format!("verdicts: {e}").into()))?;
    let named = (sha256.as_slice(), file.format.code());
    insert_import(db, &batch, named, &kept, by.user_id, by.at).await?;
    Ok(Imported { batch, sha256, verdicts, was_known: false })
}
