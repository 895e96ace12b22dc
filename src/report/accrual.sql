-- What was posted for partners by the month in which it takes effect. Each entry stands on one of a
-- partner's two accounts; what moves from pending to payable costs nothing and is told apart.
-- $1 program, $2 currency, $3 time zone, $4 from, $5 to, $6 these partners
with closed as (
    select array_agg(ends_at order by ends_at) as ends,
           array_agg(last_sequence order by ends_at) as lasts
    from closed_periods
    where program_id = $1
), months as (
    select array_agg(m at time zone $3 order by m) as starts,
           array_agg(to_char(m, 'YYYY-MM') order by m) as names
    from generate_series(date_trunc('month', $4::timestamptz at time zone $3),
                         $5::timestamptz at time zone $3, interval '1 month') m
), entries as (
    -- Summed by account, month and code before anything else is asked of them; the months are
    -- found in a list, because reckoning with time zones entry by entry takes longer than all else.
    select a.partner_id, a.path like '%:payable' as is_payable, w.names[x.month] as month,
           x.code, x.minor, x.late
    from closed q
    cross join months w
    cross join ledger_accounts a
    cross join lateral (
        select width_bucket(e.effective_at, w.starts) as month, e.code,
               -- Liabilities grow by negative entries.
               sum(-e.amount_minor) as minor,
               -- Recorded after the end of the first month that is not over before it takes effect.
               sum(-e.amount_minor) filter (
                   where e.recorded_at > e.effective_at
                     and e.sequence > q.lasts[width_bucket(e.effective_at, q.ends) + 1]) as late
        from ledger_entries e
        where e.program_id = a.program_id and e.account_id = a.account_id
          and e.effective_at >= $4 and e.effective_at < $5
        group by 1, 2) x
    where a.program_id = $1 and a.currency = $2 and a.partner_id = any($6)
      and x.code not like 'payout%'
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
       coalesce(sum(late), 0)::bigint as "late!",
       coalesce(sum(minor) filter (where code = 'approve' and is_payable), 0)::bigint
           as "approved!"
from entries x
join partners n on n.partner_id = x.partner_id
group by x.partner_id, n.name, x.month
order by x.partner_id, x.month
