-- Of a shared conversion each partner has a part, and answers for a click of its own: its last one on
-- the path that has a part. Reports, the decline detector and suspicion ask for both, so that a
-- partner is not judged by the click of another one, and its part is not counted as nothing.
--
-- Takes path, partner, link, time and click id of a conversion; returns one row for each partner that
-- has a part. Of all `weight_all` parts this one has `weight`, those of the partners before it have
-- `weight_before`. Without a path, or where something else than clicks says whose it is, the whole is
-- the partner's that the conversion names.
create function parts_of(jsonb, uuid, bigint, timestamptz, text)
    returns table (partner_id uuid, link_number bigint, click_at timestamptz, click_id text,
                   weight bigint, weight_before bigint, weight_all bigint)
    language sql
    stable
as
$$
    select $2, $3, $4, $5, 1::bigint, 0::bigint, 1::bigint
    where $2 is not null and ($1 is null or $1 ->> 'model' is null)
    union all
    select n.partner_id, s.link_number, s.click_at, s.click_id, s.weight,
           (sum(s.weight) over (order by s.place) - s.weight)::bigint,
           (sum(s.weight) over ())::bigint
    from (
        select t.partner_number, min(t.place) as place, sum(t.weight)::bigint as weight,
               (array_agg(t.link_number order by t.place desc))[1] as link_number,
               (array_agg(t.click_at order by t.place desc))[1] as click_at,
               (array_agg(t.click_id order by t.place desc))[1] as click_id
        from (
            -- Bytes 10 to 13 of a click id are the number of the partner.
            select ('x' || encode(substring(
                       decode(translate(c.click ->> 'click_id', '-_', '+/'), 'base64')
                       from 10 for 4), 'hex'))::bit(32)::bigint as partner_number,
                   (c.click ->> 'link_number')::bigint as link_number,
                   (c.click ->> 'at')::timestamptz as click_at,
                   c.click ->> 'click_id' as click_id,
                   (c.click ->> 'weight')::bigint as weight, c.place
            from jsonb_array_elements($1 -> 'clicks') with ordinality as c (click, place)
            where (c.click ->> 'weight')::bigint > 0) t
        group by t.partner_number) s
    join partners n on n.number = s.partner_number
    where $1 ->> 'model' is not null
$$;

-- A partner may have a part of a conversion that names another one: these are few, and found here.
create index conversions_with_path on conversions (program_id, occurred_at) where path is not null;
