-- What a program knows of its partners as people: who applied, who brought whom, who is away, who
-- was talked to and when, what they aim at. None of it moves money. It hangs on the enrollment,
-- since a partner may be a stranger in one program and a friend in another.
alter table enrollments
    -- Who brought the partner into this program.
    add column parent_partner_id uuid,
    -- A rank that a person has set stays until a person changes it.
    add column is_rank_pinned boolean not null default false,
    -- The name on boards of contests; none given means that the partner wants no name there.
    add column public_name text,
    add column champion_name text,
    add column champion_note text,
    add constraint enrollments_parent foreign key (program_id, parent_partner_id)
        references enrollments (program_id, partner_id),
    add constraint enrollments_parent_is_other check (parent_partner_id <> partner_id),
    add constraint enrollments_champion_named check (champion_note is null or champion_name is not null);

create index enrollments_by_parent on enrollments (program_id, parent_partner_id)
    where parent_partner_id is not null;

-- Two levels and no more: a recruiter has no recruiter. With that no circle is possible either.
create function refuse_third_level() returns trigger
    language plpgsql
    set search_path = pg_catalog, public
as
$$
begin
    if new.parent_partner_id is null then
        return new;
    end if;
    -- The lock makes two changes at once wait for each other, so that together they build no third level.
    perform from public.enrollments
        where program_id = new.program_id and partner_id = new.parent_partner_id
        for no key update;
    if exists (
        select from public.enrollments
        where program_id = new.program_id
          and ((partner_id = new.parent_partner_id and parent_partner_id is not null)
               or parent_partner_id = new.partner_id))
    then
        raise exception 'a recruiter has no recruiter'
            using errcode = 'check_violation', constraint = 'enrollments_two_levels';
    end if;
    return new;
end
$$;

create trigger enrollments_refuse_third_level
    before insert or update of parent_partner_id on enrollments
    for each row execute function refuse_third_level();

-- One row for each program that has chosen something; without one the defaults hold.
create table network_policies (
    program_id               uuid       not null,
    -- Kinds that are approved at once; none means that a person decides on everybody.
    auto_approve_kinds       text[]     not null default '{}',
    -- Countries of those; none means every country.
    auto_approve_countries   text[]     not null default '{}',
    customer_protection_days integer    not null default 0,
    -- Weights of the ten groups of the scorecard, in their order; null: the usual ones.
    score_weights            smallint[],
    -- The last day of the program for which ranks were computed.
    ranked_on                date,
    constraint network_policies_pkey primary key (program_id),
    constraint network_policies_program foreign key (program_id) references programs (program_id),
    constraint network_policies_protection check (customer_protection_days between 0 and 3650),
    constraint network_policies_weights check (cardinality(score_weights) = 10)
);

-- What an applicant wrote. Whether it is still open is told by the enrollment alone.
create table applications (
    program_id uuid        not null,
    partner_id uuid        not null,
    email      text        not null,
    site       text,
    reach      bigint,
    message    text        not null,
    created_at timestamptz not null,
    decided_at timestamptz,
    decided_by text,
    reason     text,
    constraint applications_pkey primary key (program_id, partner_id),
    constraint applications_enrollment foreign key (program_id, partner_id)
        references enrollments (program_id, partner_id),
    constraint applications_reach check (reach >= 0),
    constraint applications_decision check ((decided_at is null) = (decided_by is null))
);

create index applications_by_email on applications (program_id, lower(email));
create index applications_by_time on applications (program_id, created_at);

create table scorecards (
    program_id  uuid     not null,
    partner_id  uuid     not null,
    score_group text     not null,
    score       smallint not null,
    evidence    text     not null,
    assessed_on date     not null,
    assessed_by text     not null,
    constraint scorecards_pkey primary key (program_id, partner_id, score_group),
    constraint scorecards_enrollment foreign key (program_id, partner_id)
        references enrollments (program_id, partner_id),
    constraint scorecards_score check (score between 0 and 5)
);

-- Days on which a partner said it would be away, both ends included; those of one partner neither
-- overlap nor touch.
create table absences (
    program_id uuid        not null,
    absence_id uuid        not null,
    partner_id uuid        not null,
    from_on    date        not null,
    to_on      date        not null,
    reason     text        not null,
    created_at timestamptz not null,
    constraint absences_pkey primary key (program_id, absence_id),
    constraint absences_enrollment foreign key (program_id, partner_id)
        references enrollments (program_id, partner_id),
    constraint absences_order check (from_on <= to_on),
    constraint absences_reason_known check (reason in ('season', 'holiday', 'other'))
);

create index absences_by_partner on absences (program_id, partner_id, from_on);

create table interactions (
    program_id     uuid        not null,
    interaction_id uuid        not null,
    partner_id     uuid        not null,
    at             timestamptz not null,
    channel        text        not null,
    with_whom      text,
    note           text        not null,
    next_step      text,
    due            date,
    recorded_by    text        not null,
    constraint interactions_pkey primary key (program_id, interaction_id),
    constraint interactions_enrollment foreign key (program_id, partner_id)
        references enrollments (program_id, partner_id),
    constraint interactions_channel_known
        check (channel in ('call', 'email', 'meeting', 'chat', 'other'))
);

create index interactions_by_partner on interactions (program_id, partner_id, at);

-- Something to aim at. Nothing that pays reads this table.
create table goals (
    program_id uuid        not null,
    goal_id    uuid        not null,
    partner_id uuid        not null,
    metric     text        not null,
    from_on    date        not null,
    to_on      date        not null,
    -- A count, or minor units of the program's currency.
    target     bigint      not null,
    created_at timestamptz not null,
    constraint goals_pkey primary key (program_id, goal_id),
    constraint goals_enrollment foreign key (program_id, partner_id)
        references enrollments (program_id, partner_id),
    constraint goals_order check (from_on <= to_on),
    constraint goals_target check (target > 0),
    constraint goals_metric_known check (metric in ('clicks', 'sales', 'commission'))
);

create index goals_by_partner on goals (program_id, partner_id);

create table contests (
    program_id uuid        not null,
    contest_id uuid        not null,
    name       text        not null,
    metric     text        not null,
    from_on    date        not null,
    to_on      date        not null,
    prize      text        not null,
    created_at timestamptz not null,
    -- From then on the board is what contest_places holds: a later refund moves no prize.
    frozen_at  timestamptz,
    constraint contests_pkey primary key (program_id, contest_id),
    constraint contests_program foreign key (program_id) references programs (program_id),
    constraint contests_order check (from_on <= to_on),
    constraint contests_metric_known
        check (metric in ('clicks', 'sales', 'commission', 'biggest_order'))
);

create index contests_by_id on contests (contest_id);

create table contest_places (
    program_id uuid    not null,
    contest_id uuid    not null,
    partner_id uuid    not null,
    place      integer not null,
    figure     bigint  not null,
    constraint contest_places_pkey primary key (program_id, contest_id, partner_id),
    constraint contest_places_contest foreign key (program_id, contest_id)
        references contests (program_id, contest_id),
    constraint contest_places_place check (place > 0)
);

-- Whose customer somebody is, and until when. Only a keyed hash of the shop's name is kept, the
-- same as in conversions.
create table protected_customers (
    program_id    uuid        not null,
    customer_hash bytea       not null,
    partner_id    uuid        not null,
    since         timestamptz not null,
    until         timestamptz not null,
    constraint protected_customers_pkey primary key (program_id, customer_hash),
    constraint protected_customers_enrollment foreign key (program_id, partner_id)
        references enrollments (program_id, partner_id),
    constraint protected_customers_order check (since < until)
);

create index protected_customers_by_partner on protected_customers (program_id, partner_id);

grant select, insert, update on network_policies, applications, contests, protected_customers
    to tributary_service;
grant select, insert on interactions, contest_places to tributary_service;
grant select, insert, update, delete on scorecards to tributary_service;
grant select, insert, delete on absences, goals to tributary_service;

-- Why a rank is what it is: every change with its figures in words.
create table rank_changes (
    program_id uuid        not null,
    partner_id uuid        not null,
    at         timestamptz not null,
    from_rank  text        not null,
    to_rank    text        not null,
    points     integer     not null,
    why        text[]      not null,
    constraint rank_changes_pkey primary key (program_id, partner_id, at),
    constraint rank_changes_enrollment foreign key (program_id, partner_id)
        references enrollments (program_id, partner_id)
);

grant select, insert on rank_changes to tributary_service;
