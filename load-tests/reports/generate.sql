-- Generates a business of 400 days: clicks, conversions, commissions, their ledger, payouts, closed
-- months and statements, by statements over whole sets. Sizes come from the settings load.clicks,
-- load.commissions and load.partners.
--
-- Two programs; the first has nine tenths. Partners are as unlike as in life: the largest of a thousand
-- has a tenth of everything. Rows are what the service would have written, but for the hashes of the
-- chain, which no report reads; foreign keys are not checked while writing, and hold.
set session_replication_role = replica;
set synchronous_commit = off;
set maintenance_work_mem = '512MB';
set work_mem = '256MB';

create schema if not exists load;

-- The text of an id: 26 letters of five bits each.
create or replace function load.text_of(prefix text, id uuid) returns text
    language sql immutable
as
$$
    select prefix || '_' || string_agg(
        substr('0123456789abcdefghjkmnpqrstvwxyz',
               substring(B'00' || ('x' || replace(id::text, '-', ''))::bit(128) from i * 5 + 1 for 5)::bit(5)::integer + 1,
               1), '' order by i)
    from generate_series(0, 25) i
$$;

-- A UUID that sorts by time, the same for the same number.
create or replace function load.uuid_at(at timestamptz, kind integer, n bigint) returns uuid
    language sql immutable
as
$$
    select (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '7'
            || lpad(to_hex(kind), 3, '0') || '8' || lpad(to_hex(n), 15, '0'))::uuid
$$;

-- A number in [0, 1) that looks like chance and is the same each time.
create or replace function load.chance(n bigint, salt bigint) returns double precision
    language sql immutable
as
$$
    select (hashint8extended(n, salt) & 1073741823) / 1073741824.0
$$;

create table load.terms as
select date_trunc('day', now() at time zone 'UTC') at time zone 'UTC' as ends_at,
       date_trunc('day', now() at time zone 'UTC') at time zone 'UTC' - interval '400 days' as starts_at,
       current_setting('load.clicks')::bigint as n_clicks,
       current_setting('load.commissions')::bigint as n_commissions,
       current_setting('load.partners')::bigint as n_partners;

insert into programs (program_id, name, slug, currency, landing_template, created_at, updated_at)
select load.uuid_at(starts_at, 1, n), 'Load ' || n, 'load-' || n, 'EUR', 'https://shop.test/',
       starts_at, starts_at
from load.terms, generate_series(1, 2) n;

create table load.program as
select program_id, substr(slug, 6)::integer as n from programs where slug like 'load-%';

insert into partners (partner_id, name, slug, kind, country, created_at, updated_at)
select load.uuid_at(starts_at, 2, (load.chance(n, 1) * 1e12)::bigint * 2000 + n), 'Partner ' || n,
       'load-' || n, 'webmaster', 'DE', starts_at, starts_at
from load.terms, generate_series(1, n_partners) n;

create table load.partner as
select partner_id, substr(slug, 6)::bigint as n from partners where slug like 'load-%';
alter table load.partner add constraint load_partner_pkey primary key (n);

insert into enrollments (program_id, partner_id, created_at, updated_at)
select g.program_id, p.partner_id, starts_at, starts_at
from load.terms, load.program g, load.partner p;

insert into links (program_id, link_id, partner_id, number, sub1, created_at, updated_at)
select g.program_id, load.uuid_at(starts_at, 3, p.n * 100 + g.n * 10 + l), p.partner_id, l, 'place ' || l,
       starts_at, starts_at
from load.terms, load.program g, load.partner p, generate_series(1, 3) l;

insert into sources (program_id, source_id, name, created_at, updated_at)
select program_id, load.uuid_at(starts_at, 4, n), 'shop', starts_at, starts_at
from load.terms, load.program;

insert into plan_versions (program_id, plan_version_id, effective_from, document, created_by, created_at)
select program_id, load.uuid_at(starts_at, 5, n), starts_at,
       '{"v":1,"hold_days":14,"approval":"auto","rounding":"half_even","rules":[{"event":"sale","kind":"percent","percent_bps":2000}]}',
       gen_random_uuid(), starts_at
from load.terms, load.program;

-- Clicks -----------------------------------------------------------------------------------------

select ensure_click_day((starts_at at time zone 'UTC')::date + d)
from load.terms, generate_series(0, 400) d;

insert into clicks (program_id, day, click_id, at, partner_id, link_number, class, reason, is_unique,
                    device, browser, flags, country)
select g.program_id, (c.at at time zone 'UTC')::date, load.uuid_at(c.at, 6, c.n), c.at, p.partner_id,
       1 + c.n % 3, case when c.n % 20 = 0 then 2 else 0 end, 0, c.n % 5 <> 0, c.n % 3, c.n % 7, 0, 'DE'
from load.terms t
cross join lateral (
    select n, date_trunc('milliseconds', t.starts_at + (t.ends_at - t.starts_at) * (n::double precision / t.n_clicks)) as at
    from generate_series(1, t.n_clicks) n) c
join load.program g on g.n = case when load.chance(c.n, 2) < 0.9 then 1 else 2 end
join load.partner p on p.n = 1 + floor(t.n_partners * power(load.chance(c.n, 3), 3))::bigint;

insert into click_hours (program_id, hour, partner_id, link_number, class, country, n_clicks, n_unique)
select program_id, date_trunc('hour', at), partner_id, link_number, class, country, count(*),
       count(*) filter (where is_unique)
from clicks
group by program_id, date_trunc('hour', at), partner_id, link_number, class, country
-- As they come in life: what belongs to a day lies together.
order by 2;

-- Conversions --------------------------------------------------------------------------------------

create unlogged table load.sale as
select c.n, g.program_id, g.n as program_n, p.partner_id, c.at as occurred_at,
       c.at + interval '14 days' as due_at, load.uuid_at(c.at, 7, c.n) as conversion_id,
       load.uuid_at(c.at, 8, c.n) as commission_id, (1000 + load.chance(c.n, 5) * 40000)::bigint as base_minor,
       -- Two in a hundred came without a click, and one in fifty of the rest was refused.
       load.chance(c.n, 6) < 0.02 as is_unattributed, load.chance(c.n, 7) < 0.02 as is_rejected
from load.terms t
cross join lateral (
    select n, t.starts_at + (t.ends_at - t.starts_at) * (n::double precision / (t.n_commissions * 1.025)) as at
    from generate_series(1, (t.n_commissions * 1.025)::bigint) n) c
join load.program g on g.n = case when load.chance(c.n, 8) < 0.9 then 1 else 2 end
join load.partner p on p.n = 1 + floor(t.n_partners * power(load.chance(c.n, 9), 3))::bigint
where c.at < t.ends_at;

insert into conversions
    (program_id, conversion_id, order_namespace, event, dedup_ref, source_id, channel, trust, order_id,
     partner_id, link_number, click_at, attribution, amount_minor, base_minor, currency, occurred_at,
     received_at, settled_at, receipt_id, content_hash, details)
select s.program_id, conversion_id, '', 'sale', 'L-' || s.n, load.uuid_at(starts_at, 4, program_n),
       'webhook', 'signed', 'L-' || s.n, case when not is_unattributed then partner_id end,
       case when not is_unattributed then 1 + s.n % 3 end,
       case when not is_unattributed then occurred_at - interval '1 hour' end,
       case when is_unattributed then 'no_click' else 'click' end, base_minor, base_minor, 'EUR',
       occurred_at, occurred_at, occurred_at, conversion_id, '\x00', '{}'
from load.sale s, load.terms;

-- Payouts: on the fifth of each month what was approved in the month before ------------------------

create unlogged table load.payout as
select x.*, row_number() over (order by made_at, program_id, partner_id) as n
from (
    select program_id, program_n, partner_id, date_trunc('month', due_at, 'UTC') as month,
           date_trunc('month', due_at, 'UTC') + interval '1 month 4 days' as made_at,
           sum(base_minor / 5) as amount_minor
    from load.sale
    where not is_unattributed and not is_rejected
    group by 1, 2, 3, 4, 5) x, load.terms
where made_at + interval '3 days' < ends_at;
alter table load.payout add column payout_id uuid, add column payout_batch_id uuid;
update load.payout set payout_id = load.uuid_at(made_at, 9, n),
                       payout_batch_id = load.uuid_at(made_at, 10, program_n);
create index load_payout_of on load.payout (program_id, partner_id, month);

-- The book: everything that was posted, in the order of time --------------------------------------

create unlogged table load.posting as
select program_id, row_number() over (partition by program_id order by at, rank, n) as sequence, rank, n,
       partner_id, at, effective_at, amount_minor, id
from (
    select program_id, 1 as rank, n, partner_id, occurred_at as at, occurred_at as effective_at,
           base_minor / 5 as amount_minor, commission_id as id
    from load.sale where not is_unattributed and not is_rejected
    union all
    select program_id, 2, n, partner_id, due_at, due_at, base_minor / 5, commission_id
    from load.sale, load.terms
    where not is_unattributed and not is_rejected and due_at < ends_at
    union all
    select program_id, 3, n, partner_id, made_at, made_at, amount_minor, payout_id from load.payout
    union all
    select program_id, 4, n, partner_id, made_at + interval '2 days', made_at + interval '2 days',
           amount_minor, payout_id
    from load.payout) x;
create index load_posting_of on load.posting (id, rank);
analyze load.posting;

insert into ledger_accounts (program_id, account_id, path, currency, partner_id, created_at)
select program_id, load.uuid_at(starts_at, 16 + k.kind, p.n * 10 + g.n),
       'liability:partner:' || load.text_of('pg', program_id) || ':' || load.text_of('pt', partner_id)
       || k.name, 'EUR', partner_id, starts_at
from load.terms, load.program g, load.partner p, (values (1, ':pending'), (2, ':payable')) k (kind, name);
insert into ledger_accounts (program_id, account_id, path, currency, created_at)
select program_id, load.uuid_at(starts_at, 16 + k.kind, g.n),
       k.head || load.text_of('pg', program_id) || k.tail, 'EUR', starts_at
from load.terms, load.program g,
     (values (3, 'expense:commission:', ''), (4, 'liability:payout:', ':in_transit'),
             (5, 'asset:bank:', ':main')) k (kind, head, tail);

insert into ledger_transactions
    (program_id, ledger_transaction_id, code, reference, currency, effective_at, recorded_at, sequence,
     previous_hash, hash)
select program_id, load.uuid_at(at, 32 + rank, sequence),
       (array ['accrue', 'approve', 'payout_reserve', 'payout_pay'])[rank],
       (array ['accrue', 'approve', 'payout_reserve', 'payout_pay'])[rank] || ':' || id, 'EUR',
       effective_at, at, sequence, '\x00', '\x00'
from load.posting;

insert into ledger_entries
    (program_id, ledger_transaction_id, line, account_id, amount_minor, currency, code, sequence,
     effective_at, recorded_at)
select o.program_id, load.uuid_at(o.at, 32 + o.rank, o.sequence), k.line,
       load.uuid_at(starts_at, 16 + k.account,
                    case when k.account <= 2 then p.n * 10 + g.n else g.n end),
       k.sign * o.amount_minor, 'EUR',
       (array ['accrue', 'approve', 'payout_reserve', 'payout_pay'])[o.rank], o.sequence,
       o.effective_at, o.at
from load.terms, load.posting o
join load.program g on g.program_id = o.program_id
join load.partner p on p.partner_id = o.partner_id
-- Of each posting the account that is debited and the one that is credited.
join (values (1, 1, 3, 1), (1, 2, 1, -1), (2, 1, 1, 1), (2, 2, 2, -1),
             (3, 1, 2, 1), (3, 2, 4, -1), (4, 1, 4, 1), (4, 2, 5, -1)) k (rank, line, account, sign)
  on k.rank = o.rank
order by o.program_id, o.sequence;

insert into ledger_balances (program_id, account_id, balance_minor)
select program_id, account_id, sum(amount_minor) from ledger_entries group by program_id, account_id;
insert into ledger_heads (program_id, sequence, hash)
select program_id, max(sequence), '\x00' from ledger_transactions group by program_id;

insert into commissions
    (program_id, commission_id, kind, state, partner_id, conversion_id, amount_minor, currency,
     plan_version_id, calculation, occurred_at, hold_until, approval, created_at, approved_at, reason,
     opened_state, opened_by, opened_rule, opening_transaction_id)
select s.program_id, commission_id, 'earned',
       case when is_rejected then 'rejected' when due_at < ends_at then 'approved' else 'pending' end,
       s.partner_id, conversion_id, base_minor / 5, 'EUR', load.uuid_at(starts_at, 5, program_n),
       '{"v":1,"kind":"percent","percent_bps":2000,"rounding":"half_even"}', occurred_at, due_at, 'auto',
       occurred_at, case when due_at < ends_at and not is_rejected then due_at end,
       case when is_rejected then 'fraud' end, case when is_rejected then 'rejected' else 'pending' end,
       'system', 'created', load.uuid_at(o.at, 32 + o.rank, o.sequence)
from load.terms, load.sale s
left join load.posting o on o.rank = 1 and o.id = s.commission_id
where not is_unattributed;

insert into commission_history
    (program_id, commission_id, revision, from_state, to_state, at, actor, rule, ledger_transaction_id)
select program_id, id, rank, 'pending', 'approved', at, 'system', 'hold_elapsed',
       load.uuid_at(at, 32 + rank, sequence)
from load.posting
where rank = 2;

insert into payout_batches
    (program_id, payout_batch_id, period, currency, cutoff_at, status, created_by, created_at,
     approved_by, approved_at)
select distinct program_id, payout_batch_id, to_char(month at time zone 'UTC', 'YYYY-MM'), 'EUR', made_at,
       'completed', '00000000-0000-0000-0000-000000000001'::uuid, made_at,
       '00000000-0000-0000-0000-000000000002'::uuid, made_at
from load.payout;
insert into payouts
    (program_id, payout_id, payout_batch_id, partner_id, currency, amount_minor, status, bank_reference,
     paid_at, reserve_transaction_id, pay_transaction_id, updated_at, method_kind, legal_type,
     vat_treatment)
select y.program_id, y.payout_id, y.payout_batch_id, y.partner_id, 'EUR', y.amount_minor, 'paid',
       'SEPA-' || y.n, y.made_at + interval '2 days', load.uuid_at(r.at, 35, r.sequence),
       load.uuid_at(q.at, 36, q.sequence), y.made_at, 'sepa', 'company', 'none'
from load.payout y
join load.posting r on r.rank = 3 and r.program_id = y.program_id and r.n = y.n
join load.posting q on q.rank = 4 and q.program_id = y.program_id and q.n = y.n;
insert into payout_items (program_id, payout_id, commission_id, amount_minor)
select s.program_id, y.payout_id, s.commission_id, s.base_minor / 5
from load.sale s
join load.payout y
  on y.program_id = s.program_id and y.partner_id = s.partner_id
 and y.month = date_trunc('month', s.due_at, 'UTC')
where not s.is_unattributed and not s.is_rejected;
update commissions c set state = 'paid', payout_id = i.payout_id
from payout_items i
where i.program_id = c.program_id and i.commission_id = c.commission_id;

-- Closed months, on the second of the next, and statements -----------------------------------------

insert into closed_periods
    (program_id, period, starts_at, ends_at, after_sequence, last_sequence, chain_hash, closed_by,
     closed_at)
select program_id, to_char(month at time zone 'UTC', 'YYYY-MM'), month, month + interval '1 month',
       coalesce(lag(last_sequence) over (partition by program_id order by month), last_sequence),
       last_sequence, '\x00', gen_random_uuid(), closed_at
from (
    select g.program_id, m.month, m.month + interval '1 month 1 day' as closed_at,
           (select max(sequence) from load.posting o
            where o.program_id = g.program_id and o.at < m.month + interval '1 month 1 day')
               as last_sequence
    from load.program g, load.terms t
    cross join lateral generate_series(date_trunc('month', t.starts_at, 'UTC'),
                                       t.ends_at - interval '32 days', interval '1 month') m (month)) x
where last_sequence is not null;
insert into statements
    (program_id, statement_id, number, period, partner_id, currency, pending_opening_minor,
     pending_closing_minor, opening_minor, closing_minor, n_lines, document, sha256, created_at)
select q.program_id, load.uuid_at(q.closed_at, 11, p.n * 10 + g.n),
       'ST-' || q.period || '-' || lpad(p.n::text, 6, '0'), q.period, p.partner_id, 'EUR', 0, 0, 0, 0, 0,
       '{}', sha256('{}'), q.closed_at
from closed_periods q
join load.program g on g.program_id = q.program_id
cross join load.partner p;

set session_replication_role = origin;
drop table load.sale, load.payout, load.posting;
