-- Conversions of a time that are nobody's, a page at a time, each with what came closest: the click
-- that did not count, or the partner who brought the same customer before.
-- $1 program, $2 currency, $3 $4 after this time and id, $5 to, $6 rows at most, $7 attributions
-- that name somebody
select v.conversion_id as "conversion_id: ConversionId", v.event, v.order_id, v.occurred_at,
       v.received_at, v.source_id as "source_id: SourceId", s.name as source_name, v.channel,
       v.trust, v.amount_minor, v.refunded_minor, v.attribution, v.click_id, v.coupon_code,
       v.partner_id as "partner_id: PartnerId", v.link_number, v.click_at,
       v.receipt_id as "receipt_id: ReceiptId",
       k.partner_id as "customer_of?: PartnerId", k.occurred_at as "customer_since?"
from conversions v
join sources s on s.program_id = v.program_id and s.source_id = v.source_id
left join lateral (
    select e.partner_id, e.occurred_at
    from conversions e
    where e.program_id = v.program_id and e.customer_hash = v.customer_hash
      and e.occurred_at < v.occurred_at and e.attribution = any($7) and e.partner_id is not null
    order by e.occurred_at desc
    limit 1) k on true
where v.program_id = $1 and v.attribution <> 'click' and not v.attribution = any($7)
  and (v.currency = $2 or v.currency is null) and not v.is_test
  and (v.occurred_at, v.conversion_id) > ($3, $4) and v.occurred_at < $5
  -- A claim may have made it somebody's after all.
  and not exists (
      select from commissions c
      where c.program_id = v.program_id and c.conversion_id = v.conversion_id
        and c.kind = 'earned')
order by v.occurred_at, v.conversion_id
limit $6
