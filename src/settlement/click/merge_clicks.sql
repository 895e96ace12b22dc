-- Clicks that are not there yet, each once; tells which they are.
insert into clicks
    (program_id, day, click_id, at, partner_id, link_number, class, reason, is_unique, device, browser,
     flags, country, referrer_host, sub1, sub2, sub3, sub4, sub5, erid, landing)
select *
from unnest($1::uuid[], $2::date[], $3::uuid[], $4::timestamptz[], $5::uuid[], $6::bigint[],
            $7::smallint[], $8::smallint[], $9::boolean[], $10::smallint[], $11::smallint[],
            $12::smallint[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[],
            $18::text[], $19::text[], $20::text[], $21::text[])
on conflict on constraint clicks_pkey do nothing
returning program_id, click_id
