-- Who was seen on a link that day, in sixteen bytes: eight of a hash that names program, partner, link
-- and day, and the eight that name the visitor. A key of five columns took more time to find and to keep
-- than the click itself.
create table seen_visitors (
    seen uuid not null,
    day  date not null,
    constraint seen_visitors_pkey primary key (seen)
);

-- Rows older than two days serve nobody and are deleted; they lie in the order of their coming.
create index seen_visitors_by_day on seen_visitors using brin (day);

-- As `Click::seen` makes it.
insert into seen_visitors (seen, day)
select encode(
           substr(sha256(int8send(g.number) || int8send(p.number) || int8send(v.link_number)
                         || int8send((v.day - date '2000-01-01')::bigint)), 1, 8)
           || v.visitor, 'hex')::uuid,
       v.day
from click_visitors v
join programs g on g.program_id = v.program_id
join partners p on p.partner_id = v.partner_id
on conflict on constraint seen_visitors_pkey do nothing;

drop table click_visitors;

grant select, insert, delete on seen_visitors to tributary_service;
