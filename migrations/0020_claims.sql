-- A partner says that an order was its own. What the machine found, what it made of it, and what a
-- person decided stay here for ever; a claim about one order is made once.
create table claims (
    program_id    uuid        not null,
    claim_id      uuid        not null,
    partner_id    uuid        not null,
    event         text        not null,
    order_id      text        not null,
    -- What the partner says about it.
    occurred_at   timestamptz,
    click_id      text,
    coupon_code   text,
    note          text,
    status        text        not null,
    -- Why it stands so: a code, and a sentence for people.
    reason        text        not null,
    sentence      text        not null,
    evidence      jsonb       not null,
    -- Until then a person may decide; then the machine does, where its evidence supports the claim.
    deadline_at   timestamptz not null,
    conversion_id uuid,
    commission_id uuid,
    created_at    timestamptz not null,
    created_by    text        not null,
    decided_at    timestamptz,
    decided_by    text,
    decision_note text,
    constraint claims_pkey primary key (program_id, claim_id),
    constraint claims_once unique (program_id, partner_id, event, order_id),
    constraint claims_enrollment foreign key (program_id, partner_id)
        references enrollments (program_id, partner_id),
    constraint claims_conversion foreign key (program_id, conversion_id)
        references conversions (program_id, conversion_id),
    constraint claims_commission foreign key (program_id, commission_id)
        references commissions (program_id, commission_id),
    constraint claims_status_known check (status in ('open', 'escalated', 'accepted', 'refused')),
    constraint claims_decision check ((decided_at is null) = (decided_by is null)),
    constraint claims_decided check ((status in ('accepted', 'refused')) = (decided_at is not null)),
    constraint claims_accepted_earns check (status <> 'accepted' or commission_id is not null)
);

create index claims_by_deadline on claims (program_id, deadline_at, claim_id);
create index claims_due on claims (deadline_at) where status = 'open';

grant select, insert, update on claims to tributary_service;
