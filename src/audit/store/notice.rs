//! Queries about what leaves the service: notices and their deliveries.

use super::paged;

paged! {
    /// Judges whether no notice was passed over, and each delivery says how it ended.
    notices of "notice": "notices", "notice_id", ", t.kind, t.created_at, t.dispatched_at",
    "select p.program_id, p.id,
            case when d.n_bad > 0
                   or (p.dispatched_at is null and l.dispatched_at > p.created_at + interval '1 day')
                   or p.dispatched_at < p.created_at - interval '5 s' then
                jsonb_build_object('kind', p.kind, 'created_at', p.created_at,
                                   'dispatched_at', p.dispatched_at,
                                   'later_ones_dispatched_at', l.dispatched_at,
                                   'bad_deliveries', d.n_bad)
            end as wrong
     from page p
     cross join lateral (
         select count(*) filter (
                    where (d.status = 'delivered') <> (d.delivered_at is not null)
                       or (d.status = 'failed' and d.attempts = 0)) as n_bad
         from deliveries d
         where d.program_id = p.program_id and d.notice_id = p.id) d
     left join lateral (
         select max(n.dispatched_at) as dispatched_at
         from notices n
         where p.dispatched_at is null
           and n.program_id = p.program_id and n.created_at > p.created_at) l on true"
}
