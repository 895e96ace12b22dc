-- Months are closed one after another, and what a partner was told about a closed month stays as
-- it was told.
--
-- A ledger transaction belongs to the first month that was open when it was recorded and that is
-- not over before it takes effect. In figures: up to the end of a closed month belongs what has
-- sequence <= last_sequence and effective_at < ends_at; the month itself is that, less what
-- belongs up to the end of the month before it. What is recorded later, though it takes effect in
-- the closed month, is in the next one and says so by its effective_at.
create table closed_periods (
    program_id     uuid        not null,
    period         text        not null,
    starts_at      timestamptz not null,
    ends_at        timestamptz not null,
    -- last_sequence of the month before; of the first month closed, its own.
    after_sequence bigint      not null,
    last_sequence  bigint      not null,
    -- The chain's hash at last_sequence: whoever keeps it can prove the book up to here.
    chain_hash     bytea       not null,
    closed_by      uuid        not null,
    closed_at      timestamptz not null,
    constraint closed_periods_pkey primary key (program_id, period),
    constraint closed_periods_start_once unique (program_id, starts_at),
    constraint closed_periods_program foreign key (program_id) references programs (program_id),
    constraint closed_periods_form check (period ~ '^[0-9]{4}-(0[1-9]|1[0-2])$'),
    constraint closed_periods_order check (starts_at < ends_at and after_sequence <= last_sequence)
);

-- One for each partner and currency of a closed month. The document is one JSON object a line: the
-- balances first, then every entry. Its bytes are kept, so that a later release shows the same.
create table statements (
    program_id            uuid        not null,
    statement_id          uuid        not null,
    number                text        not null,
    period                text        not null,
    partner_id            uuid        not null,
    currency              text        not null,
    pending_opening_minor bigint      not null,
    pending_closing_minor bigint      not null,
    opening_minor         bigint      not null,
    closing_minor         bigint      not null,
    n_lines               bigint      not null,
    document              text        not null,
    sha256                bytea       not null,
    created_at            timestamptz not null,
    constraint statements_pkey primary key (program_id, statement_id),
    constraint statements_number_once unique (program_id, number),
    constraint statements_partner_once unique (program_id, period, partner_id, currency),
    constraint statements_period foreign key (program_id, period)
        references closed_periods (program_id, period),
    constraint statements_partner foreign key (partner_id) references partners (partner_id)
);

create index statements_by_id on statements (statement_id);
create index statements_by_partner on statements (program_id, partner_id, number);

create trigger closed_periods_append_only
    before update or delete or truncate on closed_periods
    for each statement execute function refuse_ledger_change();
create trigger statements_append_only
    before update or delete or truncate on statements
    for each statement execute function refuse_ledger_change();

grant select, insert on closed_periods, statements to tributary_service;

-- Reports read in the order of an index and begin to answer with the first rows.
create index commissions_by_time on commissions (program_id, currency, created_at, commission_id);
create index commission_history_by_transaction
    on commission_history (program_id, ledger_transaction_id)
    where ledger_transaction_id is not null;
create index click_hours_by_hour on click_hours (program_id, hour);
create index ledger_accounts_by_partner on ledger_accounts (program_id, partner_id)
    where partner_id is not null;
