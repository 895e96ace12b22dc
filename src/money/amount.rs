//! Reading an amount: decimal text in major units, strictly, each refusal with its remedy.
//!
//! Shops send `149,90`, `1 000`, `1e2` and worse; guessing costs money, so one form is taken:
//! ASCII digits with at most one dot, `149.90`. No sign, no exponent, no thousands mark, never
//! more decimals than the currency has, not even zeros.

use super::{Currency, Money};

/// The largest amount accepted from outside, in minor units: ten billion euros is no order.
pub const AMOUNT_MINOR_MAX: i64 = 1_000_000_000_000;

/// Longest text looked at: 13 digits, a dot and generous leading zeros.
const TEXT_MAX: usize = 32;

/// Whether zero is an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AmountRule {
    /// The price of a sale, a refund, a flat commission: 1 minor unit at least.
    Positive,
    /// A tax, a discount, a shipping charge: may be nothing.
    ZeroOrMore,
}

/// Says why a text is not an amount and how to write it instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Nothing was sent.
    #[error("the amount is empty: send it like 149.90")]
    Empty,
    /// Far too long to be an amount.
    #[error("the amount has more than {TEXT_MAX} characters: send it like 149.90")]
    TooLong,
    /// `149,90`.
    #[error("{text:?}: use a dot for decimals and no thousands marks, like 149.90")]
    Comma {
        /// What was sent.
        text: String,
    },
    /// `-5` or `+5`.
    #[error("{text:?}: send the amount without a sign; the event says whether it is a refund")]
    Sign {
        /// What was sent.
        text: String,
    },
    /// `1e2`.
    #[error("{text:?}: write all digits, without an exponent")]
    Exponent {
        /// What was sent.
        text: String,
    },
    /// `1 000` or a blank before or after.
    #[error("{text:?}: remove the spaces")]
    Space {
        /// What was sent.
        text: String,
    },
    /// `1_000` or `1'000`.
    #[error("{text:?}: remove the thousands marks")]
    ThousandsMark {
        /// What was sent.
        text: String,
    },
    /// `1.234.567`.
    #[error("{text:?}: use one dot, before the decimals only")]
    SecondDot {
        /// What was sent.
        text: String,
    },
    /// `.5` or `5.`.
    #[error("{text:?}: put digits on both sides of the dot, like 0.50")]
    BareDot {
        /// What was sent.
        text: String,
    },
    /// Anything else that is not a digit: `NaN`, `0x10`, `€5`, digits of other scripts.
    #[error("{text:?}: {found:?} is not a digit; send ASCII digits with a dot, like 149.90")]
    NotADigit {
        /// What was sent.
        text: String,
        /// The first character that is not a digit.
        found: char,
    },
    /// More decimals than the currency has; rounding silently would change the price.
    #[error("{text:?} has {decimals} decimals, {currency} has {}: round it before sending",
        currency.exponent())]
    TooPrecise {
        /// What was sent.
        text: String,
        /// How many decimals it has.
        decimals: usize,
        /// The currency it was sent in.
        currency: Currency,
    },
    /// Zero where a price is needed.
    #[error("the amount is zero: send at least {}", Money::new(1, *currency))]
    Zero {
        /// The currency it was sent in.
        currency: Currency,
    },
    /// Above [`AMOUNT_MINOR_MAX`].
    #[error("{text:?} is too large: at most {}", Money::new(AMOUNT_MINOR_MAX, *currency))]
    TooLarge {
        /// What was sent.
        text: String,
        /// The currency it was sent in.
        currency: Currency,
    },
}

impl Money {
    /// Reads an amount in major units, like `149.90`; rounds nothing.
    ///
    /// Zero is taken or refused as `rule` says; the most is [`AMOUNT_MINOR_MAX`].
    pub fn parse_amount(
        text: &str,
        currency: Currency,
        rule: AmountRule,
    ) -> Result<Self, AmountError> {
        let (whole, decimals) = split_at_dot(text)?;
        let exponent = currency.exponent() as usize;
        if decimals.len() > exponent {
            let decimals = decimals.len();
            return Err(AmountError::TooPrecise { text: text.to_owned(), decimals, currency });
        }
        let padding = std::iter::repeat_n(b'0', exponent - decimals.len());
        let minor = whole
            .bytes()
            .chain(decimals.bytes())
            .chain(padding)
            .try_fold(0i64, |n, digit| n.checked_mul(10)?.checked_add(i64::from(digit - b'0')))
            .filter(|&n| n <= AMOUNT_MINOR_MAX)
            .ok_or_else(|| AmountError::TooLarge { text: text.to_owned(), currency })?;
        match (rule, minor) {
            (AmountRule::Positive, 0) => Err(AmountError::Zero { currency }),
            (AmountRule::Positive | AmountRule::ZeroOrMore, _) => Ok(Self { minor, currency }),
        }
    }

    /// Reads an amount from the digits of a JSON number as they were sent, never through a float.
    pub fn parse_json_amount(
        number: &serde_json::Number,
        currency: Currency,
        rule: AmountRule,
    ) -> Result<Self, AmountError> {
        Self::parse_amount(number.as_str(), currency, rule)
    }
}

/// Returns the digits before and after the dot, or what is wrong with the text.
fn split_at_dot(text: &str) -> Result<(&str, &str), AmountError> {
    if text.is_empty() {
        return Err(AmountError::Empty);
    }
    if text.len() > TEXT_MAX {
        return Err(AmountError::TooLong);
    }
    if let Some(found) = text.chars().find(|c| !c.is_ascii_digit() && *c != '.') {
        return Err(foreign_character(text.to_owned(), found));
    }
    match text.split_once('.') {
        None => Ok((text, "")),
        Some((_, after)) if after.contains('.') => {
            Err(AmountError::SecondDot { text: text.to_owned() })
        }
        Some((before, after)) if before.is_empty() || after.is_empty() => {
            Err(AmountError::BareDot { text: text.to_owned() })
        }
        Some(both) => Ok(both),
    }
}

fn foreign_character(text: String, found: char) -> AmountError {
    let starts_with_digit = text.starts_with(|c: char| c.is_ascii_digit());
    match found {
        ',' => AmountError::Comma { text },
        '-' | '+' | '\u{2212}' => AmountError::Sign { text },
        'e' | 'E' if starts_with_digit => AmountError::Exponent { text },
        '_' | '\'' | '\u{2019}' => AmountError::ThousandsMark { text },
        c if c.is_whitespace() => AmountError::Space { text },
        found => AmountError::NotADigit { text, found },
    }
}
