-- A partner may sign links itself, with a key derived from its numbers and an epoch. Raising the
-- epoch makes a new key; the one before it stays good until a time, so that pages can be changed
-- in peace. Links that partners sign get their row at their first click, up to a bound: a partner
-- must not be able to fill the table.
alter table enrollments
    add column mint_previous_until timestamptz,
    add column minted_links_max    integer not null default 10000,
    add constraint enrollments_minted_links check (minted_links_max between 0 and 1000000);
