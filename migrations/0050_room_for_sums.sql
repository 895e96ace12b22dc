-- Sums are rows that every batch changes. A page with room takes the new version of a row beside the old
-- one and no index hears of it; without, four of five updates wrote into the indexes too, which grew.
-- Pages that are full already get their room as they are rewritten.
alter table click_hours set (fillfactor = 75);
alter table click_landings set (fillfactor = 75);
alter table ledger_days set (fillfactor = 75);
alter table ledger_balances set (fillfactor = 50);
alter table ledger_heads set (fillfactor = 50);
alter table stream_offsets set (fillfactor = 50);
