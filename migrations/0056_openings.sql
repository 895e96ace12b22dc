-- How a commission began is told by its own row: nine of ten have no other step for a month, and a row of
-- the history that repeats the row beside it took as long to write as the message that led to it. The
-- history holds what became of it since; `commission_steps` is both.
alter table commissions
    add column opened_state text,
    -- Who opened it and by which rule, and what they said about it.
    add column opened_by text,
    add column opened_rule text,
    add column opened_note text,
    -- What the opening posted, if it moved money.
    add column opening_transaction_id uuid;

update commissions c
set opened_state = h.to_state, opened_by = h.actor, opened_rule = h.rule, opened_note = h.reason,
    opening_transaction_id = h.ledger_transaction_id
from commission_history h
where h.program_id = c.program_id and h.commission_id = c.commission_id and h.revision = 1;

delete from commission_history where revision = 1;

alter table commissions
    alter column opened_state set not null,
    alter column opened_by set not null,
    alter column opened_rule set not null,
    add constraint commissions_opened_state_known check (
        opened_state in ('pending', 'on_hold', 'approved', 'rejected', 'reversed', 'paid'));
alter table commission_history
    alter column from_state set not null,
    add constraint commission_history_after_opening check (revision > 1);

create index commissions_by_opening on commissions (program_id, opening_transaction_id)
    where opening_transaction_id is not null;

create view commission_steps as
select program_id, commission_id, 1 as revision, null::text as from_state, opened_state as to_state,
       created_at as at, opened_by as actor, opened_rule as rule, opened_note as reason,
       opening_transaction_id as ledger_transaction_id
from commissions
union all
select program_id, commission_id, revision, from_state, to_state, at, actor, rule, reason,
       ledger_transaction_id
from commission_history;

grant select on commission_steps to tributary_service;

-- How it began is never told differently, and what has begun is never removed, by whomever.
create or replace function refuse_renaming() returns trigger
    language plpgsql
as
$$
begin
    raise exception 'the keys of %, and how a row of it began, never change', tg_table_name
        using errcode = 'foreign_key_violation', table = tg_table_name;
end
$$;

drop trigger commissions_keep_keys on commissions;
create trigger commissions_keep_keys
    before update of program_id, commission_id, conversion_id, partner_id, plan_version_id,
        created_at, opened_state, opened_by, opened_rule, opened_note, opening_transaction_id
    on commissions
    for each statement execute function refuse_renaming();
create function refuse_removal() returns trigger
    language plpgsql
as
$$
begin
    raise exception 'a row of % is never removed', tg_table_name
        using errcode = 'foreign_key_violation', constraint = tg_name, table = tg_table_name;
end
$$;

drop trigger commissions_stay on commissions;
create trigger commissions_stay before delete on commissions
    for each statement execute function refuse_removal();
revoke delete on commissions from tributary_service;
