-- The rows of a batch of commissions are read twice for what they name, not four times: partners, plans
-- and whether any row corrects another come of one grouping.
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
        with named as materialized (
            select n.program_id, n.partner_id, n.plan_version_id,
                   bool_or(n.corrects_id is not null) as corrects
            from new_rows n
            group by n.program_id, n.partner_id, n.plan_version_id
        )
        select coalesce(
            -- What clicks earned has no conversion.
            (select 'commissions_conversion'
             from new_rows n
             left join conversions v
               on v.program_id = n.program_id and v.conversion_id = n.conversion_id
             where n.conversion_id is not null and v.conversion_id is null
             limit 1),
            (select 'commissions_enrollment'
             from named n
             left join enrollments e
               on e.program_id = n.program_id and e.partner_id = n.partner_id
             where e.partner_id is null
             limit 1),
            (select 'commissions_plan'
             from named n
             left join plan_versions o
               on o.program_id = n.program_id and o.plan_version_id = n.plan_version_id
             where n.plan_version_id is not null and o.plan_version_id is null
             limit 1),
            case when (select bool_or(corrects) from named) then
                (select 'commissions_corrected'
                 from new_rows n
                 left join commissions c
                   on c.program_id = n.program_id and c.commission_id = n.corrects_id
                 where n.corrects_id is not null and c.commission_id is null
                 limit 1)
            end)
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
