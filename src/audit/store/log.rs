//! Queries about the audit log: what people changed stands in it.

use super::paged;

paged! {
    /// Judges whether each change of which a row says that a person made it stands in the audit log.
    ///
    /// Plans, policies, batches and what banks said of payouts, adjustments, closed months, coupons,
    /// claims and messages that were decided, and keys of the API stand there once for each change; of
    /// commissions, payment files, receipts and what is written again and again (rates, talks,
    /// scorecards, methods, tax profiles, accounts) at least as often as the rows tell. What is made
    /// without a name in its row (programs, partners, links, sources, endpoints) cannot be counted.
    changes of "change":
    "(select o.program_id, o.plan_version_id as change_id, typed_id('pl', o.plan_version_id) as object,
             array['plan.create'] as actions, 1::bigint as n_made, false as is_least
      from plan_versions o
      union all
      select o.program_id, o.policy_id, typed_id('ap', o.policy_id),
             array['attribution_policy.publish'], 1, false
      from attribution_policies o
      where o.created_by is not null
      union all
      select o.program_id, o.adjustment_id, typed_id('aj', o.adjustment_id),
             array['adjustment.create'], 1, false
      from adjustments o
      union all
      select o.program_id, o.payout_batch_id, typed_id('pb', o.payout_batch_id),
             array['payout_batch.create', 'payout_batch.approve', 'payout_batch.cancel'],
             1 + (o.approved_by is not null)::integer + (o.status = 'canceled')::integer, false
      from payout_batches o
      union all
      -- A month has no id: one is made of its name.
      select o.program_id, md5(o.period)::uuid, o.period, array['period.close'], 1, false
      from closed_periods o
      union all
      -- What a recruiter has follows the decision about another commission.
      select h.program_id, h.commission_id, typed_id('cm', h.commission_id),
             array['commission.approve', 'commission.hold', 'commission.release',
                   'commission.reject', 'commission.reverse', 'commission.extend',
                   'commission.clawback'], count(*), true
      from commission_steps h
      join commissions c
        on c.program_id = h.program_id and c.commission_id = h.commission_id
       and c.corrects_id is null
      where h.rule = 'manual' and h.actor like 'user:%'
      group by h.program_id, h.commission_id
      union all
      -- What a bank said came by hand, one line each, or by a file, with one line for all of it.
      select o.program_id, o.payout_id, typed_id('po', o.payout_id),
             array['payout.mark_paid', 'payout.mark_failed', 'payout.mark_returned'],
             (o.pay_transaction_id is not null)::integer
                 + (o.status in ('failed', 'returned'))::integer - coalesce(f.n, 0), false
      from payouts o
      left join (
          select i.program_id, i.payout_batch_id,
                 replace(btrim(v.told ->> 'payout_id'), '-', '_') as name, count(*) as n
          from payout_imports i
          cross join lateral jsonb_array_elements(i.verdicts) as v (told)
          where v.told ->> 'verdict' in ('paid', 'failed', 'returned')
          group by i.program_id, i.payout_batch_id, name) f
        on f.program_id = o.program_id and f.payout_batch_id = o.payout_batch_id
       and f.name = typed_id('po', o.payout_id)
      where o.status in ('paid', 'failed', 'returned')
      union all
      select o.program_id, md5(o.payout_id::text || 'receipt')::uuid, typed_id('po', o.payout_id),
             array['payout.receipt'], 1, true
      from payouts o
      where o.receipt_no is not null
      union all
      select o.program_id, md5(o.payout_batch_id::text || 'file')::uuid,
             typed_id('pb', o.payout_batch_id), array['payout_batch.export'], count(*), true
      from payout_files o
      group by o.program_id, o.payout_batch_id
      union all
      select o.program_id, md5(o.payout_batch_id::text || 'import')::uuid,
             typed_id('pb', o.payout_batch_id), array['payout_batch.import_results'], count(*), true
      from payout_imports o
      group by o.program_id, o.payout_batch_id
      union all
      select o.program_id, o.coupon_id, typed_id('co', o.coupon_id), array['coupon.create'], 1, false
      from coupons o
      union all
      -- Who claims is told by the partner's id.
      select o.program_id, md5(o.partner_id::text || 'claims')::uuid, typed_id('pt', o.partner_id),
             array['claim.make'], count(*), false
      from claims o
      where o.created_by like 'user:%'
      group by o.program_id, o.partner_id
      union all
      select o.program_id, o.claim_id, typed_id('cl', o.claim_id),
             array['claim.accept', 'claim.refuse'], 1, true
      from claims o
      where o.decided_by like 'user:%'
      union all
      select o.program_id, o.parked_id, typed_id('pk', o.parked_id),
             array['conversion.release_parked', 'conversion.discard_parked'], 1, false
      from parked_messages o
      where o.decided_by like 'user:%'
      union all
      select o.program_id, o.case_id, typed_id('ca', o.case_id), array['case.contact'], count(*), true
      from case_contacts o
      where o.by_user like 'user:%'
      group by o.program_id, o.case_id
      union all
      select o.program_id, o.program_id, typed_id('pg', o.program_id), array['fx_rate.create'],
             count(*), true
      from fx_rates o
      group by o.program_id
      union all
      select o.program_id, md5(o.partner_id::text || 'talks')::uuid, typed_id('pt', o.partner_id),
             array['interaction.record'], count(*), true
      from interactions o
      where o.recorded_by like 'user:%'
      group by o.program_id, o.partner_id
      union all
      select distinct o.program_id, md5(o.partner_id::text || 'scorecard')::uuid,
             typed_id('pt', o.partner_id), array['scorecard.write'], 1::bigint, true
      from scorecards o
      where o.assessed_by like 'user:%'
      union all
      select o.program_id, md5(o.partner_id::text || 'application')::uuid,
             typed_id('pt', o.partner_id), array['application.approve', 'application.decline'], 1, true
      from applications o
      where o.decided_by like 'user:%'
      union all
      select distinct o.program_id, md5(o.program_id::text || 'payer')::uuid,
             typed_id('pg', o.program_id), array['payer_account.set'], 1::bigint, true
      from payer_accounts o
      union all
      select o.program_id, md5(o.program_id::text || 'minimum')::uuid, typed_id('pg', o.program_id),
             array['payout_minimum.add'], count(*), true
      from payout_minimums o
      group by o.program_id
      union all
      -- What is no program's stands under none.
      select '00000000-0000-0000-0000-000000000000', o.dead_letter_id,
             typed_id('dl', o.dead_letter_id), array['dead_letter.replay'], 1, false
      from dead_letters o
      where o.replayed_by like 'user:%'
      union all
      select '00000000-0000-0000-0000-000000000000', o.api_key_id, typed_id('ak', o.api_key_id),
             array['api_key.create', 'api_key.revoke'], 1 + (o.revoked_at is not null)::integer, false
      from api_keys o
      union all
      select '00000000-0000-0000-0000-000000000000', md5(o.partner_id::text || 'method')::uuid,
             typed_id('pt', o.partner_id), array['payout_method.set'], 1, true
      from payout_methods o
      union all
      select '00000000-0000-0000-0000-000000000000', md5(o.partner_id::text || 'tax')::uuid,
             typed_id('pt', o.partner_id), array['tax_profile.set'], 1, true
      from tax_profiles o)",
    "change_id", ", t.object, t.actions, t.n_made, t.is_least",
    "select p.program_id, p.id,
            case when n.told < p.n_made or (n.told > p.n_made and not p.is_least) then
                jsonb_build_object('object', p.object, 'actions', p.actions, 'made', p.n_made,
                                   'told', n.told)
            end as wrong
     from page p
     cross join lateral (
         select count(*) as told
         from audit_log l
         where l.object = p.object and l.action = any (p.actions) and l.actor <> ''
           and l.program_id is not distinct from
               nullif(p.program_id, '00000000-0000-0000-0000-000000000000')) n"
}
