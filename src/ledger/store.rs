//! SQL of the ledger: it only ever adds.

use std::collections::{BTreeMap, HashMap};

use sqlx::PgConnection;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::db::DbTx;
use crate::ids::{LedgerTransactionId, PartnerId, ProgramId};
use crate::ledger::proof::{self, ChainHash, GENESIS};
use crate::ledger::{Account, LedgerTransaction, Posting};
use crate::money::{Currency, Money};

/// Writes postings, in the order given, at the end of their programs' hash chains.
///
/// The chain's head is locked until the transaction ends, so writers of one program stand in
/// line and a chain has no forks. A reference that is already there breaks the constraint
/// `ledger_transactions_reference_once`, and with it the whole database transaction.
pub async fn post(
    db: &mut DbTx,
    recorded_at: Timestamp,
    postings: Vec<Posting>,
) -> Result<Vec<LedgerTransaction>, sqlx::Error> {
    let mut by_program: BTreeMap<ProgramId, Vec<LedgerTransaction>> = BTreeMap::new();
    for posting in postings {
        let id = LedgerTransactionId::new();
        let transaction = LedgerTransaction { id, recorded_at, posting };
        by_program.entry(transaction.posting.program()).or_default().push(transaction);
    }
    let mut written = Vec::new();
    for (program_id, transactions) in by_program {
        let accounts = ensure_accounts(db, program_id, recorded_at, &transactions).await?;
        let (sequence, head) = lock_head(db, program_id).await?;
        let head = insert_transactions(db, program_id, sequence, head, &transactions).await?;
        insert_entries(db, program_id, sequence, &accounts, &transactions).await?;
        let n = i64::try_from(transactions.len()).unwrap_or(i64::MAX);
        move_head(db, program_id, sequence + n, &head).await?;
        written.extend(transactions);
    }
    Ok(written)
}

type AccountIds = HashMap<(String, &'static str), Uuid>;

async fn ensure_accounts(
    db: &mut PgConnection,
    program_id: ProgramId,
    now: Timestamp,
    transactions: &[LedgerTransaction],
) -> Result<AccountIds, sqlx::Error> {
    let mut wanted: BTreeMap<(String, &'static str), Option<Uuid>> = BTreeMap::new();
    for posting in transactions.iter().map(|t| &t.posting) {
        for entry in posting.entries() {
            let key = (entry.account.path(), posting.currency().code());
            wanted.insert(key, entry.account.partner().map(|p| p.0));
        }
    }
    let ids: Vec<Uuid> = wanted.keys().map(|_| Uuid::now_v7()).collect();
    let (paths, currencies): (Vec<String>, Vec<String>) =
        wanted.keys().map(|(path, currency)| (path.clone(), (*currency).to_owned())).unzip();
    let partners: Vec<Option<Uuid>> = wanted.values().copied().collect();
    sqlx::query!(
        "insert into ledger_accounts (program_id, account_id, path, currency, partner_id, created_at)
         select $1, n.account_id, n.path, n.currency, n.partner_id, $6
         from unnest($2::uuid[], $3::text[], $4::text[], $5::uuid[])
             as n (account_id, path, currency, partner_id)
         on conflict on constraint ledger_accounts_path_once do nothing",
        program_id.0,
        &ids,
        &paths,
        &currencies,
        &partners as &[Option<Uuid>],
        now,
    )
    .execute(&mut *db)
    .await?;
    let rows = sqlx::query!(
        "select account_id, path, currency from ledger_accounts
         where program_id = $1 and path = any($2)",
        program_id.0,
        &paths,
    )
    .fetch_all(db)
    .await?;
    let mut found: HashMap<(String, String), Uuid> =
        rows.into_iter().map(|r| ((r.path, r.currency), r.account_id)).collect();
    Ok(wanted
        .into_keys()
        .filter_map(|(path, currency)| {
            let id = found.remove(&(path.clone(), currency.to_owned()))?;
            Some(((path, currency), id))
        })
        .collect())
}

async fn lock_head(
    db: &mut PgConnection,
    program_id: ProgramId,
) -> Result<(i64, ChainHash), sqlx::Error> {
    sqlx::query!(
        "insert into ledger_heads (program_id, sequence, hash) values ($1, 0, $2)
         on conflict on constraint ledger_heads_pkey do nothing",
        program_id.0,
        &GENESIS[..],
    )
    .execute(&mut *db)
    .await?;
    let row = sqlx::query!(
        "select sequence, hash from ledger_heads where program_id = $1 for update",
        program_id.0,
    )
    .fetch_one(db)
    .await?;
    Ok((row.sequence, row.hash.try_into().unwrap_or(GENESIS)))
}

async fn move_head(
    db: &mut PgConnection,
    program_id: ProgramId,
    sequence: i64,
    hash: &ChainHash,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update ledger_heads set sequence = $2, hash = $3 where program_id = $1",
        program_id.0,
        sequence,
        &hash[..],
    )
    .execute(db)
    .await
    .map(drop)
}

async fn insert_transactions(
    db: &mut PgConnection,
    program_id: ProgramId,
    sequence: i64,
    mut head: ChainHash,
    transactions: &[LedgerTransaction],
) -> Result<ChainHash, sqlx::Error> {
    let mut previous_hashes: Vec<Vec<u8>> = Vec::with_capacity(transactions.len());
    let mut hashes: Vec<Vec<u8>> = Vec::with_capacity(transactions.len());
    for transaction in transactions {
        previous_hashes.push(head.to_vec());
        head = proof::chain(&head, transaction);
        hashes.push(head.to_vec());
    }
    let ids: Vec<Uuid> = transactions.iter().map(|t| t.id.0).collect();
    let postings = || transactions.iter().map(|t| &t.posting);
    let codes: Vec<String> = postings().map(|p| p.code().text().to_owned()).collect();
    let references: Vec<String> = postings().map(|p| p.reference().to_owned()).collect();
    let currencies: Vec<String> = postings().map(|p| p.currency().code().to_owned()).collect();
    let reversed: Vec<Option<Uuid>> = postings().map(|p| p.reverses().map(|r| r.0)).collect();
    let effective: Vec<Timestamp> = postings().map(Posting::effective_at).collect();
    let recorded: Vec<Timestamp> = transactions.iter().map(|t| t.recorded_at).collect();
    sqlx::query!(
        "insert into ledger_transactions
             (program_id, ledger_transaction_id, code, reference, currency, reverses_id,
              effective_at, recorded_at, sequence, previous_hash, hash)
         select $1, n.id, n.code, n.reference, n.currency, n.reverses_id, n.effective_at,
                n.recorded_at, $2 + n.place, n.previous_hash, n.hash
         from unnest($3::uuid[], $4::text[], $5::text[], $6::text[], $7::uuid[],
                     $8::timestamptz[], $9::timestamptz[], $10::bytea[], $11::bytea[])
             with ordinality
             as n (id, code, reference, currency, reverses_id, effective_at, recorded_at,
                   previous_hash, hash, place)",
        program_id.0,
        sequence,
        &ids,
        &codes,
        &references,
        &currencies,
        &reversed as &[Option<Uuid>],
        &effective,
        &recorded,
        &previous_hashes,
        &hashes,
    )
    .execute(db)
    .await?;
    Ok(head)
}

/// All entries in one statement: the balance of each transaction is checked once, at its end.
///
/// Each repeats what reports ask of it; the sequence is that of its transaction, after `sequence`.
async fn insert_entries(
    db: &mut PgConnection,
    program_id: ProgramId,
    sequence: i64,
    account_ids: &AccountIds,
    transactions: &[LedgerTransaction],
) -> Result<(), sqlx::Error> {
    let mut ids = Vec::new();
    let mut lines: Vec<i16> = Vec::new();
    let mut accounts = Vec::new();
    let mut amounts = Vec::new();
    let mut currencies = Vec::new();
    let mut sequences = Vec::new();
    let mut codes = Vec::new();
    let mut effective: Vec<Timestamp> = Vec::new();
    let mut recorded: Vec<Timestamp> = Vec::new();
    for (sequence, transaction) in (sequence + 1..).zip(transactions) {
        let posting = &transaction.posting;
        let currency = posting.currency().code();
        for (line, entry) in (1..).zip(posting.entries()) {
            let account = account_ids
                .get(&(entry.account.path(), currency))
                .expect("every account of these postings was ensured before");
            ids.push(transaction.id.0);
            lines.push(line);
            accounts.push(*account);
            amounts.push(entry.amount_minor);
            currencies.push(currency.to_owned());
            sequences.push(sequence);
            codes.push(posting.code().text().to_owned());
            effective.push(posting.effective_at());
            recorded.push(transaction.recorded_at);
        }
    }
    sqlx::query!(
        "insert into ledger_entries
             (program_id, ledger_transaction_id, line, account_id, amount_minor, currency, sequence,
              code, effective_at, recorded_at)
         select $1, n.id, n.line, n.account_id, n.amount_minor, n.currency, n.sequence, n.code,
                n.effective_at, n.recorded_at
         from unnest($2::uuid[], $3::smallint[], $4::uuid[], $5::bigint[], $6::text[],
                     $7::bigint[], $8::text[], $9::timestamptz[], $10::timestamptz[])
             as n (id, line, account_id, amount_minor, currency, sequence, code, effective_at,
                   recorded_at)",
        program_id.0,
        &ids,
        &lines,
        &accounts,
        &amounts,
        &currencies,
        &sequences,
        &codes,
        &effective,
        &recorded,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Returns what a partner is owed: pending and payable, as amounts above zero when owed.
pub async fn partner_balance(
    db: &mut PgConnection,
    program_id: ProgramId,
    partner_id: PartnerId,
    currency: Currency,
) -> Result<(Money, Money), sqlx::Error> {
    let pending = Account::PartnerPending(program_id, partner_id).path();
    let payable = Account::PartnerPayable(program_id, partner_id).path();
    let rows = sqlx::query!(
        "select a.path, b.balance_minor
         from ledger_accounts a
         join ledger_balances b on b.program_id = a.program_id and b.account_id = a.account_id
         where a.program_id = $1 and a.currency = $2 and a.path in ($3, $4)",
        program_id.0,
        currency.code(),
        pending,
        payable,
    )
    .fetch_all(db)
    .await?;
    // Liabilities grow by negative entries.
    let owed = |path: &str| {
        Money::new(-rows.iter().find(|r| r.path == path).map_or(0, |r| r.balance_minor), currency)
    };
    Ok((owed(&pending), owed(&payable)))
}

/// What a partner is owed in one currency: above zero when owed.
#[derive(Clone, Copy, Debug)]
pub struct Balance {
    /// Earned, but its hold is not over.
    pub pending: Money,
    /// Owed and in no payout.
    pub payable: Money,
}

/// Loads what a partner is owed, in every currency that anything was ever earned in.
pub async fn partner_balances(
    db: &mut PgConnection,
    program_id: ProgramId,
    partner_id: PartnerId,
) -> Result<Vec<Balance>, sqlx::Error> {
    let currencies = sqlx::query_scalar!(
        "select distinct currency from ledger_accounts
         where program_id = $1 and path in ($2, $3)
         order by currency",
        program_id.0,
        Account::PartnerPending(program_id, partner_id).path(),
        Account::PartnerPayable(program_id, partner_id).path(),
    )
    .fetch_all(&mut *db)
    .await?;
    let mut balances = Vec::with_capacity(currencies.len());
    for code in currencies {
        let currency = code.parse().map_err(|e| sqlx::Error::Decode(Box::new(e)))?;
        let (pending, payable) = partner_balance(db, program_id, partner_id, currency).await?;
        balances.push(Balance { pending, payable });
    }
    Ok(balances)
}

/// Counts ledger transactions that do not balance. The whole sum of a book is zero exactly when
/// nothing is missing, so a sound book costs one pass over the balances.
pub async fn count_unbalanced(db: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select count(*) as "n!" from (
               select 1
               from ledger_balances b
               join ledger_accounts a
                 on a.program_id = b.program_id and a.account_id = b.account_id
               group by a.program_id, a.currency
               having sum(b.balance_minor) <> 0) off"#
    )
    .fetch_one(db)
    .await
}
