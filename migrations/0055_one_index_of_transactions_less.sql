-- A transaction is asked for by its id alone by people, now and then, and written all day: whoever asks
-- looks into the key of each program, of which there are few.
drop index ledger_transactions_by_id;
