//! Tables and properties of money: exactness, symmetry, and every refusal.

use proptest::prelude::*;

use super::*;

fn currency(code: &str) -> Currency {
    code.parse().unwrap()
}

fn eur(minor: i64) -> Money {
    Money::new(minor, currency("EUR"))
}

#[test]
fn only_currencies_one_can_pay_in_are_currencies() {
    for (code, exponent) in [("EUR", 2), ("JPY", 0), ("KWD", 3), ("RUB", 2), ("HRK", 2)] {
        assert_eq!(currency(code).code(), code);
        assert_eq!(currency(code).exponent(), exponent);
    }
    for code in ["XTS", "XXX", "XAU", "XDR", "CHE", "CLF", "XAD", "eur", "EU", "EURO", "", "€"] {
        assert!(code.parse::<Currency>().is_err(), "{code}");
    }
}

#[test]
fn amounts_are_read_exactly_and_written_back() {
    for (text, code, minor, written) in [
        ("149.90", "EUR", 14_990, "149.90"),
        ("149.9", "EUR", 14_990, "149.90"),
        ("149", "EUR", 14_900, "149.00"),
        ("0.01", "EUR", 1, "0.01"),
        ("007", "EUR", 700, "7.00"),
        ("150", "JPY", 150, "150"),
        ("1.005", "KWD", 1_005, "1.005"),
        ("10000000000.00", "EUR", AMOUNT_MINOR_MAX, "10000000000.00"),
        ("1000000000000", "JPY", AMOUNT_MINOR_MAX, "1000000000000"),
    ] {
        let money = Money::parse_amount(text, currency(code), AmountRule::Positive).unwrap();
        assert_eq!((money.minor, money.to_decimal_string().as_str()), (minor, written));
    }
    assert_eq!(eur(-5).to_decimal_string(), "-0.05");
    assert_eq!(eur(i64::MIN).to_decimal_string(), "-92233720368547758.08");
    assert_eq!(eur(-14_990).to_string(), "-149.90 EUR");
}

#[test]
fn every_other_spelling_is_refused_with_its_remedy() {
    for (text, code, remedy) in [
        ("", "EUR", "send it like 149.90"),
        ("149,90", "EUR", "use a dot"),
        ("1,234.50", "EUR", "use a dot"),
        ("-1", "EUR", "without a sign"),
        ("+1", "EUR", "without a sign"),
        ("−1", "EUR", "without a sign"),
        ("1e2", "EUR", "without an exponent"),
        ("1E400", "EUR", "without an exponent"),
        ("1 000", "EUR", "remove the spaces"),
        (" 1", "EUR", "remove the spaces"),
        ("1\u{a0}000", "EUR", "remove the spaces"),
        ("1\n", "EUR", "remove the spaces"),
        ("1_000", "EUR", "remove the thousands marks"),
        ("1'000", "EUR", "remove the thousands marks"),
        ("1.234.567", "EUR", "one dot"),
        (".5", "EUR", "both sides"),
        ("5.", "EUR", "both sides"),
        (".", "EUR", "both sides"),
        ("NaN", "EUR", "'N' is not a digit"),
        ("Infinity", "EUR", "'I' is not a digit"),
        ("0x10", "EUR", "'x' is not a digit"),
        ("٣", "EUR", "'٣' is not a digit"),
        ("€5", "EUR", "'€' is not a digit"),
        ("e5", "EUR", "'e' is not a digit"),
        ("1.005", "EUR", "has 3 decimals, EUR has 2"),
        ("149.900", "EUR", "has 3 decimals, EUR has 2"),
        ("150.0", "JPY", "has 1 decimals, JPY has 0"),
        ("0", "EUR", "at least 0.01 EUR"),
        ("0.00", "EUR", "at least 0.01 EUR"),
        ("10000000000.01", "EUR", "at most 10000000000.00 EUR"),
        ("1000000000000000000", "EUR", "at most"),
        ("99999999999999999999999999999999", "EUR", "at most"),
        ("000000000000000000000000000000001", "EUR", "more than 32"),
    ] {
        let refusal = Money::parse_amount(text, currency(code), AmountRule::Positive).unwrap_err();
        assert!(refusal.to_string().contains(remedy), "{text:?}: {refusal}");
    }
    let free = Money::parse_amount("0.00", currency("EUR"), AmountRule::ZeroOrMore);
    assert_eq!(free, Ok(eur(0)));
}

#[test]
fn a_json_number_is_read_from_its_digits() {
    let read = |json: &str| {
        let number: serde_json::Number = serde_json::from_str(json).unwrap();
        Money::parse_json_amount(&number, currency("EUR"), AmountRule::Positive)
    };
    assert_eq!(read("149.90"), Ok(eur(14_990)));
    assert_eq!(read("0.07"), Ok(eur(7)));
    assert!(matches!(read("1e2"), Err(AmountError::Exponent { .. })));
    assert!(matches!(read("1E+2"), Err(AmountError::Exponent { .. } | AmountError::Sign { .. })));
    assert!(matches!(read("-1"), Err(AmountError::Sign { .. })));
    assert!(matches!(read("9007199254740993"), Err(AmountError::TooLarge { .. })));
    assert!(matches!(read("0.30000000000000004"), Err(AmountError::TooPrecise { .. })));
}

#[test]
fn halves_round_as_the_mode_says_on_both_sides_of_zero() {
    // 25 minor units at 50 % are 12.5.
    for (minor, even, up, down) in [(25, 12, 13, 12), (27, 14, 14, 13), (26, 13, 13, 13)] {
        for sign in [1, -1] {
            for (mode, expected) in Rounding::ALL.into_iter().zip([even, up, down]) {
                let half = eur(sign * minor).mul_bps(Bps(5_000), mode).unwrap();
                assert_eq!(half, eur(sign * expected), "{minor} {mode:?}");
            }
        }
    }
    assert_eq!(eur(14_990).mul_bps(Bps(2_000), Rounding::HalfEven), Ok(eur(2_998)));
    // 1.26 rounds up where a half does; 1.24 nowhere.
    assert_eq!(eur(126).mul_bps(Bps(100), Rounding::HalfEven), Ok(eur(1)));
    assert_eq!(eur(151).mul_bps(Bps(100), Rounding::HalfEven), Ok(eur(2)));
    assert_eq!(eur(151).mul_bps(Bps(100), Rounding::Down), Ok(eur(1)));
}

#[test]
fn mixing_currencies_and_overflow_are_errors() {
    let yen = Money::new(1, currency("JPY"));
    let mismatch = MoneyError::CurrencyMismatch { left: currency("EUR"), right: currency("JPY") };
    assert_eq!(eur(1).checked_add(yen), Err(mismatch));
    assert_eq!(eur(1).checked_sub(yen), Err(mismatch));
    assert_eq!(eur(1).allocate(&[yen]), Err(mismatch));
    assert_eq!(eur(i64::MAX).checked_add(eur(1)), Err(MoneyError::Overflow));
    assert_eq!(eur(i64::MIN).checked_sub(eur(1)), Err(MoneyError::Overflow));
    assert_eq!(eur(i64::MIN).checked_neg(), Err(MoneyError::Overflow));
    assert_eq!(eur(i64::MAX).mul_bps(Bps(10_001), Rounding::Down), Err(MoneyError::Overflow));
    assert_eq!(eur(i64::MAX).mul_bps(Bps::WHOLE, Rounding::Down), Ok(eur(i64::MAX)));
    assert_eq!(eur(1).mul_ratio(1, 0, Rounding::Down), Err(MoneyError::NoDivisor));
    assert_eq!(eur(1).split(&[0, 0]), Err(MoneyError::NoDivisor));
    assert_eq!(eur(1).split(&[]), Err(MoneyError::NoDivisor));
    assert_eq!(eur(1).allocate(&[eur(0)]), Err(MoneyError::NoDivisor));
    assert_eq!(eur(1).allocate(&[eur(-1), eur(2)]), Err(MoneyError::NoDivisor));
}

#[test]
fn leftover_units_go_to_the_largest_remainders() {
    let minors = |parts: Vec<Money>| parts.into_iter().map(|m| m.minor).collect::<Vec<_>>();
    assert_eq!(minors(eur(100).split(&[1, 1, 1]).unwrap()), [34, 33, 33]);
    assert_eq!(minors(eur(-100).split(&[1, 1, 1]).unwrap()), [-34, -33, -33]);
    assert_eq!(minors(eur(100).split(&[0, 1, 2]).unwrap()), [0, 33, 67]);
    assert_eq!(minors(eur(10).allocate(&[eur(333), eur(333), eur(334)]).unwrap()), [3, 3, 4]);
}

#[test]
fn rates_are_written_as_people_write_them() {
    for (bps, text) in [(2_000, "20 %"), (750, "7.5 %"), (5, "0.05 %"), (1_234, "12.34 %")] {
        assert_eq!(Bps(bps).to_string(), text);
    }
}

proptest! {
    #[test]
    fn written_amounts_read_back(minor in 0..=AMOUNT_MINOR_MAX, code in "EUR|JPY|KWD|UYU|RUB") {
        let money = Money::new(minor, currency(&code));
        let text = money.to_decimal_string();
        prop_assert_eq!(Money::parse_amount(&text, money.currency, AmountRule::ZeroOrMore), Ok(money));
    }

    #[test]
    fn reading_agrees_with_a_decimal_library(text in "[0-9]{1,9}(\\.[0-9]{1,4})?") {
        let exact: rust_decimal::Decimal = text.parse().unwrap();
        let minor = exact * rust_decimal::Decimal::ONE_HUNDRED;
        match Money::parse_amount(&text, currency("EUR"), AmountRule::ZeroOrMore) {
            Ok(money) => prop_assert_eq!(rust_decimal::Decimal::from(money.minor), minor),
            Err(refusal) => {
                let too_precise = matches!(refusal, AmountError::TooPrecise { .. });
                prop_assert!(too_precise, "{refusal}");
            }
        }
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,40}") {
        let _unread = Money::parse_amount(&text, currency("EUR"), AmountRule::Positive);
    }

    #[test]
    fn parts_sum_to_the_whole(minor: i64, weights in prop::collection::vec(0u32.., 1..9)) {
        prop_assume!(weights.iter().any(|&w| w > 0));
        let parts = eur(minor).split(&weights).unwrap();
        prop_assert_eq!(parts.iter().map(|m| i128::from(m.minor)).sum::<i128>(), i128::from(minor));
        let total: i128 = weights.iter().map(|&w| i128::from(w)).sum();
        for (part, &weight) in parts.iter().zip(&weights) {
            let error = i128::from(part.minor) * total - i128::from(minor) * i128::from(weight);
            prop_assert!(error.abs() < total, "more than a unit from the exact share");
        }
    }

    #[test]
    fn allocations_sum_to_the_whole(
        minor in -AMOUNT_MINOR_MAX..=AMOUNT_MINOR_MAX,
        to in prop::collection::vec(0i64..=AMOUNT_MINOR_MAX, 1..9),
    ) {
        prop_assume!(to.iter().any(|&m| m > 0));
        let to: Vec<Money> = to.into_iter().map(eur).collect();
        let parts = eur(minor).allocate(&to).unwrap();
        prop_assert_eq!(parts.iter().map(|m| m.minor).sum::<i64>(), minor);
    }

    #[test]
    fn rounding_is_within_a_unit_symmetric_and_never_falls(
        minor in 0..=AMOUNT_MINOR_MAX, bps in 0u32..=10_000, mode in prop::sample::select(&Rounding::ALL),
    ) {
        let part = eur(minor).mul_bps(Bps(bps), mode).unwrap();
        let error = i128::from(part.minor) * 10_000 - i128::from(minor) * i128::from(bps);
        prop_assert!(error.abs() < 10_000);
        prop_assert!(mode == Rounding::Down || error.abs() <= 5_000);
        prop_assert_eq!(eur(-minor).mul_bps(Bps(bps), mode), part.checked_neg());
        prop_assert!(eur(minor + 1).mul_bps(Bps(bps), mode).unwrap().minor >= part.minor);
        prop_assert!(part.minor <= minor);
    }
}
