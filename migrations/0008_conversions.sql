-- A conversion is settled once, for ever: the deduplication key has no null in it and no expiry.
-- dedup_ref is the order id, or 'click:' and the click id where a source has no order ids.
create table conversions (
    program_id      uuid        not null,
    conversion_id   uuid        not null,
    order_namespace text        not null,
    event           text        not null,
    dedup_ref       text        not null,
    source_id       uuid        not null,
    channel         text        not null,
    trust           text        not null,
    order_id        text,
    -- The signed text as it came, also when it did not verify: finance must be able to ask.
    click_id        text,
    partner_id      uuid,
    link_number     bigint,
    click_at        timestamptz,
    attribution     text        not null,
    amount_minor    bigint,
    -- What commissions are computed on: the amount without tax, shipping and discount.
    base_minor      bigint,
    currency        text,
    refunded_minor  bigint      not null default 0,
    coupon_code     text,
    customer_hash   bytea,
    is_test         boolean     not null default false,
    occurred_at     timestamptz not null,
    received_at     timestamptz not null,
    settled_at      timestamptz not null,
    receipt_id      uuid        not null,
    -- SHA-256 of the canonical content: tells a retry from a conflict.
    content_hash    bytea       not null,
    details         jsonb       not null,
    -- The update whose content this is, by the time it was sent and its webhook-id: one that was
    -- made earlier and arrives later changes nothing.
    restated_at     timestamptz,
    restated_by     text,
    constraint conversions_pkey primary key (program_id, conversion_id),
    constraint conversions_dedup_once unique (program_id, order_namespace, event, dedup_ref),
    constraint conversions_program foreign key (program_id) references programs (program_id),
    constraint conversions_attribution_known check (
        attribution in ('click', 'no_click', 'bad_click_id', 'outside_window', 'before_click',
                        'not_enrolled', 'other_program')),
    constraint conversions_amount_range check (amount_minor between 0 and 1000000000000),
    constraint conversions_amount_currency check ((amount_minor is null) = (currency is null)),
    constraint conversions_refunded_range check (refunded_minor >= 0),
    constraint conversions_restated_whole check ((restated_at is null) = (restated_by is null))
);

create index conversions_by_partner on conversions (program_id, partner_id, occurred_at);
create index conversions_by_time on conversions (program_id, occurred_at, conversion_id);

-- Refunds are increments with an id of their own, so that a repeated call changes nothing.
create table conversion_refunds (
    program_id    uuid        not null,
    conversion_id uuid        not null,
    refund_id     text        not null,
    -- null: all that was left.
    amount_minor  bigint,
    refunded_at   timestamptz not null,
    receipt_id    uuid        not null,
    constraint conversion_refunds_pkey primary key (program_id, conversion_id, refund_id),
    constraint conversion_refunds_conversion foreign key (program_id, conversion_id)
        references conversions (program_id, conversion_id),
    constraint conversion_refunds_amount check (amount_minor > 0)
);

-- One row for each message taken in: what became of it, for the receipt, and the memory that
-- answers a retry. The message id is the sender's webhook-id.
create table webhook_messages (
    program_id    uuid        not null,
    source_id     uuid        not null,
    webhook_id    text        not null,
    receipt_id    uuid        not null,
    content_hash  bytea       not null,
    status        text        not null,
    reason        text,
    conversion_id uuid,
    received_at   timestamptz not null,
    settled_at    timestamptz not null,
    constraint webhook_messages_pkey primary key (program_id, source_id, webhook_id),
    constraint webhook_messages_status_known
        check (status in ('settled', 'duplicate', 'conflict', 'rejected', 'waiting'))
);

create index webhook_messages_by_receipt on webhook_messages (receipt_id);

-- An approval, a refund or an update that came before its conversion waits here and is applied
-- when the conversion settles, so that the order of arrival changes nothing.
create table waiting_messages (
    program_id      uuid        not null,
    order_namespace text        not null,
    event           text        not null,
    dedup_ref       text        not null,
    source_id       uuid        not null,
    webhook_id      text        not null,
    record          jsonb       not null,
    received_at     timestamptz not null,
    constraint waiting_messages_pkey primary key (program_id, source_id, webhook_id)
);

create index waiting_messages_by_order
    on waiting_messages (program_id, order_namespace, event, dedup_ref);
