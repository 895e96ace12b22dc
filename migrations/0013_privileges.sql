-- Two roles: the owner migrates; the service owns nothing, and cannot change or remove a row of
-- the ledger or of the audit log even if its code wanted to.
do
$$
begin
    if not exists (select 1 from pg_roles where rolname = 'tributary_service') then
        create role tributary_service nologin;
    end if;
exception
    -- Another database of the same server is being migrated at this moment.
    when duplicate_object or unique_violation then null;
end
$$;

grant usage on schema public to tributary_service;
grant select, insert, update, delete on all tables in schema public to tributary_service;
grant usage on all sequences in schema public to tributary_service;
revoke update, delete on ledger_entries, ledger_transactions, ledger_accounts, audit_log,
    plan_versions, commission_history, conversion_refunds, payout_carried_forward, payout_files
    from tributary_service;
revoke insert, update, delete on ledger_balances, snapshot_version, _sqlx_migrations
    from tributary_service;
