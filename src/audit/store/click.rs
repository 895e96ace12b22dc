//! Queries about clicks: the sums that reports read, and the days that rows lie in. A page is of
//! programs, whose clicks are read once in the order in which they lie.

use super::paged;

paged! {
    /// Judges whether the hourly sums of each partner are its clicks, as far back as clicks are kept.
    hours of "partner": "programs", "program_id", "",
    "select p.program_id, n.partner_id as id,
            case when n.off > 0 then
                jsonb_build_object('hours_that_differ', n.off, 'first_hour', n.first_hour,
                                   'clicks', n.clicks, 'clicks_in_sums', n.summed)
            end as wrong
     from page p
     cross join lateral (
         -- Retention drops whole days: the oldest that is there is whole.
         select to_date(min(right(c.relname, 8)), 'YYYYMMDD')::timestamp at time zone 'UTC' as at
         from pg_inherits i
         join pg_class c on c.oid = i.inhrelid
         where i.inhparent = 'clicks'::regclass) kept
     cross join lateral (
         select partner_id,
                count(*) filter (where r.n_clicks is distinct from h.n_clicks
                                    or r.n_unique is distinct from h.n_unique) as off,
                min(hour) filter (where r.n_clicks is distinct from h.n_clicks
                                     or r.n_unique is distinct from h.n_unique) as first_hour,
                coalesce(sum(r.n_clicks), 0) as clicks, coalesce(sum(h.n_clicks), 0) as summed
         from (
             select c.partner_id, date_trunc('hour', c.at, 'UTC') as hour, c.link_number, c.class,
                    coalesce(c.country, '') as country, count(*) as n_clicks,
                    count(*) filter (where c.is_unique) as n_unique
             from clicks c
             where c.program_id = p.id and c.at >= kept.at
             group by 1, 2, 3, 4, 5) r
         full join (
             select h.partner_id, h.hour, h.link_number, h.class, h.country,
                    sum(h.n_clicks) as n_clicks, sum(h.n_unique) as n_unique
             from click_sums h
             where h.program_id = p.id and h.hour >= kept.at
             group by 1, 2, 3, 4, 5) h
         using (partner_id, hour, link_number, class, country)
         group by partner_id) n
     where n.clicks + n.summed > 0"
}

paged! {
    /// Judges whether each click lies in the day of its own key: there its key is unique.
    days of "partner": "programs", "program_id", "",
    "select p.program_id, n.partner_id as id,
            case when n.misplaced > 0 then
                jsonb_build_object('clicks', n.clicks, 'misplaced', n.misplaced)
            end as wrong
     from page p
     cross join lateral (
         select c.partner_id, count(*) as clicks,
                count(*) filter (
                    where c.day <> (c.at at time zone 'UTC')::date
                       or c.day <> (to_timestamp(
                              ('x' || left(replace(c.click_id::text, '-', ''), 12))::bit(48)::bigint
                              / 1000.0) at time zone 'UTC')::date) as misplaced
         from clicks c
         where c.program_id = p.id
         group by 1) n"
}

paged! {
    /// Judges whether the sums by landing page are the clicks, as far back as both are kept.
    landings of "partner": "programs", "program_id", "",
    "select p.program_id, n.partner_id as id,
            case when n.off > 0 then
                jsonb_build_object('pages_that_differ', n.off, 'first_day', n.first_day,
                                   'clicks', n.clicks, 'clicks_in_sums', n.summed)
            end as wrong
     from page p
     cross join lateral (
         -- Of both the oldest day that is there is whole.
         select greatest(
                    (select to_date(min(right(c.relname, 8)), 'YYYYMMDD')
                     from pg_inherits i
                     join pg_class c on c.oid = i.inhrelid
                     where i.inhparent = 'clicks'::regclass),
                    (select min(l.day) from click_landings l)) as day) kept
     cross join lateral (
         select partner_id,
                count(*) filter (where r.n_unique is distinct from l.n_unique) as off,
                min(day) filter (where r.n_unique is distinct from l.n_unique) as first_day,
                coalesce(sum(r.n_unique), 0) as clicks, coalesce(sum(l.n_unique), 0) as summed
         from (
             select c.partner_id, c.day, c.landing, count(*) as n_unique
             from clicks c
             where c.program_id = p.id and c.day >= kept.day
               and c.at >= kept.day::timestamp at time zone 'UTC'
               and c.is_unique and c.landing is not null
             group by 1, 2, 3) r
         full join (
             select l.partner_id, l.day, l.landing, l.n_unique
             from click_landings l
             where l.program_id = p.id and l.day >= kept.day) l
         using (partner_id, day, landing)
         group by partner_id) n
     where n.clicks + n.summed > 0"
}
