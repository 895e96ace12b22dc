//! Money: whole minor units of one ISO 4217 currency, and the only place that rounds or splits.
//!
//! An amount is an `i64` of minor units (cents, yen, fils) beside its [`Currency`]. Adding two
//! currencies, or overflowing, is an error, never a wrong figure. Products are taken in `i128`, so
//! a rate cannot overflow on the way to an amount that fits. Text becomes money once, at the edge,
//! by [`Money::parse_amount`], which rounds nothing: what it cannot hold exactly it refuses.

use std::fmt;
use std::str::FromStr;

mod amount;

pub use amount::{AMOUNT_MINOR_MAX, AmountError, AmountRule};

/// A currency of ISO 4217 in which a sale can be paid.
///
/// Metals, fund codes, units of account and the test codes (`XAU`, `CHE`, `XDR`, `XTS`, `XXX`)
/// are not. Retired currencies are: rows written before the change must stay readable.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Currency(iso_currency::Currency);

/// Says that a text is not the code of a currency.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not a currency: send three upper-case letters of ISO 4217, like EUR")]
pub struct UnknownCurrency {
    /// What stood there, cut to 16 characters.
    pub found: String,
}

impl Currency {
    /// Returns the code: three upper-case letters.
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// Returns how many decimals the major unit has: JPY 0, EUR 2, KWD 3; at most 4.
    pub fn exponent(self) -> u32 {
        self.0.exponent().map(u32::from).expect("a currency without exponent is refused on reading")
    }
}

impl FromStr for Currency {
    type Err = UnknownCurrency;

    fn from_str(code: &str) -> Result<Self, UnknownCurrency> {
        iso_currency::Currency::from_code(code)
            .filter(|c| {
                c.code() == code && c.exponent().is_some() && !c.is_special() && !c.is_fund()
            })
            .map(Self)
            .ok_or_else(|| UnknownCurrency { found: code.chars().take(16).collect() })
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A rate in basis points: hundredths of a percent, so 2000 is 20 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bps(pub u32);

impl Bps {
    /// The whole: 100 %.
    pub const WHOLE: Self = Self(10_000);
}

impl fmt::Display for Bps {
    /// Writes the percentage: `20 %`, `7.5 %`, `0.05 %`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 100, self.0 % 100);
        match rest {
            0 => write!(f, "{whole} %"),
            tenths if tenths % 10 == 0 => write!(f, "{whole}.{} %", tenths / 10),
            hundredths => write!(f, "{whole}.{hundredths:02} %"),
        }
    }
}

/// How a figure between two minor units becomes one of them; the same for both signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Rounding {
    /// Halves go to the even neighbor, so that many halves cancel out: the default.
    #[default]
    HalfEven,
    /// Halves go away from zero: what people learn at school.
    HalfUp,
    /// Every fraction is dropped, towards zero.
    Down,
}

impl Rounding {
    /// All modes, for reading and for tests.
    pub const ALL: [Self; 3] = [Self::HalfEven, Self::HalfUp, Self::Down];

    /// Returns the code as stored: `half_even`, `half_up`, `down`.
    pub fn code(self) -> &'static str {
        match self {
            Self::HalfEven => "half_even",
            Self::HalfUp => "half_up",
            Self::Down => "down",
        }
    }

    /// Divides by a positive divisor and rounds.
    fn divide(self, dividend: i128, divisor: i128) -> i128 {
        let (quotient, twice_rest) = (dividend / divisor, (dividend % divisor).abs() * 2);
        let away = match self {
            Self::HalfEven => twice_rest > divisor || (twice_rest == divisor && quotient % 2 != 0),
            Self::HalfUp => twice_rest >= divisor,
            Self::Down => false,
        };
        if away { quotient + dividend.signum() } else { quotient }
    }
}

/// An amount of one currency in minor units; may be negative.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    /// Whole minor units: cents for EUR, yen for JPY.
    pub minor: i64,
    /// What they are units of.
    pub currency: Currency,
}

/// Says why a calculation with money has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Two currencies met where one was needed.
    #[error("{left} and {right} cannot be reckoned together")]
    CurrencyMismatch {
        /// Currency of the first amount.
        left: Currency,
        /// Currency of the second amount.
        right: Currency,
    },
    /// The result does not fit into 64 bits.
    #[error("the result is too large for an amount")]
    Overflow,
    /// A division by nothing: a ratio to zero, or weights that are all zero or below it.
    #[error("there is nothing to divide by")]
    NoDivisor,
}

impl Money {
    /// Returns `minor` units of `currency`.
    pub fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// Returns nothing of `currency`.
    pub fn zero(currency: Currency) -> Self {
        Self::new(0, currency)
    }

    /// Returns whether the amount is zero.
    pub fn is_zero(self) -> bool {
        self.minor == 0
    }

    /// Returns whether the amount is above zero.
    pub fn is_positive(self) -> bool {
        self.minor > 0
    }

    /// Adds an amount of the same currency.
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        self.same_currency(other)?;
        let minor = self.minor.checked_add(other.minor).ok_or(MoneyError::Overflow)?;
        Ok(Self { minor, ..self })
    }

    /// Subtracts an amount of the same currency.
    pub fn checked_sub(self, other: Self) -> Result<Self, MoneyError> {
        self.same_currency(other)?;
        let minor = self.minor.checked_sub(other.minor).ok_or(MoneyError::Overflow)?;
        Ok(Self { minor, ..self })
    }

    /// Turns the sign.
    pub fn checked_neg(self) -> Result<Self, MoneyError> {
        let minor = self.minor.checked_neg().ok_or(MoneyError::Overflow)?;
        Ok(Self { minor, ..self })
    }

    /// Takes a rate of the amount, rounded to whole minor units.
    pub fn mul_bps(self, rate: Bps, rounding: Rounding) -> Result<Self, MoneyError> {
        self.mul_ratio(i64::from(rate.0), i64::from(Bps::WHOLE.0), rounding)
    }

    /// Takes the share `part / whole` of the amount, rounded to whole minor units.
    ///
    /// `whole` must be positive.
    pub fn mul_ratio(self, part: i64, whole: i64, rounding: Rounding) -> Result<Self, MoneyError> {
        if whole <= 0 {
            return Err(MoneyError::NoDivisor);
        }
        let exact = i128::from(self.minor) * i128::from(part);
        let minor = i64::try_from(rounding.divide(exact, i128::from(whole)))
            .map_err(|_| MoneyError::Overflow)?;
        Ok(Self { minor, ..self })
    }

    /// Takes a rate of each of several amounts and rounds their sum, once.
    pub fn sum_bps(parts: &[(Self, Bps)], rounding: Rounding) -> Result<Self, MoneyError> {
        let (first, _) = parts.first().ok_or(MoneyError::NoDivisor)?;
        let mut exact: i128 = 0;
        for (amount, rate) in parts {
            first.same_currency(*amount)?;
            exact += i128::from(amount.minor) * i128::from(rate.0);
        }
        let minor = i64::try_from(rounding.divide(exact, i128::from(Bps::WHOLE.0)))
            .map_err(|_| MoneyError::Overflow)?;
        Ok(Self { minor, ..*first })
    }

    /// Converts into another currency; `rate_nano` is how many billionths of a major unit of it a
    /// major unit of this one is worth.
    pub fn convert(
        self,
        to: Currency,
        rate_nano: i64,
        rounding: Rounding,
    ) -> Result<Self, MoneyError> {
        let ten_to = |exponent: u32| 10i128.pow(exponent);
        let exact = i128::from(self.minor)
            .checked_mul(i128::from(rate_nano))
            .and_then(|product| product.checked_mul(ten_to(to.exponent())))
            .ok_or(MoneyError::Overflow)?;
        let divisor = ten_to(9 + self.currency.exponent());
        let minor =
            i64::try_from(rounding.divide(exact, divisor)).map_err(|_| MoneyError::Overflow)?;
        Ok(Self { minor, currency: to })
    }

    /// Splits the amount by `weights`; the parts sum to the whole.
    ///
    /// Each part is the exact share cut towards zero; the units left over go, one each, to the
    /// largest remainders, the earlier part winning a tie. A part without weight gets nothing.
    pub fn split(self, weights: &[u32]) -> Result<Vec<Self>, MoneyError> {
        self.by_largest_remainder(weights.iter().map(|&w| i128::from(w)).collect())
    }

    /// Allocates the amount in proportion to `to`, such as a discount over the items of an order;
    /// the parts sum to the whole, as by [`split`](Self::split).
    ///
    /// Every amount in `to` must be of the same currency, none negative, and not all zero.
    pub fn allocate(self, to: &[Self]) -> Result<Vec<Self>, MoneyError> {
        for share in to {
            self.same_currency(*share)?;
            if share.minor < 0 {
                return Err(MoneyError::NoDivisor);
            }
        }
        self.by_largest_remainder(to.iter().map(|m| i128::from(m.minor)).collect())
    }

    fn by_largest_remainder(self, weights: Vec<i128>) -> Result<Vec<Self>, MoneyError> {
        let total: i128 = weights.iter().sum();
        if total == 0 {
            return Err(MoneyError::NoDivisor);
        }
        let exact: Vec<i128> = weights.iter().map(|w| i128::from(self.minor) * w).collect();
        let mut parts: Vec<i64> = exact
            .iter()
            .map(|e| i64::try_from(e / total).expect("a share is not larger than the whole"))
            .collect();
        let left = self.minor.abs_diff(parts.iter().sum());
        let mut by_remainder: Vec<usize> = (0..parts.len()).collect();
        by_remainder.sort_by_key(|&i| -(exact[i] % total).abs());
        // Fewer units are left than there are parts with a remainder.
        for (&i, _) in by_remainder.iter().zip(0..left) {
            parts[i] += self.minor.signum();
        }
        Ok(parts.into_iter().map(|minor| Self { minor, ..self }).collect())
    }

    /// Returns the amount in major units: `149.90`, `150` for JPY, `-0.05`; read back exactly.
    pub fn to_decimal_string(self) -> String {
        let sign = if self.minor < 0 { "-" } else { "" };
        let digits = self.minor.unsigned_abs();
        match self.currency.exponent() {
            0 => format!("{sign}{digits}"),
            exponent => {
                let unit = 10u64.pow(exponent);
                let width = exponent as usize;
                format!("{sign}{}.{:0width$}", digits / unit, digits % unit)
            }
        }
    }

    fn same_currency(self, other: Self) -> Result<(), MoneyError> {
        if self.currency == other.currency {
            Ok(())
        } else {
            Err(MoneyError::CurrencyMismatch { left: self.currency, right: other.currency })
        }
    }
}

impl fmt::Display for Money {
    /// Writes the amount with its code: `149.90 EUR`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.to_decimal_string(), self.currency)
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
