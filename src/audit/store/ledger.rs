//! Queries about the ledger: balances, the chain, reversals, causes, closed months.

use sqlx::PgConnection;
use uuid::Uuid;

use super::{paged, whole};
use crate::audit::At;
use crate::ids::ProgramId;

paged! {
    /// Judges whether the entries of each transaction sum to zero.
    transactions of "transaction": "ledger_transactions", "ledger_transaction_id",
    ", t.code, t.currency",
    "select p.program_id, p.id,
            case when e.n < 2 or e.residue <> 0 or e.n_other > 0 then
                jsonb_build_object('code', p.code, 'currency', p.currency, 'n_entries', e.n,
                                   'residue_minor', e.residue, 'n_other_currency', e.n_other)
            end as wrong
     from page p
     cross join lateral (
         select count(*) as n, coalesce(sum(e.amount_minor), 0) as residue,
                count(*) filter (where e.currency <> p.currency) as n_other
         from ledger_entries e
         where e.program_id = p.program_id and e.ledger_transaction_id = p.id) e"
}

paged! {
    /// Judges whether the book of each program sums to zero in each currency.
    books of "program": "programs", "program_id", "",
    "select p.program_id, p.id,
            case when e.residue <> 0 then
                jsonb_build_object('currency', e.currency, 'residue_minor', e.residue)
            end as wrong
     from page p
     cross join lateral (
         select e.currency, sum(e.amount_minor) as residue
         from ledger_entries e
         where e.program_id = p.program_id
         group by e.currency) e"
}

paged! {
    /// Judges whether the kept balance of each account is the sum of its entries.
    balances of "account": "ledger_accounts", "account_id", ", t.path, t.currency",
    "select p.program_id, p.id,
            case when coalesce(b.balance_minor, 0) <> e.minor then
                jsonb_build_object('path', p.path, 'currency', p.currency,
                                   'balance_minor', b.balance_minor, 'entries_minor', e.minor)
            end as wrong
     from page p
     left join ledger_balances b on b.program_id = p.program_id and b.account_id = p.id
     cross join lateral (
         select coalesce(sum(e.amount_minor), 0) as minor
         from ledger_entries e
         where e.program_id = p.program_id and e.account_id = p.id) e"
}

paged! {
    /// Judges whether each transaction follows the one before it.
    chain of "transaction": "ledger_transactions", "ledger_transaction_id",
    ", t.sequence, t.previous_hash",
    "select p.program_id, p.id,
            case when p.sequence < 1
                   or (p.sequence = 1 and p.previous_hash <> decode(repeat('00', 32), 'hex'))
                   or (p.sequence > 1 and b.hash is distinct from p.previous_hash) then
                jsonb_build_object('sequence', p.sequence, 'has_one_before', b.hash is not null)
            end as wrong
     from page p
     left join ledger_transactions b
       on b.program_id = p.program_id and b.sequence = p.sequence - 1"
}

paged! {
    /// Judges whether each book ends where its head says.
    heads of "program": "ledger_heads", "program_id", ", t.sequence, t.hash",
    "select p.program_id, p.id,
            case when coalesce(b.sequence, 0) <> p.sequence
                   or (b.hash is not null and b.hash <> p.hash) then
                jsonb_build_object('head_sequence', p.sequence, 'last_sequence', b.sequence)
            end as wrong
     from page p
     left join lateral (
         select t.sequence, t.hash
         from ledger_transactions t
         where t.program_id = p.program_id
         order by t.sequence desc
         limit 1) b on true"
}

paged! {
    /// Judges whether each reversal undoes exactly what it reverses.
    reversals of "transaction": "ledger_transactions", "ledger_transaction_id",
    ", t.code, t.currency, t.reverses_id",
    "select p.program_id, p.id,
            case when r.ledger_transaction_id is null or r.currency <> p.currency
                   or e.n_left > 0 then
                jsonb_build_object('code', p.code, 'transaction', p.reverses_id,
                                   'accounts_left', e.n_left)
            end as wrong
     from page p
     left join ledger_transactions r
       on r.program_id = p.program_id and r.ledger_transaction_id = p.reverses_id
     cross join lateral (
         select count(*) as n_left
         from (
             select e.account_id
             from ledger_entries e
             where e.program_id = p.program_id
               and e.ledger_transaction_id in (p.id, p.reverses_id)
             group by e.account_id
             having sum(e.amount_minor) <> 0) s) e
     where p.reverses_id is not null"
}

paged! {
    /// Judges whether each transaction has the one thing that made it.
    causes of "transaction": "ledger_transactions", "ledger_transaction_id",
    ", t.code, t.reverses_id",
    "select p.program_id, p.id,
            case when n.causes <> 1 then
                jsonb_build_object('code', p.code, 'n_causes', n.causes)
            end as wrong
     from page p
     cross join lateral (
         select case
             when p.code in ('accrue', 'amend', 'approve', 'reject', 'reverse', 'clawback',
                             'adjust', 'bonus', 'write_off') then
                 (select count(*) from commission_steps h
                  where h.program_id = p.program_id and h.ledger_transaction_id = p.id)
                 + (select count(*) from adjustments a
                    where a.program_id = p.program_id and a.ledger_transaction_id = p.id)
             when p.code = 'payout_reserve' then
                 (select count(*) from payouts o
                  where o.program_id = p.program_id and o.reserve_transaction_id = p.id)
             when p.code in ('payout_cancel', 'payout_fail') then
                 (select count(*) from payouts o
                  where o.program_id = p.program_id and o.reserve_transaction_id = p.reverses_id
                    and o.status in ('canceled', 'failed'))
             when p.code = 'payout_pay' then
                 (select count(*) from payouts o
                  where o.program_id = p.program_id and o.pay_transaction_id = p.id)
             -- A return names its payout by its reference alone; it is found by who got it back.
             when p.code = 'payout_return' then
                 (select least(count(*), 1)
                  from ledger_entries e
                  join ledger_accounts a
                    on a.program_id = e.program_id and a.account_id = e.account_id
                  join payouts o
                    on o.program_id = a.program_id and o.partner_id = a.partner_id
                   and o.status = 'returned' and o.amount_minor = -e.amount_minor
                  where e.program_id = p.program_id and e.ledger_transaction_id = p.id)
         end as causes) n"
}

paged! {
    /// Judges whether closed months meet and still prove the book up to their end.
    closed_months of "program": "programs", "program_id", "",
    "select m.program_id, m.program_id as id,
            case when m.chain_hash is distinct from m.hash or m.gap then
                jsonb_build_object('period', m.period, 'last_sequence', m.last_sequence,
                                   'meets_the_month_before', not m.gap,
                                   'hash_is_the_chains', m.chain_hash = m.hash)
            end as wrong
     from (
         select c.program_id, c.period, c.last_sequence, c.chain_hash,
                case when c.last_sequence = 0 then decode(repeat('00', 32), 'hex')
                     else t.hash end as hash,
                coalesce(
                    c.starts_at <> lag(c.ends_at) over w
                    or c.after_sequence <> lag(c.last_sequence) over w, false) as gap
         from page p
         join closed_periods c on c.program_id = p.program_id
         left join ledger_transactions t
           on t.program_id = c.program_id and t.sequence = c.last_sequence
         window w as (partition by c.program_id order by c.starts_at)) m"
}

paged! {
    /// Judges whether each statement is what was told: its bytes, and the ledger behind them.
    statements of "statement": "statements", "statement_id",
    ", t.period, t.partner_id, t.currency, t.pending_closing_minor, t.closing_minor, t.n_lines,
       t.document, t.sha256",
    "select p.program_id, p.id,
            case when sha256(convert_to(p.document, 'UTF8')) <> p.sha256
                   or length(p.document) - length(replace(p.document, chr(10), ''))
                      <> p.n_lines + 1
                   or l.pending <> p.pending_closing_minor or l.payable <> p.closing_minor then
                jsonb_build_object(
                    'period', p.period, 'partner', p.partner_id,
                    'hash_is_the_documents', sha256(convert_to(p.document, 'UTF8')) = p.sha256,
                    'closing_minor', p.closing_minor, 'ledger_minor', l.payable,
                    'pending_closing_minor', p.pending_closing_minor,
                    'pending_ledger_minor', l.pending)
            end as wrong
     from page p
     join closed_periods c on c.program_id = p.program_id and c.period = p.period
     cross join lateral (
         select coalesce(-sum(e.amount_minor) filter (where a.path like '%:pending'), 0) as pending,
                coalesce(-sum(e.amount_minor) filter (where a.path like '%:payable'), 0) as payable
         from ledger_accounts a
         join ledger_entries e on e.program_id = a.program_id and e.account_id = a.account_id
         join ledger_transactions t
           on t.program_id = e.program_id
          and t.ledger_transaction_id = e.ledger_transaction_id
         where a.program_id = p.program_id and a.partner_id = p.partner_id
           and a.currency = p.currency
           and t.sequence <= c.last_sequence and t.effective_at < c.ends_at) l"
}

whole! {
    /// Judges whether what must only be added to cannot be changed by the service.
    append_only of "table":
    "select coalesce(g.guard, g.name) as id,
            case when has_table_privilege('tributary_service', g.name, 'update')
                   or has_table_privilege('tributary_service', g.name, 'delete')
                   or has_table_privilege('tributary_service', g.name, 'truncate')
                   or (g.guard is not null and not g.is_guarded) then
                jsonb_build_object(
                    'may_update', has_table_privilege('tributary_service', g.name, 'update'),
                    'may_delete', has_table_privilege('tributary_service', g.name, 'delete'),
                    'trigger_works', g.is_guarded)
            end as wrong
     from (
         select l.name, l.guard,
                exists (select from pg_trigger r
                        where r.tgrelid = l.name::regclass and r.tgname = l.guard
                          and r.tgenabled in ('O', 'A')) as is_guarded
         from (values
             ('ledger_transactions', 'ledger_transactions_append_only'),
             ('ledger_entries', 'ledger_entries_append_only'),
             ('audit_log', 'audit_log_append_only'),
             ('closed_periods', 'closed_periods_append_only'),
             ('statements', 'statements_append_only'),
             ('ledger_entries', 'ledger_entries_balance'), ('ledger_accounts', null),
             ('ledger_balances', null), ('plan_versions', null), ('commission_history', null),
             ('conversion_refunds', null), ('payout_carried_forward', null),
             ('payout_files', null)) as l (name, guard)) g"
}

/// Finds the places in the chain of a page of transactions.
pub(in crate::audit) async fn places(
    db: &mut PgConnection,
    at: &At<'_>,
) -> Result<Vec<(ProgramId, Uuid, i64)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select program_id as "program_id: ProgramId", ledger_transaction_id, sequence
           from ledger_transactions
           where (program_id, ledger_transaction_id) > ($1, $2) and program_id <= $3
           order by program_id, ledger_transaction_id
           limit $4"#,
        at.after.0,
        at.after.1,
        at.last_program,
        at.rows,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|r| (r.program_id, r.ledger_transaction_id, r.sequence)).collect())
}

paged! {
    /// Judges whether the kept sum of each day of an account is that of its entries.
    days of "account": "ledger_accounts", "account_id", "",
    "select p.program_id, p.id,
            case when n.off > 0 then
                jsonb_build_object('days_that_differ', n.off, 'first_day', n.first_day)
            end as wrong
     from page p
     cross join lateral (
         select count(*) filter (where is_off) as off, min(day) filter (where is_off) as first_day
         from (
             select day, r.amount_minor is distinct from d.amount_minor
                         or d.first_sequence > r.first_sequence
                         or d.last_sequence < r.last_sequence as is_off
             from (
                 select (e.effective_at at time zone 'UTC')::date as day,
                        sum(e.amount_minor)::bigint as amount_minor,
                        min(e.sequence) as first_sequence, max(e.sequence) as last_sequence
                 from ledger_entries e
                 where e.program_id = p.program_id and e.account_id = p.id
                 group by 1) r
             full join (
                 select d.day, d.amount_minor, d.first_sequence, d.last_sequence
                 from ledger_days d
                 where d.program_id = p.program_id and d.account_id = p.id) d using (day)) x) n"
}
