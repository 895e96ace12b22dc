-- Raw clicks have an end: whole days are dropped, their sums stay. The service owns no partition and so
-- cannot drop one; it asks here, and what is asked for too early is not done. A day that is gone is never
-- made again: without its keys nobody could tell whether a click of it was counted already.
create table click_retention (
    only_row  boolean not null default true,
    -- The first day that may have clicks; there is no row before the first drop.
    kept_from date    not null,
    n_dropped bigint  not null,
    constraint click_retention_pkey primary key (only_row),
    constraint click_retention_single check (only_row)
);
grant select on click_retention to tributary_service;

-- Drops the oldest day if it lies before `wanted_from`; returns which, or null.
--
-- By PostgreSQL's own clock no day goes that a conversion may still be judged by: as long as the longest
-- window in which any program ever counted clicks, and 31 days for what arrives or is decided late. The
-- lock that a drop needs stops settlement while it is waited for, so it is not waited for long.
create function drop_oldest_click_day(wanted_from date) returns date
    language plpgsql
    security definer
    set search_path = pg_catalog, public
    set lock_timeout = '200ms'
as
$$
declare
    today  date := (now() at time zone 'UTC')::date;
    window_days integer := (select coalesce(max((document ->> 'window_days')::integer), 0)
                            from public.attribution_policies);
    oldest text := (select min(c.relname::text)
                    from pg_inherits i
                    join pg_class c on c.oid = i.inhrelid
                    where i.inhparent = 'public.clicks'::regclass);
    day    date := to_date(right(oldest, 8), 'YYYYMMDD');
begin
    if day is null or day >= least(wanted_from, today - 31 - window_days) then
        return null;
    end if;
    insert into public.click_retention as r (kept_from, n_dropped) values (day + 1, 1)
    on conflict on constraint click_retention_pkey
    do update set kept_from = greatest(r.kept_from, excluded.kept_from), n_dropped = r.n_dropped + 1;
    execute format('drop table public.%I', oldest);
    return day;
end
$$;
revoke execute on function drop_oldest_click_day(date) from public;
grant execute on function drop_oldest_click_day(date) to tributary_service;

-- A click of a dropped day is refused as data: settlement lays it among the dead letters.
create or replace function ensure_click_day(wanted date) returns void
    language plpgsql
    security definer
    set search_path = pg_catalog, public
as
$$
declare
    name text := 'clicks_' || to_char(wanted, 'YYYYMMDD');
begin
    -- Looked for before the row is read: whoever sees the day gone sees why, too.
    if to_regclass('public.' || name) is null then
        if wanted < (select kept_from from public.click_retention) then
            raise exception 'clicks of % are no longer taken: retention has dropped their day', wanted
                using errcode = 'invalid_parameter_value';
        end if;
        perform pg_advisory_xact_lock(hashtext('ensure_click_day'));
        execute format(
            'create table if not exists public.%I partition of public.clicks for values from (%L) to (%L)',
            name, wanted, wanted + 1);
    end if;
end
$$;
