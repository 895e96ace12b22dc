-- Reports read a partner's entries by what they were posted for and when. Looking that up in another
-- table, entry by entry, takes seconds for a partner with a hundred thousand sales; so an entry repeats
-- it, and one index holds all that reports ask of an account.
alter table ledger_entries
    add column code         text,
    add column sequence     bigint,
    add column effective_at timestamptz,
    add column recorded_at  timestamptz;

-- Not a change of what is booked: the copies of what stands in the same transaction.
alter table ledger_entries disable trigger ledger_entries_append_only;
update ledger_entries e
set code = t.code, sequence = t.sequence, effective_at = t.effective_at, recorded_at = t.recorded_at
from ledger_transactions t
where t.program_id = e.program_id and t.ledger_transaction_id = e.ledger_transaction_id;
alter table ledger_entries enable trigger ledger_entries_append_only;

alter table ledger_entries
    alter column code set not null,
    alter column sequence set not null,
    alter column effective_at set not null,
    alter column recorded_at set not null;

create index ledger_entries_of_account on ledger_entries (program_id, account_id, sequence)
    include (code, effective_at, recorded_at, amount_minor);
drop index ledger_entries_by_account;

-- Who writes an entry by hand need not repeat anything.
create function repeat_ledger_transaction() returns trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, public
as
$$
begin
    select t.code, t.sequence, t.effective_at, t.recorded_at
    into new.code, new.sequence, new.effective_at, new.recorded_at
    from public.ledger_transactions t
    where t.program_id = new.program_id and t.ledger_transaction_id = new.ledger_transaction_id;
    return new;
end
$$;

create trigger ledger_entries_repeat
    before insert on ledger_entries
    for each row when (new.sequence is null) execute function repeat_ledger_transaction();

-- As before, and what an entry repeats must be what its transaction says.
create or replace function check_ledger_entries() returns trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, public
as
$$
declare
    bad record;
begin
    select e.ledger_transaction_id, sum(e.amount_minor) as residue, count(*) as n_entries
    into bad
    from public.ledger_entries e
    where (e.program_id, e.ledger_transaction_id) in
          (select n.program_id, n.ledger_transaction_id from new_entries n)
    group by e.program_id, e.ledger_transaction_id
    having sum(e.amount_minor) <> 0 or count(*) < 2
    limit 1;
    if found then
        raise exception 'ledger transaction % does not balance: residue %, % entries',
            bad.ledger_transaction_id, bad.residue, bad.n_entries
            using errcode = 'check_violation', constraint = 'ledger_entries_balance';
    end if;

    select n.ledger_transaction_id
    into bad
    from new_entries n
    join public.ledger_transactions t
      on t.program_id = n.program_id and t.ledger_transaction_id = n.ledger_transaction_id
    where (n.code, n.sequence, n.effective_at, n.recorded_at)
          is distinct from (t.code, t.sequence, t.effective_at, t.recorded_at)
    limit 1;
    if found then
        raise exception 'an entry of % does not say what its transaction says',
            bad.ledger_transaction_id
            using errcode = 'check_violation', constraint = 'ledger_entries_repeat';
    end if;

    insert into public.ledger_balances as b (program_id, account_id, balance_minor)
    select n.program_id, n.account_id, sum(n.amount_minor)
    from new_entries n
    group by n.program_id, n.account_id
    order by n.program_id, n.account_id
    on conflict on constraint ledger_balances_pkey
    do update set balance_minor = b.balance_minor + excluded.balance_minor;
    return null;
end
$$;
