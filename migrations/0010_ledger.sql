-- Double entry, append-only. A debit is positive, a credit negative. What must hold whatever the
-- code does is held here: a transaction balances, has its reference once, is reversed at most once,
-- and no row is ever changed or removed.
create table ledger_accounts (
    program_id uuid        not null,
    account_id uuid        not null,
    path       text        not null,
    currency   text        not null,
    partner_id uuid,
    created_at timestamptz not null,
    constraint ledger_accounts_pkey primary key (program_id, account_id),
    constraint ledger_accounts_path_once unique (program_id, path, currency),
    constraint ledger_accounts_currency_of unique (program_id, account_id, currency)
);

create table ledger_transactions (
    program_id            uuid        not null,
    ledger_transaction_id uuid        not null,
    code                  text        not null,
    reference             text        not null,
    currency              text        not null,
    reverses_id           uuid,
    effective_at          timestamptz not null,
    recorded_at           timestamptz not null,
    -- Place in the program's hash chain: a removed or altered row breaks every later hash.
    sequence              bigint      not null,
    previous_hash         bytea       not null,
    hash                  bytea       not null,
    constraint ledger_transactions_pkey primary key (program_id, ledger_transaction_id),
    constraint ledger_transactions_reference_once unique (program_id, reference),
    constraint ledger_transactions_reversed_once unique (program_id, reverses_id),
    constraint ledger_transactions_sequence_once unique (program_id, sequence),
    constraint ledger_transactions_currency_of unique (program_id, ledger_transaction_id, currency)
);

create table ledger_entries (
    program_id            uuid     not null,
    ledger_transaction_id uuid     not null,
    line                  smallint not null,
    account_id            uuid     not null,
    amount_minor          bigint   not null,
    currency              text     not null,
    constraint ledger_entries_pkey primary key (program_id, ledger_transaction_id, line),
    constraint ledger_entries_not_zero check (amount_minor <> 0),
    constraint ledger_entries_transaction
        foreign key (program_id, ledger_transaction_id, currency)
        references ledger_transactions (program_id, ledger_transaction_id, currency),
    constraint ledger_entries_account foreign key (program_id, account_id, currency)
        references ledger_accounts (program_id, account_id, currency)
);

create index ledger_entries_by_account on ledger_entries (program_id, account_id);

-- A projection of the entries, kept by the trigger below and proven equal by the audit.
create table ledger_balances (
    program_id    uuid   not null,
    account_id    uuid   not null,
    balance_minor bigint not null,
    constraint ledger_balances_pkey primary key (program_id, account_id),
    constraint ledger_balances_account foreign key (program_id, account_id)
        references ledger_accounts (program_id, account_id)
);

-- The end of each program's hash chain; its row lock puts ledger writers of a program in line.
create table ledger_heads (
    program_id uuid   not null,
    sequence   bigint not null,
    hash       bytea  not null,
    constraint ledger_heads_pkey primary key (program_id)
);

-- All entries of a transaction come in one statement, so one look per statement suffices: with a
-- trigger per row, a batch of ten thousand would pay ten thousand times.
create function check_ledger_entries() returns trigger
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

create trigger ledger_entries_balance
    after insert on ledger_entries
    referencing new table as new_entries
    for each statement execute function check_ledger_entries();

create function refuse_ledger_change() returns trigger
    language plpgsql
as
$$
begin
    raise exception 'the ledger is append-only: % on % is refused', tg_op, tg_table_name
        using errcode = 'insufficient_privilege';
end
$$;

create trigger ledger_entries_append_only
    before update or delete or truncate on ledger_entries
    for each statement execute function refuse_ledger_change();
create trigger ledger_transactions_append_only
    before update or delete or truncate on ledger_transactions
    for each statement execute function refuse_ledger_change();
