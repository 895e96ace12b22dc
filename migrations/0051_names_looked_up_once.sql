-- A batch of commissions names few partners and plans, each of them many times: each is looked up once.
-- What a correction corrects is checked by statement, too; almost no row of a batch has any.
create or replace function refuse_what_names_nothing() returns trigger
    language plpgsql
    set search_path = pg_catalog, public
as
$$
declare
    broken text;
begin
    if tg_table_name = 'conversions' then
        select 'conversions_program' into broken
        from (select distinct n.program_id from new_rows n) n
        where not exists (select from programs p where p.program_id = n.program_id)
        limit 1;
    elsif tg_table_name = 'commissions' then
        select coalesce(
            -- What clicks earned has no conversion.
            (select 'commissions_conversion'
             from new_rows n
             left join conversions v
               on v.program_id = n.program_id and v.conversion_id = n.conversion_id
             where n.conversion_id is not null and v.conversion_id is null
             limit 1),
            (select 'commissions_enrollment'
             from (select distinct n.program_id, n.partner_id from new_rows n) n
             left join enrollments e
               on e.program_id = n.program_id and e.partner_id = n.partner_id
             where e.partner_id is null
             limit 1),
            (select 'commissions_plan'
             from (select distinct n.program_id, n.plan_version_id from new_rows n
                   where n.plan_version_id is not null) n
             left join plan_versions o
               on o.program_id = n.program_id and o.plan_version_id = n.plan_version_id
             where o.plan_version_id is null
             limit 1),
            (select 'commissions_corrected'
             from new_rows n
             left join commissions c
               on c.program_id = n.program_id and c.commission_id = n.corrects_id
             where n.corrects_id is not null and c.commission_id is null
             limit 1))
        into broken;
    elsif tg_table_name = 'commission_history' then
        select 'commission_history_commission' into broken
        from new_rows n
        left join commissions c
          on c.program_id = n.program_id and c.commission_id = n.commission_id
        where c.commission_id is null
        limit 1;
    end if;
    if broken is not null then
        raise exception 'a row of % names what is not there', tg_table_name
            using errcode = 'foreign_key_violation', constraint = broken, table = tg_table_name;
    end if;
    return null;
end
$$;

create or replace function refuse_removal_of_what_is_named() returns trigger
    language plpgsql
    set search_path = pg_catalog, public
as
$$
declare
    broken text;
begin
    if tg_table_name = 'programs' then
        select 'conversions_program' into broken
        from old_rows o join conversions v on v.program_id = o.program_id limit 1;
    elsif tg_table_name = 'conversions' then
        select 'commissions_conversion' into broken
        from old_rows o
        join commissions c on c.program_id = o.program_id and c.conversion_id = o.conversion_id
        limit 1;
    elsif tg_table_name = 'enrollments' then
        select 'commissions_enrollment' into broken
        from old_rows o
        join commissions c on c.program_id = o.program_id and c.partner_id = o.partner_id
        limit 1;
    elsif tg_table_name = 'plan_versions' then
        select 'commissions_plan' into broken
        from old_rows o
        join commissions c
          on c.program_id = o.program_id and c.plan_version_id = o.plan_version_id
        limit 1;
    elsif tg_table_name = 'commissions' then
        select coalesce(
            (select 'commission_history_commission'
             from old_rows o
             join commission_history h
               on h.program_id = o.program_id and h.commission_id = o.commission_id
             limit 1),
            (select 'commissions_corrected'
             from old_rows o
             join commissions c
               on c.program_id = o.program_id and c.corrects_id = o.commission_id
             limit 1))
        into broken;
    elsif tg_table_name = 'ledger_accounts' then
        select 'ledger_entries_account' into broken
        from old_rows o
        join ledger_entries e on e.program_id = o.program_id and e.account_id = o.account_id
        limit 1;
    end if;
    if broken is not null then
        raise exception 'a row of % is still named by others', tg_table_name
            using errcode = 'foreign_key_violation', constraint = broken, table = tg_table_name;
    end if;
    return null;
end
$$;

alter table commissions drop constraint commissions_corrected;
drop trigger commissions_keep_keys on commissions;
create trigger commissions_keep_keys
    before update of program_id, commission_id, conversion_id, partner_id, plan_version_id,
                     corrects_id
    on commissions
    for each statement execute function refuse_renaming();
