-- What an account came to at any time must not be summed up from all its entries: a partner may have
-- a hundred thousand. So each day of UTC has its sum, and the first and last place in the chain of
-- its entries, between which those of a part of the day are found. Kept by the trigger below in the
-- statement of the entries, and proven equal by the audit.
create table ledger_days (
    program_id     uuid   not null,
    account_id     uuid   not null,
    day            date   not null,
    amount_minor   bigint not null,
    first_sequence bigint not null,
    last_sequence  bigint not null,
    constraint ledger_days_pkey primary key (program_id, account_id, day),
    constraint ledger_days_order check (first_sequence <= last_sequence)
);

insert into ledger_days
select program_id, account_id, (effective_at at time zone 'UTC')::date, sum(amount_minor),
       min(sequence), max(sequence)
from ledger_entries
group by 1, 2, 3;

grant select on ledger_days to tributary_service;

-- As before, and the days are kept beside the balances.
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

    insert into public.ledger_days as d
        (program_id, account_id, day, amount_minor, first_sequence, last_sequence)
    select n.program_id, n.account_id, (n.effective_at at time zone 'UTC')::date,
           sum(n.amount_minor), min(n.sequence), max(n.sequence)
    from new_entries n
    group by 1, 2, 3
    order by 1, 2, 3
    on conflict on constraint ledger_days_pkey
    do update set amount_minor = d.amount_minor + excluded.amount_minor,
                  first_sequence = least(d.first_sequence, excluded.first_sequence),
                  last_sequence = greatest(d.last_sequence, excluded.last_sequence);
    return null;
end
$$;

-- How many entries of the stream were settled: what was ever added to it is what was settled and what
-- still waits. Null for a life of a stream that began before anybody counted.
alter table stream_offsets add column n_entries bigint;

-- An id as the API and the audit log write it: a prefix and 26 digits of Crockford's base32.
create function typed_id(prefix text, id uuid) returns text
    language sql
    immutable
    strict
    set search_path = pg_catalog, public
as
$$
    select prefix || '_' || string_agg(
               substr('0123456789abcdefghjkmnpqrstvwxyz',
                      1 + substring(b.bits from 5 * n.n + 1 for 5)::integer, 1), '' order by n.n)
    from (select b'00' || ('x' || replace(id::text, '-', ''))::bit(128) as bits) b
    cross join generate_series(0, 25) as n (n)
$$;
