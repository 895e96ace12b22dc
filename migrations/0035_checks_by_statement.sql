-- Settlement writes thousands of rows in one statement. A foreign key looks at each of them alone,
-- which took half of the time that PostgreSQL spent on a batch; the triggers below hold the same
-- rules for all rows of a statement at once: what is named is there, and what is named stays.
create function refuse_what_names_nothing() returns trigger
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
        select case when n.conversion_id is not null and v.conversion_id is null
                    then 'commissions_conversion'
                    when e.partner_id is null then 'commissions_enrollment'
                    else 'commissions_plan' end
        into broken
        from new_rows n
        left join conversions v
          on v.program_id = n.program_id and v.conversion_id = n.conversion_id
        left join enrollments e on e.program_id = n.program_id and e.partner_id = n.partner_id
        left join plan_versions o
          on o.program_id = n.program_id and o.plan_version_id = n.plan_version_id
        -- What clicks earned has no conversion.
        where (n.conversion_id is not null and v.conversion_id is null) or e.partner_id is null
           or (n.plan_version_id is not null and o.plan_version_id is null)
        limit 1;
    elsif tg_table_name = 'commission_history' then
        select 'commission_history_commission' into broken
        from new_rows n
        left join commissions c
          on c.program_id = n.program_id and c.commission_id = n.commission_id
        where c.commission_id is null
        limit 1;
    elsif tg_table_name = 'ledger_entries' then
        select case when t.ledger_transaction_id is null then 'ledger_entries_transaction'
                    else 'ledger_entries_account' end
        into broken
        from new_rows n
        left join ledger_transactions t
          on t.program_id = n.program_id and t.ledger_transaction_id = n.ledger_transaction_id
         and t.currency = n.currency
        left join ledger_accounts a
          on a.program_id = n.program_id and a.account_id = n.account_id
         and a.currency = n.currency
        where t.ledger_transaction_id is null or a.account_id is null
        limit 1;
    end if;
    if broken is not null then
        raise exception 'a row of % names what is not there', tg_table_name
            using errcode = 'foreign_key_violation', constraint = broken, table = tg_table_name;
    end if;
    return null;
end
$$;

create function refuse_removal_of_what_is_named() returns trigger
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
        select 'commission_history_commission' into broken
        from old_rows o
        join commission_history h
          on h.program_id = o.program_id and h.commission_id = o.commission_id
        limit 1;
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

-- What a row names, and its own name, never change.
create function refuse_renaming() returns trigger
    language plpgsql
as
$$
begin
    raise exception 'the keys of % never change', tg_table_name
        using errcode = 'foreign_key_violation', table = tg_table_name;
end
$$;

alter table conversions drop constraint conversions_program;
alter table commissions
    drop constraint commissions_conversion,
    drop constraint commissions_enrollment,
    drop constraint commissions_plan;
alter table commission_history drop constraint commission_history_commission;
-- Nothing can be removed from ledger_transactions: a trigger of its own refuses it.
alter table ledger_entries
    drop constraint ledger_entries_transaction,
    drop constraint ledger_entries_account;

create trigger conversions_named after insert on conversions
    referencing new table as new_rows
    for each statement execute function refuse_what_names_nothing();
create trigger commissions_named after insert on commissions
    referencing new table as new_rows
    for each statement execute function refuse_what_names_nothing();
create trigger commission_history_named after insert on commission_history
    referencing new table as new_rows
    for each statement execute function refuse_what_names_nothing();
create trigger ledger_entries_named after insert on ledger_entries
    referencing new table as new_rows
    for each statement execute function refuse_what_names_nothing();

create trigger programs_stay after delete on programs
    referencing old table as old_rows
    for each statement execute function refuse_removal_of_what_is_named();
create trigger conversions_stay after delete on conversions
    referencing old table as old_rows
    for each statement execute function refuse_removal_of_what_is_named();
create trigger enrollments_stay after delete on enrollments
    referencing old table as old_rows
    for each statement execute function refuse_removal_of_what_is_named();
create trigger plan_versions_stay after delete on plan_versions
    referencing old table as old_rows
    for each statement execute function refuse_removal_of_what_is_named();
create trigger commissions_stay after delete on commissions
    referencing old table as old_rows
    for each statement execute function refuse_removal_of_what_is_named();
create trigger ledger_accounts_stay after delete on ledger_accounts
    referencing old table as old_rows
    for each statement execute function refuse_removal_of_what_is_named();

create trigger programs_keep_keys before update of program_id on programs
    for each statement execute function refuse_renaming();
create trigger conversions_keep_keys before update of program_id, conversion_id on conversions
    for each statement execute function refuse_renaming();
create trigger enrollments_keep_keys before update of program_id, partner_id on enrollments
    for each statement execute function refuse_renaming();
create trigger plan_versions_keep_keys before update of program_id, plan_version_id on plan_versions
    for each statement execute function refuse_renaming();
create trigger commissions_keep_keys
    before update of program_id, commission_id, conversion_id, partner_id, plan_version_id
    on commissions
    for each statement execute function refuse_renaming();
create trigger commission_history_keep_keys
    before update of program_id, commission_id on commission_history
    for each statement execute function refuse_renaming();
create trigger ledger_accounts_keep_keys
    before update of program_id, account_id, currency on ledger_accounts
    for each statement execute function refuse_renaming();

-- The same index twice: commissions_by_occurrence is the other one.
drop index commissions_earned_by_time;
-- Only what the foreign key of the entries stood on.
alter table ledger_transactions drop constraint ledger_transactions_currency_of;
-- Few transactions reverse another one: the others need no place in this index.
alter table ledger_transactions drop constraint ledger_transactions_reversed_once;
create unique index ledger_transactions_reversed_once
    on ledger_transactions (program_id, reverses_id) where reverses_id is not null;
