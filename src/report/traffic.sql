-- Clicks, conversions and earnings of one day by partner and link.
-- $1 program, $2 currency, $3 time zone, $4 from, $5 to, $6 class of people, $7 class of bots,
-- $8 the one partner, or all
with parts as (
    select (h.hour at time zone $3)::date as day, h.partner_id, h.link_number,
           case when h.class = $6 then h.n_clicks else 0 end as n_clicks,
           case when h.class = $6 then h.n_unique else 0 end as n_unique,
           case when h.class = $7 then h.n_clicks else 0 end as n_bots,
           0::bigint as n_conversions, 0::bigint as n_whole, 0::bigint as n_leads,
           0::bigint as n_sales, 0::bigint as sale_minor, 0::bigint as commission_minor
    from click_hours h
    where h.program_id = $1 and h.hour >= $4 and h.hour < $5
    union all
    -- A shared conversion counts for each partner that has a part, with that part of its price:
    -- each part ends where the next one begins, so they sum to the whole.
    select (v.occurred_at at time zone $3)::date, s.partner_id, s.link_number, 0, 0, 0, 1,
           case when s.weight_before = 0 then 1 else 0 end,
           case when v.event = 'lead' then 1 else 0 end,
           case when v.event in ('sale', 'renewal') then 1 else 0 end,
           case when v.currency = $2 then
               (div(v.amount_minor::numeric * (s.weight_before + s.weight), s.weight_all)
                - div(v.amount_minor::numeric * s.weight_before, s.weight_all))::bigint
           else 0 end, 0
    from conversions v
    cross join lateral parts_of(v.path, v.partner_id, v.link_number, v.click_at, v.click_id) s
    where v.program_id = $1 and not v.is_test
      and v.attribution in ('click', 'coupon', 'customer')
      and v.occurred_at >= $4 and v.occurred_at < $5
    union all
    -- On the link of its own click; what nobody clicked for stands without one.
    select (v.occurred_at at time zone $3)::date, c.partner_id, s.link_number, 0, 0, 0, 0, 0, 0, 0,
           0, c.amount_minor
    from conversions v
    join commissions c on c.program_id = v.program_id and c.conversion_id = v.conversion_id
    left join lateral (
        select s.link_number
        from parts_of(v.path, v.partner_id, v.link_number, v.click_at, v.click_id) s
        where s.partner_id = c.partner_id) s on true
    where v.program_id = $1 and not v.is_test and c.currency = $2
      and c.state not in ('rejected', 'reversed')
      and v.occurred_at >= $4 and v.occurred_at < $5
    union all
    -- Clicks are paid by the day, not by the link.
    select (c.occurred_at at time zone $3)::date, c.partner_id, null, 0, 0, 0, 0, 0, 0, 0,
           0, c.amount_minor
    from commissions c
    where c.program_id = $1 and c.conversion_id is null and c.currency = $2
      and c.state not in ('rejected', 'reversed')
      and c.occurred_at >= $4 and c.occurred_at < $5
), summed as (
    select day, partner_id, link_number, sum(n_clicks)::bigint as n_clicks,
           sum(n_unique)::bigint as n_unique, sum(n_bots)::bigint as n_bots,
           sum(n_conversions)::bigint as n_conversions, sum(n_whole)::bigint as n_whole,
           sum(n_leads)::bigint as n_leads, sum(n_sales)::bigint as n_sales,
           sum(sale_minor)::bigint as sale_minor,
           sum(commission_minor)::bigint as commission_minor
    from parts
    where $8::uuid is null or partner_id = $8
    group by day, partner_id, link_number)
select s.day as "day!", s.partner_id as "partner_id!: PartnerId", n.name,
       s.link_number as "link_number?", l.link_id as "link_id?: LinkId", l.sub1 as "sub1?",
       g.slug as program, s.n_leads as "n_leads!", s.n_sales as "n_sales!",
       s.n_clicks as "n_clicks!", s.n_unique as "n_unique!", s.n_bots as "n_bots!",
       s.n_conversions as "n_conversions!", s.n_whole as "n_whole!", s.sale_minor as "sale_minor!",
       s.commission_minor as "commission_minor!"
from summed s
join partners n on n.partner_id = s.partner_id
join programs g on g.program_id = $1
left join links l
  on l.program_id = g.program_id and l.partner_id = s.partner_id and l.number = s.link_number
order by s.day, s.partner_id, s.link_number
