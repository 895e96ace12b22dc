-- Pay per click: what the clicks of a day earned is a commission without a conversion, one for each
-- partner, day, edition and rule; clicks that come late are another one.
alter table commissions
    alter column conversion_id drop not null,
    drop constraint commissions_kind_known,
    drop constraint commissions_sign,
    add constraint commissions_kind_known
        check (kind in ('earned', 'clawback', 'adjustment', 'true_up', 'recruiter', 'clicks')),
    add constraint commissions_sign check (
        (kind = 'earned' and amount_minor >= 0 and corrects_id is null)
        or (kind = 'clicks' and amount_minor >= 0 and corrects_id is null)
        or (kind = 'recruiter' and amount_minor >= 0 and corrects_id is not null)
        or (kind = 'clawback' and amount_minor < 0 and corrects_id is not null)
        or (kind = 'true_up' and amount_minor > 0 and corrects_id is not null)
        or (kind = 'adjustment' and corrects_id is not null)),
    -- Only what clicks earned, and what corrects it, has no conversion.
    add constraint commissions_conversion_known check (
        conversion_id is not null or kind = 'clicks'
        or (kind in ('clawback', 'adjustment') and corrects_id is not null));

-- The cause names the day, the edition, the rule and how many rows there were before: whoever pays
-- the same clicks a second time fails here.
create unique index commissions_clicks_once
    on commissions (program_id, partner_id, cause collate "C")
    where kind = 'clicks';

-- How many unique clicks of a partner's day were looked at: only days with others are looked at again.
create table click_days (
    program_id uuid   not null,
    partner_id uuid   not null,
    day        date   not null,
    n_unique   bigint not null,
    constraint click_days_pkey primary key (program_id, partner_id, day),
    constraint click_days_enrollment foreign key (program_id, partner_id)
        references enrollments (program_id, partner_id)
);

-- When the clicks of a program were last looked at; whoever looks at them holds the row.
create table click_runs (
    program_id uuid not null,
    ran_at     timestamptz,
    constraint click_runs_pkey primary key (program_id),
    constraint click_runs_program foreign key (program_id) references programs (program_id)
);

grant select, insert, update on click_days, click_runs to tributary_service;
