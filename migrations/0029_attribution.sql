-- Whose a conversion is follows a policy of its program: which evidence counts, in which order, and
-- how far a click may lie back. Editions are dated and never changed, as those of plans are, so that
-- an order can be judged again the way it was judged.
create table attribution_policies (
    program_id     uuid        not null,
    policy_id      uuid        not null,
    effective_from timestamptz not null,
    document       jsonb       not null,
    -- Null for the edition that came with the program.
    created_by     uuid,
    created_at     timestamptz not null,
    constraint attribution_policies_pkey primary key (program_id, policy_id),
    constraint attribution_policies_date_once unique (program_id, effective_from),
    constraint attribution_policies_program foreign key (program_id) references programs (program_id)
);

create index attribution_policies_by_id on attribution_policies (policy_id);

-- What held for each program so far; it holds from the beginning of time, so that no conversion is
-- without a policy.
insert into attribution_policies (program_id, policy_id, effective_from, document, created_at)
select program_id, gen_random_uuid(), 'epoch',
       jsonb_build_object('v', 1, 'ladder', jsonb_build_array('click', 'coupon', 'customer'),
                          'window_days', attribution_window_days, 'min_seconds', 0,
                          'model', 'last_click'),
       created_at
from programs;

comment on column programs.attribution_window_days is
    'What the latest edition of the attribution policy says; settlement reads the editions.';

-- A code that says whose a conversion is where no link was clicked: on paper, in a talk, in a film.
create table coupons (
    program_id uuid        not null,
    coupon_id  uuid        not null,
    partner_id uuid        not null,
    -- As it was given, for people; and without regard to case and Unicode form, to be found by.
    code       text        not null,
    code_key   text        not null,
    starts_at  timestamptz not null,
    ends_at    timestamptz,
    created_by uuid        not null,
    created_at timestamptz not null,
    constraint coupons_pkey primary key (program_id, coupon_id),
    constraint coupons_enrollment foreign key (program_id, partner_id)
        references enrollments (program_id, partner_id),
    -- One that is ended before it has begun was never in force.
    constraint coupons_order check (starts_at <= ends_at)
);

create index coupons_by_code on coupons (program_id, code_key, starts_at);
create index coupons_by_partner on coupons (program_id, partner_id, coupon_id);
create index coupons_by_id on coupons (coupon_id);

-- At any time a code is one partner's; after its end it may be given again.
create function refuse_coupon_overlap() returns trigger
    language plpgsql
    set search_path = pg_catalog, public
as
$$
begin
    -- Two who give the same code at once wait for each other here.
    perform pg_advisory_xact_lock(hashtextextended(new.program_id::text || new.code_key, 27));
    if exists (
        select from public.coupons c
        where c.program_id = new.program_id and c.code_key = new.code_key
          and c.coupon_id <> new.coupon_id
          and tstzrange(c.starts_at, c.ends_at) && tstzrange(new.starts_at, new.ends_at))
    then
        raise exception 'the code is in use at that time'
            using errcode = 'exclusion_violation', constraint = 'coupons_code_once';
    end if;
    return new;
end
$$;

create trigger coupons_refuse_overlap
    before insert or update of starts_at, ends_at on coupons
    for each row execute function refuse_coupon_overlap();

alter table conversions
    -- What else was looked at, and why it did not count; null where a click was all there was.
    add column candidates jsonb,
    drop constraint conversions_attribution_known,
    add constraint conversions_attribution_known check (
        attribution in ('click', 'coupon', 'customer', 'no_click', 'bad_click_id', 'other_program',
                        'outside_window', 'before_click', 'too_soon', 'not_enrolled',
                        'unknown_coupon', 'coupon_not_begun', 'coupon_ended', 'not_in_ladder'));

grant select, insert on attribution_policies to tributary_service;
grant select, insert, update (ends_at) on coupons to tributary_service;
