-- What is known of the clicks of conversions: a click's time is that of its click id, to the millisecond.
-- The days are named by themselves, so that no other partition is even planned for.
-- $1 program, $2 first day, $3 last day, $4 partners, $5 links, $6 times
select q.place as "place!", k.sub1, k.sub2, k.sub3, k.sub4, k.sub5
from unnest($4::uuid[], $5::bigint[], $6::timestamptz[])
         with ordinality as q (partner_id, link_number, at, place)
cross join lateral (
    select sub1, sub2, sub3, sub4, sub5
    from clicks
    where program_id = $1 and day >= $2 and day <= $3
      and day = (q.at at time zone 'UTC')::date
      and click_id >= click_keys_from(q.at) and click_id < click_keys_from(q.at + interval '1 ms')
      and partner_id = q.partner_id and at = q.at and link_number = q.link_number
    order by click_id
    limit 1) k
