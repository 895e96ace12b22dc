//! Queries about conversions: once, whose, refunded by how much, by which message, when; and about
//! coupons and bonds, which say whose they are.

use super::paged;

paged! {
    /// Judges whether each order is there once.
    once of "conversion": "conversions", "conversion_id", ", t.order_namespace, t.event, t.dedup_ref",
    "select p.program_id, p.id,
            case when n.twins > 1 then
                jsonb_build_object('event', p.event, 'n_rows', n.twins)
            end as wrong
     from page p
     cross join lateral (
         select count(*) as twins
         from conversions c
         where c.program_id = p.program_id and c.order_namespace = p.order_namespace
           and c.event = p.event and c.dedup_ref = p.dedup_ref) n"
}

paged! {
    /// Judges whether what is told as refunded is what was refunded.
    refunds of "conversion": "conversions", "conversion_id",
    ", t.amount_minor, t.refunded_minor, t.restated_at",
    "select p.program_id, p.id,
            case when p.refunded_minor > r.minor
                   or (p.refunded_minor < r.minor and p.restated_at is null) then
                jsonb_build_object('amount_minor', p.amount_minor,
                                   'refunded_minor', p.refunded_minor, 'refunds_minor', r.minor,
                                   'n_refunds', r.n)
            end as wrong
     from page p
     cross join lateral (
         select count(*) as n,
                -- One without amount takes back all that is left; one beyond the price is the
                -- price. An update changes the price and not what was refunded of the old one.
                case when bool_or(r.amount_minor is null) and p.restated_at is not null
                     then greatest(coalesce(p.amount_minor, 0), p.refunded_minor)
                     when bool_or(r.amount_minor is null) then coalesce(p.amount_minor, 0)
                     when p.restated_at is not null then coalesce(sum(r.amount_minor), 0)
                     else least(coalesce(p.amount_minor, 0), coalesce(sum(r.amount_minor), 0))
                end as minor
         from conversion_refunds r
         where r.program_id = p.program_id and r.conversion_id = p.id) r
     where r.n > 0 or p.refunded_minor <> 0"
}

paged! {
    /// Judges whether a conversion that a click brought has its click, in time.
    clicks of "conversion": "conversions", "conversion_id",
    ", t.attribution, t.partner_id, t.link_number, t.click_at, t.occurred_at, t.settled_at",
    "select p.program_id, p.id,
            case when p.partner_id is null or p.link_number is null or p.click_at is null
                   or p.click_at > p.occurred_at + interval '5 min'
                   or p.occurred_at - p.click_at > make_interval(hours => 24 * w.days) then
                jsonb_build_object('partner', p.partner_id, 'click_at', p.click_at,
                                   'occurred_at', p.occurred_at, 'window_days', w.days)
            end as wrong
     from page p
     -- The edition of the policy that settlement knew.
     left join lateral (
         select (w.document ->> 'window_days')::integer as days
         from attribution_policies w
         where w.program_id = p.program_id and w.effective_from <= p.occurred_at
           and w.created_at <= p.settled_at
         order by w.effective_from desc
         limit 1) w on true
     where p.attribution = 'click'"
}

paged! {
    /// Judges whether each commission is of a partner that the conversion is attributed to.
    earners of "commission": "commissions", "commission_id",
    ", t.kind, t.conversion_id, t.partner_id, t.corrects_id, t.calculation",
    "select p.program_id, p.id,
            case when (p.kind = 'earned' and v.partner_id is distinct from p.partner_id
                       and coalesce(p.calculation -> 'split', 'null') = 'null'
                       -- A model may give the whole to another click of the path than the last.
                       and v.path is null
                       -- A claim that was accepted may pay a second partner for one order.
                       and not exists (
                           select from claims k
                           where k.program_id = p.program_id
                             and k.conversion_id = p.conversion_id and k.status = 'accepted'))
                   or (p.kind = 'recruiter'
                       and (r.kind is distinct from 'earned' or r.partner_id = p.partner_id
                            or r.conversion_id <> p.conversion_id)) then
                jsonb_build_object('kind', p.kind, 'partner', p.partner_id,
                                   'conversion', p.conversion_id,
                                   'attributed_to_somebody', v.partner_id is not null)
            end as wrong
     from page p
     left join conversions v
       on v.program_id = p.program_id and v.conversion_id = p.conversion_id
     left join commissions r on r.program_id = p.program_id and r.commission_id = p.corrects_id
     where p.kind in ('earned', 'recruiter')"
}

paged! {
    /// Judges whether each conversion has the receipt of the message that it came by.
    receipts of "conversion": "conversions", "conversion_id", ", t.receipt_id, t.source_id",
    "select p.program_id, p.id,
            case when m.status is distinct from 'settled'
                   or m.conversion_id is distinct from p.id then
                jsonb_build_object('message_status', m.status, 'conversion', m.conversion_id)
            end as wrong
     from page p
     left join webhook_messages m
       on m.receipt_id = p.receipt_id and m.program_id = p.program_id"
}

paged! {
    /// Judges whether each conversion is of its program alone: source and partner are in it.
    tenancy of "conversion": "conversions", "conversion_id", ", t.source_id, t.partner_id",
    "select p.program_id, p.id,
            case when s.source_id is null
                   or (p.partner_id is not null and e.partner_id is null) then
                jsonb_build_object('source_is_of_it', s.source_id is not null,
                                   'partner', p.partner_id,
                                   'partner_is_of_it', e.partner_id is not null)
            end as wrong
     from page p
     left join sources s on s.program_id = p.program_id and s.source_id = p.source_id
     left join enrollments e on e.program_id = p.program_id and e.partner_id = p.partner_id"
}

paged! {
    /// Judges whether nothing was settled before it came, and nothing comes from the future.
    times of "conversion": "conversions", "conversion_id",
    ", t.occurred_at, t.received_at, t.settled_at",
    "select p.program_id, p.id,
            case when p.settled_at < p.received_at - interval '5 s'
                   or p.occurred_at > p.received_at + interval '5 min'
                   or p.settled_at > a.now + interval '5 min'
                   or c.created_at < p.settled_at - interval '5 s' then
                jsonb_build_object('occurred_at', p.occurred_at, 'received_at', p.received_at,
                                   'settled_at', p.settled_at, 'commission_at', c.created_at)
            end as wrong
     from page p
     cross join asked a
     left join lateral (
         select min(c.created_at) as created_at
         from commissions c
         where c.program_id = p.program_id and c.conversion_id = p.id) c on true"
}

paged! {
    /// Judges whether an accepted claim paid the one who made it, and no other claim did.
    claims of "claim": "claims", "claim_id",
    ", t.status, t.partner_id, t.conversion_id, t.commission_id",
    "select p.program_id, p.id,
            case when (p.status = 'accepted') <> (c.commission_id is not null)
                   or c.partner_id <> p.partner_id or c.conversion_id <> p.conversion_id then
                jsonb_build_object('status', p.status, 'partner', p.partner_id,
                                   'commission', p.commission_id,
                                   'is_paid_to_it', c.partner_id = p.partner_id)
            end as wrong
     from page p
     left join commissions c
       on c.program_id = p.program_id and c.commission_id = p.commission_id"
}

paged! {
    /// Judges whether each coupon is of a partner of its program, and its code of nobody else at
    /// that time.
    coupons of "coupon": "coupons", "coupon_id",
    ", t.partner_id, t.code_key, t.starts_at, t.ends_at",
    "select p.program_id, p.id,
            case when e.partner_id is null or n.twins > 0 then
                jsonb_build_object('partner', p.partner_id,
                                   'partner_is_of_it', e.partner_id is not null,
                                   'others_of_that_time', n.twins)
            end as wrong
     from page p
     left join enrollments e on e.program_id = p.program_id and e.partner_id = p.partner_id
     cross join lateral (
         select count(*) as twins
         from coupons c
         where c.program_id = p.program_id and c.code_key = p.code_key and c.coupon_id <> p.id
           and tstzrange(c.starts_at, c.ends_at) && tstzrange(p.starts_at, p.ends_at)) n"
}

paged! {
    /// Judges whether the partner of a conversion that a coupon brought had one in force.
    coupon_conversions of "conversion": "conversions", "conversion_id",
    ", t.attribution, t.partner_id, t.occurred_at",
    "select p.program_id, p.id,
            case when not exists (
                select from coupons c
                where c.program_id = p.program_id and c.partner_id = p.partner_id
                  and c.starts_at <= p.occurred_at
                  and (c.ends_at is null or p.occurred_at < c.ends_at + interval '5 min')) then
                jsonb_build_object('partner', p.partner_id, 'occurred_at', p.occurred_at)
            end as wrong
     from page p
     where p.attribution = 'coupon'"
}

paged! {
    /// Judges whether each bond binds the customer of its conversion to the partner of it.
    bonds of "conversion": "customer_bonds", "conversion_id",
    ", t.partner_id, t.customer_hash, t.since",
    "select p.program_id, p.id,
            case when v.conversion_id is null or v.is_test
                   or v.customer_hash is distinct from p.customer_hash
                   or (v.partner_id is distinct from p.partner_id and not exists (
                           select from claims k
                           where k.program_id = p.program_id and k.conversion_id = p.id
                             and k.partner_id = p.partner_id and k.status = 'accepted'))
                   or (v.restated_at is null and v.occurred_at <> p.since) then
                jsonb_build_object('partner', p.partner_id, 'since', p.since,
                                   'partner_of_conversion', v.partner_id,
                                   'occurred_at', v.occurred_at, 'is_test', v.is_test,
                                   'is_its_customer', v.customer_hash = p.customer_hash)
            end as wrong
     from page p
     left join conversions v on v.program_id = p.program_id and v.conversion_id = p.id"
}
