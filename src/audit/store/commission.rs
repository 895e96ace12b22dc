//! Queries about commissions: their ledger, history, states, plans, currencies, partners.

use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::paged;
use crate::audit::At;
use crate::ids::{CommissionId, PlanVersionId, ProgramId};

paged! {
    /// Judges whether the ledger holds exactly what each commission says.
    ledger of "commission": "commissions", "commission_id",
    ", t.kind, t.state, t.amount_minor, t.partner_id",
    "select p.program_id, p.id,
            case when l.n_foreign > 0
                   or l.pending <> case when p.state in ('pending', 'on_hold')
                                        then p.amount_minor else 0 end
                   or l.payable <> case when p.state in ('approved', 'paid')
                                        then p.amount_minor else 0 end then
                jsonb_build_object('kind', p.kind, 'state', p.state,
                                   'amount_minor', p.amount_minor, 'pending_minor', l.pending,
                                   'payable_minor', l.payable,
                                   'entries_of_others', l.n_foreign)
            end as wrong
     from page p
     cross join lateral (
         select coalesce(-sum(e.amount_minor) filter (where a.path like '%:pending'), 0) as pending,
                coalesce(-sum(e.amount_minor) filter (where a.path like '%:payable'), 0) as payable,
                count(*) filter (where a.partner_id <> p.partner_id) as n_foreign
         from commission_steps h
         join ledger_entries e
           on e.program_id = h.program_id and e.ledger_transaction_id = h.ledger_transaction_id
         join ledger_accounts a on a.program_id = e.program_id and a.account_id = e.account_id
         where h.program_id = p.program_id and h.commission_id = p.id
           and a.partner_id is not null) l"
}

paged! {
    /// Judges whether each commission is there once.
    once of "commission": "commissions", "commission_id",
    ", t.conversion_id, t.partner_id, t.kind, t.cause",
    "select p.program_id, p.id,
            case when n.twins > 1 then
                jsonb_build_object('kind', p.kind, 'conversion', p.conversion_id,
                                   'partner', p.partner_id, 'n_rows', n.twins)
            end as wrong
     from page p
     cross join lateral (
         select count(*) as twins
         from commissions c
         where c.program_id = p.program_id and c.conversion_id = p.conversion_id
           and c.partner_id = p.partner_id and c.kind = p.kind and c.cause = p.cause) n"
}

paged! {
    /// Judges whether the history of each commission leads to where it stands.
    history of "commission": "commissions", "commission_id", ", t.state, t.revision",
    "select p.program_id, p.id,
            case when h.n <> p.revision or h.last_state is distinct from p.state
                   or h.n_gaps > 0 or h.n_nameless > 0 then
                jsonb_build_object('state', p.state, 'last_told', h.last_state,
                                   'revision', p.revision, 'n_told', h.n, 'gaps', h.n_gaps,
                                   'without_actor', h.n_nameless)
            end as wrong
     from page p
     cross join lateral (
         select count(*) as n,
                (array_agg(s.to_state order by s.revision desc))[1] as last_state,
                count(*) filter (where s.from_state is distinct from s.state_before
                                    or s.revision <> s.place) as n_gaps,
                count(*) filter (where s.actor = '' or s.rule = '') as n_nameless
         from (
             select h.revision, h.from_state, h.to_state, h.actor, h.rule,
                    lag(h.to_state) over w as state_before, row_number() over w as place
             from commission_steps h
             where h.program_id = p.program_id and h.commission_id = p.id
             window w as (order by h.revision)) s) h"
}

paged! {
    /// Judges whether each commission and the payout that holds it agree.
    states of "commission": "commissions", "commission_id",
    ", t.state, t.payout_id, t.approved_at",
    "select p.program_id, p.id,
            case when (p.state = 'paid' and o.status is distinct from 'paid')
                   or (p.state = 'approved' and p.payout_id is not null
                       and o.status not in ('draft', 'approved', 'processing'))
                   or (p.state not in ('approved', 'paid') and p.payout_id is not null)
                   or (p.state in ('approved', 'paid') and p.approved_at is null)
                   or (p.payout_id is not null and i.commission_id is null) then
                jsonb_build_object('state', p.state, 'payout', p.payout_id,
                                   'payout_status', o.status,
                                   'is_item_of_it', i.commission_id is not null,
                                   'has_approval_time', p.approved_at is not null)
            end as wrong
     from page p
     left join payouts o on o.program_id = p.program_id and o.payout_id = p.payout_id
     left join payout_items i
       on i.program_id = p.program_id and i.payout_id = p.payout_id and i.commission_id = p.id"
}

paged! {
    /// Judges whether no commission was approved by time before its time.
    holds of "commission": "commissions", "commission_id", ", t.hold_until",
    "select p.program_id, p.id,
            case when h.at < p.hold_until then
                jsonb_build_object('hold_until', p.hold_until, 'approved_at', h.at)
            end as wrong
     from page p
     join commission_steps h
       on h.program_id = p.program_id and h.commission_id = p.id
      and h.rule = 'hold_elapsed' and h.to_state = 'approved'"
}

paged! {
    /// Judges whether each commission was priced by the edition in force when it happened.
    plans of "commission": "commissions", "commission_id",
    ", t.plan_version_id, t.occurred_at, t.created_at",
    "select p.program_id, p.id,
            case when o.effective_from is null or o.effective_from > p.occurred_at
                   or v.plan_version_id is not null then
                jsonb_build_object('plan', p.plan_version_id, 'effective_from', o.effective_from,
                                   'later_one', v.plan_version_id, 'occurred_at', p.occurred_at)
            end as wrong
     from page p
     left join plan_versions o
       on o.program_id = p.program_id and o.plan_version_id = p.plan_version_id
     -- One that holds from later on and was known when the commission was made.
     left join lateral (
         select v.plan_version_id
         from plan_versions v
         where v.program_id = p.program_id and v.effective_from <= p.occurred_at
           and v.effective_from > o.effective_from and v.created_at < p.created_at
         limit 1) v on true
     where p.plan_version_id is not null"
}

paged! {
    /// Judges whether a conversion, its commissions and their ledger are in one currency, or the
    /// rate is kept.
    currencies of "commission": "commissions", "commission_id",
    ", t.conversion_id, t.corrects_id, t.kind, t.currency, t.calculation",
    "select p.program_id, p.id,
            case when l.n_other > 0
                   or (p.corrects_id is not null and r.currency is distinct from p.currency)
                   or (p.corrects_id is null and v.currency is not null
                       and v.currency <> p.currency
                       and p.calculation -> 'inputs' -> 'fx' is null) then
                jsonb_build_object('kind', p.kind, 'currency', p.currency,
                                   'conversion_currency', v.currency,
                                   'corrected_currency', r.currency,
                                   'entries_of_others', l.n_other)
            end as wrong
     from page p
     left join conversions v
       on v.program_id = p.program_id and v.conversion_id = p.conversion_id
     left join commissions r on r.program_id = p.program_id and r.commission_id = p.corrects_id
     cross join lateral (
         select count(*) as n_other
         from commission_steps h
         join ledger_transactions t
           on t.program_id = h.program_id and t.ledger_transaction_id = h.ledger_transaction_id
         where h.program_id = p.program_id and h.commission_id = p.id
           and t.currency <> p.currency) l"
}

paged! {
    /// Judges whether corrections belong to what they correct and take no more than there was.
    corrections of "commission": "commissions", "commission_id",
    ", t.kind, t.partner_id, t.conversion_id, t.amount_minor",
    "select p.program_id, p.id,
            case when c.n_foreign > 0 or p.amount_minor + c.minor < 0 then
                jsonb_build_object('amount_minor', p.amount_minor, 'corrections_minor', c.minor,
                                   'of_others', c.n_foreign)
            end as wrong
     from page p
     cross join lateral (
         select count(*) as n, coalesce(sum(c.amount_minor), 0) as minor,
                count(*) filter (where c.partner_id <> p.partner_id
                                    or c.conversion_id <> p.conversion_id) as n_foreign
         from commissions c
         where c.program_id = p.program_id and c.corrects_id = p.id
           and c.kind in ('clawback', 'adjustment', 'true_up')) c
     where p.kind in ('earned', 'recruiter') and c.n > 0"
}

/// What a proof needs to know of a commission.
pub(in crate::audit) struct ArithmeticRow {
    pub(in crate::audit) program_id: ProgramId,
    pub(in crate::audit) commission_id: Uuid,
    pub(in crate::audit) kind: String,
    pub(in crate::audit) state: String,
    pub(in crate::audit) amount_minor: i64,
    pub(in crate::audit) currency: String,
    pub(in crate::audit) plan_version_id: Option<PlanVersionId>,
    pub(in crate::audit) calculation: Value,
}

/// Loads a page of commissions with their arithmetic.
pub(in crate::audit) async fn load_arithmetic(
    db: &mut PgConnection,
    at: &At<'_>,
) -> Result<Vec<ArithmeticRow>, sqlx::Error> {
    sqlx::query_as!(
        ArithmeticRow,
        r#"select program_id as "program_id: ProgramId", commission_id, kind, state, amount_minor,
                  currency, plan_version_id as "plan_version_id: PlanVersionId", calculation
           from commissions
           where (program_id, commission_id) > ($1, $2) and program_id <= $3
           order by program_id, commission_id
           limit $4"#,
        at.after.0,
        at.after.1,
        at.last_program,
        at.rows,
    )
    .fetch_all(db)
    .await
}

/// Finds a page of commissions; of a correction with none in place of its id, because it is proven
/// with what it corrects.
pub(in crate::audit) async fn find_roots(
    db: &mut PgConnection,
    at: &At<'_>,
) -> Result<Vec<(ProgramId, Uuid, Option<CommissionId>)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select program_id as "program_id: ProgramId", commission_id,
                  case when corrects_id is null then commission_id end
                      as "root_id: CommissionId"
           from commissions
           where (program_id, commission_id) > ($1, $2) and program_id <= $3
           order by program_id, commission_id
           limit $4"#,
        at.after.0,
        at.after.1,
        at.last_program,
        at.rows,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|r| (r.program_id, r.commission_id, r.root_id)).collect())
}
