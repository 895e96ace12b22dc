-- Conversions that earned nobody anything, after a place in time, a page at a time.
-- $1 program, $2 currency, $3 $4 after this time and conversion, $5 to, $6 rows at most
select v.conversion_id as "conversion_id: ConversionId", v.order_id, v.event,
       v.occurred_at, v.received_at, v.source_id as "source_id: SourceId",
       s.name as "source_name?", v.channel, v.attribution as reason, v.click_id,
       v.coupon_code, v.partner_id as "partner_id: PartnerId", v.amount_minor
from conversions v
left join sources s on s.program_id = v.program_id and s.source_id = v.source_id
where v.program_id = $1 and v.attribution not in ('click', 'coupon', 'customer')
  and not v.is_test
  and not exists (
      select from commissions c
      where c.program_id = v.program_id and c.conversion_id = v.conversion_id)
  and (v.currency = $2 or v.currency is null)
  and (v.occurred_at, v.conversion_id) > ($3, $4) and v.occurred_at < $5
order by v.occurred_at, v.conversion_id
limit $6
