-- Suspicion is kept as rows: which rule found what about a commission, with its figures. A flag
-- holds a commission for review and never refuses it; what becomes of it stands in its history.
create table fraud_policies (
    program_id uuid        not null,
    document   jsonb       not null,
    updated_at timestamptz not null,
    constraint fraud_policies_pkey primary key (program_id),
    constraint fraud_policies_program foreign key (program_id) references programs (program_id)
);

create table commission_flags (
    program_id    uuid        not null,
    commission_id uuid        not null,
    rule          text        not null,
    figures       jsonb       not null,
    sentence      text        not null,
    raised_at     timestamptz not null,
    -- A rule speaks once about a commission: what a person has released is not held again for it.
    constraint commission_flags_pkey primary key (program_id, commission_id, rule),
    constraint commission_flags_commission foreign key (program_id, commission_id)
        references commissions (program_id, commission_id),
    constraint commission_flags_rule_known check (
        rule in ('self_referral', 'too_fast', 'too_slow', 'velocity', 'refund_rate',
                 'source_share', 'paid_traffic', 'banned_referrer'))
);

create index commission_flags_by_rule on commission_flags (program_id, rule, commission_id);

-- Names under which a shop knows a partner as a customer. Only the keyed hash is kept, the same as
-- in conversions.
create table partner_own_customers (
    program_id    uuid        not null,
    partner_id    uuid        not null,
    customer_hash bytea       not null,
    created_at    timestamptz not null,
    constraint partner_own_customers_pkey primary key (program_id, partner_id, customer_hash),
    constraint partner_own_customers_enrollment foreign key (program_id, partner_id)
        references enrollments (program_id, partner_id)
);

create index partner_own_customers_by_hash on partner_own_customers (program_id, customer_hash);

-- Rules that count what a partner earned within a while.
create index commissions_by_occurrence on commissions (program_id, partner_id, occurred_at)
    where kind = 'earned';

grant select, insert, update on fraud_policies to tributary_service;
grant select, insert on commission_flags to tributary_service;
grant select, insert, delete on partner_own_customers to tributary_service;
