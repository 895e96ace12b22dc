-- Calls of a time that were refused because nobody knows who sent them, a page at a time, each with
-- the secret that the shop should have, and which of the orders that it named came later after all.
-- $1 program, $2 from, $3 to, $4 $5 $6 $7 after this hour, source, channel and reason, $8 rows at most
select r.hour, r.source_id as "source_id: SourceId", s.name as source_name, r.channel, r.reason,
       r.n_calls, r.first_at, r.last_at, r.behind_s, r.message_ids, r.order_ids,
       array(select n.id
             from unnest(r.order_ids) as n (id)
             where exists (
                 select from conversions c
                 where c.program_id = r.program_id and c.order_namespace = s.order_namespace
                   and c.event in ('sale', 'lead', 'signup', 'install', 'renewal')
                   and c.dedup_ref = n.id)) as "came_since!",
       k.secret_id as "secret_id?: SecretId", k.created_at as "secret_at?", e.expires_at as "ended_at?"
from calls_refused r
join sources s on s.program_id = r.program_id and s.source_id = r.source_id
left join lateral (
    select k.secret_id, k.created_at
    from source_secrets k
    where k.program_id = r.program_id and k.source_id = r.source_id and k.expires_at is null
    order by k.secret_id desc
    limit 1) k on true
left join lateral (
    select e.expires_at
    from source_secrets e
    where e.program_id = r.program_id and e.source_id = r.source_id and e.expires_at <= r.last_at
    order by e.expires_at desc
    limit 1) e on true
where r.program_id = $1 and r.hour >= $2 and r.hour < $3
  and (r.hour, r.source_id, r.channel, r.reason) > ($4, $5, $6, $7)
order by r.hour, r.source_id, r.channel, r.reason
limit $8
