//! Queries about the audit log: what people changed stands in it, once for each change.

use super::paged;

paged! {
    /// Judges whether each change that a person made stands in the audit log: of plans, policies of
    /// attribution, batches of payouts, adjustments and closed months once, of commissions each
    /// decision.
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
      from commission_history h
      join commissions c
        on c.program_id = h.program_id and c.commission_id = h.commission_id
       and c.corrects_id is null
      where h.rule = 'manual' and h.actor like 'user:%'
      group by h.program_id, h.commission_id)",
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
         where l.object = p.object and l.program_id = p.program_id and l.action = any (p.actions)
           and l.actor <> '') n"
}
