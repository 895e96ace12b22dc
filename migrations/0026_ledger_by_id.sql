-- A ledger transaction is asked for by its id alone.
create index ledger_transactions_by_id on ledger_transactions (ledger_transaction_id);
