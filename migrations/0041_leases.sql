-- Who does what where several processes could: each shard of the stream is settled by one, and the
-- timers run in one. A batch shows its lease (owner and epoch) inside its own transaction, so a
-- process that slept through the loss of it cannot commit. Times are PostgreSQL's own: the one
-- clock that all processes share.
create table leases (
    pool       text        not null,
    item       integer     not null,
    owner      text,
    -- Rises with each new owner.
    epoch      bigint      not null default 0,
    expires_at timestamptz not null,
    constraint leases_pkey primary key (pool, item)
);

-- Who would take a share of a pool.
create table lease_members (
    pool       text        not null,
    owner      text        not null,
    expires_at timestamptz not null,
    constraint lease_members_pkey primary key (pool, owner)
);

grant select, insert, update, delete on leases, lease_members to tributary_service;
