-- What moved on every partner's accounts, by what it was posted for, and what the ledger keeps.
-- $1 program, $2 currency, $3 from, $4 to, $5 after this partner, $6 partners at most
with chosen as (
    select distinct partner_id
    from ledger_accounts
    where program_id = $1 and currency = $2 and partner_id > $5
    order by partner_id
    limit $6
), entries as (
    select a.partner_id, a.path like '%:payable' as is_payable, t.code,
           e.amount_minor as minor, t.recorded_at < $3 as is_old,
           t.recorded_at >= $3 and t.recorded_at < $4 as is_in,
           t.recorded_at >= $4 as is_later
    from ledger_accounts a
    join ledger_entries e on e.program_id = a.program_id and e.account_id = a.account_id
    join ledger_transactions t
      on t.program_id = e.program_id
     and t.ledger_transaction_id = e.ledger_transaction_id
    where a.program_id = $1 and a.currency = $2
      and a.partner_id in (select partner_id from chosen)
), moved as (
    -- Liabilities grow by negative entries.
    select partner_id,
           sum(-minor) filter (where not is_payable and is_old) as pending_opening,
           sum(-minor) filter (where not is_payable and is_in
               and code in ('accrue', 'amend')) as accrued,
           sum(minor) filter (where is_in and code = 'reject') as rejected,
           sum(-minor) filter (where not is_payable and is_later) as pending_later,
           sum(-minor) filter (where is_payable and is_old) as opening,
           sum(-minor) filter (where is_payable and is_in and code = 'approve')
               as approved,
           sum(-minor) filter (where is_in and code = 'bonus') as bonuses,
           sum(-minor) filter (where is_in and code = 'adjust') as adjustments,
           sum(minor) filter (where is_in and code = 'reverse') as reversed,
           sum(minor) filter (where is_in and code = 'clawback') as clawed_back,
           sum(minor) filter (where is_in
               and code in ('payout_reserve', 'payout_cancel', 'payout_fail'))
               as set_aside,
           sum(-minor) filter (where is_in and code = 'payout_return') as returned,
           sum(-minor) filter (where is_in and code = 'write_off') as written_off,
           sum(-minor) filter (where is_payable and is_later) as later
    from entries
    group by partner_id
), kept as (
    select a.partner_id,
           sum(-b.balance_minor) filter (where a.path like '%:payable') as payable,
           sum(-b.balance_minor) filter (where a.path like '%:pending') as pending
    from ledger_accounts a
    join ledger_balances b on b.program_id = a.program_id and b.account_id = a.account_id
    where a.program_id = $1 and a.currency = $2
      and a.partner_id in (select partner_id from chosen)
    group by a.partner_id
), paid as (
    select p.partner_id, sum(p.amount_minor) as minor
    from payouts p
    join ledger_transactions t
      on t.program_id = p.program_id and t.ledger_transaction_id = p.pay_transaction_id
    where p.program_id = $1 and p.currency = $2
      and p.partner_id in (select partner_id from chosen)
      and t.recorded_at >= $3 and t.recorded_at < $4
    group by p.partner_id)
select n.partner_id as "partner_id: PartnerId", n.name,
       coalesce(m.pending_opening, 0)::bigint as "pending_opening!",
       coalesce(m.accrued, 0)::bigint as "accrued!",
       coalesce(m.rejected, 0)::bigint as "rejected!",
       (coalesce(k.pending, 0) - coalesce(m.pending_later, 0))::bigint
           as "pending_kept!",
       coalesce(m.opening, 0)::bigint as "opening!",
       coalesce(m.approved, 0)::bigint as "approved!",
       coalesce(m.bonuses, 0)::bigint as "bonuses!",
       coalesce(m.adjustments, 0)::bigint as "adjustments!",
       coalesce(m.reversed, 0)::bigint as "reversed!",
       coalesce(m.clawed_back, 0)::bigint as "clawed_back!",
       coalesce(m.set_aside, 0)::bigint as "set_aside!",
       coalesce(d.minor, 0)::bigint as "paid!",
       coalesce(m.returned, 0)::bigint as "returned!",
       coalesce(m.written_off, 0)::bigint as "written_off!",
       (coalesce(k.payable, 0) - coalesce(m.later, 0))::bigint as "kept!"
from moved m
full join kept k on k.partner_id = m.partner_id
join partners n on n.partner_id = coalesce(m.partner_id, k.partner_id)
left join paid d on d.partner_id = n.partner_id
order by n.partner_id
