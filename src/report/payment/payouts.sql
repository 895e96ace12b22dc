-- Payouts of the batches made in a time, each with the balance before it, what moved since the
-- partner's payout before it, and the balance after it.
-- $1 program, $2 currency, $3 from, $4 to, $5 $6 after this batch and partner, $7 rows at most
with chosen as materialized (
    select p.*, b.period, b.approved_by, b.execution_on, b.created_at as made_at
    from payout_batches b
    join payouts p
      on p.program_id = b.program_id and p.payout_batch_id = b.payout_batch_id
    where b.program_id = $1 and b.currency = $2
      and b.created_at >= $3 and b.created_at < $4
      and (p.payout_batch_id, p.partner_id) > ($5, $6)
    order by p.payout_batch_id, p.partner_id
    limit $7)
select c.payout_id as "payout_id: PayoutId",
       c.payout_batch_id as "payout_batch_id: PayoutBatchId", c.period,
       s.number as "statement_no?", c.partner_id as "partner_id: PartnerId", n.name, n.kind,
       n.country, c.legal_type, c.tax_id, c.vat_id, c.vat_treatment, c.vat_rate_bps, c.vat_minor,
       c.withheld_minor, c.method_kind, c.account_masked, c.document_no, c.receipt_no,
       c.receipt_on, c.execution_on, c.status, f.amount_minor as "carried_in?", c.amount_minor,
       i.items_minor as "items_minor!", r.ledger_minor,
       m.opening as "opening!", m.approved as "approved!", m.bonuses as "bonuses!",
       m.reversals as "reversals!", m.clawbacks as "clawbacks!",
       m.adjustments as "adjustments!", m.returned as "returned!",
       m.closing as "closing!", c.paid_at, c.bank_reference, c.failure_reason,
       c.approved_by as "approved_by: UserId",
       c.reserve_transaction_id as "reserve_transaction_id: LedgerTransactionId"
from chosen c
join partners n on n.partner_id = c.partner_id
-- Of the accounts of a reserve, only payable is a partner's.
cross join lateral (
    select e.account_id, e.sequence, e.effective_at, e.amount_minor as ledger_minor
    from ledger_entries e
    join ledger_accounts a
      on a.program_id = e.program_id and a.account_id = e.account_id
     and a.partner_id = c.partner_id
    where e.program_id = c.program_id
      and e.ledger_transaction_id = c.reserve_transaction_id) r
cross join lateral (
    select coalesce(sum(x.amount_minor), 0)::bigint as items_minor
    from (select program_id, payout_id, amount_minor from payout_items
          union all
          select program_id, payout_id, amount_minor from payout_adjustments) x
    where x.program_id = c.program_id and x.payout_id = c.payout_id) i
left join lateral (
    select e.sequence, e.recorded_at
    from ledger_entries e
    where e.program_id = c.program_id and e.account_id = r.account_id
      and e.code = 'payout_reserve' and e.sequence < r.sequence
    order by e.sequence desc
    limit 1) before on true
-- Everything up to the reserve, summed by code before anything else is asked of it.
cross join lateral (
    select coalesce(sum(-v.old), 0)::bigint as opening,
           coalesce(sum(-v.new) filter (where v.code = 'approve'), 0)::bigint as approved,
           coalesce(sum(-v.new) filter (where v.code in ('bonus', 'write_off')), 0)::bigint
               as bonuses,
           coalesce(sum(v.new) filter (where v.code = 'reverse'), 0)::bigint as reversals,
           coalesce(sum(v.new) filter (where v.code = 'clawback'), 0)::bigint as clawbacks,
           coalesce(sum(-v.new) filter (where v.code = 'adjust'), 0)::bigint as adjustments,
           coalesce(sum(-v.new) filter (
               where v.code in ('payout_cancel', 'payout_fail', 'payout_return')), 0)::bigint
               as returned,
           coalesce(sum(-v.whole), 0)::bigint as closing
    from (
        select e.code, sum(e.amount_minor) as whole,
               sum(e.amount_minor) filter (where e.sequence <= coalesce(before.sequence, 0))
                   as old,
               sum(e.amount_minor) filter (where e.sequence > coalesce(before.sequence, 0))
                   as new
        from ledger_entries e
        where e.program_id = c.program_id and e.account_id = r.account_id
          and e.sequence <= r.sequence
        group by e.code) v) m
-- What the last batch since the partner's payout before this one did not pay.
left join lateral (
    select w.amount_minor
    from payout_carried_forward w
    join payout_batches q
      on q.program_id = w.program_id and q.payout_batch_id = w.payout_batch_id
    where w.program_id = c.program_id and w.partner_id = c.partner_id
      and q.currency = $2 and q.status <> 'canceled' and q.created_at < c.made_at
      and (before.recorded_at is null or q.created_at > before.recorded_at)
    order by q.created_at desc
    limit 1) f on true
-- The statement that tells of the reserve.
left join lateral (
    select s.number
    from closed_periods q
    join statements s
      on s.program_id = q.program_id and s.period = q.period
     and s.partner_id = c.partner_id and s.currency = $2
    where q.program_id = c.program_id
      and r.sequence <= q.last_sequence and r.effective_at < q.ends_at
      and not (r.sequence <= q.after_sequence and r.effective_at < q.starts_at)
    limit 1) s on true
order by c.payout_batch_id, c.partner_id
