-- How a source speaks when it sends postbacks. A row is there once somebody has set the source up
-- for postbacks; its key is kept as a hash alone, because it stands in addresses that logs see.
create table source_postbacks (
    program_id      uuid        not null,
    source_id       uuid        not null,
    alias_profile   text        not null default 'generic',
    -- Their words for a status or an event, and ours: an object of strings.
    status_map      jsonb       not null default '{}',
    event_map       jsonb       not null default '{}',
    -- What a postback that names no event reports.
    default_event   text        not null default 'sale',
    needs_signature boolean     not null default false,
    key_hash        bytea,
    older_key_hash  bytea,
    older_ends_at   timestamptz,
    updated_at      timestamptz not null,
    constraint source_postbacks_pkey primary key (program_id, source_id),
    constraint source_postbacks_source foreign key (program_id, source_id)
        references sources (program_id, source_id),
    constraint source_postbacks_older_whole
        check ((older_key_hash is null) = (older_ends_at is null))
);

create trigger source_postbacks_raise_snapshot
    after insert or update or delete on source_postbacks
    for each statement execute function raise_snapshot_version();

-- Messages whose event has no name of ours yet. They were acknowledged, so they are kept until a
-- person maps the name or discards the message; nothing is guessed.
create table parked_messages (
    program_id   uuid        not null,
    parked_id    uuid        not null,
    source_id    uuid        not null,
    message_id   text        not null,
    event_name   text        not null,
    record       jsonb       not null,
    received_at  timestamptz not null,
    status       text        not null default 'parked',
    decided_by   text,
    decided_at   timestamptz,
    note         text,
    constraint parked_messages_pkey primary key (program_id, parked_id),
    -- The stream may be read twice, and a tracker may repeat itself.
    constraint parked_messages_once unique (program_id, source_id, message_id),
    constraint parked_messages_status_known check (status in ('parked', 'released', 'discarded')),
    constraint parked_messages_decided_whole check (
        (status = 'parked') = (decided_at is null) and (decided_at is null) = (decided_by is null))
);

create index parked_messages_by_status on parked_messages (program_id, status, parked_id);

-- A file of conversions: who brought it and how far it is. The hash makes a repeated upload of the
-- same file the same import.
create table conversion_imports (
    program_id  uuid        not null,
    import_id   uuid        not null,
    source_id   uuid        not null,
    file_name   text        not null,
    -- Null until the last byte has come: a cut upload is no import.
    file_hash   bytea,
    n_bytes     bigint      not null default 0,
    status      text        not null default 'receiving',
    actor       text        not null,
    reason      text        not null,
    created_at  timestamptz not null,
    updated_at  timestamptz not null,
    constraint conversion_imports_pkey primary key (program_id, import_id),
    constraint conversion_imports_source foreign key (program_id, source_id)
        references sources (program_id, source_id),
    constraint conversion_imports_file_once unique (program_id, source_id, file_hash),
    constraint conversion_imports_status_known check (status in ('receiving', 'running', 'done')),
    constraint conversion_imports_hash_there check ((status = 'receiving') = (file_hash is null))
);

create index conversion_imports_running on conversion_imports (created_at) where status = 'running';

-- One row for each line of the file: refused with its reason, or to be sent, or sent. What became
-- of a sent one stands with its receipt.
create table conversion_import_rows (
    program_id uuid    not null,
    import_id  uuid    not null,
    line       integer not null,
    verdict    text    not null,
    order_id   text,
    -- The report, until it is sent.
    report     jsonb,
    field      text,
    reason     text,
    fix        text,
    constraint conversion_import_rows_pkey primary key (program_id, import_id, line),
    constraint conversion_import_rows_import foreign key (program_id, import_id)
        references conversion_imports (program_id, import_id),
    constraint conversion_import_rows_verdict_known
        check (verdict in ('to_send', 'sent', 'refused', 'duplicate')),
    constraint conversion_import_rows_report_there
        check ((verdict = 'to_send') = (report is not null))
);

create index conversion_import_rows_to_send on conversion_import_rows (program_id, import_id, line)
    where verdict = 'to_send';

grant select, insert, update on source_postbacks, parked_messages to tributary_service;
grant select, insert, update, delete on conversion_imports, conversion_import_rows
    to tributary_service;
