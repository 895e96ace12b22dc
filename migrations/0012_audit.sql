-- Who did what: append-only, like the ledger.
create table audit_log (
    audit_id   uuid        not null,
    at         timestamptz not null,
    actor      text        not null,
    action     text        not null,
    object     text        not null,
    program_id uuid,
    details    jsonb       not null,
    request_id text,
    constraint audit_log_pkey primary key (audit_id)
);

create index audit_log_by_object on audit_log (object);

create trigger audit_log_append_only
    before update or delete or truncate on audit_log
    for each statement execute function refuse_ledger_change();

-- The stored answer of a request with an Idempotency-Key, written in the transaction of its
-- effect: either both are there or neither.
create table idempotency_keys (
    api_key_id  uuid        not null,
    method      text        not null,
    path        text        not null,
    key         text        not null,
    fingerprint bytea       not null,
    status      smallint    not null,
    location    text,
    body        bytea       not null,
    created_at  timestamptz not null,
    constraint idempotency_keys_pkey primary key (api_key_id, method, path, key)
);

create index idempotency_keys_by_age on idempotency_keys (created_at);
