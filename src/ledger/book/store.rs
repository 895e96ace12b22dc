//! SQL that reads the book: accounts with balances, transactions with entries, at any time.

use std::collections::HashMap;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::ids::{LedgerAccountId, LedgerTransactionId, PartnerId, ProgramId};
use crate::ledger::posting::Head;
use crate::ledger::proof::{ChainHash, GENESIS};
use crate::ledger::store::Balance;
use crate::ledger::{Account, Code, Entry, LedgerTransaction, Posting};
use crate::money::{Currency, Money};

/// An account with its balance: debits less credits.
#[derive(Clone, Debug)]
pub struct AccountBalance {
    /// Its key.
    pub account_id: LedgerAccountId,
    /// What it is.
    pub account: Account,
    /// Debits less credits.
    pub balance: Money,
    /// When its first entry came.
    pub created_at: Timestamp,
}

fn unreadable(what: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(what))
}

/// Which accounts to list.
#[derive(Clone, Copy, Debug)]
pub struct AccountFilter<'a> {
    /// Of this program.
    pub program_id: ProgramId,
    /// Of this partner.
    pub partner: Option<PartnerId>,
    /// In this currency.
    pub currency: Option<Currency>,
    /// With entries that take effect before; with all of them where it is not given.
    pub as_of: Option<Timestamp>,
    /// After this path and currency.
    pub after: Option<&'a (String, String)>,
}

/// Lists accounts by path and currency.
pub async fn load_accounts(
    db: &mut PgConnection,
    filter: AccountFilter<'_>,
    limit: i64,
) -> Result<Vec<AccountBalance>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select a.account_id as "account_id: LedgerAccountId", a.path, a.currency, a.created_at,
                  case when $4::timestamptz is null
                       then coalesce(b.balance_minor, 0)
                       else (
                           -- Whole days from their sums, the rest of the last one from its entries.
                           (select coalesce(sum(d.amount_minor), 0)
                            from ledger_days d
                            where d.program_id = a.program_id and d.account_id = a.account_id
                              and d.day < ($4::timestamptz at time zone 'UTC')::date)
                           + (select coalesce(sum(e.amount_minor), 0)
                              from ledger_days d
                              join ledger_entries e
                                on e.program_id = d.program_id and e.account_id = d.account_id
                               and e.sequence between d.first_sequence and d.last_sequence
                              where d.program_id = a.program_id and d.account_id = a.account_id
                                and d.day = ($4::timestamptz at time zone 'UTC')::date
                                and e.effective_at >= date_trunc('day', $4::timestamptz, 'UTC')
                                and e.effective_at < $4))::bigint
                  end as "balance_minor!"
           from ledger_accounts a
           left join ledger_balances b
             on b.program_id = a.program_id and b.account_id = a.account_id
           where a.program_id = $1
             and ($2::uuid is null or a.partner_id = $2)
             and ($3::text is null or a.currency = $3)
             and (a.path, a.currency) > ($5, $6)
           order by a.path, a.currency
           limit $7"#,
        filter.program_id.0,
        filter.partner.map(|p| p.0),
        filter.currency.map(|c| c.code().to_owned()),
        filter.as_of,
        filter.after.map_or("", |(path, _)| path.as_str()),
        filter.after.map_or("", |(_, currency)| currency.as_str()),
        limit,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|r| {
            let currency: Currency = r.currency.parse().map_err(unreadable)?;
            Ok(AccountBalance {
                account_id: r.account_id,
                account: r.path.parse().map_err(unreadable)?,
                balance: Money::new(r.balance_minor, currency),
                created_at: r.created_at,
            })
        })
        .collect()
}

/// Loads what a partner was owed by a program before a moment, by when entries take effect.
pub async fn load_balances_as_of(
    db: &mut PgConnection,
    program_id: ProgramId,
    partner_id: PartnerId,
    as_of: Timestamp,
) -> Result<Vec<Balance>, sqlx::Error> {
    let partner = Some(partner_id);
    let filter =
        AccountFilter { program_id, partner, currency: None, as_of: Some(as_of), after: None };
    let mut found: HashMap<Currency, Balance> = HashMap::new();
    // Two accounts in each currency.
    for row in load_accounts(db, filter, i64::MAX).await? {
        let currency = row.balance.currency;
        // Liabilities grow by credits.
        let owed = Money::new(row.balance.minor.saturating_neg(), currency);
        let zero = Money::zero(currency);
        let balance = found.entry(currency).or_insert(Balance { pending: zero, payable: zero });
        match row.account {
            Account::PartnerPending(..) => balance.pending = owed,
            Account::PartnerPayable(..) => balance.payable = owed,
            Account::CommissionExpense(_)
            | Account::AdjustmentExpense(_)
            | Account::PayoutInTransit(_)
            | Account::TaxWithheld(_)
            | Account::VatInput(_)
            | Account::Bank(..) => {}
        }
    }
    let mut balances: Vec<Balance> = found.into_values().collect();
    balances.sort_by_key(|b| b.pending.currency.code());
    Ok(balances)
}

/// A transaction in its place in the chain.
#[derive(Clone, Debug)]
pub struct Placed {
    /// Its place, from 1.
    pub sequence: i64,
    /// What was stored.
    pub transaction: LedgerTransaction,
    /// The hash before it.
    pub previous_hash: ChainHash,
    /// Its own.
    pub hash: ChainHash,
}

/// Which transactions to load; what is not given does not limit.
#[derive(Clone, Debug, Default)]
pub struct TransactionFilter {
    /// That touch an account of this partner.
    pub partner: Option<PartnerId>,
    /// For this.
    pub code: Option<Code>,
    /// Of this name.
    pub reference: Option<String>,
    /// Recorded from then on.
    pub recorded_from: Option<Timestamp>,
    /// Recorded before.
    pub recorded_to: Option<Timestamp>,
}

/// Finds the places of transactions after a place, in the order of the chain.
pub async fn find_places(
    db: &mut PgConnection,
    program_id: ProgramId,
    filter: &TransactionFilter,
    after: i64,
    limit: i64,
) -> Result<Vec<i64>, sqlx::Error> {
    let (code, reference) = (filter.code.map(Code::text), filter.reference.as_deref());
    let (from, to) = (filter.recorded_from, filter.recorded_to);
    if let Some(partner) = filter.partner {
        // From the partner's entries: few, where the whole chain is long.
        return sqlx::query_scalar!(
            "select distinct t.sequence
             from ledger_accounts a
             join ledger_entries e on e.program_id = a.program_id and e.account_id = a.account_id
             join ledger_transactions t
               on t.program_id = e.program_id
              and t.ledger_transaction_id = e.ledger_transaction_id
             where a.program_id = $1 and a.partner_id = $2 and t.sequence > $3
               and ($4::text is null or t.code = $4)
               and ($5::text is null or t.reference = $5)
               and ($6::timestamptz is null or t.recorded_at >= $6)
               and ($7::timestamptz is null or t.recorded_at < $7)
             order by t.sequence
             limit $8",
            program_id.0,
            partner.0,
            after,
            code,
            reference,
            from,
            to,
            limit,
        )
        .fetch_all(db)
        .await;
    }
    sqlx::query_scalar!(
        "select sequence
         from ledger_transactions
         where program_id = $1 and sequence > $2
           and ($3::text is null or code = $3)
           and ($4::text is null or reference = $4)
           and ($5::timestamptz is null or recorded_at >= $5)
           and ($6::timestamptz is null or recorded_at < $6)
         order by sequence
         limit $7",
        program_id.0,
        after,
        code,
        reference,
        from,
        to,
        limit,
    )
    .fetch_all(db)
    .await
}

/// Finds the place of a transaction, and whose book it is in.
pub async fn find_place(
    db: &mut PgConnection,
    id: LedgerTransactionId,
    programs: Option<&[ProgramId]>,
) -> Result<Option<(ProgramId, i64)>, sqlx::Error> {
    let programs: Option<Vec<Uuid>> = programs.map(|all| all.iter().map(|p| p.0).collect());
    let row = sqlx::query!(
        r#"select t.program_id as "program_id: ProgramId", t.sequence
           from programs p
           join ledger_transactions t
             on t.program_id = p.program_id and t.ledger_transaction_id = $1
           where $2::uuid[] is null or p.program_id = any($2)"#,
        id.0,
        programs.as_deref(),
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|r| (r.program_id, r.sequence)))
}

/// Why a stored transaction is none that this release could have written.
#[derive(Debug, thiserror::Error)]
#[error("transaction {id} is none that could have been posted: {why}")]
pub struct Unreadable {
    /// Which one.
    pub id: LedgerTransactionId,
    /// What is wrong with it.
    pub why: String,
}

/// Loads transactions at places of a chain, in their order; what cannot be read is told apart, so
/// that an audit can name it and go on.
pub async fn load_placed(
    db: &mut PgConnection,
    program_id: ProgramId,
    places: &[i64],
) -> Result<Vec<Result<Placed, Unreadable>>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select t.ledger_transaction_id as "id: LedgerTransactionId", t.sequence, t.code,
                  t.reference, t.currency, t.reverses_id as "reverses: LedgerTransactionId",
                  t.effective_at, t.recorded_at, t.previous_hash, t.hash,
                  array_agg(a.path order by e.line) as "paths!",
                  array_agg(e.amount_minor order by e.line) as "amounts!"
           from ledger_transactions t
           join ledger_entries e
             on e.program_id = t.program_id and e.ledger_transaction_id = t.ledger_transaction_id
           join ledger_accounts a
             on a.program_id = e.program_id and a.account_id = e.account_id
           where t.program_id = $1 and t.sequence = any($2)
           group by t.program_id, t.ledger_transaction_id
           order by t.sequence"#,
        program_id.0,
        places,
    )
    .fetch_all(db)
    .await?;
    let placed = rows.into_iter().map(|r| {
        let id = r.id;
        let read = || -> Result<Posting, String> {
            let head = Head {
                program: program_id,
                code: Code::from_text(&r.code).ok_or_else(|| format!("code {:?}", r.code))?,
                reference: r.reference.clone(),
                effective_at: r.effective_at,
                currency: r.currency.parse().map_err(|e| format!("{e}"))?,
                reverses: r.reverses,
            };
            let entries = r.paths.iter().zip(&r.amounts).map(|(path, amount)| {
                let account = path.parse().map_err(|e| format!("{e}"))?;
                Ok(Entry { account, amount_minor: *amount })
            });
            let entries = entries.collect::<Result<_, String>>()?;
            Posting::from_entries(head, entries).map_err(|e| e.to_string())
        };
        let posting = read().map_err(|why| Unreadable { id, why })?;
        Ok(Placed {
            sequence: r.sequence,
            transaction: LedgerTransaction { id, recorded_at: r.recorded_at, posting },
            previous_hash: r.previous_hash.try_into().unwrap_or(GENESIS),
            hash: r.hash.try_into().unwrap_or(GENESIS),
        })
    });
    Ok(placed.collect())
}
