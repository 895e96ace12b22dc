-- Users and their API keys are deployment-wide: one finance person may serve several programs.
-- Four eyes compares users, never keys, so every key has an owning user.
create table users (
    user_id     uuid        not null,
    name        text        not null,
    created_at  timestamptz not null,
    disabled_at timestamptz,
    constraint users_pkey primary key (user_id),
    constraint users_name_length check (char_length(name) between 1 and 200)
);

-- Only the SHA-256 of a key is kept: the key itself carries 178 random bits, so nothing slower
-- is needed, and a dump of this table opens no door.
create table api_keys (
    api_key_id  uuid        not null,
    user_id     uuid        not null,
    name        text        not null,
    role        text        not null,
    -- null: all programs.
    program_ids uuid[],
    key_hash    bytea       not null,
    -- The first characters, for people who must tell two keys apart.
    prefix      text        not null,
    created_at  timestamptz not null,
    expires_at  timestamptz,
    revoked_at  timestamptz,
    constraint api_keys_pkey primary key (api_key_id),
    constraint api_keys_hash_once unique (key_hash),
    constraint api_keys_user foreign key (user_id) references users (user_id),
    constraint api_keys_role_known
        check (role in ('admin', 'manager', 'finance', 'approver', 'source', 'partner'))
);
