-- What partners are owed at a time, and what became payable lately: in three stretches of thirty days.
-- $1 program, $2 currency, $3 partners, $4 as of, $5 $6 $7 thirty, sixty, ninety days before
select n.partner_id as "partner_id: PartnerId", n.name,
       coalesce(sum(-x.minor) filter (where a.path like '%:pending'), 0)::bigint as "pending!",
       coalesce(sum(-x.minor) filter (where a.path like '%:payable'), 0)::bigint as "payable!",
       coalesce(sum(-x.in_30) filter (where a.path like '%:payable'), 0)::bigint as "in_30!",
       coalesce(sum(-x.in_60) filter (where a.path like '%:payable'), 0)::bigint as "in_60!",
       coalesce(sum(-x.in_90) filter (where a.path like '%:payable'), 0)::bigint as "in_90!"
from ledger_accounts a
cross join lateral (
    select sum(e.amount_minor) as minor,
           sum(e.amount_minor) filter (
               where e.effective_at >= $5 and e.amount_minor < 0
                 and e.code not like 'payout%') as in_30,
           sum(e.amount_minor) filter (
               where e.effective_at >= $6 and e.effective_at < $5 and e.amount_minor < 0
                 and e.code not like 'payout%') as in_60,
           sum(e.amount_minor) filter (
               where e.effective_at >= $7 and e.effective_at < $6 and e.amount_minor < 0
                 and e.code not like 'payout%') as in_90
    from ledger_entries e
    where e.program_id = a.program_id and e.account_id = a.account_id
      and e.recorded_at < $4) x
join partners n on n.partner_id = a.partner_id
where a.program_id = $1 and a.currency = $2 and a.partner_id = any($3)
group by n.partner_id, n.name
order by n.partner_id
