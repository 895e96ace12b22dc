-- A shop may name every click on the way to a conversion; the model of the attribution policy shares
-- the conversion among those that count. What was found is kept as it was found: keys rotate,
-- policies change, and an update of the order says nothing about its path.
alter table conversions
    -- Null where the shop named no path.
    add column path jsonb;
