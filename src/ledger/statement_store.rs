//! SQL of statements.

use std::collections::BTreeMap;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::ids::{LedgerTransactionId, PartnerId, ProgramId, StatementId};
use crate::ledger::period::{ClosedPeriod, Month};
use crate::ledger::posting::Code;
use crate::ledger::statement::{Line, Side, Statement};
use crate::money::{Currency, Money};

/// Loads the partners of a program that have accounts, in the order of their keys, with names.
pub async fn load_partners(
    db: &mut PgConnection,
    program_id: ProgramId,
    after: PartnerId,
    limit: i64,
) -> Result<Vec<(PartnerId, String)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select p.partner_id as "partner_id: PartnerId", p.name
           from (select distinct partner_id
                 from ledger_accounts
                 where program_id = $1 and partner_id > $2
                 order by 1
                 limit $3) a
           join partners p on p.partner_id = a.partner_id
           order by p.partner_id"#,
        program_id.0,
        after.0,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|r| (r.partner_id, r.name)).collect())
}

fn unknown(what: &str, text: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("{what} is {text:?}").into())
}

fn currency(code: &str) -> Result<Currency, sqlx::Error> {
    code.parse().map_err(|_| unknown("a currency", code))
}

/// What was there before a month: pending and payable, minor units.
pub type Openings = BTreeMap<(PartnerId, Currency), (i64, i64)>;

/// Sums what partners had when the month before it was closed.
pub async fn load_openings(
    db: &mut PgConnection,
    period: &ClosedPeriod,
    partners: &[Uuid],
) -> Result<Openings, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select a.partner_id as "partner_id!: PartnerId", a.currency,
                  coalesce(sum(-e.amount_minor) filter (where a.path like '%:pending'), 0)::bigint
                      as "pending!",
                  coalesce(sum(-e.amount_minor) filter (where a.path like '%:payable'), 0)::bigint
                      as "payable!"
           from ledger_accounts a
           join ledger_entries e on e.program_id = a.program_id and e.account_id = a.account_id
           where a.program_id = $1 and a.partner_id = any($2)
             and e.sequence <= $3 and e.effective_at < $4
           group by a.partner_id, a.currency"#,
        period.program_id.0,
        partners,
        period.after_sequence,
        period.starts_at,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|r| Ok(((r.partner_id, currency(&r.currency)?), (r.pending, r.payable))))
        .collect()
}

/// The lines of a month, by partner and currency, each in the order of the ledger.
pub type Lines = BTreeMap<(PartnerId, Currency), Vec<Line>>;

/// Loads what belongs to a month for partners.
pub async fn load_lines(
    db: &mut PgConnection,
    period: &ClosedPeriod,
    partners: &[Uuid],
) -> Result<Lines, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select a.partner_id as "partner_id!: PartnerId", a.currency,
                  a.path like '%:payable' as "is_payable!",
                  t.ledger_transaction_id as "transaction: LedgerTransactionId",
                  t.effective_at, t.recorded_at, t.code, t.reference, e.amount_minor,
                  v.order_id as "order_id?"
           from ledger_accounts a
           join ledger_entries e on e.program_id = a.program_id and e.account_id = a.account_id
           join ledger_transactions t
             on t.program_id = e.program_id
            and t.ledger_transaction_id = e.ledger_transaction_id
           left join lateral (
               select c.conversion_id
               from commission_steps h
               join commissions c
                 on c.program_id = h.program_id and c.commission_id = h.commission_id
               where h.program_id = t.program_id
                 and h.ledger_transaction_id = t.ledger_transaction_id
               limit 1) c on true
           left join conversions v
             on v.program_id = t.program_id and v.conversion_id = c.conversion_id
           where a.program_id = $1 and a.partner_id = any($2)
             and e.sequence <= $3 and e.effective_at < $4
             and not (e.sequence <= $5 and e.effective_at < $6)
           order by a.partner_id, a.currency, e.sequence, a.path"#,
        period.program_id.0,
        partners,
        period.last_sequence,
        period.ends_at,
        period.after_sequence,
        period.starts_at,
    )
    .fetch_all(db)
    .await?;
    let mut lines = Lines::new();
    for r in rows {
        let code = Code::from_text(&r.code).ok_or_else(|| unknown("a ledger code", &r.code))?;
        lines.entry((r.partner_id, currency(&r.currency)?)).or_default().push(Line {
            transaction: r.transaction,
            effective_at: r.effective_at,
            recorded_at: r.recorded_at,
            code,
            reference: r.reference,
            order_id: r.order_id,
            side: if r.is_payable { Side::Payable } else { Side::Pending },
            // Liabilities grow by negative entries.
            amount_minor: -r.amount_minor,
        });
    }
    Ok(lines)
}

/// Keeps statements for good.
pub async fn insert_statements(
    db: &mut PgConnection,
    period: &ClosedPeriod,
    statements: &[Statement],
) -> Result<(), sqlx::Error> {
    let ids: Vec<Uuid> = statements.iter().map(|_| StatementId::new().0).collect();
    let heading = || statements.iter().map(|s| &s.heading);
    sqlx::query!(
        "insert into statements
             (program_id, statement_id, number, period, partner_id, currency,
              pending_opening_minor, pending_closing_minor, opening_minor, closing_minor, n_lines,
              document, sha256, created_at)
         select $1, n.id, n.number, $2, n.partner_id, n.currency, n.pending_opening,
                n.pending_closing, n.opening, n.closing, n.n_lines, n.document,
                sha256(convert_to(n.document, 'UTF8')), $3
         from unnest($4::uuid[], $5::text[], $6::uuid[], $7::text[], $8::bigint[], $9::bigint[],
                     $10::bigint[], $11::bigint[], $12::bigint[], $13::text[])
              as n (id, number, partner_id, currency, pending_opening, pending_closing, opening,
                    closing, n_lines, document)",
        period.program_id.0,
        period.month.to_string(),
        period.closed_at,
        &ids,
        &heading().map(|h| h.number.clone()).collect::<Vec<_>>(),
        &heading().map(|h| h.partner_id.0).collect::<Vec<_>>(),
        &heading().map(|h| h.currency.code().to_owned()).collect::<Vec<_>>(),
        &heading().map(|h| h.pending_opening_minor).collect::<Vec<_>>(),
        &statements.iter().map(|s| s.pending_closing_minor).collect::<Vec<_>>(),
        &heading().map(|h| h.opening_minor).collect::<Vec<_>>(),
        &statements.iter().map(|s| s.closing_minor).collect::<Vec<_>>(),
        &statements
            .iter()
            .map(|s| i64::try_from(s.n_lines).unwrap_or(i64::MAX))
            .collect::<Vec<_>>(),
        &statements.iter().map(|s| s.document.clone()).collect::<Vec<_>>(),
    )
    .execute(db)
    .await
    .map(drop)
}

/// A statement as lists show it.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its key.
    pub statement_id: StatementId,
    /// Whose program.
    pub program_id: ProgramId,
    /// Its number.
    pub number: String,
    /// Its month.
    pub period: String,
    /// Who was told.
    pub partner_id: PartnerId,
    /// Pending at the beginning and at the end.
    pub pending: (Money, Money),
    /// Payable at the beginning and at the end.
    pub payable: (Money, Money),
    /// How many entries it has.
    pub n_lines: i64,
    /// SHA-256 of its document.
    pub sha256: Vec<u8>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Which statements to list; what is not given does not limit.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of these programs.
    pub programs: Option<Vec<ProgramId>>,
    /// Of this one alone.
    pub id: Option<StatementId>,
    /// Of this partner.
    pub partner: Option<PartnerId>,
    /// Of this month.
    pub period: Option<Month>,
    /// Made before this one: the newest come first.
    pub before: Option<StatementId>,
}

/// Lists statements, the newest first.
pub async fn load_statements(
    db: &mut PgConnection,
    filter: &Filter,
    limit: i64,
) -> Result<Vec<Listed>, sqlx::Error> {
    let programs: Option<Vec<Uuid>> =
        filter.programs.as_ref().map(|all| all.iter().map(|p| p.0).collect());
    let rows = sqlx::query!(
        r#"select statement_id as "statement_id: StatementId",
                  program_id as "program_id: ProgramId", number, period,
                  partner_id as "partner_id: PartnerId", currency, pending_opening_minor,
                  pending_closing_minor, opening_minor, closing_minor, n_lines, sha256, created_at
           from statements
           where ($1::uuid[] is null or program_id = any($1))
             and ($2::uuid is null or statement_id = $2)
             and ($3::uuid is null or partner_id = $3)
             and ($4::text is null or period = $4)
             and ($5::uuid is null or statement_id < $5)
           order by statement_id desc
           limit $6"#,
        programs.as_deref(),
        filter.id.map(|i| i.0),
        filter.partner.map(|p| p.0),
        filter.period.map(|m| m.to_string()),
        filter.before.map(|i| i.0),
        limit,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|r| {
            let currency = currency(&r.currency)?;
            let money = |minor| Money::new(minor, currency);
            Ok(Listed {
                statement_id: r.statement_id,
                program_id: r.program_id,
                number: r.number,
                period: r.period,
                partner_id: r.partner_id,
                pending: (money(r.pending_opening_minor), money(r.pending_closing_minor)),
                payable: (money(r.opening_minor), money(r.closing_minor)),
                n_lines: r.n_lines,
                sha256: r.sha256,
                created_at: r.created_at,
            })
        })
        .collect()
}

/// Loads the bytes of a statement.
pub async fn load_document(
    db: &mut PgConnection,
    program_id: ProgramId,
    id: StatementId,
) -> Result<String, sqlx::Error> {
    sqlx::query_scalar!(
        "select document from statements where program_id = $1 and statement_id = $2",
        program_id.0,
        id.0,
    )
    .fetch_one(db)
    .await
}
