//! SQL of many new ledger transactions and entries: the same rows as the store inserts, by COPY.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::db::copy::{RowFields, copy_rows};
use crate::ids::ProgramId;
use crate::ledger::LedgerTransaction;
use crate::ledger::posting::Entry;
use crate::ledger::proof::ChainHash;

/// Transactions with their places in the chain.
#[derive(Debug)]
pub(super) struct Linked<'a> {
    pub(super) transaction: &'a LedgerTransaction,
    pub(super) sequence: i64,
    pub(super) previous_hash: ChainHash,
    pub(super) hash: ChainHash,
}

/// An entry with what it repeats of its transaction.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub(super) transaction: &'a LedgerTransaction,
    pub(super) sequence: i64,
    pub(super) line: i16,
    pub(super) account_id: Uuid,
    pub(super) entry: &'a Entry,
}

const TRANSACTIONS: &str = "ledger_transactions (program_id, ledger_transaction_id, code, reference, currency, reverses_id, \
     effective_at, recorded_at, sequence, previous_hash, hash)";

/// Writes transactions.
pub(super) async fn copy_transactions<'t>(
    db: &mut PgConnection,
    program_id: ProgramId,
    rows: impl Iterator<Item = Linked<'t>>,
) -> Result<(), sqlx::Error> {
    let write = |to: &mut RowFields<'_>, row: Linked<'_>| {
        let posting = &row.transaction.posting;
        to.put(program_id.0).put(row.transaction.id.0).put(posting.code().text());
        to.put(posting.reference()).put(posting.currency().code());
        to.put(posting.reverses().map(|id| id.0)).put(posting.effective_at());
        to.put(row.transaction.recorded_at).put(row.sequence);
        to.put(&row.previous_hash[..]).put(&row.hash[..]);
    };
    copy_rows(db, TRANSACTIONS, rows, write).await.map(drop)
}

const ENTRIES: &str = "ledger_entries (program_id, ledger_transaction_id, line, account_id, amount_minor, currency, sequence, \
     code, effective_at, recorded_at)";

/// Writes entries.
pub(super) async fn copy_entries(
    db: &mut PgConnection,
    program_id: ProgramId,
    rows: &[Line<'_>],
) -> Result<(), sqlx::Error> {
    let write = |to: &mut RowFields<'_>, row: &Line<'_>| {
        let posting = &row.transaction.posting;
        to.put(program_id.0).put(row.transaction.id.0).put(row.line).put(row.account_id);
        to.put(row.entry.amount_minor).put(posting.currency().code()).put(row.sequence);
        to.put(posting.code().text()).put(posting.effective_at()).put(row.transaction.recorded_at);
    };
    copy_rows(db, ENTRIES, rows, write).await.map(drop)
}
