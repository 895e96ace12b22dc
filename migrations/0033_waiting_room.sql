-- The waiting room gets bounds: since when a message waits decides when it is given up, and what is
-- given up, or finds no place, is a dead letter. Such a letter comes from no place in the stream.
alter table waiting_messages add column waiting_since timestamptz;
update waiting_messages set waiting_since = received_at;
alter table waiting_messages alter column waiting_since set not null;

create index waiting_messages_by_age on waiting_messages (waiting_since);

alter table dead_letters
    alter column prefix drop not null,
    alter column shard drop not null,
    alter column ms drop not null,
    alter column seq drop not null,
    alter column record drop not null,
    add constraint dead_letters_place_whole
        check (num_nulls(prefix, shard, ms, seq, record) in (0, 5));

alter table webhook_messages
    drop constraint webhook_messages_status_known,
    add constraint webhook_messages_status_known
        check (status in ('settled', 'duplicate', 'conflict', 'rejected', 'waiting', 'dead_letter'));

-- The report of what is attributed to nobody: few rows among many, by time.
create index conversions_unattributed on conversions (program_id, occurred_at, conversion_id)
    where attribution <> 'click';
create index webhook_messages_without_effect on webhook_messages (program_id, received_at)
    where status in ('rejected', 'conflict', 'waiting', 'dead_letter');
