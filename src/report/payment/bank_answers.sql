-- Rows of bank files with a verdict that somebody must look at.
-- $1 program, $2 currency, $3 from, $4 to, $5 such verdicts
select i.payout_batch_id as "payout_batch_id: PayoutBatchId", b.period, i.sha256,
       i.format, v.line, v.payout_id, v.reference, v.verdict, v.detail, i.created_at,
       i.created_by as "created_by: UserId"
from payout_imports i
join payout_batches b
  on b.program_id = i.program_id and b.payout_batch_id = i.payout_batch_id
cross join lateral jsonb_to_recordset(i.verdicts)
    as v (line bigint, payout_id text, reference text, verdict text, detail text)
where i.program_id = $1 and b.currency = $2
  and i.created_at >= $3 and i.created_at < $4
  and v.verdict = any($5)
order by i.created_at, i.payout_batch_id, i.sha256, v.line
