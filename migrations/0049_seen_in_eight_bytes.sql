-- Who was seen on a link that day, in eight bytes of sixteen: the hash that names program, partner, link
-- and day, exclusive-or what names the visitor. Keys of half the size are found and kept in half the time.
create table seen_in_eight_bytes (
    seen bigint not null,
    day  date   not null
);

-- As `Click::seen` makes it.
insert into seen_in_eight_bytes (seen, day)
select distinct on (seen) seen, day
from (select ('x' || left(hex, 16))::bit(64)::bigint # ('x' || right(hex, 16))::bit(64)::bigint as seen, day
      from (select encode(uuid_send(seen), 'hex') as hex, day from seen_visitors) v) v;

drop table seen_visitors;
alter table seen_in_eight_bytes rename to seen_visitors;
alter table seen_visitors add constraint seen_visitors_pkey primary key (seen);
-- Rows older than two days serve nobody and are deleted; they lie in the order of their coming.
create index seen_visitors_by_day on seen_visitors using brin (day);

grant select, insert, delete on seen_visitors to tributary_service;
