-- A lead binds its customer to the partner who brought it. Each conversion that binds is a row: who
-- owns the customer at a time is read from them and kept nowhere, so that the order of arrival
-- changes nothing. Of the bonds that hold at a time, the oldest one owns.
create table customer_bonds (
    program_id    uuid        not null,
    conversion_id uuid        not null,
    partner_id    uuid        not null,
    -- The keyed hash of the shop's name of the customer, the same as in conversions.
    customer_hash bytea       not null,
    since         timestamptz not null,
    -- Null: for life.
    until         timestamptz,
    created_at    timestamptz not null,
    constraint customer_bonds_pkey primary key (program_id, conversion_id),
    constraint customer_bonds_conversion foreign key (program_id, conversion_id)
        references conversions (program_id, conversion_id),
    constraint customer_bonds_enrollment foreign key (program_id, partner_id)
        references enrollments (program_id, partner_id),
    constraint customer_bonds_order check (since < until)
);

create index customer_bonds_by_customer
    on customer_bonds (program_id, customer_hash, since, conversion_id);

grant select, insert on customer_bonds to tributary_service;

-- What the shop has rejected binds nobody, and no bond that comes later makes it somebody's.
alter table conversions add column rejected_at timestamptz;

create index conversions_nobodys on conversions (program_id, customer_hash, occurred_at)
    where customer_hash is not null and not is_test and rejected_at is null
      and attribution not in ('click', 'coupon', 'customer');
