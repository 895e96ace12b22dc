-- A conversion keeps the text of its click id, a click the key that was made from it. Program,
-- partner, link and millisecond stand in columns of both; the 40 random bits, which tell apart two
-- clicks of one link in one millisecond, stand inside. With them a click is found exactly.
create function random_of_click_id(click_id text) returns bit(40)
    language sql
    immutable
    strict
    set search_path = pg_catalog, public
as
$$
    -- 44 characters of base64url are 33 bytes; the random ones are the last before the signature.
    select case when click_id ~ '^[A-Za-z0-9_-]{44}$'
        then ('x' || encode(substring(
            decode(translate(click_id, '-_', '+/'), 'base64') from 18 for 5), 'hex'))::bit(40)
    end
$$;

create function random_of_click(click_key uuid) returns bit(40)
    language sql
    immutable
    strict
    set search_path = pg_catalog, public
as
$$
    -- A UUIDv7: 48 bits of time, 4 of version, 12 random ones, 2 of variant, 28 more random ones.
    select substring(('x' || replace(click_key::text, '-', ''))::bit(128) from 53 for 12)
        || substring(('x' || replace(click_key::text, '-', ''))::bit(128) from 67 for 28)
$$;
