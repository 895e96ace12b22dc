-- Who was seen on a link that day: one row for all new visitors of a batch, eight bytes each. Settlement
-- keeps them in memory and reads here what it has not read yet. An index of all of them by their name, which
-- is a hash, took another page for each new visitor, and the longer the more visitors a day had.
create table visitor_runs (
    day    date   not null,
    -- Given under a lock of the day: who has read one has read all before it.
    run_no bigint not null generated always as identity,
    names  bytea  not null,
    constraint visitor_runs_pkey primary key (day, run_no)
);

-- They are dense already.
alter table visitor_runs alter column names set storage external;

insert into visitor_runs (day, names)
select v.day, string_agg(int8send(v.seen), '')
from (select day, seen, row_number() over (partition by day order by seen) / 10000 as n from seen_visitors) v
group by v.day, v.n;

drop table seen_visitors;

grant select, insert, delete on visitor_runs to tributary_service;
