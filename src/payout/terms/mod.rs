//! Payout terms of a program: how often it pays, how many days later, and the least it pays.

pub mod http;
pub mod store;

use crate::money::{Currency, Money};

/// The smallest payouts that were ever said for a partner in a currency, in minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Minimums {
    /// The partner's own in this currency.
    pub of_partner: Option<i64>,
    /// The partner's own of its enrollment, in the program's currency.
    pub of_enrollment: Option<i64>,
    /// The program's in this currency.
    pub of_program: Option<i64>,
    /// The program's basic one, in its own currency.
    pub basic: i64,
}

impl Minimums {
    /// Returns the one that counts: the partner's before the program's, that of the currency
    /// before the basic one. An amount of another currency would mean another sum: it is none.
    pub fn smallest(&self, currency: Currency, program_currency: &str) -> Money {
        let is_its_own = program_currency == currency.code();
        let own = self.of_partner.or(self.of_enrollment.filter(|_| is_its_own));
        let usual = self.of_program.unwrap_or(if is_its_own { self.basic } else { 0 });
        Money::new(own.unwrap_or(usual), currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_minimum_counts() {
        let (eur, usd): (Currency, Currency) = ("EUR".parse().unwrap(), "USD".parse().unwrap());
        let all =
            Minimums { of_partner: Some(1), of_enrollment: Some(2), of_program: Some(3), basic: 4 };
        let cases = [
            (all, 1, 1),
            (Minimums { of_partner: None, ..all }, 2, 3),
            (Minimums { of_partner: None, of_enrollment: None, ..all }, 3, 3),
            (Minimums { basic: 4, ..Minimums::default() }, 4, 0),
            (Minimums { of_partner: Some(0), ..all }, 0, 0),
        ];
        for (minimums, in_eur, in_usd) in cases {
            assert_eq!(minimums.smallest(eur, "EUR").minor, in_eur, "{minimums:?}");
            assert_eq!(minimums.smallest(usd, "EUR").minor, in_usd, "{minimums:?}");
        }
    }
}
