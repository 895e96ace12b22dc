-- A program is the merchant's terms. Everything that belongs to one program carries program_id
-- in every primary and unique key, so that a split by program over several databases stays
-- possible and no join can cross tenants by accident.
create sequence program_numbers minvalue 1 maxvalue 16777215;
create sequence partner_numbers minvalue 1 maxvalue 4294967295;

create table programs (
    program_id              uuid        not null,
    -- 24 bits: this is what fits into a link token.
    number                  integer     not null default nextval('program_numbers'),
    name                    text        not null,
    slug                    text        not null,
    status                  text        not null default 'active',
    currency                text        not null,
    landing_template        text        not null,
    click_id_param          text        not null default 'click_id',
    allowed_hosts           text[]      not null default '{}',
    allow_http              boolean     not null default false,
    fallback_url            text,
    time_zone               text        not null default 'UTC',
    attribution_window_days integer     not null default 30,
    min_payout_minor        bigint      not null default 0,
    created_at              timestamptz not null,
    updated_at              timestamptz not null,
    constraint programs_pkey primary key (program_id),
    constraint programs_number_once unique (number),
    constraint programs_slug_once unique (slug),
    constraint programs_status_known check (status in ('active', 'paused')),
    constraint programs_number_24_bits check (number between 1 and 16777215),
    constraint programs_currency_form check (currency ~ '^[A-Z]{3}$'),
    constraint programs_window check (attribution_window_days between 1 and 3650),
    constraint programs_min_payout check (min_payout_minor >= 0)
);

-- A partner is one identity in the whole deployment; what it may do in a program is enrollment.
create table partners (
    partner_id uuid        not null,
    number     bigint      not null default nextval('partner_numbers'),
    name       text        not null,
    slug       text        not null,
    kind       text        not null,
    status     text        not null default 'active',
    country    text,
    email      text,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    constraint partners_pkey primary key (partner_id),
    constraint partners_number_once unique (number),
    constraint partners_slug_once unique (slug),
    constraint partners_kind_known check (kind in ('webmaster', 'dealer', 'integrator', 'other')),
    constraint partners_status_known check (status in ('active', 'blocked')),
    constraint partners_country_form check (country ~ '^[A-Z]{2}$')
);

create table enrollments (
    program_id       uuid        not null,
    partner_id       uuid        not null,
    status           text        not null default 'active',
    rank             text        not null default 'C',
    owner            text,
    next_contact_due date,
    -- Raising the epoch revokes every link that the partner signed with its own key.
    mint_epoch       integer     not null default 1,
    -- Numbers below 2^31 are ours to give; partners who sign links themselves use the upper half.
    last_link_number bigint      not null default 0,
    min_payout_minor bigint,
    created_at       timestamptz not null,
    updated_at       timestamptz not null,
    constraint enrollments_pkey primary key (program_id, partner_id),
    constraint enrollments_program foreign key (program_id) references programs (program_id),
    constraint enrollments_partner foreign key (partner_id) references partners (partner_id),
    constraint enrollments_status_known
        check (status in ('applied', 'active', 'paused', 'ended', 'declined')),
    constraint enrollments_rank_known check (rank in ('A', 'B', 'C', 'D')),
    constraint enrollments_epoch check (mint_epoch between 0 and 65535),
    constraint enrollments_links check (last_link_number between 0 and 2147483647)
);

create index enrollments_by_partner on enrollments (partner_id);
