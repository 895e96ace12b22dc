-- What is done about partners that decline. The daily judgment writes one row a program and day
-- (`decline_days`), whose key is the fence: of two instances, or after a restart, one does the day.
-- An incident is a fall that many share, which is no partner's doing; a case is one partner's fall
-- with an owner, a date and an end. At most one case of a partner is open: that is an index, so
-- that no race opens a second.
create table incidents (
    program_id  uuid        not null,
    incident_id uuid        not null,
    kind        text        not null,
    -- A country's code; empty for the network and its landing page, which are one subject.
    subject     text        not null,
    status      text        not null default 'open',
    since       date        not null,
    seen_on     date        not null,
    ended_on    date,
    n_partners  integer     not null,
    n_judged    integer     not null,
    text        text        not null,
    created_at  timestamptz not null,
    updated_at  timestamptz not null,
    constraint incidents_pkey primary key (program_id, incident_id),
    constraint incidents_program foreign key (program_id) references programs (program_id),
    constraint incidents_kind_known check (kind in ('network', 'country', 'destination')),
    constraint incidents_status_known check (status in ('open', 'over')),
    constraint incidents_end check ((status = 'over') = (ended_on is not null))
);

create unique index incidents_one_open on incidents (program_id, subject) where status = 'open';

create table cases (
    program_id         uuid        not null,
    case_id            uuid        not null,
    partner_id         uuid        not null,
    -- Will not: the traffic went. Cannot: the traffic comes and does not buy.
    kind               text        not null,
    status             text        not null default 'open',
    owner              text,
    opened_on          date        not null,
    due_on             date        not null,
    -- The figures of the last day judged; what they were at the opening stays beside them, because
    -- treated and untreated cases are compared by it.
    severity           text        not null,
    opened_severity    text        not null,
    since              date        not null,
    judged_on          date        not null,
    -- Clicks of people in 28 days, conversions where the partner cannot sell.
    expected_28d       bigint      not null,
    observed_28d       bigint      not null,
    share_lost_percent integer     not null,
    opened_expected_28d bigint     not null,
    opened_share_lost_percent integer not null,
    lost_to_date       bigint      not null,
    lost_next_28d      bigint      not null,
    p_value            text        not null,
    possible_cause     text        not null,
    cause_share_percent integer    not null,
    evidence           text[]      not null,
    advice             text        not null,
    confirmed_cause    text,
    remedy             text,
    remedy_on          date,
    recovered_on       date,
    incident_id        uuid,
    outcome            text,
    closed_on          date,
    created_at         timestamptz not null,
    updated_at         timestamptz not null,
    constraint cases_pkey primary key (program_id, case_id),
    constraint cases_enrollment foreign key (program_id, partner_id)
        references enrollments (program_id, partner_id),
    constraint cases_incident foreign key (program_id, incident_id)
        references incidents (program_id, incident_id),
    constraint cases_kind_known check (kind in ('will_not_sell', 'cannot_sell')),
    constraint cases_status_known check (status in ('open', 'contacted', 'waiting', 'closed')),
    constraint cases_severity_known
        check (severity in ('watch', 'warning', 'critical', 'silent')),
    constraint cases_outcome_known check (outcome in
        ('recovered', 'left', 'seasonal', 'our_fault', 'false_alarm', 'other')),
    constraint cases_closed_with_outcome check (
        (status = 'closed') = (outcome is not null) and (status = 'closed') = (closed_on is not null)),
    constraint cases_remedy_has_its_day check ((remedy is null) = (remedy_on is null))
);

create unique index cases_one_open on cases (program_id, partner_id) where status <> 'closed';
create index cases_by_id on cases (case_id);

create table case_contacts (
    program_id uuid        not null,
    contact_id uuid        not null,
    case_id    uuid        not null,
    at         timestamptz not null,
    by_user    text        not null,
    channel    text        not null,
    note       text        not null,
    next_step  text,
    next_due   date,
    constraint case_contacts_pkey primary key (program_id, contact_id),
    constraint case_contacts_case foreign key (program_id, case_id)
        references cases (program_id, case_id)
);

create index case_contacts_by_case on case_contacts (program_id, case_id, contact_id);

-- How much of its old level a case's partner had on each day, also after the case was closed: what
-- the effect of a remedy is measured by.
create table case_days (
    program_id   uuid    not null,
    case_id      uuid    not null,
    day          date    not null,
    kept_percent integer not null,
    constraint case_days_pkey primary key (program_id, case_id, day),
    constraint case_days_case foreign key (program_id, case_id)
        references cases (program_id, case_id)
);

create table decline_days (
    program_id  uuid        not null,
    day         date        not null,
    n_judged    integer     not null,
    n_listed    integer     not null,
    n_opened    integer     not null,
    n_explained integer     not null,
    judged_at   timestamptz not null,
    constraint decline_days_pkey primary key (program_id, day),
    constraint decline_days_program foreign key (program_id) references programs (program_id)
);

-- Listed partners of a day that got no case: only watched, or explained by an incident.
create table decline_notes (
    program_id  uuid not null,
    day         date not null,
    partner_id  uuid not null,
    severity    text not null,
    since       date not null,
    incident_id uuid,
    constraint decline_notes_pkey primary key (program_id, day, partner_id),
    constraint decline_notes_incident foreign key (program_id, incident_id)
        references incidents (program_id, incident_id)
);

create table landing_checks (
    program_id uuid        not null,
    check_id   uuid        not null,
    checked_at timestamptz not null,
    verdict    text        not null,
    text       text        not null,
    http_status integer,
    final_url  text,
    constraint landing_checks_pkey primary key (program_id, check_id),
    constraint landing_checks_program foreign key (program_id) references programs (program_id),
    constraint landing_checks_verdict_known
        check (verdict in ('ok', 'dead', 'drops_click_id', 'not_checked'))
);

create index landing_checks_newest on landing_checks (program_id, checked_at);

grant select, insert, update on incidents, cases to tributary_service;
grant select, insert on case_contacts, case_days, decline_days, decline_notes, landing_checks
    to tributary_service;
