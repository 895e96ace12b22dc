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

-- What must hold of new ledger entries was looked up three times: once for the balance, once for what
-- they repeat, once for what they name. Now one grouping of the new rows answers all of it: the entries
-- of a transaction in one statement balance by themselves, so nothing older need be read again, and
-- each transaction and each account is looked up once, not once for each of its entries.
create or replace function check_ledger_entries() returns trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, public
as
$$
declare
    bad record;
begin
    -- What entries of one transaction repeat differently falls into groups that do not match it.
    select g.ledger_transaction_id, g.residue, g.n_entries, t.currency as known_currency
    into bad
    from (select n.program_id, n.ledger_transaction_id, n.currency, n.code, n.sequence,
                 n.effective_at, n.recorded_at,
                 sum(n.amount_minor) as residue, count(*) as n_entries
          from new_entries n
          group by n.program_id, n.ledger_transaction_id, n.currency, n.code, n.sequence,
                   n.effective_at, n.recorded_at) g
    left join public.ledger_transactions t
      on t.program_id = g.program_id and t.ledger_transaction_id = g.ledger_transaction_id
     and t.currency = g.currency and t.code = g.code and t.sequence = g.sequence
     and t.effective_at = g.effective_at and t.recorded_at = g.recorded_at
    where g.residue <> 0 or t.ledger_transaction_id is null
    limit 1;
    if found then
        if not exists (select from new_entries n
                       join public.ledger_transactions t
                         on t.program_id = n.program_id
                        and t.ledger_transaction_id = n.ledger_transaction_id
                        and t.currency = n.currency
                       where n.ledger_transaction_id = bad.ledger_transaction_id) then
            raise exception 'a row of ledger_entries names what is not there'
                using errcode = 'foreign_key_violation',
                      constraint = 'ledger_entries_transaction', table = 'ledger_entries';
        elsif bad.known_currency is null then
            raise exception 'an entry of % does not say what its transaction says',
                bad.ledger_transaction_id
                using errcode = 'check_violation', constraint = 'ledger_entries_repeat';
        end if;
        raise exception 'ledger transaction % does not balance: residue %, % entries',
            bad.ledger_transaction_id, bad.residue, bad.n_entries
            using errcode = 'check_violation', constraint = 'ledger_entries_balance';
    end if;

    with days as (
        select n.program_id, n.account_id, n.currency,
               (n.effective_at at time zone 'UTC')::date as day, sum(n.amount_minor) as amount_minor,
               min(n.sequence) as first_sequence, max(n.sequence) as last_sequence
        from new_entries n
        group by 1, 2, 3, 4
    ), sums as (
        select d.program_id, d.account_id, d.currency, sum(d.amount_minor) as amount_minor
        from days d
        group by 1, 2, 3
    ), kept_days as (
        insert into public.ledger_days as d
            (program_id, account_id, day, amount_minor, first_sequence, last_sequence)
        select n.program_id, n.account_id, n.day, n.amount_minor, n.first_sequence, n.last_sequence
        from days n
        order by 1, 2, 3
        on conflict on constraint ledger_days_pkey
        do update set amount_minor = d.amount_minor + excluded.amount_minor,
                      first_sequence = least(d.first_sequence, excluded.first_sequence),
                      last_sequence = greatest(d.last_sequence, excluded.last_sequence)
    ), kept_sums as (
        insert into public.ledger_balances as b (program_id, account_id, balance_minor)
        select s.program_id, s.account_id, s.amount_minor
        from sums s
        join public.ledger_accounts a
          on a.program_id = s.program_id and a.account_id = s.account_id
         and a.currency = s.currency
        order by s.program_id, s.account_id
        on conflict on constraint ledger_balances_pkey
        do update set balance_minor = b.balance_minor + excluded.balance_minor
        returning 1)
    select (select count(*) from sums) as n_named, (select count(*) from kept_sums) as n_there
    into bad;
    if bad.n_named <> bad.n_there then
        raise exception 'a row of ledger_entries names what is not there'
            using errcode = 'foreign_key_violation', constraint = 'ledger_entries_account',
                  table = 'ledger_entries';
    end if;
    return null;
end
$$;

drop trigger ledger_entries_named on ledger_entries;

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
