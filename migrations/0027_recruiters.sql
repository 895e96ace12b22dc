-- A sale pays whoever had recruited its partner when it happened, not whoever has by the time it is
-- told: each change is kept with its time, by whatever way it was made.
create table recruiter_history (
    program_id   uuid        not null,
    partner_id   uuid        not null,
    from_at      timestamptz not null,
    -- None: nobody from then on.
    recruiter_id uuid,
    constraint recruiter_history_pkey primary key (program_id, partner_id, from_at),
    constraint recruiter_history_enrollment foreign key (program_id, partner_id)
        references enrollments (program_id, partner_id)
);

insert into recruiter_history (program_id, partner_id, from_at, recruiter_id)
select program_id, partner_id, created_at, parent_partner_id
from enrollments
where parent_partner_id is not null;

create function keep_recruiter() returns trigger
    language plpgsql
    set search_path = pg_catalog, public
as
$$
begin
    if tg_op = 'INSERT' then
        if new.parent_partner_id is null then
            return null;
        end if;
    elsif new.parent_partner_id is not distinct from old.parent_partner_id then
        return null;
    end if;
    insert into recruiter_history (program_id, partner_id, from_at, recruiter_id)
    values (new.program_id, new.partner_id, new.updated_at, new.parent_partner_id)
    on conflict on constraint recruiter_history_pkey
    do update set recruiter_id = excluded.recruiter_id;
    return null;
end
$$;

create trigger enrollments_keep_recruiter
    after insert or update of parent_partner_id on enrollments
    for each row execute function keep_recruiter();

grant select, insert, update on recruiter_history to tributary_service;
