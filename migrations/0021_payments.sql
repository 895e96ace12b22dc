-- What it takes to pay somebody: where the money goes, what tax law says, when it is due, and the
-- files that a bank takes. Account numbers are personal data: they are kept sealed, beside a
-- masked form for people and a keyed hash that finds one account behind two partners.
create table payout_methods (
    partner_id      uuid        not null,
    kind            text        not null,
    sealed          bytea       not null,
    account_masked  text        not null,
    account_tag     bytea       not null,
    status          text        not null default 'active',
    returned_reason text,
    updated_by      uuid        not null,
    updated_at      timestamptz not null,
    constraint payout_methods_pkey primary key (partner_id),
    constraint payout_methods_partner foreign key (partner_id) references partners (partner_id),
    constraint payout_methods_kind_known
        check (kind in ('sepa', 'paypal', 'wise', 'ru_bank', 'manual')),
    -- Returned: a bank sent money back. Nothing goes there again until the method is set anew.
    constraint payout_methods_status_known check (status in ('active', 'returned'))
);

create index payout_methods_by_account on payout_methods (account_tag);

create table tax_profiles (
    partner_id             uuid        not null,
    legal_type             text        not null,
    tax_country            text        not null,
    tax_id                 text,
    vat_id                 text,
    vat_treatment          text        not null,
    vat_rate_bps           integer     not null,
    withholding_bps        integer     not null,
    self_billing_agreed_at timestamptz,
    updated_by             uuid        not null,
    updated_at             timestamptz not null,
    constraint tax_profiles_pkey primary key (partner_id),
    constraint tax_profiles_partner foreign key (partner_id) references partners (partner_id),
    constraint tax_profiles_legal_type_known
        check (legal_type in ('person', 'npd', 'sole_trader', 'company')),
    constraint tax_profiles_treatment_known
        check (vat_treatment in ('S', 'AE', 'G', 'O', 'none')),
    -- Only the standard treatment puts VAT on top.
    constraint tax_profiles_vat
        check (vat_rate_bps between 0 and 5000 and (vat_treatment = 'S') = (vat_rate_bps > 0)),
    constraint tax_profiles_withholding check (withholding_bps between 0 and 5000)
);

create table payout_terms (
    program_id uuid        not null,
    cycle      text        not null,
    net_days   integer     not null,
    updated_at timestamptz not null,
    constraint payout_terms_pkey primary key (program_id),
    constraint payout_terms_program foreign key (program_id) references programs (program_id),
    constraint payout_terms_cycle_known check (cycle in ('weekly', 'semi_monthly', 'monthly')),
    constraint payout_terms_net_days check (net_days between 0 and 90)
);

-- The smallest payout in a currency, of a program or of one partner in it. A row is never edited:
-- the latest that is in effect counts, so that an old batch can be explained.
create table payout_minimums (
    program_id     uuid        not null,
    partner_id     uuid,
    currency       text        not null,
    effective_from date        not null,
    minimum_minor  bigint      not null,
    created_by     uuid        not null,
    created_at     timestamptz not null,
    constraint payout_minimums_program foreign key (program_id) references programs (program_id),
    constraint payout_minimums_enrollment foreign key (program_id, partner_id)
        references enrollments (program_id, partner_id),
    constraint payout_minimums_not_negative check (minimum_minor >= 0)
);

create unique index payout_minimums_of_program_once
    on payout_minimums (program_id, currency, effective_from) where partner_id is null;
create unique index payout_minimums_of_partner_once
    on payout_minimums (program_id, partner_id, currency, effective_from)
    where partner_id is not null;

-- The account that pays, under the short name that the ledger calls it by.
create table payer_accounts (
    program_id     uuid        not null,
    label          text        not null,
    kind           text        not null,
    sealed         bytea       not null,
    account_masked text        not null,
    updated_by     uuid        not null,
    updated_at     timestamptz not null,
    constraint payer_accounts_pkey primary key (program_id, label),
    constraint payer_accounts_program foreign key (program_id) references programs (program_id),
    constraint payer_accounts_kind_known check (kind in ('sepa', 'ru_bank'))
);

-- What a person adds to a partner's balance or takes from it, without a conversion: a bonus, a
-- clawback, the write-off of a debt. A payout takes them as it takes commissions.
create table adjustments (
    program_id            uuid        not null,
    adjustment_id         uuid        not null,
    partner_id            uuid        not null,
    kind                  text        not null,
    amount_minor          bigint      not null,
    currency              text        not null,
    reason                text        not null,
    note                  text,
    ledger_transaction_id uuid        not null,
    -- The payout that holds it, or paid it.
    payout_id             uuid,
    created_by            uuid        not null,
    created_at            timestamptz not null,
    constraint adjustments_pkey primary key (program_id, adjustment_id),
    constraint adjustments_enrollment foreign key (program_id, partner_id)
        references enrollments (program_id, partner_id),
    constraint adjustments_posted foreign key (program_id, ledger_transaction_id)
        references ledger_transactions (program_id, ledger_transaction_id),
    constraint adjustments_payout foreign key (program_id, payout_id)
        references payouts (program_id, payout_id),
    constraint adjustments_kind_known check (kind in ('bonus', 'clawback', 'write_off')),
    constraint adjustments_sign check ((kind = 'clawback') = (amount_minor < 0) and amount_minor <> 0)
);

create index adjustments_by_partner on adjustments (program_id, partner_id);
create index adjustments_free on adjustments (program_id, currency) where payout_id is null;

-- The adjustments that a payout is made of; like payout_items it stays when the payout fails.
create table payout_adjustments (
    program_id    uuid   not null,
    payout_id     uuid   not null,
    adjustment_id uuid   not null,
    amount_minor  bigint not null,
    constraint payout_adjustments_pkey primary key (program_id, payout_id, adjustment_id),
    constraint payout_adjustments_payout foreign key (program_id, payout_id)
        references payouts (program_id, payout_id),
    constraint payout_adjustments_adjustment foreign key (program_id, adjustment_id)
        references adjustments (program_id, adjustment_id)
);

alter table payout_batches
    add column execution_on date;

-- `amount_minor` is the net: what the partner's balance gives. What the bank moves is
-- amount + VAT − withheld. Method and tax profile are those of the making: who approves a batch
-- approves its destinations too.
alter table payouts
    add column vat_minor      bigint not null default 0,
    add column withheld_minor bigint not null default 0,
    add column method_kind    text,
    add column method_sealed  bytea,
    add column account_masked text,
    add column legal_type     text,
    add column vat_treatment  text,
    add column document_no    text,
    add column receipt_no     text,
    add column receipt_on     date,
    -- The file that carries it: at most one, for ever.
    add column file_format    text,
    add column file_part      integer,
    add column bank_label     text,
    add constraint payouts_transfer_positive
        check (vat_minor >= 0 and withheld_minor >= 0
               and amount_minor + vat_minor - withheld_minor > 0),
    add constraint payouts_document_once unique (program_id, document_no);

-- Numbers of self-billed documents: one row a year, so that there is no gap.
create table payout_document_numbers (
    program_id  uuid    not null,
    year        integer not null,
    last_number bigint  not null,
    constraint payout_document_numbers_pkey primary key (program_id, year),
    constraint payout_document_numbers_program
        foreign key (program_id) references programs (program_id)
);

alter table payout_carried_forward
    drop constraint payout_carried_forward_reason_known,
    add constraint payout_carried_forward_reason_known check (reason in (
        'below_minimum', 'negative_balance', 'blocked', 'missing_tax_profile',
        'missing_self_billing_consent', 'missing_receipt', 'no_payout_method', 'method_returned',
        'method_other_currency'));

-- A batch pays by several ways, so it has a file for each format, in parts where the format has a
-- limit of rows. A payout is in one of them at most. Files hold account numbers: new ones are
-- sealed; the SHA-256 is that of the plain file.
alter table payout_files
    add column part        integer not null default 1,
    add column is_sealed   boolean not null default false,
    add column n_payouts   integer,
    add column total_minor bigint,
    add column bank_label  text,
    drop constraint payout_files_pkey,
    add constraint payout_files_pkey primary key (program_id, payout_batch_id, format, part);

-- What a bank answered: a file is taken in once, and told of again from here.
create table payout_imports (
    program_id       uuid        not null,
    payout_batch_id  uuid        not null,
    sha256           bytea       not null,
    format           text        not null,
    verdicts         jsonb       not null,
    created_by       uuid        not null,
    created_at       timestamptz not null,
    constraint payout_imports_pkey primary key (program_id, payout_batch_id, sha256),
    constraint payout_imports_batch foreign key (program_id, payout_batch_id)
        references payout_batches (program_id, payout_batch_id)
);

grant select, insert, update on payout_methods, tax_profiles, payout_terms, payer_accounts,
    adjustments, payout_document_numbers to tributary_service;
grant select, insert on payout_minimums, payout_adjustments, payout_imports to tributary_service;
