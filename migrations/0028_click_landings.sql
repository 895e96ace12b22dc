-- Which pages the visitors of deep links went to: a fall that the partners of one page share is a
-- problem of that page. The page is host and beginning of the path; none is the program's own.
alter table clicks add column landing text;

create table click_landings (
    program_id uuid   not null,
    day        date   not null,
    partner_id uuid   not null,
    landing    text   not null,
    n_unique   bigint not null,
    constraint click_landings_pkey primary key (program_id, partner_id, day, landing)
);

-- Rows that no report asks for any more are deleted by their day.
create index click_landings_by_day on click_landings (day);

-- The hour in which an incident began, where the clicks of its members tell it.
alter table incidents add column began_at timestamptz;

-- Days on which a partner was seen in the operator's own portal, or in ours.
create table partner_logins (
    program_id uuid    not null,
    partner_id uuid    not null,
    day        date    not null,
    n_logins   integer not null,
    updated_at timestamptz not null,
    constraint partner_logins_pkey primary key (program_id, partner_id, day),
    constraint partner_logins_enrollment foreign key (program_id, partner_id)
        references enrollments (program_id, partner_id),
    constraint partner_logins_some check (n_logins between 1 and 100000)
);

grant select, insert, update on click_landings, partner_logins to tributary_service;
grant delete on click_landings to tributary_service;
