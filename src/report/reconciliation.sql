-- What moved on every partner's accounts, by what it was posted for, and what the ledger keeps.
-- $1 program, $2 currency, $3 from, $4 to, $5 after this partner, $6 partners at most
with chosen as (
    select distinct partner_id
    from ledger_accounts
    where program_id = $1 and currency = $2 and partner_id > $5
    order by partner_id
    limit $6
), entries as (
    -- Summed by account and code before anything else is asked of them.
    select a.partner_id, a.path like '%:payable' as is_payable, x.code, x.old, x.inside, x.later
    from ledger_accounts a
    cross join lateral (
        select e.code,
               sum(e.amount_minor) filter (where e.recorded_at < $3) as old,
               sum(e.amount_minor) filter (where e.recorded_at >= $3 and e.recorded_at < $4)
                   as inside,
               sum(e.amount_minor) filter (where e.recorded_at >= $4) as later
        from ledger_entries e
        where e.program_id = a.program_id and e.account_id = a.account_id
        group by e.code) x
    where a.program_id = $1 and a.currency = $2
      and a.partner_id in (select partner_id from chosen)
), moved as (
    -- Liabilities grow by negative entries.
    select partner_id,
           sum(-old) filter (where not is_payable) as pending_opening,
           sum(-inside) filter (where not is_payable and code in ('accrue', 'amend'))
               as accrued,
           sum(inside) filter (where code = 'reject') as rejected,
           sum(-later) filter (where not is_payable) as pending_later,
           sum(-old) filter (where is_payable) as opening,
           sum(-inside) filter (where is_payable and code = 'approve') as approved,
           sum(-inside) filter (where code = 'bonus') as bonuses,
           sum(-inside) filter (where code = 'adjust') as adjustments,
           sum(inside) filter (where code = 'reverse') as reversed,
           sum(inside) filter (where code = 'clawback') as clawed_back,
           sum(inside) filter (where code in ('payout_reserve', 'payout_cancel', 'payout_fail'))
               as set_aside,
           sum(-inside) filter (where code = 'payout_return') as returned,
           sum(-inside) filter (where code = 'write_off') as written_off,
           sum(-later) filter (where is_payable) as later
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
