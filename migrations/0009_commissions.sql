-- A plan is a row of immutable editions with a date from which they hold. An event is priced by
-- the edition in force when it happened, corrections too, so nothing here is ever updated.
create table plan_versions (
    program_id      uuid        not null,
    plan_version_id uuid        not null,
    effective_from  timestamptz not null,
    document        jsonb       not null,
    created_by      uuid        not null,
    created_at      timestamptz not null,
    constraint plan_versions_pkey primary key (program_id, plan_version_id),
    constraint plan_versions_date_once unique (program_id, effective_from),
    constraint plan_versions_program foreign key (program_id) references programs (program_id)
);

-- What is owed for a conversion. A paid commission is never edited: what is taken back later is a
-- row of its own with a negative amount (kind 'clawback').
create table commissions (
    program_id      uuid        not null,
    commission_id   uuid        not null,
    kind            text        not null,
    state           text        not null,
    partner_id      uuid        not null,
    conversion_id   uuid        not null,
    -- The commission that a clawback or an adjustment corrects.
    corrects_id     uuid,
    -- The refund or message that caused a correction, so that a second delivery makes no second row.
    cause           text        not null default '',
    amount_minor    bigint      not null,
    currency        text        not null,
    plan_version_id uuid,
    -- Inputs and every step of the arithmetic: recomputing must give amount_minor.
    calculation     jsonb       not null,
    occurred_at     timestamptz not null,
    hold_until      timestamptz not null,
    -- Who approves: time alone, or somebody.
    approval        text        not null,
    created_at      timestamptz not null,
    approved_at     timestamptz,
    reason          text,
    payout_id       uuid,
    -- Rises with every change: two people cannot overwrite each other.
    revision        integer     not null default 1,
    constraint commissions_pkey primary key (program_id, commission_id),
    constraint commissions_conversion foreign key (program_id, conversion_id)
        references conversions (program_id, conversion_id),
    constraint commissions_enrollment foreign key (program_id, partner_id)
        references enrollments (program_id, partner_id),
    constraint commissions_plan foreign key (program_id, plan_version_id)
        references plan_versions (program_id, plan_version_id),
    constraint commissions_corrected foreign key (program_id, corrects_id)
        references commissions (program_id, commission_id),
    constraint commissions_once unique (program_id, conversion_id, partner_id, kind, cause),
    constraint commissions_kind_known check (kind in ('earned', 'clawback', 'adjustment')),
    constraint commissions_state_known
        check (state in ('pending', 'on_hold', 'approved', 'rejected', 'reversed', 'paid')),
    constraint commissions_approval_known check (approval in ('auto', 'manual')),
    constraint commissions_sign check (
        (kind = 'earned' and amount_minor >= 0 and corrects_id is null)
        or (kind = 'clawback' and amount_minor < 0 and corrects_id is not null)
        or (kind = 'adjustment' and corrects_id is not null)),
    constraint commissions_paid_has_payout check (state <> 'paid' or payout_id is not null)
);

create index commissions_due on commissions (hold_until) where state = 'pending';
create index commissions_payable on commissions (program_id, currency, partner_id)
    where state = 'approved' and payout_id is null;
create index commissions_by_partner on commissions (program_id, partner_id, created_at);
create index commissions_by_payout on commissions (program_id, payout_id)
    where payout_id is not null;

-- Every change of state, with who made it and by which rule.
create table commission_history (
    program_id            uuid        not null,
    commission_id         uuid        not null,
    revision              integer     not null,
    from_state            text,
    to_state              text        not null,
    at                    timestamptz not null,
    actor                 text        not null,
    rule                  text        not null,
    reason                text,
    ledger_transaction_id uuid,
    constraint commission_history_pkey primary key (program_id, commission_id, revision),
    constraint commission_history_commission foreign key (program_id, commission_id)
        references commissions (program_id, commission_id)
);
