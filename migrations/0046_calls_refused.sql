-- Calls of shops and trackers that were refused because nobody knows who sent them. A shop that signs
-- with an old secret loses its sales silently, so its manager must see it; but anybody can send
-- rubbish, so nothing is written call by call. Each process counts in its memory and adds what it
-- counted to one row for each source, reason and hour; what the calls named is a sample, believed by
-- nobody.
create table calls_refused (
    program_id  uuid        not null,
    hour        timestamptz not null,
    source_id   uuid        not null,
    channel     text        not null,
    reason      text        not null,
    n_calls     bigint      not null,
    first_at    timestamptz not null,
    last_at     timestamptz not null,
    -- Seconds by which the last call's own time was behind ours; negative where it was ahead.
    behind_s    bigint,
    message_ids text[]      not null,
    order_ids   text[]      not null,
    constraint calls_refused_pkey primary key (program_id, hour, source_id, channel, reason),
    constraint calls_refused_source foreign key (program_id, source_id)
        references sources (program_id, source_id),
    constraint calls_refused_channel_known check (channel in ('webhook', 'postback')),
    constraint calls_refused_reason_known check (
        reason in ('signature_unknown', 'signature_missing', 'signature_malformed', 'secret_ended',
                   'timestamp_outside', 'key_unknown', 'source_disabled')),
    constraint calls_refused_counted check (n_calls > 0),
    constraint calls_refused_times check (hour <= first_at and first_at <= last_at),
    constraint calls_refused_sample check (
        cardinality(message_ids) <= 5 and cardinality(order_ids) <= 5)
);

create index calls_refused_by_hour on calls_refused (hour);

grant select, insert, update, delete on calls_refused to tributary_service;
