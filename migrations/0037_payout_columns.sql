-- A payout keeps what tax law said when it was made, so that its line in a report is the same for
-- ever; before, only the amounts were kept. What is asked for by partner gets an index of its own.
alter table payouts
    add column tax_id       text,
    add column vat_id       text,
    add column vat_rate_bps integer;

create index payout_carried_forward_by_partner
    on payout_carried_forward (program_id, partner_id);
create index payouts_receipts_open on payouts (program_id, paid_at, payout_id)
    where status = 'paid' and legal_type = 'npd' and receipt_no is null;
