-- Payments to self-employed persons whose receipt is missing, after a place, a page at a time.
-- $1 program, $2 currency, $3 $4 after this time and payout, $5 paid before, $6 rows at most
select p.payout_id as "payout_id: PayoutId", p.partner_id as "partner_id: PartnerId",
       n.name, n.email, p.tax_id,
       p.amount_minor + p.vat_minor - p.withheld_minor as "transfer_minor!",
       p.paid_at as "paid_at!", p.bank_reference
from payouts p
join partners n on n.partner_id = p.partner_id
where p.program_id = $1 and p.currency = $2
  and p.status = 'paid' and p.legal_type = 'npd' and p.receipt_no is null
  and (p.paid_at, p.payout_id) > ($3, $4) and p.paid_at < $5
order by p.paid_at, p.payout_id
limit $6
