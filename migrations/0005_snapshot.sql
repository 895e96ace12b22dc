-- The hot paths live on an in-memory copy of the terms. A version that rises with every change to
-- what it holds makes the question "is my copy still right" one cheap read; triggers, so that no
-- writer can forget it.
create table snapshot_version (
    only_row boolean not null default true,
    version  bigint  not null default 1,
    constraint snapshot_version_pkey primary key (only_row),
    constraint snapshot_version_single check (only_row)
);

insert into snapshot_version default values;

create function raise_snapshot_version() returns trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, public
as
$$
begin
    update public.snapshot_version set version = version + 1;
    return null;
end
$$;

create trigger programs_raise_snapshot
    after insert or update or delete on programs
    for each statement execute function raise_snapshot_version();
create trigger partners_raise_snapshot
    after insert or update or delete on partners
    for each statement execute function raise_snapshot_version();
-- Not on last_link_number: making a link changes nothing that the copy holds.
create trigger enrollments_raise_snapshot
    after insert or delete or update of status, mint_epoch on enrollments
    for each statement execute function raise_snapshot_version();
create trigger links_raise_snapshot
    after delete or update on links
    for each statement execute function raise_snapshot_version();
create trigger sources_raise_snapshot
    after insert or update or delete on sources
    for each statement execute function raise_snapshot_version();
create trigger source_secrets_raise_snapshot
    after insert or update or delete on source_secrets
    for each statement execute function raise_snapshot_version();
