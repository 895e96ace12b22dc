//! Queries about the database itself and what lies in it for the whole deployment.

use sqlx::PgConnection;
use uuid::Uuid;

use super::whole;

whole! {
    /// Judges whether every constraint and index is valid, and those that the code leans on are
    /// there.
    guards of "guard":
    "select c.conname::text as id,
            case when not c.convalidated then jsonb_build_object('why', 'is not validated') end
                as wrong
     from pg_constraint c
     where c.connamespace = 'public'::regnamespace
     union all
     select r.relname::text,
            case when not i.indisvalid then jsonb_build_object('why', 'is an invalid index') end
     from pg_index i
     join pg_class r on r.oid = i.indexrelid
     where r.relnamespace = 'public'::regnamespace
     union all
     select w.name,
            case when not exists (select from pg_constraint c
                                  where c.conname = w.name
                                    and c.connamespace = 'public'::regnamespace)
                  and not exists (select from pg_trigger t
                                  where t.tgname = w.name and t.tgenabled <> 'D')
                  and to_regclass('public.' || w.name) is null
                 then jsonb_build_object('why', 'is missing') end
     from (values
         ('conversions_dedup_once'), ('conversion_refunds_pkey'), ('webhook_messages_pkey'),
         ('commissions_once'), ('commissions_sign'), ('commissions_paid_has_payout'),
         ('ledger_transactions_reference_once'), ('ledger_transactions_reversed_once'),
         ('ledger_transactions_sequence_once'), ('ledger_entries_not_zero'),
         ('conversions_named'), ('commissions_named'), ('commission_history_named'),
         ('commissions_keep_keys'), ('commissions_stay'),
         ('clicks_pkey'),
         ('dead_letters_once'), ('payout_batches_four_eyes'), ('payout_batches_period_once'),
         ('payouts_partner_once'), ('payouts_paid_is_posted'), ('payout_items_pkey'),
         ('idempotency_keys_pkey'), ('claims_once'), ('closed_periods_pkey'),
         ('statements_number_once'), ('stream_offsets_pkey')) as w (name)"
}

whole! {
    /// Judges whether amounts are whole numbers that hold a trillion of minor units.
    amounts of "column":
    "select c.table_name || '.' || c.column_name as id,
            case when c.data_type <> 'bigint' then jsonb_build_object('type', c.data_type) end
                as wrong
     from information_schema.columns c
     where c.table_schema = 'public'
       and (c.column_name like '%\\_minor' or c.column_name in ('amount', 'balance', 'total'))"
}

whole! {
    /// Judges whether every key between two tables of programs carries the program.
    tenancy_keys of "key":
    "select f.conname::text as id,
            case when not (f.ours = any (f.conkey)
                           and f.confkey[array_position(f.conkey, f.ours)] = f.theirs) then
                jsonb_build_object('table', f.conrelid::regclass::text,
                                   'names', f.confrelid::regclass::text)
            end as wrong
     from (
         select k.conname, k.conrelid, k.confrelid, k.conkey, k.confkey,
                (select a.attnum from pg_attribute a
                 where a.attrelid = k.conrelid and a.attname = 'program_id') as ours,
                (select a.attnum from pg_attribute a
                 where a.attrelid = k.confrelid and a.attname = 'program_id') as theirs
         from pg_constraint k
         where k.contype = 'f' and k.connamespace = 'public'::regnamespace) f
     where f.ours is not null and f.theirs is not null"
}

whole! {
    /// Judges whether each dead letter has its reason and was counted.
    dead_letters of "dead_letter":
    "select d.dead_letter_id::text as id,
            case when d.error = '' or n.n_letters > n.n_counted
                   or (d.replayed_at is null) <> (d.replayed_by is null) then
                jsonb_build_object('shard', d.shard, 'has_reason', d.error <> '',
                                   'letters_of_shard', n.n_letters,
                                   'counted_of_shard', n.n_counted)
            end as wrong
     from dead_letters d
     cross join lateral (
         select (select count(*) from dead_letters l
                 where l.prefix = d.prefix and l.shard = d.shard) as n_letters,
                (select coalesce(sum(o.n_dead), 0) from stream_offsets o
                 where o.prefix = d.prefix and o.shard = d.shard) as n_counted) n"
}

whole! {
    /// Judges whether no session holds a transaction open and does nothing.
    sessions of "session":
    "select s.pid::text as id,
            case when s.state = 'idle in transaction'
                  and s.state_change < clock_timestamp() - interval '5 min' then
                jsonb_build_object('idle_since', s.state_change)
            end as wrong
     from pg_stat_activity s
     where s.datname = current_database() and s.backend_type = 'client backend'
     union all
     select x.gid, jsonb_build_object('prepared', x.prepared)
     from pg_prepared_xacts x
     where x.database = current_database()"
}

/// Where the settlement of a shard stands.
pub(in crate::audit) struct OffsetRow {
    pub(in crate::audit) generation: Uuid,
    pub(in crate::audit) ms: i64,
    pub(in crate::audit) seq: i64,
    pub(in crate::audit) n_settled: i64,
    pub(in crate::audit) n_duplicates: i64,
    pub(in crate::audit) n_entries: Option<i64>,
}

/// Loads where a shard stands, in all the lives that it has had.
pub(in crate::audit) async fn load_offsets(
    db: &mut PgConnection,
    prefix: &str,
    shard: u16,
) -> Result<Vec<OffsetRow>, sqlx::Error> {
    sqlx::query_as!(
        OffsetRow,
        "select generation, ms, seq, n_settled, n_duplicates, n_entries
         from stream_offsets
         where prefix = $1 and shard = $2
         order by updated_at",
        prefix,
        i32::from(shard),
    )
    .fetch_all(db)
    .await
}
