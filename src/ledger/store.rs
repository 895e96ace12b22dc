//! SQL of the ledger: it only ever adds.

use std::collections::{BTreeMap, HashMap, HashSet};

use sqlx::PgConnection;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::db::DbTx;
use crate::db::copy::COPY_MIN;
use crate::ids::{LedgerTransactionId, PartnerId, ProgramId};
use crate::ledger::copy_store::{self, Line, Linked};
use crate::ledger::proof::{self, ChainHash, GENESIS};
use crate::ledger::{Account, LedgerTransaction, Posting};
use crate::money::{Currency, Money};

/// Writes postings, in the order given; see [`write()`].
pub async fn post(
    db: &mut DbTx,
    recorded_at: Timestamp,
    postings: Vec<Posting>,
) -> Result<Vec<LedgerTransaction>, sqlx::Error> {
    let drafted = draft(recorded_at, postings.into_iter().map(|p| (LedgerTransactionId::new(), p)));
    write(db, &drafted).await?;
    Ok(drafted.transactions)
}

/// Transactions that are not written yet.
#[derive(Debug)]
pub struct Drafted {
    /// They, in their order.
    pub transactions: Vec<LedgerTransaction>,
    /// What is hashed of each.
    canonical: Vec<Vec<u8>>,
    /// The accounts that they change, by program.
    accounts: HashMap<ProgramId, HashSet<(Account, Currency)>>,
}

/// A transaction and what is hashed of it.
type Draft<'a> = (&'a LedgerTransaction, &'a [u8]);

/// Returns the transactions that postings are to become, in their order, each with its id, by which
/// others may name it before it is written.
pub fn draft(
    recorded_at: Timestamp,
    postings: impl Iterator<Item = (LedgerTransactionId, Posting)>,
) -> Drafted {
    let transaction = |(id, posting)| LedgerTransaction { id, recorded_at, posting };
    let transactions: Vec<_> = postings.map(transaction).collect();
    let canonical = transactions.iter().map(proof::canonical).collect();
    let mut accounts: HashMap<_, HashSet<_>> = HashMap::new();
    for LedgerTransaction { posting, .. } in &transactions {
        let of_program = accounts.entry(posting.program()).or_default();
        let changed = posting.entries().iter().map(|entry| entry.account.clone());
        of_program.extend(changed.map(|account| (account, posting.currency())));
    }
    Drafted { transactions, canonical, accounts }
}

/// Writes transactions, in the order given, at the end of their programs' hash chains.
///
/// The chain's head is locked until the database transaction ends, so writers of one program stand
/// in line and a chain has no forks. A reference that is already there breaks the constraint
/// `ledger_transactions_reference_once`, and with it the whole database transaction.
pub async fn write(db: &mut DbTx, drafted: &Drafted) -> Result<(), sqlx::Error> {
    let mut by_program: BTreeMap<ProgramId, Vec<Draft<'_>>> = BTreeMap::new();
    for (transaction, canonical) in drafted.transactions.iter().zip(&drafted.canonical) {
        let of = by_program.entry(transaction.posting.program()).or_default();
        of.push((transaction, canonical));
    }
    for (program_id, drafts) in by_program {
        let accounts = drafted.accounts.get(&program_id).into_iter().flatten();
        let recorded_at = drafts.first().map(|draft| draft.0.recorded_at).unwrap_or_default();
        let accounts = ensure_accounts(db, program_id, accounts, recorded_at).await?;
        let (sequence, head) = lock_head(db, program_id).await?;
        let head = insert_transactions(db, program_id, sequence, head, &drafts).await?;
        insert_entries(db, program_id, sequence, &accounts, &drafts).await?;
        let n = i64::try_from(drafts.len()).unwrap_or(i64::MAX);
        move_head(db, program_id, sequence + n, &head).await?;
    }
    Ok(())
}

type AccountIds<'a> = HashMap<(&'a Account, Currency), Uuid>;

async fn ensure_accounts<'a>(
    db: &mut PgConnection,
    program_id: ProgramId,
    accounts: impl Iterator<Item = &'a (Account, Currency)>,
    now: Timestamp,
) -> Result<AccountIds<'a>, sqlx::Error> {
    // Sorted, so that two who make the same accounts wait for each other in one order.
    let wanted: BTreeMap<(String, &'static str), (&Account, Currency)> = accounts
        .map(|(account, currency)| ((account.path(), currency.code()), (account, *currency)))
        .collect();
    let paths: Vec<String> = wanted.keys().map(|(path, _)| path.clone()).collect();
    let mut found = find_accounts(db, program_id, &paths).await?;
    let missing: Vec<_> = wanted
        .iter()
        .filter(|((path, code), _)| !found.contains_key(&(path.clone(), (*code).to_owned())))
        .collect();
    if !missing.is_empty() {
        sqlx::query!(
            "insert into ledger_accounts (program_id, account_id, path, currency, partner_id, created_at)
             select $1, n.account_id, n.path, n.currency, n.partner_id, $6
             from unnest($2::uuid[], $3::text[], $4::text[], $5::uuid[])
                 as n (account_id, path, currency, partner_id)
             on conflict on constraint ledger_accounts_path_once do nothing",
            program_id.0,
            &missing.iter().map(|_| Uuid::now_v7()).collect::<Vec<_>>(),
            &missing.iter().map(|(key, _)| key.0.clone()).collect::<Vec<_>>(),
            &missing.iter().map(|(key, _)| key.1.to_owned()).collect::<Vec<_>>(),
            &missing.iter().map(|(_, of)| of.0.partner().map(|p| p.0)).collect::<Vec<_>>()
                as &[Option<Uuid>],
            now,
        )
        .execute(&mut *db)
        .await?;
        found = find_accounts(db, program_id, &paths).await?;
    }
    let id = |((path, code), key): ((String, &'static str), _)| {
        Some((key, found.remove(&(path, code.to_owned()))?))
    };
    Ok(wanted.into_iter().filter_map(id).collect())
}

async fn find_accounts(
    db: &mut PgConnection,
    program_id: ProgramId,
    paths: &[String],
) -> Result<HashMap<(String, String), Uuid>, sqlx::Error> {
    let rows = sqlx::query!(
        "select account_id, path, currency from ledger_accounts
         where program_id = $1 and path = any($2)",
        program_id.0,
        paths,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|r| ((r.path, r.currency), r.account_id)).collect())
}

async fn lock_head(
    db: &mut PgConnection,
    program_id: ProgramId,
) -> Result<(i64, ChainHash), sqlx::Error> {
    if let Some(head) = find_head(db, program_id).await? {
        return Ok(head);
    }
    sqlx::query!(
        "insert into ledger_heads (program_id, sequence, hash) values ($1, 0, $2)
         on conflict on constraint ledger_heads_pkey do nothing",
        program_id.0,
        &GENESIS[..],
    )
    .execute(&mut *db)
    .await?;
    Ok(find_head(db, program_id).await?.unwrap_or((0, GENESIS)))
}

async fn find_head(
    db: &mut PgConnection,
    program_id: ProgramId,
) -> Result<Option<(i64, ChainHash)>, sqlx::Error> {
    let row = sqlx::query!(
        "select sequence, hash from ledger_heads where program_id = $1 for update",
        program_id.0,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| (row.sequence, row.hash.try_into().unwrap_or(GENESIS))))
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

/// Transactions at the end of a chain, each of which is hashed when it is asked for: of many, while the
/// server reads those before.
struct Chaining<'r, 'a> {
    drafts: std::slice::Iter<'r, Draft<'a>>,
    /// Of the last one.
    sequence: i64,
    head: &'r mut ChainHash,
}

impl<'a> Iterator for Chaining<'_, 'a> {
    type Item = Linked<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let (transaction, canonical) = *self.drafts.next()?;
        self.sequence += 1;
        let hash = proof::chain_on(self.head, canonical);
        let previous_hash = std::mem::replace(self.head, hash);
        Some(Linked { transaction, sequence: self.sequence, previous_hash, hash })
    }
}

async fn insert_transactions(
    db: &mut PgConnection,
    program_id: ProgramId,
    sequence: i64,
    mut head: ChainHash,
    drafts: &[Draft<'_>],
) -> Result<ChainHash, sqlx::Error> {
    let rows = Chaining { drafts: drafts.iter(), sequence, head: &mut head };
    if drafts.len() >= COPY_MIN {
        copy_store::copy_transactions(db, program_id, rows).await?;
        return Ok(head);
    }
    let rows: Vec<Linked<'_>> = rows.collect();
    let transactions = || drafts.iter().map(|draft| draft.0);
    let postings = || transactions().map(|t| &t.posting);
    sqlx::query!(
        "insert into ledger_transactions
             (program_id, ledger_transaction_id, code, reference, currency, reverses_id,
              effective_at, recorded_at, sequence, previous_hash, hash)
         select $1, n.id, n.code, n.reference, n.currency, n.reverses_id, n.effective_at,
                n.recorded_at, n.sequence, n.previous_hash, n.hash
         from unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::uuid[],
                     $7::timestamptz[], $8::timestamptz[], $9::bigint[], $10::bytea[], $11::bytea[])
             as n (id, code, reference, currency, reverses_id, effective_at, recorded_at,
                   sequence, previous_hash, hash)",
        program_id.0,
        &transactions().map(|t| t.id.0).collect::<Vec<_>>(),
        &postings().map(|p| p.code().text().to_owned()).collect::<Vec<_>>(),
        &postings().map(|p| p.reference().to_owned()).collect::<Vec<_>>(),
        &postings().map(|p| p.currency().code().to_owned()).collect::<Vec<_>>(),
        &postings().map(|p| p.reverses().map(|r| r.0)).collect::<Vec<_>>() as &[Option<Uuid>],
        &postings().map(Posting::effective_at).collect::<Vec<_>>(),
        &transactions().map(|t| t.recorded_at).collect::<Vec<_>>(),
        &rows.iter().map(|r| r.sequence).collect::<Vec<_>>(),
        &rows.iter().map(|r| r.previous_hash.to_vec()).collect::<Vec<_>>(),
        &rows.iter().map(|r| r.hash.to_vec()).collect::<Vec<_>>(),
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
    account_ids: &AccountIds<'_>,
    drafts: &[Draft<'_>],
) -> Result<(), sqlx::Error> {
    let mut rows: Vec<Line<'_>> = Vec::with_capacity(drafts.len() * 2);
    for (sequence, &(transaction, _)) in (sequence + 1..).zip(drafts) {
        let currency = transaction.posting.currency();
        for (line, entry) in (1..).zip(transaction.posting.entries()) {
            let account_id = *account_ids
                .get(&(&entry.account, currency))
                .expect("every account of these postings was ensured before");
            rows.push(Line { transaction, sequence, line, account_id, entry });
        }
    }
    if rows.len() >= COPY_MIN {
        return copy_store::copy_entries(db, program_id, &rows).await;
    }
    let postings = || rows.iter().map(|r| &r.transaction.posting);
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
        &rows.iter().map(|r| r.transaction.id.0).collect::<Vec<_>>(),
        &rows.iter().map(|r| r.line).collect::<Vec<_>>(),
        &rows.iter().map(|r| r.account_id).collect::<Vec<_>>(),
        &rows.iter().map(|r| r.entry.amount_minor).collect::<Vec<_>>(),
        &postings().map(|p| p.currency().code().to_owned()).collect::<Vec<_>>(),
        &rows.iter().map(|r| r.sequence).collect::<Vec<_>>(),
        &postings().map(|p| p.code().text().to_owned()).collect::<Vec<_>>(),
        &postings().map(Posting::effective_at).collect::<Vec<_>>(),
        &rows.iter().map(|r| r.transaction.recorded_at).collect::<Vec<_>>(),
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
