-- The token of a link is self-contained: it is verified without this table. The row is there for
-- people (label, sub-ids, state) and for the deny set of the snapshot.
create table links (
    program_id uuid        not null,
    link_id    uuid        not null,
    partner_id uuid        not null,
    number     bigint      not null,
    label      text        not null default '',
    sub1       text,
    sub2       text,
    sub3       text,
    sub4       text,
    sub5       text,
    -- Advertising mark that Russian law wants in the click URL.
    erid       text,
    expires_on date,
    status     text        not null default 'active',
    created_at timestamptz not null,
    updated_at timestamptz not null,
    constraint links_pkey primary key (program_id, link_id),
    constraint links_number_once unique (program_id, partner_id, number),
    constraint links_enrollment foreign key (program_id, partner_id)
        references enrollments (program_id, partner_id),
    constraint links_status_known check (status in ('active', 'paused')),
    constraint links_number_32_bits check (number between 1 and 4294967295)
);

create index links_by_id on links (link_id);
