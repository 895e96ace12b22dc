-- Payouts of the batches made in a time, each with the balance before it, what moved since the
-- partner's payout before it, and the balance after it.
-- $1 program, $2 currency, $3 from, $4 to, $5 $6 after this batch and partner, $7 rows at most
with chosen as (
    select p.*, b.period, b.approved_by, r.sequence, e.account_id,
           e.amount_minor as ledger_minor
    from payout_batches b
    join payouts p
      on p.program_id = b.program_id and p.payout_batch_id = b.payout_batch_id
    join ledger_transactions r
      on r.program_id = p.program_id
     and r.ledger_transaction_id = p.reserve_transaction_id
    join ledger_entries e
      on e.program_id = r.program_id
     and e.ledger_transaction_id = r.ledger_transaction_id
    -- Of the accounts of a reserve, only payable is a partner's.
    join ledger_accounts a
      on a.program_id = e.program_id and a.account_id = e.account_id
     and a.partner_id = p.partner_id
    where b.program_id = $1 and b.currency = $2
      and b.created_at >= $3 and b.created_at < $4
      and (p.payout_batch_id, p.partner_id) > ($5, $6)
    order by p.payout_batch_id, p.partner_id
    limit $7)
select c.payout_id as "payout_id: PayoutId",
       c.payout_batch_id as "payout_batch_id: PayoutBatchId", c.period,
       c.partner_id as "partner_id: PartnerId", n.name, n.kind, n.country, c.status,
       c.amount_minor, i.items_minor as "items_minor!", c.ledger_minor,
       m.opening as "opening!", m.approved as "approved!", m.bonuses as "bonuses!",
       m.reversals as "reversals!", m.clawbacks as "clawbacks!",
       m.adjustments as "adjustments!", m.returned as "returned!",
       m.closing as "closing!", c.paid_at, c.bank_reference, c.failure_reason,
       c.approved_by as "approved_by: UserId",
       c.reserve_transaction_id as "reserve_transaction_id: LedgerTransactionId"
from chosen c
join partners n on n.partner_id = c.partner_id
cross join lateral (
    select coalesce(sum(x.amount_minor), 0)::bigint as items_minor
    from (select program_id, payout_id, amount_minor from payout_items
          union all
          select program_id, payout_id, amount_minor from payout_adjustments) x
    where x.program_id = c.program_id and x.payout_id = c.payout_id) i
cross join lateral (
    select coalesce(max(t.sequence), 0) as sequence
    from ledger_entries e
    join ledger_transactions t
      on t.program_id = e.program_id
     and t.ledger_transaction_id = e.ledger_transaction_id
    where e.program_id = c.program_id and e.account_id = c.account_id
      and t.code = 'payout_reserve' and t.sequence < c.sequence) before
cross join lateral (
    select coalesce(sum(-v.minor) filter (where not v.is_new), 0)::bigint as opening,
           coalesce(sum(-v.minor) filter (where v.is_new and v.code = 'approve'), 0)
               ::bigint as approved,
           coalesce(sum(-v.minor) filter (
               where v.is_new and v.code in ('bonus', 'write_off')), 0)
               ::bigint as bonuses,
           coalesce(sum(v.minor) filter (where v.is_new and v.code = 'reverse'), 0)
               ::bigint as reversals,
           coalesce(sum(v.minor) filter (where v.is_new and v.code = 'clawback'), 0)
               ::bigint as clawbacks,
           coalesce(sum(-v.minor) filter (where v.is_new and v.code = 'adjust'), 0)
               ::bigint as adjustments,
           coalesce(sum(-v.minor) filter (
               where v.is_new
                 and v.code in ('payout_cancel', 'payout_fail', 'payout_return')), 0)
               ::bigint as returned,
           coalesce(sum(-v.minor), 0)::bigint as closing
    from (
        select e.amount_minor as minor, t.code, t.sequence > before.sequence as is_new
        from ledger_entries e
        join ledger_transactions t
          on t.program_id = e.program_id
         and t.ledger_transaction_id = e.ledger_transaction_id
        where e.program_id = c.program_id and e.account_id = c.account_id
          and t.sequence <= c.sequence) v) m
order by c.payout_batch_id, c.partner_id
