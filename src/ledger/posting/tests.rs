//! What each constructor posts, by path and sign, and what none of them can be made to post.

use super::*;
use crate::ledger::proof;

fn eur(minor: i64) -> Money {
    Money::new(minor, "EUR".parse().unwrap())
}

fn at() -> Timestamp {
    "2026-11-22T10:15:04Z".parse().unwrap()
}

fn commission() -> CommissionRef {
    CommissionRef {
        program: ProgramId::new(),
        partner: PartnerId::new(),
        commission: CommissionId::new(),
        effective_at: at(),
    }
}

fn payout() -> PayoutRef {
    PayoutRef {
        program: ProgramId::new(),
        partner: PartnerId::new(),
        payout: PayoutId::new(),
        effective_at: at(),
    }
}

fn bank() -> BankLabel {
    "main".parse().unwrap()
}

/// Entries as `(last segments without identifiers, amount)`, for tables.
fn sides(posting: &Posting) -> Vec<(String, i64)> {
    let short = |path: String| {
        path.split(':')
            .filter(|s| !s.contains("pg_") && !s.contains("pt_"))
            .collect::<Vec<_>>()
            .join(":")
    };
    posting.entries().iter().map(|e| (short(e.account.path()), e.amount_minor)).collect()
}

fn expect(posting: Result<Posting, PostingError>, code: &str, entries: &[(&str, i64)]) {
    let posting = posting.unwrap();
    assert_eq!(posting.code().text(), code);
    assert!(posting.reference().starts_with(&format!("{code}:")), "{}", posting.reference());
    let found = sides(&posting);
    let found: Vec<(&str, i64)> = found.iter().map(|(path, n)| (path.as_str(), *n)).collect();
    assert_eq!(found, entries, "{code}");
}

const EXPENSE: &str = "expense:commission";
const PENDING: &str = "liability:partner:pending";
const PAYABLE: &str = "liability:partner:payable";

#[test]
fn commissions_post_as_the_table_says() {
    let (c, ten) = (commission(), eur(10));
    expect(Posting::accrue(c, ten), "accrue", &[(EXPENSE, 10), (PENDING, -10)]);
    expect(Posting::amend(c, ten, 1), "amend", &[(EXPENSE, 10), (PENDING, -10)]);
    expect(Posting::amend(c, eur(-4), 2), "amend", &[(EXPENSE, -4), (PENDING, 4)]);
    expect(Posting::approve(c, ten), "approve", &[(PAYABLE, -10), (PENDING, 10)]);
    expect(Posting::reject(c, ten), "reject", &[(EXPENSE, -10), (PENDING, 10)]);
    expect(Posting::reverse(c, ten), "reverse", &[(EXPENSE, -10), (PAYABLE, 10)]);
    expect(Posting::clawback(c, ten), "clawback", &[(EXPENSE, -10), (PAYABLE, 10)]);
    expect(Posting::adjust(c, eur(-4)), "adjust", &[(EXPENSE, -4), (PAYABLE, 4)]);
    expect(Posting::adjust(c, eur(4)), "adjust", &[(EXPENSE, 4), (PAYABLE, -4)]);
}

#[test]
fn gifts_post_against_their_own_expense() {
    let (pg, pt) = (ProgramId::new(), PartnerId::new());
    let entries = [("expense:adjustment", 10), (PAYABLE, -10)];
    expect(Posting::bonus(pg, pt, eur(10), "k-1", at()), "bonus", &entries);
    expect(Posting::write_off(pg, pt, eur(10), "k-1", at()), "write_off", &entries);
    assert!(Posting::bonus(pg, pt, eur(10), "two words", at()).is_err());
    assert!(Posting::bonus(pg, pt, eur(10), "a\nentry=x", at()).is_err());
}

#[test]
fn a_payout_moves_net_tax_and_transfer_and_comes_back_whole() {
    let amounts = PayoutAmounts { net: eur(100), vat: eur(20), withheld: eur(13) };
    let of = payout();
    let reserve = Posting::payout_reserve(of, amounts).unwrap();
    expect(
        Ok(reserve.clone()),
        "payout_reserve",
        &[
            ("asset:tax:vat_input", 20),
            (PAYABLE, 100),
            ("liability:payout:in_transit", -107),
            ("liability:tax:withheld", -13),
        ],
    );
    let pay = Posting::payout_pay(of, amounts, bank()).unwrap();
    expect(
        Ok(pay.clone()),
        "payout_pay",
        &[("asset:bank:main", -107), ("liability:payout:in_transit", 107)],
    );
    let back = Posting::payout_return(of, amounts, bank()).unwrap();
    let left = proof::balances([&reserve, &pay, &back]);
    assert!(left.values().all(|&sum| sum == 0), "{left:?}");

    let plain = PayoutAmounts { net: eur(100), vat: eur(0), withheld: eur(0) };
    let entries = [(PAYABLE, 100), ("liability:payout:in_transit", -100)];
    expect(Posting::payout_reserve(of, plain), "payout_reserve", &entries);
}

#[test]
fn calling_a_payout_off_reverses_its_own_reserve_exactly() {
    let amounts = PayoutAmounts { net: eur(100), vat: eur(20), withheld: eur(13) };
    let of = payout();
    let posting = Posting::payout_reserve(of, amounts).unwrap();
    let reserve = LedgerTransaction { id: LedgerTransactionId::new(), recorded_at: at(), posting };
    for make in [Posting::payout_cancel, Posting::payout_fail] {
        let off = make(of, &reserve).unwrap();
        assert_eq!(off.reverses(), Some(reserve.id));
        assert!(proof::balances([&reserve.posting, &off]).values().all(|&sum| sum == 0));
        let other = make(payout(), &reserve);
        assert!(matches!(other, Err(PostingError::NotItsReserve { .. })));
    }
}

#[test]
fn amounts_that_would_turn_a_posting_around_are_refused() {
    let c = commission();
    for amount in [eur(0), eur(-1)] {
        for make in [Posting::accrue, Posting::approve, Posting::reject, Posting::reverse] {
            assert!(matches!(make(c, amount), Err(PostingError::NotPositive { .. })));
        }
        assert!(matches!(Posting::clawback(c, amount), Err(PostingError::NotPositive { .. })));
    }
    assert_eq!(Posting::amend(c, eur(0), 1), Err(PostingError::Nothing { code: Code::Amend }));
    assert_eq!(Posting::adjust(c, eur(0)), Err(PostingError::Nothing { code: Code::Adjust }));
    let negative_vat = PayoutAmounts { net: eur(100), vat: eur(-1), withheld: eur(0) };
    assert!(Posting::payout_reserve(payout(), negative_vat).is_err());
    let yen = Money::new(1, "JPY".parse().unwrap());
    let mixed = PayoutAmounts { net: eur(100), vat: yen, withheld: eur(0) };
    assert!(matches!(Posting::payout_reserve(payout(), mixed), Err(PostingError::Money(_))));
}

#[test]
fn rows_read_back_make_a_posting_only_if_they_balance() {
    let pg = ProgramId::new();
    let head = || Head {
        program: pg,
        code: Code::Accrue,
        reference: "accrue:x".into(),
        effective_at: at(),
        currency: "EUR".parse().unwrap(),
        reverses: None,
    };
    let entry = |account, amount_minor| Entry { account, amount_minor };
    let (expense, vat) = (Account::CommissionExpense(pg), Account::VatInput(pg));
    let make = |entries| Posting::from_entries(head(), entries);
    assert!(make(vec![entry(expense.clone(), 1), entry(vat.clone(), -1)]).is_ok());
    let off = make(vec![entry(expense.clone(), 2), entry(vat.clone(), -1)]);
    assert_eq!(off, Err(PostingError::Unbalanced { sum_minor: 1 }));
    for bad in [
        vec![],
        vec![entry(expense.clone(), 1)],
        vec![entry(expense.clone(), 0), entry(vat.clone(), 0)],
        vec![entry(expense.clone(), 1), entry(expense.clone(), -1)],
    ] {
        assert_eq!(make(bad), Err(PostingError::BadEntries));
    }
    let foreign = Account::VatInput(ProgramId(uuid::Uuid::nil()));
    let mixed = make(vec![entry(expense, 1), entry(foreign, -1)]);
    assert!(matches!(mixed, Err(PostingError::ForeignAccount { .. })));
}

#[test]
fn codes_read_back_from_their_text() {
    for code in Code::ALL {
        assert_eq!(Code::from_text(code.text()), Some(code));
    }
    assert_eq!(Code::from_text("settle"), None);
}
