-- What the decline detector learned, kept so that a report need not learn a year of clicks anew.
-- A row tells what was learned up to the end of a day; at the end of a week also what is needed to
-- go on from there: the head here, the partners in blocks. Both hold as long as no day before
-- `until` changes. That is noted by triggers, because clicks settle late, absences are declared
-- afterwards, kinds of partners are corrected, and rows may be changed by hand.
create table decline_learned (
    program_id  uuid        not null,
    day         date        not null,
    until       timestamptz not null,
    time_zone   text        not null,
    version     smallint    not null,
    has_changed boolean     not null default false,
    learned     bytea,
    head        bytea,
    begun_at    timestamptz not null,
    constraint decline_learned_pkey primary key (program_id, day),
    constraint decline_learned_program foreign key (program_id) references programs (program_id)
);

create table decline_states (
    program_id uuid    not null,
    day        date    not null,
    block      integer not null,
    states     bytea   not null,
    constraint decline_states_pkey primary key (program_id, day, block),
    constraint decline_states_learned foreign key (program_id, day)
        references decline_learned (program_id, day) on delete cascade
);

-- They are dense already.
alter table decline_learned alter column learned set storage external;
alter table decline_states alter column states set storage external;

grant select, insert, update, delete on decline_learned, decline_states to tributary_service;

-- Whoever begins to learn a day takes the lock alone, and with it waits for those who are writing
-- clicks: what they write is then either read or noted.
create function lock_decline(program uuid, is_alone boolean) returns void
    language plpgsql
    set search_path = pg_catalog, public
as
$$
begin
    if is_alone then
        perform pg_advisory_xact_lock(1684370276, hashtext(program::text));
    else
        perform pg_advisory_xact_lock_shared(1684370276, hashtext(program::text));
    end if;
end
$$;

create function note_changed_hours() returns trigger
    language plpgsql
    set search_path = pg_catalog, public
as
$$
declare
    what record;
begin
    for what in
        select c.program_id, min(c.hour) as hour
        from changed c
        where c.class = 0
        group by c.program_id
        order by c.program_id
    loop
        perform lock_decline(what.program_id, false);
        update decline_learned l
        set has_changed = true
        where l.program_id = what.program_id and l.until > what.hour and not l.has_changed;
    end loop;
    return null;
end
$$;

create trigger click_hours_inserted after insert on click_hours
    referencing new table as changed for each statement execute function note_changed_hours();
create trigger click_hours_updated after update on click_hours
    referencing new table as changed for each statement execute function note_changed_hours();
create trigger click_hours_deleted after delete on click_hours
    referencing old table as changed for each statement execute function note_changed_hours();

create function note_changed_absence() returns trigger
    language plpgsql
    set search_path = pg_catalog, public
as
$$
declare
    what record;
begin
    for what in
        select c.program_id, min(c.from_on) as from_on
        from changed c
        group by c.program_id
        order by c.program_id
    loop
        perform lock_decline(what.program_id, false);
        update decline_learned l
        set has_changed = true
        where l.program_id = what.program_id and l.day >= what.from_on and not l.has_changed;
    end loop;
    return null;
end
$$;

create trigger absences_inserted after insert on absences
    referencing new table as changed for each statement execute function note_changed_absence();
create trigger absences_deleted after delete on absences
    referencing old table as changed for each statement execute function note_changed_absence();

-- Partners of a kind have a similar week.
create function note_changed_kind() returns trigger
    language plpgsql
    set search_path = pg_catalog, public
as
$$
begin
    update decline_learned l
    set has_changed = true
    from enrollments e
    where e.partner_id = new.partner_id and l.program_id = e.program_id and not l.has_changed;
    return null;
end
$$;

create trigger partners_kind_changed after update of kind on partners
    for each row when (old.kind is distinct from new.kind) execute function note_changed_kind();
