-- A batch is one run for a program, a period and a currency. Money is reserved when the batch is
-- made; a second person approves it, and the constraint says so whatever the code does.
create table payout_batches (
    program_id      uuid        not null,
    payout_batch_id uuid        not null,
    period          text        not null,
    currency        text        not null,
    cutoff_at       timestamptz not null,
    status          text        not null,
    created_by      uuid        not null,
    created_at      timestamptz not null,
    approved_by     uuid,
    approved_at     timestamptz,
    constraint payout_batches_pkey primary key (program_id, payout_batch_id),
    constraint payout_batches_program foreign key (program_id) references programs (program_id),
    constraint payout_batches_four_eyes check (approved_by <> created_by),
    constraint payout_batches_status_known check (
        status in ('draft', 'approved', 'exported', 'completed', 'partially_completed', 'canceled'))
);

-- One live batch for a period: a second click on "create" must not make a second run.
create unique index payout_batches_period_once on payout_batches (program_id, period, currency)
    where status <> 'canceled';

create index payout_batches_by_id on payout_batches (payout_batch_id);

create table payouts (
    program_id             uuid        not null,
    payout_id              uuid        not null,
    payout_batch_id        uuid        not null,
    partner_id             uuid        not null,
    currency               text        not null,
    amount_minor           bigint      not null,
    status                 text        not null,
    bank_reference         text,
    failure_reason         text,
    paid_at                timestamptz,
    -- What the ledger posted: a payout without its posting cannot be stored.
    reserve_transaction_id uuid        not null,
    pay_transaction_id     uuid,
    updated_at             timestamptz not null,
    constraint payouts_pkey primary key (program_id, payout_id),
    constraint payouts_partner_once unique (program_id, payout_batch_id, partner_id),
    constraint payouts_batch foreign key (program_id, payout_batch_id)
        references payout_batches (program_id, payout_batch_id),
    constraint payouts_enrollment foreign key (program_id, partner_id)
        references enrollments (program_id, partner_id),
    constraint payouts_reserve foreign key (program_id, reserve_transaction_id)
        references ledger_transactions (program_id, ledger_transaction_id),
    constraint payouts_pay foreign key (program_id, pay_transaction_id)
        references ledger_transactions (program_id, ledger_transaction_id),
    constraint payouts_amount_positive check (amount_minor > 0),
    constraint payouts_paid_is_posted
        check (status not in ('paid', 'returned') or pay_transaction_id is not null),
    constraint payouts_status_known check (
        status in ('draft', 'approved', 'processing', 'paid', 'failed', 'returned', 'canceled'))
);

create index payouts_by_partner on payouts (program_id, partner_id);
create index payouts_by_id on payouts (payout_id);

-- Who was owed something and is not in the batch, and why: finance is asked about these first.
create table payout_carried_forward (
    program_id      uuid   not null,
    payout_batch_id uuid   not null,
    partner_id      uuid   not null,
    amount_minor    bigint not null,
    reason          text   not null,
    constraint payout_carried_forward_pkey primary key (program_id, payout_batch_id, partner_id),
    constraint payout_carried_forward_batch foreign key (program_id, payout_batch_id)
        references payout_batches (program_id, payout_batch_id),
    constraint payout_carried_forward_reason_known
        check (reason in ('below_minimum', 'negative_balance', 'blocked'))
);

-- The one file of a batch, kept as it was first downloaded: a second file that differs, or that is
-- in another format, is how money is sent twice.
create table payout_files (
    program_id      uuid        not null,
    payout_batch_id uuid        not null,
    format          text        not null,
    bytes           bytea       not null,
    sha256          bytea       not null,
    created_at      timestamptz not null,
    constraint payout_files_pkey primary key (program_id, payout_batch_id),
    constraint payout_files_batch foreign key (program_id, payout_batch_id)
        references payout_batches (program_id, payout_batch_id)
);

-- The commissions that a payout is made of; stays when the payout fails and the commissions move
-- to a later one.
create table payout_items (
    program_id    uuid   not null,
    payout_id     uuid   not null,
    commission_id uuid   not null,
    amount_minor  bigint not null,
    constraint payout_items_pkey primary key (program_id, payout_id, commission_id),
    constraint payout_items_payout foreign key (program_id, payout_id)
        references payouts (program_id, payout_id),
    constraint payout_items_commission foreign key (program_id, commission_id)
        references commissions (program_id, commission_id)
);

-- A commission belongs to at most one open payout: commissions.payout_id is that payout.
alter table commissions
    add constraint commissions_payout foreign key (program_id, payout_id)
        references payouts (program_id, payout_id);
