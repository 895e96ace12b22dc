-- Who let a dead letter be read again: an operator answers for it.
alter table dead_letters
    add column replayed_by text,
    add constraint dead_letters_replayed_whole
        check ((replayed_at is null) = (replayed_by is null));

create index dead_letters_open on dead_letters (dead_letter_id) where replayed_at is null;
