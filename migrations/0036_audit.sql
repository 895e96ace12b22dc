-- What the last audits found. A run looks at every row of the database and proves what must hold;
-- its outcome is kept so that an alarm can be asked about later, and so that every process tells
-- the same of it. `hour` is the fence: of two instances one runs the audit of an hour.
create table audit_runs (
    hour       timestamptz not null,
    started_at timestamptz not null,
    ended_at   timestamptz,
    -- Null while it runs; the reason where it could not be run.
    error      text,
    constraint audit_runs_pkey primary key (hour)
);

create table audit_findings (
    hour       timestamptz not null,
    invariant  text        not null,
    n_looked   bigint      not null,
    n_broken   bigint      not null,
    -- The first broken rows: ids and figures.
    first      jsonb       not null,
    not_looked text,
    constraint audit_findings_pkey primary key (hour, invariant),
    constraint audit_findings_run foreign key (hour)
        references audit_runs (hour) on delete cascade
);

grant select, insert, update, delete on audit_runs, audit_findings to tributary_service;

-- A ledger transaction finds what made it.
create index adjustments_by_transaction on adjustments (program_id, ledger_transaction_id);
create index payouts_by_reserve on payouts (program_id, reserve_transaction_id);
create index payouts_by_payment on payouts (program_id, pay_transaction_id)
    where pay_transaction_id is not null;
