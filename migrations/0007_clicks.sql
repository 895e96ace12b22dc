-- Clicks, partitioned by the day of the click's own time, so that retention drops a partition.
-- The key is a UUIDv7 made from the signed click id: time-ordered, and the same on every delivery.
create table clicks (
    program_id    uuid        not null,
    day           date        not null,
    click_id      uuid        not null,
    at            timestamptz not null,
    partner_id    uuid        not null,
    link_number   bigint      not null,
    class         smallint    not null,
    reason        smallint    not null,
    is_unique     boolean     not null,
    device        smallint    not null,
    browser       smallint    not null,
    flags         smallint    not null,
    country       text,
    referrer_host text,
    sub1          text,
    sub2          text,
    sub3          text,
    sub4          text,
    sub5          text,
    erid          text,
    constraint clicks_pkey primary key (program_id, day, click_id)
) partition by range (day);

create index clicks_by_partner on clicks (program_id, partner_id, at);

-- The service role owns nothing and so cannot make partitions itself.
create function ensure_click_day(wanted date) returns void
    language plpgsql
    security definer
    set search_path = pg_catalog, public
as
$$
declare
    name text := 'clicks_' || to_char(wanted, 'YYYYMMDD');
begin
    if to_regclass('public.' || name) is null then
        -- Two settlers may meet here; the second waits and finds it made.
        perform pg_advisory_xact_lock(hashtext('ensure_click_day'));
        if to_regclass('public.' || name) is null then
            execute format(
                'create table public.%I partition of public.clicks for values from (%L) to (%L)',
                name, wanted, wanted + 1);
        end if;
    end if;
end
$$;

-- Who was seen on a link that day: the first click of a visitor is the unique one. Rows older
-- than two days serve nobody and are deleted.
create table click_visitors (
    program_id  uuid   not null,
    day         date   not null,
    partner_id  uuid   not null,
    link_number bigint not null,
    visitor     bytea  not null,
    constraint click_visitors_pkey primary key (program_id, day, partner_id, link_number, visitor)
);

-- Reports and the decline detector read these sums, never the clicks. Hours, because a program's
-- day is a day of its own time zone.
create table click_hours (
    program_id  uuid        not null,
    hour        timestamptz not null,
    partner_id  uuid        not null,
    link_number bigint      not null,
    class       smallint    not null,
    country     text        not null default '',
    n_clicks    bigint      not null,
    n_unique    bigint      not null,
    constraint click_hours_pkey
        primary key (program_id, partner_id, hour, link_number, class, country)
);
