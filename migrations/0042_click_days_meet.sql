-- Several settlers meet on the first click of a day. The second waits for the lock, and may still
-- remember that the partition is missing: what it knows of tables is renewed only by locking one. So
-- finding it made is no error.
create or replace function ensure_click_day(wanted date) returns void
    language plpgsql
    security definer
    set search_path = pg_catalog, public
as
$$
declare
    name text := 'clicks_' || to_char(wanted, 'YYYYMMDD');
begin
    if to_regclass('public.' || name) is null then
        perform pg_advisory_xact_lock(hashtext('ensure_click_day'));
        execute format(
            'create table if not exists public.%I partition of public.clicks for values from (%L) to (%L)',
            name, wanted, wanted + 1);
    end if;
end
$$;
