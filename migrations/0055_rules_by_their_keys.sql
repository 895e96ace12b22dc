-- What the rules of a statement look up they look up by its key. A connection keeps the plan that was made
-- when its tables were small, and read all of a table then, until PostgreSQL has counted it again: in the
-- first minutes of a database each batch took longer than the one before it.
alter function check_ledger_entries() set enable_seqscan = off;
alter function check_ledger_entries() set enable_hashjoin = off;
alter function check_ledger_entries() set enable_mergejoin = off;
alter function refuse_what_names_nothing() set enable_seqscan = off;
alter function refuse_what_names_nothing() set enable_hashjoin = off;
alter function refuse_what_names_nothing() set enable_mergejoin = off;

-- A transaction is asked for by its id alone by people, now and then, and written all day: whoever asks
-- looks into the key of each program, of which there are few.
drop index ledger_transactions_by_id;
