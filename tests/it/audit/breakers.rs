//! A way to break each invariant on purpose, past triggers and foreign keys.
//!
//! The scene that they break is [`super::busy`]: A (20.00) and B (10.00) are paid, A is half taken
//! back, C (16.00) is pending, D (14.00) rejected; E (6.00) was claimed, F (8.00) came by a coupon,
//! G (18.00) bound its customer, and all three are pending.

/// One way to break one invariant.
pub(super) struct Breaker {
    /// Which invariant.
    pub(super) name: &'static str,
    /// What somebody does.
    pub(super) sql: &'static str,
    /// Whether the hashes of the ledger are forged to fit.
    pub(super) is_rehashed: bool,
    /// Whether it changes no rows.
    pub(super) is_ddl: bool,
    /// What is broken of necessity then.
    pub(super) also: &'static [&'static str],
}

const fn by(name: &'static str, sql: &'static str) -> Breaker {
    Breaker { name, sql, is_rehashed: false, is_ddl: false, also: &[] }
}

impl Breaker {
    const fn forged(self) -> Self {
        Self { is_rehashed: true, ..self }
    }

    const fn ddl(self) -> Self {
        Self { is_ddl: true, ..self }
    }

    const fn and(self, also: &'static [&'static str]) -> Self {
        Self { also, ..self }
    }
}

/// One for each invariant.
pub(super) const BREAKERS: &[Breaker] = &[
    by("stream_position", "update stream_offsets set ms = ms + 1000000000"),
    by("stream_waiting", "update stream_offsets set ms = 0, seq = 0").and(&["stream_entries"]),
    by("stream_entries", "update stream_offsets set n_entries = n_entries + 1"),
    // One cent more here and one less there: the account's sum stays.
    by(
        "ledger_transactions_balance",
        "update ledger_entries e
         set amount_minor = e.amount_minor + case when t.sequence = 1 then 1 else -1 end
         from ledger_transactions t
         where t.program_id = e.program_id and t.ledger_transaction_id = e.ledger_transaction_id
           and t.sequence in (1, 2) and e.line = 1",
    )
    .and(&["ledger_hashes"]),
    by(
        "ledger_book_balances",
        "insert into ledger_entries
         select a.program_id, gen_random_uuid(), 1, a.account_id, 7, a.currency, 'accrue', 1, now(),
                now()
         from ledger_accounts a where a.path like 'expense:commission:%';
         update ledger_balances b set balance_minor = balance_minor + 7
         from ledger_accounts a
         where a.account_id = b.account_id and a.path like 'expense:commission:%'",
    )
    .and(&["ledger_days"]),
    by(
        "ledger_balances",
        "update ledger_balances b set balance_minor = balance_minor + 7
         from ledger_accounts a
         where a.account_id = b.account_id and a.path like 'expense:commission:%'",
    ),
    by("ledger_days", "update ledger_days set amount_minor = amount_minor + 1"),
    by(
        "ledger_hashes",
        "update ledger_transactions set recorded_at = recorded_at + interval '1 s'
         where sequence = 2",
    ),
    by(
        "ledger_chain",
        "update ledger_transactions t set sequence = t.sequence + 5 from ledger_heads h
         where h.program_id = t.program_id and t.sequence = h.sequence;
         update ledger_heads set sequence = sequence + 5",
    ),
    by("ledger_heads", "update ledger_heads set sequence = sequence + 1"),
    by(
        "ledger_reversals",
        "update ledger_transactions t set reverses_id = o.ledger_transaction_id
         from ledger_transactions o
         where o.program_id = t.program_id and o.sequence = 1 and t.sequence = 2",
    )
    .forged(),
    by(
        "ledger_causes",
        "with made as (
             insert into ledger_transactions
             select program_id, gen_random_uuid(), 'accrue', 'accrue:made-up', currency, null,
                    effective_at, recorded_at, h.sequence + 1, t.hash, t.hash
             from ledger_heads h join ledger_transactions t using (program_id, sequence)
             returning *),
         sides as (
             select m.program_id, m.ledger_transaction_id, s.line, a.account_id, s.minor, m.currency,
                    m.code, m.sequence, m.effective_at, m.recorded_at
             from made m
             join (values (1, 'expense:adjustment:%', 7), (2, 'expense:commission:%', -7))
                  as s (line, path, minor) on true
             join ledger_accounts a on a.program_id = m.program_id and a.path like s.path),
         posted as (insert into ledger_entries select * from sides returning *)
         update ledger_balances b set balance_minor = b.balance_minor + s.minor
         from sides s where b.account_id = s.account_id",
    )
    .forged()
    .and(&["ledger_days"]),
    by("append_only", "grant update on ledger_entries to tributary_service").ddl(),
    by("closed_months", "update closed_periods set chain_hash = sha256('x')"),
    by("statements", "update statements set document = replace(document, 'Blog', 'Flog')"),
    // Rejected, so that no money is in it.
    by(
        "commission_once",
        "alter table commissions drop constraint commissions_once;
         create temp table twin on commit drop as
             select * from commissions where state = 'rejected';
         update twin set commission_id = gen_random_uuid(), revision = 1,
                         opened_state = 'rejected', opening_transaction_id = null;
         insert into commissions select * from twin",
    )
    .and(&["guards"]),
    by(
        "commission_ledger",
        "update commissions c set opening_transaction_id = d.opening_transaction_id
         from commissions d
         where (c.amount_minor, d.amount_minor) in ((2000, 1000), (1000, 2000))",
    ),
    by(
        "commission_history",
        "update commissions set opened_state = 'on_hold' where state = 'pending'",
    ),
    by("commission_states", "update commissions set approved_at = null where state = 'paid'"),
    by(
        "commission_holds",
        "update commissions set hold_until = hold_until + interval '1 year' where state = 'paid'",
    ),
    by(
        "commission_plans",
        "insert into plan_versions
         select p.program_id, gen_random_uuid(), c.occurred_at - interval '1 s', p.document,
                p.created_by, p.created_at
         from plan_versions p
         join commissions c on c.plan_version_id = p.plan_version_id and c.amount_minor = 1600",
    )
    .and(&["audit_log"]),
    by(
        "commission_currencies",
        "update conversions v set currency = 'USD' from commissions c
         where c.conversion_id = v.conversion_id and c.state = 'pending'",
    ),
    by(
        "commission_corrections",
        "update commissions c set conversion_id = o.conversion_id from commissions o
         where c.kind = 'clawback' and o.state = 'pending'",
    ),
    by(
        "commission_arithmetic",
        "update commissions set calculation = jsonb_set(calculation, '{whole}', '\"16.01\"')
         where state = 'pending'",
    ),
    // Arithmetic that is sound by itself, of the whole order.
    by(
        "commission_nets",
        "update commissions c set calculation = o.calculation from commissions o
         where c.kind = 'clawback' and o.commission_id = c.corrects_id",
    ),
    by("plan_sums", "update plan_sums set n = n + 1"),
    by("payout_items", "update payout_items set amount_minor = amount_minor + 1"),
    by("payout_ledger", "update payouts set vat_minor = vat_minor + 1 where status = 'canceled'"),
    by(
        "payout_in_transit",
        "with sides as (
             select a.program_id, s.line, a.account_id, s.minor, a.currency
             from ledger_accounts a
             join (values (1, 'liability:payout:%', 7), (2, 'expense:commission:%', -7))
                  as s (line, path, minor) on a.path like s.path),
         posted as (
             insert into ledger_entries
             select program_id, '00000000-0000-7000-8000-000000000000', line, account_id, minor,
                    currency, 'accrue', 1, now(), now()
             from sides)
         update ledger_balances b set balance_minor = b.balance_minor + s.minor
         from sides s where b.account_id = s.account_id",
    )
    .and(&["ledger_days"]),
    by("payout_four_eyes", "update payout_batches set approved_by = null, approved_at = null")
        .and(&["audit_log"]),
    by("payout_files", "update payout_files set sha256 = sha256('x')"),
    by(
        "partner_balances",
        "with sides as (
             select a.program_id, s.line, a.account_id, s.minor, a.currency
             from ledger_accounts a
             join (values (1, '%:payable', -7), (2, 'expense:commission:%', 7))
                  as s (line, path, minor) on a.path like s.path),
         posted as (
             insert into ledger_entries
             select program_id, '00000000-0000-7000-8000-000000000000', line, account_id, minor,
                    currency, 'accrue', 1, now(), now()
             from sides)
         update ledger_balances b set balance_minor = b.balance_minor + s.minor
         from sides s where b.account_id = s.account_id",
    )
    .and(&["ledger_days"]),
    by(
        "partner_debts",
        "with sides as (
             select a.program_id, s.line, a.account_id, s.minor, a.currency
             from ledger_accounts a
             join (values (1, '%:payable', 9000), (2, 'expense:commission:%', -9000))
                  as s (line, path, minor) on a.path like s.path),
         posted as (
             insert into ledger_entries
             select program_id, '00000000-0000-7000-8000-000000000000', line, account_id, minor,
                    currency, 'accrue', 1, now(), now()
             from sides)
         update ledger_balances b set balance_minor = b.balance_minor + s.minor
         from sides s where b.account_id = s.account_id",
    )
    .and(&["partner_balances", "ledger_days"]),
    by("adjustments", "update adjustments set kind = 'write_off'"),
    by(
        "conversion_once",
        "alter table conversions drop constraint conversions_dedup_once;
         create temp table twin on commit drop as
             select * from conversions where order_id = 'D';
         update twin set conversion_id = gen_random_uuid(), receipt_id = gen_random_uuid();
         insert into conversions select * from twin;
         insert into webhook_messages
             select program_id, source_id, 'twin', receipt_id, content_hash, 'settled', null,
                    conversion_id, received_at, settled_at
             from twin",
    )
    .and(&["guards"]),
    by("conversion_receipts", "update webhook_messages set conversion_id = null"),
    by(
        "conversion_refunds",
        "update conversions set refunded_minor = refunded_minor + 1 where refunded_minor > 0",
    ),
    by(
        "conversion_clicks",
        "update conversions set click_at = occurred_at + interval '1 hour'
         where attribution = 'click'",
    ),
    by("conversion_tenancy", "update conversions set source_id = gen_random_uuid()"),
    by("conversion_times", "update conversions set received_at = settled_at + interval '1 hour'"),
    by(
        "commission_earners",
        "insert into enrollments (program_id, partner_id, created_at, updated_at)
         select program_id, '00000000-0000-7000-8000-000000000000', now(), now() from programs;
         update conversions set partner_id = '00000000-0000-7000-8000-000000000000'
         where order_id = 'B'",
    ),
    by("claims", "update claims set partner_id = gen_random_uuid()").and(&["audit_log"]),
    by(
        "coupons",
        "insert into coupons
         select program_id, gen_random_uuid(), partner_id, code, code_key, starts_at, ends_at,
                created_by, created_at
         from coupons",
    )
    .and(&["audit_log"]),
    by("coupon_conversions", "update coupons set starts_at = starts_at + interval '1 year'"),
    by("bonds", "update customer_bonds set customer_hash = sha256('x')"),
    by("click_hours", "update click_hours set n_clicks = n_clicks + 1"),
    by(
        "click_days",
        "update clicks set click_id = '00000000-0000-7000-8000-000000000000'
         where click_id = (select click_id from clicks order by click_id limit 1)",
    ),
    by("click_landings", "update click_landings set n_unique = n_unique + 1"),
    by("audit_log", "delete from audit_log where action = 'payout_batch.approve'"),
    by("notices", "update notices set dispatched_at = created_at - interval '1 day'"),
    by("dead_letters", "update dead_letters set error = ''"),
    by("guards", "alter table links add constraint odd check (number > 5) not valid").ddl(),
    by(
        "amounts_are_whole",
        "alter table programs alter column min_payout_minor type numeric(20, 4)",
    )
    .ddl(),
    by(
        "tenancy_keys",
        "create table odd (
             program_id uuid,
             other      uuid,
             constraint odd_key foreign key (other) references programs (program_id))",
    )
    .ddl(),
    // Nobody wants to wait for minutes: a view in front of PostgreSQL's own.
    by(
        "sessions",
        "create temp view pg_stat_activity as
         select 4711 as pid, 'idle in transaction'::text as state, current_database() as datname,
                'client backend'::text as backend_type, now() - interval '1 hour' as state_change",
    )
    .ddl(),
];
