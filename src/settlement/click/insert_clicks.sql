-- Clicks of a batch, each once, with their hourly sums; returns how many were new.
with batch as (
    -- One event may stand in the batch twice.
    select distinct on (g.program_id, n.click_id)
           g.program_id, p.partner_id, n.*
    from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::uuid[],
                $5::timestamptz[], $6::date[], $7::smallint[], $8::smallint[],
                $9::smallint[], $10::smallint[], $11::smallint[], $12::bigint[],
                $13::text[], $14::text[], $15::text[], $16::text[], $17::text[],
                $18::text[], $19::text[], $20::text[], $21::text[])
         as n (program, partner, link_number, click_id, at, day, class, reason, device,
               browser, flags, seen, country, referrer_host, sub1, sub2, sub3, sub4,
               sub5, erid, landing)
    join programs g on g.number = n.program
    join partners p on p.number = n.partner
    order by g.program_id, n.click_id
), fresh as (
    select b.* from batch b
    where not exists (
        select 1 from clicks c
        where c.program_id = b.program_id
          and c.day = b.day
          and c.click_id = b.click_id)
), first_seen as (
    -- Only a person's visit has a name.
    insert into seen_visitors (seen, day)
    select distinct f.seen, f.day
    from fresh f
    where f.seen is not null
    order by f.seen
    on conflict on constraint seen_visitors_pkey do nothing
    returning seen
), judged as (
    -- The first click of a visitor on a link that day is the unique one; a visitor
    -- that asked not to be recognized counts each time.
    select f.*,
           f.class = 0 and (
               f.seen is null
               or (s.seen is not null and row_number() over (
                       partition by f.seen order by f.at, f.click_id) = 1)) as is_unique
    from fresh f
    left join first_seen s on s.seen = f.seen
), written as (
    insert into clicks
        (program_id, day, click_id, at, partner_id, link_number, class, reason,
         is_unique, device, browser, flags, country, referrer_host, sub1, sub2, sub3,
         sub4, sub5, erid, landing)
    select program_id, day, click_id, at, partner_id, link_number, class, reason,
           is_unique, device, browser, flags, country, referrer_host, sub1, sub2, sub3,
           sub4, sub5, erid, landing
    from judged
    on conflict on constraint clicks_pkey do nothing
    returning program_id, day, partner_id, link_number, at, class, country, is_unique, landing
), summed as (
    insert into click_hours as h
        (program_id, hour, partner_id, link_number, class, country, n_clicks, n_unique)
    select program_id, date_trunc('hour', at, 'UTC'), partner_id, link_number, class,
           coalesce(country, ''), count(*), count(*) filter (where is_unique)
    from written
    group by 1, 2, 3, 4, 5, 6
    order by 1, 3, 2, 4, 5, 6
    on conflict on constraint click_hours_pkey
    do update set n_clicks = h.n_clicks + excluded.n_clicks,
                  n_unique = h.n_unique + excluded.n_unique
), landed as (
    insert into click_landings as l (program_id, day, partner_id, landing, n_unique)
    select program_id, day, partner_id, landing, count(*)
    from written
    where is_unique and landing is not null
    group by 1, 2, 3, 4
    order by 1, 3, 2, 4
    on conflict on constraint click_landings_pkey
    do update set n_unique = l.n_unique + excluded.n_unique
)
select count(*) as "n_new!" from written
