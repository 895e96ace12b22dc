//! Proofs over stored entries: the book balances, and nobody has changed it.
//!
//! [`prove`] takes plain rows, not postings, because what it doubts is that the rows still are
//! what a posting was. The chain makes a change visible: each transaction's hash covers the one
//! before it, so a row cannot be altered, dropped, added or moved without every later hash
//! changing. Whoever keeps yesterday's last hash elsewhere can prove the book up to yesterday.
//!
//! # Canonical form, version 1
//!
//! `hash = SHA-256(prev_hash ‖ canonical)`, `prev_hash` being 32 bytes, zero before the first.
//! `canonical` is ASCII, one field a line, each line ended by `\n`, in this order:
//!
//! ```text
//! tributary/ledger/v1
//! id=tx_01jd3v5e8n9q4r7t2w6x1y3z5b
//! program=pg_01jd3v5e8n9q4r7t2w6x1y3z5b
//! code=accrue
//! reference=accrue:cm_01jd3v5e8n9q4r7t2w6x1y3z5b
//! currency=EUR
//! effective_at=2026-11-22T10:15:04.000000Z
//! recorded_at=2026-11-22T10:15:06.120394Z
//! reverses=-
//! entry=expense:commission:pg_01jd3v5e8n9q4r7t2w6x1y3z5b=2998
//! entry=liability:partner:pg_…:pt_…:pending=-2998
//! ```
//!
//! Entries are sorted by account path as bytes. No field can hold a line break.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::SecondsFormat;
use sha2::{Digest, Sha256};

use super::account::Account;
use super::posting::{LedgerTransaction, Posting};
use crate::clock::Timestamp;
use crate::ids::LedgerTransactionId;
use crate::money::Currency;

/// A hash of the chain: 32 bytes of SHA-256.
pub type ChainHash = [u8; 32];

/// What the first transaction of a program is chained to.
pub const GENESIS: ChainHash = [0; 32];

/// One stored entry, as a row of the book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookRow {
    /// The transaction it belongs to.
    pub transaction: LedgerTransactionId,
    /// The account that changed.
    pub account: Account,
    /// Its currency.
    pub currency: Currency,
    /// Minor units: debit positive, credit negative.
    pub amount_minor: i64,
}

/// Sums of entries by account and currency; wide, because a sum of `i64` may not fit into one.
pub type Balances = BTreeMap<(Account, Currency), i128>;

/// Something that a correct book cannot contain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// A transaction's entries do not sum to zero in a currency.
    #[error("{transaction} is off by {sum_minor} minor units of {currency}")]
    Unbalanced {
        /// The transaction.
        transaction: LedgerTransactionId,
        /// The currency.
        currency: Currency,
        /// What its entries sum to.
        sum_minor: i128,
    },
    /// An entry of zero.
    #[error("{transaction} has an entry of zero")]
    ZeroEntry {
        /// The transaction.
        transaction: LedgerTransactionId,
    },
}

/// Sums the book and shows that every transaction in it balances.
///
/// Returns the balances, or everything that is wrong. A book whose transactions all balance
/// balances as a whole.
pub fn prove(rows: impl IntoIterator<Item = BookRow>) -> Result<Balances, Vec<ProofError>> {
    let mut balances = Balances::new();
    let mut by_transaction: BTreeMap<(LedgerTransactionId, Currency), i128> = BTreeMap::new();
    let mut errors = Vec::new();
    for row in rows {
        let BookRow { transaction, account, currency, amount_minor } = row;
        if amount_minor == 0 {
            errors.push(ProofError::ZeroEntry { transaction });
        }
        *by_transaction.entry((transaction, currency)).or_default() += i128::from(amount_minor);
        *balances.entry((account, currency)).or_default() += i128::from(amount_minor);
    }
    for ((transaction, currency), sum_minor) in by_transaction {
        if sum_minor != 0 {
            errors.push(ProofError::Unbalanced { transaction, currency, sum_minor });
        }
    }
    if errors.is_empty() { Ok(balances) } else { Err(errors) }
}

/// Returns a transaction's rows.
pub fn rows(of: &LedgerTransaction) -> impl Iterator<Item = BookRow> + '_ {
    of.posting.entries().iter().map(|entry| BookRow {
        transaction: of.id,
        account: entry.account.clone(),
        currency: of.posting.currency(),
        amount_minor: entry.amount_minor,
    })
}

/// Returns the sums of entries by account and currency over postings, stored or not.
pub fn balances<'a>(postings: impl IntoIterator<Item = &'a Posting>) -> Balances {
    let mut sums = Balances::new();
    for posting in postings {
        for entry in posting.entries() {
            *sums.entry((entry.account.clone(), posting.currency())).or_default() +=
                i128::from(entry.amount_minor);
        }
    }
    sums
}

/// Returns the bytes that a transaction's hash covers, in the form this page documents.
pub fn canonical(transaction: &LedgerTransaction) -> Vec<u8> {
    let LedgerTransaction { id, recorded_at, posting } = transaction;
    let reverses = posting.reverses().map_or_else(|| "-".to_owned(), |id| id.to_string());
    let mut text = format!(
        "tributary/ledger/v1\nid={id}\nprogram={}\ncode={}\nreference={}\ncurrency={}\n\
         effective_at={}\nrecorded_at={}\nreverses={reverses}\n",
        posting.program(),
        posting.code().text(),
        posting.reference(),
        posting.currency(),
        micros(posting.effective_at()),
        micros(*recorded_at),
    );
    for entry in posting.entries() {
        writeln!(text, "entry={}={}", entry.account, entry.amount_minor)
            .expect("writing to a string cannot fail");
    }
    text.into_bytes()
}

/// Returns the hash of a transaction that follows the one hashed to `previous`.
pub fn chain(previous: &ChainHash, transaction: &LedgerTransaction) -> ChainHash {
    chain_on(previous, &canonical(transaction))
}

/// Returns the hash of a transaction, given its canonical form.
pub(super) fn chain_on(previous: &ChainHash, canonical: &[u8]) -> ChainHash {
    Sha256::new().chain_update(previous).chain_update(canonical).finalize().into()
}

/// Says where a stored chain stops being what its transactions hash to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the chain breaks at {at}: it, or one before it, was changed after it was written")]
pub struct BrokenChain {
    /// The first transaction whose stored hash is not the computed one.
    pub at: LedgerTransactionId,
}

/// Walks a chain from `previous`, comparing each stored hash with the computed one.
///
/// Returns the last hash, from which the next walk goes on.
pub fn verify_chain<'a>(
    previous: ChainHash,
    stored: impl IntoIterator<Item = (&'a LedgerTransaction, ChainHash)>,
) -> Result<ChainHash, BrokenChain> {
    stored.into_iter().try_fold(previous, |previous, (transaction, hash)| {
        if chain(&previous, transaction) == hash {
            Ok(hash)
        } else {
            Err(BrokenChain { at: transaction.id })
        }
    })
}

fn micros(at: Timestamp) -> String {
    // PostgreSQL keeps microseconds: anything finer would hash differently when read back.
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

#[cfg(test)]
mod tests;
