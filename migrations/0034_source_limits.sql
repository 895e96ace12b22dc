-- A source may have a rate of its own, and its manager may say that what rests on its postbacks alone
-- is approved by time like anything else.
alter table sources
    add column requests_per_second integer,
    add constraint sources_rate_range check (requests_per_second between 1 and 1000000);

alter table source_postbacks add column approves_by_time boolean not null default false;
