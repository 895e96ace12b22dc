//! Any sequence of postings balances; any change to a stored one is found.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::ids::{CommissionId, PartnerId, PayoutId, ProgramId};
use crate::ledger::posting::{CommissionRef, PayoutAmounts, PayoutRef};
use crate::money::Money;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_timestamp(1_795_342_504 + seconds, 0).unwrap()
}

/// Makes the `kind`-th posting for one of three partners.
fn post(kind: u8, partner: u8, minor: i64, currency: Currency, serial: i64) -> Posting {
    let program = ProgramId(Uuid::from_u128(7));
    let partner = PartnerId(Uuid::from_u128(u128::from(partner)));
    let amount = Money::new(minor, currency);
    let effective_at = at(serial);
    let commission = CommissionId(Uuid::from_u128(serial.unsigned_abs().into()));
    let c = CommissionRef { program, partner, commission, effective_at };
    let payout = PayoutId(Uuid::from_u128(serial.unsigned_abs().into()));
    let p = PayoutRef { program, partner, payout, effective_at };
    let part = |n| Money::new(minor / n, currency);
    let amounts = PayoutAmounts { net: amount, vat: part(5), withheld: part(7) };
    let bank = || "main".parse().unwrap();
    let posting = match kind {
        0 => Posting::accrue(c, amount),
        1 => Posting::amend(c, amount.checked_neg().unwrap(), 1),
        2 => Posting::approve(c, amount),
        3 => Posting::reject(c, amount),
        4 => Posting::reverse(c, amount),
        5 => Posting::clawback(c, amount),
        6 => Posting::adjust(c, amount),
        7 => Posting::bonus(program, partner, amount, "key", effective_at),
        8 => Posting::write_off(program, partner, amount, "key", effective_at),
        9 => Posting::payout_reserve(p, amounts),
        10 => Posting::payout_pay(p, amounts, bank()),
        11 => Posting::payout_return(p, amounts, bank()),
        _ => {
            let posting = Posting::payout_reserve(p, amounts).unwrap();
            Posting::payout_fail(p, &stored(posting, serial))
        }
    };
    posting.unwrap()
}

fn stored(posting: Posting, serial: i64) -> LedgerTransaction {
    let id = LedgerTransactionId(Uuid::from_u128(serial.unsigned_abs().into()));
    LedgerTransaction { id, recorded_at: at(serial), posting }
}

fn any_book() -> impl Strategy<Value = Vec<LedgerTransaction>> {
    let one = (0u8..13, 0u8..3, 10i64..1_000_000_000_000, "EUR|JPY|KWD");
    prop::collection::vec(one, 1..30).prop_map(|acts| {
        acts.into_iter()
            .zip(1..)
            .map(|((kind, partner, minor, code), serial)| {
                stored(post(kind, partner, minor, code.parse().unwrap(), serial), serial)
            })
            .collect()
    })
}

fn hashes(book: &[LedgerTransaction]) -> Vec<ChainHash> {
    book.iter()
        .scan(GENESIS, |previous, transaction| {
            *previous = chain(previous, transaction);
            Some(*previous)
        })
        .collect()
}

proptest! {
    #[test]
    fn any_sequence_of_postings_balances(book in any_book()) {
        let proven = prove(book.iter().flat_map(rows)).unwrap();
        prop_assert_eq!(&proven, &balances(book.iter().map(|t| &t.posting)));
        for currency in ["EUR", "JPY", "KWD"] {
            let currency: Currency = currency.parse().unwrap();
            let sum: i128 = proven.iter().filter(|((_, c), _)| *c == currency).map(|(_, n)| n).sum();
            prop_assert_eq!(sum, 0);
        }
    }

    #[test]
    fn a_changed_row_is_found_by_the_proof(book in any_book(), pick: prop::sample::Index) {
        let mut all: Vec<BookRow> = book.iter().flat_map(rows).collect();
        let row = pick.get(&all).clone();
        pick.get_mut(&mut all).amount_minor += 1;
        let errors = prove(all).unwrap_err();
        let found = errors.contains(&ProofError::Unbalanced {
            transaction: row.transaction, currency: row.currency, sum_minor: 1,
        });
        prop_assert!(found, "{errors:?}");
    }

    #[test]
    fn the_chain_holds_and_breaks_where_it_was_changed(book in any_book(), pick: prop::sample::Index) {
        let kept = hashes(&book);
        let walk = |book: &[LedgerTransaction]| {
            verify_chain(GENESIS, book.iter().zip(kept.iter().copied()))
        };
        prop_assert_eq!(walk(&book), Ok(*kept.last().unwrap()));

        let at = pick.index(book.len());
        let mut changed = book.clone();
        changed[at].recorded_at += chrono::Duration::microseconds(1);
        prop_assert_eq!(walk(&changed), Err(BrokenChain { at: book[at].id }));

        let mut shortened = book.clone();
        shortened.remove(at);
        prop_assert_eq!(walk(&shortened).is_ok(), at == book.len() - 1, "the tail cannot be seen");
    }
}

#[test]
fn a_zero_entry_is_found() {
    let transaction = LedgerTransactionId::new();
    let account = Account::VatInput(ProgramId::new());
    let row = BookRow { transaction, account, currency: "EUR".parse().unwrap(), amount_minor: 0 };
    assert_eq!(prove([row]), Err(vec![ProofError::ZeroEntry { transaction }]));
}

#[test]
fn the_canonical_form_stays_what_it_was() {
    let transaction = stored(post(0, 1, 2_998, "EUR".parse().unwrap(), 1), 1);
    let text = String::from_utf8(canonical(&transaction)).unwrap();
    let zeros = "0".repeat(25);
    assert_eq!(
        text,
        format!(
            "tributary/ledger/v1\nid=tx_{zeros}1\nprogram=pg_{zeros}7\ncode=accrue\n\
             reference=accrue:cm_{zeros}1\ncurrency=EUR\neffective_at=2026-11-22T10:15:05.000000Z\n\
             recorded_at=2026-11-22T10:15:05.000000Z\nreverses=-\n\
             entry=expense:commission:pg_{zeros}7=2998\n\
             entry=liability:partner:pg_{zeros}7:pt_{zeros}1:pending=-2998\n"
        )
    );
    let sum = chain(&GENESIS, &transaction);
    let expected = Sha256::digest([&GENESIS[..], text.as_bytes()].concat());
    assert_eq!(sum[..], expected[..]);
}
