-- The sums of a batch of clicks wait here, a row for each batch, until all that wait are added to those
-- of the hours at once: a second of many batches changes the same rows, and each change takes as long as
-- two clicks. Batches of two settlers met on them, too, and one waited for the other to end.
create table click_sums_waiting (
    batch_no     bigint generated always as identity,
    program_ids  uuid[]        not null,
    partner_ids  uuid[]        not null,
    hours        timestamptz[] not null,
    link_numbers bigint[]      not null,
    classes      smallint[]    not null,
    countries    text[]        not null,
    n_clicks     bigint[]      not null,
    n_unique     bigint[]      not null,
    constraint click_sums_waiting_pkey primary key (batch_no)
);

-- Read once, within a second: not worth to be pressed.
alter table click_sums_waiting
    alter column program_ids set storage external,
    alter column partner_ids set storage external,
    alter column hours set storage external,
    alter column link_numbers set storage external,
    alter column countries set storage external,
    alter column classes set storage external,
    alter column n_clicks set storage external,
    alter column n_unique set storage external;

-- What the clicks of each hour come to at this moment, for who has to be exact within the second.
create view click_sums as
select program_id, partner_id, hour, link_number, class, country, n_clicks, n_unique
from click_hours
union all
select s.program_id, s.partner_id, s.hour, s.link_number, s.class, s.country, s.n_clicks, s.n_unique
from click_sums_waiting w
cross join lateral unnest(w.program_ids, w.partner_ids, w.hours, w.link_numbers, w.classes, w.countries,
                          w.n_clicks, w.n_unique)
    as s (program_id, partner_id, hour, link_number, class, country, n_clicks, n_unique);

grant select, insert, delete on click_sums_waiting to tributary_service;
grant select on click_sums to tributary_service;
