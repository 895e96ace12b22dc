-- How far each shard of the stream is settled. This position only saves re-reading: the guarantee
-- that nothing is settled twice is the unique id of each event. A stream that was lost and begun
-- anew has another generation, and so another row that starts at 0-0.
create table stream_offsets (
    prefix       text        not null,
    shard        integer     not null,
    generation   uuid        not null,
    ms           bigint      not null default 0,
    seq          bigint      not null default 0,
    n_settled    bigint      not null default 0,
    n_duplicates bigint      not null default 0,
    n_dead       bigint      not null default 0,
    updated_at   timestamptz not null,
    constraint stream_offsets_pkey primary key (prefix, shard, generation)
);

-- What could not be understood or applied, with its bytes, so that it can be replayed. One bad
-- event never stops its shard.
create table dead_letters (
    dead_letter_id uuid        not null,
    prefix         text        not null,
    shard          integer     not null,
    ms             bigint      not null,
    seq            bigint      not null,
    record         integer     not null,
    kind           text        not null,
    bytes          bytea       not null,
    error          text        not null,
    created_at     timestamptz not null,
    replayed_at    timestamptz,
    constraint dead_letters_pkey primary key (dead_letter_id),
    -- The same bytes read twice are one dead letter.
    constraint dead_letters_once unique (prefix, shard, ms, seq, record)
);
