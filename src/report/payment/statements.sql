-- Statements of closed months after a place, a page at a time.
-- $1 program, $2 currency, $3 $4 after this month and partner, $5 up to this month, $6 rows at most
select s.statement_id as "statement_id: StatementId", s.number, s.period,
       s.partner_id as "partner_id: PartnerId", n.name, s.pending_opening_minor,
       s.pending_closing_minor, s.opening_minor, s.closing_minor, s.n_lines, s.sha256,
       s.created_at
from statements s
join partners n on n.partner_id = s.partner_id
where s.program_id = $1 and s.currency = $2
  and (s.period, s.partner_id) > ($3, $4) and s.period <= $5
order by s.period, s.partner_id
limit $6
