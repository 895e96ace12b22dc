-- Plans ask for a partner's rank and group. A sale is priced by what they were when it happened, not by
-- what they are when it is told: each change is kept with its time, by whatever way it was made.
create table terms_history (
    program_id  uuid        not null,
    partner_id  uuid        not null,
    from_at     timestamptz not null,
    rank        text        not null,
    terms_group text,
    constraint terms_history_pkey primary key (program_id, partner_id, from_at),
    constraint terms_history_enrollment foreign key (program_id, partner_id)
        references enrollments (program_id, partner_id)
);

insert into terms_history (program_id, partner_id, from_at, rank, terms_group)
select program_id, partner_id, created_at, rank, terms_group
from enrollments;

create function keep_terms() returns trigger
    language plpgsql
    set search_path = pg_catalog, public
as
$$
begin
    if tg_op = 'UPDATE' then
        if (new.rank, new.terms_group) is not distinct from (old.rank, old.terms_group) then
            return null;
        end if;
    end if;
    insert into terms_history (program_id, partner_id, from_at, rank, terms_group)
    values (new.program_id, new.partner_id, new.updated_at, new.rank, new.terms_group)
    on conflict on constraint terms_history_pkey
    do update set rank = excluded.rank, terms_group = excluded.terms_group;
    return null;
end
$$;

create trigger enrollments_keep_terms
    after insert or update of rank, terms_group on enrollments
    for each row execute function keep_terms();

grant select, insert, update on terms_history to tributary_service;
