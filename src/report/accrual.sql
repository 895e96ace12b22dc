-- What was posted for partners by the month in which it takes effect. Each entry stands on one of a
-- partner's two accounts; what moves from pending to payable costs nothing and is told apart.
-- $1 program, $2 currency, $3 time zone, $4 from, $5 to, $6 these partners
with entries as (
    select a.partner_id, to_char(t.effective_at at time zone $3, 'YYYY-MM') as month, t.code,
           -- Liabilities grow by negative entries.
           -e.amount_minor as minor, a.path like '%:payable' as is_payable,
           exists (
               select from closed_periods q
               where q.program_id = t.program_id
                 and t.sequence > q.last_sequence and t.effective_at < q.ends_at) as is_late
    from ledger_accounts a
    join ledger_entries e on e.program_id = a.program_id and e.account_id = a.account_id
    join ledger_transactions t
      on t.program_id = e.program_id and t.ledger_transaction_id = e.ledger_transaction_id
    where a.program_id = $1 and a.currency = $2 and a.partner_id = any($6)
      and t.effective_at >= $4 and t.effective_at < $5
      and t.code not like 'payout%'
)
select x.partner_id as "partner_id!: PartnerId", n.name, x.month as "month!",
       coalesce(sum(minor) filter (where code in ('accrue', 'amend')), 0)::bigint as "accrued!",
       coalesce(sum(-minor) filter (where code = 'reject'), 0)::bigint as "rejected!",
       coalesce(sum(-minor) filter (where code = 'reverse'), 0)::bigint as "reversed!",
       coalesce(sum(-minor) filter (where code = 'clawback'), 0)::bigint as "clawed_back!",
       coalesce(sum(minor) filter (where code = 'adjust'), 0)::bigint as "adjustments!",
       coalesce(sum(minor) filter (where code = 'bonus'), 0)::bigint as "bonuses!",
       coalesce(sum(minor) filter (where code = 'write_off'), 0)::bigint as "written_off!",
       -- An approval's two entries cancel each other out.
       sum(minor)::bigint as "cost!",
       coalesce(sum(minor) filter (where is_late), 0)::bigint as "late!",
       coalesce(sum(minor) filter (where code = 'approve' and is_payable), 0)::bigint
           as "approved!"
from entries x
join partners n on n.partner_id = x.partner_id
group by x.partner_id, n.name, x.month
order by x.partner_id, x.month
