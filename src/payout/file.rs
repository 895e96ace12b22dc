//! The payment file of a batch: plain CSV for a bank's own import or a person's hands. Pure.
//!
//! RFC 4180: comma, CRLF, header row, UTF-8 without mark, amounts with a dot. The reference is
//! the payout's id, 29 characters: it fits the 35 of a SEPA end-to-end id, and finds the payout
//! again on the bank's statement.

use csv::{Terminator, WriterBuilder};

use crate::payout::Payout;

/// Writes payouts, in the order given.
///
/// The name of the partner is text that somebody typed; it is not guarded against spreadsheets,
/// because a bank must get it unchanged.
pub fn csv(payouts: &[Payout]) -> Vec<u8> {
    const IN_MEMORY: &str = "writing to memory cannot fail";
    let mut out = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
    out.write_record(["payout_id", "partner", "amount", "currency", "reference"]).expect(IN_MEMORY);
    for payout in payouts {
        let id = payout.payout_id.to_string();
        let amount = payout.amount.to_decimal_string();
        let currency = payout.amount.currency.code();
        out.write_record([&id, &payout.partner_name, &amount, currency, &id]).expect(IN_MEMORY);
    }
    out.into_inner().expect(IN_MEMORY)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::ids::{LedgerTransactionId, PartnerId, PayoutBatchId, PayoutId, ProgramId};
    use crate::money::Money;
    use crate::payout::state::PayoutState;

    #[test]
    fn the_file_is_this_to_the_byte() {
        let payout = |n: u128, name: &str, minor: i64, currency: &str| Payout {
            program_id: ProgramId(Uuid::nil()),
            payout_id: PayoutId(Uuid::from_u128(n)),
            payout_batch_id: PayoutBatchId(Uuid::nil()),
            partner_id: PartnerId(Uuid::nil()),
            partner_name: name.to_owned(),
            amount: Money::new(minor, currency.parse().unwrap()),
            state: PayoutState::Approved,
            bank_reference: None,
            failure_reason: None,
            paid_at: None,
            reserve_transaction_id: LedgerTransactionId(Uuid::nil()),
            pay_transaction_id: None,
        };
        let file =
            csv(&[payout(1, "Müller, \"Otto\"", 123_450, "EUR"), payout(2, "Ana", 7, "JPY")]);
        assert_eq!(
            String::from_utf8(file).unwrap(),
            "payout_id,partner,amount,currency,reference\r\n\
             po_00000000000000000000000001,\"Müller, \"\"Otto\"\"\",1234.50,EUR,\
             po_00000000000000000000000001\r\n\
             po_00000000000000000000000002,Ana,7,JPY,po_00000000000000000000000002\r\n"
        );
    }
}
