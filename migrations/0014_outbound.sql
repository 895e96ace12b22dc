-- What leaves the service. Whoever decides something inserts a notice in the transaction of the
-- decision; sending it is a later matter, so no decision waits for a stranger's server and no
-- message tells of what was rolled back.
create table notices (
    program_id    uuid        not null,
    notice_id     uuid        not null,
    kind          text        not null,
    subject       text        not null,
    payload       jsonb       not null,
    created_at    timestamptz not null,
    -- When it was turned into deliveries; null until then.
    dispatched_at timestamptz,
    constraint notices_pkey primary key (program_id, notice_id),
    constraint notices_program foreign key (program_id) references programs (program_id),
    constraint notices_kind_form check (kind ~ '^[a-z0-9_]+(\.[a-z0-9_]+)*$')
);

create index notices_to_dispatch on notices (created_at) where dispatched_at is null;
create index notices_by_kind on notices (program_id, kind, created_at);
create index notices_by_age on notices (created_at);

create table webhook_endpoints (
    program_id    uuid        not null,
    endpoint_id   uuid        not null,
    url           text        not null,
    -- '*' stands for every kind.
    kinds         text[]      not null,
    status        text        not null default 'active',
    -- The first failure since the last success.
    failing_since timestamptz,
    created_at    timestamptz not null,
    updated_at    timestamptz not null,
    constraint webhook_endpoints_pkey primary key (program_id, endpoint_id),
    constraint webhook_endpoints_program foreign key (program_id) references programs (program_id),
    constraint webhook_endpoints_status_known check (status in ('active', 'disabled')),
    constraint webhook_endpoints_kinds_some check (cardinality(kinds) between 1 and 50)
);

create index webhook_endpoints_by_id on webhook_endpoints (endpoint_id);

-- Encrypted at rest, bound to the endpoint.
create table webhook_endpoint_secrets (
    program_id  uuid        not null,
    endpoint_id uuid        not null,
    secret_id   uuid        not null,
    ciphertext  bytea       not null,
    created_at  timestamptz not null,
    expires_at  timestamptz,
    constraint webhook_endpoint_secrets_pkey primary key (program_id, endpoint_id, secret_id),
    constraint webhook_endpoint_secrets_endpoint foreign key (program_id, endpoint_id)
        references webhook_endpoints (program_id, endpoint_id) on delete cascade
);

-- One for each notice and endpoint: a notice that is dispatched twice is still sent once.
create table deliveries (
    program_id      uuid        not null,
    endpoint_id     uuid        not null,
    notice_id       uuid        not null,
    status          text        not null default 'pending',
    attempts        integer     not null default 0,
    next_attempt_at timestamptz not null,
    -- An instance that sends holds the row until then; one that dies lets it go by itself.
    leased_until    timestamptz,
    last_status     integer,
    last_error      text,
    created_at      timestamptz not null,
    delivered_at    timestamptz,
    constraint deliveries_pkey primary key (program_id, endpoint_id, notice_id),
    constraint deliveries_endpoint foreign key (program_id, endpoint_id)
        references webhook_endpoints (program_id, endpoint_id) on delete cascade,
    constraint deliveries_notice foreign key (program_id, notice_id)
        references notices (program_id, notice_id) on delete cascade,
    constraint deliveries_status_known check (status in ('pending', 'delivered', 'failed'))
);

create index deliveries_due on deliveries (program_id, endpoint_id, next_attempt_at)
    where status = 'pending';
create index deliveries_by_notice on deliveries (program_id, notice_id);
create index deliveries_by_age on deliveries (created_at);

-- Who gets the daily mail of a program.
create table digest_recipients (
    program_id uuid        not null,
    emails     text[]      not null,
    locale     text        not null,
    updated_at timestamptz not null,
    constraint digest_recipients_pkey primary key (program_id),
    constraint digest_recipients_program foreign key (program_id) references programs (program_id),
    constraint digest_recipients_locale_known check (locale in ('en', 'ru'))
);

-- The fence: a day of a program is written once, whoever and however many write it. A day on
-- which there is nothing to say has a row too, and no mails.
create table digest_days (
    program_id uuid        not null,
    day        date        not null,
    n_partners integer     not null,
    subject    text        not null,
    plain      text        not null,
    html       text        not null,
    created_at timestamptz not null,
    constraint digest_days_pkey primary key (program_id, day),
    constraint digest_days_program foreign key (program_id) references programs (program_id)
);

-- One mail for each recipient: an address that is refused keeps the others from nothing.
create table digest_mails (
    program_id      uuid        not null,
    day             date        not null,
    email           text        not null,
    status          text        not null default 'pending',
    attempts        integer     not null default 0,
    next_attempt_at timestamptz not null,
    leased_until    timestamptz,
    last_error      text,
    sent_at         timestamptz,
    constraint digest_mails_pkey primary key (program_id, day, email),
    constraint digest_mails_day foreign key (program_id, day)
        references digest_days (program_id, day) on delete cascade,
    constraint digest_mails_status_known check (status in ('pending', 'sent', 'failed'))
);

create index digest_mails_due on digest_mails (next_attempt_at) where status = 'pending';

grant select, insert, update, delete on notices, webhook_endpoints, webhook_endpoint_secrets,
    deliveries, digest_recipients, digest_days, digest_mails to tributary_service;
