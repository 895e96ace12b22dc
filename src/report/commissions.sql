-- Commissions after a place in the order of their making, a page at a time, each with the statement
-- in which it became payable.
-- $1 program, $2 currency, $3 $4 after this time and id, $5 to, $6 rows at most
select c.commission_id as "commission_id: CommissionId", c.kind, c.state,
       c.conversion_id as "conversion_id: ConversionId", v.order_id as "order_id?",
       coalesce(v.event, 'click') as "event!", c.occurred_at,
       w.click_at as "click_at?", w.partner_id as "click_partner_id?: PartnerId", c.created_at,
       c.approved_at, c.hold_until, c.partner_id as "partner_id: PartnerId",
       p.name as partner_name, g.slug as program, l.link_id as "link_id?: LinkId",
       w.link_number as "link_number?", v.base_minor as "base_minor?",
       v.currency as "base_currency?", c.calculation,
       c.plan_version_id as "plan_version_id: PlanVersionId", c.amount_minor, c.reason,
       c.corrects_id as "corrects_id: CommissionId", c.payout_id as "payout_id: PayoutId",
       n.number as "statement_no?"
from (
    select *
    from commissions
    where program_id = $1 and currency = $2
      and (created_at, commission_id) > ($3, $4) and created_at < $5
    order by created_at, commission_id
    limit $6) c
left join conversions v on v.program_id = c.program_id and v.conversion_id = c.conversion_id
join partners p on p.partner_id = c.partner_id
join programs g on g.program_id = c.program_id
-- Of a shared conversion each partner has a click of its own.
left join lateral (
    select v.partner_id, v.link_number, v.click_at
    where v.path is null
    union all
    select s.partner_id, s.link_number, s.click_at
    from parts_of(v.path, v.partner_id, v.link_number, v.click_at, v.click_id) s
    where v.path is not null and s.partner_id = c.partner_id) w on true
left join links l
  on l.program_id = v.program_id and l.partner_id = w.partner_id and l.number = w.link_number
left join lateral (
    select s.number
    from commission_steps h
    join ledger_transactions t
      on t.program_id = h.program_id and t.ledger_transaction_id = h.ledger_transaction_id
    join closed_periods q
      on q.program_id = t.program_id
     and t.sequence <= q.last_sequence and t.effective_at < q.ends_at
     and not (t.sequence <= q.after_sequence and t.effective_at < q.starts_at)
    join statements s
      on s.program_id = c.program_id and s.period = q.period
     and s.partner_id = c.partner_id and s.currency = c.currency
    where h.program_id = c.program_id and h.commission_id = c.commission_id
      and h.to_state = 'approved' and (h.from_state is null or h.from_state = 'pending')
    order by h.revision
    limit 1) n on true
order by c.created_at, c.commission_id
