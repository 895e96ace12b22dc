-- Who may report conversions. Standard Webhooks carries no key id, so the source id stands in the
-- URL and chooses the secrets; at most two are live, for rotation without downtime.
create table sources (
    program_id      uuid        not null,
    source_id       uuid        not null,
    name            text        not null,
    status          text        not null default 'active',
    -- Orders of sources that share a namespace are one order: a shop that reports by webhook and
    -- by postback is paid for once.
    order_namespace text        not null default '',
    created_at      timestamptz not null,
    updated_at      timestamptz not null,
    constraint sources_pkey primary key (program_id, source_id),
    constraint sources_program foreign key (program_id) references programs (program_id),
    constraint sources_status_known check (status in ('active', 'disabled')),
    constraint sources_namespace_length check (char_length(order_namespace) <= 64)
);

create index sources_by_id on sources (source_id);

-- Encrypted at rest (XChaCha20-Poly1305): a dump of the database signs nothing.
create table source_secrets (
    program_id uuid        not null,
    source_id  uuid        not null,
    secret_id  uuid        not null,
    ciphertext bytea       not null,
    created_at timestamptz not null,
    expires_at timestamptz,
    constraint source_secrets_pkey primary key (program_id, source_id, secret_id),
    constraint source_secrets_source foreign key (program_id, source_id)
        references sources (program_id, source_id)
);
