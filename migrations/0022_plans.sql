-- Tiers, caps and budgets need to know what a partner, or the program, has come to in a period. The
-- sums are kept beside the commissions and can always be reckoned from them again.
create table plan_sums (
    program_id   uuid        not null,
    -- The nil id: the sum of all partners.
    partner_id   uuid        not null,
    -- A hash of the conditions of the rule: an edition that changes only a rate goes on counting.
    scope        bigint      not null,
    period       text        not null,
    start_on     date        not null,
    n            bigint      not null,
    amount_minor bigint      not null,
    earned_minor bigint      not null,
    last_at      timestamptz,
    constraint plan_sums_pkey primary key (program_id, partner_id, scope, period, start_on),
    constraint plan_sums_program foreign key (program_id) references programs (program_id),
    constraint plan_sums_period_known check (period in ('day', 'week', 'month', 'all_time'))
);

-- Whose periods are to be reckoned again, and from when on. Rows are only added and taken, so that
-- nobody waits for anybody.
create table plan_marks (
    program_id uuid        not null,
    mark_id    bigint      not null generated always as identity,
    partner_id uuid        not null,
    from_at    timestamptz not null,
    constraint plan_marks_pkey primary key (program_id, mark_id),
    constraint plan_marks_program foreign key (program_id) references programs (program_id)
);

create index plan_marks_by_partner on plan_marks (program_id, partner_id);

-- Up to when tiers and caps are final: the end of the last period that was closed.
create table plan_fixed (
    program_id  uuid        not null,
    fixed_until timestamptz not null,
    constraint plan_fixed_pkey primary key (program_id),
    constraint plan_fixed_program foreign key (program_id) references programs (program_id)
);

-- Rates of exchange as they were entered, in billionths; never changed, because commissions were
-- reckoned by them.
create table fx_rates (
    program_id    uuid        not null,
    from_currency text        not null,
    to_currency   text        not null,
    at            timestamptz not null,
    rate_nano     bigint      not null,
    source        text        not null,
    created_by    uuid        not null,
    created_at    timestamptz not null,
    constraint fx_rates_pkey primary key (program_id, from_currency, to_currency, at),
    constraint fx_rates_program foreign key (program_id) references programs (program_id),
    constraint fx_rates_differ check (from_currency <> to_currency),
    constraint fx_rates_positive check (rate_nano > 0)
);

-- The group that terms are made for; plans name it.
alter table enrollments add column terms_group text;

alter table commissions
    drop constraint commissions_kind_known,
    drop constraint commissions_sign,
    add constraint commissions_kind_known
        check (kind in ('earned', 'clawback', 'adjustment', 'true_up', 'recruiter')),
    add constraint commissions_sign check (
        (kind = 'earned' and amount_minor >= 0 and corrects_id is null)
        or (kind = 'recruiter' and amount_minor >= 0 and corrects_id is not null)
        or (kind = 'clawback' and amount_minor < 0 and corrects_id is not null)
        or (kind = 'true_up' and amount_minor > 0 and corrects_id is not null)
        or (kind = 'adjustment' and corrects_id is not null));

create index commissions_by_corrected on commissions (program_id, corrects_id)
    where corrects_id is not null;
create index commissions_earned_by_time on commissions (program_id, partner_id, occurred_at)
    where kind = 'earned';
create index conversions_by_customer on conversions (program_id, customer_hash, occurred_at)
    where customer_hash is not null;

grant select, insert, update on plan_sums, plan_fixed to tributary_service;
grant select, insert, delete on plan_marks to tributary_service;
grant select, insert on fx_rates to tributary_service;
