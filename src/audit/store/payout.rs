//! Queries about payouts and what partners are owed.

use super::paged;

paged! {
    /// Judges whether each payout is the sum of what it is made of.
    items of "payout": "payouts", "payout_id",
    ", t.partner_id, t.currency, t.amount_minor, t.status",
    "select p.program_id, p.id,
            case when i.minor + a.minor <> p.amount_minor or i.n_other > 0 or a.n_other > 0
                   or b.currency is distinct from p.currency then
                jsonb_build_object('status', p.status, 'amount_minor', p.amount_minor,
                                   'commissions_minor', i.minor, 'adjustments_minor', a.minor,
                                   'n_not_its_own', i.n_other + a.n_other)
            end as wrong
     from page p
     left join payouts o on o.program_id = p.program_id and o.payout_id = p.id
     left join payout_batches b
       on b.program_id = o.program_id and b.payout_batch_id = o.payout_batch_id
     cross join lateral (
         select coalesce(sum(i.amount_minor), 0) as minor,
                count(*) filter (
                    where c.amount_minor <> i.amount_minor or c.partner_id <> p.partner_id
                       or c.currency <> p.currency
                       or (p.status in ('draft', 'approved', 'processing', 'paid')
                           and c.payout_id is distinct from p.id)) as n_other
         from payout_items i
         join commissions c
           on c.program_id = i.program_id and c.commission_id = i.commission_id
         where i.program_id = p.program_id and i.payout_id = p.id) i
     cross join lateral (
         select coalesce(sum(i.amount_minor), 0) as minor,
                count(*) filter (
                    where j.amount_minor <> i.amount_minor or j.partner_id <> p.partner_id
                       or j.currency <> p.currency
                       or (p.status in ('draft', 'approved', 'processing', 'paid')
                           and j.payout_id is distinct from p.id)) as n_other
         from payout_adjustments i
         join adjustments j
           on j.program_id = i.program_id and j.adjustment_id = i.adjustment_id
         where i.program_id = p.program_id and i.payout_id = p.id) a"
}

paged! {
    /// Judges whether the ledger reserved, paid and undid exactly what each payout says.
    ledger of "payout": "payouts", "payout_id",
    ", t.partner_id, t.amount_minor, t.vat_minor, t.withheld_minor, t.status,
       t.reserve_transaction_id, t.pay_transaction_id",
    "select p.program_id, p.id,
            case when r.payable <> p.amount_minor
                   or -r.in_transit <> p.amount_minor + p.vat_minor - p.withheld_minor
                   or u.n <> case when p.status in ('canceled', 'failed') then 1 else 0 end
                   or (p.pay_transaction_id is not null) <> (p.status in ('paid', 'returned'))
                   or (p.pay_transaction_id is not null
                       and y.in_transit <> p.amount_minor + p.vat_minor - p.withheld_minor) then
                jsonb_build_object('status', p.status, 'amount_minor', p.amount_minor,
                                   'reserved_minor', r.payable,
                                   'in_transit_minor', -r.in_transit, 'paid_minor', y.in_transit,
                                   'n_undone', u.n)
            end as wrong
     from page p
     cross join lateral (
         select coalesce(sum(e.amount_minor) filter (where a.partner_id = p.partner_id), 0)
                    as payable,
                coalesce(sum(e.amount_minor) filter (where a.path like '%:in_transit'), 0)
                    as in_transit
         from ledger_transactions t
         join ledger_entries e
           on e.program_id = t.program_id and e.ledger_transaction_id = t.ledger_transaction_id
         join ledger_accounts a on a.program_id = e.program_id and a.account_id = e.account_id
         where t.program_id = p.program_id and t.ledger_transaction_id = p.reserve_transaction_id
           and t.code = 'payout_reserve') r
     cross join lateral (
         select coalesce(sum(e.amount_minor) filter (where a.path like '%:in_transit'), 0)
                    as in_transit
         from ledger_transactions t
         join ledger_entries e
           on e.program_id = t.program_id and e.ledger_transaction_id = t.ledger_transaction_id
         join ledger_accounts a on a.program_id = e.program_id and a.account_id = e.account_id
         where t.program_id = p.program_id and t.ledger_transaction_id = p.pay_transaction_id
           and t.code = 'payout_pay') y
     cross join lateral (
         select count(*) as n
         from ledger_transactions t
         where t.program_id = p.program_id and t.reverses_id = p.reserve_transaction_id) u"
}

paged! {
    /// Judges whether what is in transit is what open payouts are to move.
    in_transit of "program": "programs", "program_id", "",
    "select s.program_id, s.program_id as id,
            case when sum(s.ledger) <> sum(s.open) then
                jsonb_build_object('currency', s.currency, 'ledger_minor', sum(s.ledger),
                                   'open_payouts_minor', sum(s.open))
            end as wrong
     from (
         select p.program_id, a.currency, -coalesce(b.balance_minor, 0) as ledger, 0 as open
         from page p
         join ledger_accounts a
           on a.program_id = p.program_id and a.partner_id is null and a.path like '%:in_transit'
         left join ledger_balances b
           on b.program_id = a.program_id and b.account_id = a.account_id
         union all
         select p.program_id, o.currency, 0,
                o.amount_minor + o.vat_minor - o.withheld_minor
         from page p
         join payouts o
           on o.program_id = p.program_id and o.status in ('draft', 'approved', 'processing')) s
     group by s.program_id, s.currency"
}

paged! {
    /// Judges whether each balance of a partner is what its commissions, adjustments and payouts
    /// come to.
    partner_balances of "account": "ledger_accounts", "account_id",
    ", t.path, t.currency, t.partner_id",
    "select p.program_id, p.id,
            case when -coalesce(b.balance_minor, 0) <> s.minor then
                jsonb_build_object('partner', p.partner_id, 'currency', p.currency,
                                   'side', substring(p.path from '[a-z]+$'),
                                   'ledger_minor', -coalesce(b.balance_minor, 0),
                                   'rows_minor', s.minor)
            end as wrong
     from page p
     left join ledger_balances b on b.program_id = p.program_id and b.account_id = p.id
     cross join lateral (
         select case when p.path like '%:pending' then
             (select coalesce(sum(c.amount_minor), 0) from commissions c
              where c.program_id = p.program_id and c.partner_id = p.partner_id
                and c.currency = p.currency and c.state in ('pending', 'on_hold'))
         else
             (select coalesce(sum(c.amount_minor), 0) from commissions c
              where c.program_id = p.program_id and c.partner_id = p.partner_id
                and c.currency = p.currency and c.state in ('approved', 'paid'))
             + (select coalesce(sum(a.amount_minor), 0) from adjustments a
                where a.program_id = p.program_id and a.partner_id = p.partner_id
                  and a.currency = p.currency)
             - (select coalesce(sum(o.amount_minor), 0) from payouts o
                where o.program_id = p.program_id and o.partner_id = p.partner_id
                  and o.currency = p.currency
                  and o.status in ('draft', 'approved', 'processing', 'paid'))
         end as minor) s
     where p.partner_id is not null"
}

paged! {
    /// Judges whether no partner owes more than what was taken back.
    debts of "account": "ledger_accounts", "account_id", ", t.path, t.currency, t.partner_id",
    "select p.program_id, p.id,
            case when -b.balance_minor < s.taken then
                jsonb_build_object('partner', p.partner_id, 'currency', p.currency,
                                   'payable_minor', -b.balance_minor, 'taken_back_minor', s.taken)
            end as wrong
     from page p
     join ledger_balances b on b.program_id = p.program_id and b.account_id = p.id
     cross join lateral (
         select (select coalesce(sum(c.amount_minor), 0) from commissions c
                 where c.program_id = p.program_id and c.partner_id = p.partner_id
                   and c.currency = p.currency and c.amount_minor < 0)
                + (select coalesce(sum(a.amount_minor), 0) from adjustments a
                   where a.program_id = p.program_id and a.partner_id = p.partner_id
                     and a.currency = p.currency and a.amount_minor < 0) as taken) s
     where p.path like '%:payable'"
}

paged! {
    /// Judges whether each adjustment is in the ledger as it is told, and in at most one payout.
    adjustments of "adjustment": "adjustments", "adjustment_id",
    ", t.partner_id, t.kind, t.amount_minor, t.currency, t.ledger_transaction_id, t.payout_id",
    "select p.program_id, p.id,
            case when l.minor is distinct from p.amount_minor or l.code <> p.kind
                   or (p.payout_id is not null
                       and o.status not in ('draft', 'approved', 'processing', 'paid')) then
                jsonb_build_object('kind', p.kind, 'code', l.code, 'amount_minor', p.amount_minor,
                                   'ledger_minor', l.minor, 'payout', p.payout_id,
                                   'payout_status', o.status)
            end as wrong
     from page p
     left join payouts o on o.program_id = p.program_id and o.payout_id = p.payout_id
     left join lateral (
         select t.code, -sum(e.amount_minor) as minor
         from ledger_transactions t
         join ledger_entries e
           on e.program_id = t.program_id and e.ledger_transaction_id = t.ledger_transaction_id
         join ledger_accounts a
           on a.program_id = e.program_id and a.account_id = e.account_id
          and a.partner_id = p.partner_id
         where t.program_id = p.program_id and t.ledger_transaction_id = p.ledger_transaction_id
           and t.currency = p.currency
         group by t.code) l on true"
}

paged! {
    /// Judges whether a second person approved each batch, and the audit log says so.
    four_eyes of "batch": "payout_batches", "payout_batch_id",
    ", t.status, t.created_by, t.approved_by, t.approved_at",
    "select p.program_id, p.id,
            case when p.approved_by = p.created_by
                   or (p.approved_by is null) <> (p.approved_at is null)
                   or (p.approved_by is null and n.moved > 0)
                   or (p.approved_by is null
                       and p.status in ('approved', 'exported', 'completed',
                                        'partially_completed'))
                   or (p.status = 'draft' and p.approved_by is not null) then
                jsonb_build_object('status', p.status,
                                   'is_approved', p.approved_by is not null,
                                   'by_its_maker', coalesce(p.approved_by = p.created_by, false),
                                   'payouts_moved', n.moved)
            end as wrong
     from page p
     cross join lateral (
         select count(*) filter (where o.status not in ('draft', 'canceled')) as moved
         from payouts o
         where o.program_id = p.program_id and o.payout_batch_id = p.id) n"
}
